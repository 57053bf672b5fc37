"""Texts of others as they may be shown and logged."""

import re

_QUERY = re.compile(r"(https?://[^\s?#\"<>]+)[?#][^\s\"<>]*", re.IGNORECASE)


def tidy(text: str, limit: int = 400) -> str:
    """Upstream text as it may be shown and logged: one bounded line, without the queries of addresses."""
    # Cut first: on a very long text the pattern would take very long.
    bare = _QUERY.sub(r"\1?…", text[: 10 * limit])
    line = " ".join("".join(char if char.isprintable() else " " for char in bare).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
