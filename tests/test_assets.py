"""The icon and the pictures of the README are there, in the right formats, and small in pixels and bytes."""

from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image, ImageChops, ImageSequence, ImageStat

from tests.browser.icon import SIZE as ICON_SIZE
from tests.browser.moving_picture import SCALE, SIZE, STILL_SIZE

ASSETS = Path(__file__).parent.parent / "assets"
SVG = "{http://www.w3.org/2000/svg}"


@cache
def film() -> list[tuple[Image.Image, int]]:
    """The frames of the moving picture, as large as the still, with the milliseconds that each is shown."""
    with Image.open(ASSETS / "demo.webp") as shown:
        return [
            (frame.convert("RGB").resize(STILL_SIZE), frame.info["duration"])
            for frame in ImageSequence.Iterator(shown)
        ]


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures, in levels of brightness."""
    return ImageStat.Stat(ImageChops.difference(one, other).convert("L")).mean[0]


def test_the_icon_is_small_and_needs_only_what_every_renderer_has() -> None:
    """A square of shapes and colours, without text, filters, styles, scripts or anything from elsewhere."""
    content = (ASSETS / "icon.svg").read_text("utf-8")
    root = ElementTree.fromstring(content)
    assert root.tag == f"{SVG}svg"
    assert root.attrib == {"viewBox": "0 0 64 64"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        *("svg", "linearGradient", "stop", "clipPath", "rect", "g", "path"),
    }
    assert len(content) < 1500
    assert "href" not in content


def test_the_icon_is_also_a_png() -> None:
    """512 pixels a side, with round corners that show what is behind."""
    file = ASSETS / "icon.png"
    with Image.open(file) as icon:
        assert (icon.format, icon.mode, icon.size) == ("PNG", "RGBA", (ICON_SIZE, ICON_SIZE))
        assert icon.getpixel((0, 0)) == (0, 0, 0, 0)
        alpha = icon.getchannel("A").histogram()
    assert alpha[255] > 0.9 * ICON_SIZE**2
    assert file.stat().st_size < 50_000


def test_the_moving_picture_is_light_loops_and_tells_a_story() -> None:
    """It runs 10 to 15 seconds, for ever, and ends otherwise than it begins."""
    file = ASSETS / "demo.webp"
    with Image.open(file) as shown:
        assert (shown.format, shown.size, shown.info["loop"]) == (
            "WEBP",
            (SIZE[0] * SCALE, SIZE[1] * SCALE),
            0,
        )
    assert file.stat().st_size < 800_000
    assert len(film()) > 40
    assert 10_000 <= sum(milliseconds for _, milliseconds in film()) <= 15_000
    assert difference(film()[0][0], film()[-1][0]) > 20


def test_the_still_is_the_last_frame_of_the_moving_picture() -> None:
    """For those who want no motion."""
    file = ASSETS / "demo.png"
    with Image.open(file) as still:
        assert (still.format, still.size) == ("PNG", STILL_SIZE)
        assert difference(still.convert("RGB"), film()[-1][0]) < 3
    assert file.stat().st_size < 150_000
