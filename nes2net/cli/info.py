"""`nes2net info`: a map of all names, and what a name, a file, a folder or a recipe's key is."""

from __future__ import annotations

import argparse
import json
from os.path import exists
from typing import TYPE_CHECKING

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
        help="a recipe, model, part, corpus or published result by name, or any file or folder of this package; "
        "recipe: the keys of a recipe",
    )
    parser.add_argument("key", nargs="?", help="after recipe: one key or section of a recipe, e.g. train.lr")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def _info(args: argparse.Namespace) -> int:
    from nes2net.recipes.recipe import packaged_recipes

    if args.model == "recipe" and args.key in packaged_recipes():
        args.model, args.key = args.key, None
    if args.model == "recipe":
        return _keys(args)
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

    found = []
    for row in published_rows():
        recipe = Path(row.recipe).stem if row.recipe else None
        about = frozenset(filter(None, (row.model, recipe, row.corpus)))
        facts = {
            "model": row.model,
            "recipe": recipe,
            "protocol": f"the first {row.samples:,} samples" if row.samples else "whole utterances",
            "left out": ", ".join(f"{key} {', '.join(values)}" for key, values in row.exclude.items()),
            "average of": f"{row.average} checkpoints, best by {row.select}" if row.average > 1 else "",
            "checkpoint": row.checkpoint,
        }
        figure = f"{row.metric} {row.best:.2f} % on {row.test}: {row.system}"
        found.append(Result(row.id, figure, f"{row.id}: {row.describe()}", about, facts))
    return found
