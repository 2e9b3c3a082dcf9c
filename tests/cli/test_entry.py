"""The help of every command and published program: one page with an example that is accepted."""

import shlex

import pytest

from nes2net.cli.main import build_parser
from nes2net.cli.published import easy_inference_demo
from nes2net.cli.published import main as published_main
from nes2net.lib.command_line import command_of


@pytest.fixture(scope="module")
def parsers():
    """The parser of all commands, those of the commands, and those of published programs, by what is typed."""
    main = build_parser()
    published = [published_main.build_parser(), published_main.build_parser("nes2net published main")]
    published = {parser.prog: parser for parser in (*published, easy_inference_demo.build_parser())}
    return main, {f"nes2net {name}": parser for name, parser in main.commands().items()}, published


def test_the_example_of_each_command_is_accepted(parsers):
    main, commands, published = parsers
    for name, parser in {"nes2net": main, **commands, **published}.items():
        words = shlex.split(parser.example.replace("\\\n", " ").splitlines()[0].partition(" > ")[0])
        typed = command_of(name).split()
        assert words[: len(typed)] == typed
        if name in published:
            parser.parse_args(words[len(typed) :])
        else:
            assert main.parse_args(words[1:]).parser.prog.startswith(name)


def test_help_is_one_page_that_begins_with_an_example(parsers, monkeypatch):
    """A page has 80 columns and 60 lines; if there are more than twelve options, the others stand in named groups."""
    monkeypatch.setenv("COLUMNS", "80")
    main, commands, published = parsers
    for name, parser in {"nes2net": main, **commands, **published}.items():
        text = parser.format_help()
        lines = text.splitlines()
        assert max(map(len, lines)) <= 80, name
        assert "example:" in lines[:10], name
        assert all(f"  {line}" in lines for line in parser.example.splitlines()), "it was wrapped"
        if name not in published:
            options = [action for action in parser._optionals._group_actions if action.option_strings]
            assert len(lines) <= 60, name
            assert len(options) <= 12, name
