"""`nes2net published`: run a published program where there is no clone of the repository."""

from __future__ import annotations

import argparse

from nes2net.cli.entry import subcommand

#: The published programs by name; each takes its own arguments.
PROGRAMS = {
    "main": "train, average and score",
    "easy_inference_demo": "score one audio file",
    "evaluate_2021_LA": "min t-DCF and EER of a score file on ASVspoof 2021 LA",
    "evaluate_2021_DF": "EER of a score file on ASVspoof 2021 DF",
    "Cal_EER_in_the_wild": "EER of a score file on In-the-Wild",
}


def add(commands: argparse._SubParsersAction) -> None:
    text = "Run a published program, with its flags and printed lines"
    example = "nes2net published evaluate_2021_DF scores.txt keys eval"
    parser = subcommand(commands, "published", _run, text, example=example)
    parser.epilog = "nes2net published PROGRAM --help lists the arguments of a program."
    parser.resumes = False
    width = max(map(len, PROGRAMS)) + 2
    parser.add_argument_group("programs", "\n".join(f"{name:{width}}{does}" for name, does in PROGRAMS.items()))
    parser.add_argument("program", choices=list(PROGRAMS), metavar="PROGRAM", help="one of those below")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments, which it gets as they are"
    )


def _run(args: argparse.Namespace) -> int:
    from nes2net.cli.published import easy_inference_demo, evaluation, main

    programs = {
        "main": main.main,
        "easy_inference_demo": easy_inference_demo.main,
        "evaluate_2021_LA": evaluation.evaluate_2021_la,
        "evaluate_2021_DF": evaluation.evaluate_2021_df,
        "Cal_EER_in_the_wild": evaluation.cal_eer_in_the_wild,
    }
    return programs[args.program](args.arguments, f"nes2net published {args.program}")
