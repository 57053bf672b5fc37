"""File names that are safe on every system, whatever was asked for."""

import re
import unicodedata

from wan_mcp.videos.formats import ENDINGS

MAX_BYTES = 120
"""Bytes of a name, in UTF-8: leaves room for a number and the ending on every file system."""
MAX_PROMPT = 60
"""Characters of a name that is made from a prompt."""
MAX_PROMPT_BYTES = MAX_BYTES - len("-take-1000")
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]+')
_DEVICES = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$)\s*(\.|$)", re.IGNORECASE
)
MAX_ASKED = 1000
"""Characters of a name that are read."""


def safe_stem(wanted: str) -> str:
    """A safe name without the ending of a video: it can only mean a file in the folder it is put into."""
    # Leaves out control characters, what cannot be seen, and code points that some file systems refuse.
    text = "".join(
        char for char in wanted[:MAX_ASKED] if char.isspace() or unicodedata.category(char)[0] != "C"
    )
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    text = _without_ending(_FORBIDDEN.sub("_", text))
    text = _without_ending(text.encode()[:MAX_BYTES].decode(errors="ignore"))
    if _DEVICES.match(text):  # checked last: a name that was shortened can be one, too
        return f"_{text}"
    return text or "video"


def of_prompt(prompt: str) -> str:
    """A name made of a prompt's words, such as ``the-dog-wags-its-tail``; empty where it has none."""
    text = re.sub("['\N{RIGHT SINGLE QUOTATION MARK}]", "", unicodedata.normalize("NFC", prompt).lower())
    kept = (char if unicodedata.category(char)[0] in "LNM" else " " for char in text)
    name = ""
    for word in "".join(kept).split():
        if unicodedata.category(word[0])[0] == "M":  # it belongs to an emoji and cannot be seen alone
            continue
        longer = f"{name}-{word}" if name else word
        if len(longer) > MAX_PROMPT or len(longer.encode()) > MAX_PROMPT_BYTES:
            # A text without spaces is one long word.
            name = name or word[:MAX_PROMPT].encode()[:MAX_PROMPT_BYTES].decode(errors="ignore")
            break
        name = longer
    return name


def with_take(name: str, take: int) -> str:
    """A name that says which version of the same request it is, from the second on."""
    return f"{name}-take-{take}" if take > 1 else name


def _without_ending(text: str) -> str:
    stem, dot, ending = text.strip(" ._").rpartition(".")
    return _without_ending(stem) if dot and ending.lower() in ENDINGS else text.strip(" ._")
