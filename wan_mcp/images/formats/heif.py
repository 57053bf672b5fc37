"""AVIF and HEIC: boxes within boxes, one of which describes the primary picture."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from wan_mcp.images.formats.head import Facts, Format, Head, damaged

_MAX_BOXES = 2000
_SEQUENCES = frozenset({b"avis", b"msf1", b"hevc", b"hevx"})
_AVIF = frozenset({b"avif", b"avis"})
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_GENERIC = frozenset({b"mif1", b"msf1"})


def brand(head: Head) -> Format | None:
    """Which of the two a file says to be; None for films and other files of the same structure."""
    first, *others = _brands(head)
    for brands in ((first,), others if first in _GENERIC else ()):
        if _AVIF.intersection(brands):
            return "avif"
        if _HEIC.intersection(brands):
            return "heic"
    return None


def _brands(head: Head) -> list[bytes]:
    length = min(head.big(0, 4), 512)
    return [head.take(at, 4) for at in (8, *range(16, length - 3, 4))]


@dataclass
class _Meta:
    """The parts of a ``meta`` box that matter here."""

    primary: int = 0
    properties: list[tuple[bytes, int, int]] = field(default_factory=list)
    of_item: dict[int, list[int]] = field(default_factory=dict)


def facts(head: Head) -> Facts:
    """Size of the primary picture, turned as its file says, as every decoder turns it."""
    kind = brand(head)
    assert kind is not None
    for name, start, end in _boxes(head, 0, None):
        if name == b"meta":
            meta = _read_meta(head, start + 4, end)
            width, height = _size(head, meta)
            return Facts(
                kind,
                width,
                height,
                transparent=any(_is_alpha(head, *found) for found in meta.properties),
                animated=head.take(8, 4) in _SEQUENCES,
            )
    raise damaged("it describes no picture")


def _boxes(head: Head, at: int, end: int | None) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of each box between two positions."""
    for _ in range(_MAX_BOXES):
        if end is not None and at + 8 > end:
            return
        length, header = head.big(at, 4), 8
        if length == 1:
            length, header = head.big(at + 8, 8), 16
        if length < header:  # 0: up to the end of the file, so nothing follows
            break
        yield head.take(at + 4, 4), at + header, at + length
        at += length
    raise damaged("its boxes do not fit into each other")


def _read_meta(head: Head, at: int, end: int) -> _Meta:
    meta = _Meta()
    for name, start, stop in _boxes(head, at, end):
        if name == b"pitm":
            meta.primary = head.big(start + 4, 2 if head.big(start, 1) == 0 else 4)
        elif name == b"iprp":
            for inner, begin, finish in _boxes(head, start, stop):
                if inner == b"ipco":
                    meta.properties = list(_boxes(head, begin, finish))
                elif inner == b"ipma":
                    meta.of_item |= _associations(head, begin)
    return meta


def _associations(head: Head, start: int) -> dict[int, list[int]]:
    """Which properties each item has, by their number; the top bit only says how much it matters."""
    id_size = 2 if head.big(start, 1) == 0 else 4
    index_size = 1 + (head.big(start + 3, 1) & 1)
    found: dict[int, list[int]] = {}
    at = start + 8
    for _ in range(min(head.big(start + 4, 4), _MAX_BOXES)):
        item, count = head.big(at, id_size), head.big(at + id_size, 1)
        at += id_size + 1
        mask = (1 << 8 * index_size - 1) - 1
        found[item] = [head.big(at + n * index_size, index_size) & mask for n in range(count)]
        at += count * index_size
    return found


def _size(head: Head, meta: _Meta) -> tuple[int, int]:
    numbers = meta.of_item.get(meta.primary, [])
    mine = [meta.properties[number - 1] for number in numbers if 0 < number <= len(meta.properties)]
    sizes = [(head.big(start + 4, 4), head.big(start + 8, 4)) for name, start, _ in mine if name == b"ispe"]
    if not sizes:
        raise damaged("it does not tell its size")
    width, height = sizes[0]
    turned = any(name == b"irot" and head.big(start, 1) & 1 for name, start, _ in mine)
    return (height, width) if turned else (width, height)


def _is_alpha(head: Head, name: bytes, start: int, end: int) -> bool:
    if name != b"auxC":
        return False
    body = head.take(start, min(end - start, 200))
    return b"alpha" in body or b"auxid:1" in body
