"""Write the JSON schema with which editors check and complete a recipe, beside the packaged recipes."""

from __future__ import annotations

import json

from pydantic.json_schema import JsonSchemaValue

from nes2net.lib.parts.docstrings import docstring_of
from nes2net.training.recipes.documentation import SCHEMA, keys_of
from nes2net.training.recipes.reading import RecipeNotes
from nes2net.training.recipes.recipe import ITEMS, SECTIONS, Recipe
from nes2net.training.recipes.section import Section

#: Facts in the schema of a key, omitted for editors; the last three are not in the standard of JSON
#: schemas.
_OMITTED_FACTS = ("title", "additionalProperties", "source", "takes", "usedWith")


def json_schema() -> JsonSchemaValue:
    """Make the JSON schema with which editors check and complete a recipe."""
    properties = _schemas_of_keys(Recipe)
    name_or_options = {"type": ["string", "object"], "description": "A name, or a mapping of `name` and options."}
    properties["model"]["properties"] = {name: name_or_options for name in ("frontend", "aggregation", "backend")}
    for name, kind in SECTIONS.items():
        properties[name] = {
            "description": f"{docstring_of(kind).title}.",
            **_mapping_schema(_schemas_of_keys(kind)),
            "type": ["object", "null"],
        }
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Recipe of nes2net"}
    notes = {key.name: _schema_for_editors(key.schema) for key in keys_of(RecipeNotes)}
    notes["base"] = {"type": "string", "description": notes["base"]["description"]}
    return {**head, **_mapping_schema({**notes, **properties})}


def _mapping_schema(properties: JsonSchemaValue) -> JsonSchemaValue:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _schemas_of_keys(kind: type[Section]) -> JsonSchemaValue:
    properties = {}
    for key in keys_of(kind):
        description = f"{key.meaning} Source: {key.source}."
        properties[key.name.removeprefix(kind.prefix)] = {**_schema_for_editors(key.schema), "description": description}
    return properties


def _schema_for_editors(facts: JsonSchemaValue) -> JsonSchemaValue:
    """Convert pydantic's schema of a key for editors.

    A text key also accepts numbers and booleans, because YAML reads ``date: 0520`` as a number.
    """
    plain = {name: value for name, value in facts.items() if name not in _OMITTED_FACTS}
    if "$ref" in plain.get("items", {}):  # a list of mappings
        item_model = next(model for model in ITEMS.values() if plain["items"]["$ref"].endswith(f"/{model.__name__}"))
        required = [name for name, field in item_model.model_fields.items() if field.is_required()]
        plain["items"] = {**_mapping_schema(_schemas_of_keys(item_model)), "required": required}
    if "anyOf" in plain:
        plain["anyOf"] = [_schema_for_editors(option) for option in plain["anyOf"]]
    if plain.get("type") == "string" and not {"enum", "pattern"} & plain.keys():
        plain["type"] = ["string", "number", "boolean"]
    return plain


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
