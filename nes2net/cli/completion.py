"""`nes2net completion`: the script that lets a shell complete commands, flags, files and names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from nes2net.cli.entry import subcommand

#: For a shell, a function that completes one of ``names`` or a file.
_NAME_OR_FILE = {
    "bash": '_nes2net_{kind}_or_file() {{ compgen -W "{names}" -- "$1"; compgen -f -- "$1"; }}',
    "zsh": "_nes2net_{kind}_or_file() {{ _alternative '{kind}:{kind}:({names})' 'files:file:_files' }}",
}


def add(commands: argparse._SubParsersAction, parser: argparse.ArgumentParser) -> None:
    """Add the subcommand; ``parser`` is the one with all commands."""
    text = "Print the script with which a shell completes commands"
    example = """nes2net completion bash > ~/.nes2net_completion
echo "source ~/.nes2net_completion" >> ~/.bashrc"""
    command = subcommand(commands, "completion", partial(_print, parser), text, example=example)
    command.epilog = (
        "Write the script anew after an update of nes2net. docs/install.md has the lines for the other shells."
    )
    command.resumes = False
    command.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="which shell")


def _print(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    import shtab

    names = _names()
    for command, action in _actions_with_value(parser):
        kind = next((kind for kind in (f"{command} {action.dest}", action.dest) if kind in names), None)
        function = {} if kind is None else dict.fromkeys(_NAME_OR_FILE, f"_nes2net_{_identifier(kind)}_or_file")
        action.complete = shtab.FILE | function  # type: ignore[attr-defined]
    form = _NAME_OR_FILE.get(args.shell, "")
    functions = (form.format(kind=_identifier(kind), names=" ".join(of)) for kind, of in names.items())
    print(shtab.complete(parser, args.shell, preamble="\n".join(functions)))


def _identifier(kind: str) -> str:
    return kind.replace(" ", "_")


def _names() -> dict[str, list[str]]:
    """The names that an argument takes besides files, by its command and destination, or by the latter alone."""
    from nes2net.experiments.published import published_rows
    from nes2net.published_models import PUBLISHED_MODELS
    from nes2net.recipes.reading import packaged_recipes
    from nes2net.registry import aggregations, backends, effects, frontends, losses

    models, recipes = list(PUBLISHED_MODELS), packaged_recipes()
    parts = [*frontends.names(), *aggregations.names(), *backends.names()]
    return {
        "train recipe": recipes,
        "info model": ["recipe", "published", *models, *parts, *losses.names(), *effects.names()],
        "augment condition": effects.names(),
        "reproduce row": [row.id for row in published_rows()],
        "config": models + recipes,
        "architecture": models + recipes,
        "device": ["auto", "cpu", "cuda"],
    }


def _actions_with_value(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """Yield each argument that takes a text or a file, with the name of its command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from ((name, inner) for _, inner in _actions_with_value(command))
        elif action.nargs != 0 and not action.choices and action.type in (None, Path):
            yield "", action
