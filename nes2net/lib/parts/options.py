"""Options of a detector's parts: read declared types and ranges, check values, describe allowed values in words.

A constructor declares its options by annotations, such as ``dilation: Annotated[int, Field(ge=1,
le=64)]``. The registry checks all options before it calls a constructor, which can trust its
arguments.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache, partial
from typing import Annotated, Any, ClassVar, NamedTuple, TypeAlias

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
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import Self

from nes2net.lib.errors import InputError, check_known, nearest, short_repr
from nes2net.lib.parts.docstrings import docstring_of
from nes2net.lib.storage.plain_data import StrictModel

#: Name of an option → its value.
Options: TypeAlias = Mapping[str, Any]
#: Role of a part of a detector (:data:`PARTS`) → its name and options.
Model: TypeAlias = dict[str, dict[str, Any]]
#: A model in which a name may stand for a part without options.
ModelConfig: TypeAlias = Mapping[str, str | Options]


@dataclass(frozen=True)
class Takes:
    """Part of an annotation: describes the allowed values if type and bounds do not say enough."""

    text: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "takes": self.text}


class FrontendSizes(NamedTuple):
    """The sizes of a front-end's output, which a back-end must fit."""

    dim: int
    """Size of a hidden state."""
    states: int
    """Number of hidden states."""
    frames: int
    """Number of frames for 64,600 samples."""


@dataclass(frozen=True)
class Follows:
    """Rule for an option that the user does not set: chooses a value that fits the front-end.

    Args:
        choose: (the front-end's sizes, the option's default, all options) → value.
    """

    choose: Callable[[FrontendSizes, Any, Options], Any]


def at_most_states(unread: int = 0, minimum: int = 1) -> Follows:
    """Limit an option that counts hidden states to those after the first ``unread``, but at least to ``minimum``."""
    return Follows(lambda inputs, default, _: max(minimum, min(default, inputs.states - unread)))


def multiple_of(number: Callable[[Options], int], usual: int) -> Follows:
    """Make the rule that rounds the size of a hidden state up to a multiple of ``number(options)``, padded with zeros.

    Size 1, the waveform, stays; so do multiples of ``usual``: if ``number(options)`` does not
    divide them, rounding would hide wrong options.
    """

    def choose(inputs: FrontendSizes, _: int, options: Options) -> int:
        step = number(options)
        if inputs.dim == 1 or inputs.dim % usual == 0:
            return inputs.dim  # the waveform, or a usual size
        return -(-inputs.dim // step) * step  # rounded up

    return Follows(choose)


# Far above every published system; without limits, a few bytes could describe a model that takes hours to build or
# fills the memory.
Size = Annotated[int, Field(ge=1, le=65_536)]
"""Size of a vector or of a hidden layer."""
FeatureDim = Annotated[int, Field(ge=2, le=65_536)]
"""Size D of the hidden states that a back-end reads. Back-ends that read the waveform, D = 1, declare another type."""
Logits = Annotated[int, Field(ge=1, le=1000)]
"""Number of logits."""
UpTo64 = Annotated[int, Field(ge=1, le=64)]
"""A number of layers, blocks or heads, a factor or a ratio."""
UpTo1000 = Annotated[int, Field(ge=1, le=1000)]
"""Size of a kernel, or a number of small vectors."""
UpTo1024 = Annotated[int, Field(ge=1, le=1024)]
"""Size of a kernel or of a state, or a number of filters."""
UpTo4096 = Annotated[int, Field(ge=1, le=4096)]
"""Number of channels, or size of a small hidden layer."""
ClassNames = Annotated[
    Sequence[Annotated[str, Field(min_length=1, max_length=200)]],
    Field(min_length=2, max_length=1000),
    Takes("a list of 2 to 1000 names"),
]
"""Names of classes."""
PartOption = Annotated[
    Annotated[str, Field(pattern=r"^[A-Za-z][\w.-]{0,99}$")]
    | Annotated[dict[str, object], Field(min_length=1, max_length=64)],
    Takes("a name, or a mapping of `name` and options"),
]
"""A part inside a part, such as a head."""
Probability = Annotated[float, Field(ge=0, lt=1)]
"""Probability of dropout."""


class Default(float):
    """A default that a checkpoint's value replaces, unlike a stated number."""


OFF = Default(0)
UNSCALED = Default(1)
Share = Annotated[float, Field(ge=0, le=1)]
"""A share, or a probability that may be 1."""


def odd_or_zero(number: int) -> int:
    """Return ``number`` if it is odd or 0, otherwise raise ValueError; for ``pydantic.AfterValidator``."""
    if number and number % 2 == 0:
        raise ValueError("even")
    return number


@dataclass(frozen=True)
class Option:
    """An option that a constructor declares."""

    adapter: TypeAdapter
    takes: str
    """The allowed values, in words."""
    choices: tuple[str, ...]
    """The allowed names; empty unless the option is one of several names."""
    default: Any
    """``inspect.Parameter.empty`` if the option has no default."""
    meaning: str
    """Its entry in the docstring's `Args:`; may be empty."""
    follows: Follows | None = None
    """The rule that chooses the value for a front-end."""

    def fits(self, value: Any) -> bool:
        """Whether ``value`` is allowed; a list may stand for a tuple, because YAML has no tuples."""
        for form in (value, _tuples_for_lists(value)):
            try:
                self.adapter.validate_python(form)
            except ValidationError:
                continue
            return True
        return False


def _tuples_for_lists(value: Any) -> Any:
    return tuple(map(_tuples_for_lists, value)) if isinstance(value, list) else value


class Preset(partial):
    """Constructs a variant of a part: calls ``constructor`` with other defaults, and without some of its options.

    Args:
        summary: beginning of the variant's docstring, before the constructor's section `Args:`.
        without: options that the variant lacks.
    """

    __signature__: inspect.Signature

    def __new__(
        cls,
        constructor: Callable[..., Any],
        *arguments: Any,
        summary: str,
        without: Iterable[str] = (),
        **defaults: Any,
    ) -> Self:
        self = super().__new__(cls, constructor, *arguments, **defaults)
        parameters = inspect.signature(partial(constructor, *arguments, **defaults)).parameters.values()
        self.__signature__ = inspect.Signature([parameter for parameter in parameters if parameter.name not in without])
        # The docstring is the summary and the constructor's `Args:`, without its first part.
        meanings = (inspect.getdoc(constructor) or "").partition("\nArgs:\n")
        self.__doc__ = "".join((inspect.cleandoc(summary), "\n", *meanings[1:]))
        return self


@cache
def options_of(factory: Callable[..., Any]) -> dict[str, Option]:
    """List the options that ``factory``, a class, function or ``partial``, declares by annotations of plain data."""
    function = factory
    while isinstance(function, partial):
        function = function.func
    if inspect.isclass(function):
        function = function.__init__
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError:  # another package may import the types of its annotations only under TYPE_CHECKING
        hints = {}
    meanings = docstring_of(factory).meanings
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
        follows = next((fact for fact in getattr(hints[name], "__metadata__", ()) if isinstance(fact, Follows)), None)
        options[name] = Option(
            adapter, what_it_takes(schema), names, parameter.default, meanings.get(name, ""), follows
        )
    return options


@cache
def attributes_of(part_class: type) -> dict[str, Option]:
    """List the attributes of plain data that the class of nes2net above ``part_class`` declares."""
    base = next(base for base in part_class.__mro__ if base.__module__.startswith("nes2net."))
    options = {}
    for name, hint in typing.get_type_hints(base, include_extras=True).items():
        with suppress(PydanticUserError):  # no plain data
            adapter = TypeAdapter(hint, config=ConfigDict(strict=True))
            options[name] = Option(adapter, what_it_takes(adapter.json_schema()), (), None, "")
    return options


def fit_options(factory: Callable[..., Any], options: Options, inputs: FrontendSizes) -> dict[str, Any]:
    """Copy ``options``, and add those with a rule (:class:`Follows`) whose defaults do not fit ``inputs``.

    Without ``feature_dim`` in the result, use ``inputs.dim``. If an option is wrong, nothing is
    added; :func:`check_options` reports it.

    >>> def part(layers: Annotated[int, at_most_states()] = 24): ...
    >>> fit_options(part, {}, FrontendSizes(128, 4, 251)), fit_options(part, {"layers": 2}, FrontendSizes(128, 4, 251))
    ({'layers': 4}, {'layers': 2})
    """
    declared_options = options_of(factory)
    fit = dict(options)
    # What each option would be without rules; ``choose`` gets these values.
    values = {name: option.default for name, option in declared_options.items()} | {"feature_dim": inputs.dim} | fit
    if all(declared_options[name].fits(value) for name, value in fit.items() if name in declared_options):
        for name, option in declared_options.items():
            if option.follows and name not in fit:
                value = option.follows.choose(inputs, option.default, values)
                if value != values[name]:
                    fit[name] = value
    return fit


def check_options(factory: Callable[..., Any], options: Options, owner: str) -> None:
    """Check ``options`` against the types and ranges that ``factory`` declares; others are not checked.

    Args:
        owner: beginning of the error message, such as ``"back-end 'nes2net'"``.

    Raises:
        InputError: if an option has the wrong type or is out of its range.

    >>> def part(scale: Size, *, pool: typing.Literal["mean", "astp"] = "mean"): ...
    >>> check_options(part, {"scale": 0}, "part")
    Traceback (most recent call last):
    nes2net.lib.errors.InputError: part: scale must be a whole number from 1 to 65536, not 0
    """
    declared_options = options_of(factory)
    for name, value in options.items():
        if name in declared_options and not declared_options[name].fits(value):
            option = declared_options[name]
            meant = nearest(value[:100], option.choices) if isinstance(value, str) else ""
            raise InputError(f"{owner}: {name} must be {option.takes}, not {short_repr(value)}{meant}")


def check_at_most(option: str, value: int, limit: int, limit_name: str = "") -> None:
    """Raise :class:`InputError` if ``value`` of ``option`` exceeds ``limit``, the value of ``limit_name``."""
    if value > limit:
        name = f"{limit_name}, " if limit_name else ""
        raise InputError(f"{option} must be at most {name}{limit:,}, not {value:,}")


def check_divides(option: str, divisor: int, size: str, number: int) -> None:
    """Raise :class:`InputError` if ``divisor`` does not divide ``number``; ``option`` and ``size`` are their names.

    >>> check_divides("num_heads", 4, "embed_dim", 150)
    Traceback (most recent call last):
    nes2net.lib.errors.InputError: embed_dim = 150 cannot be divided by num_heads = 4; it can be divided by 2, 3, 5, 6, 10, 15, 25, 30, 50
    """
    if number % divisor:
        advice = f"change {size} or {option}"
        # Only divisors up to 64 are named, to keep the message short.
        if divisors := ", ".join(str(n) for n in range(2, min(number, 64) + 1) if number % n == 0):
            advice = f"it can be divided by {divisors}"
        raise InputError(f"{size} = {number} cannot be divided by {option} = {divisor}; {advice}")


class Settings:
    """Settings with types and ranges, as fields of a frozen dataclass; a wrong value raises :class:`InputError`."""

    owner: ClassVar[str]
    """Beginning of error messages, such as ``"Specmix"``."""

    def __post_init__(self) -> None:
        check_options(type(self), vars(self), self.owner)

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """Build the dataclass from a user's or file's ``settings``; raise :class:`InputError` also for unknown names."""
        check_known(settings, [field.name for field in fields(cls)], f"{cls.owner} has no setting")  # type: ignore[arg-type]
        return cls(**settings)


PARTS = ("frontend", "aggregation", "backend")


def check_model(model: Any) -> Model:
    """Check that ``model`` maps roles to parts, each a name or a mapping with ``name`` and options; return mappings.

    Raises:
        InputError: if ``model`` is not such a mapping.

    >>> check_model({"backend": "aasist"})
    {'backend': {'name': 'aasist'}}
    """
    if not isinstance(model, dict):
        raise InputError(f"a model must be a mapping of {', '.join(PARTS)}, not {short_repr(model)}")
    check_known((key if isinstance(key, str) else short_repr(key) for key in model), PARTS, "a model has no part")
    options_of_roles = {}
    for role, value in model.items():
        options = {"name": value} if isinstance(value, str) else value
        if not isinstance(options, dict) or not isinstance(options.get("name"), str):
            raise InputError(f"the model's {role} has no name: write '{role}: {{name: …}}', not {short_repr(value)}")
        if wrong := [key for key in options if not isinstance(key, str)]:
            raise InputError(
                f"the model's {role} has the option {short_repr(wrong[0])}, whose name is not text: write it in quotation marks"
            )
        options_of_roles[role] = options
    return options_of_roles


def part_names(model: ModelConfig) -> list[str]:
    """List the names of the parts of a complete model, in the order of :data:`PARTS`."""
    return [model[role]["name"] for role in PARTS]  # type: ignore[index]


def with_options(model: Model, role: str, **options: Any) -> Model:
    """Return a copy of ``model`` (:func:`check_model`) with ``options`` added to the part ``role``."""
    return {**model, role: {**model.get(role, {}), **options}}


def name_and_options(
    config: Mapping[str, Any], role: str, default: str | None = None, reserved: Sequence[str] = (), owner: str = ""
) -> tuple[str, dict[str, Any]]:
    """Find the name and the options of the part ``role`` in ``config``, where it may be only a name.

    Args:
        default: name of a missing part; None for an error.
        owner: the part's name in messages; empty for "the model's ``role``".

    Raises:
        InputError: if the part has no name, or has a ``reserved`` option, which the caller sets.
    """
    value = config.get(role)
    if value is None:
        value = default
    owner = owner or f"the model's {role}"
    options = {"name": value} if isinstance(value, str) else dict(value or {})
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f"{owner} has no name: write '{role}: {{name: …}}'")
    check_known([key for key in options if key in reserved], (), f"{owner} has no option")
    return name, options


class PartDescription(BaseModel):
    """A part of a detector: its name and options."""

    model_config = ConfigDict(strict=True, extra="allow")

    name: str

    @model_validator(mode="after")
    def _is_finite(self) -> PartDescription:
        json.dumps(self.model_extra, allow_nan=False)  # ValueError for NaN
        return self


class ModelDescription(StrictModel):
    """The complete configuration of a detector: each part with its name."""

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
# Bounds of a number; the first of which a schema has all keys applies.
_BOUNDS = (
    " above {exclusiveMinimum:.12g} and at most {maximum:.12g}",
    " above {exclusiveMinimum:.12g}",
    " from {minimum:.12g} to below {exclusiveMaximum:.12g}",
    " from {minimum:.12g} to {maximum:.12g}",
    " of at least {minimum:.12g}",
)


def what_it_takes(schema: Mapping[str, Any]) -> str:
    """Say in words which values a JSON schema allows.

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
        fewest = schema.get("minItems", 0)
        most_items = schema["maxItems"]
        items = what_it_takes(schema["items"]).removeprefix("a ").replace("number", "numbers")
        if fewest == most_items:
            count = "two" if most_items == 2 else str(most_items)
        else:
            count = f"{fewest} to {most_items}"
        return f"a list of {count} {items}"
    words = _WORDS.get(schema.get("type", ""), schema.get("type", "anything"))
    for bounds in _BOUNDS:
        with suppress(KeyError):  # the schema has other bounds
            return words + bounds.format_map(schema)
    return words
