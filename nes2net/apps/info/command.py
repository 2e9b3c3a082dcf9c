"""`nes2net info`: list all names, or describe a name, a file, a folder or a key of a recipe."""

from __future__ import annotations

import json
from os.path import exists
from typing import TYPE_CHECKING, Annotated, Any

from nes2net.lib.commands import Flag
from nes2net.lib.errors import InputError
from nes2net.lib.terminal import printable

if TYPE_CHECKING:
    from nes2net.apps.info.names import Result


def info(model: Annotated[str | None, Flag("NAME")] = None, key: str | None = None, *, json_: bool = False) -> None:
    """Say what a name, a file or a folder is; without an argument, list all names.

    Example:
        nes2net info wav2vec2_Nes2Net_X

    Args:
        model: name of a recipe, model, part, loss, task, corpus, condition, command or published result; or a file or
            folder; or a kind, such as corpora, to list its names; or recipe, for the keys of a recipe; or published,
            for the tables of published results
        key: after the name recipe: a key or section of a recipe, e.g. train.lr
        json_: print the description as JSON
    """
    # Read a stored list of names, because computing the list would import every part.
    if key is None and (model is None or not exists(model)):
        from nes2net.apps.info.overview import stored_overview

        if (stored := stored_overview(model)) is not None:
            text = _as_json([stored.to_dict()]) if json_ else stored.text()
            print(text)
            return
    from nes2net.apps.info.files import file_sheet
    from nes2net.apps.info.names import names, overview, sheets
    from nes2net.apps.info.part_options import mapping_rows
    from nes2net.apps.info.sheet import Sheet, table
    from nes2net.training.recipes.documentation import describe, facts_of
    from nes2net.training.recipes.reading import packaged_recipes

    # Describe the keys of a recipe.
    if model == "recipe" and key in packaged_recipes():
        model = key
        key = None
    if model == "recipe":
        options = mapping_rows(key)
        facts = facts_of(key)
        lines = [describe(key)]
        if options:
            facts[0]["options"] = options
            lines += ["", "options", *table(options)]
        text = json.dumps(facts, indent=1, ensure_ascii=False) if json_ else "\n".join(lines)
        print(text)
    elif model == "published" and key is None:
        from nes2net.models.published_results import published_tables
        from nes2net.models.published_tables import LEGEND, numbered_notes, plain_tables, reproduction_rows, system_rows

        tables = published_tables()
        if json_:
            print(printable(json.dumps(plain_tables(tables), indent=1, ensure_ascii=False)))
            return
        numbers = numbered_notes(tables)
        rows: dict[str, list[dict[str, Any]]] = {each.title: system_rows(each, numbers) for each in tables}
        rows["notes"] = [{"no.": number, "note": note} for note, number in numbers.items()]
        ways = []
        for row in reproduction_rows(tables):
            cells = []
            for heading in ("recipe", "checkpoint or code"):
                if row[heading]:
                    cells.append(f"{heading} {row[heading]}")
            ways.append({"system": row["system"], "how": "; ".join([*cells, *filter(None, [row["remark"]])])})
        commands = [
            "nes2net info ID, what is known of one result",
            "nes2net experiment reproduce, the ids; nes2net experiment reproduce ID",
        ]
        legend = LEGEND | {each.title: [each.about, *each.notes] for each in tables}
        rows["how they are measured again"] = ways
        print(Sheet("Published results", legend, tables=rows, commands=commands).text())
    elif key is not None:
        raise InputError(f"a key goes with recipe, as in 'nes2net info recipe {key}', not with {model}")
    else:
        results = published_results()
        if model is None:
            described = [overview(results)]
        elif exists(model) and not any(model in (kind, *words) for kind, words in names(results).items()):
            described = [file_sheet(model, results)]
        else:
            described = sheets(model, results)
            if exists(model):
                described[0].facts["also"] = f"a file or folder of this name is here: nes2net info ./{model}"
        if json_:
            print(_as_json([sheet.to_dict() for sheet in described]))
        else:
            print("\n\n".join(sheet.text() for sheet in described))


def _as_json(data: list[dict[str, Any]]) -> str:
    """Write descriptions as a JSON list; a single description is written without a list around it."""
    answer: Any = data[0] if len(data) == 1 else data
    return printable(json.dumps(answer, indent=1, ensure_ascii=False, default=str))


def published_results() -> list[Result]:
    """Write the published results in words, for the descriptions in ``names``."""
    from pathlib import Path

    from nes2net.apps.info.names import Result
    from nes2net.models.published_results import published_rows

    lengths = {"full": "whole utterances", "unknown": "the source does not say what length is scored"}
    results = []
    for row in published_rows():
        recipe = Path(row.recipe).stem if row.recipe else None
        subjects = frozenset(filter(None, (*row.models, recipe, row.corpus)))
        average = f"{row.average} checkpoints, best by {row.select}" if row.average > 1 else ""
        facts = {
            "model": ", ".join(row.models),
            "recipe": recipe,
            "measured again": ", ".join(row.ways) or "only reported",
            "here": row.here,
            "front-end": row.reported_frontend,
            "parameters": row.parameters,
            "averaged": row.averaged,
            "fusion": "several systems are fused" if row.fusion else "",
            "paper": row.paper,
            "notes": row.notes,
            "protocol": lengths.get(row.protocol) or f"the first {row.samples:,} samples",
            "left out": ", ".join(f"{key} {', '.join(values)}" for key, values in row.exclude.items()),
            "average of": average,
            "checkpoint": row.obtain,
        }
        figure = f"mean {row.percent(row.mean)}" if row.best is None else row.percent(row.best)
        figure = f"{row.metric} {figure} % on {row.test}: {row.system}"
        line = f"{row.id}: {row.describe()}"
        if row.released is not None:
            line += f"; {row.obtain}"
        results.append(Result(row.id, figure, line, subjects, facts))
    return results
