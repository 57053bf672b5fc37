"""What a call gets from a fault, instead of the right answer."""

import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from wan_mcp.sandbox.faults import Fault
from wan_mcp.sandbox.problems import Problem
from wan_mcp.sandbox.tasks import Failure

CHUNK = 64 * 1024
GOODBYE_SECONDS = 1
PAGE = "<!DOCTYPE html><html><head><title>Error 1010</title></head><body><h1>Access denied</h1></body></html>"
MEDIA_TYPES = {"result": "video/mp4", "file": "image/png"}


async def play(fault: Fault, request: Request, carry_out: Callable[[], Awaitable[Response]]) -> Response:
    """The answer to a call that the fault applies to."""
    match fault.kind:
        case "fail":
            request.state.failure = _failure(fault)
        case "late":
            request.state.postponed = fault.seconds
        case "hesitate":
            await anyio.sleep(fault.seconds)
    answer = await carry_out() if fault.is_carried_out else Response()
    if fault.kind not in ("late", "hesitate"):
        await anyio.sleep(fault.seconds)
    return ANSWERS[fault.kind](fault, request, answer)


def refusal(problem: Problem, *, older: bool) -> JSONResponse:
    return JSONResponse(problem.body(older=older), problem.status, problem.headers)


class Hangup(Response):
    """No answer: the connection ends instead."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _hang_up(scope, receive)


class Cut(Response):
    """The beginning of another answer: half of its first piece, then the connection ends."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_cut = False

        async def send_half(message: Message) -> None:
            nonlocal is_cut
            if message["type"] != "http.response.body":
                await send(message)
            elif not is_cut:
                is_cut = True
                body = message.get("body", b"")
                await send({**message, "body": body[: len(body) // 2], "more_body": True})

        await self._answer(scope, receive, send_half)
        await _hang_up(scope, receive, after_writing=True)


async def _hang_up(scope: Scope, receive: Receive, *, after_writing: bool = False) -> None:
    transport = scope.get("state", {}).get("transport")
    if transport is None:
        # Without a socket, the client is in this process, and sees this as an error of its own connection.
        import httpx2

        raise httpx2.ReadError("The sandbox broke the connection.")
    if after_writing:
        transport.close()
    else:
        _reset(transport.get_extra_info("socket"))
        transport.abort()
    # The server reports an error if we return before it has seen the end.
    with anyio.move_on_after(GOODBYE_SECONDS):
        while (await receive())["type"] != "http.disconnect":
            pass


def _reset(connection: socket.socket) -> None:
    """Make the next close a reset, which is a read error for the client, not an orderly end."""
    linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def _failure(fault: Fault) -> Failure:
    code = fault.text("code", "service_error")
    message = fault.text("message", f"The generation failed: {code}.")
    return Failure(code, message, at_once=bool(fault.details.get("at_once", False)))


def _the_answer(fault: Fault, request: Request, answer: Response) -> Response:
    return answer


def _hangup(fault: Fault, request: Request, answer: Response) -> Response:
    return Hangup()


def _cut(fault: Fault, request: Request, answer: Response) -> Response:
    return Cut(answer)


def _status(fault: Fault, request: Request, answer: Response) -> Response:
    status = fault.number("status", 503)
    problem = Problem(
        status,
        fault.text("message", f"The sandbox was told to answer {status}."),
        code=fault.text("code", "") or None,
        param=fault.text("param", "") or None,
        retry_after=fault.details.get("retry_after"),
    )
    older = fault.details.get("older", request.app.state.sandbox.older_errors)
    return refusal(problem, older=bool(older))


def _late(fault: Fault, request: Request, answer: Response) -> Response:
    return Hangup() if fault.details.get("status") == 0 else _status(fault, request, answer)


def _capacity(fault: Fault, request: Request, answer: Response) -> Response:
    message = fault.text("message", "no available service for model wan2.5-image-to-video")
    problem = Problem(400, message, code=fault.text("code", "no_available_channel"))
    return refusal(problem, older=bool(fault.details.get("older", request.app.state.sandbox.older_errors)))


def _garbage(fault: Fault, request: Request, answer: Response) -> Response:
    return Response(b"\x00\xff{]" * 256, fault.number("status", 200), media_type=_media_type(fault))


def _html(fault: Fault, request: Request, answer: Response) -> Response:
    return HTMLResponse(PAGE, fault.number("status", 200))


def _empty(fault: Fault, request: Request, answer: Response) -> Response:
    return Response(b"", fault.number("status", 200), media_type=_media_type(fault))


def _huge(fault: Fault, request: Request, answer: Response) -> Response:
    body = _padding(fault.number("size", 32 * 1024 * 1024))
    return StreamingResponse(body, fault.number("status", 200), media_type=_media_type(fault))


def _body(fault: Fault, request: Request, answer: Response) -> Response:
    return JSONResponse(fault.details["body"], fault.number("status", 200))


def _patch(fault: Fault, request: Request, answer: Response) -> Response:
    body = json.loads(bytes(answer.body))
    return JSONResponse(body | fault.details["body"], fault.number("status", answer.status_code))


def _redirect(fault: Fault, request: Request, answer: Response) -> Response:
    return RedirectResponse(
        fault.text("location", f"{request.base_url}elsewhere"), fault.number("status", 302)
    )


def _media_type(fault: Fault) -> str:
    return MEDIA_TYPES.get(fault.at, "application/json")


async def _padding(size: int) -> AsyncIterator[bytes]:
    """A JSON string of so many bytes."""
    yield b'"'
    for start in range(0, size - 2, CHUNK):
        yield b"x" * min(CHUNK, size - 2 - start)
    yield b'"'


ANSWERS: dict[str, Callable[[Fault, Request, Response], Response]] = {
    "status": _status,
    "capacity": _capacity,
    "lost": _hangup,
    "dropped": _hangup,
    "cut": _cut,
    "slow": _the_answer,
    "hesitate": _the_answer,
    "late": _late,
    "fail": _the_answer,
    "garbage": _garbage,
    "html": _html,
    "empty": _empty,
    "huge": _huge,
    "body": _body,
    "patch": _patch,
    "redirect": _redirect,
}
