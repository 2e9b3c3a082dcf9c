"""Document the keys of a recipe, for ``nes2net info recipe``, for editors (JSON schema) and for the site."""

from __future__ import annotations

import json
from itertools import chain
from typing import NamedTuple

from pydantic.json_schema import JsonSchemaValue

from nes2net.lib.errors import InputError, did_you_mean
from nes2net.lib.parts.options import what_it_takes
from nes2net.training.recipes.reading import PACKAGED, RecipeNotes
from nes2net.training.recipes.recipe import ITEMS, SECTIONS, Recipe
from nes2net.training.recipes.section import Section, suggest_key

#: File of the JSON schema, beside the packaged recipes. Each packaged recipe refers to this file in its first line.
SCHEMA = PACKAGED / "recipe.schema.json"


class RecipeKey(NamedTuple):
    """A key of a recipe, with the facts of its documentation."""

    #: full name, such as ``train.lr``
    name: str
    #: JSON schema of the key, made by its section
    schema: JsonSchemaValue
    #: the docstring of the key, on one line
    meaning: str
    #: the possible values of the key, in words
    takes: str
    #: the default as JSON, or words that say that the key is needed
    default: str
    source: str
    #: the settings that this key needs to have an effect, such as "train.schedule=step"; None if it needs none
    used_with: str | None


def keys_of(kind: type[Section]) -> list[RecipeKey]:
    """List the keys of the section ``kind``; of :class:`Recipe`, those in no section."""
    keys = []
    for name, schema in kind.model_json_schema()["properties"].items():
        if name in SECTIONS and not kind.prefix:
            continue
        meaning = " ".join(schema["description"].split())
        default = json.dumps(schema["default"], ensure_ascii=False) if "default" in schema else "none, it is needed"
        settings = [setting if "." in setting else kind.prefix + setting for setting in schema.get("usedWith", ())]
        used_with = " or ".join(settings) or None
        source = schema.get("source", "toolkit")
        keys.append(RecipeKey(kind.prefix + name, schema, meaning, what_it_takes(schema), default, source, used_with))
    return keys


def all_keys() -> list[RecipeKey]:
    """List all keys of a recipe, those outside of sections first."""

    return [*keys_of(Recipe), *chain.from_iterable(map(_keys_with_items, SECTIONS.values()))]


def _keys_with_items(kind: type[Section]) -> list[RecipeKey]:
    keys = keys_of(kind)
    lists = [ITEMS[key.name] for key in keys if key.name in ITEMS]
    return [*keys, *chain.from_iterable(map(keys_of, lists))]


def find_keys(name: str | None) -> list[RecipeKey]:
    """Find the key ``name`` or the keys of the section ``name``; None finds all keys.

    Raises:
        InputError: if no key or section has this name.
    """
    if name in SECTIONS:
        return _keys_with_items(SECTIONS[name])
    keys = {key.name: key for key in (*keys_of(RecipeNotes), *all_keys())}
    if name is None:
        return list(keys.values())
    if name not in keys:
        meant = did_you_mean(name, [*keys, *SECTIONS], "nes2net info recipe", meant=suggest_key(name[:100]))
        raise InputError(f"a recipe has no key '{name}'{meant}")
    return [keys[name]]
