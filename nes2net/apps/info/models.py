"""List what is fetched by name: detectors, front-ends and repositories of the hub."""

from __future__ import annotations

import re
from dataclasses import asdict

from nes2net.lib.output.sheet import Facts, Sheet
from nes2net.models.catalogue import list_models
from nes2net.models.frontends.sizes import SIZES
from nes2net.models.published_models import BEGIN_WITH, HUB_COLLECTIONS, PUBLISHED
from nes2net.models.published_results import published_rows


def models_as_data() -> dict[str, list[Facts]]:
    """Return plain data for JSON; users' programs read these keys."""
    frontends: list[Facts] = []
    for name, size in SIZES.items():
        frontends.append(
            {
                "name": name,
                "title": size.title,
                "parameters": size.parameters,
                "licence": size.licence,
                "address": size.published.address,
                "known_by": size.published.pinned or "not pinned",
            }
        )
    by_hand: list[Facts] = []
    for row in published_rows():
        if row.released is not None:  # kind of each file to download by hand → its name
            facts = {"result": row.id, "detector": row.system, "EER in %": row.percent(row.best)}
            by_hand.append(facts | {"files": row.released})
    repositories: list[Facts] = []
    for repository, (meaning, licence) in HUB_COLLECTIONS.items():
        repositories.append({"name": f"hub:{repository}", "holds": meaning, "licence": licence})
    return {
        "detectors": [asdict(model) for model in list_models()],
        "front-ends": frontends,
        "by hand": by_hand,
        "repositories": repositories,
    }


def models_sheet() -> Sheet:
    data = models_as_data()
    detectors = []
    # Those for commercial use come first, then newer ones; equally new ones stay sorted by size.
    for model in sorted(list_models(), key=lambda model: (PUBLISHED[model.name].non_commercial, -(model.until or 0))):
        detectors.append(
            {
                "name": model.name,
                "MB": round(model.size / 1e6, 1 if model.size < 1e7 else None),
                "trained on, until": f"{PUBLISHED[model.name].trained.replace(':train', '')}, {model.until}",
                "reported": "; ".join(model.reported),
                "licence": re.sub(r" \([^)]*\)|,.*", "", model.licence),  # without remarks after the name
                "score": model.score,
            }
        )
    by_hand = "detectors to download by hand; a result without files has a figure for any file, but no verdict"
    return Sheet(
        "What is fetched by name",
        tables={
            "detectors": detectors,
            by_hand: [{**row, "files": ", ".join(row["files"])} for row in data["by hand"]],
            "repositories of detectors on the hub; NAME lists its files, NAME/FILE is one": data["repositories"],
            "pre-trained front-ends, for ssl_checkpoint=": [
                {key: row[key] for key in ("name", "parameters", "licence")} for row in data["front-ends"]
            ],
            "to begin with": [{"for": purpose, "name": name} for purpose, name in BEGIN_WITH.items()],
        },
        commands=[
            "nes2net models NAME, its card",
            "nes2net predict FILE --model NAME",
            "nes2net info RESULT, the addresses of its files",
            "nes2net evaluate CORPUS SCORES --keys KEYS, the figure of a score file, without audio",
        ],
    )
