"""Evaluation of several score files on one corpus, with a comparison of every two of them."""

from __future__ import annotations

import functools
import itertools
import platform
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from nes2net import metrics
from nes2net.corpora.protocol import canonical_phase
from nes2net.corpora.trial import BONAFIDE
from nes2net.errors import InputError, counted
from nes2net.evaluation.breakdown import speaker_groups
from nes2net.evaluation.evaluate import Evaluation, evaluate_scores
from nes2net.evaluation.key import Key, score_input
from nes2net.evaluation.matching import system_names
from nes2net.evaluation.origin import Origin, read_origin
from nes2net.evaluation.tables import format_p, plain
from nes2net.evaluation.transfer import ScoredSet, Threshold, ThresholdSource, TransferTable, thresholds, transfer_table
from nes2net.evaluation.transfer_tables import text_of
from nes2net.machine.text_files import recorded_digests
from nes2net.metrics.intervals import Draws
from nes2net.version import __version__

#: Kind of the inputs that min t-DCF needs beside the key.
ASV_SCORES = "speaker-verification scores"
_PACKAGES = ("numpy", "scipy", "matplotlib")


@dataclass(frozen=True)
class Pair:
    """Two systems compared on the ``num_trials`` that both have scored.

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
    - ``systems`` is empty if all trials are of one class, and so without an EER; ``transfers`` then
      has all figures.
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
        if not self.systems:
            return "\n".join(transferred).removeprefix("\n")
        if len(self.systems) == 1:
            return "\n".join([self.systems[0].table(), *transferred])
        lines = []
        for system in self.systems:
            lines += [f"{system.system}:", *(f"  {line}" for line in system.headline()), ""]
        lines.append("EER difference in percent points, 95 % interval, p (paired bootstrap, two-sided):")
        for pair in self.pairs:
            low, high = (100 * bound for bound in pair.interval)
            lines.append(
                f"  {pair.first} − {pair.second}: {100 * pair.difference:+.3f} ({low:+.3f} to {high:+.3f}), "
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

    Arguments and errors are those of :func:`nes2net.evaluation.evaluate.evaluate`. A system has the
    name of its file without suffix, or the whole path if two files share a name. The comparison
    takes trials in the order of the key, so under the rule ``"interpolated"`` tied scores may move
    its EERs by less than a trial. ``threshold_source`` says where the thresholds come from at which
    the systems are judged besides. Trials of one class alone are judged there only.
    """
    if not score_paths:
        raise InputError("no score file to evaluate: give at least one")
    paths = [Path(path) for path in score_paths]
    if twice := [str(path) for path, count in Counter(path.resolve() for path in paths).items() if count > 1]:
        raise InputError(f"score file {twice[0]} is given more than once")
    key = Key.read(corpus, keys_path, phase, exclude)
    draws: Draws = {"num_resamples": num_resamples, "seed": seed}
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
        scored.append(ScoredSet(corpus, canonical_phase(phase), path, digests[path], matched))
        if systems and systems[-1].min_tdcf is not None:
            asv_files |= {other: digest for other, digest in digests.items() if other != path}
    pairs = [_compare(first, second, key, draws) for first, second in itertools.combinations(systems, 2)]
    inputs += [{"kind": ASV_SCORES, "path": str(path), "sha256": digest} for path, digest in asv_files.items()]
    inputs.append(key.input())
    tables = []
    for threshold, name, own in zip(transferred, names, scored):
        tables.append(transfer_table(name, threshold, [own, *further], num_resamples=num_resamples, seed=seed))
        inputs += threshold.inputs
    inputs += [entry for one in further for entry in one.inputs]
    return Report(corpus, canonical_phase(phase), systems, pairs, inputs, versions(), origins, key.unofficial, tables)


def _compare(first: Evaluation, second: Evaluation, key: Key, draws: Draws) -> Pair:
    scores = [system.matched.by_id for system in (first, second)]
    common = [trial for trial in key.trials if trial.id in scores[0] and trial.id in scores[1]]
    if {trial.label for trial in common} != {t.label for t in first.matched.trials}:
        raise InputError(
            f"{first.system} and {second.system} have no trials of both classes in common to compare them on"
        )
    is_bonafide = np.array([trial.label == BONAFIDE for trial in common])
    of = [np.array([by_id[trial.id] for trial in common]) for by_id in scores]
    result = metrics.compare_systems(
        functools.partial(metrics.compute_eer, method=key.definition.eer_method),
        *((values[is_bonafide], values[~is_bonafide]) for values in of),
        **draws,
        **speaker_groups(common),
    )
    return Pair(first.system, second.system, len(common), *result)


def versions() -> dict[str, str]:
    """List the versions of everything that figures and plots depend on."""
    own = {"nes2net": __version__, "python": platform.python_version()}
    return own | {package: version(package) for package in _PACKAGES}
