"""The links to kept videos: what they answer, in parts and as a whole, and when they no longer work."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2
import pytest
from pydantic import SecretStr

from tests.calls import answer
from tests.clock import EPOCH
from tests.s3 import S3, running_s3
from tests.server.http.hosted import ADDRESS, Hosted, hosted
from tests.server.http.live import GUARD, HOST, live
from tests.server.http.live import KEY as CALLERS_KEY
from tests.world import KEY as WORLDS_KEY
from tests.world import World, fetch, render
from wan_mcp.sandbox import Sandbox
from wan_mcp.server.card import PLAYER
from wan_mcp.server.http import videos
from wan_mcp.server.http.videos import part_of
from wan_mcp.storage.links import Links
from wan_mcp.storage.storage import Storage

pytestmark = pytest.mark.anyio

KEY = "results/one.mp4"
CONTENT = bytes(range(256)) * 2000
SIZE = len(CONTENT)
HOUR = 3600.0


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[tuple[Hosted, Storage]]:
    """A server that keeps one video in a folder."""
    place = (folder / "kept videos").as_uri()
    async with hosted(World(folder), WAN_MCP_STORAGE_URL=place) as server:
        storage = server.app.state.hosted.services.runtime.storage
        file = folder / "film.mp4"
        file.write_bytes(CONTENT)
        await storage.objects.put_file(KEY, file, media_type="video/mp4", name=file.name)
        yield server, storage


def link(
    storage: Storage, *, life: float = HOUR, name: str = "Küste.mp4", media_type: str = "video/mp4"
) -> str:
    return storage.links.sign("videos", KEY, EPOCH + life, name=name, type=media_type)


async def answered(server: Hosted, url: str, method: str = "GET", **headers: str) -> httpx2.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with server.http() as http:
        return await http.request(method, url, headers=given)


async def test_the_whole_video_comes_with_what_a_browser_needs_and_no_more(tmp_path: Path) -> None:
    """It plays on a page of any site, is saved under its name, and can do nothing else."""
    async with kept(tmp_path) as (server, storage):
        found = await answered(server, link(storage), origin="https://chat.example.com")
        head = await answered(server, link(storage), "HEAD", range="bytes=0-1")
    assert (found.status_code, found.content) == (200, CONTENT)
    assert (head.status_code, head.content) == (200, b"")
    headers = dict(found.headers)
    assert dict(head.headers) == headers
    assert headers.pop("etag").strip('"')
    assert headers == {
        "content-type": "video/mp4",
        "content-length": str(SIZE),
        "content-disposition": "inline; filename=\"K_ste.mp4\"; filename*=UTF-8''K%C3%BCste.mp4",
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=3600",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "cross-origin",
        "content-security-policy": videos._SAFE["Content-Security-Policy"],
    }


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=200000-400000", (200_000, 400_001)),
        ("bytes=511990-", (511_990, SIZE)),
        ("bytes=-10", (SIZE - 10, SIZE)),
        ("bytes=-99999999", (0, SIZE)),
        ("BYTES = 5 - 99999999", (5, SIZE)),
        ("bytes=512000-", None),
        (f"bytes={'9' * 60}-", None),
        ("bytes=-0", None),
    ],
)
async def test_a_part_is_that_part_or_refused_with_the_size(
    tmp_path: Path, wanted: str, part: tuple[int, int] | None
) -> None:
    """Players ask for the end first, and for the rest where the user goes to."""
    async with kept(tmp_path) as (server, storage):
        found = await answered(server, link(storage), range=wanted)
    if part is None:
        assert (found.status_code, found.headers["content-range"]) == (416, f"bytes */{SIZE}")
    else:
        start, end = part
        assert (found.status_code, found.content) == (206, CONTENT[start:end])
        assert found.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
        assert found.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "bytes=",
        "bytes=-",
        "bytes=5-3",
        "bytes=0-1,4-5",
        "bytes=a-b",
        "items=0-1",
        "bytes=-1-2",
        "bytes=٣-",
    ],
)
def test_what_is_no_single_range_is_the_whole(wanted: str) -> None:
    """As HTTP has it."""
    assert part_of(wanted, 10) is None


def test_an_empty_object_has_no_parts() -> None:
    """Whatever is asked for."""
    for wanted in ("bytes=0-", "bytes=-5", "bytes=0-0"):
        start, end = part_of(wanted, 0) or (0, 1)
        assert start >= end


async def test_conditions_name_the_version(tmp_path: Path) -> None:
    """A part of another version would make a broken film; a copy that is current is not sent again."""
    async with kept(tmp_path) as (server, storage):
        url = link(storage)
        tag = (await answered(server, url, "HEAD")).headers["etag"]
        same = await answered(server, url, if_range=tag, range="bytes=1-2")
        other = await answered(server, url, if_range='"other"', range="bytes=1-2")
        known = await answered(server, url, if_none_match=f'"x", W/{tag}', range="bytes=1-2")
        new = await answered(server, url, if_none_match='"x"')
    assert (same.status_code, same.content) == (206, CONTENT[1:3])
    assert (other.status_code, len(other.content)) == (200, SIZE)
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    assert new.status_code == 200


async def test_a_link_works_until_it_expires_and_unchanged(tmp_path: Path) -> None:
    """Afterwards it says how to get another; a foreign or changed one tells nothing."""
    async with kept(tmp_path) as (server, storage):
        foreign = Links(SecretStr("1" * 32), ADDRESS, lambda: EPOCH)
        upload = storage.links.sign("uploads", KEY, EPOCH + HOUR)
        url = link(storage, life=100)
        good = await answered(server, url)
        wrong = [
            await answered(server, one)
            for one in (
                f"{url[:-6]}AAAAAA",
                foreign.sign("videos", KEY, EPOCH + HOUR, name="a.mp4", type="video/mp4"),
                upload.replace("/uploads/", "/videos/"),
                f"{ADDRESS}/videos/{KEY.replace('/', '%2f')}",
                f"{ADDRESS}/videos/..%2f..%2fsecret",
            )
        ]
        await anyio.sleep(101)
        late = await answered(server, url)
    assert (good.status_code, good.headers["cache-control"]) == (200, "private, max-age=100")
    assert {found.status_code for found in wrong} == {404}
    assert late.status_code == 410
    assert "get_task" in late.text
    assert late.headers["cache-control"] == "no-store"


async def test_only_reading_is_possible(tmp_path: Path) -> None:
    """Everything else is refused with what is possible."""
    async with kept(tmp_path) as (server, storage):
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            found = await answered(server, link(storage), method)
            assert found.status_code == 405
            assert set(found.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_a_file_is_never_served_as_a_page(tmp_path: Path) -> None:
    """Not even where its name and type say so."""
    async with kept(tmp_path) as (server, storage):
        found = await answered(server, link(storage, name='a".html\r\nx: y', media_type="text/html"))
    assert found.headers["content-type"] == "application/octet-stream"
    assert "\r" not in found.headers["content-disposition"]
    assert found.headers["x-content-type-options"] == "nosniff"


async def test_a_deleted_video_and_a_broken_storage_are_told_apart(tmp_path: Path) -> None:
    """The one is gone, the other comes back."""
    async with kept(tmp_path) as (server, storage):
        url = link(storage)
        await storage.objects.delete(KEY)
        gone = await answered(server, url)
        (tmp_path / "kept videos" / "results").rmdir()
        (tmp_path / "kept videos" / "results").write_bytes(b"no folder")
        broken = await answered(server, url)
    assert (gone.status_code, "no longer" in gone.text) == (410, True)
    assert (broken.status_code, broken.headers["retry-after"]) == (503, "10")


async def test_credentials_of_a_caller_are_not_looked_at(tmp_path: Path) -> None:
    """A player that sends some costs no check of them."""
    async with kept(tmp_path) as (server, storage):
        found = await answered(server, link(storage), authorization="Bearer sk-unknown")
    assert found.status_code == 200


async def test_so_many_videos_are_sent_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To one address, and to all; whoever is refused is told when to come again."""
    monkeypatch.setattr(videos, "STREAMS_OF_AN_ADDRESS", 0)
    async with kept(tmp_path) as (server, storage):
        of_an_address = await answered(server, link(storage))
        monkeypatch.setattr(videos, "STREAMS_OF_AN_ADDRESS", 1)
        after_others = [(await answered(server, link(storage))).status_code for _ in range(3)]
        monkeypatch.setattr(videos, "STREAMS_OF_A_VIDEO", 0)
        of_a_video = await answered(server, link(storage))
        monkeypatch.setattr(videos, "STREAMS_OF_A_VIDEO", 1)
        monkeypatch.setattr(videos, "STREAMS", 0)
        of_all = await answered(server, link(storage))
    assert (of_an_address.status_code, of_an_address.headers["retry-after"]) == (429, "10")
    assert after_others == [200, 200, 200]
    assert (of_a_video.status_code, of_a_video.headers["retry-after"]) == (429, "10")
    assert (of_all.status_code, of_all.headers["retry-after"]) == (503, "10")


@pytest.mark.parametrize(
    ("place", "serve", "domain"),
    [
        ("memory:", "0", ADDRESS),
        ("s3://videos", "0", "http://127.0.0.1:1"),
        ("s3://videos", "1", ADDRESS),
    ],
    ids=["at the server", "at a bucket", "at the server, for callers who cannot reach the bucket"],
)
async def test_the_card_may_play_videos_from_where_the_links_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, serve: str, domain: str
) -> None:
    """The server itself, or the service that serves them."""
    for name, value in S3("http://127.0.0.1:1").environ.items():
        monkeypatch.setenv(name, value)
    async with (
        hosted(World(tmp_path), WAN_MCP_STORAGE_URL=place, WAN_MCP_SERVE_VIDEOS=serve) as server,
        server.client(WORLDS_KEY) as client,
    ):
        (content,) = (await client.read_resource(PLAYER)).contents
    assert content.meta is not None
    assert content.meta["ui"]["csp"]["resourceDomains"][-1] == domain


class TestAtARealServer:
    """Over sockets, where a connection can be slow, be cut, and outlive the server."""

    pytestmark = pytest.mark.slow

    @pytest.fixture
    def anyio_backend(self) -> str:
        """An ordinary event loop: time must not jump while a socket is waited for."""
        return "asyncio"

    async def test_the_link_of_a_finished_task_plays(self, tmp_path: Path) -> None:
        """Whole and in parts, from the bucket and without credentials; no link is in the log."""
        sandbox = Sandbox(key=CALLERS_KEY, seconds=0, fetch=fetch, render=render)
        request = {"prompt": "go", "image_urls": ["https://pictures.example.com/cat.png"]}
        with running_s3() as s3:
            place = {"WAN_MCP_STORAGE_URL": s3.storage_url, "WAN_MCP_IMAGE_CHECK": "0"}
            async with (
                live(sandbox, tmp_path, **s3.environ, **place) as server,
                server.client("modern") as client,
                httpx2.AsyncClient(trust_env=False) as http,
            ):
                asked = await answer(client, "generate_video", **request)
                found = await answer(client, "save_video", task_id=asked["id"])
                again = await answer(client, "get_task", task_id=asked["id"])
                urls = [*found["results"], *again["results"]]
                parts = [await http.get(url, headers={"range": "bytes=4-7"}) for url in urls]
                whole = await http.get(urls[0])
                log = server.log
        assert [url.partition("?")[0].startswith(f"{s3.address}/") for url in urls] == [True, True]
        assert [(part.status_code, part.content) for part in parts] == [(206, b"ftyp")] * 2
        assert (whole.content, whole.headers["content-type"]) == (render(b"", 5, "480p"), "video/mp4")
        assert "X-Amz-Signature" not in log

    async def test_readers_that_take_nothing_or_leave_do_not_hold_it(self, tmp_path: Path) -> None:
        """It holds little of a large video for them, stops in time, and logs no link."""
        secret, size = "s" * 32, 60_000_000
        storage = tmp_path / "data" / "storage"
        (storage / "results").mkdir(parents=True)
        (storage / KEY).write_bytes(bytes(size))
        environ = {"WAN_MCP_SECRET": secret}
        async with live(Sandbox(key=CALLERS_KEY), tmp_path, **environ) as server:
            links = Links(SecretStr(secret), server.url, lambda: 0)
            url = links.sign("videos", KEY, 4e9, name="a.mp4", type="video/mp4")
            path = url.removeprefix(server.url)
            wanted = f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()
            status = Path(f"/proc/{server.process.pid}/status")
            async with server.http() as http:
                part = await http.get(url, headers={"range": "bytes=-5"})
                before = _memory(status)
                readers = [socket.create_connection((HOST, server.port)) for _ in range(40)]
                for reader in readers:
                    reader.sendall(wanted)
                for reader in readers:
                    assert reader.recv(15) == b"HTTP/1.1 200 OK"
                for reader in readers[:20]:
                    reader.close()
                whole = await http.get(url)
                grown = _memory(status) - before
            (storage / KEY).write_bytes(b"another one")
            with anyio.fail_after(GUARD):
                cut = await anyio.to_thread.run_sync(_all_of, readers[-1])
            server.stop()
            assert await server.ended() == 0, server.log
            for reader in readers:
                reader.close()
        assert (part.status_code, part.content) == (206, bytes(5))
        assert (whole.status_code, len(whole.content)) == (200, size)
        assert grown < 60_000_000
        assert 0 < cut < size
        assert "Traceback" not in server.log
        assert path.removeprefix("/videos/") not in server.log
        assert '"status": 206' in server.log


def _all_of(reader: socket.socket) -> int:
    """Bytes that come until the connection ends."""
    total = 0
    while got := len(reader.recv(65_536)):
        total += got
    return total


def _memory(status: Path) -> int:
    """Bytes of a process's memory; 0 where the system does not tell."""
    if not status.exists():
        return 0
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024
