"""Evaluation of scores against keys: error rates with intervals, breakdowns, tables of systems."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nes2net import metrics
from nes2net.corpora.protocol import NotFound, canonical_phase
from nes2net.errors import InputError, counted
from nes2net.evaluation.breakdown import OFFICIAL, Row, Table, speaker_groups, tables
from nes2net.evaluation.key import Key, describe_excluded
from nes2net.evaluation.matching import Matched
from nes2net.evaluation.tables import MOST_LINES, percent, percent_interval, plain
from nes2net.machine.terminal import text_table
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.metrics.intervals import Draws

# Bootstrap draws for each row of a breakdown, at most: rows are many. A bound of the interval of a rate then varies by
# 3 % of its width from seed to seed, less than one read off 1,000 draws as a percentile (4 %).
_ROW_RESAMPLES = 200


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
    - ``min_dcf`` is normalised or not as the costs named by ``min_dcf_costs`` demand.
    - ``act_dcf``, by the costs of ASVspoof 5, track 1, and ``cllr``, in bits, read scores as
      natural-log likelihood ratios.
    - ``excluded`` holds field → values whose trials the result leaves out by definition.
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
    tables: list[Table] = field(default_factory=list)
    left_out: str = ""
    notes: tuple[str, ...] = ()

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
        low, high = (100 * bound for bound in self.interval)
        lines = [
            f"{self.corpus}, phase {self.phase}: {counted(evaluated, 'trial')} "
            f"({self.num_bonafide:,} bona fide, {self.num_spoof:,} spoof)",
            f"EER {100 * self.eer:.3f} % at threshold {self.threshold:.6g}",
            f"95 % interval {low:.3f} to {high:.3f} % (bootstrap over {self.num_groups:,} {self.interval_over})",
        ]
        if self.min_tdcf is not None:
            lines.append(f"min t-DCF {self.min_tdcf:.4f}")
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
            if len(table.rows) > MOST_LINES:
                lines += [
                    "",
                    f"{' × '.join(table.fields)}: {counted(len(table.rows), 'cell')}, which the page and the JSON hold",
                ]
            else:
                lines += ["", *_table_of(table.rows)]
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
        corpus: A name of :data:`nes2net.registry.corpora`. The corpus reads the key and knows the
            rules of its published figures.
        scores_path: A file with a line ``utterance score`` for each trial; higher is more bona
            fide.
        keys_path: File or folder of the key, as ``keys`` of the corpus accepts it.
        phase: A phase or split of the corpus. A corpus without phases has ``"eval"``; your own
            corpus has ``"all"`` as well.
        allow_partial: As in :func:`~nes2net.evaluation.matching.match`.
        exclude: Field of :class:`~nes2net.corpora.trial.Trial` → values whose trials are left out
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
    """Evaluate a score file by labels that were read; arguments and errors are those of :func:`evaluate`."""
    definition = key.definition
    draws: Draws = {"num_resamples": num_resamples, "seed": seed}
    matched, excluded, complete = key.match(scores_path, allow_partial=allow_partial)
    if matched.is_bonafide.all() or not matched.is_bonafide.any():
        kind = "bona fide" if matched.is_bonafide.all() else "spoofed"
        raise InputError(
            f"{scores_path}: {counted(len(matched.trials), 'trial')}, all {kind}, and an EER needs both classes: judge them at a "
            "threshold of other trials, by `threshold_from` with `dev_keys`, or by `calibration`"
        )
    rule = functools.partial(metrics.compute_eer, method=definition.eer_method, order=matched.positions)
    bonafide, spoof = matched.bonafide, matched.spoof
    eer, threshold = rule(bonafide, spoof)
    speakers = speaker_groups(matched.trials)
    interval = metrics.bootstrap_interval(rule, bonafide, spoof, **draws, **speakers)
    min_tdcf, asv_counts, notes = _min_tdcf(key, bonafide, spoof)
    if matched.scores.min() == matched.scores.max():
        notes += (f"all trials have the same score, {matched.scores[0]:.6g}, so no rate here tells the classes apart",)
    row_resamples = min(_ROW_RESAMPLES, num_resamples)
    official = []
    if definition.official_table is not None:
        parts = definition.official_table(complete.trials, complete.scores)
        official = [
            Table(OFFICIAL, [Row({"part": p.part}, p.num_bonafide, p.num_spoof, p.eer, None, p.min_dcf) for p in parts])
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
        interval=interval,
        interval_over="speakers" if speakers else "trials",
        num_groups=len({trial.speaker for trial in matched.trials}) if speakers else len(matched.trials),
        num_resamples=num_resamples,
        num_row_resamples=row_resamples,
        min_tdcf=min_tdcf,
        asv_counts=asv_counts,
        min_dcf=metrics.compute_min_dcf(bonafide, spoof, **definition.min_dcf_options),
        act_dcf=metrics.compute_act_dcf(bonafide, spoof),
        cllr=metrics.compute_cllr(bonafide, spoof),
        min_dcf_costs=definition.min_dcf_costs,
        excluded=excluded,
        tables=official + tables(matched, definition.eer_method, num_resamples=row_resamples, seed=seed),
        left_out=matched.mismatch.describe(matched.num_expected),
        notes=notes,
        matched=matched,
    )


def _table_of(rows: list[Row]) -> list[str]:
    names = list(rows[0].group)
    with_interval = any(row.interval for row in rows)
    with_dcf = any(row.min_dcf is not None for row in rows)
    optional = [*["95 % interval"] * with_interval, *["minDCF"] * with_dcf]
    lines = [[*names, "EER %", *optional, "bona fide", "spoof"]]
    for row in rows:
        line = [*row.group.values(), percent(row.eer, 3)]
        if with_interval:
            line.append(percent_interval(row.interval))
        if with_dcf:
            line.append("–" if row.min_dcf is None else f"{row.min_dcf:.6f}")
        lines.append([*line, str(row.num_bonafide), str(row.num_spoof)])
    return text_table(lines, "l" * len(names) + "r")


def _min_tdcf(
    key: Key, bonafide: NDArray, spoof: NDArray
) -> tuple[float | None, tuple[int, int, int] | None, tuple[str, ...]]:
    """Compute the min t-DCF if the corpus has scores of a speaker-verification system.

    With it come the numbers of these scores. Otherwise both are None, with a note if the scores are
    missing or unsuitable.
    """
    corpus = key.definition
    if corpus.asv_scores is None:
        return None, None, ()
    try:
        target, nontarget, asv_spoof = corpus.asv_scores(key.path, key.phase)
    except NotFound as error:
        return None, None, (f"no min t-DCF: {error}",)
    try:
        min_tdcf = metrics.compute_min_tdcf(bonafide, spoof, target, nontarget, asv_spoof, version=corpus.tdcf_version)
    except InputError as error:
        return None, None, (f"no min t-DCF: {error}",)
    return min_tdcf, (target.size, nontarget.size, asv_spoof.size), ()
