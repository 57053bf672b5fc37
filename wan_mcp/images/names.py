"""Undoing what people and programs do to file names, where only one file can be meant."""

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif")
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb", "<": ">"}
_HOME = re.compile(r"^\$(HOME\b|\{HOME\})")
_SPACES = re.compile(r"[\s\u00a0\u2000-\u200b\u202f\u205f\u3000]")
"""macOS puts a narrow no-break space before AM and PM; chat programs turn it into an ordinary space."""
_ENDINGS = {".jpeg": ".jpg", ".tiff": ".tif", ".heif": ".heic"}


def spellings(text: str, *, windows: bool) -> list[str]:
    """A path as it was given, and as it may have been before a terminal or another program changed it.

    Undone, in this order: the backslashes of a path that was dragged into a terminal, quotation marks, ``@``
    in front, and ``$HOME``; no other variable.
    """
    undo: list[Callable[[str], str]] = [unquoted, lambda path: path.removeprefix("@")]
    undo.append(lambda path: _HOME.sub("~", path))
    if not windows:
        undo.insert(0, lambda path: re.sub(r"\\(.)", r"\1", path))
    found = [text]
    for step in undo * 2:  # also where one is inside another, as in @'path'
        found = list(dict.fromkeys([*found, *map(step, found)]))
    return found


def unquoted(text: str) -> str:
    """A text without the white space and the quotation marks around it."""
    bare = text.strip()
    return bare[1:-1] if len(bare) > 1 and _QUOTES.get(bare[0]) == bare[-1] else bare


def matching(name: str, names: Iterable[str]) -> list[str]:
    """The names that may be meant by one that does not exist: they differ from it in spaces, then also in
    Unicode normalisation, case, and the spelling of the ending. Hidden files are never meant."""
    names = [other for other in names if not other.startswith(".")]
    levels = (
        [other for other in names if _folded(other, level) == _folded(name, level)] for level in range(4)
    )
    return next((found for found in levels if found), [])


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """The names of picture files that are most like one that does not exist, without hidden ones."""
    pictures = [other for other in names if other.lower().endswith(PICTURES) and not other.startswith(".")]
    near = difflib.get_close_matches(_folded(name), {*map(_folded, pictures)}, n=3, cutoff=0.5)
    return [other for one in near for other in pictures if _folded(other) == one]


def readable(name: str) -> str:
    """A name to be shown: ``?`` for bytes that are not text, and for what breaks a line or a terminal."""
    return "".join(one if one.isprintable() or unicodedata.category(one) == "Zs" else "?" for one in name)


def _folded(name: str, level: int = 3) -> str:
    name = _SPACES.sub(" ", name)
    name = unicodedata.normalize("NFC", name) if level >= 1 else name
    name = name.casefold() if level >= 2 else name
    stem, dot, ending = name.rpartition(".")
    return stem + _ENDINGS.get(dot + ending, dot + ending) if level >= 3 else name
