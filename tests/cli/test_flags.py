"""Commands from functions: flags of a signature, help of a docstring, and the call with what was parsed."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from nes2net.cli.entry import OneLineParser, run
from nes2net.cli.flags import Count, File, Flag, add_command, called


@dataclass(frozen=True)
class Base:
    """Base.

    Args:
        speed: how fast
    """

    speed: float = 0.5


@dataclass(frozen=True)
class Further(Base):
    """What else there is.

    Args:
        num_samples: how many
    """

    num_samples: Count | None = None


CALLS = []


@called(resumes=False, names={"elsewhere": "--out"})
def make_all(
    corpus: Annotated[str, Flag(choices=lambda: ["one", "two"])],
    files: Sequence[str] = (),
    *,
    out: File,
    how: Literal["head", "random"] = "head",
    json_: bool = False,
    set_: Annotated[Sequence[str], Flag("KEY=VALUE", repeated=True)] = (),
    also: Sequence[Sequence[int]] = (),
    alone: Annotated[float | None, Flag("MS", nargs="?", const=0.0)] = None,
    further: Further,
    hidden: str | None = None,
) -> int:
    """Make everything.

    Some words,
    100 % true.

    Example:
        make-all one --out x

    Args:
        corpus: which
        files: some
        out: where
        json_: as JSON

    Which of them:
        how: in which
            way
        set_: 5 %
        also: pairs
        alone: maybe
    """
    CALLS.append((corpus, files, out, how, json_, set_, also, alone, further, hidden))
    return 1


@pytest.fixture
def parser():
    parser = OneLineParser(prog="program")
    add_command(parser.add_subparsers(), make_all)
    return parser


def make(parser, *words):
    return run(lambda args: args.function(args), parser, ["make-all", *words])


def test_defaults_and_values(parser):
    assert make(parser, "two", "--out", "o") == 1
    assert CALLS.pop() == ("two", [], "o", "head", False, [], [], None, Further(), None)
    words = "one a b --out o --how random --json --set a=1 --set b=2 --also 1 2 --also 3 --alone --samples 3 --speed 2"
    assert make(parser, *words.split(), "--hidden", "h") == 1
    further = Further(2.0, 3)
    expected = ("one", ["a", "b"], "o", "random", True, ["a=1", "b=2"], [[1, 2], [3]], 0.0, further, "h")
    assert CALLS.pop() == expected


def test_help(parser):
    (command,) = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices.values()
    text = command.format_help()
    assert "Make everything." in text and "Some words, 100 % true." in text and "example:\n  make-all one" in text
    groups = {group.title: [action.dest for action in group._group_actions] for group in command._action_groups}
    assert groups["which of them"] == ["how", "set_", "also", "alone"]
    assert groups["what else there is"] == ["speed", "num_samples"]
    assert "in which way (default: head)" in text and "5 %" in text and "--hidden" not in text
    assert command.flags()["num_samples"] == "--samples" and command.flags()["elsewhere"] == "--out"
    assert command.resumes is False


@pytest.mark.parametrize(
    "words, message",
    [
        ("three --out o", "invalid choice: 'three'; known: one, two"),
        ("one", "the following arguments are required: --out"),
        ("one --out o --samples 0", "--samples is at least 1, not 0"),
        ("one --out o --sampels 1", "did you mean '--samples'?"),
        ("one --out o --speed fast", "invalid float value: 'fast'"),
    ],
)
def test_errors(parser, words, message, refused):
    refused(words, message, program=lambda words: make(parser, *words))
    assert not CALLS


def one(name: str) -> int:
    """Do one thing.

    Args:
        name: which
    """
    CALLS.append(name)
    return 3


@called(ways=(one, make_all))
def group() -> None:
    """Do one thing or another."""


def test_ways(capsys):
    """A command with ways has a page of help that names them; each way is a command below it."""
    parser = OneLineParser(prog="program")
    add_command(parser.add_subparsers(), group)
    assert list(parser.commands()) == ["group", "group one", "group make-all"]
    text = " ".join(parser.commands()["group"].format_help().split())
    assert "one Do one thing" in text and "make-all Make everything" in text
    assert run(lambda args: args.function(args), parser, ["group", "one", "it"]) == 3 and CALLS.pop() == "it"
    with pytest.raises(SystemExit):
        run(lambda args: args.function(args), parser, ["group", "on"])
    assert "program group: error: unknown command 'on'; did you mean 'one'?" in capsys.readouterr().err
