"""Jinja templates of pages: they escape all text, and undefined variables are errors."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def page_templates(package: str) -> Environment:
    """The Jinja environment with the templates in the folder of ``package``, such as ``nes2net.evaluation``.

    An environment is made once for each package, so that each template is compiled once.
    """
    parent, _, folder = package.rpartition(".")
    return Environment(
        loader=PackageLoader(parent, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
