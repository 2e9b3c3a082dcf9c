"""The help of every command and published program: one page with an example that is accepted."""

import shlex

import pytest

from nes2net.cli.main import build_parser
from nes2net.cli.published import easy_inference_demo
from nes2net.cli.published import main as published_main
from nes2net.lib.shell.command_line import command_of


@pytest.fixture(scope="module")
def parsers():
    """The parser of all commands, those of the commands, and those of published programs, by what is typed."""
    main = build_parser()
    published = [published_main.build_parser(), published_main.build_parser("nes2net published main")]
    published = {parser.prog: parser for parser in (*published, easy_inference_demo.build_parser())}
    return main, {f"nes2net {name}": parser for name, parser in main.commands().items()}, published


def example(parser):
    """The words of the example of a parser."""
    return shlex.split(parser.example.replace("\\\n", " ").splitlines()[0].partition(" > ")[0])


def test_the_example_of_each_command_is_accepted(parsers):
    main, commands, _ = parsers
    for name, parser in {"nes2net": main, **commands}.items():
        words = example(parser)
        assert words[0] == "nes2net"
        assert main.parse_args(words[1:]).parser.prog.startswith(name)


def test_the_example_of_each_published_program_is_accepted(parsers):
    *_, published = parsers
    for name, parser in published.items():
        words = example(parser)
        typed = command_of(name).split()
        assert words[: len(typed)] == typed
        parser.parse_args(words[len(typed) :])


def test_the_help_of_every_program_fits_80_columns(parsers, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main, commands, published = parsers
    for parser in (main, *commands.values(), *published.values()):
        assert max(map(len, parser.format_help().splitlines())) <= 80, parser.prog


def test_the_help_of_a_command_has_at_most_60_lines(parsers, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main, commands, _ = parsers
    for parser in (main, *commands.values()):
        assert len(parser.format_help().splitlines()) <= 60, parser.prog
