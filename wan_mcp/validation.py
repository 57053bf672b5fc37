"""The arguments of a tool call: mended where they are unambiguous, else refused in plain words."""

import difflib
import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from wan_mcp.errors import InvalidRequest

Arguments = TypeVar("Arguments", bound=BaseModel)

MOST_UNKNOWN = 10
"""Unknown arguments that are named in one answer."""
_INTEGER = re.compile(r"[+-]?\d{1,15}(\.0*)?\Z")
_WORDS = {
    "string": "text",
    "array": "a list",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def parse(tool: str, model: type[Arguments], schema: dict[str, Any], given: dict[str, Any]) -> Arguments:
    """Check the arguments of a call of ``tool`` against its model.

    Args:
        tool: the tool's name.
        model: what its arguments must be.
        schema: the plain schema of that model, as the client saw it.
        given: the arguments of the call.

    Raises:
        InvalidRequest: with every problem in one text, none of the values in it.
    """
    properties = schema["properties"]
    mended = {
        name: _mend(value, properties.get(name, {})) for name, value in given.items() if value is not None
    }
    unknown = [name for name in mended if name not in properties]
    problems = [_unknown(tool, name, list(properties)) for name in unknown[:MOST_UNKNOWN]]
    try:
        parsed = model.model_validate({name: value for name, value in mended.items() if name in properties})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems += [_problem(str(detail["loc"][0]), detail, schema, mended) for detail in details]
    if problems:
        raise InvalidRequest(
            f"{tool} was not called, because its arguments are wrong. " + " ".join(dict.fromkeys(problems)),
            next_step="Correct them and call it again.",
        )
    return parsed


def _mend(value: Any, spec: dict[str, Any]) -> Any:
    """What a client mangled on the way, where only one meaning is possible."""
    kind = spec.get("type")
    if isinstance(value, float) and kind == "integer" and value.is_integer():
        return int(value)
    if kind == "array" and isinstance(value, list):
        return [_mend(item, spec["items"]) for item in value if item is not None]
    if not isinstance(value, str):
        return value
    return _mend_text(value.strip(), kind, spec)


def _mend_text(text: str, kind: str | None, spec: dict[str, Any]) -> Any:
    if kind == "array":
        return _mend(_list(text), spec)
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
    shown = name if name.isidentifier() and len(name) <= 40 else "One of the names given"
    close = difflib.get_close_matches(name, known, n=1)
    if not known:
        return f"{tool} takes no arguments."
    hint = f"did you mean {close[0]}?" if close else f"its arguments are {_listed(known, 'and')}."
    return f"{shown} is not an argument of {tool}; {hint}"


def _problem(name: str, detail: Any, schema: dict[str, Any], given: dict[str, Any]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    spec = schema["properties"][name]
    if kind == "missing":
        return f"{name} is required: {spec.get('description', '')}"
    if kind == "value_error":
        return f"{name} {context['error']}."
    if kind == "literal_error":
        return f"{name} must be {_choices(spec)}{_got(given[name])}."
    if kind in ("string_too_long", "string_too_short"):
        return _length(name, len(given[name]), spec)
    if kind in ("too_long", "too_short"):
        return f"{name} must hold exactly one entry, but there are {len(given[name]) or 'none'}."
    if kind in ("greater_than_equal", "less_than_equal"):
        bounds = [f"{word} {spec[key]:g}" for key, word in _BOUNDS.items() if key in spec]
        return f"{name} must be {_listed(bounds, 'and')}{_got(given[name])}."
    if len(detail["loc"]) > 1:
        return f"Every entry of {name} must be {_WORDS.get(spec['items'].get('type'), 'valid')}."
    return f"{name} must be {_choices(spec) if 'enum' in spec else _WORDS.get(spec.get('type'), 'valid')}."


_BOUNDS = {"minimum": "at least", "maximum": "at most"}


def _length(name: str, length: int, spec: dict[str, Any]) -> str:
    if length == 0:
        return f"{name} must not be empty."
    return f"{name} has {length:,} characters, but at most {spec['maxLength']:,} are allowed."


def _choices(spec: dict[str, Any]) -> str:
    return _listed([str(choice) for choice in spec["enum"]], "or")


def _got(value: Any) -> str:
    """Numbers are repeated to the caller; texts may be secret and are not."""
    return f", not {value}" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _listed(words: list[str], last: str) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
