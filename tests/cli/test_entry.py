"""The help of every command and published program: one page with an example that is accepted."""

import argparse
import shlex

import pytest

from nes2net.cli.entry import command_of
from nes2net.cli.main import build_parser
from nes2net.cli.published import easy_inference_demo
from nes2net.cli.published import main as published_main

MAIN = build_parser()
COMMANDS = {f"nes2net {name}": parser for name, parser in MAIN.commands().items()}
PUBLISHED = [published_main.build_parser(), published_main.build_parser("nes2net published main")]
PUBLISHED.append(easy_inference_demo.build_parser())
PARSERS = {"nes2net": MAIN} | COMMANDS | {parser.prog: parser for parser in PUBLISHED}


@pytest.mark.parametrize("name", PARSERS)
def test_the_example_is_accepted(name):
    """It is one command, which may go on in a second line."""
    text, typed = PARSERS[name].example.replace("\\\n", " "), command_of(name).split()
    words = shlex.split(text.splitlines()[0].partition(" > ")[0])
    assert words[: len(typed)] == typed
    parser = PARSERS[name] if PARSERS[name] in PUBLISHED else MAIN
    assert parser.parse_args(words[len(typed) if parser in PUBLISHED else 1 :]).parser.prog.startswith(name)


@pytest.mark.parametrize("name", PARSERS)
def test_help_begins_with_the_example_and_is_one_page(name, monkeypatch):
    """Of 80 columns; one of more than a dozen options is found in a group, by what it is about."""
    monkeypatch.setenv("COLUMNS", "80")
    text = PARSERS[name].format_help()
    assert "(default: None)" not in text and "(default: [" not in text and "(default: False)" not in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80 and "example:" in lines[:10]
    assert all(f"  {line}" in lines for line in PARSERS[name].example.splitlines()), "it was wrapped"
    if PARSERS[name] not in PUBLISHED:
        options = [action for action in PARSERS[name]._optionals._group_actions if action.option_strings]
        assert len(lines) <= 60 and len(options) <= 12


def test_every_flag_has_a_meaning_and_a_default_that_says_something():
    """Only what processes of an experiment tell each other is hidden."""
    text = " ".join(COMMANDS["nes2net predict"].format_help().split())
    assert "to the next (default: 0.5)" in text
    assert "-h, --help show this help message and exit --" in text
    assert len([name for name in MAIN.commands() if " " not in name]) <= 20
    actions = [(name, action) for name, command in COMMANDS.items() for action in command._actions]
    hidden = [f"{name} {one.dest}" for name, one in actions if one.help == argparse.SUPPRESS]
    assert hidden == ["nes2net experiment run task"]
