"""Makes videos of any kind, in which each picture tells its own number, and reads films again."""

from __future__ import annotations

import functools
import math
import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import av
from PIL import Image, ImageChops, ImageDraw, ImageStat

BITS = 8
SOUND_RATE = 48_000
Colour = tuple[int, int, int]
RED, GREEN, BLUE = (200, 60, 50), (60, 170, 70), (50, 80, 190)


def numbered(number: int, size: tuple[int, int], colour: Colour = RED) -> Image.Image:
    """A picture that says its number in black and white squares across its middle."""
    width, height = size
    image = Image.new("RGB", size, colour)
    draw = ImageDraw.Draw(image)
    for bit in range(BITS):
        shade = "white" if number >> bit & 1 else "black"
        box = (bit * width // BITS, height * 3 // 8, (bit + 1) * width // BITS, height * 5 // 8)
        draw.rectangle(box, shade)
    return image


def number_in(image: Image.Image) -> int:
    """The number that a picture says, wherever bars around it begin."""
    width, height = image.size
    across = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    middle = image.crop((0, height // 2, width, height // 2 + 1)).convert("L")
    row: Any = [middle.getpixel((x, 0)) for x in across]
    return sum(2**bit for bit, grey in enumerate(row) if grey > 128)


_made: dict[str, bytes] = {}
"""Contents by how they are made: many tests need the same video."""


def make(path: Path, **how: Any) -> Path:
    """Write a video of 24 numbered pictures to a file, or one that differs as ``_encoded`` says."""
    if how.get("picture"):  # two functions may have the same name
        _encoded(path, **how)
        return path
    key = repr(sorted(how.items()))
    if key not in _made:
        _encoded(path, **how)
        _made[key] = path.read_bytes()
    path.write_bytes(_made[key])
    return path


def _encoded(
    path: Path,
    *,
    count: int = 24,
    size: tuple[int, int] = (320, 180),
    rate: Fraction | int = 24,
    codec: str = "libx264",
    kind: str = "mp4",
    pixels: str = "yuv420p",
    colour: Colour = RED,
    tone: float | None = None,
    sound_seconds: float | None = None,
    sound_codec: str = "aac",
    options: dict[str, str] | None = None,
    flags: str = "",
    times: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    picture: Callable[[int, tuple[int, int]], Image.Image] | None = None,
    tags: dict[str, int] | None = None,
) -> None:
    """Make a video with a given number of pictures; ``times`` are theirs, in thousandths of a second."""
    with av.open(path, "w", format=kind, options={"movflags": flags} if flags else {}) as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        context = stream.codec_context
        if times is not None:
            context.time_base = Fraction(1, 1000)
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        for name, value in (tags or {}).items():
            setattr(context, name, value)
        if tone is not None:
            sound: Any = container.add_stream(sound_codec, rate=SOUND_RATE, layout="stereo")
            seconds = sound_seconds or count / float(rate)
            for wave in tones(tone, seconds):
                container.mux(sound.encode(wave))
            container.mux(sound.encode(None))
        for number in range(count):
            image = picture(number, size) if picture else numbered(number, size, colour)
            frame = as_frame(image, pixels, tags or {})
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def as_frame(image: Image.Image, pixels: str, tags: dict[str, int]) -> av.VideoFrame:
    """As an encoder takes it: without tags, in the colours that players then assume."""
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    frame: av.VideoFrame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
    is_601 = tags.get("colorspace", 1 if image.height >= 720 else 6) in (5, 6)
    return frame.reformat(
        format=pixels,
        src_color_range=ColorRange.JPEG,
        dst_colorspace=Colorspace.ITU601 if is_601 else Colorspace.ITU709,
        dst_color_range=ColorRange.JPEG if tags.get("color_range") == 2 else ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
    )


def tones(frequency: float, seconds: float) -> Iterable[av.AudioFrame]:
    """A tone on both channels; of no frequency it is silence."""
    total = round(seconds * SOUND_RATE)
    for start in range(0, total, 1024):
        samples = range(start, min(start + 1024, total))
        frame = av.AudioFrame(format="fltp", layout="stereo", samples=len(samples))
        for plane in frame.planes:
            plane.update(_wave(frequency, samples))
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
        yield frame


@functools.cache
def _wave(frequency: float, samples: range) -> bytes:
    wave = array("f", (0.5 * math.sin(2 * math.pi * frequency * one / SOUND_RATE) for one in samples))
    return wave.tobytes()


def turned(path: Path, degrees: int) -> Path:
    """Write a rotation into the header of an MP4 file, as phones do."""
    cosine, sine = round(math.cos(math.radians(degrees))) << 16, round(math.sin(math.radians(degrees))) << 16
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    content[at : at + 36] = struct.pack(">9i", cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def overwritten(path: Path, begin: float, end: float) -> Path:
    """Damage a share of the media in a file."""
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    size = struct.unpack_from(">I", content, start - 8)[0] - 8
    first, last = start + int(size * begin), start + int(size * end)
    content[first:last] = bytes((7 * at + 13) % 251 for at in range(last - first))
    path.write_bytes(content)
    return path


def cut(path: Path, share: float) -> Path:
    """Leave only the beginning of a file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


@dataclass(frozen=True)
class Film:
    """What a decoder finds in a file."""

    images: tuple[Image.Image, ...]
    times: tuple[float, ...]
    seconds: float
    """As its header says."""
    rate: float
    levels: tuple[float, ...]
    """The volume of the sound in each tenth of a second; none where there is no sound."""

    @functools.cached_property
    def numbers(self) -> list[int]:
        return [number_in(image) for image in self.images]


def watched(path: Path) -> Film:
    """Decode a whole film, and check what must hold of any."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        decoding_times = [packet.dts for packet in container.demux(stream) if packet.dts is not None]
        assert all(a < b for a, b in pairwise(decoding_times))
        seconds = (container.duration or 0) / av.time_base
        rate = float(stream.average_rate or 0)
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    times = tuple(round(frame.time, 6) for frame in frames)
    assert all(a < b for a, b in pairwise(times))
    images: list[Any] = [frame.to_image() for frame in frames]  # type: ignore[no-untyped-call]
    return Film(tuple(images), times, seconds, rate, levels(path))


def levels(path: Path) -> tuple[float, ...]:
    """The volume of the sound in each tenth of a second."""
    with av.open(path) as container:
        if not container.streams.audio:
            return ()
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SOUND_RATE)
        samples = array("f", bytes(4 * round((container.duration or 0) / av.time_base * SOUND_RATE)))
        for frame in container.decode(audio=0):
            for one in resampler.resample(frame):
                start = round((frame.time or 0) * SOUND_RATE)
                wave = array("f", bytes(one.planes[0])[: 4 * one.samples])
                skipped = max(-start, 0)
                samples[max(start, 0) : start + len(wave)] = wave[skipped:]
    tenth = SOUND_RATE // 10
    parts = (samples[at : at + tenth] for at in range(0, len(samples) - tenth // 2, tenth))
    return tuple(math.sqrt(sum(value * value for value in part) / len(part)) for part in parts)


def psnr(one: Image.Image, other: Image.Image) -> float:
    """How alike two pictures are, in decibels; above 40 the eye sees no difference."""
    squares = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).sum2
    error = sum(squares) / (3 * one.width * one.height)
    return math.inf if error == 0 else 10 * math.log10(255 * 255 / error)


def mean(image: Image.Image) -> tuple[float, ...]:
    """The mean colour."""
    return tuple(ImageStat.Stat(image.convert("RGB")).mean)


def textured(size: tuple[int, int]) -> Image.Image:
    """As hard to encode as a photo: soft shapes, texture, grain, thin lines and letters; always the same."""
    random = Random(1)

    def noise(scale: int) -> Image.Image:
        width, height = size[0] // scale, size[1] // scale
        return Image.frombytes("L", (width, height), random.randbytes(width * height)).resize(size)

    shapes = Image.blend(Image.linear_gradient("L").resize(size), noise(60), 0.5)
    luma = Image.blend(Image.blend(shapes, noise(4), 0.25), noise(1), 0.1)
    pen = ImageDraw.Draw(luma)
    for y in range(20, size[1], 80):
        for x in range(20, size[0], 160):
            pen.text((x, y), f"{x} x {y}", fill=255)
            pen.line((x, y + 20, x + 90, y + 35), fill=0)
    return Image.merge("RGB", (luma, luma, shapes))
