"""Last pictures and joins beside plain PyAV, as ratios within one run: ``python -m tests.benchmarks.films``.

The last picture: beside decoding from the last key frame to the end, and the same PNG. A lossless join of
twelve clips of 5 s: beside PyAV's plain loop that copies packets. An encoded join: beside a plain transcode
of the same frames, with the same settings and with the preset of libx264 itself. Both take turns in one
process; the medians are compared. Nothing here fails because something was slow: the aims stand beside the
figures.
"""

# ruff: noqa: T201  a benchmark prints its results

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageChops

from wan_mcp.sandbox.render import render
from wan_mcp.videos.encoded import OPTIONS
from wan_mcp.videos.frames import last_frame
from wan_mcp.videos.join import join

ROUNDS = 5
CLIPS = 12


def photo() -> bytes:
    """Soft shapes and a little grain."""
    size = (1920, 1080)
    soft = Image.effect_noise((60, 34), 90).resize(size, Image.Resampling.BICUBIC)
    grain = Image.effect_noise(size, 10)
    slope = Image.linear_gradient("L").resize(size)
    file = io.BytesIO()
    channels = (
        ImageChops.add(soft, grain, 2),
        ImageChops.add(soft, slope, 2),
        ImageChops.add(grain, slope, 2),
    )
    Image.merge("RGB", channels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def clip(path: Path, quality: str, key_frames: int) -> Path:
    """Five seconds, with a key frame after so many pictures."""
    source = path.with_suffix(".source.mp4")
    source.write_bytes(render(photo(), 5, quality))
    transcode(source, path, {"preset": "veryfast", "g": str(key_frames)})
    return path


def transcode(
    source: Path, target: Path, options: dict[str, str], size: tuple[int, int] | None = None
) -> None:
    """As one writes it with PyAV."""
    with av.open(source) as given, av.open(target, "w", format="mp4") as output:
        stream = given.streams.video[0]
        stream.thread_type = "AUTO"
        made: Any = output.add_stream("libx264", rate=24, options=options)
        made.width, made.height = size or (stream.width, stream.height)
        made.pix_fmt = "yuv420p"
        for frame in given.decode(stream):
            scaled = frame.reformat(made.width, made.height, interpolation="BICUBIC")
            scaled.pict_type = 0
            output.mux(made.encode(scaled))
        output.mux(made.encode())


def last_plainly(path: Path) -> None:
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        container.seek(stream.duration or 0, stream=stream)
        frames = list(container.decode(stream))[-1:]
    image: Image.Image = frames[0].to_image()  # type: ignore[no-untyped-call]
    image.save(io.BytesIO(), "PNG", compress_level=0)


def remux(paths: list[Path], target: Path) -> None:
    """PyAV's own example, with the clips one after the other."""
    shift, made = 0, None
    with av.open(target, "w", format="mp4") as output:
        for path in paths:
            with av.open(path) as given:
                stream = given.streams.video[0]
                made = made or output.add_stream_from_template(stream, opaque=True)
                for packet in given.demux(stream):
                    if packet.dts is not None and packet.pts is not None:
                        packet.dts, packet.pts, packet.stream = packet.dts + shift, packet.pts + shift, made
                        output.mux(packet)
                shift += stream.duration or 0


def transcode_all(paths: list[Path], target: Path, options: dict[str, str]) -> None:
    for path in paths:
        transcode(path, target, options, (1920, 1080))


def compare(
    name: str, aim: float, ours: Callable[[], object], plain: Callable[[], object], rounds: int = ROUNDS
) -> None:
    taken: tuple[list[float], list[float]] = [], []
    for number in range(rounds + 1):
        for work, times in zip((ours, plain), taken, strict=True):
            start = time.perf_counter()
            work()
            if number:  # the first one of each warms up
                times.append(time.perf_counter() - start)
    our, other = map(statistics.median, taken)
    print(
        f"{name}: ours {our * 1e3:.0f} ms, plain {other * 1e3:.0f} ms = {our / other:.2f} (aim {aim:.2f})",
        flush=True,
    )


def joined(paths: list[Path], target: Path) -> None:
    join(paths, target, lambda done: None, lambda: False)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = folder / "film.mp4"
        for quality in ("720p", "1080p"):
            for distance in (12, 250):
                path = clip(folder / f"{quality}-{distance}.mp4", quality, distance)
                what = f"last picture, {quality}, a key frame after {distance}"
                compare(what, 1.5, partial(last_frame, path), partial(last_plainly, path))
            clips = [path] * CLIPS
            what = f"lossless join of {CLIPS} clips, {quality}, {path.stat().st_size * CLIPS / 1e6:.0f} MB"
            compare(what, 2, partial(joined, clips, target), partial(remux, clips, target))
        for quality in ("1080p", "720p"):
            other = folder / "other.mp4"
            transcode(folder / f"{quality}-250.mp4", other, {"preset": "ultrafast"})
            parts = [path, other]
            for what, options in (("the same settings", OPTIONS), ("libx264's own preset", {})):
                plain = partial(transcode_all, parts, target, options)
                what = f"encoded join, {quality} after 1080p, {what}"
                compare(what, 1, partial(joined, parts, target), plain, rounds=2)


if __name__ == "__main__":
    main()
