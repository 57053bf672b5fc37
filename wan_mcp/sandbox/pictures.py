"""The picture that a request points to: fetched, and checked against the rules for a first frame."""

from collections.abc import Awaitable, Callable
from io import BytesIO

import anyio
from anyio import to_thread

from wan_mcp.sandbox.tasks import Failure

MAX_BYTES = 10 * 1024 * 1024
MIN_SIDE, MAX_SIDE = 360, 2000
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
FETCH_SECONDS = 10

Fetch = Callable[[str], Awaitable[bytes]]


def scene(aspect_ratio: str) -> bytes:
    """The first frame of a video from text: a sun above the sea, in the requested shape."""
    from PIL import Image, ImageDraw

    across, down = map(int, aspect_ratio.split(":"))
    side = 640 // max(across, down)
    width, height = across * side, down * side
    sky = Image.linear_gradient("L").resize((width, height))
    picture = Image.composite(
        Image.new("RGB", sky.size, "orange"), Image.new("RGB", sky.size, "midnightblue"), sky
    )
    pen = ImageDraw.Draw(picture)
    middle, horizon, radius = width // 2, height * 2 // 3, min(width, height) // 5
    pen.circle((middle, horizon - radius // 3), radius, "lightyellow")
    pen.rectangle((0, horizon, width, height), "darkslateblue")
    for row in range(horizon + 8, height, 16):
        reach = radius // 2 + (row - horizon) // 2
        pen.line((middle - reach, row, middle + reach, row), "sandybrown", 4)
    stream = BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


async def obtain(url: str, fetch: Fetch) -> tuple[bytes, Failure | None]:
    """The picture's bytes, and what is wrong with them."""
    try:
        content = await fetch(url)
    except Exception as error:  # a fetcher that the caller gave may raise anything
        return b"", _unusable(f"The input media URL could not be fetched: {error}")
    return content, await to_thread.run_sync(flaw, content)


def plain() -> bytes:
    """A picture that breaks no rule."""
    from PIL import Image

    stream = BytesIO()
    Image.new("RGB", (640, 360), "teal").save(stream, "PNG")
    return stream.getvalue()


async def download(url: str) -> bytes:
    """The default fetcher. Raises when the answer is an error, too large or too slow."""
    import httpx2

    content = bytearray()
    headers = {"user-agent": "wan-mcp-sandbox"}
    with anyio.fail_after(FETCH_SECONDS):
        async with (
            httpx2.AsyncClient(follow_redirects=True, headers=headers) as client,
            client.stream("GET", url) as response,
        ):
            response.raise_for_status()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise ValueError("it has more than 10 MB")
    return bytes(content)


def flaw(content: bytes) -> Failure | None:
    """The rule that the picture breaks."""
    from PIL import Image

    if len(content) > MAX_BYTES:
        return _unusable("The image has more than 10 MB.")
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if not all(MIN_SIDE <= side <= MAX_SIDE for side in image.size):
                return _wrong_size(image.size)
            if image.format == "PNG" and image.has_transparency_data:
                return _unusable("A PNG image must not have transparency.")
            image.load()
    except Exception:  # on broken bytes, Pillow's decoders raise almost anything
        return _unusable(f"The image cannot be read; it must be one of {', '.join(FORMATS)}.")
    return None


def _unusable(message: str) -> Failure:
    return Failure("image_processing_error", message)


def _wrong_size(size: tuple[int, int]) -> Failure:
    width, height = size
    limits = f"each side must have {MIN_SIDE} to {MAX_SIDE} pixels"
    return Failure("image_dimension_mismatch", f"The image has {width}x{height} pixels; {limits}.")
