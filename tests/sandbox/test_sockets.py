"""Over a real socket: broken connections, and a server that ends promptly."""

import errno
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import anyio
import httpx2
import pytest

from wan_mcp.sandbox import Fault, Sandbox, running, serve

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SUBMIT = "/v1/videos/generations"
KEY = {"authorization": "Bearer sk-sandbox"}


@pytest.fixture
def anyio_backend() -> str:
    """An ordinary event loop: time must not jump while a socket is waited for."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
async def socket_client(sandbox: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    async with running(sandbox) as url, httpx2.AsyncClient(base_url=url, headers=KEY) as client:
        yield client


async def test_the_whole_job_works_over_a_socket(
    socket_client: httpx2.AsyncClient, order: dict[str, Any], clock: Any, picture: Callable[..., bytes]
) -> None:
    """Upload, submission, query, download."""
    files = {"file": ("cat.png", picture("PNG"))}
    upload = (await socket_client.post("/api/v1/files/upload/stream", files=files)).json()
    body = order | {"image_urls": [upload["data"]["file_url"]]}
    task = (await socket_client.post(SUBMIT, json=body)).json()
    clock.advance(10)
    finished = (await socket_client.get(f"/v1/tasks/{task['id']}")).json()

    video = await socket_client.get(finished["results"][0])

    assert video.content.endswith(b"bytes, 5 s, 720p")


async def test_the_only_date_of_an_answer_is_that_of_the_sandbox(
    socket_client: httpx2.AsyncClient, sandbox: Sandbox
) -> None:
    """The server adds none of its own."""
    dates = [(await socket_client.get("/v1/credits")).headers.get_list("date")]
    sandbox.date_offset = None
    dates.append((await socket_client.get("/v1/credits")).headers.get_list("date"))

    assert dates == [["Fri, 15 Jan 2027 08:00:00 GMT"], []]


@pytest.mark.parametrize(
    ("fault", "payments"), [("submit:lost", 1), ("submit:dropped", 0), ("submit:late,status=0", 1)]
)
async def test_a_broken_connection_is_a_read_error(
    socket_client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox, fault: str, payments: int
) -> None:
    """The same as in one process; the next call works."""
    sandbox.faults.add(Fault.parse(fault))

    with pytest.raises(httpx2.ReadError):
        await socket_client.post(SUBMIT, json=order)

    assert len(sandbox.records.paid) == payments
    assert (await socket_client.get("/v1/credits")).status_code == 200


async def test_a_hesitating_request_is_carried_out_though_its_client_has_gone(
    make_sandbox: Callable[..., Sandbox], order: dict[str, Any]
) -> None:
    """The client gave up before anything was paid."""
    sent = anyio.Event()

    async def send(url: str, body: dict[str, object]) -> int:
        sent.set()
        return 200

    sandbox = make_sandbox(send=send, seconds=0.0, faults=[Fault("submit", "hesitate", seconds=1.0)])
    body = order | {"callback_url": "https://hooks.example/"}
    with anyio.fail_after(10):
        async with running(sandbox) as url, httpx2.AsyncClient(headers=KEY) as client:
            with pytest.raises(httpx2.ReadTimeout):
                await client.post(f"{url}{SUBMIT}", json=body, timeout=0.1)
            paid_before = len(sandbox.records.paid)
            await sent.wait()

    assert (paid_before, len(sandbox.records.paid)) == (0, 1)


async def test_a_dropped_upload_is_an_error_though_it_was_not_read(
    socket_client: httpx2.AsyncClient, sandbox: Sandbox
) -> None:
    """A client that is still sending notices too."""
    sandbox.faults.add(Fault("upload", "dropped"))

    with pytest.raises(httpx2.TransportError):
        await socket_client.post("/api/v1/files/upload/stream", files={"file": ("a", bytes(5_000_000))})


@pytest.mark.parametrize("place", ["submit", "result"])
async def test_a_cut_answer_begins_and_breaks(
    socket_client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox, clock: Any, place: str
) -> None:
    """Half of the body arrives, less than was announced."""
    task = (await socket_client.post(SUBMIT, json=order)).json()
    clock.advance(10)
    sandbox.faults.add(Fault(place, "cut"))
    request = (
        socket_client.build_request("POST", SUBMIT, json=order)
        if place == "submit"
        else socket_client.build_request("GET", f"/results/{task['id']}.mp4")
    )

    response = await socket_client.send(request, stream=True)
    received: list[bytes] = []
    with pytest.raises(httpx2.RemoteProtocolError):
        await _read(response, received)

    assert response.status_code == 200
    assert sum(map(len, received)) == int(response.headers["content-length"]) // 2


async def _read(response: httpx2.Response, received: list[bytes]) -> None:
    async for chunk in response.aiter_bytes():
        received.append(chunk)


async def test_the_server_ends_promptly_though_a_call_is_open(
    make_sandbox: Callable[..., Sandbox], order: dict[str, Any]
) -> None:
    """The open call is broken off, and the port is closed."""
    asked = anyio.Event()
    errors: list[Exception] = []

    async def fetch(url: str) -> bytes:
        asked.set()
        await anyio.sleep_forever()
        return b""

    async def call(url: str) -> None:
        async with httpx2.AsyncClient(headers=KEY) as client:
            try:
                await client.post(f"{url}{SUBMIT}", json=order)
            except httpx2.TransportError as error:
                errors.append(error)

    with anyio.fail_after(2):
        async with anyio.create_task_group() as tasks, running(make_sandbox(fetch=fetch)) as url:
            tasks.start_soon(call, url)
            await asked.wait()
    assert len(errors) == 1
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == errno.ECONNREFUSED


async def test_an_error_inside_the_block_comes_out_as_it_is(sandbox: Sandbox) -> None:
    """Not wrapped into a group."""
    with pytest.raises(KeyError, match="mine"):
        async with running(sandbox):
            raise KeyError("mine")


async def test_a_taken_port_is_an_os_error(sandbox: Sandbox) -> None:
    """The caller can say which port it was."""
    async with running(sandbox) as url:
        with pytest.raises(OSError, match=r".*"):
            async with running(sandbox, int(url.rpartition(":")[2])):
                pass


async def test_callbacks_are_sent_while_the_sandbox_is_served(
    make_sandbox: Callable[..., Sandbox], order: dict[str, Any]
) -> None:
    """Nobody has to read the task."""
    sent = anyio.Event()

    async def send(url: str, body: dict[str, object]) -> int:
        sent.set()
        return 200

    sandbox = make_sandbox(send=send, seconds=0.0)
    with anyio.fail_after(5):
        async with running(sandbox) as url, httpx2.AsyncClient(headers=KEY) as client:
            await client.post(f"{url}{SUBMIT}", json=order | {"callback_url": "https://hooks.example/"})
            await sent.wait()


async def test_the_default_fetcher_downloads_over_http(
    make_sandbox: Callable[..., Sandbox], order: dict[str, Any], picture: Callable[..., bytes], clock: Any
) -> None:
    """A picture from another server is used as it comes, a missing one fails the task."""
    async with (
        running(make_sandbox()) as elsewhere,
        running(make_sandbox(fetch=None)) as url,
        httpx2.AsyncClient(headers=KEY) as client,
    ):
        files = {"file": ("cat.png", picture("PNG"))}
        upload = await client.post(f"{elsewhere}/api/v1/files/upload/stream", files=files)
        addresses = [upload.json()["data"]["file_url"], f"{elsewhere}/files/missing/cat.png"]
        tasks = [
            (await client.post(f"{url}{SUBMIT}", json=order | {"image_urls": [address]})).json()["id"]
            for address in addresses
        ]
        clock.advance(10)
        ends = [(await client.get(f"{url}/v1/tasks/{task}")).json()["status"] for task in tasks]

    assert ends == ["completed", "failed"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving_ends_without_an_error_when_it_is_told_to_stop(
    sandbox: Sandbox, number: signal.Signals
) -> None:
    """Ctrl-C and a request to terminate are both an ordinary end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    stopper = threading.Thread(target=_stop_when_it_answers, args=(port, number))
    stopper.start()

    serve(sandbox, port)

    stopper.join()
    assert [call.path for call in sandbox.records.calls] == ["/hello"]


def _stop_when_it_answers(port: int, number: signal.Signals) -> None:
    try:
        for _ in range(10_000):
            with suppress(httpx2.ConnectError):
                httpx2.get(f"http://127.0.0.1:{port}/hello")
                return
    finally:
        os.kill(os.getpid(), number)
