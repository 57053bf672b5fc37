"""Where every request comes in: it is written into the books and gets its request id."""

import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_mcp.sandbox.records import Call
from wan_mcp.sandbox.sandbox import Sandbox

UNBOOKED = "/sandbox/"


class Reception:
    """ASGI middleware. The call is left in the request's state, for the endpoint to add what it knows."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = self._call(scope)
        if not call.path.startswith(UNBOOKED):
            self._sandbox.books.calls.append(call)
        scope.setdefault("state", {})["call"] = call

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = secrets.token_hex(12)
            await send(message)

        await self._app(scope, receive, send_with_id)

    def _call(self, scope: Scope) -> Call:
        headers = dict(Headers(scope=scope))
        credentials = headers.pop("authorization", None)
        return Call(
            method=scope["method"],
            path=scope["path"],
            time=self._sandbox.clock(),
            idempotency_key=headers.get("idempotency-key"),
            authorized=None if credentials is None else credentials == f"Bearer {self._sandbox.key}",
            headers=headers,
        )
