"""Flags of commands that decide: a calibration, a prior, an operating point, and when not to decide."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from nes2net.errors import InputError

if TYPE_CHECKING:
    from nes2net.decisions.decision import Decider

_ONLY_WITH = {"prior": "--prior", "operating_point": "--operating-point", "abstain": "--abstain"}


def add_calibration(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--calibration`` and what goes with it.

    Args:
        text: help of ``--calibration``: what a command does with it.
    """
    add_one = parser.add_argument_group("what the score means").add_argument
    add_one("--calibration", metavar="FILE", help=text)
    add_one("--prior", type=float, metavar="P", help="prior of bona fide, with --calibration; 0.5 if not given")
    add_one(
        "--operating-point",
        metavar="POINT",
        help="where to decide, with --calibration: eer, cost:CMISS,CFA,PRIOR, fa:RATE%% or miss:RATE%% (on the "
        "calibration's own trials); the Bayes threshold of --prior if not given",
    )
    add_one(
        "--abstain",
        type=float,
        metavar="SHARE",
        help="say 'cannot tell' of a recording if at most this share of the calibration's recordings is as unusual; "
        "0.01 if not given, 0 for never",
    )


def decider_of(args: argparse.Namespace) -> Decider | None:
    """What the flags ask for; None without ``--calibration``.

    Raises:
        InputError: if the file or a number cannot be used, or a flag needs ``--calibration``.
    """
    from nes2net.decisions.calibration import load
    from nes2net.decisions.decision import Decider
    from nes2net.decisions.operating_point import OperatingPoint

    settings = check_calibration(args)
    if args.calibration is None:
        return None
    if "operating_point" in settings:
        settings["operating_point"] = OperatingPoint.parse(settings["operating_point"])
    return Decider(load(args.calibration), **settings)


def check_calibration(args: argparse.Namespace) -> dict[str, Any]:
    """The settings beside ``--calibration`` that were given.

    Raises:
        InputError: if there are some without ``--calibration``.
    """
    given = {name: getattr(args, name) for name in _ONLY_WITH if getattr(args, name) is not None}
    if given and args.calibration is None:
        flag = _ONLY_WITH[next(iter(given))]
        raise InputError(f"{flag} goes with a calibration: name one with --calibration, or leave it out")
    return given
