"""How alike two pictures are to the eye: SSIM, as Wang and others define it, on luma."""

from collections.abc import Callable
from typing import Any

from PIL import Image, ImageMath

WINDOW = 7
"""Pixels of a window's side: the windows lie across the blocks of a video codec."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(one: Image.Image, other: Image.Image) -> float:
    """1 for equal pictures, about 0 for those that have nothing in common."""
    assert one.size == other.size
    x, y = one.convert("L").convert("F"), other.convert("L").convert("F")
    products = [_each_pixel(lambda a, b: a * b, *pair) for pair in ((x, x), (y, y), (x, y))]
    windows = _each_pixel(_similarity, *(image.reduce(WINDOW) for image in (x, y, *products)))
    mean: Any = windows.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    return float(mean)


def _each_pixel(formula: Callable[..., Any], *images: Image.Image) -> Image.Image:
    """The picture whose pixels a formula makes of those of other pictures."""
    named = {f"picture_{number}": image for number, image in enumerate(images)}
    made: Image.Image = ImageMath.lambda_eval(lambda values: formula(*map(values.get, named)), **named)
    return made


def _similarity(x: Any, y: Any, xx: Any, yy: Any, xy: Any) -> Any:
    """That of a window, from its means of x, y, x², y² and xy."""
    variances, covariance = xx - x * x + yy - y * y, xy - x * y
    return (2 * x * y + C1) * (2 * covariance + C2) / ((x * x + y * y + C1) * (variances + C2))
