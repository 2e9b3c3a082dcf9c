"""`nes2net published`: run a published program without a clone of the repository."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Annotated, Literal

from nes2net.lib.shell.commands import Flag, command_facts

Program = Literal["main", "easy_inference_demo", "evaluate_2021_LA", "evaluate_2021_DF", "Cal_EER_in_the_wild"]


@command_facts(
    about="nes2net published PROGRAM --help lists the arguments of a program.",
    resumes=False,
)
def published(
    program: Annotated[Program, Flag("PROGRAM")],
    arguments: Annotated[Sequence[str], Flag("...", nargs=argparse.REMAINDER)],
) -> int:
    """Run a published program, with its flags and printed lines.

    Example:
        nes2net published evaluate_2021_DF scores.txt keys eval

    Args:
        program: main: train, average and score; easy_inference_demo: score one audio file; evaluate_2021_LA: min t-DCF
            and EER of a score file on ASVspoof 2021 LA; evaluate_2021_DF, Cal_EER_in_the_wild: EER of a score file on
            ASVspoof 2021 DF or In-the-Wild
        arguments: arguments of the program, passed on unchanged
    """
    from nes2net.cli.published import easy_inference_demo, evaluation, main

    programs = {
        "main": main.main,
        "easy_inference_demo": easy_inference_demo.main,
        "evaluate_2021_LA": evaluation.evaluate_2021_la,
        "evaluate_2021_DF": evaluation.evaluate_2021_df,
        "Cal_EER_in_the_wild": evaluation.cal_eer_in_the_wild,
    }
    return programs[program](arguments, f"nes2net published {program}")
