"""A hosted server behind real sockets: half a request, slow and large bodies, streams of changes."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from mcp.shared.subscriptions import ResourceUpdated

from tests.calls import answer
from tests.server.http.hosted import IN_BOTH_ERAS, Era, message
from tests.server.http.live import GUARD, HOST, KEY, LiveServer, live
from tests.world import picture
from wan_mcp.sandbox import Account, Sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

OTHER_KEY = "sk-other-0123456789"
FAST = "import wan_mcp.server.http.gate as gate\ngate.BODY_PAUSE, gate.BODY_SECONDS = 0.5, 3.0"
"""Bodies are given up soon, so that the tests need not wait."""
SIZE = 20 * 2**20


@pytest.fixture
def anyio_backend() -> str:
    """An ordinary event loop: time must not jump while a socket is waited for."""
    return "asyncio"


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(key=KEY, accounts=[Account("other", OTHER_KEY)], seconds=0.5, fetch=_picture)


async def _picture(url: str) -> bytes:
    return picture()


@pytest.fixture
async def server(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[LiveServer]:
    async with live(sandbox, tmp_path, FAST, WAN_MCP_IMAGE_CHECK="0") as server:
        yield server


def head(era: Era, key: str | None, *headers: str) -> bytes:
    """The head of a request for all tools."""
    _, needed = message("tools/list", era)
    credential = [] if key is None else [f"authorization: Bearer {key}"]
    lines = [f"{name}: {value}" for name, value in needed.items()] + credential + list(headers)
    return "\r\n".join(["POST /mcp HTTP/1.1", "host: localhost", *lines, "", ""]).encode()


async def status_of(peer: SocketStream) -> int:
    """The status of the answer, once it begins; 0 where the connection ends without one."""
    with anyio.fail_after(GUARD):
        try:
            line = await peer.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return 0
    return int(line.split(b" ")[1])


async def is_closed(peer: SocketStream) -> bool:
    """Whether the server closes the connection, sooner or later."""
    with anyio.move_on_after(GUARD):
        try:
            while True:
                await peer.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return True
    return False


@IN_BOTH_ERAS
async def test_a_body_that_stops_is_given_up(server: LiveServer, sandbox: Sandbox, era: Era) -> None:
    """408, and the connection is closed; a stranger is refused without a wait for the body."""
    for key, status in ((KEY, 408), (None, 401)):
        async with await anyio.connect_tcp(HOST, server.port) as peer:
            await peer.send(head(era, key, "content-length: 1000") + b"{")
            assert await status_of(peer) == status
            assert status == 401 or await is_closed(peer)
    assert {call.at for call in sandbox.records.calls} == {"credits"}


@IN_BOTH_ERAS
async def test_a_body_in_drops_is_given_up(server: LiveServer, era: Era) -> None:
    """Each byte in time is not enough."""
    async with await anyio.connect_tcp(HOST, server.port) as peer, anyio.create_task_group() as group:
        await peer.send(head(era, KEY, "content-length: 100000"))

        async def drip() -> None:
            while True:
                await peer.send(b" ")
                await anyio.sleep(0.1)

        group.start_soon(drip)
        assert await status_of(peer) == 408
        group.cancel_scope.cancel()


@IN_BOTH_ERAS
async def test_20_mb_are_not_taken(server: LiveServer, era: Era) -> None:
    """413 for a caller; the server goes on."""
    for form in ("declared", "chunked"):
        await send_20_mb(server, era, form)
        await still_serves(server)


async def send_20_mb(server: LiveServer, era: Era, form: str) -> None:
    """Send so much, of which the server takes only a part."""
    length = f"content-length: {SIZE}" if form == "declared" else "transfer-encoding: chunked"
    part = b" " * 2**16
    chunk = part if form == "declared" else b"10000\r\n" + part + b"\r\n"
    async with await anyio.connect_tcp(HOST, server.port) as peer, anyio.create_task_group() as group:

        async def send() -> None:
            try:
                await peer.send(head(era, KEY, length))
                for _ in range(SIZE // len(part)):
                    await peer.send(chunk)
            except anyio.BrokenResourceError:
                pass  # it was refused before all had been sent

        group.start_soon(send)
        assert await status_of(peer) == 413
        group.cancel_scope.cancel()


@IN_BOTH_ERAS
async def test_half_a_request_does_nothing(server: LiveServer, sandbox: Sandbox, era: Era) -> None:
    """However the connection ends; nothing runs, and nothing of it is in the log as a fault of the server."""
    whole = head(era, KEY, "content-length: 1000")
    for sent in (whole[:9], whole[:60], whole + b'{"jsonrpc"'):
        for end in ("closed", "half closed", "reset"):
            await send_half(server, sent, end)
            await still_serves(server)
    assert {call.at for call in sandbox.records.calls} == {"credits"}
    assert "Exception in ASGI application" not in server.log


async def send_half(server: LiveServer, sent: bytes, end: str) -> None:
    """Send a part of a request, and end the connection in this way."""
    peer = await anyio.connect_tcp(HOST, server.port)
    await peer.send(sent)
    if end == "half closed":
        await peer.send_eof()
        assert await status_of(peer) in (0, 400, 408)
    elif end == "reset":
        raw: socket.socket = peer.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await peer.aclose()


async def still_serves(server: LiveServer) -> None:
    """Other callers are served."""
    body, headers = message("tools/list", "modern")
    async with server.http() as http:
        assert (await http.post("/mcp", json=body, headers=headers)).status_code == 200


async def test_a_stream_has_its_owners_changes_alone(server: LiveServer) -> None:
    """Whoever listens to another owner's task, or to all, hears of the own ones only."""
    request: dict[str, Any] = {"image_urls": ["https://pictures.example.com/cat.png"], "quality": "480p"}
    heard: dict[str, list[str]] = {KEY: [], OTHER_KEY: []}
    ids: dict[str, str] = {}
    async with server.client("modern", KEY) as one, server.client("modern", OTHER_KEY) as other:
        clients = {KEY: one, OTHER_KEY: other}
        for key, client in clients.items():
            ids[key] = (await answer(client, "generate_video", prompt=key[:5], **request))["id"]
        uris = {key: f"wan://tasks/{task_id}" for key, task_id in ids.items()}

        async def listen(key: str, *, task_status: Any) -> None:
            async with clients[key].listen(resource_subscriptions=[*uris.values(), "wan://tasks"]) as stream:
                task_status.started()
                async for event in stream:
                    assert isinstance(event, ResourceUpdated)
                    heard[key].append(event.uri)

        async with anyio.create_task_group() as group:
            for key in clients:
                await group.start(listen, key)
            for key, client in clients.items():
                found = {"status": ""}
                with anyio.fail_after(GUARD):
                    while found["status"] != "completed":
                        found = await answer(client, "wait_for_task", task_id=ids[key])
            group.cancel_scope.cancel()
    for key in clients:
        assert uris[key] in heard[key]
        assert set(heard[key]) <= {uris[key], "wan://tasks"}


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such limit")
async def test_connections_that_stay_silent_do_not_use_up_the_usual_number_of_files(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """A system gives 1,024, or here 100, unless it is asked; an open wait is a connection, too."""
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4096))"
    async with live(sandbox, tmp_path, few) as server, AsyncExitStack() as stack:
        for _ in range(200):
            await stack.enter_async_context(await anyio.connect_tcp(HOST, server.port))
        with anyio.fail_after(10):
            async with server.client("modern") as client:
                assert (await client.list_tools()).tools
