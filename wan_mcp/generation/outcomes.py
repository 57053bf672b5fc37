"""The outcome of a submission, and what a caller is told while it is open: never what could pay twice."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from wan_mcp.errors import OutcomeUnknown, OutOfCredits, StillUnderWay, WanError
from wan_mcp.evolink import Credits, Task
from wan_mcp.evolink.http_errors import KEY_DAILY_LIMIT, RAISE_KEY_LIMIT
from wan_mcp.evolink.prices import cost_text, estimate_text
from wan_mcp.images import Picture
from wan_mcp.ledger import Entry, Intent

CALL_AGAIN = (
    "Call {tool} with exactly the same arguments again in a minute: that is safe, it is the same request."
)
ASK_AGAIN = CALL_AGAIN.format(tool="the same tool")
FROM_PICTURE, FROM_TEXT = "generate_video", "generate_video_from_text"
"""The tools that pay for a video."""
NOT_KNOWN = "It is not known whether Evolink accepted the request."
MAX_TAKE = 99
MAX_NAMED = 50
"""Tasks that are named in one answer."""

OnStage = Callable[[str], Awaitable[None]]
"""Told what is being done, every few seconds."""
BeforePaying = Callable[[Picture | None, Intent], Awaitable[None]]
"""Called before a new request is sent for the first time, with its picture, if it has one; what it raises
keeps it from being sent."""


async def unasked(picture: Picture | None, intent: Intent) -> None:
    """Nobody is asked before a request is sent."""


@dataclass
class Progress:
    """What the callers of a submission can be told while it goes on."""

    stage: str = "preparing the request"
    waiting: int = 0
    """Callers that wait to be told."""
    sent: bool | None = None
    """Whether a POST may have arrived; None while the ledger was not asked yet."""
    reason: str = ""
    """Why there is no answer yet, where that is known."""


@dataclass(frozen=True)
class Submitted:
    """A request that has its task."""

    entry: Entry
    repeated: bool = False
    """Whether it had one before this call."""
    changed: bool = False
    """Whether the picture at the same address is another one now."""
    shared: bool = False
    """Whether Evolink answered with the task of an earlier request."""
    replaces: bool = False
    """Whether an equal request of more than 24 hours ago may have been paid in addition."""
    also_paid: tuple[str, ...] = ()
    """Tasks of the same request that were paid in addition: the gateway ignored the idempotency key."""


OnTask = Callable[[Submitted, Picture | None], None]
"""Told of each request that has its task, whether or not a caller still waits for it; with the picture that
was sent, where that is at hand."""


def balance_text(credits: Credits) -> str:
    """The credits left, in a sentence or two."""
    text = f"The account has {cost_text(credits.remaining)} left."
    if credits.key_unlimited:
        return text + " This key has no limit of its own."
    if credits.spendable < credits.remaining:
        return text + f" This key may spend up to {cost_text(credits.spendable)}."
    return text


def out_of_credits(
    error: OutOfCredits, estimate: float, left: Credits | None, *, from_text: bool
) -> OutOfCredits:
    """The same refusal, with what the video needs and what is left.

    Args:
        error: as Evolink refused the request.
        estimate: credits that the video is expected to cost.
        left: the balance; None where it could not be read.
        from_text: whether the video is made from text alone.
    """
    needed = estimate_text(estimate, from_text=from_text)
    balance = "" if left is None else balance_text(left)
    next_step = error.next_step
    if left is not None and left.spendable < estimate <= left.remaining and error.code not in KEY_DAILY_LIMIT:
        next_step = RAISE_KEY_LIMIT  # not every refusal says which limit it is; credits would not help
    return OutOfCredits(
        f"{error.message} This video needs about {needed}. {balance}".strip(),
        next_step=next_step,
        charged=error.charged,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
    )


def tool_for(*, from_text: bool) -> str:
    """The tool that requests such a video."""
    return FROM_TEXT if from_text else FROM_PICTURE


def to_change(*, from_text: bool) -> str:
    """What can be changed in a request that fails again and again."""
    return "the prompt" if from_text else "the prompt or the picture"


def another_take(entry: Entry | None) -> str:
    """What can be done where a video is gone, and what it costs."""
    from_text = entry is not None and entry.from_text
    cost = "as much as the first"
    if entry and entry.is_request:
        cost = f"about {estimate_text(entry.estimate, from_text=from_text)}"
    return f"{tool_for(from_text=from_text)} with another take makes a new one, which costs {cost}."


def under_way(reason: str, *, sent: bool | None) -> StillUnderWay:
    """The caller's time is up, and the submission goes on."""
    if sent is None:
        text = "The ledger has not answered yet, so it is not known whether this request was made before."
        return StillUnderWay(text, next_step=ASK_AGAIN, charged="unknown")
    if not sent:
        text = "The request is still being prepared, or waits for its turn: nothing was sent yet."
        return StillUnderWay(text, next_step=ASK_AGAIN)
    text = "The request was sent, and Evolink's answer is not known yet; it is followed in the background."
    return StillUnderWay(" ".join((text, reason)).strip(), next_step=ASK_AGAIN, charged="unknown")


def stopped(*, sent: bool | None) -> WanError:
    """The program ends while the submission is under way."""
    return WanError(
        "The server stopped before this was done.",
        next_step="Make the same request again: it goes on with what was begun.",
        charged="no" if sent is False else "unknown",
    )


def unknown(reason: str) -> OutcomeUnknown:
    """A POST may have arrived, and for now nothing more can be done."""
    advice = f"{ASK_AGAIN} list_tasks shows it as unknown."
    return OutcomeUnknown(f"{NOT_KNOWN} {reason}".strip(), next_step=advice, charged="unknown")


def undecided(reason: str, candidates: Sequence[Task], *, take: int | None, old: bool) -> OutcomeUnknown:
    """Nothing is sent any more, since it could be paid twice.

    Args:
        reason: why the answer is missing.
        candidates: tasks that may be the request's.
        take: a take that makes another video, where that may be said; None where it may not.
        old: whether the request is too old to be sent again.
    """
    said = [f"{NOT_KNOWN} {reason}".strip()]
    if old:
        said.append("It was first sent more than 23 hours ago, so it is not sent again.")
    else:
        said.append("Nothing was sent now, because it could be paid twice.")
    if candidates:
        ids = ", ".join(task.id for task in candidates[:MAX_NAMED])
        said.append(f"Its task may be one of these: {ids}.")
    advice = ["Check them with get_task." if candidates else "", ASK_AGAIN]
    if take is not None and take <= MAX_TAKE:
        advice.append(
            f"If none of the account's tasks is it, take: {take} makes another video, which has to be paid."
        )
    return OutcomeUnknown(" ".join(said), next_step=" ".join(filter(None, advice)), charged="unknown")
