"""What a wheel holds: ``python tests/packages/contents.py dist/wan_mcp-….whl``."""

import sys
from zipfile import ZipFile


def main(wheel: str) -> None:
    names = ZipFile(wheel).namelist()
    others = [name for name in names if name.split("/")[0] != "wan_mcp" and ".dist-info/" not in name]
    assert not others, f"the wheel holds more than the package: {others}"
    assert {"wan_mcp/py.typed", "wan_mcp/server/player.html", "wan_mcp/server/http/upload.html"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]
    sys.stdout.write(f"{len(names)} files, nothing but wan_mcp\n")


if __name__ == "__main__":
    main(sys.argv[1])
