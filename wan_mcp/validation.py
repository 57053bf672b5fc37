"""The arguments of a call: corrected where only one meaning is possible, else refused in plain words.

The schemas are plain JSON schemas, which the strictest clients take and which cost few tokens. Everything
follows from one pydantic model: the schema, the checks, and the words for what is wrong.
"""

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from wan_mcp.errors import InvalidRequest

Arguments = TypeVar("Arguments", bound=BaseModel)

MAX_UNKNOWN = 10
"""Unknown arguments that are named in one answer."""
RENAMED = {"new_take": "take: 2"}
"""Arguments that agents may remember from versions before the first release, and what takes their place."""
_INTEGER = re.compile(r"[+-]?\d{1,15}(\.0*)?\Z")
_TYPES = {
    "string": "text",
    "array": "a list",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}


def parse(name: str, model: type[Arguments], schema: dict[str, Any], given: dict[str, Any]) -> Arguments:
    """Check the arguments of a call against its model.

    Args:
        name: the tool or command that was called.
        model: what its arguments must be.
        schema: ``plain_schema(model)``.
        given: the arguments of the call; ``None`` counts as not given.

    Raises:
        InvalidRequest: with every problem in one text, without the values.
    """
    properties = schema["properties"]
    corrected = {
        key: _corrected(value, properties.get(key, {})) for key, value in given.items() if value is not None
    }
    unknown = [key for key in corrected if key not in properties]
    problems = [_unknown(name, key, list(properties)) for key in unknown[:MAX_UNKNOWN]]
    known = {key: value for key, value in corrected.items() if key in properties}
    try:
        parsed = model.model_validate(known)
    except ValidationError as error:
        problems += [sentence for _, sentence in problems_of(error, schema, known)]
    if problems:
        raise InvalidRequest(
            f"{name} was not called, because its arguments are wrong. " + " ".join(dict.fromkeys(problems)),
            next_step="Correct them and call it again.",
        )
    return parsed


def problems_of(
    error: ValidationError, schema: dict[str, Any], given: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """The name of each field that is wrong, and what is wrong with it as a sentence without its value."""
    details = error.errors(include_url=False, include_input=False)
    named = [(str(detail["loc"][0]), detail) for detail in details]
    return [(name, f"{name} {_problem(detail, schema['properties'][name], given)}") for name, detail in named]


def plain_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model, with nested models written where they are used.

    Defaults are left to the descriptions: some clients remove the keyword before the model sees it.
    """
    schema = model.model_json_schema(schema_generator=_PlainSchema, mode="validation")
    inlined = _inlined(schema, schema.pop("$defs", {}))
    inlined.pop("description", None)
    return dict(inlined)


def _corrected(value: Any, spec: dict[str, Any]) -> Any:
    """A value that a client changed on the way, where only one meaning is possible."""
    kind = spec.get("type")
    if isinstance(value, float) and kind == "integer" and value.is_integer():
        return int(value)
    if kind == "array" and isinstance(value, list):
        return [_corrected(item, spec["items"]) for item in value if item is not None]
    if not isinstance(value, str):
        return value
    text = value.strip()
    if kind == "array":
        return _corrected(_list(text), spec)
    if kind == "integer" and _INTEGER.match(text):
        return int(text.partition(".")[0])
    if kind == "number":
        return _float(text)
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return next((choice for choice in spec.get("enum", ()) if str(choice) == text.lower()), text)


def _list(text: str) -> list[Any]:
    try:
        found = json.loads(text) if text.startswith("[") else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, list) else [text]


def _float(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _unknown(tool: str, name: str, known: list[str]) -> str:
    if not known:
        return f"{tool} takes no arguments."
    shown = name if name.isidentifier() and len(name) <= 40 else "One of the names given"
    if name in RENAMED:
        return f"{name} is not an argument of {tool}; did you mean {RENAMED[name]}?"
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"its arguments are {_listed(known, 'and')}."
    return f"{shown} is not an argument of {tool}; {hint}"


def _problem(detail: Any, spec: dict[str, Any], given: Mapping[str, Any]) -> str:
    """One of pydantic's problems in words, to follow the name of the field."""
    kind, value = detail["type"], given.get(str(detail["loc"][0]))
    if kind == "missing":
        return f"is required: {spec.get('description', '')}"
    if kind == "value_error":
        return f"{detail['ctx']['error']}."
    if kind in ("string_too_long", "string_too_short"):
        return _length(len(str(value)), spec)
    if kind in ("too_long", "too_short"):
        return f"must hold exactly one entry, but there are {len(value or ()) or 'none'}."
    if kind.startswith(("greater_than", "less_than")):
        bounds = [f"{words} {spec[key]:g}" for key, words in _BOUNDS.items() if key in spec]
        return f"must be {_listed(bounds, 'and')}{_got(value)}."
    if len(detail["loc"]) > 1:
        return f"must hold nothing but {_TYPES.get(spec['items'].get('type'), 'valid entries')}."
    if "enum" in spec:
        return f"must be {_listed([str(choice) for choice in spec['enum']], 'or')}{_got(value)}."
    return f"must be {_TYPES.get(spec.get('type', ''), 'valid')}."


def _length(length: int, spec: dict[str, Any]) -> str:
    if length == 0:
        return "must not be empty."
    return f"has {length:,} characters, but at most {spec['maxLength']:,} are allowed."


def _got(value: Any) -> str:
    """Numbers are repeated to the caller; texts may be secret and are not."""
    return f", not {value}" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _listed(words: list[str], last: str) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


class _PlainSchema(GenerateJsonSchema):
    """No titles, no ``null`` branches, no ``const``, no defaults: an absent property says the same."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        plain = super().literal_schema(schema)
        if "const" in plain:
            plain["enum"] = [plain.pop("const")]
        return plain

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        used_here = {key: value for key, value in node.items() if key != "$ref"}
        return _inlined(definitions[node["$ref"].rpartition("/")[2]] | used_here, definitions)
    return {
        key: {name: _inlined(spec, definitions) for name, spec in value.items()}
        if key == "properties"
        else _inlined(value, definitions)
        for key, value in node.items()
        if key != "title" or not isinstance(value, str)
    }
