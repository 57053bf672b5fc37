"""The sound of different parts, encoded anew, with silence where a part has none."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from wan_mcp.videos.parts import Part
from wan_mcp.videos.pyav import decoded
from wan_mcp.videos.timing import time_of

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.container import OutputContainer
    from av.filter import Graph

_RATE, _FORMAT, _LAYOUT = 48_000, "fltp", "stereo"
_BITS = 192_000
"""Bits a second."""


class EncodedSound:
    """Each part has exactly the samples between its beginning and its end."""

    def __init__(self, output: OutputContainer, check: Callable[[], None]) -> None:
        self._output = output
        self._check = check
        self._stream = output.add_stream("aac", rate=_RATE, layout=_LAYOUT, bit_rate=_BITS)
        self._next = self._stop = 0
        self._part: Part | None = None
        self._graph: Graph | None = None

    def begin(self, part: Part, at: Fraction) -> None:
        self._part, self._graph = part, None
        self._stop = round((at + part.timing.length) * _RATE)

    def add(self, packet: Packet[Any]) -> None:
        assert self._part is not None
        for frame in decoded(packet, self._part.note_damage):
            if self._graph is None:
                self._graph = self._filters(frame.format.name, frame.layout.name, frame.sample_rate)
            time = time_of(frame)
            if time is not None:
                frame.pts = round((time - self._part.timing.start) * frame.sample_rate)
                frame.time_base = Fraction(1, frame.sample_rate)
                self._graph.push(frame)
                self._encode(self._graph)

    def end(self) -> None:
        graph = self._graph or self._filters(_FORMAT, _LAYOUT, _RATE)
        graph.push(None)
        self._encode(graph)

    def close(self) -> None:
        self._output.mux(self._stream.encode(None))

    def _filters(self, kind: str, layout: str, rate: int) -> Graph:
        """Libav's filters: they fill gaps with silence, and cut off what is before or after the part."""
        from av.filter import Graph

        samples = self._stop - self._next
        graph = Graph()
        graph.link_nodes(
            graph.add_abuffer(sample_rate=rate, format=kind, layout=layout, time_base=Fraction(1, rate)),
            graph.add("aresample", f"{_RATE}:async=1:first_pts=0"),
            graph.add("aformat", f"sample_fmts={_FORMAT}:channel_layouts={_LAYOUT}"),
            graph.add("apad", f"whole_len={samples}"),
            graph.add("atrim", f"end_sample={samples}"),
            graph.add("abuffersink"),
        ).configure()
        return graph

    def _encode(self, graph: Graph) -> None:
        while True:
            self._check()  # silence may last for hours
            try:
                frame: AudioFrame = graph.pull()  # type: ignore[assignment]  # a graph of sound gives sound
            except (BlockingIOError, EOFError):  # it needs more input, or has ended
                return
            frame.pts, frame.time_base = self._next, Fraction(1, _RATE)
            self._next += frame.samples
            self._output.mux(self._stream.encode(frame))
