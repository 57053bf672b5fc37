"""Many callers of one server: what one of them asks for does not keep the others waiting."""

import base64
import io
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import httpx2
import pytest
from PIL import Image

from tests.callers import ADDRESS, IN_MEMORY
from tests.clock import now
from wan_mcp.errors import FetchFailed, PictureUnavailable, WanError
from wan_mcp.generation.frames import FrameReader
from wan_mcp.generation.owners import OWN_KEYS
from wan_mcp.generation.runtime import Runtime
from wan_mcp.images import PictureLoader, loader
from wan_mcp.images.fitting import Prepared, fit
from wan_mcp.net.fetch import PublicFetcher
from wan_mcp.net.names import look_up
from wan_mcp.settings import Settings
from wan_mcp.storage.storage import Storage
from wan_mcp.videos import frames, pyav

pytestmark = pytest.mark.anyio


def picture(shade: int) -> str:
    stream = io.BytesIO()
    Image.new("RGB", (400, 400), (shade, 0, 0)).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


async def test_pictures_of_one_caller_are_decoded_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The picture of another one comes next, however many the first one has sent."""
    pictures = PictureLoader(PublicFetcher(), folders=(), local=False)
    one, two = pictures.of_one_caller(), pictures.of_one_caller()
    other = picture(200)
    begun: list[bool] = []

    def noted(content: bytes, **options: Any) -> Prepared:
        begun.append(content == base64.b64decode(other.partition(",")[2]))
        return fit(content, **options)

    monkeypatch.setattr(loader, "fit", noted)
    async with anyio.create_task_group() as group:
        for shade in range(10):
            group.start_soon(one.open, picture(shade))
        await anyio.lowlevel.checkpoint()
        group.start_soon(two.open, other)
    assert begun.index(True) <= 2
    assert len(begun) == 11


class Counted:
    """Work in threads that ends when it is told to, and how much of it ran at the same time."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.most = self._running = 0

    def __call__(self, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
        self._running += 1
        self.most = max(self.most, self._running)
        self.go_on.wait(10)
        self._running -= 1
        return work(*given, **named)


async def leave_at_once(work: Callable[[], Any]) -> None:
    with anyio.move_on_after(0.1):
        await work()


async def release(counted: Counted) -> None:
    """Let the work end, once all callers have left."""
    await anyio.to_thread.run_sync(counted.go_on.wait, 0.2)
    counted.go_on.set()


async def test_callers_who_leave_do_not_leave_more_pictures_to_decode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread cannot be stopped, so it counts for its caller until it ends."""
    counted = Counted()

    def slow(content: bytes, **options: Any) -> Prepared:
        prepared: Prepared = counted(fit, content, **options)
        return prepared

    monkeypatch.setattr(loader, "fit", slow)
    pictures = PictureLoader(PublicFetcher(), folders=(), local=False).of_one_caller()
    async with anyio.create_task_group() as group:
        for shade in range(10):
            group.start_soon(leave_at_once, partial(pictures.open, picture(shade)))
        group.start_soon(release, counted)
    assert counted.most == 1


class Saver:
    """Has the video of every task."""

    async def local_file(self, task_id: str, folder: Path) -> Path:
        return folder / "video.mp4"


class Rows:
    async def find(self, task_id: str) -> None:
        """No row."""


async def test_callers_who_leave_do_not_leave_more_videos_to_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for previews; they could be asked for twice a second, and left."""
    pyav.check_installed("A preview")  # loads it: the callers leave soon
    counted = Counted()
    monkeypatch.setattr(frames, "contact_sheet", lambda path, count: counted(lambda: None))
    saver: Any = Saver()
    rows: Any = Rows()
    reader = FrameReader(saver, rows, anyio.Semaphore(2), OWN_KEYS)

    async def preview() -> None:
        try:
            await reader.preview("task-unified-1757169743-7cvnl5zw", 4, 100)
        except WanError as error:
            raise AssertionError(str(error)) from error

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(leave_at_once, preview)
        group.start_soon(release, counted)
    assert counted.most == 1


async def test_a_name_server_that_takes_its_time_holds_up_no_other_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop has a few threads for all look-ups; callers choose names whose servers never answer."""
    asked, go_on, ended = threading.Semaphore(0), threading.Event(), []
    real = socket.getaddrinfo

    def slow(host: Any, *given: Any, **named: Any) -> Any:
        if host != "slow.example.com":
            return real(host, *given, **named)
        asked.release()
        go_on.wait(10)
        ended.append(host)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def check(runtime: Runtime) -> None:
        with pytest.raises(FetchFailed):
            await runtime.fetcher.check("https://slow.example.com/a.png")

    storage = Storage.open(Settings.load(IN_MEMORY), ADDRESS, now)
    async with (
        Runtime(Settings.load({}), deployment=OWN_KEYS, storage=storage) as runtime,
        anyio.create_task_group() as group,
    ):
        for _ in range(40):
            group.start_soon(check, runtime)
        for _ in range(40):
            assert await anyio.to_thread.run_sync(partial(asked.acquire, timeout=5))
        assert await look_up("localhost", 80)
        assert ended == []
        go_on.set()
    assert len(ended) == 40


async def test_few_pictures_on_the_web_are_read_at_once_for_one_caller() -> None:
    """Each may have 64 MB, and takes as long as its host likes."""
    running = most = 0

    async def slow(request: httpx2.Request) -> httpx2.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(10)
        running -= 1
        return httpx2.Response(404)

    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.215.14"]

    fetcher = PublicFetcher(resolve=resolve, transport=httpx2.MockTransport(slow))
    pictures = PictureLoader(fetcher, folders=(), local=False).of_one_caller()

    async def read(number: int) -> None:
        with pytest.raises(PictureUnavailable):
            await pictures.open(f"https://slow.example.com/{number}.png")

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(read, number)
    assert most == 3
