"""Words for the model: what happened, whether anything was charged, what to do next."""

from datetime import UTC, datetime

from wan_mcp.errors import Charged, NotSent, WanError
from wan_mcp.evolink import Credits
from wan_mcp.generation.snapshot import Report

INSTRUCTIONS = (
    "Turns one picture and a prompt into a 5 or 10 second video with Evolink's wan2.5-image-to-video. "
    "generate_video costs credits and answers at once with a task id; then call wait_for_task with that id, "
    "again if it says so, until the task is completed or failed. Waiting never loses the task, and asking "
    "for the same again never pays twice. Links die after 24 hours: save_video keeps the video. "
    "list_tasks finds earlier tasks; get_credits shows the balance."
)

_CHARGED: dict[Charged, str] = {
    "no": "Nothing was charged.",
    "yes": "Credits were charged.",
    "unknown": "It is not known whether credits were charged.",
}


def of_error(error: WanError) -> str:
    """The whole text of a failed call."""
    charged = "Nothing was sent or charged." if isinstance(error, NotSent) else _CHARGED[error.charged]
    request = f" (request id {error.request_id})" if error.request_id else ""
    return " ".join(part for part in (error.message + request, error.next_step, charged) if part)


def next_step(report: Report) -> str:
    """What to do now, in a few sentences at most."""
    return " ".join([*_history(report), _what_now(report)])


def _history(report: Report) -> list[str]:
    """How this answer came about, where that is not the plain way."""
    said = []
    if report.repeated:
        said.append(
            "The same was asked for before: this is its task, and nothing was charged again. "
            "For another version set new_take to true."
        )
    if report.picture is not None:
        said += report.picture.notes
    if report.adopted:
        said.append("The answer to the request had been lost; this task was found in the account's list.")
    if report.asked_to_wait is not None:
        said.append(f"{report.asked_to_wait:g} s is more than one call may wait.")
    if report.trouble is not None:
        said.append(f"The last look failed: {report.trouble.message}")
    if report.known_at is not None:
        known = datetime.fromtimestamp(report.known_at, UTC)
        said.append(f"This is how the task was at {known:%Y-%m-%d %H:%M:%S} UTC.")
    return said


def _what_now(report: Report) -> str:
    task = report.task
    if task.status == "completed" and task.results:
        return _after_success(report)
    if task.status == "failed":
        return _after_failure(report)
    if task.status == "cancelled":
        return "The task was cancelled and not charged. To try again, call generate_video."
    return _while_running(report)


def _after_success(report: Report) -> str:
    trouble = ""
    if report.save_trouble is not None:
        trouble = f"It could not be saved by itself: {report.save_trouble.message} "
    if report.saved is not None:
        return f"Done. The video is saved: {report.saved.path}. {_link_life(report)}"
    return f"Done. {trouble}{_link_life(report)} Call save_video to keep the video on this machine."


def _link_life(report: Report) -> str:
    left = report.link_life
    if left is None:
        return "Its link works for 24 hours."
    if left <= 0:
        return "Its link has probably died, 24 hours after the completion."
    span = f"{left / 3600:.0f} h" if left >= 5400 else f"{max(left / 60, 1):.0f} min"
    return f"Its link works for about {span} more."


def _after_failure(report: Report) -> str:
    error = report.task.error
    refund = "The generation failed and was not charged; reserved credits go back."
    if error is not None and error.retryable:
        return f"{refund} It may work later: call generate_video again after a minute or two."
    return f"{refund} The same request would probably fail again: change the prompt or the picture first."


def _while_running(report: Report) -> str:
    said = ""
    if report.task.status == "completed":
        said = "The video is made, but its link is not there yet; never ask for it anew. "
    left = f" About {report.time_left:.0f} s are left." if (report.time_left or 0) >= 1 else ""
    return f"{said}Call wait_for_task with task_id {report.task.id} to go on waiting.{left}"


def progress(report: Report | None) -> str:
    """One line about a task that is waited for."""
    if report is None:
        return "looking at the task"
    percent = f", {report.task.progress:.0f} %" if report.task.progress is not None else ""
    left = f", about {report.time_left:.0f} s left" if (report.time_left or 0) >= 1 else ""
    return f"{report.task.status}{percent}{left}"


def balance(credits: Credits) -> str:
    """The credits left, in a sentence or two."""
    text = f"The account has {credits.remaining:g} credits left."
    if credits.key_unlimited:
        return text + " This key has no limit of its own."
    if credits.key_remaining is not None:
        return text + f" This key may spend up to {credits.key_remaining:g}."
    return text
