"""Other programs' texts, made safe to show and to log: without the key, and without what gives access."""

import re
from typing import Any
from urllib.parse import unquote

MARK = "[the key]"
SHORT = 8
"""Characters of the shortest key that is not found inside other words by chance."""
NOT_TEXT = frozenset(
    ("id", "task_id", "url", "video_url", "results", "result_data", "file_url", "download_url")
)
"""Properties that are used, not only shown: a change to one of them could lose a paid task."""
_WORD = re.compile(r"[^\s\"<>]+")
_QUERY = re.compile("[?#]")
_HOST_OR_PATH = re.compile(r"/|\w\.\w")


def tidy(text: str, limit: int = 400) -> str:
    """Upstream text as it may be shown and logged: one bounded line, without queries and passwords."""
    bare = _WORD.sub(lambda word: _bare(word[0]), text[: 10 * limit])
    line = " ".join("".join(char if char.isprintable() else " " for char in bare).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def without_key(value: Any, key: str) -> Any:
    """Mask the key in all texts of a JSON value: some gateways repeat a wrong key.

    Ids and links are not changed. A short key is masked only where it is a separate word.
    """
    if isinstance(value, str):
        if len(key) >= SHORT:
            return value.replace(key, MARK)
        return re.sub(rf"(?<![\w-]){re.escape(key)}(?!\.?[\w-])", MARK, value)
    if isinstance(value, dict):
        return {name: part if name in NOT_TEXT else without_key(part, key) for name, part in value.items()}
    return [without_key(part, key) for part in value] if isinstance(value, list) else value


def _bare(word: str) -> str:
    """A word without the query, the fragment, the user and the password of an address in it."""
    plain = word
    for _ in range(3):  # an address inside another one is encoded once more
        plain = unquote(plain)
    bare = _without_query(_without_user(plain))
    return word if bare == plain else bare


def _without_user(word: str) -> str:
    first, *others = word.split("//")
    user = first.partition("/")[0].rpartition("@")[0]
    bare = first[len(user) + 1 :] if ":" in user else first  # the user of an e-mail address has no colon
    authorities = ((other, other.partition("/")[0].rpartition("@")) for other in others)
    return "//".join([bare, *(other[len(user) + len(at) :] for other, (user, at, _) in authorities)])


def _without_query(word: str) -> str:
    found = _QUERY.search(word)
    if found is None:
        return word
    address, query = word[: found.start()], word[found.end() :]
    # "Is it a cat?Yes" and "cats#2" are not addresses.
    is_address = "=" in query or (
        _HOST_OR_PATH.search(address) if found[0] == "?" else "/" in address and "." in address
    )
    return f"{address}?…" if is_address and any(map(str.isalnum, query)) else word
