"""The pictures of different parts, encoded anew: all of one size, at one rate."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from wan_mcp.videos.display import BT709, displayed_size, is_full_range, matrix, pixel_aspect
from wan_mcp.videos.parts import Part
from wan_mcp.videos.pyav import decoded, no_picture
from wan_mcp.videos.timing import time_of

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import OutputContainer
    from av.filter import Graph

_RATES = tuple(map(Fraction, (24, 25, 30, 50, 60)))
"""Pictures a second of a film whose first part has no constant rate."""
_MAX_RATE = 120
OPTIONS = {"preset": "veryfast", "crf": "17"}
"""The eye sees no difference from the original, and it takes less time than libx264's default preset."""
_LIMITED_RANGE = 1
_TURNS = {90: "transpose=cclock", 180: "hflip,vflip", 270: "transpose=clock"}


def _film_rate(first: Part) -> Fraction:
    """Pictures a second: those of the first part where they are constant, else the nearest usual rate."""
    rate = first.timing.rate
    if first.timing.is_constant and rate <= _MAX_RATE:
        return rate
    return min(_RATES, key=lambda usual: abs(usual - rate))


class EncodedPictures:
    """Each part fills the places between its beginning and its end: a picture is shown until the next one.

    ``check`` is called before each place; it may raise, to end the work.
    """

    def __init__(self, output: OutputContainer, first: Part, check: Callable[[], None]) -> None:
        self._output = output
        self._check = check
        self._rate = _film_rate(first)
        width, height = _displayed_size(first)
        self._size = max(width // 2 * 2, 2), max(height // 2 * 2, 2)
        self._stream = stream = output.add_stream("libx264", rate=self._rate, options=OPTIONS)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = 1 / self._rate
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = _LIMITED_RANGE
        self._next = self._stop = 0
        self._part = first
        self._shift = Fraction(0)
        self._frame: VideoFrame | None = None
        self._fitting: _Fitting | None = None

    def begin(self, part: Part, at: Fraction) -> None:
        self._part, self._shift = part, at - part.timing.start
        self._stop = round((at + part.timing.length) * self._rate)
        self._fitting = None

    def add(self, packet: Packet[Any]) -> None:
        for frame in decoded(packet, self._part.note_damage):
            time = time_of(frame)
            place = self._next + 1 if time is None else round((time + self._shift) * self._rate)
            self._show(until=min(place, self._stop))
            self._frame = frame

    def end(self) -> None:
        if self._frame is None:
            raise no_picture(self._part.name)
        self._show(until=self._stop)
        self._frame = None

    def close(self) -> None:
        self._output.mux(self._stream.encode())

    def _show(self, until: int) -> None:
        """Show the last frame at all places before ``until``; a frame that is never shown is never scaled."""
        if self._frame is None or until <= self._next:
            return
        if self._fitting is None or not self._fitting.takes(self._frame):
            self._fitting = _Fitting(self._frame, pixel_aspect(self._part.pictures), self._size)
        fitted = self._fitting.fitted(self._frame)
        fitted.pict_type = 0  # else the encoder would make key frames where the part has them
        fitted.time_base = 1 / self._rate
        for place in range(self._next, until):
            self._check()  # one picture may be shown for hours
            fitted.pts = place
            self._output.mux(self._stream.encode(fitted))
        self._next = until


def _displayed_size(part: Part) -> tuple[int, int]:
    for packet in part.packets(to_decode=True):
        if packet.stream_index == part.pictures.index:
            for frame in decoded(packet, part.note_damage):
                return displayed_size(frame, pixel_aspect(part.pictures))
    raise no_picture(part.name)


class _Fitting:
    """Turns frames of one kind upright, scales them into the film and lays them on black."""

    def __init__(self, frame: VideoFrame, aspect: Fraction, size: tuple[int, int]) -> None:
        self._kind = _kind(frame)
        width, height = displayed_size(frame, aspect)
        is_same = (width, height) == (frame.width, frame.height) == size and frame.format.name == "yuv420p"
        has_colours = matrix(frame) == "bt709" and not is_full_range(frame)
        self._graph = None if is_same and has_colours and not frame.rotation else _graph(frame, aspect, size)

    def takes(self, frame: VideoFrame) -> bool:
        return _kind(frame) == self._kind

    def fitted(self, frame: VideoFrame) -> VideoFrame:
        if self._graph is None:
            return frame
        self._graph.push(frame)
        return self._graph.vpull()


def _kind(frame: VideoFrame) -> tuple[object, ...]:
    size = frame.width, frame.height
    return size, frame.format.name, frame.colorspace, frame.color_range, frame.rotation


def _graph(frame: VideoFrame, aspect: Fraction, size: tuple[int, int]) -> Graph:
    from av.filter import Graph

    shown = displayed_size(frame, aspect)
    scale = min(size[0] / shown[0], size[1] / shown[1])
    width, height = (
        min(max(round(side * scale / 2) * 2, 2), most) for side, most in zip(shown, size, strict=True)
    )
    colours = f"in_color_matrix={matrix(frame)}:out_color_matrix=bt709"
    colours = f"{colours}:in_range={'pc' if is_full_range(frame) else 'tv'}:out_range=tv"
    turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
    filters = [
        *(turn.split(",") if turn else ()),
        f"scale={width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int:{colours}",
        f"pad={size[0]}:{size[1]}:(ow-iw)/2:(oh-ih)/2",
        "setsar=1",
        "format=yuv420p",
        "buffersink",
    ]
    graph = Graph()
    source = graph.add(
        "buffer",
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000:pixel_aspect=1/1"
        f":colorspace={frame.colorspace}:range={frame.color_range}",
    )
    nodes = [source]
    for text in filters:
        name, _, arguments = text.partition("=")
        nodes.append(graph.add(name, arguments or None))
    graph.link_nodes(*nodes).configure()
    return graph
