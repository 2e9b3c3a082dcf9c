"""Write the list of all names that `nes2net info` prints: ``python scripts/site/overview.py``."""

from __future__ import annotations

import json

from nes2net.apps.info import names
from nes2net.apps.info.overview import STORED


def listed() -> str:
    """Write the list as JSON, a line for each name, so that a change shows in a diff."""
    tables = names.overview().tables
    kinds = []
    for kind, rows in tables.items():
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
        kinds.append(f" {json.dumps(kind)}: [\n{lines}\n ]")
    return "{\n" + ",\n".join(kinds) + "\n}\n"


if __name__ == "__main__":
    STORED.write_text(listed(), encoding="utf-8")
