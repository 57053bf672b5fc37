"""What the API answers when it refuses, in both generations of its error bodies."""

from collections.abc import Mapping

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
CODES = {
    400: "invalid_request",
    401: "unauthorized",
    402: "insufficient_quota",
    403: "permission_denied",
    404: "not_found",
    409: "idempotency_conflict",
    429: "rate_limit_exceeded",
    500: "internal_error",
    502: "bad_gateway",
    503: "service_unavailable",
    504: "gateway_timeout",
}


class Problem(Exception):
    """A refusal: an HTTP status, a code and a sentence."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: object = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or CODES.get(status, "unknown_error")
        self.param = param
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}

    def body(self, *, older: bool) -> dict[str, object]:
        """The error body; in the older generation `code` repeats the HTTP status."""
        error: dict[str, object] = {
            "code": self.status if older else self.code,
            "message": self.message,
            "type": TYPES.get(self.status, "server_error"),
        }
        if self.param is not None:
            error["param"] = self.param
        if older and self.retry_after is not None:
            error["fallback_suggestion"] = f"retry after {self.retry_after} seconds"
        return {"error": error}
