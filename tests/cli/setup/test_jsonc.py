"""Changes in JSON files of others: one member changes, and every other byte stays."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.cli import jsonc

WAN = {"command": "/opt/wan-mcp", "args": []}
AT = ("mcpServers", "wan")

LAYOUTS = {
    "nothing at all": ("", '{\n  "mcpServers": {\n    "wan": 1\n  }\n}\n'),
    "a comment alone": ("// mine\n", '// mine\n{\n  "mcpServers": {\n    "wan": 1\n  }\n}\n'),
    "a comment without an end of its line": (
        "// mine",
        '// mine\n{\n  "mcpServers": {\n    "wan": 1\n  }\n}\n',
    ),
    "an empty object": ("{}", '{\n  "mcpServers": {\n    "wan": 1\n  }\n}'),
    "no servers yet": ('{\n\t"a": 1\n}\n', '{\n\t"a": 1,\n\t"mcpServers": {\n\t\t"wan": 1\n\t}\n}\n'),
    "no servers, but braces": (
        '{\n  "mcpServers": {},\n  "a": 1\n}',
        '{\n  "mcpServers": {\n    "wan": 1\n  },\n  "a": 1\n}',
    ),
    "other servers": (
        '{\n    "mcpServers": {\n        "a": {"command": "x"}\n    }\n}\n',
        '{\n    "mcpServers": {\n        "a": {"command": "x"},\n        "wan": 1\n    }\n}\n',
    ),
    "one line": ('{"mcpServers":{"a":{}},"z":1}', '{"mcpServers":{"a":{}, "wan": 1},"z":1}'),
    "one line without servers": ('{"a": 1}', '{"a": 1, "mcpServers": {"wan": 1}}'),
    "spaces inside of braces": (
        '{ "mcpServers": { "a": 1 } }',
        '{ "mcpServers": { "a": 1, "wan": 1 } }',
    ),
    "comments and trailing commas": (
        '// x\n{\n  "mcpServers": {\n    "a": 1, // one, "wan": 2\n    /* "b": 2, } */\n  }, // end\n}\n',
        '// x\n{\n  "mcpServers": {\n    "a": 1, // one, "wan": 2\n    /* "b": 2, } */\n    "wan": 1,\n'
        "  }, // end\n}\n",
    ),
    "a comment after the last one": (
        '{\n  "mcpServers": {\n    "a": 1 // one\n  }\n}',
        '{\n  "mcpServers": {\n    "a": 1, // one\n    "wan": 1\n  }\n}',
    ),
    "a comment before a comma": (
        '{"mcpServers": {"a": 1 /* one */ , }}',
        '{"mcpServers": {"a": 1 /* one */ , "wan": 1, }}',
    ),
    "line ends of Windows": (
        '\ufeff{\r\n  "mcpServers": {\r\n    "a": 1\r\n  }\r\n}\r\n',
        '\ufeff{\r\n  "mcpServers": {\r\n    "a": 1,\r\n    "wan": 1\r\n  }\r\n}\r\n',
    ),
    "line ends of an old Mac": ('{\r "mcpServers": {\r  "a": 1\r }\r}', None),
    "strings that look like comments": (
        '{\n  "a": "http://x/*", "b\\"//": "*/,}",\n  "mcpServers": {\n    "ü": ",]"\n  }\n}',
        '{\n  "a": "http://x/*", "b\\"//": "*/,}",\n  "mcpServers": {\n    "ü": ",]",\n    "wan": 1\n  }\n}',
    ),
}


@pytest.mark.parametrize(("before", "after"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_server_is_added_in_the_layout_of_the_file(before: str, after: str | None) -> None:
    """And removed again: the bytes are those of before, but for an object that was made for it."""
    added = jsonc.put(before, AT, 1)
    assert after is None or added == after
    removed = jsonc.cut(added, AT)
    if '"mcpServers"' in before:
        assert removed == before
    else:
        assert jsonc.read(removed) == jsonc.read(before) | {"mcpServers": {}}


def test_a_value_of_several_lines_is_laid_out_as_the_rest() -> None:
    """The indentation and the ends of lines are those of the file."""
    before = '{\r\n\t"mcpServers": {\r\n\t\t"a": 1\r\n\t}\r\n}'
    lines = ["{", '\t"mcpServers": {', '\t\t"a": 1,', '\t\t"wan": {', '\t\t\t"command": "/opt/wan-mcp",']
    lines += ['\t\t\t"args": []', "\t\t}", "\t}", "}"]
    assert jsonc.put(before, AT, WAN) == "\r\n".join(lines)


def test_a_value_is_replaced_where_it_stands() -> None:
    """Its neighbours and their comments stay."""
    before = '{"mcpServers": {"wan": {/* old */ "command": "a", "x": 1}, "b": 2}}'
    after = '{"mcpServers": {"wan": {/* old */ "command": "b", "x": 1}, "b": 2}}'
    assert jsonc.put(before, (*AT, "command"), "b") == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{\n  "wan": 1,\n  "b": 2\n}', '{\n  "b": 2\n}'),
        ('{\n  "a": 1, // one\n  "wan": 1, // mine\n  "b": 2\n}', '{\n  "a": 1, // one // mine\n  "b": 2\n}'),
        ('{\n  "a": 1, // one\n  "wan": 1, "b": 2\n}', '{\n  "a": 1, // one\n   "b": 2\n}'),
        ('{ // one\n  "wan": 1 }', "{ // one\n  }"),
        ('{\n  "a": 1 /* one */,\n  // two\n  "wan": 1\n}', '{\n  "a": 1 /* one */\n  // two\n}'),
        ('{"a": 1, "wan": 1, "b": 2}', '{"a": 1, "b": 2}'),
        ('{\n  "wan": 1,\n}', "{}"),
    ],
)
def test_a_member_goes_with_its_comma(before: str, after: str) -> None:
    """Wherever it stands; comments stay, and nothing becomes part of one."""
    assert jsonc.cut(before, ("wan",)) == after


@pytest.mark.parametrize(
    "text",
    [
        *(
            "{",
            "{]",
            '{"a": }',
            "{'a': 1}",
            '{"a": 1 "b": 2}',
            '{"a" 1}',
            '{"a": 1,, }',
            "{,}",
            "[,]",
            "/* {}",
        ),
        *('{"a": NaN}', '{"a": 1, "a": 2}', '{"b": [{"a": 1, "a": 1}]}', '{"a": "\n"}', '{"a": 1} x', "/"),
        *("[" * 100_000, '{"a": ' + "1" * 5000 + "}", '{"a": "unended}'),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_not_json_is_left_alone(text: str) -> None:
    """Also what only some programs would read, or read in two ways."""
    with pytest.raises(ValueError, match=r"."):
        jsonc.read(text)
    with pytest.raises(ValueError, match=r"."):
        jsonc.put(text, AT, 1)


@pytest.mark.parametrize("text", ["[]", "7", '"a"', "null", '{"mcpServers": []}', '{"mcpServers": null}'])
def test_what_is_no_object_is_not_made_one(text: str) -> None:
    """It is something that is not understood here."""
    with pytest.raises(ValueError, match="something else is where an object should be"):
        jsonc.put(text, AT, 1)


WHITE = st.sampled_from(
    ["", "", " ", "\n", "\t", "\r\n  ", ' // a, } " \n', '/* { \n , " */', " /**/ ", "//\r\n\t", "\n\n    "]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SERVERS = st.dictionaries(st.text(max_size=5).filter(lambda name: name != "wan"), VALUES, max_size=3)
DOCUMENTS = st.builds(
    lambda value, servers, first: (
        {"mcpServers": servers} | value if first else value | {"mcpServers": servers}
    ),
    st.dictionaries(st.text(), VALUES, max_size=3).map(
        lambda value: {name: part for name, part in value.items() if name != "mcpServers"}
    ),
    SERVERS,
    st.booleans(),
)


def written(draw: Any, value: Any) -> str:
    """A value in JSON, with comments, white space and trailing commas all over it."""
    if isinstance(value, dict):
        parts = [
            f"{draw(WHITE)}{json.dumps(name, ensure_ascii=draw(st.booleans()))}{draw(WHITE)}:"
            f"{draw(WHITE)}{written(draw, part)}{draw(WHITE)}"
            for name, part in value.items()
        ]
        opening, closing = "{}"
    elif isinstance(value, list):
        parts = [f"{draw(WHITE)}{written(draw, part)}{draw(WHITE)}" for part in value]
        opening, closing = "[]"
    else:
        return json.dumps(value, ensure_ascii=draw(st.booleans()))
    comma = "," if parts and draw(st.booleans()) else ""
    return f"{opening}{','.join(parts)}{comma}{draw(WHITE)}{closing}"


@st.composite
def texts(draw: Any) -> tuple[str, Any]:
    """A document as people write them, and its value."""
    value = draw(DOCUMENTS)
    return draw(st.sampled_from(["", "\ufeff"])) + draw(WHITE) + written(draw, value) + draw(WHITE), value


def is_part_of(text: str, longer: str) -> bool:
    """Whether all characters of a text are in a longer one, in their order."""
    rest = iter(longer)
    return all(char in rest for char in text)


@pytest.mark.slow
class TestAnyDocument:
    """Whatever it says, and however it is written."""

    @given(texts())
    def test_it_is_read(self, document: tuple[str, Any]) -> None:
        """Comments and trailing commas change nothing."""
        assert jsonc.read(document[0]) == document[1]

    @given(texts(), VALUES)
    def test_what_is_added_is_all_that_changes(self, document: tuple[str, Any], value: Any) -> None:
        """Every character stays, in its order, and the value is the wanted one."""
        text, before = document
        added = jsonc.put(text, AT, value)
        assert jsonc.read(added) == before | {"mcpServers": before["mcpServers"] | {"wan": value}}
        assert is_part_of(text, added)

    @given(texts(), VALUES)
    def test_what_was_added_can_be_removed(self, document: tuple[str, Any], value: Any) -> None:
        """The text is that of before, but for white space where the object was empty."""
        text, before = document
        removed = jsonc.cut(jsonc.put(text, AT, value), AT)
        assert jsonc.read(removed) == before
        if before["mcpServers"]:
            assert removed == text
        assert "".join(removed.split()) == "".join(text.split())

    @given(texts(), st.data())
    def test_any_member_can_be_replaced_and_removed(self, document: tuple[str, Any], data: Any) -> None:
        """Only its own value is another one then, or gone; comments outside of it stay."""
        text, before = document
        name = data.draw(st.sampled_from(sorted(before)))
        assert jsonc.read(jsonc.put(text, (name,), WAN)) == before | {name: WAN}
        removed = jsonc.cut(text, (name,))
        assert jsonc.read(removed) == {other: value for other, value in before.items() if other != name}
        assert is_part_of(removed, text)
