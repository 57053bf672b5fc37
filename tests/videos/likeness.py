"""How alike two pictures are: SSIM, as Wang and others define it, in windows of 7 x 7 pixels of the luma."""

from collections.abc import Callable
from typing import Any

from PIL import Image, ImageMath

WINDOW = 7
"""Windows of this side do not lie on the blocks of a video codec."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(one: Image.Image, other: Image.Image) -> float:
    """1 for equal pictures, near 0 for pictures that have nothing in common."""
    assert one.size == other.size
    x, y = (image.convert("L").convert("F") for image in (one, other))
    mx, my, mxx, myy, mxy = (
        image.reduce(WINDOW)
        for image in (x, y, _of(_product, x, x), _of(_product, y, y), _of(_product, x, y))
    )
    windows = _of(_similarity, mx, my, mxx, myy, mxy)
    return float(windows.reduce(windows.size).getpixel((0, 0)))  # type: ignore[arg-type]  # mode F has one value


def _of(formula: Callable[..., Any], *images: Image.Image) -> Image.Image:
    """A picture that is reckoned pixel by pixel."""
    named = {f"v{number}": image for number, image in enumerate(images)}
    made: Image.Image = ImageMath.lambda_eval(
        lambda values: formula(*(values[name] for name in named)), **named
    )
    return made


def _product(x: Any, y: Any) -> Any:
    return x * y


def _similarity(mx: Any, my: Any, mxx: Any, myy: Any, mxy: Any) -> Any:
    """From the means of x, y, x², y² and xy in a window."""
    variances, covariance = mxx - mx * mx + myy - my * my, mxy - mx * my
    return (2 * mx * my + C1) * (2 * covariance + C2) / ((mx * mx + my * my + C1) * (variances + C2))
