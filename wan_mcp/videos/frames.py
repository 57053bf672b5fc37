"""Single pictures of a video: its last one, and a sheet of several. Runs in a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from wan_mcp.images.fitting import saved
from wan_mcp.videos.display import image_of, pixel_aspect
from wan_mcp.videos.pyav import decoded, no_picture, on_all_cores, opened, packets, pictures_of, sound_of
from wan_mcp.videos.sheet import SIDE, drawn
from wan_mcp.videos.timing import Timing, time_of, timing_of

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_NAME = "The video"
_LAST = 3
"""Frames at the end of a video, one of which is used."""
_CLEARLY = 1.5
"""How much sharper an earlier one must be. Between pictures of one video that differ by noise or by their
compression alone, the measure differs by less than a fifth; blur that is visible at all halves it."""
_COMPARED_SIDE = 480
"""Pixels of a side at which the sharpness of pictures is compared: enough for blur that can be seen."""


def last_frame(path: Path) -> bytes:
    """The last good picture of a video, as a PNG of the size that is displayed.

    It is the very last one, unless one of the two before is clearly sharper.

    Raises:
        VideoError: when the video cannot be read, or nothing of it can be decoded.
    """
    for is_at_end in (True, False):
        with opened(path, _NAME) as container:
            stream = on_all_cores(pictures_of(container, _NAME))
            if is_at_end:
                _seek_last_key_frame(container, stream)
            if frames := deque(_good_frames(container, stream), maxlen=_LAST):
                picture = image_of(_best(frames), pixel_aspect(stream))
                return saved(picture, "png", compress_level=0)  # it is decoded again at once
    raise no_picture(_NAME)


@dataclass(frozen=True)
class Sheet:
    """Pictures of a video side by side, and facts about the video."""

    content: bytes
    """A JPEG."""
    times: tuple[float, ...]
    """Seconds from the beginning, of each picture."""
    seconds: float
    width: int
    height: int
    rate: float
    """Pictures a second."""
    has_sound: bool


def contact_sheet(path: Path, count: int) -> Sheet:
    """Pictures from the first to the last one, evenly spaced in time; fewer where the video has fewer.

    Raises:
        VideoError: when the video cannot be read, or nothing of it can be decoded.
    """
    from PIL import Image

    with opened(path, _NAME) as container:
        timing = timing_of(container, pictures_of(container, _NAME), sound_of(container), _NAME)
    pictures: list[Image.Image] = []
    times: list[float] = []
    size = (0, 0)
    with opened(path, _NAME) as container:
        stream = on_all_cores(pictures_of(container, _NAME))
        for time, frame in _spread(_good_frames(container, stream), timing, count):
            picture = image_of(frame, pixel_aspect(stream))
            size = picture.size
            picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            pictures.append(picture)
            times.append(round(float(time), 3))
    if not pictures:
        raise no_picture(_NAME)
    content = drawn(pictures, [f"{time:.1f} s" for time in times])
    seconds, rate = round(float(timing.length), 3), round(float(timing.rate), 3)
    return Sheet(content, tuple(times), seconds, *size, rate, timing.sound is not None)


def _spread(
    frames: Iterator[VideoFrame], timing: Timing, count: int
) -> Iterator[tuple[Fraction, VideoFrame]]:
    """``count`` frames from the first to the last, each with its seconds from the beginning."""
    steps, half = max(count - 1, 1), 1 / timing.rate / 2
    wanted = deque((timing.last - timing.start) * number / steps for number in range(count))
    time, frame, is_taken = Fraction(0), None, False
    for frame in frames:
        time = (time_of(frame) or timing.start) - timing.start
        is_taken = bool(wanted) and wanted[0] <= time + half
        if is_taken:
            yield time, frame
            while wanted and wanted[0] <= time + half:
                wanted.popleft()
    if wanted and frame is not None and not is_taken:  # the last ones are damaged
        yield time, frame


def _seek_last_key_frame(container: InputContainer, stream: VideoStream) -> None:
    import av

    end = (stream.start_time or 0) + stream.duration if stream.duration else 2**62
    with suppress(av.FFmpegError):  # where it fails, the whole video is decoded
        container.seek(end, stream=stream)


def _good_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Each whole picture from here on, in order."""
    for packet in packets(container, stream, on_damage=_ignore):
        for frame in decoded(packet, on_damage=_ignore):
            if not frame.is_corrupt:
                yield frame


def _ignore() -> None:
    """Damage does not matter: other pictures are taken."""


def _best(frames: Sequence[VideoFrame]) -> VideoFrame:
    """The last frame that is nearly as sharp as the sharpest one."""
    sharpness = [_sharpness(frame) for frame in frames]
    enough = max(sharpness) / _CLEARLY
    return next(
        frame for frame, sharp in zip(reversed(frames), reversed(sharpness), strict=True) if sharp >= enough
    )


def _sharpness(frame: VideoFrame) -> float:
    """The variance of the Laplacian of the luma: edges raise it, and blur lowers it."""
    from PIL.ImageFilter import Kernel
    from PIL.ImageStat import Stat

    size = (min(frame.width, _COMPARED_SIDE), min(frame.height, _COMPARED_SIDE))
    luma = frame.reformat(*size, format="gray").to_image()  # type: ignore[no-untyped-call]  # PyAV gives it no types
    edges = luma.convert("L").filter(Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128))
    return float(Stat(edges).var[0])
