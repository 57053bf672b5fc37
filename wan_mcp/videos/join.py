"""Joining several videos, one after the other, into one MP4 file. Runs in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wan_mcp.errors import VideoError
from wan_mcp.videos.copied import CopiedPictures, CopiedSound
from wan_mcp.videos.encoded import EncodedPictures
from wan_mcp.videos.parts import Part, have_same_pictures, have_same_sound, part_of
from wan_mcp.videos.pyav import opened
from wan_mcp.videos.sound import EncodedSound

if TYPE_CHECKING:
    from av import Packet
    from av.container import OutputContainer

_STEP = 0.01
"""The least progress that is reported."""
_BUFFER = 1 << 18


class Stopped(Exception):
    """Raised when a join ends early because its caller wants that."""


@dataclass(frozen=True)
class Joined:
    """The outcome of a join."""

    lossless: bool
    """Whether the pictures are those of the parts, not encoded anew."""
    remarks: tuple[str, ...]
    """What the user should know about single parts, in sentences."""


class _Track(Protocol):
    """The pictures or the sound of the film."""

    def begin(self, part: Part, at: Fraction) -> None:
        """Another part follows, from so many seconds on."""

    def add(self, packet: Packet[Any]) -> None: ...

    def end(self) -> None:
        """The part is over."""

    def close(self) -> None:
        """The film is over."""


class _Target(FileIO):
    """Writes everything or raises. An ordinary raw file may write less when the disk becomes full."""

    error: OSError | None = None
    """Why writing failed. PyAV then fails to close the film, and its error hides this one."""

    def write(self, content: Any, /) -> int:
        left = memoryview(content)
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
            raise
        return len(content)


def join(
    paths: Sequence[Path],
    target: Path,
    on_progress: Callable[[float], None],
    is_stopped: Callable[[], bool],
) -> Joined:
    """Write one MP4 file of several videos: without loss where they are alike, else encoded once.

    Where they differ, the film has the size and the rate of the first one. The caller syncs the file, and
    removes it after an error.

    Args:
        paths: the videos, in order.
        target: the file to write; it is replaced.
        on_progress: receives how much is done, from 0 to 1.
        is_stopped: whether to end early.

    Raises:
        VideoError: when a part cannot be used. The message begins with its number.
        Stopped: when ``is_stopped`` became true.
        OSError: when the file cannot be written.
    """
    import av

    with ExitStack() as stack:
        parts: list[Part] = []
        for number, path in enumerate(paths, 1):
            _check(is_stopped)
            name = f"Part {number}"
            parts.append(part_of(name, path, stack.enter_context(opened(path, name))))
        file = stack.enter_context(_Target(target, "w"))
        options = {"movflags": "+faststart"}
        check = partial(_check, is_stopped)
        try:
            with av.open(file, "w", format="mp4", options=options, buffer_size=_BUFFER) as output:
                tracks = list(_tracks(output, parts, check))
                _write(parts, tracks, on_progress, check)
        except av.FFmpegError as error:
            if file.error is not None:
                raise file.error from None
            raise VideoError(
                f"The videos cannot be joined ({error.strerror}).",
                next_step="Join fewer of them, to find out which one is the cause.",
            ) from error
    on_progress(1.0)
    damaged = [part.name for part in parts if part.is_damaged]
    remarks = tuple(f"{name} is damaged: its pictures may jump or stand still." for name in damaged)
    return Joined(isinstance(tracks[0], CopiedPictures), remarks)


def _tracks(output: OutputContainer, parts: Sequence[Part], check: Callable[[], None]) -> Iterator[_Track]:
    """One track for the pictures, and one for the sound if any part has some."""
    copied = have_same_pictures(parts)
    yield CopiedPictures(output, parts[0]) if copied else EncodedPictures(output, parts[0], check)
    if any(part.sound for part in parts):
        yield CopiedSound(output, parts[0]) if have_same_sound(parts) else EncodedSound(output, check)


def _write(
    parts: Sequence[Part],
    tracks: Sequence[_Track],
    on_progress: Callable[[float], None],
    check: Callable[[], None],
) -> None:
    total, at, told = float(sum(part.timing.length for part in parts)), Fraction(0), 0.0
    to_decode = not all(isinstance(track, CopiedPictures | CopiedSound) for track in tracks)
    for part in parts:
        before, unit = float(at - part.timing.start), float(part.pictures.time_base or 0)
        for track in tracks:
            track.begin(part, at)
        for packet in part.packets(to_decode=to_decode):
            check()
            is_picture = packet.stream_index == part.pictures.index
            if is_picture and packet.pts is not None:
                done = (before + packet.pts * unit) / total
                if told + _STEP <= done < 1:
                    told = done
                    on_progress(done)
            tracks[0 if is_picture else 1].add(packet)
        for track in tracks:
            track.end()
        at += part.timing.length
    for track in tracks:
        track.close()


def _check(is_stopped: Callable[[], bool]) -> None:
    if is_stopped():
        raise Stopped
