"""PyAV, imported late: whether it is installed, opening a video, decoding what can be decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_mcp.errors import SettingsError, VideoError
from wan_mcp.images.decoding import install_command

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

_FORMATS = "mov,matroska,avi,flv,ogg,mpeg,mpegvideo,mpegts,asf"
"""Formats of libav. Others are lists of further files, and libav would read those files too."""
USE_ANOTHER = "It is as Evolink delivered it, so saving it again does not help: use another one."


def check_installed(purpose: str) -> None:
    """Make sure that videos can be read and made, before anything is started.

    Args:
        purpose: what PyAV is needed for, as the beginning of a sentence ("Joining videos").

    Raises:
        SettingsError: when PyAV is not installed, with the command that installs it.
    """
    try:
        import av  # noqa: F401  nothing less shows that it can be loaded
    except ImportError:
        raise SettingsError(
            f"{purpose} needs PyAV, which is not installed.",
            next_step=f"Run {install_command('av')} and try again.",
        ) from None


@contextmanager
def opened(path: Path, name: str) -> Iterator[InputContainer]:
    """Open a video, and close it when the block ends.

    Args:
        path: the file.
        name: what errors call it ("Part 2").

    Raises:
        VideoError: when it cannot be read.
    """
    import av

    try:
        container = av.open(path.absolute(), options={"format_whitelist": _FORMATS})
    except (av.FFmpegError, OSError) as error:
        is_known = error.strerror and not isinstance(error, av.ArgumentError)
        why = error.strerror if is_known else "its format is unknown"
        raise VideoError(f"{name} cannot be read as a video ({why}).", next_step=USE_ANOTHER) from None
    with container:
        yield container


def pictures_of(container: InputContainer, name: str) -> VideoStream:
    """The stream with the pictures.

    Raises:
        VideoError: when there is none.
    """
    stream = container.streams.best("video")
    if stream is None or stream.codec_context is None:
        raise no_picture(name)
    return stream  # type: ignore[return-value]  # which PyAV types as any stream


def on_all_cores(stream: VideoStream) -> VideoStream:
    """Decode on all cores, which is faster for more than a few frames; to be set before the first one."""
    stream.thread_type = "AUTO"
    return stream


def no_picture(name: str) -> VideoError:
    return VideoError(f"{name} has no picture that can be decoded.", next_step=USE_ANOTHER)


def sound_of(container: InputContainer) -> AudioStream | None:
    stream = container.streams.best("audio")
    return None if stream is None or stream.codec_context is None else stream  # type: ignore[return-value]


def packets(
    container: InputContainer, *streams: VideoStream | AudioStream, on_damage: Callable[[], None]
) -> Iterator[Packet[Any]]:
    """The packets of these streams, without damaged ones; they end where the file cannot be read any further.

    The last packet of each stream is empty: it makes a decoder return what it has kept.
    """
    import av

    try:
        for packet in container.demux(*streams):
            if packet.is_corrupt:
                on_damage()
            else:
                yield packet
    except av.FFmpegError:
        on_damage()


def decoded(packet: Packet[Any], on_damage: Callable[[], None]) -> list[Any]:
    """The frames that a packet gives; nothing where it is damaged."""
    import av

    try:
        return packet.decode()
    except av.FFmpegError:
        on_damage()
        return []
