"""Facts of a recipe's key besides type, range and default, and what a key takes, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema


@dataclass(frozen=True)
class Source:
    """Where a key comes from: a paper and its section, or the flag of a published program."""

    text: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "source": self.text}


@dataclass(frozen=True)
class UsedWith:
    """Only these ``values`` of another key of the same section, ``choice``, use this key."""

    choice: str
    values: tuple[str, ...]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "usedWith": f"{self.choice}: {' or '.join(self.values)}"}


@dataclass(frozen=True)
class Takes:
    """What a key takes, in words, if its type and bounds do not tell."""

    text: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "takes": self.text}


_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "object": "a mapping of keys",
}


def what_it_takes(schema: dict[str, Any]) -> str:
    """The values that the JSON schema of a key allows, in words.

    >>> what_it_takes({"type": "integer", "minimum": 1})
    'a whole number of at least 1'
    >>> what_it_takes({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]})
    'a number above 0, or null'
    """
    if "takes" in schema:
        return schema["takes"]
    if "anyOf" in schema:
        return ", or ".join(what_it_takes(option) for option in schema["anyOf"])
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if schema["type"] == "array":  # each list of a recipe is a pair
        return "a list of two " + what_it_takes(schema["items"]).removeprefix("a ").replace("number", "numbers")
    return _WORDS.get(schema["type"], schema["type"]) + _bounds(schema)


def _bounds(schema: dict[str, Any]) -> str:
    least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if above is not None:
        return f" above {above:g}"
    if least is None:
        return ""
    if below is not None:
        return f" from {least:g} to below {below:g}"
    return f" of at least {least:g}" if most is None else f" from {least:g} to {most:g}"
