"""The tree of errors: what the documentation draws is what the classes are."""

import re
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

import wan_mcp
from wan_mcp import errors
from wan_mcp.errors import WanError


def drawn() -> Iterator[tuple[str, str | None]]:
    """Each class of the tree in the module's documentation, and the one that it hangs under."""
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([│├└─ ]*)([A-Z]\w+)(?=$|  )", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            yield found[2], path[depth - 1] if depth else None


def defined(base: type[WanError] = WanError, parent: str | None = None) -> Iterator[tuple[str, str | None]]:
    """Each class that there is, in the order of definition below each one."""
    yield base.__name__, parent
    for child in base.__subclasses__():
        yield from defined(child, base.__name__)


def test_the_tree_that_is_drawn_is_the_one_of_the_classes() -> None:
    """All of them, under the right ones and in the order of the file; none is defined elsewhere."""
    for module in walk_packages(wan_mcp.__path__, "wan_mcp."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    assert list(drawn()) == list(defined())
