"""Text for the model: what happened, whether anything was charged, what to do next."""

from wan_mcp.errors import Charged, LinkFailed, NotSent, StillUnderWay, StorageError, WanError
from wan_mcp.evolink.prices import TEXT_GUESSED, cost_text, estimate
from wan_mcp.evolink.values import spoken
from wan_mcp.generation.listing import TaskLine
from wan_mcp.generation.outcomes import (
    CALL_AGAIN,
    FROM_PICTURE,
    FROM_TEXT,
    MAX_TAKE,
    REPEATED,
    Submitted,
    another_take,
    change_first,
    tool_for,
)
from wan_mcp.generation.owners import Deployment
from wan_mcp.generation.status import NO_LINK_YET, TaskSnapshot, link_state
from wan_mcp.server.kept import keeping, kept, kept_until, not_yet, unkept
from wan_mcp.server.told import told

PRICE = f"about {cost_text(estimate(5, '720p'))} for 5 s at 720p"
TEXT_PRICE = f"{PRICE} ({TEXT_GUESSED})"
_BEGINNING = (
    "Makes 5 or 10 second videos with Evolink's Wan 2.5: generate_video from one picture and a prompt, "
    f"generate_video_from_text from a prompt alone. Both cost credits, {PRICE} (for a video from text, "
    f"{TEXT_GUESSED}), and answer at once with a task id. Then call wait_for_task with that id, again when "
    "it says so, until the task is completed or failed. Waiting never loses the task, and equal requests are "
    "paid once. Longer videos: a completed task's id in image_urls continues it, and join_videos makes one "
    "film. "
)
INSTRUCTIONS = (
    f"{_BEGINNING}Links expire after 24 hours; a saved video stays. "
    "list_tasks finds earlier videos; get_credits shows the balance."
)


def instructions_for(deployment: Deployment) -> str:
    """What a model is told when a client connects."""
    if deployment.local:
        return INSTRUCTIONS
    left = "what you may still spend" if deployment.operator_pays else "the balance"
    return (
        f"{_BEGINNING}{keeping(deployment)} It reads no files: give a picture by its https address, or "
        f"upload it with prepare_upload. list_tasks finds earlier videos; get_credits shows {left}."
    )


NOT_CHARGED = "Nothing was charged."
NOT_SENT = "Nothing was sent or charged."
_CHARGED: dict[Charged, str] = {
    "no": NOT_CHARGED,
    "yes": "Credits were charged.",
    "unknown": "It is not known whether credits were charged.",
}


def error_text(error: WanError, deployment: Deployment) -> str:
    """The whole text of a failed call."""
    message, next_step = told(error, deployment)
    charged = NOT_SENT if isinstance(error, NotSent) else _CHARGED[error.charged]
    request = f" (request id {error.request_id})" if error.request_id else ""
    return " ".join(part for part in (message + request, next_step, charged) if part)


def next_step(snapshot: TaskSnapshot, deployment: Deployment) -> str:
    """What to do now, in a few sentences at most.

    Args:
        snapshot: the task.
        deployment: where the server runs, and what it saves.
    """
    task = snapshot.task
    if task.status == "completed" and task.results:
        said = [_after_success(snapshot, deployment), *_history(snapshot)]
    elif task.is_over:
        said = [*_history(snapshot), _after_failure(snapshot)]
    else:
        said = [*_history(snapshot), *last_read(snapshot, deployment), _while_running(snapshot, deployment)]
    return " ".join(said)


def _history(snapshot: TaskSnapshot) -> list[str]:
    """What the user should know of how the task was requested or found."""
    said = []
    if snapshot.submitted is not None:
        said += _submission(snapshot.submitted)
    said += snapshot.notes
    if snapshot.recovered:
        said.append(
            "The answer to the request was lost; this task was found in the account's list. "
            "If other programs use the account, check that the video is the right one."
        )
    return said


def _submission(submitted: Submitted) -> list[str]:
    """How a request got its task, where the user should know."""
    said = []
    if submitted.repeated:
        said.append(REPEATED)
        if submitted.entry.take < MAX_TAKE:
            said.append(f"For another version, set take to {submitted.entry.take + 1}.")
        if submitted.changed:
            said.append("The picture at that address has changed since; this task used the earlier one.")
    if submitted.shared:
        said.append("Evolink answered with the task of an earlier request: nothing was charged for this one.")
    if submitted.replaces:
        said.append(
            "An equal request of more than 24 hours ago never got an answer; it may have been charged too."
        )
    if submitted.also_paid:
        said.append(
            "The answer to the first try was lost, and Evolink ignored the idempotency key: this request was "
            f"charged twice. Its other task is {' or '.join(submitted.also_paid)}; get_task shows it. "
            "From now on, a request is sent again only if the account's list shows that it did not arrive."
        )
    return said


def _after_success(snapshot: TaskSnapshot, deployment: Deployment) -> str:
    link, cost = link_state(snapshot.expires_at, snapshot.now), paid(snapshot.task.credits_used)
    if snapshot.kept is not None:
        return " ".join(filter(None, [*kept(snapshot), snapshot.kept.remark, cost, kept_until(snapshot)]))
    if snapshot.saved is not None:
        said = [f"Tell the user: the video is saved at {snapshot.saved.path}.", snapshot.saved.remark]
        return " ".join(filter(None, [*said, cost, f"Its link {link}."]))
    if snapshot.has_expired:
        missing = snapshot.entry.missing if snapshot.entry else None
        file = f"it is not at {missing} any more" if missing else "it is not saved here"
        if not deployment.local:
            file = "it is not kept on this server"
        return (
            f"Tell the user: the video is gone: its link {link}, and {file}. {another_take(snapshot.entry)}"
        )
    error, address = snapshot.save_error, snapshot.task.results[0]
    found = f"ready at {address} (the link {link})."
    if isinstance(error, LinkFailed):
        found = f"made, but its link {address} did not deliver it just now."
    said = [f"Tell the user: the video is {found}", cost]
    if not deployment.local:
        said.append(unkept(snapshot, deployment))
    elif error is None and (deployment.saves_to is None or not _is_own(snapshot)):
        said.append(f"Call save_video with task_id {snapshot.task.id} to keep it on this machine.")
    elif error is None or isinstance(error, StillUnderWay):
        said.append(
            f"It is still being saved. Call wait_for_task with task_id {snapshot.task.id} for its path."
        )
    else:
        said += [f"Automatic saving failed: {error.message}", error.next_step]
        if "save_video" not in error.next_step:
            said.append(f"Call save_video with task_id {snapshot.task.id} to try again.")
    return " ".join(filter(None, said))


def paid(credits: float | None) -> str:
    """What a video cost, in a sentence; empty where that is not known."""
    return f"It cost {cost_text(credits)}." if credits else ""


def _is_own(snapshot: TaskSnapshot) -> bool:
    """Whether the task was requested here: the server follows it and saves its video automatically."""
    return snapshot.entry is not None and snapshot.entry.is_request


def _after_failure(snapshot: TaskSnapshot) -> str:
    task, tool = snapshot.task, tool_for(from_text=snapshot.from_text)
    if task.status == "cancelled":
        text = "Tell the user: the task was cancelled and not charged."
        return f"{text} To try again, call {tool} with the same arguments."
    said = ["Tell the user: the generation failed and was not charged."]
    if task.error is not None:
        said.append(f"Evolink says: {task.error}.")
    if task.error is not None and task.error.retryable:
        said.append(f"It may work later: call {tool} with the same arguments in a minute or two.")
    else:
        said.append(change_first(from_text=snapshot.from_text))
    return " ".join(said)


def last_read(snapshot: TaskSnapshot, deployment: Deployment) -> list[str]:
    """Why the shown state of a running task may be out of date, and when it was read."""
    said = []
    if snapshot.asked_to_wait is not None:
        said.append(f"{snapshot.asked_to_wait:g} s is more than one call may wait.")
    if snapshot.read_error is not None and not snapshot.is_forgotten:
        said.append(f"The last read failed: {told(snapshot.read_error, deployment)[0]}")
    if moment := spoken(snapshot.known_at, snapshot.now):
        said.append(f"This is how the task was {moment}.")
    return said


def _while_running(snapshot: TaskSnapshot, deployment: Deployment) -> str:
    if snapshot.is_forgotten:
        return (
            "Evolink does not know this task any more, so waiting for it does not help. Tell the user; "
            "the Evolink dashboard, https://evolink.ai/dashboard, may show what became of it and whether it "
            "was charged."
        )
    said = []
    if snapshot.task.status == "completed":
        said.append(f"The video is made, but {NO_LINK_YET}; do not request it again.")
    wait = "to wait for it" if snapshot.waited is None else "to go on waiting"
    said.append(f"Call wait_for_task with task_id {snapshot.task.id} {wait}.")
    if (snapshot.time_left or 0) >= 1:
        said.append(f"About {snapshot.time_left:.0f} s are left.")
    if deployment.saves_to is not None and _is_own(snapshot):
        said.append(f"The server follows it in any case, and saves the video to {deployment.saves_to}.")
    elif isinstance(snapshot.save_error, StorageError):
        of = f"with task_id {snapshot.task.id}"
        said.append(f"{told(snapshot.save_error, deployment)[0]} {not_yet(deployment, of)}")
    elif deployment.follows and not deployment.local:
        said.append("The server follows it in any case, and keeps the video.")
    elif deployment.keeps:
        said.append("The server keeps the video when such a call sees the end.")
    return " ".join(said)


def risen(shown: float, percent: float) -> float:
    """The percentage to show next: it rises each time, as the protocol requires, and stays below 100."""
    return max(min(percent, 99.0), shown + (100 - shown) / 10_000)


def progress_text(snapshot: TaskSnapshot | None) -> str:
    """One line about a task, for the caller that waits for it."""
    if snapshot is None:
        return "reading the task"
    percent = f", {snapshot.task.progress:.0f} %" if snapshot.task.progress is not None else ""
    left = f", about {snapshot.time_left:.0f} s left" if (snapshot.time_left or 0) >= 1 else ""
    return f"{snapshot.task.status}{percent}{left}"


def next_of_list(lines: list[TaskLine], deployment: Deployment) -> str:
    """What to do now with a list of tasks.

    Args:
        lines: the tasks.
        deployment: where the server runs, and what it saves.
    """
    if not lines:
        return f"There are no such tasks. {FROM_PICTURE} or {FROM_TEXT} makes one."
    said = []
    tools = {tool_for(from_text=bool(line.from_text)) for line in lines if line.status == "unknown"}
    if tools:
        advice = CALL_AGAIN.format(tool=" or ".join(sorted(tools)))
        said.append(f"unknown means: the request never got an answer. {advice}")
    running = [line.id for line in lines if line.is_awaited and line.id]
    unsaved = [line.id for line in lines if line.results and line.id and not line.is_saved]
    if running:
        said.append(f"Call wait_for_task with task_id {running[0]} to wait for that one.")
    elif unsaved and deployment.follows and not deployment.local:
        said.append("Tell the user the link of a video; wait_for_task gives one that works longer.")
    elif unsaved and not deployment.local:
        said.append(f"Call save_video with task_id {unsaved[0]} to keep that video on this server.")
    elif unsaved and deployment.saves_to is not None:
        said.append(f"Call wait_for_task with task_id {unsaved[0]} for the path of that video.")
    elif unsaved:
        said.append(f"Call save_video with task_id {unsaved[0]} to keep that video.")
    elif any(line.saved_to or line.results for line in lines):
        path = "the path of a video, or its link" if deployment.local else "the link of a video"
        said.append(f"Tell the user {path}.")
    if any(line.is_gone for line in lines):
        kind = "An unsaved video" if deployment.local else "A video that is not kept"
        said.append(
            f"{kind} whose link has expired is gone. Another take costs as much again: ask the user first."
        )
    return " ".join(said) or "All of these tasks are over."
