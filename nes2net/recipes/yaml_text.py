"""YAML as recipes have it: text stays text, a key stands once, and nothing in a file can grow beyond it."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import is_dataclass
from typing import Any, ClassVar

import yaml

from nes2net.errors import InputError, shown

_TAG = "tag:yaml.org,2002:"
_MAX_DEPTH = 20
_NULL = ("", "~", "null", "Null", "NULL")


class _Loader(yaml.SafeLoader):
    """Numbers are what they look like: decimal, 0x or 0b; 1e-6 is one, as in YAML 1.2, and YAML 1.1's octal numbers, base-60 numbers and
    dates are text. Aliases, tags, keys that stand twice and deep nesting are refused.
    """

    yaml_implicit_resolvers: ClassVar[dict] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (f"{_TAG}bool", f"{_TAG}null")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.tag is not None:
            raise yaml.composer.ComposerError(None, None, "recipes have no aliases and no tags", event.start_mark)
        if self.depth == _MAX_DEPTH:
            problem = f"nested more than {_MAX_DEPTH} deep"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node, seen = super().compose_mapping_node(anchor), set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {shown(key.value)} stands there twice"
                    raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return node


# No more digits than numbers of this kind have.
_Loader.add_implicit_resolver(
    f"{_TAG}int",
    re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,18}|0x[0-9a-fA-F]{1,16}|0b[01]{1,64})$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"""[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$|[-+]?[0-9]+[eE][-+]?[0-9]+$
        |[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$""",
        re.VERBOSE,
    ),
    list("-+0123456789."),
)


def read_yaml(text: str, hint: Any, what: str) -> Any:
    """``text`` as plain data; where ``hint``, a type or a dataclass of types, has text, it is read as it stands: ``date: 0520``, ``1.10``.

    Raises:
        InputError: it is no YAML, or has what a recipe does not; ``what`` says whose text it is.

    >>> read_yaml("{lr: 1e-6, layers: [0x10, 12:30, 2026-02-30]}", None, "this")
    {'lr': 1e-06, 'layers': [16, '12:30', '2026-02-30']}
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _keep_text(node, hint)
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{what} is not valid YAML: {' '.join(str(error).split())}") from error


def read_value(text: str, hint: Any, what: str) -> Any:
    """The value of an override ``key=text``: text as it stands where ``hint`` has text, unless it is quoted; else YAML.

    >>> read_value("0520", str, "date"), read_value("'#1: a'", str, "comment"), read_value("#1: a", str, "comment")
    ('0520', '#1: a', '#1: a')
    >>> read_value("null", str | None, "comment") is None, read_value("[0.1, 1e-3]", None, "weights")
    (True, [0.1, 0.001])
    """
    text = text.strip()
    if str in alternatives(hint) and not text.startswith(("'", '"')):
        return None if text in _NULL else text
    return read_yaml(text, hint, what)


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types that a type hint allows.

    >>> alternatives(str | None)
    (<class 'str'>, <class 'NoneType'>)
    """
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def _keep_text(node: yaml.Node, hint: Any) -> None:
    if isinstance(node, yaml.ScalarNode):
        if str in alternatives(hint) and node.tag != f"{_TAG}null":
            node.tag = f"{_TAG}str"
    elif isinstance(node, yaml.MappingNode) and is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                _keep_text(value, hints.get(key.value))
