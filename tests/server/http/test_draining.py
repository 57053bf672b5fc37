"""How ``wan-mcp http`` ends: everybody gets an answer, nothing is paid twice, and nothing holds it."""

import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client

from tests.calls import answer, call, text
from tests.server.http.hosted import IN_BOTH_ERAS, Era, message, oauth_settings
from tests.server.http.issuer import live_issuer
from tests.server.http.live import GUARD, HOST, KEY, LiveServer, live, live_at
from tests.world import picture
from wan_mcp.sandbox import Fault, Sandbox, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PICTURE = "https://pictures.example.com/cat.png"
REQUEST: dict[str, Any] = {"prompt": "go", "image_urls": [PICTURE], "quality": "480p"}
UNCHECKED = {"WAN_MCP_IMAGE_CHECK": "0"}
"""The picture of the requests is in no network that a real process can reach."""
WAITERS = 10


@pytest.fixture
def anyio_backend() -> str:
    """An ordinary event loop: time must not jump while a socket is waited for."""
    return "asyncio"


async def fetch(url: str) -> bytes:
    return picture()


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(key=KEY, seconds=600, fetch=fetch)


@pytest.fixture
async def server(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[LiveServer]:
    async with live(sandbox, tmp_path, **UNCHECKED) as server:
        yield server


async def until(condition: Any) -> None:
    """Wait until this is so."""
    with anyio.fail_after(GUARD):
        while not condition():  # noqa: ASYNC110  what another process does sets no event here
            await anyio.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_all_who_wait_get_their_normal_answer(server: LiveServer, number: signal.Signals) -> None:
    """In both eras, each with the state and what to do next; then the process ends with 0."""
    answers: list[dict[str, Any]] = []
    waiting = 0

    async def wait(client: Client, task_id: str) -> None:
        async def on_progress(*progress: object) -> None:
            begun.add(len(begun))

        begun: set[int] = set()
        nonlocal waiting
        async with anyio.create_task_group() as group:
            group.start_soon(_answered, client, task_id, on_progress, answers)
            await until(lambda: begun)
            waiting += 1

    async with server.client("modern") as modern, server.client("legacy") as legacy:
        asked = await answer(modern, "generate_video", **REQUEST)
        await legacy.list_tools()  # else it asks for the schema of an answer when the server has ended
        async with anyio.create_task_group() as group:
            for client in (modern, legacy):
                for _ in range(WAITERS):
                    group.start_soon(wait, client, asked["id"])
            await until(lambda: waiting == 2 * WAITERS)
            server.stop(number)
        assert await server.ended() == 0, server.log
    assert len(answers) == 2 * WAITERS
    for found in answers:
        assert (found["id"], found["status"]) in ((asked["id"], "pending"), (asked["id"], "processing"))
        assert "wait_for_task" in found["next"]


async def _answered(client: Client, task_id: str, on_progress: Any, answers: list[dict[str, Any]]) -> None:
    arguments = {"task_id": task_id, "timeout_seconds": 50}
    result = await client.call_tool("wait_for_task", arguments, progress_callback=on_progress)
    content = getattr(result, "structured_content", None)
    assert isinstance(content, dict), result
    answers.append(content)


@IN_BOTH_ERAS
async def test_a_submission_under_way_stays_open_and_is_paid_once(
    sandbox: Sandbox, tmp_path: Path, era: Era
) -> None:
    """The caller is told to ask again, and the next process goes on under the same idempotency key."""
    sandbox.faults.add(Fault("submit", "slow", seconds=600))  # it is carried out, and the answer never comes
    async with running(sandbox) as url:
        async with live_at(url, tmp_path, **UNCHECKED) as server, server.client(era) as client:
            told: list[str] = []

            async def generate() -> None:
                told.append(text(await call(client, "generate_video", **REQUEST)))

            await client.list_tools()
            async with anyio.create_task_group() as group:
                group.start_soon(generate)
                await until(lambda: sandbox.records.posts)
                server.stop()
            assert await server.ended() == 0, server.log
        assert "again" in told[0]
        assert "Traceback" not in server.log
        sandbox.faults.clear()
        async with live_at(url, tmp_path, **UNCHECKED) as server, server.client(era) as client:
            asked = await answer(client, "generate_video", **REQUEST)
    posts = [record for record in sandbox.records.calls if record.at == "submit"]
    assert len({post.idempotency_key for post in posts}) == 1
    assert [payment.task_id for payment in sandbox.records.paid] == [asked["id"]]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_second_signal_ends_it_at_once(
    sandbox: Sandbox, tmp_path: Path, second: signal.Signals
) -> None:
    """Whoever stops it need not wait for the submission."""
    sandbox.faults.add(Fault("submit", "slow", seconds=600))
    asked, headers = message("tools/call", "modern", name="generate_video", arguments=REQUEST)
    async with live(sandbox, tmp_path, **UNCHECKED) as server, server.http() as http:

        async def generate() -> None:
            with suppress(httpx2.HTTPError):  # the connection breaks
                await http.post("/mcp", json=asked, headers=headers)

        async with anyio.create_task_group() as group:
            group.start_soon(generate)
            await until(lambda: sandbox.records.posts)
            server.stop()
            await until(lambda: _refuses(server.port))  # it is draining
            server.stop(second)
            assert await server.ended() == -second


def _refuses(port: int) -> bool:
    """Whether nobody listens at the port."""
    with socket.socket() as peer:
        return peer.connect_ex((HOST, port)) != 0


async def test_streams_and_idle_connections_do_not_hold_it(server: LiveServer) -> None:
    """Subscriptions, a connection that is kept, half a request, a stranger's connection without a word."""
    sockets = [socket.create_connection((HOST, server.port)) for _ in range(4)]
    _, idle, half, body = sockets
    idle.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    half.sendall(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthoriz")
    body.sendall(
        f"POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n"
        "content-length: 1000\r\n\r\n{".encode()
    )
    asked, headers = message("subscriptions/listen", "modern", notifications={"toolsListChanged": True})
    async with server.http() as http, http.stream("POST", "/mcp", json=asked, headers=headers) as stream:
        assert stream.status_code == 200
        chunks = stream.aiter_bytes()
        with anyio.fail_after(GUARD):
            await anext(chunks)
        server.stop()
        with anyio.fail_after(GUARD):
            rest = b"".join([chunk async for chunk in chunks])
        assert b'"result"' in rest  # the stream ends as the protocol has it, rather than being cut
        assert await server.ended() == 0, server.log
    for peer in sockets:
        peer.close()


async def test_a_long_decode_does_not_hold_it(sandbox: Sandbox, tmp_path: Path) -> None:
    """A thread cannot be stopped; its request was not sent, so nothing is lost."""
    stuck = "import time, threading; threading.Thread(target=time.sleep, args=(3600,)).start()"
    async with live(sandbox, tmp_path, program=stuck) as server:
        server.stop()
        assert await server.ended() == 0, server.log


async def test_it_listens_no_longer_while_it_drains(sandbox: Sandbox, tmp_path: Path) -> None:
    """Probes see that at once, while the last submission has its two seconds."""
    sandbox.faults.add(Fault("submit", "slow", seconds=600))
    async with live(sandbox, tmp_path, **UNCHECKED) as server, server.client("modern") as client:

        async def generate() -> None:
            assert "again" in text(await call(client, "generate_video", **REQUEST))

        async with anyio.create_task_group() as group:
            group.start_soon(generate)
            await until(lambda: sandbox.records.posts)
            server.stop()
            await until(lambda: _refuses(server.port))
            assert server.process.returncode is None
        assert await server.ended() == 0, server.log


async def _posted(http: httpx2.AsyncClient, answers: list[httpx2.Response]) -> None:
    asked, headers = message("tools/list", "modern")
    answers.append(await http.post("/mcp", json=asked, headers=headers))


async def test_an_issuer_that_does_not_answer_does_not_hold_it(sandbox: Sandbox, tmp_path: Path) -> None:
    """The token cannot be checked: the caller is asked to come again."""
    answers: list[httpx2.Response] = []
    with live_issuer() as issuer:
        issuer.seconds = 600
        async with (
            live(sandbox, tmp_path, **oauth_settings(issuer.address)) as server,
            server.http(issuer.token()) as http,
            anyio.create_task_group() as group,
        ):
            group.start_soon(_posted, http, answers)
            await until(issuer.was_asked.is_set)
            server.stop()
            assert await server.ended() == 0, server.log
    [answer] = answers
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "Traceback" not in server.log


async def test_a_key_that_is_not_checked_yet_does_not_hold_it(sandbox: Sandbox, tmp_path: Path) -> None:
    """Evolink does not answer: the caller is asked to come again."""
    sandbox.faults.add(Fault("credits", "slow", seconds=600))
    answers: list[httpx2.Response] = []
    async with live(sandbox, tmp_path) as server, server.http() as http, anyio.create_task_group() as group:
        group.start_soon(_posted, http, answers)
        await until(lambda: any(record.at == "credits" for record in sandbox.records.calls))
        server.stop()
        assert await server.ended() == 0, server.log
    [answer] = answers
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "Traceback" not in server.log
