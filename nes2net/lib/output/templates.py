"""Jinja templates of pages and of Markdown: they escape all text, and undefined variables are errors."""

from __future__ import annotations

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from nes2net.lib.output.terminal import markdown_text


@cache
def page_templates(package: str) -> Environment:
    """Make the Jinja environment for templates in ``package``, once, so that each is compiled only once."""
    parent, _, folder = package.rpartition(".")
    environment = Environment(
        loader=PackageLoader(parent, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["name"] = _breakable
    return environment


def _breakable(name: str) -> Markup:
    """Escape a name for HTML, with line breaks allowed after separators: the filter ``name``."""
    return Markup(re.sub(r"_(?=.)|\.(?=[a-zA-Z])", r"\g<0><wbr>", str(escape(name))))


@cache
def markdown_templates(package: str) -> Environment:
    """Make the environment for Markdown templates in ``package``; the filter ``safe`` leaves text unescaped."""
    return page_templates(package).overlay(autoescape=False, finalize=_escape)


def _escape(value: object) -> str:
    return str(value) if isinstance(value, Markup) else markdown_text(str(value))
