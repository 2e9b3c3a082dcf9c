"""`nes2net calibrate`, `fuse` and `apply-calibration`: turn scores into log-likelihood ratios."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nes2net.cli.entry import subcommand
from nes2net.errors import InputError
from nes2net.machine.terminal import printable, say_written, table_line
from nes2net.registry import corpora

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nes2net.corpora.corpus import Corpus
    from nes2net.corpora.trial import Trial
    from nes2net.decisions.calibration import LinearCalibration

# Figure → heading and factor.
_COLUMNS = {
    "eer": ("EER %", 100),
    "min_dcf": ("minDCF", 1),
    "act_dcf": ("actDCF", 1),
    "min_cllr": ("min Cllr", 1),
    "cllr": ("Cllr", 1),
}

_CALIBRATE = """nes2net calibrate asvspoof2019_la dev.txt --keys DB --save calibration.json \\
  --apply eval.txt --out calibrated.txt"""
_FUSE = """nes2net fuse asvspoof2019_la A_dev.txt B_dev.txt --keys DB --save f.json \\
  --apply A_eval.txt B_eval.txt --out fused.txt"""
_APPLY = "nes2net apply-calibration calibration.json eval.txt --out calibrated.txt"


def add(commands: argparse._SubParsersAction) -> None:
    trained = (
        ("calibrate", "Turn scores into log-likelihood ratios", _CALIBRATE, 1, "score file to train on"),
        ("fuse", "Fuse the scores of several systems into one", _FUSE, "+", "score files to train on, one per system"),
    )
    for name, text, example, nargs, scores in trained:
        parser = subcommand(commands, name, _train, text, example=example)
        parser.description = f"{text}, by logistic regression on labelled scores."
        parser.add_argument("corpus", choices=corpora.names(), help="corpus of the labelled scores")
        parser.add_argument("scores", nargs=nargs, metavar="dev_scores", help=scores)
        parser.add_argument("--keys", default=".", metavar="DIR", help="folder or file of the keys")
        parser.add_argument(
            "--phase", default="dev", help="phase or split to train on; 'all' for your own corpus without parts"
        )
        parser.add_argument("--prior", type=float, default=0.5, help="prior of bona fide, costs included")
        parser.add_argument("--l2", type=float, default=1e-6, help="penalty on the weights of standardised scores")
        parser.add_argument("--save", metavar="FILE", help="file to write the calibration to, for apply-calibration")
        applying = parser.add_argument_group("the scores to calibrate")
        applying.add_argument(
            "--apply",
            nargs="+",
            default=[],
            metavar="SCORES",
            help="score files of the same systems in the same order, to be calibrated",
        )
        _add_applying(applying, out_required=False, corpus="that of the training if not given")
        parser.names |= {"root": "--keys", "protocols": "--keys"}  # some protocols hold the labels
        parser.set_defaults(parameters=None)
    text = "Apply a saved calibration or fusion to scores"
    saved = subcommand(commands, "apply-calibration", _apply_saved, text, example=_APPLY)
    saved.add_argument("parameters", help="file written by --save")
    saved.add_argument("apply", nargs="+", metavar="scores", help="score files, in the order of the systems trained on")
    _add_applying(saved, out_required=True, corpus="no evaluation if not given")
    saved.set_defaults(scores=[])
    saved.names |= {"root": "--eval-keys", "protocols": "--eval-keys"}


def _add_applying(parser: argparse._ActionsContainer, *, out_required: bool, corpus: str) -> None:
    parser.add_argument("--out", required=out_required, metavar="FILE", help="score file to write")
    parser.add_argument("--eval-corpus", choices=corpora.names(), help=f"corpus of the scores to calibrate; {corpus}")
    parser.add_argument("--eval-keys", metavar="DIR", help="its keys, for the figures before and after")
    parser.add_argument("--eval-phase", default="eval", help="its phase or split")
    parser.add_argument(
        "--allow-partial", action="store_true", help="leave out trials whose scores are missing or unusable"
    )


def _train(args: argparse.Namespace) -> int:
    from nes2net.decisions.calibration import figures, fit, separates
    from nes2net.evaluation.aligned import labelled_scores, system_names

    _check_not_read(args, args.out, args.save)
    if bool(args.apply) != bool(args.out):
        raise InputError("--apply and --out go together: what to calibrate, and where to write it")
    if args.apply and len(args.apply) != len(args.scores):
        raise InputError(f"trained on {len(args.scores)} score files, so --apply takes as many, not {len(args.apply)}")
    corpus = corpora.get(args.corpus)
    key = corpus.keys(args.keys)
    corpus.check_phase(args.phase, key)
    bonafide, spoof = labelled_scores(key, args.scores, args.phase, allow_partial=args.allow_partial)
    calibration = fit(bonafide, spoof, prior=args.prior, l2=args.l2, systems=system_names(args.scores))
    trials = {"num_bonafide": len(bonafide), "num_spoof": len(spoof)}
    after = figures(calibration(bonafide), calibration(spoof), corpus.eer_method)
    calibration = replace(
        calibration, trained_on={"corpus": args.corpus, "phase": args.phase, **trials, "figures": after}
    )
    print(
        f"trained on {args.corpus}, phase {args.phase}: {len(bonafide)} bona fide and {len(spoof)} spoofed trials, "
        f"prior {args.prior:g}"
    )
    print(_weights(calibration))
    if separates(calibration, bonafide, spoof):
        print("note: the classes are separated without error here; only --l2 limits the size of the weights")
    rows = _before_and_after(args.phase, calibration, bonafide, spoof, corpus.eer_method)
    if args.apply:
        eval_name, eval_keys = args.eval_corpus or args.corpus, args.eval_keys or args.keys
        eval_corpus, eval_key = corpora.get(eval_name), key
        if (eval_name, eval_keys) != (args.corpus, args.keys):
            eval_key = eval_corpus.keys(eval_keys)
        elif shared := _count_shared(key, args.phase, args.eval_phase):
            print(f"note: {shared} of the trials to evaluate were trained on; the figures flatter the calibration")
        rows += _apply(calibration, args, eval_corpus, eval_key)
    if args.save:
        calibration.save(args.save)
    print(_table(rows))
    for path in filter(None, (args.out, args.save)):
        say_written(path, beside_data=True)
    return 0


def _apply_saved(args: argparse.Namespace) -> int:
    from nes2net.decisions.calibration import load

    _check_not_read(args, args.out)
    calibration = load(args.parameters)
    if len(args.apply) != len(calibration.weights):
        raise InputError(
            f"{args.parameters} needs scores of {len(calibration.weights)} systems ({', '.join(calibration.systems)}), "
            f"but {len(args.apply)} score files are given"
        )
    if args.eval_keys and not args.eval_corpus:
        raise InputError("--eval-keys needs --eval-corpus, to say how to read them")
    print(_weights(calibration))
    corpus = corpora.get(args.eval_corpus) if args.eval_corpus else None
    key = corpus.keys(args.eval_keys or ".") if corpus else []
    rows = _apply(calibration, args, corpus, key)
    if rows:
        print(_table(rows))
    say_written(args.out, beside_data=True)
    return 0


def _check_not_read(args: argparse.Namespace, *written: str | None) -> None:
    """Raise if a file would be read and written, or written twice."""
    read = {Path(path).resolve() for path in filter(None, (*args.scores, *args.apply, args.parameters))}
    for path in filter(None, written):
        if Path(path).resolve() in read:
            raise InputError(f"{path} is one of the files that are read; name another file to write")
    places = [Path(path).resolve() for path in filter(None, written)]
    if len(set(places)) < len(places):
        raise InputError(f"--out and --save are both {written[0]}; name two files")


def _count_shared(key: Sequence[Trial], phase: str, eval_phase: str) -> int:
    """Count the trials that are in both phases; all trials of a corpus without parts are."""
    from nes2net.corpora.protocol import WHOLE, canonical_phase

    asked = {canonical_phase(name) for name in (phase, eval_phase)}
    return sum(trial.phase is None or not asked - {trial.phase, WHOLE} for trial in key)


def _apply(
    calibration: LinearCalibration, args: argparse.Namespace, corpus: Corpus | None, key: Sequence[Trial]
) -> list[tuple[str, dict]]:
    """Write the calibrated scores; return the figures before and after if ``key`` labels them.

    ``corpus`` is that of the key.
    """
    from nes2net.corpora.protocol import WHOLE, canonical_phase
    from nes2net.evaluation.aligned import labelled_scores, unlabelled_scores
    from nes2net.scoring.score_file import write_scores

    if corpus is not None:
        corpus.check_phase(args.eval_phase, key)
    ids, scores = unlabelled_scores(args.apply, allow_partial=args.allow_partial)
    calibrated = calibration(scores)
    rows = []
    phase = canonical_phase(args.eval_phase)
    if corpus is not None and any(trial.label and (phase == WHOLE or trial.phase in (None, phase)) for trial in key):
        bonafide, spoof = labelled_scores(key, args.apply, args.eval_phase, allow_partial=args.allow_partial)
        rows = _before_and_after(args.eval_phase, calibration, bonafide, spoof, corpus.eer_method)
    elif corpus is not None:
        print(f"note: the keys have no labels for phase {args.eval_phase}, so it is not evaluated")
    write_scores(args.out, ids, calibrated)
    return rows


def _before_and_after(
    phase: str, calibration: LinearCalibration, bonafide: NDArray, spoof: NDArray, eer_method: str
) -> list[tuple[str, dict]]:
    from nes2net.decisions.calibration import figures

    rows = [
        (f"{phase} {name}", figures(bonafide[:, i], spoof[:, i], eer_method))
        for i, name in enumerate(calibration.systems)
    ]
    done = "calibrated" if len(calibration.systems) == 1 else "fused"
    return [*rows, (f"{phase} {done}", figures(calibration(bonafide), calibration(spoof), eer_method))]


def _weights(calibration: LinearCalibration) -> str:
    named = [*zip(calibration.systems, calibration.weights), ("offset", calibration.offset)]
    width = max(len(name) for name, _ in named)
    lines = [f"  {table_line([name, f'{weight:+.6g}'], [width, 0], 'l', gap=1)}" for name, weight in named]
    if negative := [name for name, weight in zip(calibration.systems, calibration.weights) if weight < 0]:
        lines.append(f"note: the weight of {', '.join(negative)} is negative: higher scores count as spoofed")
    return printable("\n".join(["weights:", *lines]))


def _table(rows: list[tuple[str, dict]]) -> str:
    lines = [["", *(heading for heading, _ in _COLUMNS.values())]]
    for name, values in rows:
        lines.append([name, *(f"{factor * values[column]:.4f}" for column, (_, factor) in _COLUMNS.items())])
    widths = [max(len(name) for name, _ in rows), 10]
    return "\n".join(table_line(line, widths, gap=0) for line in lines)
