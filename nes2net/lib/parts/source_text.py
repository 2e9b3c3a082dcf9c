"""Read what a module says about a function without importing the module, which may be slow or broken."""

from __future__ import annotations

import ast
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import Any


def spec_of(module: str) -> Any:
    """Find a module without importing the packages above it; None if it is not found."""
    first, *below = module.split(".")
    spec: Any = find_spec(first)
    for name in below:
        if spec is not None:
            spec = PathFinder.find_spec(f"{spec.name}.{name}", spec.submodule_search_locations)
    return spec


def docstring_in_source(target: str) -> str:
    """Return the docstring of ``"module:function"``; empty if its source cannot be found or parsed."""
    module, _, function = target.partition(":")
    try:
        spec = spec_of(module)
        statements = ast.parse(spec.loader.get_data(spec.origin)).body
    except Exception:  # finders, loaders and files of other packages may raise any error
        return ""
    for statement in statements:
        if isinstance(statement, ast.FunctionDef) and statement.name == function:
            return ast.get_docstring(statement) or ""
    return ""
