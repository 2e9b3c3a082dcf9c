"""The help of every command and published program: one page with an example that is accepted."""

import argparse
import re
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


def test_every_example_is_accepted(parsers):
    """It is one command, which may go on in a second line."""
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
    """Of 80 columns; one of more than a dozen options is found in a group, by what it is about."""
    monkeypatch.setenv("COLUMNS", "80")
    main, commands, published = parsers
    for name, parser in {"nes2net": main, **commands, **published}.items():
        text = parser.format_help()
        assert not re.search(r"\(default: (None|\[|False)", text), name
        lines = text.splitlines()
        assert max(map(len, lines)) <= 80, name
        assert "example:" in lines[:10], name
        assert all(f"  {line}" in lines for line in parser.example.splitlines()), "it was wrapped"
        if name not in published:
            options = [action for action in parser._optionals._group_actions if action.option_strings]
            assert len(lines) <= 60, name
            assert len(options) <= 12, name


def test_help_tells_a_default_that_depends_on_the_device(parsers):
    _, commands, _ = parsers
    text = " ".join(commands["nes2net predict"].format_help().split())
    assert "windows at once (8, or 64 on a GPU)" in text
    assert "-h, --help show this help message and exit --" in text


def test_there_are_at_most_21_commands(parsers):
    main, _, _ = parsers
    assert len([name for name in main.commands() if " " not in name]) <= 21


def test_only_the_task_of_an_experiment_is_hidden(parsers):
    """Processes of an experiment tell it each other."""
    _, commands, _ = parsers
    actions = [(name, action) for name, command in commands.items() for action in command._actions]
    hidden = [f"{name} {action.dest}" for name, action in actions if action.help == argparse.SUPPRESS]
    assert hidden == ["nes2net experiment run task"]


def test_options_are_grouped_by_what_they_are_about(parsers):
    _, commands, _ = parsers
    score = commands["nes2net score"]
    groups = {group.title: [action.dest for action in group._group_actions] for group in score._action_groups}
    assert groups["which trials"] == ["split", "protocols"]  # of the function's docstring
    assert groups["computing"] == ["batch_size", "num_workers", "compile"]  # and of a class of settings


def test_help_of_score_explains_its_exit_status(parsers):
    score = parsers[1]["nes2net score"]
    assert "Exit status 1 means that files failed." in " ".join(score.format_help().split())


def test_flags_with_several_values_or_none_are_parsed(parsers):
    main, _, _ = parsers
    thresholds = "--threshold-from c d"
    also = "--also generic s k --also generic t k dev"
    parsed = main.parse_args(f"evaluate generic a b {thresholds} {also} --resamples 5 --exclude".split())
    assert (parsed.scores, parsed.threshold_from, parsed.exclude) == (["a", "b"], ["c", "d"], [])
    assert parsed.also == [["generic", "s", "k"], ["generic", "t", "k", "dev"]]
    assert parsed.num_resamples == 5
    parsed = main.parse_args("score generic --model m --out o --segments --overwrite".split())
    assert (parsed.root, parsed.segments, parsed.overwrite, parsed.compile) == (None, 0.0, True, False)
    assert main.parse_args(["bench"]).files == []
