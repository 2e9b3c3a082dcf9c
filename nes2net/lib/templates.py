"""Jinja templates of pages, which escape all text and refuse what is not defined."""

from __future__ import annotations

from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


@cache
def page_templates(*packages: str) -> Environment:
    """The templates in the folders of ``packages``, such as ``nes2net.evaluation``; each is compiled once."""
    places = [package.rpartition(".") for package in packages]
    return Environment(
        loader=ChoiceLoader([PackageLoader(parent, folder) for parent, _, folder in places]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
