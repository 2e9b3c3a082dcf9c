"""`nes2net calibrate`, `fuse` and `apply-calibration`: turn scores into log-likelihood ratios."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nes2net.cli.entry import CorpusNames, add_architecture, add_device, add_workers, check_at_least, subcommand
from nes2net.errors import InputError, counted, listed
from nes2net.machine.terminal import print_warnings, printable, say_written, table_line

if TYPE_CHECKING:
    from nes2net.decisions.calibration import LinearCalibration

# Figure → heading and factor.
_COLUMNS = {
    "eer": ("EER %", 100),
    "min_dcf": ("minDCF", 1),
    "act_dcf": ("actDCF", 1),
    "min_cllr": ("min Cllr", 1),
    "cllr": ("Cllr", 1),
}

_CALIBRATE = """nes2net calibrate asvspoof2019_la dev.txt --root DB --save calibration.json
nes2net calibrate asvspoof2019_la dev.txt --keys DB --apply eval.txt \\
  --out calibrated.txt"""
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
        parser.add_argument("corpus", choices=CorpusNames(), help="corpus of the labelled scores")
        parser.add_argument("scores", nargs=nargs, metavar="dev_scores", help=scores)
        parser.add_argument(
            "--keys", metavar="DIR", help="folder or file of the keys; if not given, --root, or else this folder"
        )
        parser.add_argument(
            "--phase", default="dev", help="phase or split to train on; 'all' for your own corpus without parts"
        )
        parser.add_argument("--prior", type=float, default=0.5, help="prior of bona fide, costs included")
        parser.add_argument("--l2", type=float, default=1e-4, help="penalty on the weights of standardised scores")
        parser.add_argument(
            "--allow-inverted", action="store_true", help="take a weight below 0, by which higher scores mean spoofed"
        )
        parser.add_argument(
            "--save", metavar="FILE", help="file to write the calibration to, for --calibration and apply-calibration"
        )
        if name == "calibrate":
            parser.add_argument(
                "--resolution",
                dest="resolution_ms",
                type=float,
                metavar="MS",
                help="length of a frame, if no record of frame scores says it",
            )
            measuring = parser.add_argument_group("what the recordings are like")
            measuring.add_argument(
                "--root",
                metavar="DIR",
                help="folder of the corpus: its recordings are measured, so that others can be compared with them",
            )
            measuring.add_argument(
                "--model", help="the detector of the scores: its embeddings of the recordings count as well"
            )
            add_architecture(measuring)
            add_device(measuring)
            add_workers(measuring, None, "processes that read audio")
        applying = parser.add_argument_group("the scores to calibrate")
        applying.add_argument(
            "--apply",
            nargs="+",
            default=[],
            metavar="SCORES",
            help="score files of the same systems in the same order, to be calibrated",
        )
        _add_applying(applying, out_required=False, corpus="that of the training if not given")
        parser.names |= {"protocols": "--keys"}  # some protocols hold the labels
        if name == "fuse":
            parser.names |= {"root": "--keys"}
            parser.set_defaults(root=None, model=None, resolution_ms=None)
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
    parser.add_argument("--eval-corpus", choices=CorpusNames(), help=f"corpus of the scores to calibrate; {corpus}")
    parser.add_argument("--eval-keys", metavar="DIR", help="its keys, for the figures before and after")
    parser.add_argument("--eval-phase", default="eval", help="its phase or split")
    parser.add_argument(
        "--allow-partial", action="store_true", help="leave out trials whose scores are missing or unusable"
    )


def _train(args: argparse.Namespace) -> int:
    from nes2net.actions.calibration import Labels, Recordings, apply_calibration, calibrate
    from nes2net.scoring.measuring import forget_traits
    from nes2net.scoring.score_file import holds_frames

    _check_flags(args)
    keys = args.keys or args.root or "."
    labels = Labels(args.corpus, keys, args.phase)
    if args.apply and len(args.scores) == 1 and holds_frames(Path(args.scores[0])):
        raise InputError(
            "--apply takes scores of recordings, but these are of frames: save the calibration, and give it to "
            "nes2net predict --segments --calibration"
        )
    recordings = None
    if args.root:
        recordings = Recordings(
            args.root, args.num_workers, args.model, args.device, args.config, args.base, kept=args.save
        )
    done = calibrate(
        labels,
        args.scores,
        prior=args.prior,
        l2=args.l2,
        allow_inverted=args.allow_inverted,
        allow_partial=args.allow_partial,
        resolution_ms=args.resolution_ms,
        recordings=recordings,
    )
    print(
        f"trained on {args.corpus}, phase {args.phase}: {done.num_bonafide} bona fide and {done.num_spoof} spoofed "
        f"{done.unit}, prior {args.prior:g}"
    )
    print(_weights(done.calibration))
    if done.separated:
        print("note: the classes are separated without error here; only --l2 limits the size of the weights")
    if done.left_out:
        left_out = counted(len(done.left_out), "recording was", "recordings were")
        print(f"{left_out} left out: {printable(listed(done.left_out))}", file=sys.stderr)
    if args.save and len(args.scores) == 1:
        _print_content(done.calibration, args)
    rows, warnings = list(done.rows), [done.warning]
    if args.apply:
        tested = Labels(args.eval_corpus or args.corpus, args.eval_keys or keys, args.eval_phase)
        applied = apply_calibration(
            done.calibration, args.apply, args.out, labels=tested, learned_from=labels, allow_partial=args.allow_partial
        )
        for note in applied.notes:
            print(f"note: {printable(note)}")
        rows, warnings = [*rows, *applied.rows], [*warnings, applied.warning]
    if args.save:
        done.calibration.save(args.save)
        if recordings:
            forget_traits(recordings.kept)
    print(_table(rows))
    print_warnings(filter(None, warnings))
    for path in filter(None, (args.out, args.save)):
        say_written(path, beside_data=True)
    return 0


def _check_flags(args: argparse.Namespace) -> None:
    """Raise if flags do not go together, before anything long begins."""
    from nes2net.machine.files import check_writable

    _check_not_read(args, args.out, args.save)
    if bool(args.apply) != bool(args.out):
        raise InputError("--apply and --out go together: what to calibrate, and where to write it")
    if args.apply and len(args.apply) != len(args.scores):
        raise InputError(f"trained on {len(args.scores)} score files, so --apply takes as many, not {len(args.apply)}")
    if args.model and not args.root:
        raise InputError("`model` embeds the recordings of the corpus: name its folder with `root`")
    if args.root:
        check_at_least(args, num_workers=0)
        if not args.save:
            raise InputError("what `root` measures goes into the calibration: name a file for it with `save`")
        Path(args.save).parent.mkdir(parents=True, exist_ok=True)
        check_writable(args.save, stream=True)


def _print_content(calibration: LinearCalibration, args: argparse.Namespace) -> None:
    """Say what the calibration holds of the detector and of the recordings, and what it lacks."""
    scored_by, population = calibration.scored_by, calibration.population
    if scored_by is None:
        print(
            f"note: no record of these scores is beside {printable(args.scores[0])}, so predict cannot check that it "
            "applies the calibration to the same detector"
        )
    else:
        heard = "whole recordings" if scored_by.num_samples is None else f"the first {scored_by.num_samples} samples"
        print(f"detector: {scored_by.fingerprint[:12]} in {scored_by.precision}, scored {heard}")
    if population is None:
        print("note: the recordings were not measured, so predict cannot say 'cannot tell'; add --root DIR")
        return
    what = "duration, level, bandwidth" + (", embedding" if population.has_embeddings else "")
    print(f"recordings: {population.num_recordings} measured by {what}")


def _apply_saved(args: argparse.Namespace) -> int:
    from nes2net.actions.calibration import Labels, apply_calibration
    from nes2net.decisions.calibration import load

    _check_not_read(args, args.out)
    calibration = load(args.parameters)
    if args.eval_keys and not args.eval_corpus:
        raise InputError("--eval-keys needs --eval-corpus, to say how to read them")
    labels = Labels(args.eval_corpus, args.eval_keys or ".", args.eval_phase) if args.eval_corpus else None
    done = apply_calibration(calibration, args.apply, args.out, labels=labels, allow_partial=args.allow_partial)
    print(_weights(calibration))
    for note in done.notes:
        print(f"note: {printable(note)}")
    if done.rows:
        print(_table(done.rows))
    print_warnings(filter(None, [done.warning]))
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
