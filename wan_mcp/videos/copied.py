"""Tracks of a film whose packets are those of its parts, without any loss."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from wan_mcp.videos.parts import Part

if TYPE_CHECKING:
    from av import Packet
    from av.container import OutputContainer

_FINE = 10_000
"""Units a second in which the times of any part can be told."""
_TIME_BASE = Fraction(1, 90_000)
"""The film's unit where the first part has a coarser one."""


class CopiedPictures:
    """The pictures of all parts, one after the other."""

    def __init__(self, output: OutputContainer, first: Part) -> None:
        self._output = output
        self._stream = output.add_stream_from_template(first.pictures, opaque=True)
        self._stream.codec_context.codec_tag = first.pictures.codec_context.codec_tag
        unit = first.pictures.time_base or _TIME_BASE
        self._unit = unit if unit.denominator >= _FINE else _TIME_BASE
        self._stream.time_base = self._unit
        self._free: int | None = None
        self._shift = 0
        self._scale: Fraction | int = 1

    def begin(self, part: Part, at: Fraction) -> None:
        scale = (part.pictures.time_base or _TIME_BASE) / self._unit
        # Whole numbers are ten times faster.
        self._scale = scale.numerator if scale.denominator == 1 else scale
        self._shift = round((at - part.timing.start) / self._unit)

    def add(self, packet: Packet[Any]) -> None:
        if packet.pts is None or packet.dts is None:  # the empty packet at the end
            return
        dts = round(packet.dts * self._scale) + self._shift
        # A part whose pictures are reordered begins before the last packet of one where they are not.
        packet.dts = dts if self._free is None else max(dts, self._free)
        packet.pts = max(round(packet.pts * self._scale) + self._shift, packet.dts)
        packet.duration = round((packet.duration or 0) * self._scale)
        packet.time_base = self._unit
        self._free = packet.dts + 1
        packet.stream = self._stream
        self._output.mux(packet)

    def end(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """Nothing is buffered."""


class CopiedSound:
    """The sound of all parts, one after the other, in packets that follow each other without a gap.

    A packet is kept where at least half of it belongs to its part, so that the sound is never more than half
    a packet early or late.
    """

    def __init__(self, output: OutputContainer, first: Part) -> None:
        assert first.sound is not None
        self._output = output
        self._stream = output.add_stream_from_template(first.sound, opaque=True)
        self._unit = Fraction(1, first.sound.codec_context.sample_rate)
        self._stream.time_base = self._unit
        self._free = 0
        self._shift = self._begin = self._end = Fraction(0)

    def begin(self, part: Part, at: Fraction) -> None:
        self._shift = at - part.timing.start
        self._begin, self._end = at, at + part.timing.length

    def add(self, packet: Packet[Any]) -> None:
        if packet.pts is None or packet.is_discard:
            return
        time = packet.pts * packet.time_base + self._shift
        half = (packet.duration or 0) * packet.time_base / 2
        start = max(round(time / self._unit), self._free)
        if time + half < self._begin or start * self._unit + half > self._end:
            return
        packet.duration = round(2 * half / self._unit)
        packet.pts = packet.dts = start
        packet.time_base = self._unit
        self._free = start + packet.duration
        packet.stream = self._stream
        self._output.mux(packet)

    def end(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """Nothing is buffered."""
