"""`nes2net models`: list the detectors and front-ends that are fetched by name, or describe one of them."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING

from nes2net.lib.errors import check_known
from nes2net.lib.shell.commands import command_facts

if TYPE_CHECKING:
    from nes2net.lib.output.sheet import Facts, Sheet


@command_facts(
    about="A file is fetched once from its publisher, checked, and kept in the folder of huggingface_hub (HF_HOME)."
)
def models(name: str | None = None, *, json_: bool = False) -> None:
    """List the detectors that --model fetches by name, or describe one of them.

    Example:
        nes2net models
        nes2net models AASIST
        nes2net predict recording.wav --model AASIST

    Args:
        name: print the card of this detector, or of this front-end for ssl_checkpoint
        json_: print the list or the card as JSON
    """
    from nes2net.lib.output.sheet import as_json
    from nes2net.lib.output.terminal import print_output
    from nes2net.models.frontends.sizes import SIZES
    from nes2net.models.published_models import PUBLISHED

    if name is not None:
        from nes2net.apps.info.command import info

        check_known([name], [*PUBLISHED, *SIZES], "there is no model", "nes2net models")
        info(name, json_=json_)
    elif json_:
        print_output(as_json(_models_for_json()))
    else:
        print_output(_models_sheet().text())


def _models_for_json() -> dict[str, object]:
    from nes2net.models.catalogue import list_models
    from nes2net.models.frontends.sizes import SIZES

    frontends = []
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
    # Users' programs read these keys.
    return {
        "detectors": [asdict(model) for model in list_models()],
        "front-ends": frontends,
        "by hand": _results_with_files(in_words=False),
        "repositories": _collection_rows(),
    }


def _models_sheet() -> Sheet:
    from nes2net.lib.output.sheet import Sheet
    from nes2net.models.catalogue import list_models
    from nes2net.models.frontends.sizes import SIZES
    from nes2net.models.published_models import BEGIN_WITH, PUBLISHED

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
    frontends = []
    for name, size in SIZES.items():
        millions = round(size.parameters / 1e6)
        frontends.append({"name": name, "million parameters": millions, "licence": size.licence})
    by_hand = _results_with_files(in_words=True)
    return Sheet(
        "What is fetched by name",
        tables={
            "detectors, for --model": detectors,
            "detectors to download by hand; a result without files has a figure for any file, but no verdict": by_hand,
            "repositories of the hub, for --model; NAME lists its files, NAME/FILE is one": _collection_rows(),
            "pre-trained front-ends, for ssl_checkpoint=": frontends,
            "to begin with": [{"for": purpose, "name": name} for purpose, name in BEGIN_WITH.items()],
        },
        commands=[
            "nes2net models NAME, its card",
            "nes2net predict FILE --model NAME",
            "nes2net info RESULT, the addresses of its files",
            "nes2net evaluate CORPUS SCORES --keys KEYS, the figure of a score file, without audio",
        ],
    )


def _collection_rows() -> list[Facts]:
    from nes2net.models.published_models import HUB_COLLECTIONS

    rows: list[Facts] = []
    for repository, (meaning, licence) in HUB_COLLECTIONS.items():
        rows.append({"name": f"hub:{repository}", "holds": meaning, "licence": licence})
    return rows


def _results_with_files(*, in_words: bool) -> list[Facts]:
    from nes2net.models.published_results import published_rows

    rows: list[Facts] = []
    for row in published_rows():
        if row.released is not None:  # kind of each file to download by hand → its name
            files = ", ".join(row.released) or "–" if in_words else row.released
            rows.append({"result": row.id, "detector": row.system, "EER in %": row.percent(row.best), "files": files})
    return rows
