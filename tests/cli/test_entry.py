"""The help of every command: an example that is accepted, no empty defaults, 80 columns."""

import shlex

import pytest

from nes2net.cli.entry import command_of
from nes2net.cli.main import build_parser
from nes2net.cli.published import easy_inference_demo
from nes2net.cli.published import main as published_main

COMMANDS = {f"nes2net {name}": parser for name, parser in build_parser().commands().items()}
PUBLISHED = [published_main.build_parser(), published_main.build_parser("nes2net published main")]
PUBLISHED.append(easy_inference_demo.build_parser())
PARSERS = COMMANDS | {parser.prog: parser for parser in PUBLISHED}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_is_accepted(name):
    """It is one command, which may go on in a second line."""
    text = COMMANDS[name].example.replace("\\\n", " ")
    words = shlex.split(text.splitlines()[0].partition(" > ")[0])
    assert words[: len(name.split())] == name.split()
    assert build_parser().parse_args(words[1:]).parser.prog.startswith(name)


@pytest.mark.parametrize("parser", PUBLISHED, ids=lambda parser: parser.prog)
def test_the_example_of_a_published_program_is_accepted(parser):
    words = shlex.split(parser.example.replace("\\\n", " "))
    start = len(command_of(parser.prog).split())
    assert words[:start] == command_of(parser.prog).split()
    parser.parse_args(words[start:])


@pytest.mark.parametrize("name", PARSERS)
def test_help_begins_with_the_example_and_fits_80_columns(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = PARSERS[name].format_help()
    assert "(default: None)" not in text and "(default: [" not in text and "(default: False)" not in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "example:" in lines[:10]
    assert all(f"  {line}" in lines for line in PARSERS[name].example.splitlines()), "it was wrapped"


def test_a_default_is_shown_where_it_says_something():
    text = " ".join(COMMANDS["nes2net predict"].format_help().split())
    assert "to the next (default: 0.5)" in text
    assert "-h, --help show this help message and exit --" in text


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_many_options_are_in_groups(command):
    """A reader finds one of more than a dozen options by what it is about."""
    options = [action for action in command._optionals._group_actions if action.option_strings]
    assert len(options) <= 12
