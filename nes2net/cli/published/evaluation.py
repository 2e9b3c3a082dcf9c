"""The published evaluation commands, with their arguments and printed lines.

The published scripts only count rows, but the commands here compare the ids of trials. Therefore
some inputs that the scripts accept are errors here (see ``nes2net.evaluation.matching.match``). If
a check of the published scripts fails, the commands here print the message of the scripts, and
return the exit status 1 like the scripts. Every other error is one line on standard error, with exit status 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from nes2net import metrics
from nes2net.data.corpora import asvspoof2021_df, asvspoof2021_la, in_the_wild
from nes2net.data.corpora.protocol import first_file
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.matching import Matched, match
from nes2net.lib.errors import InputError, settings_called, with_flag_names
from nes2net.lib.output.terminal import print_output, say_aside, standard_output
from nes2net.lib.shell.command_line import OneLineParser, command_of
from nes2net.lib.storage.text_files import parse_float, read_rows, read_text
from nes2net.scoring.score_file import read_scores

_PHASES = ("progress", "eval", "hidden_track", "hidden")


class _FailedCheck(Exception):
    """Ends a program like a failed check of the published scripts: with their message, and exit status 1."""

    def __init__(self, out: str = "", error: str = "") -> None:
        self.out = out
        self.error = error


def _with_status(program: Callable[..., None]) -> Callable[..., int]:
    """Return exit status 1 after :class:`_FailedCheck`, 2 after :class:`InputError`, else 0, and print the error."""

    @wraps(program)
    def run(*arguments: Any, **options: Any) -> int:
        with settings_called({"allow_partial": "--allow-partial"}):
            try:
                program(*arguments, **options)
            except _FailedCheck as stop:
                for text, stream in ((stop.out, standard_output()), (stop.error, sys.stderr)):
                    if text:
                        print(with_flag_names(text), file=stream)
                return 1
            except InputError as error:
                say_aside(f"error: {error}")
                return 2
        return 0

    return run


@_with_status
def evaluate_2021_la(arguments: Sequence[str] | None = None, prog: str = "evaluate_2021_LA.py") -> None:
    """Run ``evaluate_2021_LA.py SCORES KEYS PHASE``: print min t-DCF, and the EER in %.

    A warning is printed if the negated scores have the same or a lower min t-DCF. If there are
    fewer than three distinct scores, the program ends with an error, like the published script.
    """
    options = _parse_2021("LA", arguments, prog)
    matched_trials = _match_2021(asvspoof2021_la.CORPUS.keys, options, ignores_columns=True)
    asv = asvspoof2021_la.asv_scores(options.keys, options.phase)
    if np.unique(matched_trials.scores).size < 3:
        raise _FailedCheck(error="ERROR: You should provide soft CM scores - not binary decisions")
    min_tdcf = metrics.compute_min_tdcf(matched_trials.bonafide, matched_trials.spoof, *asv)
    min_tdcf_of_negated = metrics.compute_min_tdcf(-matched_trials.bonafide, -matched_trials.spoof, *asv)
    eer, _ = metrics.compute_eer(matched_trials.bonafide, matched_trials.spoof)
    print_output(f"min_tDCF: {min_tdcf:.4f}\neer: {100 * eer:.2f}")
    if min_tdcf_of_negated < min_tdcf:
        print_output(
            "CHECK: we negated your scores and achieved a lower min t-DCF. "
            f"Before: {min_tdcf:.3f} - Negated: {min_tdcf_of_negated:.3f} - "
            "your class labels are swapped during training... this will result in poor challenge ranking"
        )
    if min_tdcf_of_negated == min_tdcf:
        print_output(
            "WARNING: your classifier might not work correctly, we checked if negating your scores gives different min t-DCF "
            "- it does not. Are all values the same?"
        )


@_with_status
def evaluate_2021_df(arguments: Sequence[str] | None = None, prog: str = "evaluate_2021_DF.py") -> None:
    """Run ``evaluate_2021_DF.py SCORES KEYS PHASE``: print the EER in %."""
    matched_trials = _match_2021(asvspoof2021_df.CORPUS.keys, _parse_2021("DF", arguments, prog))
    eer, _ = metrics.compute_eer(matched_trials.bonafide, matched_trials.spoof)
    print_output(f"eer: {100 * eer:.2f}\n")  # a blank line follows, as published


@_with_status
def cal_eer_in_the_wild(arguments: Sequence[str] | None = None, prog: str = "Cal_EER_in_the_wild.py") -> None:
    """Run ``Cal_EER_in_the_wild.py --path SCORES [--labels_file META]``: print the EER as a fraction."""
    parser = OneLineParser(
        prog=prog,
        description="EER of a score file on In-the-Wild, by the rule of the published figures.",
        example=f"{command_of(prog)} --path scores.txt \\\n  --labels_file release_in_the_wild/meta.csv",
    )
    parser.add_argument("--path", required=True, help="score file: one line 'utterance score' a trial")
    parser.add_argument(
        "--labels_file",
        help="meta.csv of the corpus, or its folder (default: beside the score file, here, or release_in_the_wild)",
    )
    _add_allow_partial(parser)
    options = parser.parse_args(arguments)
    ids, scores = read_scores(options.path)
    score_folder = Path(options.path).parent
    folders = [score_folder, Path("."), Path("release_in_the_wild"), score_folder / "release_in_the_wild"]
    labels = options.labels_file or first_file(
        [folder / "meta.csv" for folder in folders],
        what="key of In-the-Wild",
        remedy="give --labels_file the path of meta.csv, which comes with the audio",
    )
    matched_trials = match(in_the_wild.CORPUS.keys(labels), ids, scores, allow_partial=options.allow_partial)
    _say_if_partial(matched_trials)
    eer, _ = matched_trials.eer_rule(in_the_wild.CORPUS.eer_method)(matched_trials.bonafide, matched_trials.spoof)
    print_output(f"EER: {eer}")


class _InstructingParser(OneLineParser):
    """A parser that, like the scripts of ASVspoof 2021, prints its help if the arguments are wrong."""

    def error(self, message: str) -> NoReturn:
        instruction = "CHECK: invalid input arguments. Please read the instruction below:"
        raise _FailedCheck(f"{instruction}\n{self.format_help()}", f"error: {message}")


def _parse_2021(track: str, arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = _InstructingParser(
        prog=prog,
        description=f"The figures of ASVspoof 2021 {track} for a score file.",
        example=f"{command_of(prog)} scores.txt keys eval",
    )
    parser.add_argument("scores", metavar="PATH_TO_SCORE_FILE", help="one line 'utterance score' a trial of all phases")
    parser.add_argument(
        "keys", metavar="PATH_TO_GROUNDTRUTH_DIR", help=f"folder of the keys, such as keys or keys/{track}"
    )
    parser.add_argument("phase", help="progress, eval, or hidden_track")
    _add_allow_partial(parser)
    return parser.parse_args(arguments)


def _add_allow_partial(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--allow-partial", action="store_true", help="evaluate the trials that fit when others do not")


def _match_2021(
    keys: Callable[[str], list[Trial]], options: argparse.Namespace, ignores_columns: bool = False
) -> Matched:
    """Match trials and scores, after the checks of the published scripts.

    Columns behind ids and scores are refused without ``ignores_columns``.
    """
    for path in (options.scores, options.keys):
        if not Path(path).exists():
            raise _FailedCheck(f"{path} doesn't exist")
    if options.phase not in _PHASES:
        raise _FailedCheck("phase must be either progress, eval, or hidden_track")
    path = Path(options.scores)
    num_columns = len(read_text(path).partition("\n")[0].split())
    if num_columns <= 2:
        ids, scores = read_scores(path)
    elif ignores_columns:
        rows = list(read_rows(path, num_columns, "as in line 1"))
        ids = [row[0] for _, row in rows]
        scores = np.array([parse_float(row[1], path, line) for line, row in rows])
    else:
        raise _FailedCheck(
            f"CHECK: submission has more columns ({num_columns}) than expected (2). Check for leading/ending blank spaces."
        )
    trials = keys(options.keys)
    # Unless partial results are allowed, each trial of the key must have a score, even a trial of another phase.
    if not options.allow_partial:
        try:
            match(trials, ids, scores)
        except InputError as error:
            detail = f"{options.scores}: {error}"
            num_scored = len(set(ids))
            if num_scored != len(trials):
                raise _FailedCheck(
                    f"CHECK: submission has {num_scored} of {len(trials)} expected trials.", detail
                ) from error
            if not np.isfinite(scores[np.isin(ids, [trial.id for trial in trials])]).all():
                raise _FailedCheck(error=f"{detail}\nERROR: Your scores contain nan or inf.") from error
            raise InputError(detail) from error
    matched_trials = match(trials, ids, scores, options.phase, allow_partial=options.allow_partial)
    _say_if_partial(matched_trials)
    return matched_trials


def _say_if_partial(matched_trials: Matched) -> None:
    if matched_trials.mismatch:
        evaluated = f"{len(matched_trials.trials)} of {matched_trials.num_expected} trials"
        say_aside(f"partial: rests on {evaluated}; {matched_trials.mismatch.describe(matched_trials.num_expected)}")
