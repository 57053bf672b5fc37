"""Everything that can go wrong, as one tree.

WanError
├── NotSent                  refused on this machine, nothing was sent
│   ├── SettingsError        a setting is missing or cannot be used
│   ├── ConfigurationError   an MCP client's configuration cannot be read or changed
│   ├── InvalidRequest       the request breaks a documented constraint
│   │   ├── AddressRefused   an address that must not be connected to
│   │   └── PictureError     a picture that cannot be read or made to fit
│   │       ├── DecoderMissing  a picture that needs a library which is not installed
│   │       └── PictureUnavailable  a picture that cannot be read
│   ├── CapReached           the request would exceed a cap
│   └── LedgerError          the ledger cannot be read or written
│       └── TakenOver        another process works on the request now
├── StillUnderWay            the work goes on, but the caller's time is up
├── FetchFailed              a public address gave no complete answer
├── NoPoster                 no poster of a task's picture is kept
├── InternalError            wan-mcp itself failed
├── StorageError             a hosted server's storage cannot be read or written
├── VideoError               a result cannot be fetched, is not a video, or cannot be stored
│   ├── DiskError            a folder cannot be written, or its disk is full
│   └── LinkFailed           the result's link does not deliver a whole video
│       └── LinkDead         the result's link no longer works
└── EvolinkError             the API refused, failed, or could not be reached
    ├── Unreachable          no connection was made
    ├── LostAnswer           the request may have arrived, but its answer did not
    ├── UnreadableAnswer     an answer that is not what the API documents
    ├── Unauthorized         the key is wrong, disabled, expired or lacks a right
    ├── OutOfCredits         the account or the key has too few credits
    ├── ContentRefused       moderation refused the prompt or the picture
    ├── Refused              any other refusal of the request
    ├── NotFound             the task does not exist, or no longer exists
    │   └── NotKnownYet      the task may be too new to be known
    ├── Busy                 rate limit or no capacity: not accepted, try later
    ├── ServerFault          a fault on the API's side
    └── OutcomeUnknown       it is not known whether a paid request was accepted
"""

from typing import Literal

ANOTHER_DATA_FOLDER = "set WAN_MCP_DATA_DIR to another folder."
MAKE_DATA_FOLDER_WRITABLE = f"Make its folder writable, or {ANOTHER_DATA_FOLDER}"
"""What to do where a file in the data folder cannot be made."""
INSTALL_POSTGRES = 'In the clone, run pip install ".[postgres]".'
INSTALL_HTTP = 'In the clone, run pip install ".[http]".'
"""How to install what a hosted server needs besides."""
Charged = Literal["no", "yes", "unknown"]
"""Whether the failed call cost credits: ``unknown``, never ``no``, where that cannot be known."""


class WanError(Exception):
    """Base of every error that wan-mcp raises on purpose.

    The text says what happened; ``next_step`` says what to do now. Neither contains a key,
    picture data or the query of a signed address.
    """

    def __init__(
        self,
        message: str,
        *,
        next_step: str = "",
        charged: Charged = "no",
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        task_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.charged: Charged = charged
        self.status = status
        self.code = code
        self.request_id = request_id
        self.task_id = task_id
        self.retry_after = retry_after
        """Seconds that the API asked the caller to wait; None where it did not."""


def reason_of(error: OSError) -> str:
    """Why the system refused, in its own words."""
    return error.strerror or type(error).__name__


class NotSent(WanError):
    """Raised when a call was refused on this machine, so that nothing was sent or charged."""


class SettingsError(NotSent):
    """Raised when a call needs a setting that is missing or cannot be used."""


class ConfigurationError(NotSent):
    """Raised when the configuration of an MCP client cannot be read or changed; it is as it was."""


class InvalidRequest(NotSent):
    """Raised when a request breaks a documented constraint; nothing was sent."""


class AddressRefused(InvalidRequest):
    """Raised when an address must not be connected to or passed on."""


class PictureError(InvalidRequest):
    """Raised when a picture cannot be read, or cannot be made to fit the endpoint."""


class DecoderMissing(PictureError):
    """Raised when a picture needs a library which is not installed here."""


class PictureUnavailable(PictureError):
    """Raised when a picture cannot be read: it does not exist, or its host does not deliver it."""


class CapReached(NotSent):
    """Raised when a request would exceed a cap."""


class LedgerError(NotSent):
    """Raised when the ledger cannot be read or written."""


class TakenOver(LedgerError):
    """Raised when another process works on a request now, and this one must stop."""


class StillUnderWay(WanError):
    """Raised when the caller's time is up while the work goes on."""


class FetchFailed(WanError):
    """Raised when a public address gives no complete answer: unknown host, no answer, cut off, too slow."""


class NoPoster(WanError):
    """Raised when no poster of a task's picture is kept."""


class InternalError(WanError):
    """Raised when wan-mcp itself failed. Only the log has the cause: its text was not written for a model."""

    def __init__(self, *, next_step: str = "Try once more.", charged: Charged = "no") -> None:
        text = "wan-mcp itself failed; the log on its stderr says why."
        super().__init__(text, next_step=next_step, charged=charged)


class StorageError(WanError):
    """Raised when the storage of a hosted server cannot be read or written now."""


class VideoError(WanError):
    """Raised when a result cannot be fetched, is not a video, or cannot be written to the disk."""


class DiskError(VideoError):
    """Raised when a folder for videos cannot be written, or its disk is full."""


class LinkFailed(VideoError):
    """Raised when a result's link does not deliver a whole video; another link of the task may."""


class LinkDead(LinkFailed):
    """Raised when a result's link no longer works; such links work for 24 hours."""


class EvolinkError(WanError):
    """Raised when the API refused a request, failed, or could not be reached."""


class Unreachable(EvolinkError):
    """Raised when no connection was made, so nothing was sent."""


class LostAnswer(EvolinkError):
    """Raised when a request may have arrived but no complete answer came back."""


class UnreadableAnswer(EvolinkError):
    """Raised when an answer is not what the API documents."""


class Unauthorized(EvolinkError):
    """Raised when the key is wrong, disabled, expired, or lacks a right."""


class OutOfCredits(EvolinkError):
    """Raised when the account or the key has too few credits."""


class ContentRefused(EvolinkError):
    """Raised when moderation refused the prompt or the picture."""


class Refused(EvolinkError):
    """Raised when the API refused the request for any other reason."""


class NotFound(EvolinkError):
    """Raised when the API does not know a task, or no longer knows it."""


class NotKnownYet(NotFound):
    """Raised when the API does not know a task that is so new that it may become known in a moment."""


class Busy(EvolinkError):
    """Raised on a rate limit or missing capacity: the request was not accepted."""


class ServerFault(EvolinkError):
    """Raised on a fault on the API's side."""


class OutcomeUnknown(EvolinkError):
    """Raised when it cannot be known whether a paid request was accepted."""
