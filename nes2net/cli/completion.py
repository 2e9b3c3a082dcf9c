"""`nes2net --completion SHELL`: print the script with which a shell completes commands, flags, files and names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from nes2net.lib.shell.command_line import OneLineParser

#: Shell → source of a shell function that completes a word to one of ``names`` or to a file.
_NAME_OR_FILE = {
    "bash": '_nes2net_{kind}_or_file() {{ compgen -W "{names}" -- "$1"; compgen -f -- "$1"; }}',
    "zsh": "_nes2net_{kind}_or_file() {{ _alternative '{kind}:{kind}:({names})' 'files:file:_files' }}",
    "fish": "function _nes2net_{kind}_or_file; string split ' ' '{names}'; __fish_complete_path (commandline -ct); end",
}

#: The shells for which there is a script.
SHELLS = tuple(_NAME_OR_FILE)


class PrintCompletion(argparse.Action):
    """Print the script with which the given shell completes commands, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, shell: Any, __: str | None = None) -> NoReturn:
        assert isinstance(parser, OneLineParser)
        print(completion_script(parser, shell))
        parser.exit()


def completion_script(parser: OneLineParser, shell: str) -> str:
    """Write the completion script of ``shell``, one of :data:`SHELLS`, for the commands of ``parser``.

    The function sets the attribute ``complete`` of each argument that can be a file or a name.
    """
    import shtab

    names_by_kind = names_by_argument()
    for command, command_parser in parser.commands().items():
        for action in command_parser._actions:
            # Only an argument without choices can be a file or a name.
            if action.nargs == 0 or action.choices or action.type not in (None, Path):
                continue
            kind = next((kind for kind in (f"{command} {action.dest}", action.dest) if kind in names_by_kind), None)
            complete = shtab.FILE
            if kind:
                function = f"_nes2net_{kind.replace(' ', '_')}_or_file"
                complete = complete | dict.fromkeys(_NAME_OR_FILE, function) | {"fish": f"({function})"}
            action.complete = complete  # type: ignore[attr-defined]
    form = _NAME_OR_FILE[shell]
    functions = (
        form.format(kind=kind.replace(" ", "_"), names=" ".join(names_of_kind))
        for kind, names_of_kind in names_by_kind.items()
    )
    return shtab.complete(parser, shell, preamble="\n".join(functions))


def names_by_argument() -> dict[str, list[str]]:
    """List the names that each kind of argument accepts besides files: argument → names.

    A key is a command and one of its arguments, such as ``"train recipe"``, or an argument of any
    command, such as ``"device"``.
    """
    from nes2net.data.registry import effects
    from nes2net.models.published_models import PUBLISHED_MODELS
    from nes2net.models.published_results import published_rows
    from nes2net.models.registry import aggregations, backends, frontends
    from nes2net.training.recipes.reading import packaged_recipes
    from nes2net.training.registry import losses

    models = list(PUBLISHED_MODELS)
    recipes = packaged_recipes()
    part_names = [*frontends.names(), *aggregations.names(), *backends.names()]
    return {
        "train recipe": recipes,
        "info model": ["recipe", "published", *models, *part_names, *losses.names(), *effects.names()],
        "augment condition": effects.names(),
        "experiment reproduce row": [row.id for row in published_rows()],
        "config": models + recipes,
        "architecture": models + recipes,
        "device": ["auto", "cpu", "cuda"],
    }
