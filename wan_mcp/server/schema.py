"""Plain JSON schemas: what the strictest clients take, and as few tokens as possible."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


class _Plain(GenerateJsonSchema):
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


def plain_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model, with nested models written where they are used.

    Defaults are left to the descriptions: some clients remove the keyword before the model sees it.
    """
    schema = model.model_json_schema(schema_generator=_Plain, mode="validation")
    inlined = _inline(schema, schema.pop("$defs", {}))
    inlined.pop("description", None)
    return dict(inlined)


def _inline(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = {
            **definitions[node["$ref"].rpartition("/")[2]],
            **{k: v for k, v in node.items() if k != "$ref"},
        }
        return _inline(target, definitions)
    return {
        key: {name: _inline(spec, definitions) for name, spec in value.items()}
        if key == "properties"
        else _inline(value, definitions)
        for key, value in node.items()
        if key != "title" or not isinstance(value, str)
    }
