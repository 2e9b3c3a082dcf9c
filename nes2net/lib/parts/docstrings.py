"""Read what a docstring declares: its first line, and its sections that explain arguments.

This is the only reader of docstrings; programs show no other sentence of them.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from functools import partial
from typing import Any, NamedTuple

# Entries of a section: ``name, name: meaning``, whose further lines are indented.
_ARGUMENTS = re.compile(r"^(\w+(?:, \w+)*): (.*(?:\n +.*)*)", re.MULTILINE)
_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")


class Docstring(NamedTuple):
    """The parts of a docstring that programs show."""

    title: str
    """The first line, without the full stop."""
    example: str
    """The block below `Example:`."""
    arguments: dict[str, tuple[str, str]]
    """Name of an argument → (title of its section, such as ``args``; its meaning)."""

    @property
    def meanings(self) -> dict[str, str]:
        """Name of an argument in `Args:` → its meaning."""
        return {name: text for name, (section, text) in self.arguments.items() if section == "args"}


def read_docstring(docstring: str | None) -> Docstring:
    """Split a docstring into the parts that programs show, without markup.

    A section is a line that ends with a colon, with indented lines below.

    >>> read_docstring("Say ``a``.\\n\\nArgs:\\n    a, b: of the\\n        first layer.\\n    c: no.").arguments
    {'a': ('args', 'of the first layer.'), 'b': ('args', 'of the first layer.'), 'c': ('args', 'no.')}
    """
    title, _, text = inspect.cleandoc(docstring or "").partition("\n")
    example = ""
    arguments: dict[str, tuple[str, str]] = {}
    for block in text.strip().split("\n\n"):
        head, _, body = block.partition("\n")
        if not (head.endswith(":") and body.startswith("    ")):
            continue
        if head == "Example:":
            example = textwrap.dedent(body)
        else:
            for names, text in _ARGUMENTS.findall(textwrap.dedent(body)):
                arguments |= dict.fromkeys(names.split(", "), (head[0].lower() + head[1:-1], _plain(text)))
    return Docstring(_plain(title).rstrip("."), example, arguments)


def docstring_of(declaration: Any) -> Docstring:
    """Read the docstring of a class or function, or of the one inside a ``partial`` without its own."""
    while isinstance(declaration, partial) and "__doc__" not in vars(declaration):
        declaration = declaration.func
    return read_docstring(declaration.__doc__)


def _plain(text: str) -> str:
    return " ".join(_ROLE.sub(r"\1", text).replace("``", "").split())
