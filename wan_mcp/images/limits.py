"""What Evolink takes, and how far a picture is changed to fit: numbers, and arithmetic on them."""

from wan_mcp.errors import PictureError

MIN_SIDE, MAX_SIDE = 360, 2000
MAX_BYTES = 10_000_000
"""The documentation says 10 MB: the smaller of its two meanings is the safe one."""
MAX_ENLARGED = 2
MAX_READ = 64_000_000
"""The most bytes of a picture that are read."""
MAX_PIXELS = 120_000_000
"""The most pixels that are decoded; the largest phone cameras make 108 million."""
MAX_PIXELS_HOSTED = 40_000_000
"""The same where many callers share the machine's memory."""
GIVE_SMALLER = "Give a smaller version of the picture."


def fitted_size(width: int, height: int) -> tuple[int, int]:
    """The size that a picture is scaled to, so that both sides have 360 to 2000 pixels.

    Raises:
        PictureError: when no such size keeps its shape, or it is too small or too large.
    """
    check_possible(width, height)
    scale = max(min(1.0, MAX_SIDE / max(width, height)), MIN_SIDE / min(width, height))
    width, height = (min(max(round(side * scale), MIN_SIDE), MAX_SIDE) for side in (width, height))
    return width, height


def check_possible(width: int, height: int, most: int = MAX_PIXELS) -> None:
    """Refuse a size that cannot be made to fit, or has more than ``most`` pixels.

    The text of the PictureError continues after the picture's name.
    """
    size = f"{by(width, height)} pixels"
    short, long = sorted((width, height))
    if short < 1:
        raise PictureError(f"has no pixels ({by(width, height)})", next_step="Give another picture.")
    if width * height > most:
        text = f"is {size}, {width * height / 1e6:.0f} million; at most {most // 10**6} million are opened"
        raise PictureError(text, next_step=GIVE_SMALLER)
    if long * MIN_SIDE > short * MAX_SIDE:
        raise PictureError(
            f"is {size}: the sides differ by {long / short:.3g} to 1; "
            f"at most {MAX_SIDE / MIN_SIDE:.3g} to 1 can fit into {MIN_SIDE} to {MAX_SIDE} pixels",
            next_step="Crop it, or put it on a larger background, and give the result.",
        )
    if short * MAX_ENLARGED < MIN_SIDE:
        raise PictureError(
            f"is {size}: too small. Each side must be {MIN_SIDE} to {MAX_SIDE} pixels, "
            f"and a picture is enlarged at most twofold, so both need {MIN_SIDE // MAX_ENLARGED} or more",
            next_step="Give a larger version of the picture.",
        )


def too_long(size: str) -> PictureError:
    """The error for a picture of more than ``MAX_READ`` bytes."""
    return PictureError(f"has {size}; at most {in_bytes(MAX_READ)} are read", next_step=GIVE_SMALLER)


def in_bytes(count: int) -> str:
    """A number of bytes for people: 3.1 MB, 820 KB, 12 bytes."""
    if count >= 1_000_000:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e3:.0f} KB" if count >= 1000 else f"{count} bytes"


def by(width: int, height: int) -> str:
    """A size for people: width, a multiplication sign, height."""
    return f"{width}\N{MULTIPLICATION SIGN}{height}"
