"""The help of every command: an example that is accepted, no empty defaults, 80 columns."""

import argparse
import shlex

import pytest

from nes2net.cli.entry import OneLineParser
from nes2net.cli.main import build_parser
from nes2net.cli.published import easy_inference_demo
from nes2net.cli.published import main as published_main


def commands(parser: argparse.ArgumentParser) -> dict[str, OneLineParser]:
    """The parsers of all commands by their names, commands of commands too."""
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= {inner.prog: inner} | commands(inner)
    return found


COMMANDS = commands(build_parser())
PARSERS = COMMANDS | {p.prog: p for p in (published_main.build_parser(), easy_inference_demo.build_parser())}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_is_accepted(name):
    """It is one command, which may go on in a second line."""
    words = shlex.split(COMMANDS[name].example.replace("\\\n", " "), comments=True)
    assert words[: len(name.split())] == name.split()
    assert f"nes2net {build_parser().parse_args(words[1:]).command}" == name


@pytest.mark.parametrize("name", PARSERS)
def test_help_begins_with_the_example_and_fits_80_columns(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = PARSERS[name].format_help()
    assert "None)" not in text and "(default: [" not in text and "(default: False)" not in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "example:" in lines[:10]
    first = PARSERS[name].example.splitlines()[0]
    assert f"  {first}" in lines, "it was wrapped"
