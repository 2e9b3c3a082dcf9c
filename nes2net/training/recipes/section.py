"""The base class of the sections of a recipe: types of keys, and messages about errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    Strict,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails

from nes2net.lib.errors import InputError, did_you_mean, nearest, short_repr, with_flag_names
from nes2net.lib.parts.conditions import Condition, check_conditions
from nes2net.lib.parts.options import Takes, what_it_takes


def _as_text(value: Any) -> str:
    """Raise ValueError unless ``value`` is a number or text, which may be invalid Unicode."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError("not text")


def _check_folder_name_part(text: str) -> str:
    if not text.isprintable() or any(mark in text for mark in ("/", "\\", "..")):
        raise ValueError("not a part of a folder's name")
    return text


def _check_alias(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", text):
        raise ValueError("not an alias")
    return text


def yaml_word(value: Any) -> str:
    """Write a value as YAML does, for a message: true, null."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


Flag = Annotated[bool, Strict()]
Natural = Annotated[int, Strict(), Field(ge=0)]
Count = Annotated[int, Strict(), Field(ge=1)]
AboveZero = Annotated[float, Strict(), Field(gt=0)]
NotNegative = Annotated[float, Strict(), Field(ge=0)]
Probability = Annotated[float, Strict(), Field(ge=0, le=1)]
Speed = Annotated[float, Strict(), Field(ge=0.5, le=2)]
BelowOne = Annotated[float, Strict(), Field(ge=0, lt=1)]
Decay = Annotated[float, Strict(), Field(gt=0, le=1)]
Text = Annotated[str, PlainValidator(_as_text), WithJsonSchema({"type": "string"})]
Alias = Annotated[
    Text,
    AfterValidator(_check_alias),
    Takes("a name of letters, digits, '_', '-' and '.'"),
]
FolderPart = Annotated[
    Text,
    AfterValidator(_check_folder_name_part),
    Takes("a part of a folder's name, without /, .., \\ and control characters"),
]


@dataclass(frozen=True)
class Source:
    """The source of a key: a paper and its section, or a flag of a published program."""

    text: str

    @property
    def names(self) -> list[str]:
        """The flags of programs in ``text``: "main.py --lr" contains ``lr``."""
        return re.findall(r"--([\w-]+)", self.text)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "source": self.text}


class Section(BaseModel):
    """A group of keys of a recipe.

    Raises:
        InputError: if a key is unknown, if a value has the wrong type or is out of range, if a key
            would change nothing, or if two keys exclude each other.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    #: prefix of the keys of the section, such as ``train.``
    prefix: ClassVar[str] = ""

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(self._describe_problem(error.errors(include_url=False), values)) from error

    @model_validator(mode="before")
    @classmethod
    def _with_text_keys(cls, values: object) -> object:
        """Convert an empty section (``train:``) to a mapping, and every key to text."""
        if values is None:
            return {}
        if isinstance(values, dict):
            return {str(key): value for key, value in values.items()}
        return values

    @classmethod
    def _describe_problem(cls, problems: list[ErrorDetails], values: Mapping[str, object]) -> str:
        problem = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
        cause = problem.get("ctx", {}).get("error")
        # If a check of this package raised the error, its message is complete.
        if isinstance(cause, InputError):
            return str(cause)
        name = str(problem["loc"][0])
        # The key is unknown.
        if problem["type"] == "extra_forbidden":
            key = f"{cls.prefix}{name[:100]}"
            section = cls.prefix.partition(".")[0]
            keys = [f"{cls.prefix}{field}" for field in cls.model_fields]
            meant = did_you_mean(key, keys, f"nes2net info recipe {section}".strip(), meant=suggest_key(key))
            return f"unknown key '{key}' in the recipe{meant}"
        # A needed key is missing.
        if problem["type"] == "missing":
            return (
                f"a mapping of `{cls.prefix.removesuffix('.')}` has no `{name}`, which it needs: {short_repr(values)}"
            )
        # The value is wrong.
        schema = cls.model_json_schema()["properties"][name]
        if "type" not in schema and "anyOf" not in schema:  # a reference to a section
            return f"{name} must be a mapping of keys, not {short_repr(values[name])}"
        meant = nearest(str(values[name])[:100], schema.get("enum", ()))
        key = f"`{cls.prefix}{name}`"
        takes = what_it_takes(schema)
        if re.fullmatch(r"--\S+", with_flag_names(key)):  # the key is a flag of a command, and a flag cannot be null
            takes = takes.removesuffix(", or null")
        return f"{key} must be {takes}, not {short_repr(values[name])}{meant}"

    @model_validator(mode="after")
    def _check_conditions(self) -> Section:
        conditions: list[tuple[str, Condition]] = []
        values = {}
        defaults = {}
        for section in (self, *vars(self).values()):
            if isinstance(section, Section):
                for name, field in type(section).model_fields.items():
                    key = f"{section.prefix}{name}"
                    conditions += [(key, fact) for fact in field.metadata if isinstance(fact, Condition)]
                    values[key] = _comparable(getattr(section, name, None))
                    defaults[key] = _comparable(field.get_default())
        check_conditions(conditions, values, defaults)
        self.check()
        return self

    def check(self) -> None:
        """Raise :class:`InputError` if settings contradict each other; set those that follow from others."""


def _comparable(value: Any) -> Any:
    """Write a value as conditions name it; leave a mapping or a list, because the order of a mapping's keys is free."""
    return value if isinstance(value, (dict, list)) else yaml_word(value)


def suggest_key(name: str) -> str:
    """Suggest a key for the unknown key ``name``, as the end of a message; empty if none is similar.

    Keys, the beginnings of their docstrings ("Learning rate"), and flags in their sources are
    compared with the last part of ``name``; keys of its section are preferred.
    """
    section, _, last = name.rpartition(".")
    # Word → key; if several keys have a word, the first stays, so the name's own section comes
    # first.
    words: dict[str, str] = {}
    for kind in sorted(Section.__subclasses__(), key=lambda kind: kind.prefix.removesuffix(".") != section):
        for key, field in kind.model_fields.items():
            facts = (fact for fact in field.metadata if isinstance(fact, Source))
            title = re.sub(r"[^\w ].*", "", field.description or "").lower().replace(" ", "_")
            for word in (key, title, *chain.from_iterable(fact.names for fact in facts)):
                words.setdefault(word, f"{kind.prefix}{key}")
    section_words = [word for word, key in words.items() if key.rpartition(".")[0] == section]
    close = [last] if last in words else difflib.get_close_matches(last, section_words, n=1)
    close = close or difflib.get_close_matches(last, words, n=1, cutoff=0.8)
    return f"; did you mean '{words[close[0]]}'?" if close else ""
