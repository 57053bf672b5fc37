"""The arguments of a call: corrected where only one meaning is possible, else refused in plain words.

The schemas are plain JSON schemas: the strictest clients accept them, and they cost few tokens. Everything
follows from one pydantic model: the schema, the checks, and the words for what is wrong.
"""

import difflib
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from wan_mcp.errors import InvalidRequest

Arguments = TypeVar("Arguments", bound=BaseModel)

MAX_UNKNOWN = 10
"""How many unknown arguments one answer names."""
RENAMED = {"new_take": "take: 2"}
"""Arguments that agents may remember from versions before the first release, and what replaces them."""
NEEDED = {
    "image_urls": (
        "this tool makes a video from a picture; generate_video_from_text makes one from text alone. Ask the "
        "user for a picture, such as its web address, or make one with another tool. To continue a video, "
        "give its task's id."
    )
}
"""What to say about a missing argument, instead of its description."""
ELSEWHERE = {
    "image_urls": "A video from a picture is made by generate_video.",
    "aspect_ratio": "A video has the shape of its picture; only generate_video_from_text takes aspect_ratio.",
}
"""What to say about an argument that only another tool has."""
MADE_BY = {"wan2.5-image-to-video": "generate_video", "wan2.5-text-to-video": "generate_video_from_text"}
"""Models, and the only tool that takes each."""
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
    for key in NEEDED.keys() & corrected.keys():
        if corrected[key] in ("", [], [""], [None]):
            del corrected[key]
    unknown = {key: _meant(key, list(properties)) for key in corrected if key not in properties}
    problems = [_unknown(name, unknown, list(properties))] if unknown else []
    elsewhere = {_meant(key, list(ELSEWHERE)) for key in unknown}
    problems += [said for key, said in ELSEWHERE.items() if key in elsewhere - properties.keys()]
    known = {key: value for key, value in corrected.items() if key in properties}
    try:
        parsed = model.model_validate(known)
    except ValidationError as error:
        missing_by_name = set(unknown.values()) - set(known)  # reported under the name that was given
        found = problems_of(error, schema, known)
        problems += [sentence for field, sentence in found if field not in missing_by_name]
    if problems:
        raise InvalidRequest(
            f"{name} was not called, because its arguments are wrong. " + " ".join(dict.fromkeys(problems)),
            next_step="Correct them and call it again.",
        )
    return parsed


def problems_of(
    error: ValidationError, schema: dict[str, Any], given: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """The name of each wrong field, with a sentence that says what is wrong without repeating the value."""
    found = []
    for detail in error.errors(include_url=False, include_input=False):
        name, *entry = detail["loc"]
        subject, spec, value = name, schema["properties"][name], given.get(str(name), ())
        for index in map(int, entry):  # of a list
            subject = f"entry {index + 1} of {name}" if spec.get("maxItems") != 1 else name
            spec, value = spec["items"], value[index]
        found.append((str(name), f"{subject} {_problem(detail, spec, value)}"))
    return found


@functools.cache
def plain_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model, with nested models written where they are used.

    Defaults are left to the descriptions: some clients remove the keyword before the model sees it. It is
    made once for each model and shared: who needs another one makes a copy.
    """
    schema = model.model_json_schema(schema_generator=_PlainSchema, mode="validation")
    inlined = _inlined(schema, schema.pop("$defs", {}))
    inlined.pop("description", None)
    properties, required = inlined["properties"], inlined.get("required", ())
    # What is required comes first, also where a subclass adds it.
    inlined["properties"] = dict(sorted(properties.items(), key=lambda item: item[0] not in required))
    return dict(inlined)


def _corrected(value: Any, spec: dict[str, Any]) -> Any:
    """Undo how a client changed a value, where only one meaning is possible."""
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


def _meant(name: str, known: list[str]) -> str:
    """The known argument that an unknown one may mean; empty where none is similar."""
    close = difflib.get_close_matches(name, known, n=1)
    return RENAMED.get(name) or (close[0] if close else "")


def _unknown(tool: str, unknown: Mapping[str, str], known: list[str]) -> str:
    """Name all arguments that the tool does not have, and say what they may mean."""
    if not known:
        return f"{tool} takes no arguments."
    names = [
        name if name.isidentifier() and len(name) <= 40 else "one of the names given" for name in unknown
    ]
    if len(names) > MAX_UNKNOWN:
        names = [*names[:MAX_UNKNOWN], f"{len(names) - MAX_UNKNOWN} more"]
    are = "is not an argument" if len(names) == 1 else "are not arguments"
    said = f"{listed(names, 'and')} {are} of {tool}"
    hints = list(dict.fromkeys(filter(None, unknown.values())))
    if hints:
        said += f"; did you mean {listed(hints, 'or')}?"
    if all(unknown.values()):
        return said
    return f"{said}{' Its' if hints else '; its'} arguments are {listed(known, 'and')}."


def _problem(detail: Any, spec: dict[str, Any], value: Any) -> str:
    """One of pydantic's problems, in words that follow the name of the field or entry."""
    kind = detail["type"]
    if kind == "missing":
        return f"is required: {NEEDED.get(detail['loc'][0]) or spec.get('description', '')}"
    if kind == "value_error":
        return f"{detail['ctx']['error']}."
    if kind in ("string_too_long", "string_too_short"):
        return _length(len(str(value)), spec)
    if kind in ("too_long", "too_short"):
        least, most = spec["minItems"], spec["maxItems"]
        wanted = "exactly one entry" if least == most == 1 else f"{least} to {most} entries"
        return f"must have {wanted}, not {len(value or ())}."
    if kind.startswith(("greater_than", "less_than")):
        bounds = [f"{words} {spec[key]:g}" for key, words in _BOUNDS.items() if key in spec]
        return f"must be {listed(bounds, 'and')}{_got(value)}."
    if "enum" in spec:
        elsewhere = f" {MADE_BY[str(value)]} takes {value}." if str(value) in MADE_BY else ""
        return f"must be {listed([str(choice) for choice in spec['enum']], 'or')}{_got(value)}.{elsewhere}"
    return f"must be {_TYPES.get(spec.get('type', ''), 'valid')}."


def _length(length: int, spec: dict[str, Any]) -> str:
    if length == 0:
        return "must not be empty."
    return f"has {length:,} characters, but at most {spec['maxLength']:,} are allowed."


def _got(value: Any) -> str:
    """Repeat a number to the caller, but no text: it may be secret."""
    return f", not {value}" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def listed(words: Sequence[str], last: str) -> str:
    """Words as a list in a sentence, with ``and`` or ``or`` before the last one."""
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
