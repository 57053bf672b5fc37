"""A file, and what should become of it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.images.makers import QUADRANTS, Colour

WHITE = (255, 255, 255)


@dataclass
class Case:
    """A file, and what should become of it."""

    name: str
    make: Callable[[], bytes]
    adjusted: tuple[str, ...] = ()
    size: tuple[int, int] = (800, 600)
    format: str = "png"
    look: tuple[Colour, ...] = QUADRANTS
    tolerance: int = 12
