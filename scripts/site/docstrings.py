"""Docstrings as Markdown: references to other objects become links, and examples become blocks of code."""

from __future__ import annotations

import re
from typing import Any

import griffe

#: ``:class:`~nes2net.detector.Detector` ``
ROLE = re.compile(r":(?:class|func|meth|attr|data|mod):`([^`]+)`")
#: An example with its output, up to an empty line.
EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent)\S.*)*", re.MULTILINE)


class Markdown(griffe.Extension):
    """Rewrite each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            text = ROLE.sub(lambda role: reference(role[1]), obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub(block, text)


def reference(target: str) -> str:
    """Name the last part of a path, as Sphinx does after a tilde; of a plain name, all of it."""
    name = target.rpartition(".")[2] if target.startswith("~") else target.removeprefix("nes2net.")
    return f"`{name}`"


def block(example: re.Match) -> str:
    indent = example["indent"]
    return f"{indent}```pycon\n{example[0]}\n{indent}```"
