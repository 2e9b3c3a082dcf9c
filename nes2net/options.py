"""Options of parts: the types and ranges that constructors declare, their check, and their words.

A constructor declares its options by annotations, such as ``dilation: Annotated[int, Field(ge=1,
le=64)]``. The registry checks the options that a caller or a file gives before it calls the
constructor, which can then trust them.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema

from nes2net.errors import InputError, check_known, nearest, shown


@dataclass(frozen=True)
class Takes:
    """What an option takes, in words, if its type and bounds do not tell."""

    text: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "takes": self.text}


# Limits are far above every published system. They keep a file of a few bytes from describing a
# model that takes hours to build or all memory to run.
Size = Annotated[int, Field(ge=1, le=65_536)]
"""Size of a vector or of a hidden layer."""
FeatureDim = Annotated[int, Field(ge=2, le=65_536)]
"""D of a back-end that reads hidden states; the waveform itself, D = 1, has other back-ends."""
Logits = Annotated[int, Field(ge=1, le=1000)]
"""Number of logits."""
Probability = Annotated[float, Field(ge=0, lt=1)]
"""Chance of dropping something."""


@dataclass(frozen=True)
class Option:
    """An option that a constructor declares."""

    adapter: TypeAdapter
    takes: str
    """The values that it takes, in words."""
    choices: tuple[str, ...]
    """The names that it takes, if it takes only these, or also null or the like."""
    default: Any
    """``inspect.Parameter.empty`` if it has to be given."""

    def fits(self, value: Any) -> bool:
        """Whether it takes ``value``. A list stands for a tuple, which YAML does not have."""
        for form in (value, _tuples(value)):
            try:
                self.adapter.validate_python(form)
            except ValidationError:
                continue
            return True
        return False


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


@cache
def declared(factory: Callable[..., Any]) -> dict[str, Option]:
    """The options that ``factory``, a class, a function or a partial of one, declares.

    Those without an annotation, or with one that says nothing about plain data, are left out.
    """
    function = factory
    while isinstance(function, partial):
        function = function.func
    if inspect.isclass(function):
        function = function.__init__
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError:  # a part of another package may import its types for type checkers alone
        hints = {}
    options = {}
    for name, parameter in inspect.signature(factory).parameters.items():
        if name not in hints:
            continue
        try:
            adapter = TypeAdapter(hints[name], config=ConfigDict(strict=True, allow_inf_nan=False))
            schema = adapter.json_schema()
        except (PydanticUserError, NameError):
            continue
        names = tuple(choice for kind in schema.get("anyOf", [schema]) for choice in kind.get("enum", ()))
        options[name] = Option(adapter, what_it_takes(schema), names, parameter.default)
    return options


def check_options(factory: Callable[..., Any], options: Mapping[str, Any], owner: str) -> None:
    """Check ``options`` against the types and ranges that ``factory`` declares.

    Args:
        owner: begins the message, such as ``"back-end 'nes2net'"``.

    Raises:
        InputError: if an option has the wrong type or is out of its range.

    >>> def part(scale: Size, *, pool: typing.Literal["mean", "astp"] = "mean"): ...
    >>> check_options(part, {"scale": 0}, "part")
    Traceback (most recent call last):
    nes2net.errors.InputError: part: scale is a whole number from 1 to 65536, not 0
    """
    known = declared(factory)
    for name, value in options.items():
        if name in known and not known[name].fits(value):
            option = known[name]
            meant = nearest(value[:100], option.choices) if isinstance(value, str) else ""
            raise InputError(f"{owner}: {name} is {option.takes}, not {shown(value)}{meant}")


PARTS = ("frontend", "aggregation", "backend")


def check_model(model: Any) -> Any:
    """Check that ``model`` is a mapping of parts, each a name or a mapping of ``name`` and options.

    Raises:
        InputError: if it is not.
    """
    if not isinstance(model, dict):
        raise InputError(f"a model is a mapping of {', '.join(PARTS)}, not {shown(model)}")
    check_known((key if isinstance(key, str) else shown(key) for key in model), PARTS, "a model has no part")
    for part, value in model.items():
        options = {"name": value} if isinstance(value, str) else value
        if not isinstance(options, dict) or not isinstance(options.get("name"), str):
            raise InputError(f"the model's {part} has no name: write '{part}: {{name: …}}', not {shown(value)}")
        if wrong := [key for key in options if not isinstance(key, str)]:
            raise InputError(f"the model's {part} has an option {shown(wrong[0])}: its name is text")
    return model


class PartDescription(BaseModel):
    """A part of a detector: its name and options."""

    model_config = ConfigDict(strict=True, extra="allow")

    name: str

    @model_validator(mode="after")
    def _is_finite(self) -> PartDescription:
        json.dumps(self.model_extra, allow_nan=False)
        return self


class ModelDescription(BaseModel):
    """The configuration of a detector, whole: each part with its name."""

    model_config = ConfigDict(strict=True, extra="forbid")

    frontend: PartDescription
    aggregation: PartDescription
    backend: PartDescription


_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "object": "a mapping of keys",
    "array": "a list",
}


def what_it_takes(schema: Mapping[str, Any]) -> str:
    """The values that a JSON schema allows, in words.

    >>> what_it_takes({"type": "integer", "minimum": 1})
    'a whole number of at least 1'
    >>> what_it_takes({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]})
    'a number above 0, or null'
    >>> pair = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    >>> what_it_takes(pair), what_it_takes({**pair, "minItems": 1})
    ('a list of two numbers', 'a list of 1 to 2 numbers')
    """
    if "takes" in schema:
        return schema["takes"]
    if "anyOf" in schema:
        return ", or ".join(what_it_takes(option) for option in schema["anyOf"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if schema.get("type") == "array" and "maxItems" in schema and "items" in schema:
        least, most = schema.get("minItems", 0), schema["maxItems"]
        items = what_it_takes(schema["items"]).removeprefix("a ").replace("number", "numbers")
        return f"a list of {'two' if least == most == 2 else most if least == most else f'{least} to {most}'} {items}"
    return _WORDS.get(schema.get("type", ""), schema.get("type", "anything")) + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if above is not None:
        return f" above {above:g}" + ("" if most is None else f" and at most {most:g}")
    if least is None:
        return ""
    if below is not None:
        return f" from {least:g} to below {below:g}"
    return f" of at least {least:g}" if most is None else f" from {least:g} to {most:g}"
