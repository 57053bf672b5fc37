"""Uploads to a real process by curl, as agents make them: large, cut off, in a crowd, while it stops."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from tests.calls import answer
from tests.clients.programs import missing
from tests.server.http.live import KEY, LiveServer, live
from tests.world import fetch, picture
from wan_mcp.generation.uploads import MAX_UPLOAD
from wan_mcp.sandbox import Sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(400)]

CROWD = 50
MOST_MEMORY = 300_000_000
"""Bytes by which a crowd's uploads may raise the memory of the process: 1,000 MB arrive."""


@pytest.fixture
def anyio_backend() -> str:
    """An ordinary event loop: time must not jump while a socket is waited for."""
    return "asyncio"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LiveServer]:
    async with live(Sandbox(key=KEY, fetch=fetch), tmp_path) as server:
        yield server


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A picture of exactly 20 MB: what follows its end does not matter."""
    file = tmp_path / "large.png"
    file.write_bytes(picture().ljust(MAX_UPLOAD, b"\0"))
    return file


async def curl(*arguments: str | Path, content: bytes = b"") -> tuple[int, Any]:
    """The status and the answer; 0 where there was none."""
    command = ["curl", "-sS", "--noproxy", "*", "-w", "\n%{http_code}", *map(str, arguments)]
    try:
        ended = await anyio.run_process(command, input=content, check=False)
    except FileNotFoundError:
        missing("curl is not installed")
    body, _, status = ended.stdout.decode().rpartition("\n")
    return int(status), json.loads(body) if body.strip() else ended.stderr.decode()


async def prepared(server: LiveServer) -> dict[str, Any]:
    async with server.client("modern") as client:
        return await answer(client, "prepare_upload")


def stored(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "data" / "storage" / "uploads").rglob("*") if path.is_file()]


async def test_curl_uploads_what_a_video_is_made_of(server: LiveServer, large: Path, tmp_path: Path) -> None:
    """After each refusal the address is still good, nothing is stored by halves, and no token is logged."""
    told = await prepared(server)
    url = told["upload_url"]
    too_large = tmp_path / "too-large.png"
    too_large.write_bytes(picture().ljust(21_000_000, b"\0"))
    assert (await curl("-T", large, "--max-time", "1", "--limit-rate", "1M", url))[0] in (0, 100)
    assert (await curl("-T", too_large, url))[1]["error"] == "too_large"
    assert (await curl("-T", "-", url, content=too_large.read_bytes()))[0] in (413, 0)
    assert (await curl("-X", "PUT", "-F", f"file=@{large}", url))[1]["error"] == "form"
    assert (await curl("-F", f"file=@{large}", url))[0] == 405
    assert (await curl("-T", __file__, url))[1]["error"] == "not_usable"
    assert (await curl("--path-as-is", "-T", large, f"{url}/../../../etc/passwd"))[0] == 404
    assert stored(tmp_path) == []
    status, said = await curl("-T", large, url)
    assert (status, said["image_url"]) == (201, told["image_url"])
    assert [path.stat().st_size for path in stored(tmp_path)] == [MAX_UPLOAD + 8]
    assert (await curl("-T", large, url))[1]["error"] == "used"
    async with server.client("modern") as client:
        asked = await answer(client, "generate_video", prompt="go", image_urls=[told["image_url"]])
    assert asked["image"]["name"] == "upload"
    assert url.rpartition(".")[2] not in server.log
    assert "Traceback" not in server.log


async def test_a_crowd_uploads_without_filling_the_memory(server: LiveServer, large: Path) -> None:
    """They arrive at once, wait for their turn, and are all taken; others are served meanwhile."""
    async with server.client("modern") as client:
        urls = [(await answer(client, "prepare_upload"))["upload_url"] for _ in range(CROWD)]
    statuses: list[int] = []
    before = peak_of(server)

    async def send(url: str) -> None:
        statuses.append((await curl("-T", large, url))[0])

    async with anyio.create_task_group() as group:
        for url in urls:
            group.start_soon(send, url)
        assert await prepared(server)
    assert statuses == [201] * CROWD
    assert peak_of(server) - before < MOST_MEMORY


def peak_of(server: LiveServer) -> int:
    """The most bytes of memory that the process has had."""
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.exists():
        missing("this system does not tell how much memory a process has had")
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


async def test_a_server_that_stops_stores_nothing_by_halves(server: LiveServer, tmp_path: Path) -> None:
    """It ends in time, although a picture is still on its way."""
    url = (await prepared(server))["upload_url"]
    head = (
        f"PUT {urlsplit(url).path} HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n"
        f"Content-Length: {MAX_UPLOAD}\r\n\r\n"
    )
    async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
        await stream.send(head.encode())
        assert (await stream.receive()).startswith(b"HTTP/1.1 100 ")
        await stream.send(bytes(MAX_UPLOAD // 2))
        server.stop()
        said = await stream.receive()
    assert await server.ended() == 0
    assert said.startswith(b"HTTP/1.1 503 ")
    assert stored(tmp_path) == []
    assert "Traceback" not in server.log
