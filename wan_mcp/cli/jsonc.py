"""Changes in JSON files, also in those with comments and trailing commas: every other byte stays as it is.

Values are read by Python's own decoder, from a copy of the text in which comments are spaces, so that its
offsets are those of the text. Each change is checked: what is read afterwards must be what was read
before, with that one change.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_STRING = r'"(?:[^"\\]|\\.)*"'
_COMMENT = re.compile(rf"{_STRING}|//[^\r\n]*|/\*.*?\*/", re.S)
_TRAILING_COMMA = re.compile(rf"{_STRING}|,(?=[ \t\r\n]*[}}\]])", re.S)
_WHITE = " \t\r\n"


@dataclass(frozen=True)
class _Member:
    """Where a name, its value, and the end of that are."""

    start: int
    value: int
    end: int


def read(text: str) -> Any:
    """The value of a document; an empty one counts as an empty object.

    Raises:
        ValueError: when it is not JSON, has a name twice in one object, or is nested too deeply.
    """
    plain = _plain(text)
    return _decode(plain) if plain.strip(_WHITE) else {}


def put(text: str, path: Sequence[str], value: Any) -> str:
    """Set a value, and make the objects on the way to it.

    Raises:
        ValueError: when that cannot be done, or not without changing anything else.
    """
    if not _plain(text).strip(_WHITE):
        if text.strip(f"\ufeff{_WHITE}") and text[-1] not in "\r\n":
            text += _eol(text)  # what is added must not become part of a comment
        text += "{}\n"
    plain, wanted = _plain(text), read(text)
    holder, owner, depth, found = 0, wanted, 0, None
    for depth, name in enumerate(path):
        holder = found.value if found else _skip(plain, 0)
        members = _members(plain, holder)
        found = members.get(name)
        if found is None or depth == len(path) - 1:
            break
        owner = owner[name]
    for name in reversed(path[depth + 1 :]):
        value = {name: value}
    owner[path[depth]] = value
    if found is None:
        return _checked(_inserted(text, holder, path[depth], value), wanted)
    shown = _shown(value, text, _indent(text, found.start))
    return _checked(text[: found.value] + shown + text[found.end :], wanted)


def cut(text: str, path: Sequence[str]) -> str:
    """Remove a member with its comma and the white space before it; comments stay.

    Raises:
        ValueError: when it is not there, or cannot be removed without changing anything else.
    """
    plain, wanted = _plain(text), read(text)
    holder, owner = _skip(plain, 0), wanted
    for name in path[:-1]:
        holder, owner = _members(plain, holder)[name].value, owner[name]
    members = _members(plain, holder)
    found = members[path[-1]]
    del owner[path[-1]]
    head, tail = text[: found.start], text[found.end :]
    comma = _comma_after(text, found.end)
    if comma is not None:
        tail = text[found.end : comma] + text[comma + 1 :]
    elif before := [member.end for member in members.values() if member.end < found.start]:
        comma = plain.index(",", before[-1])
        head = head[:comma] + head[comma + 1 :]
    if len(members) == 1 and tail.lstrip(_WHITE).startswith("}"):
        tail = tail.lstrip(_WHITE)
    try:
        return _checked(head.rstrip(_WHITE) + tail, wanted)
    except ValueError:  # the rest of the line would join a comment before it
        return _checked(head + tail, wanted)


@lru_cache(maxsize=2)  # a text of many megabytes is looked at several times for one change
def _without_comments(text: str) -> str:
    bare = _COMMENT.sub(lambda found: found[0] if found[0][0] == '"' else " " * len(found[0]), text)
    return f" {bare[1:]}" if bare.startswith("\ufeff") else bare


@lru_cache(maxsize=2)
def _plain(text: str) -> str:
    """A document as Python's decoder can read it, of the same length."""
    bare = _without_comments(text)

    def blank(found: re.Match[str]) -> str:
        before = found.start() - 1
        while before >= 0 and bare[before] in _WHITE:
            before -= 1
        is_trailing = found[0] == "," and bare[max(before, 0)] not in "{[,"
        return " " if is_trailing else found[0]

    return _TRAILING_COMMA.sub(blank, bare)


def _decode(plain: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise ValueError("a name is there twice in one object")
        return made

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(plain, object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _checked(text: str, wanted: Any) -> str:
    # As text: for Python, 1, 1.0 and true are the same, and the order of names does not count.
    if json.dumps(read(text)) != json.dumps(wanted):
        raise ValueError("the change would change something else, too")
    return text


def _skip(text: str, at: int) -> int:
    """The next offset at which there is no white space."""
    while text[at : at + 1] and text[at] in _WHITE:
        at += 1
    return at


def _members(plain: str, at: int) -> dict[str, _Member]:
    """The members of the object that begins there.

    Raises:
        ValueError: when it is no object.
    """
    if plain[at] != "{":
        raise ValueError("something else is where an object should be")
    decoder, members, at = json.JSONDecoder(), {}, _skip(plain, at + 1)
    while plain[at] != "}":
        name, colon = decoder.raw_decode(plain, at)
        value = _skip(plain, _skip(plain, colon) + 1)
        _, end = decoder.raw_decode(plain, value)
        members[name] = _Member(at, value, end)
        at = _skip(plain, end)
        if plain[at] == ",":
            at = _skip(plain, at + 1)
    return members


def _comma_after(text: str, at: int) -> int | None:
    """The comma after a value, also a trailing one."""
    bare = _without_comments(text)
    at = _skip(bare, at)
    return at if bare[at] == "," else None


def _inserted(text: str, holder: int, name: str, value: Any) -> str:
    """A document with one more member at the end of an object, laid out as what is around it."""
    plain = _plain(text)
    members = list(_members(plain, holder).values())
    close = _skip(plain, members[-1].end if members else holder + 1)
    end = len(text[:close].rstrip(_WHITE))
    comma = _comma_after(text, members[-1].end) if members else None
    root = _skip(plain, 0)
    is_short = not _lines(text[holder:close]) and bool(
        members or (root != holder and not _lines(plain.strip()))
    )
    if is_short:
        added = (" " if members else "") + f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
    else:
        indent = _indent(text, members[-1].start) if members else _indent(text, holder) + _unit(text)
        added = f"{_eol(text)}{indent}{json.dumps(name)}: {_shown(value, text, indent)}"
        if not members and not _lines(text[end:close]):
            added += _eol(text) + _indent(text, holder)
    if comma is not None:
        return text[:end] + added + "," + text[end:]
    last = members[-1].end if members else end
    return text[:last] + ("," if members else "") + text[last:end] + added + text[end:]


def _shown(value: Any, text: str, indent: str) -> str:
    """A value in JSON, laid out for a line of this indentation."""
    lines = json.dumps(value, indent=_unit(text), ensure_ascii=False).split("\n")
    return f"{_eol(text)}{indent}".join(lines)


def _lines(text: str) -> bool:
    return "\n" in text or "\r" in text


def _eol(text: str) -> str:
    return next((eol for eol in ("\r\n", "\n", "\r") if eol in text), "\n")


def _indent(text: str, at: int) -> str:
    """The indentation of the line of an offset."""
    line = re.split(r"[\r\n]", text[:at])[-1].removeprefix("\ufeff")
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    """By how much a document indents."""
    plain = _plain(text)
    root = _skip(plain, 0)
    members = _members(plain, root)
    first = next(iter(members.values()), None)
    if first is None or not _lines(text[root : first.start]):
        return "  "
    return _indent(text, first.start)[len(_indent(text, root)) :] or "  "
