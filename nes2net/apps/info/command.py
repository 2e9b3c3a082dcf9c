"""`nes2net info`: list all names, or describe a name, a file, a folder or a key of a recipe."""

from __future__ import annotations

from os.path import exists
from typing import Annotated

from nes2net.lib.errors import InputError
from nes2net.lib.parts.registry import note_unusable_entry_points
from nes2net.lib.shell.commands import Flag


def info(model: Annotated[str | None, Flag("NAME")] = None, key: str | None = None, *, json_: bool = False) -> None:
    """Say what a name, a file or a folder is; without an argument, list all names.

    Example:
        nes2net info wav2vec2_Nes2Net_X

    Args:
        model: name of a recipe, model, part, loss, task, corpus, condition or published result; or a file or folder;
            or a kind, such as corpora, to list its names; or marks; or recipe, for the keys of a recipe; or published,
            for the tables of published results
        key: after the name recipe: a key or section of a recipe, e.g. train.lr
        json_: print the description as JSON
    """
    from nes2net.lib.output.sheet import as_json
    from nes2net.lib.output.terminal import print_output

    note_unusable_entry_points()
    # Read a stored list of names, because computing the list would import every part.
    if key is None and (model is None or not exists(model)):
        from nes2net.apps.info.overview import stored_overview

        if (stored := stored_overview(model)) is not None:
            print_output(as_json(stored.to_dict()) if json_ else stored.text())
            return
    from nes2net.apps.info.names import keys_sheet, names, overview, sheets
    from nes2net.training.recipes.reading import packaged_recipes

    # After `recipe`, the name of a packaged recipe is no key: describe the recipe.
    if model == "recipe" and key in packaged_recipes():
        model = key
        key = None
    if model == "recipe":
        described = [keys_sheet(key)]
    elif key is not None:
        raise InputError(
            f"only the name recipe is followed by a key, not {model}: remove {key}, or use 'nes2net info recipe {key}'"
        )
    elif model is None:
        described = [overview()]
    elif model == "published":
        from nes2net.apps.info.results import published_sheet

        described = [published_sheet()]
    elif exists(model) and not any(model in (kind, *words) for kind, words in names().items()):
        from nes2net.apps.info.files import file_sheet

        described = [file_sheet(model)]
    else:
        described = sheets(model)
    if json_:
        data = [sheet.to_dict() for sheet in described]
        print_output(as_json(data[0] if len(data) == 1 else data))
    else:
        print_output("\n\n".join(sheet.text() for sheet in described))
