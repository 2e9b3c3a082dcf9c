"""Flags made from signatures: each number of a command line has a range, and infinity and NaN are in none."""

import pytest
from builders import input_error
from builders.command_fixtures import runner_of

from nes2net.apps.explanation.settings import How
from nes2net.cli.main import build_parser
from nes2net.lib.shell.commands import Count, Milliseconds, Seconds


def measure(
    *, times: Count = 1, offset: int = 0, gain: float = 1.0, hop: Seconds = 0.5, every: Milliseconds = 20
) -> None:
    """Measure."""


@pytest.fixture
def run():
    return runner_of(measure)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--gain nan", "`gain` must be a number, not nan"),
        ("--gain=-inf", "`gain` must be a number, not -inf"),
        ("--gain 1e400", "`gain` must be a number, not inf"),
        (f"--offset {2**63}", "`offset` must be a number and below 2⁶³, not 9223372036854775808"),
        (f"--times {10**30}", "`times` must be at least 1 and below 2⁶³"),
        ("--hop -1", "`hop` must be from 0.001 to 1e[+]09, not -1"),
        ("--hop inf", "`hop` must be from 0.001"),
        ("--every nan", "`every` must be from 0.001"),
    ],
)
def test_a_number_that_no_computation_can_use_is_refused_before_the_command_runs(run, words, message):
    run("--gain -3.5 --offset -4 --times 9")
    with input_error(message):
        run(words)


def test_every_number_of_every_command_has_a_range_and_no_seconds_are_negative():
    for name, parser in build_parser().commands().items():
        for action in parser._actions:
            if action.type in (int, float):
                low, _ = parser.ranges[action.dest]
                lowest = 0 if action.metavar in ("S", "MS") else low
                assert low >= lowest, f"{name} {action.option_strings}"


@pytest.mark.parametrize("seed", [2**63, float("inf"), float("nan")])
def test_a_setting_in_python_is_refused_as_its_flag_is(seed):
    with input_error("`seed` must be at least 0"):
        How(seed=seed)
