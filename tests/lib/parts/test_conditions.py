"""Conditions of flags are declared beside them, checked before the command runs, and worded alike."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from builders import input_error
from builders.command_fixtures import runner_of

from nes2net.lib.parts.conditions import NotWith, UsedWith


@dataclass(frozen=True)
class Drawing:
    """How to draw."""

    width: int = 4
    colour: Annotated[str | None, UsedWith("style=solid", "style=dotted")] = None


def draw(
    *,
    style: str = "none",
    plot: str | None = None,
    table: Annotated[bool, NotWith("plot")] = False,
    drawing: Annotated[Drawing, UsedWith("plot")],
) -> None:
    """Draw."""


@pytest.fixture
def run():
    return runner_of(draw)


@pytest.mark.parametrize("words", ["", "--plot a", "--table", "--plot a --width 5 --style solid --colour red"])
def test_flags_whose_declared_conditions_are_met_are_accepted(run, words):
    run(words)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--width 5", "`width` is used only with `plot`: remove it, or add `plot`"),
        ("--plot a --table", "`table` and `plot` exclude each other: remove one of them"),
        (
            "--plot a --colour red",
            "`colour` is used only with `style=solid` or `style=dotted`, not with `style=none`: remove it",
        ),
    ],
)
def test_a_flag_whose_declared_condition_is_not_met_is_refused(run, words, message):
    with input_error(message):
        run(words)
