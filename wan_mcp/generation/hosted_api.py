"""The API for the callers of a hosted server: its errors, with advice that these callers can follow.

They are reworded here, not where they are shown: other texts quote their messages before that.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from wan_mcp.errors import EvolinkError, OutOfCredits, Unauthorized, Unreachable, UnreadableAnswer
from wan_mcp.evolink import Accepted, Connections, Credits, Evolink, Listing, Task, Upload, VideoRequest
from wan_mcp.evolink.client import PAGE_SIZE
from wan_mcp.evolink.http_errors import CHECK_KEY, KEYS_PAGE
from wan_mcp.generation.owners import Deployment

logger = logging.getLogger(__name__)

OPERATOR = "tell whoever runs this server"
TELL = "Tell whoever runs this server."
ASK_LATER = f"Try again in a minute; if it stays so, {OPERATOR}."
TOO_FEW_CREDITS = "The server's account at Evolink has too few credits for this."
KEY_REFUSED = "Evolink does not accept the server's own key for this."
CALLERS_KEY = (
    f"Check the Evolink key that the client sends in Authorization or X-API-Key; keys are at {KEYS_PAGE}."
)


class HostedEvolink(Evolink):
    """The API as one caller's key, or the operator's, sees it.

    Args:
        deployment: whose key it is.
    """

    def __init__(
        self,
        key: SecretStr,
        connections: Connections,
        *,
        deployment: Deployment,
        base_url: str,
        files_url: str,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(key, connections, base_url=base_url, files_url=files_url, clock=clock)
        self._deployment = deployment

    async def task(self, task_id: str) -> Task:
        with self._explained():
            return await super().task(task_id)

    async def tasks(self, model: str | None = None, *, page: int = 1, page_size: int = PAGE_SIZE) -> Listing:
        with self._explained():
            return await super().tasks(model, page=page, page_size=page_size)

    async def credits(self) -> Credits:
        with self._explained():
            return await super().credits()

    async def upload(self, file_name: str, content: bytes, media_type: str) -> Upload:
        with self._explained():
            return await super().upload(file_name, content, media_type)

    async def submit(
        self, request: VideoRequest, *, idempotency_key: str, writing: Callable[[], None] = lambda: None
    ) -> Accepted:
        with self._explained():
            return await super().submit(request, idempotency_key=idempotency_key, writing=writing)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except EvolinkError as error:
            explained = _explained(error, self._deployment)
            if explained is not error:
                logger.warning("%s", error)  # the operator needs Evolink's own words
            raise explained from error.__cause__


def _explained(error: EvolinkError, deployment: Deployment) -> EvolinkError:
    """The same error as a caller may see it, with advice that a caller can follow."""
    if deployment.operator_pays and isinstance(error, OutOfCredits):
        # Evolink's own words may have the balance, which is the operator's.
        return _reworded(error, TOO_FEW_CREDITS, TELL)
    if deployment.operator_pays and isinstance(error, Unauthorized):
        return _reworded(error, KEY_REFUSED, TELL)
    if isinstance(error, Unauthorized) and error.next_step == CHECK_KEY:
        return _reworded(error, error.message, CALLERS_KEY)
    if isinstance(error, Unreachable):
        return _reworded(error, error.message, ASK_LATER)
    if isinstance(error, UnreadableAnswer) and 300 <= (error.status or 0) < 400:
        return _reworded(error, error.message, TELL)
    return error


def _reworded(error: EvolinkError, message: str, next_step: str) -> EvolinkError:
    return type(error)(
        message,
        next_step=next_step,
        charged=error.charged,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        retry_after=error.retry_after,
    )
