"""Run by the Python of an environment with an installed package: does it open an iPhone's picture?"""

import io
import sys

import pillow_heif
from PIL import Image

from wan_mcp.images.fitting import fit


def main() -> None:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (400, 600), "teal")).save(file)
    picture = fit(file.getvalue())
    assert (picture.width, picture.height) == (400, 600), picture
    assert any("converted from HEIC" in change for change in picture.adjusted), picture.adjusted
    sys.stdout.write(f"HEIC: {', '.join(picture.adjusted)}\n")


if __name__ == "__main__":
    main()
