"""The log of a hosted server: what a line says, and what never gets into one."""

import io
import json
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from opentelemetry.sdk.trace import TracerProvider
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from tests.calls import ADDRESS, ARGUMENTS, ERAS, call
from tests.server.http.live import KEY, live
from tests.world import World
from wan_mcp.sandbox import Sandbox
from wan_mcp.server.http.request_log import JsonLines, NoteCall, RequestLog, configure
from wan_mcp.server.tools import TOOLS

pytestmark = pytest.mark.anyio

URL = "http://127.0.0.1:8000"
CALLERS_KEY = "sk-callers-canary-456"
PROMPT = "prompt-canary"
QUERY = "signature=query-canary"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FIELDS = {"time", "level", "logger", "message", "method", "tool", "owner", "status", "ms", "trace_id"}

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged, in place of stderr."""
    level, log = logging.root.level, io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [])
    configure("WARNING", log)
    yield log
    logging.captureWarnings(False)
    logging.root.setLevel(level)


@pytest.fixture
def lines(log: io.StringIO) -> Lines:
    """Gives the lines that were logged since the last call; each is JSON."""

    def new() -> list[dict[str, Any]]:
        text = log.getvalue()
        log.seek(0)
        log.truncate()
        return [json.loads(line) for line in text.splitlines()]

    return new


@asynccontextmanager
async def served(world: World, **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a hosted server."""
    server = world.server()
    server.middleware.append(NoteCall(tool.name for tool in TOOLS))
    app = server.streamable_http_app(stateless_http=True)
    async with app.router.lifespan_context(app), to(app, **headers) as http:
        yield http


def to(app: ASGIApp, **headers: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(RequestLog(app), raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url=URL, headers=headers)


@asynccontextmanager
async def mcp(http: httpx2.AsyncClient, mode: Any) -> AsyncIterator[Client]:
    async with Client(streamable_http_client(f"{URL}/mcp", http_client=http), mode=mode) as client:
        yield client


async def post(http: httpx2.AsyncClient, method: str, **params: Any) -> httpx2.Response:
    """A request of the era before, which needs no handshake where there are no sessions."""
    headers = {"accept": "application/json, text/event-stream"}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return await http.post("/mcp", json=body, headers=headers)


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


@ERAS
async def test_a_call_is_one_line(world: World, lines: Lines, mode: str) -> None:
    """With the method and the tool; at level INFO, although the rest is logged from WARNING on."""
    async with served(world) as http, mcp(http, mode) as client:
        lines()
        await call(client, "get_credits")
        [line] = [line for line in lines() if line["method"] == "tools/call"]
    assert set(line) == FIELDS
    assert (line["tool"], line["status"], line["owner"]) == ("get_credits", 200, None)
    assert (line["level"], line["logger"]) == ("INFO", "wan_mcp.requests")
    assert line["time"].endswith("+00:00")
    assert line["ms"] >= 0
    assert len(bytes.fromhex(line["trace_id"])) == 16


@ERAS
async def test_nothing_that_a_caller_sends_is_logged(world: World, log: io.StringIO, mode: str) -> None:
    """Neither key, prompt, query nor answer, although everything is logged; also of refused calls."""
    logging.root.setLevel("DEBUG")
    async with (
        served(world, authorization=f"Bearer {CALLERS_KEY}", **{"x-api-key": CALLERS_KEY}) as http,
        mcp(http, mode) as client,
    ):
        await call(client, "generate_video", **ARGUMENTS | {"prompt": PROMPT})
        await call(client, "generate_video", prompt=PROMPT, image_urls=[f"{ADDRESS}?{QUERY}"], odd=PROMPT)
        await http.post(f"/mcp?{QUERY}", content=PROMPT)
        await http.get(f"/{PROMPT}?{QUERY}")
    logged = log.getvalue()
    assert "generate_video" in logged
    for canary in (CALLERS_KEY, PROMPT, QUERY, ADDRESS, "jsonrpc"):
        assert canary not in logged


async def test_names_that_do_not_exist_are_not_logged(world: World, lines: Lines) -> None:
    """A caller could write anything into them, also what looks like another line."""
    text = 'odd"}\n{"method": "tools/call"\x1b[2J'
    async with served(world) as http:
        await post(http, text)
        await post(http, "tools/call", name=text, arguments={})
        await post(http, "tools/call", name=["get_credits"], arguments={})
        await http.request("ODD", "/mcp")
        found = [(line["method"], line["tool"]) for line in lines() if line["message"] == "request"]
    assert found == [("POST", None), ("tools/call", None), ("tools/call", None), (None, None)]


async def test_an_answer_to_no_call_has_the_method_of_http_and_its_status(lines: Lines) -> None:
    """As for an unknown address, or a method that is not allowed."""
    async with to(Starlette(routes=[Route("/hello", hello)])) as http:
        await http.get("/unknown")
        await http.delete("/hello")
    assert [(line["method"], line["status"]) for line in lines()] == [("GET", 404), ("DELETE", 405)]


async def test_the_owner_is_the_caller_whose_credentials_were_accepted(lines: Lines) -> None:
    """As its digest; a request without such a caller has no owner."""

    async def known(request: Request) -> Response:
        owner = AccessToken(token="", client_id="0123456789abcdef", scopes=[])
        request.scope["user"] = AuthenticatedUser(owner)
        return Response()

    async with to(Starlette(routes=[Route("/known", known), Route("/hello", hello)])) as http:
        await http.get("/known")
        await http.get("/hello")
    assert [line["owner"] for line in lines()] == ["0123456789abcdef", None]


async def test_probes_are_logged_only_when_they_fail(lines: Lines) -> None:
    """They come every few seconds."""

    async def unready(request: Request) -> Response:
        return Response(status_code=503)

    async with to(Starlette(routes=[Route("/healthz", hello), Route("/readyz", unready)])) as http:
        await http.get("/healthz")
        await http.get("/readyz")
    assert [line["status"] for line in lines()] == [503]


async def test_an_unexpected_error_is_a_line_with_its_traceback_and_one_for_the_request(lines: Lines) -> None:
    """The traceback is one field, without the values of variables."""

    async def broken(request: Request) -> Response:
        secret = CALLERS_KEY
        try:
            raise ValueError("it\nbroke", len(secret))
        except ValueError:
            logging.getLogger("wan_mcp.test").exception("failed\nunexpectedly")
            raise

    async with to(Starlette(routes=[Route("/broken", broken)])) as http:
        assert (await http.get("/broken")).status_code == 500
    error, request = lines()
    assert set(error) == {"time", "level", "logger", "message", "error"}
    assert (error["level"], error["message"]) == ("ERROR", "failed\nunexpectedly")
    assert error["error"].startswith("Traceback")
    assert CALLERS_KEY not in error["error"]
    assert request["status"] == 500


async def test_an_answer_that_breaks_off_is_an_error(lines: Lines) -> None:
    """Although its status was sent before."""

    async def begin() -> AsyncIterator[str]:
        yield "begin"
        raise ValueError

    async def broken(request: Request) -> Response:
        return StreamingResponse(begin())

    async with to(Starlette(routes=[Route("/broken", broken)])) as http:
        await http.get("/broken")
    assert [line["status"] for line in lines()] == [500]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([f"00-{TRACE}-00f067aa0ba902b7-01"], True),
        ([f"cc-{TRACE}-00f067aa0ba902b7-01-later"], True),
        ([], False),
        ([f"00-{TRACE}-00f067aa0ba902b7-01"] * 2, False),
        ([f"ff-{TRACE}-00f067aa0ba902b7-01"], False),
        ([f"00-{TRACE}-0000000000000000-01"], False),
        ([f"00-{'0' * 32}-00f067aa0ba902b7-01"], False),
        ([f"00-{TRACE.upper()}-00f067aa0ba902b7-01"], False),
        ([TRACE], False),
        ([f"00-{TRACE}-00f067aa0ba902b7-01" + "x" * 10_000], False),
    ],
)
async def test_the_trace_is_the_callers_or_a_new_one(lines: Lines, given: list[str], kept: bool) -> None:
    """By the header of the W3C, where it is valid."""
    async with to(Starlette(routes=[Route("/hello", hello)])) as http:
        headers = [("traceparent", value) for value in given]
        for _ in range(2):
            await http.get("/hello", headers=headers)
    one, two = [line["trace_id"] for line in lines() if line["message"] == "request"]
    if kept:
        assert one == two == TRACE
    else:
        assert len({one, two, TRACE}) == 3
        assert all(len(bytes.fromhex(trace_id)) == 16 for trace_id in (one, two))


@ERAS
async def test_the_spans_of_a_request_have_the_trace_of_its_line(
    world: World, lines: Lines, mode: str
) -> None:
    """So that whoever sees the one finds the other."""
    seen: list[str] = []
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")

    async def note(ctx: Any, call_next: Any) -> Any:
        with tracer.start_as_current_span("work") as span:
            if ctx.method == "tools/call":
                seen.append(f"{span.get_span_context().trace_id:032x}")
            return await call_next(ctx)

    server = world.server()
    server.middleware.extend([note, NoteCall(tool.name for tool in TOOLS)])
    app = server.streamable_http_app(stateless_http=True)
    async with app.router.lifespan_context(app), to(app) as http, mcp(http, mode) as client:
        seen.clear()
        lines()
        await call(client, "get_credits")
        http.headers["traceparent"] = f"00-{TRACE}-00f067aa0ba902b7-01"
        await call(client, "get_credits")
        logged = [line["trace_id"] for line in lines() if line["tool"]]
    assert len(logged) == 2
    assert logged == seen
    assert logged[1] == TRACE


def test_other_lines_are_json_as_well(lines: Lines) -> None:
    """Of any library, with their own level; warnings of Python too."""
    logging.getLogger("uvicorn.error").warning("a %s", "line")
    logging.getLogger("other").info("not logged")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", UserWarning, stacklevel=1)
    one, two = lines()
    assert (one["message"], one["logger"]) == ("a line", "uvicorn.error")
    assert (two["logger"], two["level"]) == ("py.warnings", "WARNING")


def test_no_text_can_begin_another_line_or_control_a_terminal() -> None:
    """Whatever is no printable ASCII is escaped, also half of a surrogate pair."""
    text = "a\r\nb\u2028c\x1b[2J\x7f\x9b\udc80"
    line = JsonLines().format(logging.LogRecord("other", logging.ERROR, "", 1, text, None, None))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == text


def test_a_wrong_call_of_the_log_is_a_line_without_its_arguments() -> None:
    """Python itself would write a traceback with all of them."""
    record = logging.LogRecord("other", logging.ERROR, "", 1, "%d pieces", (CALLERS_KEY,), None)
    line = JsonLines().format(record)
    assert json.loads(line)["message"] == "%d pieces"
    assert CALLERS_KEY not in line


def test_a_line_has_a_bound(lines: Lines) -> None:
    """A long message or traceback is cut."""
    try:
        raise ValueError("x" * 1_000_000)
    except ValueError:
        logging.getLogger("other").exception("y" * 1_000_000)
    [line] = lines()
    assert len(json.dumps(line)) < 10_000


@pytest.mark.slow
class TestOnASocket:
    """Under uvicorn."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.mark.parametrize("begun", [False, True])
    async def test_a_caller_that_goes_away_is_logged_as_gone(self, lines: Lines, begun: bool) -> None:
        """Before the answer has begun, and in the middle of it."""
        asked, over = anyio.Event(), anyio.Event()

        async def forever() -> AsyncIterator[str]:
            yield "begin"
            await anyio.sleep_forever()

        async def slow(request: Request) -> Response:
            asked.set()
            if not begun:
                while (await request.receive())["type"] != "http.disconnect":
                    pass
            return StreamingResponse(forever() if begun else iter(()))

        logged = RequestLog(Starlette(routes=[Route("/slow", slow)]))

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await logged(scope, receive, send)
            over.set()

        with anyio.fail_after(30):
            async with running(app) as port:
                stream = await anyio.connect_tcp("127.0.0.1", port)
                await stream.send(b"GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                await asked.wait()
                if begun:
                    await stream.receive()
                await stream.aclose()
                await over.wait()
        assert [line["status"] for line in lines()] == [499]

    async def test_what_uvicorn_says_itself_is_json(self, lines: Lines) -> None:
        """As of half a request; and its access log is off."""

        async def broken(scope: Any, receive: Any, send: Any) -> None:
            raise ValueError

        with anyio.fail_after(30):
            async with running(broken) as port, httpx2.AsyncClient() as http:
                await http.get(f"http://127.0.0.1:{port}/?{QUERY}")
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    await stream.send(b"nonsense\r\n\r\n")
                    await stream.receive()
        error, invalid = lines()
        assert (error["logger"], error["level"]) == ("uvicorn.error", "ERROR")
        assert "ValueError" in error["error"]
        assert (invalid["logger"], invalid["level"]) == ("uvicorn.error", "WARNING")
        assert QUERY not in str((error, invalid))

    async def test_all_that_the_process_writes_is_json(self, tmp_path: Path) -> None:
        """From its start to its end, also what libraries have to say."""
        async with live(Sandbox(key=KEY), tmp_path, WAN_MCP_LOG_LEVEL="DEBUG") as server:
            async with server.client("modern") as client:
                await call(client, "list_tasks")
            server.stop()
            await server.ended()
        lines = [json.loads(line) for line in server.log.splitlines()]
        assert lines[0]["message"].startswith("serving at")
        assert lines[-1]["message"] == "stopped"
        assert "list_tasks" in {line.get("tool") for line in lines}
        assert KEY not in server.log


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[int]:
    """Serve on a free port of this machine, with uvicorn's log left to the root logger."""
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as group:
        group.start_soon(server._serve)
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await anyio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True
