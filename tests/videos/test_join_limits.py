"""A join at its limits: twenty parts, a full disk, two at once, and an event loop beside it."""

import errno
import subprocess
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from PIL import Image

from tests.videos.made import make, watched
from tests.videos.test_join import LOSSLESS, joined
from wan_mcp.videos.join import join

SMALL = 40_000
PROGRAM = """
import resource, signal, sys
from pathlib import Path
from wan_mcp.videos.join import join
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
try:
    join([Path(name) for name in sys.argv[3:]], Path(sys.argv[2]), lambda done: None, lambda: False)
except OSError as error:
    sys.exit(f"OSError {error.errno}")
finally:  # what measures the coverage writes a file, too
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.slow
@pytest.mark.parametrize("rate", [24, Fraction(30000, 1001), 25])
def test_twenty_parts_are_as_long_as_their_sum(tmp_path: Path, rate: Fraction | int) -> None:
    """Rounding does not add up, neither of pictures nor of the sound under them."""
    loud, silent = (make(tmp_path / f"{tone}.mp4", rate=rate, count=25, tone=tone) for tone in (440, 0))
    assert joined(tmp_path, *[loud, silent] * 10) == LOSSLESS
    film = watched(tmp_path / "film.part")
    assert film.numbers == [*range(25)] * 20
    seconds = 500 / float(rate)
    assert film.seconds == pytest.approx(seconds, abs=0.1)
    assert film.times[-1] == pytest.approx(seconds - 1 / float(rate), abs=0.001)
    part = seconds / 20
    middles = [film.levels[int((number + 0.5) * part * 10)] > 0.4 for number in range(20)]
    assert middles == [True, False] * 10
    assert film.levels[int(19.15 * part * 10)] < 0.01
    assert film.levels[int(18.85 * part * 10)] > 0.4


def test_the_same_lossless_join_twice_gives_the_same_file(tmp_path: Path) -> None:
    """Also where its sound is encoded anew, so that two joins at once end in one file."""
    loud, silent = make(tmp_path / "1.mp4", tone=440), make(tmp_path / "2.mp4")
    for paths in ((loud, loud), (loud, silent)):
        contents = set()
        for _ in range(2):
            assert joined(tmp_path, *paths) == LOSSLESS
            contents.add((tmp_path / "film.part").read_bytes())
        assert len(contents) == 1


def test_the_index_stands_before_the_media(tmp_path: Path) -> None:
    """So that a browser begins to play before it has everything."""
    part = make(tmp_path / "1.mp4")
    joined(tmp_path, part, part)
    content = (tmp_path / "film.part").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no limit for the size of files")
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97, 0.9999])
@pytest.mark.parametrize("other", [24, 30], ids=["copied", "encoded"])
def test_a_file_that_cannot_grow_is_an_error(tmp_path: Path, share: float, other: int) -> None:
    """Wherever the limit is reached, even while the last bytes are written."""
    parts = [make(tmp_path / f"{rate}.mp4", rate=rate, count=48, tone=440) for rate in (24, other)]
    joined(tmp_path, *parts)
    limit = int((tmp_path / "film.part").stat().st_size * share)
    arguments = [str(limit), str(tmp_path / "limited.part"), *map(str, parts)]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False
    )
    assert run.stderr.splitlines()[-1:] == [f"OSError {errno.EFBIG}"]


@pytest.mark.slow
def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    """Of its own kind, so that the caller can say what to do."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount a small disk, on Linux")
    try:
        part = make(tmp_path / "1.mp4", count=96, options={"crf": "5"}, tone=440)
        with pytest.raises(OSError, match="No space left on device") as raised:
            join([part] * 3, disk / "film.part", lambda done: None, lambda: False)
        assert raised.value.errno == errno.ENOSPC
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads take turns as soon as they can, not only after milliseconds: what is short is seen as well."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


async def ticks_at_progress(paths: Sequence[Path], target: Path) -> list[int]:
    """How often an event loop had its turn until each report of a join in a thread."""
    ticks = 0
    told: list[int] = []

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await anyio.to_thread.run_sync(join, paths, target, lambda done: told.append(ticks), lambda: False)
        group.cancel_scope.cancel()
    return told


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_event_loop_goes_on_beside_an_encoded_join(tmp_path: Path) -> None:
    """It has its turn between the reports of progress."""
    paths = [make(tmp_path / f"{rate}.mp4", rate=rate, count=120, size=(640, 360)) for rate in (24, 30)]
    told = await ticks_at_progress(paths, tmp_path / "film.part")
    assert len(told) > 50
    assert sum(before < after for before, after in pairwise(told)) > len(told) / 2


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_event_loop_goes_on_while_the_index_is_moved(tmp_path: Path, eager_threads: None) -> None:
    """For that all of a film is written again, after the last report but one."""
    path = make(tmp_path / "1.mp4", count=16, size=(1280, 720), options={"crf": "1"}, picture=noise)
    told = await ticks_at_progress([path, path], tmp_path / "film.part")
    assert (tmp_path / "film.part").stat().st_size > 8_000_000
    assert told[-2] < told[-1]


def noise(number: int, size: tuple[int, int]) -> Image.Image:
    return Image.effect_noise(size, 100).convert("RGB")
