"""The outcome of a submission, and what a caller is told while there is none: never advice to pay twice."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from wan_mcp.errors import OutcomeUnknown, OutOfCredits, StillUnderWay, WanError
from wan_mcp.evolink import Credits, Task
from wan_mcp.evolink.http_errors import KEY_DAILY_LIMIT, RAISE_KEY_LIMIT
from wan_mcp.evolink.prices import cost_text, estimate_text
from wan_mcp.images import Picture
from wan_mcp.ledger import Entry, Intent

SAME_CALL = "Call {tool} with exactly the same arguments again"
CALL_AGAIN = f"{SAME_CALL} in a minute: that is safe, it is the same request."
ASK_AGAIN = CALL_AGAIN.format(tool="the same tool")
REPEATED = "An equal request was made before: this is its task, and nothing was charged again."
FROM_PICTURE, FROM_TEXT = "generate_video", "generate_video_from_text"
"""The tools that pay for a video."""
NOT_KNOWN = "It is not known whether Evolink accepted the request."
MAX_TAKE = 99
MAX_NAMED = 50
"""Tasks that are named in one answer at most."""

OnStage = Callable[[str], Awaitable[None]]
"""Told what is being done, every few seconds."""
BeforePaying = Callable[[Picture | None, Intent], Awaitable[None]]
"""Called before a new request is sent for the first time, with its picture, if it has one. The request is
not sent if this raises an error."""


async def unasked(picture: Picture | None, intent: Intent) -> None:
    """Ask nobody before a request is sent."""


@dataclass
class Progress:
    """What the callers can be told of a submission under way."""

    stage: str = "preparing the request"
    waiting: int = 0
    """Callers that wait for the outcome."""
    sent: bool | None = None
    """Whether a POST may have arrived; None until the ledger was asked."""
    reason: str = ""
    """Why there is no answer yet, where that is known."""


@dataclass(frozen=True)
class Submitted:
    """A request that has its task."""

    entry: Entry
    repeated: bool = False
    """Whether it had its task before this call."""
    changed: bool = False
    """Whether another picture is at the same address now."""
    shared: bool = False
    """Whether Evolink answered with the task of an earlier request."""
    replaces: bool = False
    """Whether an equal request of more than 24 hours ago may have been paid in addition."""
    also_paid: tuple[str, ...] = ()
    """Tasks of the same request that were paid in addition: the gateway ignored the idempotency key."""


OnTask = Callable[[Submitted, Picture | None], None]
"""Told of each request that has its task, also when no caller waits for it any more; with the picture that
was sent, where its bytes are known."""


def balance_text(credits: Credits) -> str:
    """The credits left, in a sentence or two."""
    text = f"The account has {cost_text(credits.remaining)} left."
    if credits.key_unlimited:
        return text + " This key has no separate limit."
    if credits.spendable < credits.remaining:
        return text + f" This key may spend up to {cost_text(credits.spendable)}."
    return text


def out_of_credits(
    error: OutOfCredits, estimate: float, left: Credits | None, *, from_text: bool
) -> OutOfCredits:
    """The same refusal, with the credits that the video needs and those that are left.

    Args:
        error: Evolink's refusal.
        estimate: credits that the video is expected to cost.
        left: the balance; None where it could not be read.
        from_text: whether the video is made from text alone.
    """
    needed = estimate_text(estimate, from_text=from_text)
    balance = "" if left is None else balance_text(left)
    next_step = error.next_step
    if left is not None and left.spendable < estimate <= left.remaining and error.code not in KEY_DAILY_LIMIT:
        next_step = RAISE_KEY_LIMIT  # not every refusal says which limit is reached; credits would not help
    return OutOfCredits(
        f"{error.message} This video needs about {needed}. {balance}".strip(),
        next_step=next_step,
        charged=error.charged,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
    )


def tool_for(*, from_text: bool) -> str:
    """The tool that requests a video from a picture, or from text alone."""
    return FROM_TEXT if from_text else FROM_PICTURE


def change_first(*, from_text: bool) -> str:
    """What to do after a failure that would repeat itself."""
    changed = "the prompt" if from_text else "the prompt or the picture"
    return f"The same request would probably fail again: change {changed} first."


def another_take(entry: Entry | None) -> str:
    """What to do where a video is gone, and what that costs."""
    from_text = entry is not None and entry.from_text
    cost = "as much again"
    if entry and entry.is_request:
        cost = f"about {estimate_text(entry.estimate, from_text=from_text)}"
    tool = tool_for(from_text=from_text)
    return f"{tool} with another take makes a new one, which costs {cost}. Ask the user first."


def under_way(reason: str, *, sent: bool | None) -> StillUnderWay:
    """The caller's time is up, and the submission goes on."""
    if sent is None:
        text = "The ledger has not answered yet, so it is not known whether this request was made before."
        return StillUnderWay(text, next_step=ASK_AGAIN, charged="unknown")
    if not sent:
        text = "The request is still being prepared, or waits for its turn: nothing was sent yet."
        return StillUnderWay(text, next_step=ASK_AGAIN)
    text = "The request was sent, and Evolink has not answered yet; the submission goes on in the background."
    return StillUnderWay(" ".join((text, reason)).strip(), next_step=ASK_AGAIN, charged="unknown")


def stopped(*, sent: bool | None) -> WanError:
    """The program ends while the submission is under way."""
    return WanError(
        "The server stopped before this was done.",
        next_step="Make the same request again: it continues the work.",
        charged="no" if sent is False else "unknown",
    )


def unknown(reason: str) -> OutcomeUnknown:
    """A POST may have arrived, and nothing more can be done for now."""
    advice = f"{ASK_AGAIN} list_tasks shows it as unknown."
    return OutcomeUnknown(f"{NOT_KNOWN} {reason}".strip(), next_step=advice, charged="unknown")


def undecided(
    reason: str, candidates: Sequence[Task] | None, *, take: int | None, old: bool
) -> OutcomeUnknown:
    """The request is not sent again, because it could be paid twice.

    Args:
        reason: why the answer is missing.
        candidates: tasks that may be the request's; None where they may be other callers'.
        take: a take that makes another video; None where the caller must not be told to pay for one.
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
        condition = "If none of the account's tasks is this request's"
        if candidates is None:
            condition = "If whoever runs this server finds no task of it in the account"
        advice.append(f"{condition}, take: {take} makes another video, which costs as much again.")
    return OutcomeUnknown(" ".join(said), next_step=" ".join(filter(None, advice)), charged="unknown")
