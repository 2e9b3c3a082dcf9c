"""Read the overview of all names from a stored list, because making it imports every part and torch.

``python scripts/site/overview.py`` writes this list.
"""

from __future__ import annotations

import json
from pathlib import Path

from nes2net.data.registry import corpora, effects
from nes2net.lib.output.sheet import Sheet
from nes2net.models.registry import aggregations, backends, frontends, heads
from nes2net.scoring.registry import judgements
from nes2net.training.registry import losses, tasks

#: The stored list: for each kind of names, the rows of a table.
STORED = Path(__file__).with_name("overview.json")
#: The stored tables of the published models: model → title → rows.
STORED_CARDS = STORED.with_name("cards.json")
#: Commands that the overview suggests.
COMMANDS = [
    "nes2net info published prints the published results as tables",
    "nes2net info NAME says more about one of these; nes2net info FILE says what a file or folder is",
]


def stored_overview(kind: str | None = None) -> Sheet | None:
    """Return the stored overview, or only its table of the ``kind``, such as ``"corpora"``.

    None if there is no such kind, or if the list lacks names that installed packages add.
    """
    registries = (frontends, aggregations, backends, heads, losses, tasks, judgements, corpora, effects)
    if any(registry.names() != registry.names(installed=False) for registry in registries):
        return None
    tables = json.loads(STORED.read_text(encoding="utf-8"))
    if kind is None:
        return Sheet("What nes2net knows by name", tables=tables, commands=COMMANDS, brief=True)
    if kind not in tables:
        return None
    return Sheet(kind, tables={"names": tables[kind]}, brief=True)
