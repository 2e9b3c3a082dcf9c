"""Evaluation of scores against keys: error rates with intervals, breakdowns, tables of systems."""

from __future__ import annotations

import functools
import itertools
import os
import platform
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.protocol import NotFound, canonical_phase
from nes2net.data.corpora.trial import BONAFIDE
from nes2net.evaluation.breakdown import FEWEST, OFFICIAL, Parts, Row, speaker_groups, tables
from nes2net.evaluation.key import Key, describe_excluded, score_input
from nes2net.evaluation.matching import Matched, contradicted_labels, system_names
from nes2net.evaluation.origin import Origin, read_origin
from nes2net.evaluation.tables import MOST_LINES, Measured, cost, format_p, in_this_process, percent, plain, points
from nes2net.evaluation.transfer import ScoredSet, Threshold, ThresholdSource, TransferTable, thresholds, transfer_table
from nes2net.evaluation.transfer_tables import text_of
from nes2net.lib.errors import InputError, counted, listed
from nes2net.lib.text_files import recorded_digests
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.metrics.intervals import Draws
from nes2net.models.registry import corpora
from nes2net.version import __version__

# Bootstrap draws for each row of a breakdown, at most: rows are many. A bound of a rate's interval then varies by 3 %
# of the interval's width from seed to seed. A percentile of 1,000 draws varies more (4 %).
_ROW_RESAMPLES = 200
# Differences from the official trials that a notice names.
_MOST_DIFFERENCES = 5


@dataclass(frozen=True)
class Evaluation:
    """The result of one score file on one corpus. Rates are fractions; ``table()`` prints percent.

    - ``interval`` is the 95 % bootstrap interval of the EER over ``num_groups`` ``interval_over``,
      which is ``"speakers"`` or ``"trials"``.
    - ``num_expected`` counts the trials of the phase in the key. With ``allow_partial``
      fewer may be evaluated; ``left_out`` then says why.
    - ``min_tdcf`` is None if it cannot be computed; ``notes`` then says why.
    - ``asv_counts`` are the numbers of target, nontarget and spoof scores of the speaker-verification
      system in ``min_tdcf``.
    - ``min_dcf`` is normalised if the costs named by ``min_dcf_costs`` demand it.
    - ``act_dcf``, by the costs of ASVspoof 5, track 1, and ``cllr``, in bits, read scores as
      natural-log likelihood ratios.
    - ``excluded`` maps fields to the values whose trials the result leaves out by definition.
    - ``draws`` holds ``eer``, ``min_dcf``, ``act_dcf``, ``cllr`` and, if there is one, ``min_tdcf`` of each resample.
    """

    system: str
    corpus: str
    phase: str
    num_bonafide: int
    num_spoof: int
    num_expected: int
    eer: float
    threshold: float
    interval: tuple[float, float]
    interval_over: str
    num_groups: int
    num_resamples: int
    num_row_resamples: int
    matched: Matched = field(repr=False, compare=False)
    min_tdcf: float | None = None
    asv_counts: tuple[int, int, int] | None = None
    min_dcf: float | None = None
    act_dcf: float | None = None
    cllr: float | None = None
    min_dcf_costs: str = ASVSPOOF5_COSTS
    excluded: Mapping[str, Collection[str]] = field(default_factory=dict)
    tables: list[Parts] = field(default_factory=list)
    left_out: str = ""
    notes: tuple[str, ...] = ()
    draws: Mapping[str, NDArray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_partial(self) -> bool:
        """Whether trials of the key are left out, or something in the score file did not fit."""
        return self.num_bonafide + self.num_spoof < self.num_expected or bool(self.left_out)

    def rows(self, *names: str) -> list[Row]:
        """Return the breakdown by the fields ``names``; empty if there is no such breakdown."""
        return next((table.rows for table in self.tables if table.fields == names), [])

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON, without scores; an infinite threshold becomes None."""
        return plain(self)

    def headline(self) -> list[str]:
        """Write the pooled result as lines of text."""
        evaluated = self.num_bonafide + self.num_spoof
        lines = [
            f"{self.corpus}, phase {self.phase}: {counted(evaluated, 'trial')} "
            f"({self.num_bonafide:,} bona fide, {self.num_spoof:,} spoof)",
            f"EER {percent(self.eer, 3)} % at threshold {self.threshold:.6g}",
            f"95 % interval {' to '.join(percent(bound, 3) for bound in self.interval)} % (bootstrap over {self.num_groups:,} "
            f"{self.interval_over})",
        ]
        if self.min_tdcf is not None:
            lines.append(f"min t-DCF {cost(self.min_tdcf)}")
        if self.min_dcf is not None:
            lines.append(
                f"minDCF {self.min_dcf:.5f} ({self.min_dcf_costs}); read as log-likelihood ratios: "
                f"actDCF {self.act_dcf:.5f} ({ASVSPOOF5_COSTS}), Cllr {self.cllr:.5f} bits"
            )
        if self.excluded:
            lines.append(f"left out by definition: {describe_excluded(self.excluded)}")
        if self.is_partial:
            of = "all" if evaluated == self.num_expected else f"{evaluated:,} of"
            lines.append(f"PARTIAL: rests on {of} {counted(self.num_expected, 'trial')}; {self.left_out}")
        return lines + [f"note: {note}" for note in self.notes]

    def table(self) -> str:
        """Write the pooled figures and the breakdowns."""
        lines = self.headline()
        for table in self.tables:
            enough = [row for row in table.rows if table.fields == OFFICIAL or row.has_enough_trials]
            few = len(table.rows) - len(enough)
            if few:
                lines += [
                    "",
                    f"{' × '.join(table.fields)}: {counted(few, 'row')} of fewer than {FEWEST} trials of a class left out",
                ]
            if not enough:
                continue
            table = replace(table, rows=enough)
            if len(table.rows) > MOST_LINES:
                lines += [
                    "",
                    f"{' × '.join(table.fields)}: {counted(len(table.rows), 'cell')}, which the page and the JSON hold",
                ]
            else:
                lines += ["", *table.table().lines("l" * len(table.fields) + "r")]
        return "\n".join(lines)


def evaluate(
    corpus: str,
    scores_path: str | Path,
    keys_path: str | Path,
    phase: str = "eval",
    *,
    allow_partial: bool = False,
    exclude: Mapping[str, Collection[str]] | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a score file.

    Args:
        corpus: A name of :data:`nes2net.models.registry.corpora`. The corpus reads the key and knows the
            rules of its published figures.
        scores_path: A file with a line ``utterance score`` for each trial; higher is more bona
            fide.
        keys_path: File or folder of the key, as ``keys`` of the corpus accepts it.
        phase: A phase or split of the corpus. A corpus without phases has ``"eval"``; your own
            corpus has ``"all"`` as well.
        allow_partial: As in :func:`~nes2net.evaluation.matching.match`.
        exclude: Field of :class:`~nes2net.data.corpora.trial.Trial` → values whose trials are left out
            of the result; these trials still need scores. If None, the trials that the published
            figures of the corpus leave out.
        num_resamples, seed: Draws and seed of the bootstrap. Speakers are drawn if every trial has
            one and there are at least ten, otherwise trials. The rows of a breakdown get at
            most 200 draws.

    Raises:
        InputError: if a file is missing or malformed, scores and key do not fit (see
            :func:`~nes2net.evaluation.matching.match`), the corpus has no such phase, no trial has
            a value to exclude, no trial is left, or a class has no trials.
    """
    key = Key.read(corpus, keys_path, phase, exclude)
    return evaluate_scores(key, scores_path, allow_partial=allow_partial, num_resamples=num_resamples, seed=seed)


def evaluate_scores(
    key: Key, scores_path: str | Path, *, allow_partial: bool = False, num_resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """Evaluate a score file by labels that were read; arguments and errors as for :func:`evaluate`."""
    definition = key.definition
    draws: Draws = {"num_resamples": num_resamples, "seed": seed}
    matched, excluded, complete = key.match(scores_path, allow_partial=allow_partial)
    if matched.is_bonafide.all() or not matched.is_bonafide.any():
        kind = "bona fide" if matched.is_bonafide.all() else "spoofed"
        raise InputError(
            f"{scores_path}: {counted(len(matched.trials), 'trial')}, all {kind}, and an EER needs both classes: "
            "judge them at a threshold from other trials, with `threshold_from` and `dev_keys`, or with `calibration`"
        )
    rule = functools.partial(metrics.compute_eer, method=definition.eer_method, order=matched.positions)
    bonafide, spoof = matched.bonafide, matched.spoof
    eer, threshold = rule(bonafide, spoof)
    speakers = speaker_groups(matched.trials)
    rules: dict[str, Callable[..., Any]] = {
        "eer": rule,
        "min_dcf": functools.partial(metrics.compute_min_dcf, **definition.min_dcf_options),
        "act_dcf": metrics.compute_act_dcf,
        "cllr": metrics.compute_cllr,
    }
    min_tdcf, asv_counts, notes = _min_tdcf(key, bonafide, spoof)
    found = Measured(rules | ({"min_tdcf": min_tdcf} if min_tdcf else {}), bonafide, spoof, **draws, **speakers)
    if matched.scores.min() == matched.scores.max():
        notes += (f"all trials have the same score, {matched.scores[0]:.6g}, so no rate here tells the classes apart",)
    elif eer > 0.5:
        notes += (REVERSED,)
    if contradicted := contradicted_labels(scores_path, matched.trials):
        notes += (
            f"the score file's own labels contradict the key for {len(contradicted):,} of "
            f"{counted(len(matched.trials), 'trial')}, and the key decides: {listed(contradicted)}",
        )
    row_resamples = min(_ROW_RESAMPLES, num_resamples)
    official = []
    if definition.official_table is not None:
        parts = definition.official_table(complete.trials, complete.scores)
        official = [
            Parts(OFFICIAL, [Row({"part": p.part}, p.num_bonafide, p.num_spoof, p.eer, None, p.min_dcf) for p in parts])
        ]
    return Evaluation(
        system=Path(scores_path).stem,
        corpus=key.corpus,
        phase=canonical_phase(key.phase),
        num_bonafide=bonafide.size,
        num_spoof=spoof.size,
        num_expected=matched.num_expected,
        eer=eer,
        threshold=threshold,
        interval=found.figure("eer").interval,
        interval_over="speakers" if speakers else "trials",
        num_groups=len({trial.speaker for trial in matched.trials}) if speakers else len(matched.trials),
        num_resamples=num_resamples,
        num_row_resamples=row_resamples,
        min_tdcf=found.values.get("min_tdcf"),
        asv_counts=asv_counts,
        min_dcf=found.values["min_dcf"],
        act_dcf=found.values["act_dcf"],
        cllr=found.values["cllr"],
        min_dcf_costs=definition.min_dcf_costs,
        excluded=excluded,
        tables=official + tables(matched, definition.eer_method, num_resamples=row_resamples, seed=seed),
        left_out=matched.mismatch.describe(matched.num_expected),
        notes=notes,
        matched=matched,
        draws=found.draws,
    )


def _min_tdcf(
    key: Key, bonafide: NDArray, spoof: NDArray
) -> tuple[Callable[..., float] | None, tuple[int, int, int] | None, tuple[str, ...]]:
    """Make the min t-DCF of two classes of scores if the corpus has scores of a speaker-verification system.

    Return it with the numbers of these scores. Otherwise both are None, with a note if the scores
    are missing or unsuitable.
    """
    corpus = key.definition
    if corpus.asv_scores is None:
        return None, None, ()
    try:
        target, nontarget, asv_spoof = corpus.asv_scores(key.path, key.phase)
    except NotFound as error:
        return None, None, (f"no min t-DCF: {error}",)
    min_tdcf = functools.partial(
        metrics.compute_min_tdcf,
        asv_target=target,
        asv_nontarget=nontarget,
        asv_spoof=asv_spoof,
        version=corpus.tdcf_version,
    )
    try:
        min_tdcf(bonafide, spoof)
    except InputError as error:
        return None, None, (f"no min t-DCF: {error}",)
    return min_tdcf, (target.size, nontarget.size, asv_spoof.size), ()


#: The speaker-verification system of official figures, in words.
ORGANISERS = "the organisers’ ASV system"
#: Note about an EER above 50 %.
REVERSED = "the EER is above 50 %, so higher scores probably mean spoof: negate the scores, or check the labels"
#: Kind of the inputs that min t-DCF needs beside the key.
ASV_SCORES = "speaker-verification scores"


@dataclass(frozen=True)
class Pair:
    """A comparison of two systems on the ``num_trials`` that both have scored.

    The EERs and ``difference``, first − second, are fractions. ``interval`` is the 95 % interval of
    the difference, and ``p_value`` is two-sided; both come from a bootstrap that draws the same
    trials or speakers for both systems.
    """

    first: str
    second: str
    num_trials: int
    first_eer: float
    second_eer: float
    difference: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True)
class Report:
    """The evaluation of one or more score files on one corpus.

    - ``inputs`` names the files that were read, with their SHA-256.
    - ``origins`` holds what the record beside each score file says, None if there is no record.
    - ``unofficial`` holds the differences of the key from the official trials, each as one text;
      None if the official numbers are not known.
    - ``transfers`` holds each system at its transferred threshold, if there is one.
    - ``systems`` is empty if all trials are of one class, because there is no EER; ``transfers``
      then has all figures.
    """

    corpus: str
    phase: str
    systems: list[Evaluation]
    pairs: list[Pair]
    inputs: list[dict[str, str]]
    versions: dict[str, str]
    origins: list[Origin | None]
    unofficial: list[str] | None
    transfers: list[TransferTable] = field(default_factory=list)

    @property
    def asv_system(self) -> str:
        """Whose speaker-verification scores min t-DCF rests on, in words."""
        official = corpora.get(self.corpus).asv_counts.get(self.phase)
        if official is not None and all(system.asv_counts in (None, official) for system in self.systems):
            return ORGANISERS
        paths = [entry["path"] for entry in self.inputs if entry["kind"] == ASV_SCORES]
        return f"the ASV scores of {', '.join(paths)}"

    @property
    def of_all(self) -> list[str]:
        """What readers must know of the figures of all systems: other trials or ASV scores than the official ones."""
        lines = []
        if self.unofficial:
            more = len(self.unofficial) - _MOST_DIFFERENCES
            further = f"; and {more} more differences" if more > 0 else ""
            lines.append(
                f"not the official trials of {corpora.get(self.corpus).title}, {self.phase}: "
                f"{'; '.join(self.unofficial[:_MOST_DIFFERENCES])}{further}. These figures cannot be compared with "
                "published ones"
            )
        if any(system.min_tdcf is not None for system in self.systems) and self.asv_system != ORGANISERS:
            lines.append(f"min t-DCF is computed with {self.asv_system}")
        return lines

    @property
    def notices(self) -> list[str]:
        """All that makes figures doubtful, a line each; every writer prints them."""
        lines = self.of_all
        for system in self.systems:
            name = f"{system.system}: " if len(self.systems) > 1 else ""
            partial = [f"rests on a part of the trials; {system.left_out}"] if system.is_partial else []
            lines += [name + note for note in (*partial, *system.notes)]
        return lines + self.warnings

    @property
    def warnings(self) -> list[str]:
        """What makes the figures doubtful that records and other trials tell."""
        seen = [line for origin in self.origins if origin for line in origin.seen or ()]
        return seen + [line for table in self.transfers for line in table.warnings]

    @property
    def names(self) -> list[str]:
        return [system.system for system in self.systems] or [table.system for table in self.transfers]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON, with DET curves thinned to what a plot can show."""
        from nes2net.evaluation.curves import thinned_det  # for start-up time: the text needs no SciPy

        systems = []
        for system, origin in zip(self.systems, self.origins):
            frr, far = thinned_det(system.matched.bonafide, system.matched.spoof)
            further = {"det": {"frr": frr.tolist(), "far": far.tolist()}, "origin": plain(origin)}
            systems.append(plain(system) | further)
        return {
            "corpus": self.corpus,
            "phase": self.phase,
            "differences_from_official_trials": self.unofficial,
            "notices": self.notices,
            "systems": systems,
            "transfers": [table.to_dict() for table in self.transfers],
            "pairs": plain(self.pairs),
            "inputs": self.inputs,
            "versions": self.versions,
        }

    def text(self) -> str:
        """Write one system with its breakdowns, or several pooled, with their differences.

        The figures at the transferred thresholds follow.
        """
        transferred = [f"\n{text_of(table)}" for table in self.transfers]
        if self.of_all:
            transferred += ["", *(f"note: {notice}" for notice in self.of_all)]
        if not self.systems:
            return "\n".join(transferred).removeprefix("\n")
        if len(self.systems) == 1:
            return "\n".join([self.systems[0].table(), *transferred])
        lines = []
        for system in self.systems:
            lines += [f"{system.system}:", *(f"  {line}" for line in system.headline()), ""]
        lines.append("EER difference in percent points, 95 % interval, p (paired bootstrap, two-sided):")
        for pair in self.pairs:
            low, high = (points(bound, 3) for bound in pair.interval)
            lines.append(
                f"  {pair.first} − {pair.second}: {points(pair.difference, 3)} ({low} to {high}), "
                f"p {format_p(pair.p_value)}, {counted(pair.num_trials, 'trial')}"
            )
        return "\n".join([*lines, *transferred])


def evaluate_systems(
    corpus: str,
    score_paths: Sequence[str | Path],
    keys_path: str | Path,
    phase: str = "eval",
    *,
    allow_partial: bool = False,
    exclude: Mapping[str, Collection[str]] | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
    threshold_source: ThresholdSource | None = None,
) -> Report:
    """Evaluate one or more score files on the same trials, and compare every two.

    Arguments and errors are the same as for :func:`nes2net.evaluation.evaluate.evaluate`. A system
    has the name of its file without suffix, or the whole path if two files share a name. The
    comparison takes trials in the order of the key, so under the rule ``"interpolated"`` tied
    scores may move its EERs by less than a trial. The systems are also judged at the thresholds of
    ``threshold_source``. Trials of a single class are judged only there.
    """
    if not score_paths:
        raise InputError("no score file to evaluate: give at least one")
    paths = [Path(path) for path in score_paths]
    if twice := [str(path) for path, count in Counter(map(os.path.realpath, paths)).items() if count > 1]:
        raise InputError(f"score file {twice[0]} is given more than once")
    key = Key.read(corpus, keys_path, phase, exclude)
    transferred: list[Threshold] = []
    further: list[ScoredSet] = []
    one_class = threshold_source is not None and key.only_label is not None
    if threshold_source is not None:
        transferred, further = thresholds(threshold_source, corpus, len(paths), allow_partial=allow_partial)
    systems: list[Evaluation] = []
    scored: list[ScoredSet] = []
    inputs, origins = [], []
    asv_files: dict[Path, str] = {}
    names = system_names(paths)
    for path, name in zip(paths, names):
        with recorded_digests() as digests:
            if one_class:
                matched = key.match(path, allow_partial=allow_partial).matched
            else:
                result = evaluate_scores(key, path, allow_partial=allow_partial, num_resamples=num_resamples, seed=seed)
                systems.append(replace(result, system=name))
                matched = result.matched
        inputs.append(score_input(path, digests[path]))
        origins.append(read_origin(path, digests[path], corpus, phase))
        scored.append(ScoredSet(corpus, canonical_phase(phase), path, digests[path], matched, key_sha256=key.digest))
        if systems and systems[-1].min_tdcf is not None:
            asv_files |= {other: digest for other, digest in digests.items() if other != path}
    pairs = []
    for first, second in itertools.combinations(systems, 2):
        by_id = first.matched.by_id, second.matched.by_id
        common = [trial for trial in key.trials if trial.id in by_id[0] and trial.id in by_id[1]]
        if {trial.label for trial in common} != {trial.label for trial in first.matched.trials}:
            raise InputError(
                f"{first.system} and {second.system} have no trials of both classes in common to compare them on"
            )
        is_bonafide = np.array([trial.label == BONAFIDE for trial in common])
        of_both = [np.array([of_system[trial.id] for trial in common]) for of_system in by_id]
        compared = metrics.compare_systems(
            functools.partial(metrics.compute_eer, method=key.definition.eer_method),
            *((of_system[is_bonafide], of_system[~is_bonafide]) for of_system in of_both),
            num_resamples=num_resamples,
            seed=seed,
            **(speaker_groups(common) | in_this_process()),
        )
        pairs.append(Pair(first.system, second.system, len(common), *compared))
    inputs += [{"kind": ASV_SCORES, "path": str(path), "sha256": digest} for path, digest in asv_files.items()]
    inputs.append(key.input())
    tables = []
    for threshold, name, own in zip(transferred, names, scored):
        tables.append(transfer_table(name, threshold, [own, *further], num_resamples=num_resamples, seed=seed))
        inputs += threshold.inputs
    inputs += [entry for one in further for entry in one.inputs]
    return Report(corpus, canonical_phase(phase), systems, pairs, inputs, versions(), origins, key.unofficial, tables)


def versions() -> dict[str, str]:
    """List the versions of everything that figures and plots depend on."""
    own = {"nes2net": __version__, "python": platform.python_version()}
    return own | {package: version(package) for package in ("numpy", "scipy", "matplotlib")}
