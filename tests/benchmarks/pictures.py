# ruff: noqa: T201
# The table that it prints is all that this program is for.
"""What it costs to make a picture fit, beside the plain way, as ratios within one run.

Run by hand, on Linux: ``python tests/benchmarks/pictures.py``. Time is the median of repetitions
taken in turns; memory is the peak of a fresh process each, over what it had before. Nothing here
fails because something was slow: the aims stand beside the figures.
"""

import io
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import anyio
import anyio.abc
import httpx2
from PIL import Image, ImageChops

from wan_mcp.images import PictureLoader
from wan_mcp.images.facts import facts
from wan_mcp.images.fitting import fit
from wan_mcp.net.fetch import PublicFetcher

REPETITIONS = 15
MEMORY_RUNS = 5
SIZE, TARGET = (4032, 3024), (2000, 1500)
DECODED = TARGET[0] * TARGET[1] * 4
"""Pillow keeps four bytes for each pixel of an RGB picture."""


def photo(orientation: int = 1) -> bytes:
    """Twelve million pixels with the colours and the grain of a photo."""
    soft = Image.effect_noise((504, 378), 90).resize(SIZE, Image.Resampling.BICUBIC)
    grain, slope = Image.effect_noise(SIZE, 16), Image.linear_gradient("L").resize(SIZE)
    channels = (
        ImageChops.add(soft, grain, 2),
        ImageChops.add(soft, slope, 2),
        ImageChops.add(grain, slope, 2),
    )
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    Image.merge("RGB", channels).save(file, "JPEG", quality=94, exif=exif)
    return file.getvalue()


def plainly(content: bytes) -> bytes:
    """The way that comes to mind first."""
    file = io.BytesIO()
    Image.open(io.BytesIO(content)).resize(TARGET, Image.Resampling.LANCZOS).save(file, "JPEG")
    return file.getvalue()


def ours(content: bytes) -> bytes:
    return fit(content).content


WAYS: dict[str, Callable[[bytes], bytes]] = {"plain": plainly, "ours": ours}


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def show_times(pictures: dict[str, bytes]) -> None:
    for name, content in pictures.items():
        taken: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(REPETITIONS):
            for way, work in WAYS.items():
                taken[way].append(seconds(partial(work, content)))
        plain, our = median(taken["plain"]), median(taken["ours"])
        print(f"{name}: plain {plain * 1e3:.0f} ms, ours {our * 1e3:.0f} ms = {our / plain:.2f} (aim 0.60)")


def extra_memory(way: str, path: Path) -> int:
    """What a process needs more at its peak, in bytes, with everything imported and the file read."""
    command = [sys.executable, __file__, way, str(path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(way: str, path: Path) -> None:
    """In the child process."""
    content = path.read_bytes()
    WAYS[way](tiny())
    before = resident("VmRSS")
    WAYS[way](content)
    print(resident("VmHWM") - before)


def resident(what: str) -> int:
    """Bytes in memory now (VmRSS) or at most (VmHWM); ``getrusage`` would count the parent's as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))


def tiny() -> bytes:
    """So that nothing is imported, and no table is made, while the measuring goes on."""
    file = io.BytesIO()
    Image.new("RGB", (400, 200)).save(file, "JPEG")
    return file.getvalue()


def show_memory(pictures: dict[str, bytes], folder: Path) -> None:
    print(f"decoded at the target scale: {DECODED / 1e6:.1f} MB")
    for name, content in pictures.items():
        path = folder / "photo.jpg"
        path.write_bytes(content)
        for way in WAYS:
            extra = median(extra_memory(way, path) for _ in range(MEMORY_RUNS))
            aim = " (aim 1.5)" if way == "ours" else ""
            print(f"{name}, {way}: {extra / 1e6:.1f} MB more = {extra / DECODED:.2f} of that{aim}")


def show_facts(folder: Path) -> None:
    image = Image.new("RGB", (1600, 1200))
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        path = folder / f"picture.{kind.lower()}"
        image.save(path, kind)

        def look(path: Path = path) -> None:
            with path.open("rb") as file:
                facts(file.read(65_536))

        taken = median(seconds(look) for _ in range(200))
        print(f"facts of a local {kind}: {taken * 1e6:.0f} µs (aim: under 1000)")


async def show_bytes_read(content: bytes) -> None:
    """How much of a ten-megabyte picture that fits is read, and how much its server could send."""
    image = Image.open(io.BytesIO(content)).resize((2000, 2000))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92)
    body = file.getvalue() + bytes(9_990_000 - len(file.getvalue()))
    sent = 0

    async def serve(stream: anyio.abc.SocketStream) -> None:
        nonlocal sent
        async with stream:
            await stream.receive()
            await stream.send(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode())
            try:
                for start in range(0, len(body), 8192):
                    await stream.send(body[start : start + 8192])
                    sent += 8192
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        counted = Counting()
        fetcher = PublicFetcher(allow_private=True, transport=counted)
        pictures = PictureLoader(fetcher, folders=())
        picture = await pictures.open(f"http://127.0.0.1:{port}/photo.jpg")
        assert picture.address is not None
        await anyio.sleep(0.2)
        tasks.cancel_scope.cancel()
    print(f"bytes read of a picture of {len(body)}: {counted.read} (aim: at most 262144)")
    print(f"bytes that its server on the same machine handed to the network by then: {sent}")


class Counting(httpx2.AsyncHTTPTransport):
    """Counts the bytes of the bodies that are read."""

    read = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = self.Body(self, response.stream)
        return response

    class Body(httpx2.AsyncByteStream):
        def __init__(self, counter: "Counting", body: httpx2.AsyncByteStream) -> None:
            self.counter, self.body = counter, body

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self.body:
                self.counter.read += len(chunk)
                yield chunk

        async def aclose(self) -> None:
            await self.body.aclose()


def main() -> None:
    pictures = {"12 megapixels": photo(), "12 megapixels on their side": photo(6)}
    lengths = ", ".join(f"{len(content) / 1e6:.1f} MB" for content in pictures.values())
    print(f"JPEG files of {lengths}, from {SIZE} to {TARGET}")
    show_times(pictures)
    with tempfile.TemporaryDirectory() as name:
        show_memory(pictures, Path(name))
        show_facts(Path(name))
    anyio.run(show_bytes_read, pictures["12 megapixels"])


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure_memory(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
