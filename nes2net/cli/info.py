"""`nes2net info`: a map of all names, and what a name, a file, a folder or a recipe's key is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from os.path import exists
from typing import TYPE_CHECKING, Any

from nes2net.cli.entry import subcommand
from nes2net.errors import InputError
from nes2net.machine.terminal import printable

if TYPE_CHECKING:
    from nes2net.inspect.names import Result
    from nes2net.inspect.sheet import Sheet


def add(commands: argparse._SubParsersAction) -> None:
    text = "Say what a name, a file or a folder is; without one, list all names"
    parser = subcommand(commands, "info", _info, text, example="nes2net info wav2vec2_Nes2Net_X")
    parser.add_argument(
        "model",
        nargs="?",
        metavar="NAME",
        help="a recipe, model, part, corpus, condition or published result by name, or any file or folder of this package; "
        "recipe: the keys of a recipe; published: the tables of published results",
    )
    parser.add_argument("key", nargs="?", help="after recipe: one key or section of a recipe, e.g. train.lr")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def _info(args: argparse.Namespace) -> int:
    from nes2net.recipes.reading import packaged_recipes

    if args.model == "recipe" and args.key in packaged_recipes():
        args.model, args.key = args.key, None
    if args.model == "recipe":
        return _keys(args)
    if args.model == "published" and args.key is None:
        return _published(args.json)
    if args.key is not None:
        raise InputError(f"a key goes with recipe, as in 'nes2net info recipe {args.key}', not with {args.model}")
    from nes2net.inspect.names import overview

    sheets = [overview(_results())] if args.model is None else _sheets(args.model)
    if args.json:
        found = [sheet.to_dict() for sheet in sheets]
        print(printable(json.dumps(found[0] if len(found) == 1 else found, indent=1, ensure_ascii=False, default=str)))
    else:
        print("\n\n".join(sheet.text() for sheet in sheets))
    return 0


def _keys(args: argparse.Namespace) -> int:
    from nes2net.recipes.documentation import describe, facts_of

    print(json.dumps(facts_of(args.key), indent=1, ensure_ascii=False) if args.json else describe(args.key))
    return 0


def _published(as_json: bool) -> int:
    from nes2net.experiments.published import published_tables
    from nes2net.experiments.result_table import LEGEND, numbered_notes, plain_tables, system_rows, way_rows
    from nes2net.inspect.sheet import Sheet

    tables = published_tables()
    if as_json:
        print(printable(json.dumps(plain_tables(tables), indent=1, ensure_ascii=False)))
        return 0
    numbers = numbered_notes(tables)
    facts = LEGEND | {table.title: [table.about, *table.notes] for table in tables}
    rows: dict[str, list[dict[str, Any]]] = {table.title: system_rows(table, numbers) for table in tables}
    notes = [{"no.": number, "note": note} for note, number in numbers.items()]
    commands = ["nes2net info ID, what is known of one result", "nes2net reproduce, the ids; nes2net reproduce ID"]
    ways = [{"system": row["system"], "how": "; ".join(_ways(row))} for row in way_rows(tables)]
    further: dict[str, list[dict[str, Any]]] = {"notes": notes, "how they are measured again": ways}
    print(Sheet("Published results", facts, tables=rows | further, commands=commands).text())
    return 0


def _ways(row: dict[str, str]) -> Iterator[str]:
    """The cells of a row that are not empty, each with its heading unless it is a sentence."""
    for heading in ("recipe", "checkpoint or code"):
        if row[heading]:
            yield f"{heading} {row[heading]}"
    if row["remark"]:
        yield row["remark"]


def _sheets(name: str) -> list[Sheet]:
    from nes2net.inspect.files import file_sheet
    from nes2net.inspect.names import names, sheets

    results = _results()
    if any(name in known for known in names(results).values()):
        found = sheets(name, results)
        if exists(name):
            found[0].facts["also"] = f"a file or folder of this name is here: nes2net info ./{name}"
        return found
    return [file_sheet(name, results)] if exists(name) else sheets(name, results)


def _results() -> list[Result]:
    """The published results as the room of `inspect` takes them, which does not import `experiments`."""
    from pathlib import Path

    from nes2net.experiments.published import published_rows
    from nes2net.inspect.names import Result

    lengths = {"full": "whole utterances", "unknown": "the source does not say what length is scored"}
    found = []
    for row in published_rows():
        recipe = Path(row.recipe).stem if row.recipe else None
        about = frozenset(filter(None, (row.model, recipe, row.corpus)))
        facts = {
            "model": row.model,
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
            "average of": f"{row.average} checkpoints, best by {row.select}" if row.average > 1 else "",
            "checkpoint": row.checkpoint,
        }
        mean = "mean " if row.best is None else ""
        best = row.percent(row.mean if row.best is None else row.best)
        figure = f"{row.metric} {mean}{best} % on {row.test}: {row.system}"
        found.append(Result(row.id, figure, f"{row.id}: {row.describe()}", about, facts))
    return found
