"""File names that are safe on every system, whatever was asked for."""

import re
import unicodedata

MAX_BYTES = 120
"""Bytes of a name, in UTF-8: leaves room for a number and for a temporary name on every file system."""
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]+')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)\s*(\.|$)", re.IGNORECASE)


def safe_stem(wanted: str) -> str:
    """A name without its ``.mp4``, that names a file in the folder it is put into and nothing else."""
    text = unicodedata.normalize("NFC", wanted.encode("utf-8", "replace").decode())
    text = "".join(char for char in text if unicodedata.category(char) not in ("Cf", "Cs", "Co", "Zl", "Zp"))
    text = _FORBIDDEN.sub("_", text)
    text = re.sub(r"\.mp4\s*$", "", text, flags=re.IGNORECASE).strip(" ._")
    if _DEVICES.match(text):
        text = f"_{text}"
    while len(text.encode()) > MAX_BYTES:
        text = text[:-1]
    return text.strip(" .") or "video"
