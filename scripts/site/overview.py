"""Write the list of all names, and the tables of published models, that `nes2net info` prints: ``python scripts/site/overview.py``."""

from __future__ import annotations

import json

from nes2net.apps.info import names
from nes2net.apps.info.overview import STORED, STORED_CARDS
from nes2net.models.published_models import PUBLISHED_MODELS


def listed() -> str:
    """Write the list as JSON, a line for each name, so that a change shows in a diff."""
    tables = names.overview().tables
    kinds = []
    for kind, rows in tables.items():
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
        kinds.append(f" {json.dumps(kind)}: [\n{lines}\n ]")
    return "{\n" + ",\n".join(kinds) + "\n}\n"


def cards() -> str:
    """Write the tables of all published models as JSON, a line for each model."""
    lines = [
        f" {json.dumps(name)}: {json.dumps(names.card_tables(name), ensure_ascii=False)}" for name in PUBLISHED_MODELS
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    STORED.write_text(listed(), encoding="utf-8")
    STORED_CARDS.write_text(cards(), encoding="utf-8")
