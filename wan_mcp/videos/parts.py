"""The parts of a film: what each one is, and whether their packets can follow one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_mcp.videos import mp4
from wan_mcp.videos.display import pixel_aspect
from wan_mcp.videos.pyav import decoded, on_all_cores, opened, packets, pictures_of, sound_of
from wan_mcp.videos.timing import Timing, timing_of

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

_COPIED_PICTURES = ("h264", "hevc", "av1")
_COPIED_SOUND = ("aac", "mp3", "opus")
"""What players play in an MP4 file."""
_SAME_RATE = Fraction(1, 100)
"""How much the rates of parts may differ: a few pictures more or less change a measured rate a little."""
_SAME_LENGTH = Fraction(1, 10)
"""Seconds at either end of a part that may be without sound where the sound is copied."""


@dataclass
class Part:
    """A video that is open, with its place in the film."""

    name: str
    """By its number: "Part 2"."""
    path: Path
    container: InputContainer
    pictures: VideoStream
    sound: AudioStream | None
    timing: Timing
    is_damaged: bool

    @property
    def is_mp4(self) -> bool:
        """Whether it is an MP4 or a MOV file, which are of the same kind."""
        return self.container.format.name.startswith("mov")

    def note_damage(self) -> None:
        self.is_damaged = True

    def packets(self, *, to_decode: bool) -> Iterator[Packet[Any]]:
        """All packets of its pictures and its sound, from the first one.

        Args:
            to_decode: whether they are to be decoded. Then the file is opened again: after a seek, some
                decoders leave out the beginning of the sound. A file in which seeking is not exact is also
                opened again.
        """
        if to_decode or not self.is_mp4:
            with opened(self.path, self.name) as container:
                sound = None if self.sound is None else sound_of(container)
                pictures = on_all_cores(pictures_of(container, self.name))
                yield from self._packets(container, pictures, sound)
        else:
            start = round(self.timing.start / (self.pictures.time_base or 1))
            self.container.seek(start, stream=self.pictures)
            yield from self._packets(self.container, self.pictures, self.sound)

    def _packets(
        self, container: InputContainer, pictures: VideoStream, sound: AudioStream | None
    ) -> Iterator[Packet[Any]]:
        streams = (pictures,) if sound is None else (pictures, sound)
        return packets(container, *streams, on_damage=self.note_damage)


def part_of(name: str, path: Path, container: InputContainer) -> Part:
    """Find out what a part is.

    Raises:
        VideoError: when it has no pictures.
    """
    stream, sound = pictures_of(container, name), sound_of(container)
    timing = timing_of(container, stream, sound, name)
    sound = None if timing.sound is None else sound
    return Part(name, path, container, stream, sound, timing, timing.is_damaged)


def have_same_pictures(parts: Sequence[Part]) -> bool:
    """Whether the pictures of all parts can be copied into one MP4 file as they are.

    Damaged parts cannot: browsers stop at the first packet that they cannot read.
    """
    first = parts[0]
    return all(
        part.timing.is_constant
        and part.timing.is_orderly
        and part.is_mp4
        and part.pictures.codec_context.codec.canonical_name in _COPIED_PICTURES
        and _pictures(part) == _pictures(first)
        and abs(part.timing.rate / first.timing.rate - 1) <= _SAME_RATE
        and not _is_turned(part)
        and _is_intact(part)
        for part in parts
    )


def have_same_sound(parts: Sequence[Part]) -> bool:
    """Whether the sound of all parts can be copied into one MP4 file as it is."""
    return all(_is_full(part) and _sound(part) == _sound(parts[0]) for part in parts)


def _is_turned(part: Part) -> bool:
    with part.path.open("rb") as file:
        return mp4.read(file).is_turned


def _is_intact(part: Part) -> bool:
    """Whether a decoder can read all packets.

    The decoder skips the pictures, so this takes hardly any time.
    """
    context = part.pictures.codec_context
    context.skip_frame = "ALL"
    for packet in part.packets(to_decode=False):
        if packet.stream_index == part.pictures.index:
            decoded(packet, part.note_damage)
    return not part.is_damaged


def _is_full(part: Part) -> bool:
    """Whether a part has sound that can be copied, from its first picture to its last."""
    timing = part.timing
    return (
        part.sound is not None
        and timing.sound is not None
        and part.sound.codec_context.codec.canonical_name in _COPIED_SOUND
        and timing.sound[0] <= timing.start + _SAME_LENGTH
        and timing.sound[1] >= timing.end - _SAME_LENGTH
    )


def _pictures(part: Part) -> tuple[object, ...]:
    """What must be the same for the packets of two parts to follow one another."""
    context = part.pictures.codec_context
    return (
        context.codec.canonical_name,
        context.width,
        context.height,
        context.pix_fmt,
        context.extradata,
        pixel_aspect(part.pictures),
    )


def _sound(part: Part) -> tuple[object, ...]:
    assert part.sound is not None
    context = part.sound.codec_context
    return context.codec.canonical_name, context.sample_rate, context.layout.name, context.extradata
