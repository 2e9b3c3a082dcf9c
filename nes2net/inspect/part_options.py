"""The manual's page of the options of all parts, from what their constructors declare.

``python -m nes2net.inspect.part_options docs/part-options.md`` writes the page anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nes2net.options import declared
from nes2net.registry import Registry, backends, frontends

_PAGE = """\
# Options of parts

A front-end or a back-end takes these options in a recipe, in the configuration of a checkpoint or a
detector folder, and in Python by `create_frontend` and `create_backend`. The class of a part says
what each option means. Aggregations have no options.

Values of another type or out of range are refused with one line. A part has at most 5·10⁹ weights
and 3,000 modules. `feature_dim` is the front-end's size of a hidden state unless it is given.

This page is made from the constructors:
`python -m nes2net.inspect.part_options docs/part-options.md`.
"""


def page() -> str:
    """The page in Markdown."""
    parts = [_PAGE]
    for title, registry in (("Front-ends", frontends), ("Back-ends", backends)):
        parts.append(f"## {title}")
        tables: dict[str, list[str]] = {}
        for name in registry.names():
            tables.setdefault(_table(registry, name), []).append(name)
        for table, names in tables.items():
            parts.append(f"### {', '.join(f'`{name}`' for name in names)}\n\n{table}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(registry: Registry, name: str) -> str:
    rows = [
        f"| `{option}` | {facts.takes} | `{json.dumps(facts.default)}` |"
        for option, facts in declared(registry.get(name)).items()
        if option != "checkpoint"
    ]
    return "\n".join(["| option | takes | default |", "| --- | --- | --- |", *rows]) if rows else "No options."


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
