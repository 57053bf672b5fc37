"""The HTTP application of a sandbox: the API, the uploads, the files and the results."""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from email.utils import formatdate
from functools import partial

import anyio
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_mcp.sandbox import api, media
from wan_mcp.sandbox.accounts import Account
from wan_mcp.sandbox.fault_responses import play, refusal
from wan_mcp.sandbox.problems import Problem
from wan_mcp.sandbox.records import Call
from wan_mcp.sandbox.sandbox import Sandbox

OPEN_PLACES = ("file", "result")
UNRECORDED = "/sandbox/"

Handler = Callable[[Request], Awaitable[Response]]


def create_app(sandbox: Sandbox) -> Starlette:
    """One ASGI application that answers as the API, its file host and its result host do."""
    app = Starlette(
        routes=[
            Route("/v1/videos/generations", _endpoint("submit", api.submit), methods=["POST"]),
            Route("/v1/tasks", _endpoint("tasks", api.list_tasks)),
            Route("/v1/tasks/{task_id}", _endpoint("task", api.task)),
            Route("/v1/credits", _endpoint("credits", api.credits)),
            Route("/api/v1/files/upload/stream", _endpoint("upload", media.upload_stream), methods=["POST"]),
            Route("/files/{file_id}/{name}", _endpoint("file", media.file)),
            Route("/results/{task_id}.mp4", _endpoint("result", media.result)),
            Route("/sandbox/records", api.records),
            Route("/sandbox/faults", api.add_faults, methods=["POST"]),
            Route("/sandbox/faults", api.clear_faults, methods=["DELETE"]),
        ],
        middleware=[Middleware(Recorder, sandbox=sandbox)],
        lifespan=_lifespan,
    )
    app.state.sandbox = sandbox
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    sandbox: Sandbox = app.state.sandbox
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sandbox.callbacks.keep_delivering)
        yield
        tasks.cancel_scope.cancel()
    sandbox.results.close()


def _endpoint(at: str, handler: Handler) -> Handler:
    """A handler whose calls are recorded, which requires the key, and to which a scripted fault may apply."""

    async def endpoint(request: Request) -> Response:
        sandbox: Sandbox = request.app.state.sandbox
        call = request.state.call
        call.at = at
        if at == "submit":
            call.body = await _json_or_none(request)
        fault = sandbox.faults.take(at)
        call.fault = fault and fault.kind
        carry_out = partial(_carry_out, at, handler, request)
        with ExitStack() as until_answered:
            request.state.until_answered = until_answered
            return await (play(fault, request, carry_out) if fault else carry_out())

    return endpoint


async def _carry_out(at: str, handler: Handler, request: Request) -> Response:
    try:
        if at not in OPEN_PLACES and not request.state.call.authorized:
            raise Problem(401, "The API key is missing or wrong.")
        return await handler(request)
    except Problem as problem:
        return refusal(problem, older=request.app.state.sandbox.older_errors)


async def _json_or_none(request: Request) -> object:
    try:
        return json.loads(await request.body())
    except ValueError:
        return None


class Recorder:
    """ASGI middleware: records every call, and gives the answer a request id and the sandbox's date.

    The call is put into the request's state, where the endpoint adds what it knows, and with it the account
    of its key.
    """

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call, account = self._call(scope)
        if not call.path.startswith(UNRECORDED):
            self._sandbox.records.calls.append(call)
        scope.setdefault("state", {}).update(call=call, account=account)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = secrets.token_hex(12)
                if self._sandbox.date_offset is not None:
                    headers["date"] = formatdate(
                        int(self._sandbox.clock() + self._sandbox.date_offset), usegmt=True
                    )
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _call(self, scope: Scope) -> tuple[Call, Account | None]:
        headers = dict(Headers(scope=scope))
        credentials = headers.pop("authorization", None)
        admitted = None if credentials is None else self._sandbox.admit(credentials)
        account, sent_by = admitted or (None, None)
        call = Call(
            method=scope["method"],
            path=scope["path"],
            time=self._sandbox.clock(),
            idempotency_key=headers.get("idempotency-key"),
            authorized=None if credentials is None else admitted is not None,
            headers=headers,
            sent_by=sent_by,
        )
        return call, account
