"""Read the YAML of recipes and detector folders within limits, and write YAML that is read back unchanged."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.files import Budget
from nes2net.lib.storage.plain_data import check_plain, read_small_text

try:
    from yaml import CSafeLoader as SafeLoader  # ten times faster
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

_TAG = "tag:yaml.org,2002:"
_MAX_DEPTH = 20
_MAX_VALUES = 10_000
_MAX_BYTES = 200_000


class _Loader(SafeLoader):
    """Reads numbers in the forms that people write.

    1e-6 is a number, as in YAML 1.2. Octal and base-60 numbers and dates of YAML 1.1, which PyYAML
    follows, are text; so is a whole number of more than 19 digits.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (f"{_TAG}bool", f"{_TAG}null")]
    for first, resolvers in SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    f"{_TAG}int",
    re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,18}|0x[0-9a-fA-F]{1,16}|0b[01]{1,64})$"),
    "-+0123456789",
)
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"""[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$|[-+]?[0-9]+[eE][-+]?[0-9]+$
        |[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$""",
        re.VERBOSE,
    ),
    "-+0123456789.",
)


class _Dumper(yaml.SafeDumper):
    """Quotes each text that :class:`_Loader` would not read as text, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.yaml_implicit_resolvers = {
    first: yaml.SafeDumper.yaml_implicit_resolvers.get(first, []) + _Loader.yaml_implicit_resolvers.get(first, [])
    for first in yaml.SafeDumper.yaml_implicit_resolvers.keys() | _Loader.yaml_implicit_resolvers
}


def write_yaml(values: Facts) -> str:
    """Write plain data as YAML.

    >>> shared = [8, 8]
    >>> print(write_yaml({"date": "1e-6", "one": shared, "other": shared}), end="")
    date: '1e-6'
    one:
    - 8
    - 8
    other:
    - 8
    - 8
    """
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


def read_yaml_file(path: Path, hint: Any, name: str) -> Any:
    """Read a small YAML file as :func:`read_yaml` does."""
    return read_yaml(read_small_text(path, _MAX_BYTES), hint, name)


def read_yaml(text: str, hint: Any, name: str) -> Any:
    """Read YAML as plain data, None if empty; what ``hint`` declares as text stays text (``date: 0520``).

    Args:
        hint: the pydantic model or the type of the data; None if unknown.

    Raises:
        InputError: if the text is not valid YAML, has tags or aliases, has too many values, is
            nested too deep, or has a key twice.

    >>> read_yaml("{lr: 1e-6, layers: [0x10, 12:30, 2026-02-30]}", None, "this")
    {'lr': 1e-06, 'layers': [16, '12:30', '2026-02-30']}
    """
    try:
        # Keys and the ends of lists are events, too, hence twice as many.
        budget = Budget(name, most_bytes=_MAX_BYTES, most_steps=2 * _MAX_VALUES)
        depth = 0
        for event in yaml.parse(text, SafeLoader):  # check all events before any object is built
            budget.take("values", steps=1)
            has_tag = isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)) and event.tag is not None
            if has_tag or isinstance(event, yaml.AliasEvent):
                _refuse("aliases and tags are not allowed, only plain values", event)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                _refuse(f"nested more than {_MAX_DEPTH} deep", event)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _mark_text_and_check_keys(node, hint)
        values = loader.construct_document(node)
    except InputError:
        raise
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{name} is not valid YAML: {error}") from error
    check_plain(values, name, values=_MAX_VALUES, depth=_MAX_DEPTH)
    return values


def read_value(text: str, hint: Any, name: str) -> Any:
    """Read the value of an override ``key=text``.

    If ``hint`` allows text, the value is ``text``, or None for empty, ``null`` and ``~``; but
    quoted text, and braces if ``hint`` allows a mapping, are read as YAML. All else is YAML.

    >>> read_value("0520", str, "date"), read_value("'#1: a'", str, "comment"), read_value("#1: a", str, "comment")
    ('0520', '#1: a', '#1: a')
    >>> read_value("null", str | None, "comment") is None, read_value("[0.1, 1e-3]", None, "weights")
    (True, [0.1, 0.001])
    >>> read_value("{name: oc_softmax, scale: 15}", str | dict[str, Any], "loss"), read_value("{name}", str, "comment")
    ({'name': 'oc_softmax', 'scale': 15}, '{name}')
    """
    text = text.strip()
    written_as_yaml = text.startswith(("'", '"')) or (text.startswith("{") and _allows(hint, dict))
    if _allows(hint, str) and not written_as_yaml:
        return None if text in ("", "~", "null", "Null", "NULL") else text
    return read_yaml(text, hint, name)


def set_value(values: dict[str, Any], keys: Sequence[str], text: str, hint: Any, name: str) -> None:
    """Set ``values[keys[0]][keys[1]]…`` to the value in ``text``; copy the mappings inside ``values`` first.

    A part of the model that is only a name, or missing, becomes a mapping with ``name``. ``hint``
    is the pydantic model of ``values``, or None.

    >>> values = {"model": {"backend": "aasist"}}
    >>> set_value(values, ["model", "backend", "num_logits"], "1", None, "num_logits")
    >>> values
    {'model': {'backend': {'name': 'aasist', 'num_logits': 1}}}
    """
    section = values
    for parent in keys[:-1]:
        # A missing part of the model has the name that is its default in the recipe.
        default = getattr(getattr(hint, "model_fields", {}).get(parent), "default", None)
        child = section.get(parent, default if isinstance(default, str) else None)
        if isinstance(child, str) and section is not values:  # a part without options: make it a mapping
            child = {"name": child}
        section[parent] = dict(child) if isinstance(child, dict) else {}
        section = section[parent]
        hint = hint_of(hint, parent)
    section[keys[-1]] = read_value(text, hint_of(hint, keys[-1]), name)


def hint_of(hint: Any, key: str) -> Any:
    """Find the type that ``hint`` declares for ``key``; None without such a key."""
    fields = hint.model_fields if isinstance(hint, type(BaseModel)) else {}
    return fields[key].annotation if key in fields else None


def _allows(hint: Any, kind: type) -> bool:
    if typing.get_origin(hint) in (typing.Annotated, typing.Union, types.UnionType):
        return any(_allows(option, kind) for option in typing.get_args(hint))
    return hint is kind or typing.get_origin(hint) is kind


def _mark_text_and_check_keys(node: yaml.Node, hint: Any) -> None:
    """Tag the scalars that ``hint`` declares as text, and refuse repeated keys; recursive."""
    if isinstance(node, yaml.ScalarNode) and _allows(hint, str) and node.tag != f"{_TAG}null":
        node.tag = f"{_TAG}str"
    elif isinstance(node, yaml.SequenceNode):
        items = typing.get_args(hint) if typing.get_origin(hint) is list else ()
        model = items[0] if items and isinstance(items[0], type(BaseModel)) else None
        for item in node.value:
            _mark_text_and_check_keys(item, model)
    elif isinstance(node, yaml.MappingNode):
        seen_keys = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # the key is a list or a mapping: PyYAML refuses such a key when it builds the data
            if key.value in seen_keys:
                _refuse(f"the key {short_repr(key.value)} occurs twice", key)
            seen_keys.add(key.value)
            _mark_text_and_check_keys(value, hint_of(hint, key.value))


def _refuse(problem: str, position: yaml.Event | yaml.Node) -> typing.NoReturn:
    mark: Any = position.start_mark
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
