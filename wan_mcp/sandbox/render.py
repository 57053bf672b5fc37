"""Rendering a video: a slow zoom into the caller's own picture."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

import av
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageOps

FPS = 24
AREAS = {"480p": 854 * 480, "720p": 1280 * 720, "1080p": 1920 * 1080}
ZOOM = 0.15
TOWARDS = (0.65, 0.4)
FRAMES_AHEAD = 8


def render(picture: bytes, seconds: int, quality: str) -> bytes:
    """An MP4 (H.264) of exactly so many seconds whose first frame is the picture."""
    image = ImageOps.exif_transpose(Image.open(BytesIO(picture))).convert("RGB")
    size = frame_size(image.size, AREAS[quality])
    # The index can only be moved to the front of a real file.
    with TemporaryDirectory(prefix="wan-mcp-render-") as folder:
        path = Path(folder) / "video.mp4"
        _encode(_frames(image, size, seconds * FPS), size, path)
        return path.read_bytes()


def frame_size(size: tuple[int, int], area: int) -> tuple[int, int]:
    """Even sides of about that area, in the picture's proportions."""
    width, height = size
    scale = sqrt(area / (width * height))
    return 2 * round(width * scale / 2), 2 * round(height * scale / 2)


def _frames(image: Image.Image, size: tuple[int, int], count: int) -> Iterator[av.VideoFrame]:
    """The frames, a few at a time on all cores: scaling is slow, and Pillow does it without the GIL."""

    def frame(number: int) -> av.VideoFrame:
        view = image.resize(size, Image.Resampling.BILINEAR, box=_view(image.size, number / count))
        made: av.VideoFrame = av.VideoFrame.from_image(view)  # type: ignore[no-untyped-call]  # PyAV gives it no types
        return made.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)

    with ThreadPoolExecutor() as pool:
        for start in range(0, count, FRAMES_AHEAD):
            yield from pool.map(frame, range(start, min(start + FRAMES_AHEAD, count)))


def _view(size: tuple[int, int], share: float) -> tuple[float, float, float, float]:
    """The part of the picture that is seen after that share of the video."""
    lost = [side * ZOOM * share for side in size]
    left, top = (a * b for a, b in zip(lost, TOWARDS, strict=True))
    return left, top, left + size[0] - lost[0], top + size[1] - lost[1]


def _encode(frames: Iterator[av.VideoFrame], size: tuple[int, int], path: Path) -> None:
    with av.open(path, "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "superfast", "crf": "16"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
