"""When the pictures and the sound of a video begin and end, by its packets: nothing is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from wan_mcp.videos.pyav import no_picture, packets

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.frame import Frame
    from av.video.stream import VideoStream

_USUAL_RATE = Fraction(24)
"""Pictures a second where there is only one picture, and the file does not say."""
_JITTER = Fraction(5, 1000)
"""Seconds by which distances may differ at a constant rate: some formats count in milliseconds."""
_Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Timing:
    """All times are in seconds, as the file counts them."""

    start: Fraction
    """When the first picture is shown."""
    last: Fraction
    """When the last picture is shown."""
    end: Fraction
    """Until when the last picture is shown."""
    rate: Fraction
    """Pictures a second."""
    is_constant: bool
    """Whether all pictures follow each other at the same distance."""
    is_orderly: bool
    """Whether each packet has its times and is to be shown, and the first one is a key frame, shown first."""
    sound: tuple[Fraction, Fraction] | None
    """When the sound begins and ends."""
    is_damaged: bool

    @property
    def length(self) -> Fraction:
        return self.end - self.start


def timing_of(container: InputContainer, stream: VideoStream, sound: AudioStream | None, name: str) -> Timing:
    """Read all packets of a file, to its end.

    Raises:
        VideoError: when there is no picture.
    """
    streams = [stream] if sound is None else [stream, sound]
    spans: dict[int, _Spans] = {one.index: [] for one in streams}
    damage: list[None] = []
    is_orderly = True
    for packet in packets(container, *streams, on_damage=lambda: damage.append(None)):
        time = packet.dts if packet.pts is None else packet.pts
        if time is None:  # the empty packet at the end of a stream
            continue
        if packet.stream_index == stream.index:
            is_timed = packet.pts is not None and packet.dts is not None
            is_orderly &= is_timed and not packet.is_discard
            is_orderly &= bool(spans[stream.index]) or packet.is_keyframe
        spans[packet.stream_index].append((time, time + (packet.duration or 0)))

    shown = spans[stream.index]
    if not shown:
        raise no_picture(name)
    unit = stream.time_base or Fraction(1)
    times = sorted(time for time, _ in shown)
    rate, is_constant = _rate(times, unit, stream)
    end = max(end for _, end in shown) * unit
    last = times[-1] * unit
    return Timing(
        start=times[0] * unit,
        last=last,
        end=end if end > last else last + 1 / rate,
        rate=rate,
        is_constant=is_constant,
        is_orderly=is_orderly and shown[0][0] == times[0],
        sound=_covered(spans[sound.index], sound) if sound is not None else None,
        is_damaged=bool(damage),
    )


def time_of(frame: Frame) -> Fraction | None:
    """When a decoded frame is shown, in seconds; None where the file does not say."""
    if frame.pts is None or frame.time_base is None:
        return None
    return frame.pts * frame.time_base


def _rate(times: list[int], unit: Fraction, stream: VideoStream) -> tuple[Fraction, bool]:
    """Pictures a second, and whether that rate is constant."""
    said = stream.average_rate or _USUAL_RATE
    distances = [after - before for before, after in pairwise(times)]
    if not distances or times[-1] == times[0]:
        return said, True
    if (max(distances) - min(distances)) * unit <= _JITTER:
        return said, True
    return (len(distances) / ((times[-1] - times[0]) * unit)).limit_denominator(1001), False


def _covered(spans: _Spans, sound: AudioStream) -> tuple[Fraction, Fraction] | None:
    unit = sound.time_base or Fraction(1)
    return (spans[0][0] * unit, spans[-1][1] * unit) if spans else None
