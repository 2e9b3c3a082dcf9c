"""Jinja templates of pages, which escape all text and refuse what is not defined."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def page_templates(package: str) -> Environment:
    """The templates in the folder of ``package``, such as ``nes2net.evaluation``; each is compiled once."""
    parent, _, folder = package.rpartition(".")
    return Environment(
        loader=PackageLoader(parent, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
