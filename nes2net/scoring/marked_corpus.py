"""Find marks in a corpus: a detector can learn the mark instead of the speech.

It then passes unmarked fakes and rejects marked genuine speech (The Watermark Shortcut, arXiv
2606.23335).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat

from nes2net.data.corpora.check import SplitCheck
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, stratified_subset
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.plain_data import Natural, StrictModel, read_json_as
from nes2net.metrics.intervals import wilson_interval
from nes2net.scoring.marks import evidence_readers, read_marks
from nes2net.scoring.registry import ALL_MARKS

_PRESENT = ("found", "broken", "untrusted", "trusted", "remote")
_FEWEST = 5  # recordings of a class, for a test
_ADVICE = (
    "a detector can learn the mark instead of the speech. It would then pass unmarked fakes and reject marked genuine "
    "speech. Leave marked recordings out, mark both classes, or test on unmarked fakes"
)


class MarkedTrials(StrictModel):
    """Marks of a kind in a class of a part of a corpus."""

    kind: str
    split: str
    label: str
    n: Natural
    """Recordings that were read."""
    marked: Natural
    attacks: dict[str, int]
    """Attack → marked recordings."""
    low: FiniteFloat
    high: FiniteFloat
    """95 % interval of :attr:`share`."""

    @property
    def share(self) -> float:
        return self.marked / max(1, self.n)

    def __str__(self) -> str:
        return (
            f"{self.split}: {self.kind} marks {100 * self.share:.0f} % of the {self.label} recordings "
            f"({100 * self.low:.0f} to {100 * self.high:.0f} %), by attack {self.attacks}"
        )


class Shortcut(StrictModel):
    """Comparison of the classes of a part."""

    kind: str
    split: str
    p: FiniteFloat | None
    """Fisher's exact test, two-sided; None for too few recordings."""
    difference: FiniteFloat
    warning: bool
    words: str


class MarksOfCorpus(StrictModel):
    """What ``nes2net data check --marks`` found."""

    marks: list[MarkedTrials]
    shortcut: list[Shortcut]


def record_beside(root: AnyPath) -> Path:
    """Name the file beside a corpus folder that holds its :class:`MarksOfCorpus`."""
    return Path(f"{Path(root)}.marks.json")  # a slash at the end is no part of the name


def warnings_beside(root: AnyPath) -> list[str]:
    """Return the warnings of the file beside a corpus folder, if it is there."""
    path = record_beside(root)
    if not path.is_file():
        return []
    record = read_json_as(MarksOfCorpus, path, 1 << 20, "marks of a corpus", "remove it")
    return [shortcut.words for shortcut in record.shortcut if shortcut.warning]


def check_marks(splits: Iterable[SplitCheck], sample: int) -> MarksOfCorpus:
    """Read marks of at most ``sample`` recordings of each class and part, drawn evenly from the attacks.

    Without a reader, nothing is found.
    """
    readers = evidence_readers(None, [ALL_MARKS])
    found = MarksOfCorpus(marks=[], shortcut=[])
    for split in splits:
        for kind, read in readers:
            spoofed, bona_fide = [_count(kind, read, split, label, sample) for label in (SPOOF, BONAFIDE)]
            found.marks += [spoofed, bona_fide]
            found.shortcut.append(compare(spoofed, bona_fide, len(readers)))
    return found


def _count(kind: str, read: Any, split: SplitCheck, label: str, sample: int) -> MarkedTrials:
    trials = [trial for trial in split.trials if trial.label == label and trial.path is not None]
    trials = stratified_subset(trials, sample, setting="sample")
    facts_of_trials = read_marks(kind, read, {trial: trial.recording() for trial in trials})
    n = len(facts_of_trials)
    marked_trials = [trial for trial, facts in facts_of_trials.items() if facts["state"] in _PRESENT]
    marked = len(marked_trials)
    low, high = wilson_interval(marked / max(1, n), max(1, n))
    return MarkedTrials(
        kind=kind,
        split=split.split,
        label=label,
        n=n,
        marked=marked,
        attacks=Counter(str(trial.attack) for trial in marked_trials),
        low=low,
        high=high,
    )


def compare(spoofed: MarkedTrials, bona_fide: MarkedTrials, num_kinds: int) -> Shortcut:
    """Test whether one class is marked more often, with Bonferroni's correction for ``num_kinds``."""
    # Imported only here, because loading SciPy takes longer than the rest.
    from scipy.stats import fisher_exact

    fewer, more = sorted((spoofed, bona_fide), key=lambda row: row.share)
    difference = spoofed.share - bona_fide.share
    p = None
    warning = more.share >= 0.05 and fewer.marked == 0 and fewer.n >= 50
    words = "not tested: too few recordings of a class"
    if min(spoofed.n, bona_fide.n) >= _FEWEST:
        p = float(fisher_exact([[row.marked, row.n - row.marked] for row in (fewer, more)]).pvalue)
        warning = warning or (p < 0.01 / num_kinds and abs(difference) >= 0.01)
        words = "marked in both classes alike" if fewer.marked else "no clear difference"
    words = f"{spoofed.split}, {spoofed.kind}: {words}"
    if warning:
        words = f"warning: {spoofed}; {bona_fide} (p {p or 1:.0e}): {_ADVICE}"
    return Shortcut(kind=spoofed.kind, split=spoofed.split, p=p, difference=difference, warning=warning, words=words)
