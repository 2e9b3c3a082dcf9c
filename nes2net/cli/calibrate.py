"""`nes2net calibrate`, `fuse` and `apply-calibration`: turn scores into log-likelihood ratios."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nes2net.cli.entry import CorpusNames, add_architecture, add_device, add_workers, check_at_least, subcommand
from nes2net.errors import InputError, counted, listed
from nes2net.machine.terminal import printable, say_written, table_line
from nes2net.registry import corpora

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nes2net.corpora.corpus import Corpus
    from nes2net.corpora.trial import Trial
    from nes2net.decisions.calibration import LinearCalibration, ScoredBy
    from nes2net.decisions.population import Population, Traits
    from nes2net.detector import Detector

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
                "--resolution", type=float, metavar="MS", help="length of a frame, if no record of frame scores says it"
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
            parser.set_defaults(root=None, model=None, resolution=None)
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


class _Training(NamedTuple):
    """Labelled scores of K systems to learn from."""

    trials: list[Trial]
    """The recordings that they are of."""
    bonafide: NDArray
    """(B, K)."""
    spoof: NDArray
    """(S, K)."""
    scored_by: ScoredBy | None
    resolution_ms: int | None
    """Length of the frames, if the scores are of frames."""

    @property
    def unit(self) -> str:
        """What has a score."""
        return "trials" if self.resolution_ms is None else f"frames of {self.resolution_ms} ms"


def _train(args: argparse.Namespace) -> int:
    from datetime import datetime, timezone

    from nes2net.decisions.calibration import few_trials, figures, fit, separates
    from nes2net.evaluation.aligned import system_names
    from nes2net.machine.files import sha256_of

    _check_flags(args)
    args.keys = args.keys or args.root or "."
    corpus = corpora.get(args.corpus)
    training = _read_training(args, corpus)
    bonafide, spoof = training.bonafide, training.spoof
    calibration = fit(bonafide, spoof, prior=args.prior, l2=args.l2, systems=system_names(args.scores))
    if max(calibration.weights) < 0 and not args.allow_inverted:
        raise InputError(
            f"the weight of {', '.join(calibration.systems)} is {calibration.weights[0]:.3g}: among these {len(bonafide)} "
            f"bona fide and {len(spoof)} spoofed {training.unit}, higher scores mean spoofed. Labels or scores are "
            "inverted, or the trials are too few to tell: mend them, or pass `allow_inverted=True`"
        )
    digests = [sha256_of(path) for path in args.scores]
    facts: dict[str, Any] = {
        "corpus": args.corpus,
        "phase": args.phase,
        "num_bonafide": len(bonafide),
        "num_spoof": len(spoof),
        **({} if training.resolution_ms is None else {"resolution_ms": training.resolution_ms}),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "scores_sha256": digests[0] if len(digests) == 1 else digests,
        "figures": figures(calibration(bonafide), calibration(spoof), corpus.eer_method),
    }
    print(
        f"trained on {args.corpus}, phase {args.phase}: {len(bonafide)} bona fide and {len(spoof)} spoofed "
        f"{training.unit}, prior {args.prior:g}"
    )
    calibration = replace(calibration, trained_on=facts, scored_by=training.scored_by)
    print(_weights(calibration))
    if separates(calibration, bonafide, spoof):
        print("note: the classes are separated without error here; only --l2 limits the size of the weights")
    if args.root:
        calibration = replace(calibration, population=_population(args, corpus, training))
    if args.save and len(args.scores) == 1:
        _print_content(calibration, args)
    rows = _before_and_after(args.phase, calibration, bonafide, spoof, corpus.eer_method)
    applied: list[tuple[str, dict]] = []
    if args.apply:
        eval_name, eval_keys = args.eval_corpus or args.corpus, args.eval_keys or args.keys
        eval_corpus = corpora.get(eval_name)
        eval_key = eval_corpus.keys(eval_keys)
        same = (eval_name, eval_keys) == (args.corpus, args.keys)
        if same and (shared := _count_shared(eval_key, args.phase, args.eval_phase)):
            print(f"note: {shared} of the trials to evaluate were trained on; the figures flatter the calibration")
        applied = _apply(calibration, args, eval_corpus, eval_key)
    if args.save:
        calibration.save(args.save)
        if args.model:
            _remove_embeddings(args.save)
    print(_table(rows + applied))
    if few := few_trials(len(bonafide), len(spoof)):
        print(f"warning: {few}", file=sys.stderr)
    _warn_if_worse(applied)
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


def _read_training(args: argparse.Namespace, corpus: Corpus) -> _Training:
    """Read the scores to learn from and their labels, of recordings or of frames."""
    import numpy as np

    from nes2net.corpora.trial import BONAFIDE
    from nes2net.evaluation.aligned import labelled_trials
    from nes2net.evaluation.origin import read_scored_by
    from nes2net.evaluation.segments import labelled_frames
    from nes2net.machine.files import sha256_of
    from nes2net.scoring.score_file import holds_frames

    path = Path(args.scores[0])
    if len(args.scores) == 1 and holds_frames(path):
        if args.apply:
            raise InputError(
                "--apply takes scores of recordings, but these are of frames: save the calibration, and give it to "
                "nes2net predict --segments --calibration"
            )
        found = labelled_frames(
            args.corpus,
            path,
            args.keys,
            args.phase,
            resolution_ms=args.resolution,
            allow_partial=args.allow_partial,
        )
        scored_by = read_scored_by(path, sha256_of(path))
        if scored_by is not None:
            scored_by = replace(scored_by, resolution_ms=float(found.resolution_ms))
        return _Training(
            found.trials, found.bonafide[:, None], found.spoof[:, None], scored_by, int(found.resolution_ms)
        )
    if args.resolution is not None:
        raise InputError("`resolution` is that of frames, but these are scores of recordings: leave it out")
    key = corpus.keys(args.keys)
    corpus.check_phase(args.phase, key)
    trials, scores = labelled_trials(key, args.scores, args.phase, allow_partial=args.allow_partial)
    is_bonafide = np.array([trial.label == BONAFIDE for trial in trials], dtype=bool)
    one = read_scored_by(path, sha256_of(path)) if len(args.scores) == 1 else None
    return _Training(trials, scores[is_bonafide], scores[~is_bonafide], one, None)


def _population(args: argparse.Namespace, corpus: Corpus, training: _Training) -> Population:
    """Measure the recordings that the scores are of."""
    from nes2net.corpora.protocol import canonical_phase
    from nes2net.corpora.trial import BONAFIDE
    from nes2net.decisions.population import Population
    from nes2net.scoring.measuring import drawn, measure_trials

    phase = canonical_phase(args.phase)
    split = phase if phase in corpus.accepted_splits else corpus.splits[-1]  # "progress" is a part of "eval"
    protocols = args.keys if args.keys != args.root and Path(args.keys).is_dir() else None
    listed_there = corpus.trials(args.root, split, protocols=protocols)
    with_audio = {trial.id: trial for trial in listed_there if trial.path is not None}
    is_bonafide = {trial.id: trial.label == BONAFIDE for trial in training.trials}
    if missing := [id for id in is_bonafide if id not in with_audio]:
        raise InputError(
            f"{args.root}: has no recordings of {len(missing):,} of the {counted(len(is_bonafide), 'trial')} of these scores: "
            f"{listed(missing)}; name the folder of {args.corpus} with `root`"
        )
    trials = drawn([with_audio[id] for id in is_bonafide])
    num_samples = training.scored_by.num_samples if training.scored_by else None
    detector = _detector(args, training.scored_by) if args.model else None
    traits, failures = measure_trials(trials, num_samples, num_workers=args.num_workers)
    if failures:
        print(
            f"{counted(len(failures), 'recording was', 'recordings were')} left out: {printable(listed(list(failures)))}",
            file=sys.stderr,
        )
    if detector is not None:
        traits = _with_embeddings(args, detector, [t for t in trials if t.id in traits], traits, num_samples)
    return Population.fit(list(traits.values()), [is_bonafide[id] for id in traits])


def _detector(args: argparse.Namespace, scored_by: ScoredBy | None) -> Detector:
    """Load the detector of the scores, in the precision that it scored in."""
    from nes2net.detector import Detector
    from nes2net.machine.devices import own_device

    if scored_by is None:
        raise InputError(
            f"{args.scores[0]}: no record of these scores is beside it, so nothing tells whether `model` made them: score "
            "anew with nes2net score, or leave `model` out"
        )
    detector = Detector.from_pretrained(
        args.model, own_device(args.device), scored_by.precision, args.config, args.base
    )
    if detector.fingerprint() != scored_by.fingerprint:
        raise InputError(
            f"{args.model} is another detector than the one of {args.scores[0]} (fingerprint "
            f"{detector.fingerprint()[:12]}, not {scored_by.fingerprint[:12]}): name the detector that made these scores"
        )
    return detector


def _with_embeddings(
    args: argparse.Namespace,
    detector: Detector,
    trials: Sequence[Trial],
    traits: dict[str, Traits],
    num_samples: int | None,
) -> dict[str, Traits]:
    """Add the embeddings of the back-end; they are kept beside ``--save`` until that is written."""
    import numpy as np

    from nes2net.scoring.embedding import embed_trials

    result = embed_trials(
        detector,
        lambda waveforms: detector.embeddings(waveforms, "backend"),
        trials,
        _embeddings_path(args.save),
        what="backend",
        num_samples=num_samples,
        num_workers=args.num_workers,
        overwrite=True,
    )
    rows = np.load(result.path, mmap_mode="r")
    embedded = [trial.id for trial in trials if trial.id not in result.failures]
    return {id: traits[id]._replace(embedding=np.array(row)) for id, row in zip(embedded, rows)}


def _embeddings_path(save: str) -> Path:
    return Path(f"{save}.embeddings.npy")


def _remove_embeddings(save: str) -> None:
    path = _embeddings_path(save)
    for suffix in ("", ".csv", ".json"):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)


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
    from nes2net.decisions.calibration import load

    _check_not_read(args, args.out)
    calibration = load(args.parameters)
    if len(args.apply) != len(calibration.weights):
        raise InputError(
            f"{args.parameters} needs scores of {counted(len(calibration.weights), 'system')} ({', '.join(calibration.systems)}), "
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
    _warn_if_worse(rows)
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
    _check_detector(calibration, args)
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


def _check_detector(calibration: LinearCalibration, args: argparse.Namespace) -> None:
    """Raise if the scores to calibrate are of another detector; note what cannot be checked."""
    from nes2net.evaluation.origin import read_scored_by
    from nes2net.machine.files import sha256_of

    path, *more = args.apply
    if more:
        print(
            "note: a fusion does not say whose scores it was learned from: check that these are of the same detectors"
        )
        return
    scored_by = read_scored_by(Path(path), sha256_of(path))
    if scored_by is None:
        print(
            f"note: no record of these scores is beside {printable(path)}, so nothing tells whether they are of the "
            "detector of the calibration"
        )
        return
    try:
        notes = calibration.check_made_of(scored_by, "give the scores of the detector of the calibration")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    for note in filter(None, [*notes, calibration.unlike(scored_by.num_samples)]):
        print(f"note: {note}")


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


def _warn_if_worse(rows: Sequence[tuple[str, dict]]) -> None:
    """Warn on standard error if Cllr is higher after calibration than before.

    ``rows`` are those of :func:`_before_and_after`: each system, then the calibrated scores.
    """
    if not rows:
        return
    name, after = rows[-1][0], rows[-1][1]["cllr"]
    before = min(figures["cllr"] for _, figures in rows[:-1])
    if after <= before:
        return
    useless = ", and above 1 it tells less than the prior alone" if after > 1 else ""
    print(
        f"warning: {printable(name)}: Cllr is worse than before, {before:.4f} → {after:.4f}{useless}: these scores are "
        "unlike those that the calibration was learned from. Do not read the result as log-likelihood ratios; learn "
        "a calibration from labelled scores of recordings like these",
        file=sys.stderr,
    )


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
