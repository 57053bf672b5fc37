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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

from PIL import Image, ImageChops, ImageOps

from wan_mcp.images.fitting import fit
from wan_mcp.images.poster import poster

REPETITIONS = 15
MEMORY_RUNS = 5
SIZE, TARGET = (4032, 3024), (2000, 1500)


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
    """The same steps as one writes them with Pillow: decoded small, scaled, upright, encoded."""
    file = io.BytesIO()
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", TARGET)
    image.thumbnail((2000, 2000), Image.Resampling.LANCZOS, reducing_gap=None)
    ImageOps.exif_transpose(image).save(file, "JPEG", quality=92)
    return file.getvalue()


def ours(content: bytes) -> bytes:
    return fit(content).content or b""


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
        print(f"{name}: plain {plain * 1e3:.0f} ms, ours {our * 1e3:.0f} ms = {our / plain:.2f} (aim 1.30)")
        small = median(seconds(partial(poster, ours(content))) for _ in range(REPETITIONS))
        print(f"{name}: its poster {small * 1e3:.0f} ms, after the answer")


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
    for name, content in pictures.items():
        path = folder / "photo.jpg"
        path.write_bytes(content)
        plain, our = (median(extra_memory(way, path) for _ in range(MEMORY_RUNS)) for way in WAYS)
        ratio = f"{our / plain:.2f} (aim at most 1.00)"
        print(f"{name}: plain {plain / 1e6:.1f} MB more at the peak, ours {our / 1e6:.1f} MB = {ratio}")


def main() -> None:
    pictures = {"12 megapixels": photo(), "12 megapixels on their side": photo(6)}
    lengths = ", ".join(f"{len(content) / 1e6:.1f} MB" for content in pictures.values())
    print(f"JPEG files of {lengths}, from {SIZE} to {TARGET}")
    show_times(pictures)
    with tempfile.TemporaryDirectory() as name:
        show_memory(pictures, Path(name))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure_memory(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
