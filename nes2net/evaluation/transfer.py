"""Test sets at a threshold that was chosen on a development set.

The EER chooses its threshold with the labels of the test set, which users of a detector do not
have. With the threshold of its development set, a detector with an EER of 11.2 % on In-the-Wild has
a half total error rate of 39.5 % there (arXiv 2606.21584). The threshold is the operating point of
a calibration, in the domain of log-likelihood ratios, so that the costs of those ratios can be
judged too: the actual DCF, and Cllr with its two parts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nes2net import metrics
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.protocol import WHOLE, canonical_phase
from nes2net.evaluation.breakdown import speaker_groups
from nes2net.evaluation.curves import Bin, reliability
from nes2net.evaluation.key import Key, score_input
from nes2net.evaluation.matching import Matched
from nes2net.evaluation.one_class import OneClass, judge_one_class
from nes2net.evaluation.origin import read_scored_by
from nes2net.evaluation.tables import Figure, Measured, plain, points
from nes2net.lib.errors import InputError, counted
from nes2net.lib.files import sha256_of
from nes2net.lib.text_files import recorded_digests
from nes2net.models.registry import corpora
from nes2net.scoring.decisions.calibration import LinearCalibration, Llrs, few_trials, fit, load
from nes2net.scoring.decisions.decision import INVERTED, Decider, OperatingPoint

# Lengths of recordings that count as the same: corpora say 64,000 or 64,600 samples for four seconds.
_SAME_LENGTH = 0.05
# A smaller part of Cllr is not worth a word.
_LITTLE = 0.05


_Row = TypeVar("_Row", "Transfer", OneClass)


class ScoredSet(NamedTuple):
    """Labelled trials of a part of a corpus with their scores."""

    corpus: str
    phase: str
    scores: Path
    sha256: str
    matched: Matched
    inputs: Sequence[dict[str, str]] = ()
    """The files that were read, as in :class:`~nes2net.evaluation.evaluate.Report`."""
    key_sha256: str = ""
    """Digest of its whole key."""

    @property
    def name(self) -> str:
        """The corpus, and the phase unless it is the usual one."""
        return self.corpus if self.phase == "eval" else f"{self.corpus}, {self.phase}"

    @property
    def only_label(self) -> str | None:
        """The label of all its trials; None if there are both."""
        labels = {trial.label for trial in self.matched.trials}
        return labels.pop() if len(labels) == 1 else None


class FurtherSet(NamedTuple):
    corpus: str
    scores: str
    keys: str
    phase: str = "eval"


@dataclass(frozen=True)
class ThresholdSource:
    """Where thresholds come from: development scores or calibrations, one for each system.

    Args:
        dev_scores: score files of a development set, in the order of the systems.
        dev_corpus: its corpus; None for the corpus of the evaluation.
        calibrations: files of ``nes2net calibrate`` instead, in the order of the systems.
        further: test sets beside the one that is evaluated; for a single system.
    """

    dev_scores: Sequence[str] = ()
    dev_keys: str = "."
    dev_corpus: str | None = None
    dev_phase: str = "dev"
    calibrations: Sequence[str] = ()
    operating_point: OperatingPoint = field(default_factory=lambda: OperatingPoint("eer"))
    further: Sequence[FurtherSet] = ()


@dataclass(frozen=True)
class Transfer:
    """The figures of one set at the transferred threshold, each with its 95 % interval.

    The bootstrap draws trials or speakers of this set; the calibration and the threshold stay as
    they are. With few trials the interval of ``min_cllr`` lies too low and the interval of
    ``calibration_loss`` too high, because the best calibration is fitted anew to each draw.
    """

    name: str
    corpus: str
    phase: str
    is_development: bool
    """Whether the threshold was chosen on these trials."""
    num_bonafide: int
    num_spoof: int
    interval_over: str
    """What the bootstrap draws: ``"speakers"`` or ``"trials"``."""
    num_groups: int
    num_resamples: int
    eer: Figure
    """EER by the rule of the corpus, at the set's own threshold."""
    hter: Figure
    hter_lost: Figure
    """HTER − EER: what the transferred threshold costs. Below 0 if it suits the set better than the EER's threshold."""
    miss: Figure
    false_alarm: Figure
    accuracy: Figure
    f1: Figure
    act_dcf: Figure
    """Actual DCF by the costs of ASVspoof 5, track 1, at their own threshold."""
    own_cost: Figure | None
    """Normalised actual DCF by the costs of the operating point; None if it has no costs."""
    cllr: Figure
    """Cllr of the calibrated scores, in bits."""
    min_cllr: Figure
    """The part of Cllr that is lost by discrimination; the rest is ``calibration_loss``."""
    calibration_loss: Figure
    raw_cllr: float | None
    """Cllr of the scores before calibration, read as ratios; None if they are not known."""
    eer_llr: float
    """Log-likelihood ratio at which misses and false alarms of this set are nearest to equal."""
    reliability: list[Bin]
    llrs: Llrs = field(repr=False, compare=False)
    raw: Llrs | None = field(repr=False, compare=False)
    """The scores before calibration; None if they are not known."""


@dataclass(frozen=True)
class TransferTable:
    """One system at the transferred threshold: the development set first, if it is known, then the test sets.

    ``one_class`` holds the test sets of one class, which have no row.
    """

    system: str
    decider: Decider = field(repr=False)
    rows: list[Transfer]
    one_class: list[OneClass]
    warnings: list[str]

    @property
    def threshold(self) -> str:
        """The threshold in words, and what it comes from."""
        basis = self.decider.basis()
        score = "" if basis["threshold"] is None else f", score {basis['threshold']!r}"
        of = " ".join(str(basis[key]) for key in ("corpus", "phase") if key in basis)
        trials = ""
        if {"num_bonafide", "num_spoof"} <= basis.keys():
            trials = f" ({basis['num_bonafide']} bona fide, {basis['num_spoof']} spoof)"
        return (
            f"operating point {basis['operating_point']} of {of or 'an unnamed set'}{trials}: "
            f"log-likelihood ratio {basis['llr_threshold']!r}{score}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON, without scores."""
        (weight,), offset = self.decider.calibration.weights, self.decider.calibration.offset
        basis = self.decider.basis() | {"weight": weight, "offset": offset}
        figures = plain(self) | {"one_class": [one.to_dict() for one in self.one_class]}
        return {"system": self.system, "basis": basis, **figures}


class Threshold(NamedTuple):
    """The decider of one system, and its development set; None if only its calibration is known."""

    decider: Decider
    development: ScoredSet | None
    inputs: Sequence[dict[str, str]]
    """The files that were read."""


def thresholds(
    source: ThresholdSource, corpus: str, num_systems: int, *, allow_partial: bool = False
) -> tuple[list[Threshold], list[ScoredSet]]:
    """Read or fit the calibration of each system, and read the further test sets.

    Args:
        corpus: the corpus of the evaluation.

    Raises:
        InputError: if a file is missing, malformed or does not fit its key, the numbers of files and
            systems differ, or no calibration or operating point can be made of the trials.
    """
    given = source.dev_scores or source.calibrations
    if source.dev_scores and source.calibrations:
        raise InputError("`threshold_from` and `calibration` both give a threshold: leave one of them out")
    if len(given) != num_systems:
        name = "threshold_from" if source.dev_scores else "calibration"
        raise InputError(
            f"{counted(len(given), 'file')} in `{name}` for {counted(num_systems, 'system')}: give one for each system, in their order"
        )
    if source.further and num_systems > 1:
        raise InputError(f"`also` takes scores of a single system, but {num_systems} are evaluated: take one at a time")
    found = []
    for path in source.dev_scores:
        development = read_set(
            FurtherSet(source.dev_corpus or corpus, path, source.dev_keys, source.dev_phase),
            "development",
            {},
            allow_partial=allow_partial,
        )
        if development.only_label is not None:
            raise InputError(f"{path}: has trials of one class only; a threshold is chosen on both")
        matched = development.matched
        calibration = replace(
            fit(matched.bonafide, matched.spoof, systems=[development.scores.stem]),
            trained_on={
                "corpus": development.corpus,
                "phase": development.phase,
                "num_bonafide": matched.bonafide.size,
                "num_spoof": matched.spoof.size,
            },
            scored_by=read_scored_by(development.scores, development.sha256),
        )
        decider = Decider(calibration, operating_point=source.operating_point)
        found.append(Threshold(decider, development, development.inputs))
    for path in source.calibrations:
        decider = Decider(load(path), operating_point=source.operating_point)
        if (resolution_ms := decider.calibration.resolution_ms) is not None:
            raise InputError(
                f"{path}: a calibration of scores of frames of {resolution_ms:g} ms, not of recordings: make one of a score "
                "file of recordings"
            )
        found.append(Threshold(decider, None, [score_input(Path(path), sha256_of(path), "calibration")]))
    return found, [read_set(place, "further", None, allow_partial=allow_partial) for place in source.further]


def read_set(
    place: FurtherSet,
    kind: str,
    excluded: Mapping[str, Collection[str]] | None,
    *,
    allow_partial: bool = False,
) -> ScoredSet:
    """Read the scores of a set and match them with its key.

    Args:
        kind: what the set is, in the list of files that were read.
        excluded: Field of a trial → values whose trials are left out; None for the corpus's own
            exclusions.
    """
    path, key = Path(place.scores), Key.read(place.corpus, place.keys, place.phase, excluded)
    with recorded_digests() as digests:
        matched = key.match(path, allow_partial=allow_partial).matched
    inputs = [score_input(path, digests[path], f"{kind} scores"), key.input(f"{kind} key")]
    return ScoredSet(place.corpus, canonical_phase(place.phase), path, digests[path], matched, inputs, key.digest)


def transfer_table(
    system: str, threshold: Threshold, sets: Sequence[ScoredSet], *, num_resamples: int = 1000, seed: int = 0
) -> TransferTable:
    """Judge ``sets`` at the threshold of ``system``; the development set comes first if it is known.

    A calibration from a file stands for its development set by the ratios that it keeps.
    """
    decider, development, _ = threshold
    draws: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed}

    def judge(scored: ScoredSet, *, is_development: bool = False) -> Transfer:
        matched, raw = scored.matched, Llrs(scored.matched.bonafide, scored.matched.spoof)
        speakers = speaker_groups(matched.trials)
        about = {
            "name": scored.name,
            "corpus": scored.corpus,
            "phase": scored.phase,
            "is_development": is_development,
            "interval_over": "speakers" if speakers else "trials",
            "num_groups": len({trial.speaker for trial in matched.trials} if speakers else matched.trials),
        }
        method = corpora.get(scored.corpus).eer_method
        rule = functools.partial(metrics.compute_eer, method=method, order=matched.positions)
        return _transfer(decider, Llrs(*map(decider.calibration, raw)), raw, rule, about, {**draws, **speakers})

    rows = []
    if development is not None:
        rows.append(judge(development, is_development=True))
    elif (llrs := decider.calibration.llrs) is not None:
        corpus, phase = (str(decider.calibration.trained_on.get(key, "")) for key in ("corpus", "phase"))
        about = {
            "name": ", ".join(filter(None, (corpus or "calibration", phase))),
            "corpus": corpus,
            "phase": phase,
            "is_development": True,
            "interval_over": "trials",
            "num_groups": llrs.bonafide.size + llrs.spoof.size,
        }
        method = corpora.get(corpus).eer_method if corpus in corpora.names() else "asvspoof"
        rule = functools.partial(metrics.compute_eer, method=method)
        rows.append(_transfer(decider, llrs, None, rule, about, draws))
    one_class = [
        judge_one_class(decider, one.matched, one.name, one.corpus, one.phase) for one in sets if one.only_label
    ]
    tests = [None if one.only_label else judge(one) for one in sets]
    return TransferTable(
        system,
        decider,
        _named_apart(rows + [row for row in tests if row is not None]),
        _named_apart(one_class),
        _warnings(decider.calibration, development, sets, tests),
    )


def _transfer(
    decider: Decider, llrs: Llrs, raw: Llrs | None, eer: Any, about: dict[str, Any], draws: dict[str, Any]
) -> Transfer:
    """Compute all figures of a set, whose facts are ``about``, and their intervals from the same draws."""
    rules: dict[str, Any] = {
        "rates": functools.partial(metrics.compute_rates, threshold=decider.llr_threshold),
        "act_dcf": metrics.compute_act_dcf,
        "cllr": metrics.compute_cllr,
        "min_cllr": metrics.compute_min_cllr,
        "eer": eer,
    }
    if (point := decider.point).kind == "cost":
        costs = {"p_spoof": 1 - point.prior, "c_miss": point.c_miss, "c_fa": point.c_fa}
        rules["own_cost"] = functools.partial(metrics.compute_act_dcf, **costs)
    found = Measured(rules, *llrs, **draws)
    figures: dict[str, Any] = {"own_cost": None, **{name: found.figure(name) for name in found.values}}
    return Transfer(
        **about,
        **figures,
        calibration_loss=found.difference("cllr", "min_cllr"),
        hter_lost=found.difference("hter", "eer"),
        num_bonafide=llrs.bonafide.size,
        num_spoof=llrs.spoof.size,
        num_resamples=draws["num_resamples"],
        raw_cllr=metrics.compute_cllr(*raw) if raw else None,
        eer_llr=OperatingPoint("eer").threshold(llrs),
        reliability=reliability(llrs),
        llrs=llrs,
        raw=raw,
    )


def _named_apart(rows: list[_Row]) -> list[_Row]:
    names = [row.name for row in rows]
    return [
        replace(row, name=f"{row.name} ({names[: number + 1].count(row.name)})") if names.count(row.name) > 1 else row
        for number, row in enumerate(rows)
    ]


def in_words(row: Transfer) -> str:
    """Say what a test set loses by the calibration and by its threshold."""
    total, least, lost = row.cllr.value, row.min_cllr.value, row.calibration_loss.value
    if lost <= _LITTLE * total or lost < 0.005:
        text = (
            f"Cllr is {total:.2f} bits, and nearly all of it is lost by discrimination: no other calibration would "
            "do much better."
        )
    else:
        text = (
            f"{lost:.2f} of {total:.2f} bits are lost by calibration, not by discrimination: the best ratios for this set "
            f"would cost {least:.2f}."
        )
    if total > 1:
        text += " Above 1 bit the ratios mislead: a system that says nothing costs 1."
    lost_points = points(row.hter_lost.value)
    low, high = map(points, row.hter_lost.interval)
    own = f"{row.eer_llr:.2f}".replace("-", "−")
    if row.hter_lost.interval[0] > 0:
        return (
            f"{text} The threshold costs {lost_points} points of HTER ({low} to {high}): the errors of this set are equal at a "
            f"ratio of {own}."
        )
    return f"{text} The threshold may cost nothing: HTER − EER is {lost_points} points ({low} to {high})."


def _warnings(
    calibration: LinearCalibration,
    development: ScoredSet | None,
    sets: Sequence[ScoredSet],
    rows: Sequence[Transfer | None],
) -> list[str]:
    """What makes the figures of test sets doubtful, a line for each reason. A set of one class has the row None."""
    lines = [INVERTED] if calibration.weights[0] < 0 else []
    if development is not None:
        matched = development.matched
        if few := few_trials(matched.bonafide.size, matched.spoof.size):
            lines.append(f"the threshold rests on few trials of {development.name}: {few}")
        if left_out := matched.mismatch.describe(matched.num_expected):
            lines.append(f"the threshold rests on a part of {development.name}: {left_out}")
    for scored, row in zip(sets, rows):
        # Whether trials of the set chose the threshold.
        facts, trials = calibration.trained_on, scored.matched.trials
        if development is not None:
            ids = {trial.id for trial in development.matched.trials} if development.corpus == scored.corpus else set()
            if shared := sum(trial.id in ids for trial in trials):
                of = f"{shared:,} of the {counted(len(trials), 'trial')} of {scored.name}"
                is_own_list = corpora.get(scored.corpus).user_defined
                if is_own_list and development.key_sha256 != scored.key_sha256:
                    lines.append(
                        f"{of} have ids of development trials: if they are the same recordings, its figures flatter the "
                        "threshold"
                    )
                else:
                    lines.append(f"{of} are development trials, so its figures flatter the threshold")
        elif _same_corpus(facts, scored):
            phases = {canonical_phase(str(facts.get("phase", WHOLE))), scored.phase}
            if len(phases) == 1 or WHOLE in phases:
                lines.append(
                    f"the calibration was learned on trials of {scored.name}, so its figures flatter the threshold"
                )
        # Whether another detector scored it, or the same one in another way.
        own, other = calibration.scored_by, read_scored_by(scored.scores, scored.sha256)
        if own is not None and other is not None and own.fingerprint != other.fingerprint:
            lines.append(
                f"the scores of {scored.name} come from another detector ({other.fingerprint[:12]}, {other.precision}) "
                f"than the calibration ({own.fingerprint[:12]}, {own.precision}), or from the same one in another "
                "precision: the threshold means nothing for them"
            )
        elif own is not None and other is not None:
            lengths = [math.inf if of.num_samples is None else of.num_samples for of in (own, other)]
            if min(lengths) < (1 - _SAME_LENGTH) * max(lengths):
                said = ["whole recordings" if math.isinf(n) else f"the first {n / SAMPLE_RATE:.3g} s" for n in lengths]
                lines.append(
                    f"the calibration rests on {said[0]}, and the scores of {scored.name} on {said[1]}: the threshold may "
                    "not fit them"
                )
        if row is not None and row.raw_cllr is not None and row.cllr.value > row.raw_cllr:
            lines.append(
                f"calibration made Cllr of {scored.name} worse: {row.raw_cllr:.2f} bits for its scores as they are, "
                f"{row.cllr.value:.2f} calibrated. It is unlike the development set; calibrate on trials like it"
            )
        if left_out := scored.matched.mismatch.describe(scored.matched.num_expected):
            lines.append(f"the figures of {scored.name} rest on a part of its trials: {left_out}")
    return lines


def _same_corpus(facts: Mapping[str, Any], scored: ScoredSet) -> bool:
    """Whether a calibration was learned on the key of ``scored``.

    All users' own lists have the same corpus, so only the digest of the key tells them apart.
    """
    if corpora.get(scored.corpus).user_defined:
        return facts.get("key_sha256") == scored.key_sha256
    return facts.get("corpus") == scored.corpus
