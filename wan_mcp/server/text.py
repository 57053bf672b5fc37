"""Text for the model: what happened, whether anything was charged, what to do next."""

from wan_mcp.errors import Charged, NotSent, WanError
from wan_mcp.evolink import Credits
from wan_mcp.evolink.values import utc
from wan_mcp.generation.outcomes import MAX_TAKE, Submitted
from wan_mcp.generation.status import TaskSnapshot

INSTRUCTIONS = (
    "Turns one picture and a prompt into a 5 or 10 second video with Evolink's wan2.5-image-to-video. "
    "generate_video costs credits and answers at once with a task id; then call wait_for_task with that id, "
    "again if it says so, until the task is completed or failed. Waiting never loses the task, and an equal "
    "request is not paid twice. Links expire after 24 hours: save_video keeps the video. "
    "list_tasks finds earlier tasks; get_credits shows the balance."
)

_CHARGED: dict[Charged, str] = {
    "no": "Nothing was charged.",
    "yes": "Credits were charged.",
    "unknown": "It is not known whether credits were charged.",
}


def error_text(error: WanError) -> str:
    """The whole text of a failed call."""
    charged = "Nothing was sent or charged." if isinstance(error, NotSent) else _CHARGED[error.charged]
    request = f" (request id {error.request_id})" if error.request_id else ""
    return " ".join(part for part in (error.message + request, error.next_step, charged) if part)


def next_step(snapshot: TaskSnapshot) -> str:
    """What to do now, in a few sentences at most."""
    return " ".join([*_history(snapshot), _what_now(snapshot)])


def _history(snapshot: TaskSnapshot) -> list[str]:
    """How this answer came to be, where that is worth saying."""
    said = []
    if snapshot.submitted is not None:
        said += _of_the_request(snapshot.submitted)
    said += snapshot.notes
    if snapshot.recovered:
        said.append(
            "The answer to the request was lost; this task was found in the account's list. "
            "If other programs use the account, check that the video is the right one."
        )
    if snapshot.asked_to_wait is not None:
        said.append(f"{snapshot.asked_to_wait:g} s is more than one call may wait.")
    if snapshot.read_error is not None:
        said.append(f"The last read failed: {snapshot.read_error.message}")
    if (known := utc(snapshot.known_at)) is not None:
        said.append(f"This is how the task was at {known:%Y-%m-%d %H:%M:%S} UTC.")
    return said


def _of_the_request(submitted: Submitted) -> list[str]:
    """How a request came to its task."""
    said = []
    if submitted.repeated:
        said.append("An equal request was made before: this is its task, and nothing was charged again.")
        if submitted.entry.take < MAX_TAKE:
            said.append(f"For another version set take to {submitted.entry.take + 1}.")
        if submitted.changed:
            said.append("The picture at that address has changed since; this task has the earlier one.")
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


def _what_now(snapshot: TaskSnapshot) -> str:
    task = snapshot.task
    if task.status == "completed" and task.results:
        return _after_success(snapshot)
    if task.status == "failed":
        return _after_failure(snapshot)
    if task.status == "cancelled":
        return "The task was cancelled and not charged. To try again, call generate_video."
    return _while_running(snapshot)


def _after_success(snapshot: TaskSnapshot) -> str:
    failure = ""
    if snapshot.save_error is not None:
        failure = f"Automatic saving failed: {snapshot.save_error.message} "
    if snapshot.saved is not None:
        remark = f" {snapshot.saved.remark}" if snapshot.saved.remark else ""
        return f"Done. The video is saved: {snapshot.saved.path}.{remark} {_link_life(snapshot)}"
    return f"Done. {failure}{_link_life(snapshot)} Call save_video to keep the video on this machine."


def _link_life(snapshot: TaskSnapshot) -> str:
    left = snapshot.link_life
    if left is None:
        return "Its link works for 24 hours."
    if left <= 0:
        return "Its link has probably expired, 24 hours after the completion."
    span = f"{left / 3600:.0f} h" if left >= 5400 else f"{max(left / 60, 1):.0f} min"
    return f"Its link works for about {span} more."


def _after_failure(snapshot: TaskSnapshot) -> str:
    error = snapshot.task.error
    refund = "The generation failed and was not charged; reserved credits go back."
    if error is not None and error.retryable:
        return f"{refund} It may work later: call generate_video again after a minute or two."
    return f"{refund} The same request would probably fail again: change the prompt or the picture first."


def _while_running(snapshot: TaskSnapshot) -> str:
    if snapshot.is_forgotten:
        return (
            "Evolink does not know this task any more, so waiting for it does not help. Tell the user; "
            "the Evolink dashboard may show what became of it."
        )
    said = ""
    if snapshot.task.status == "completed":
        said = "The video is made, but its link is not available yet; do not request it again. "
    left = f" About {snapshot.time_left:.0f} s are left." if (snapshot.time_left or 0) >= 1 else ""
    return f"{said}Call wait_for_task with task_id {snapshot.task.id} to go on waiting.{left}"


def progress_text(snapshot: TaskSnapshot | None) -> str:
    """One line about a task that is waited for."""
    if snapshot is None:
        return "reading the task"
    percent = f", {snapshot.task.progress:.0f} %" if snapshot.task.progress is not None else ""
    left = f", about {snapshot.time_left:.0f} s left" if (snapshot.time_left or 0) >= 1 else ""
    return f"{snapshot.task.status}{percent}{left}"


def balance_text(credits: Credits) -> str:
    """The credits left, in a sentence or two."""
    text = f"The account has {credits.remaining:g} credits left."
    if credits.key_unlimited:
        return text + " This key has no limit of its own."
    if credits.key_remaining is not None:
        return text + f" This key may spend up to {credits.key_remaining:g}."
    return text
