"""File names that are safe on every system, whatever was asked for."""

import re
import unicodedata

MAX_BYTES = 120
"""Bytes of a name, in UTF-8: leaves room for a number and the ending on every file system."""
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]+')
_DEVICES = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$)\s*(\.|$)", re.IGNORECASE
)


def safe_stem(wanted: str) -> str:
    """A name without its ``.mp4``, that names a file in the folder it is put into and nothing else."""
    # Control characters, what cannot be seen, and what some file systems refuse since it is no character.
    text = "".join(char for char in wanted if char.isspace() or unicodedata.category(char)[0] != "C")
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    text = _FORBIDDEN.sub("_", text).strip(" ._")
    text = re.sub(r"\.mp4$", "", text, flags=re.IGNORECASE)
    text = text.encode()[:MAX_BYTES].decode(errors="ignore").strip(" ._")
    if _DEVICES.match(text):  # looked for last: a name that was cut can be one, too
        return f"_{text}"
    return text or "video"
