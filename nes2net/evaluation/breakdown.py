"""Error rates of parts of a corpus: by attack, codec, source, vocoder and so on, or by two of them.

>>> from nes2net.corpora.trial import Trial
>>> from nes2net.evaluation.matching import match
>>> key = [Trial("a", label="bonafide"), Trial("b", label="spoof", attack="A07"), Trial("c", label="spoof", attack="A08")]
>>> [(row.group, row.eer) for row in breakdown(match(key, ["a", "b", "c"], [1.0, 0.0, 2.0]), "attack")]
[({'attack': 'A07'}, 0.0), ({'attack': 'A08'}, 1.0)]
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from nes2net import metrics
from nes2net.corpora.trial import BONAFIDE, Trial
from nes2net.evaluation.matching import Matched

#: Pairs of fields that are tabulated if a corpus has both: the published tables of ASVspoof 2021 LA
#: (the first two), ASVspoof 2021 DF and ASVspoof 5.
CROSSED = (
    ("attack", "codec"),
    ("codec", "transmission"),
    ("vocoder", "codec"),
    ("vocoder", "source"),
    ("vocoder", "language"),
    ("codec", "quality"),
)
#: Field of an official table, whose rows are parts of the corpus and not values of one field.
OFFICIAL = ("part",)
# Fields that describe the spoofing, even if a key fills them for bona fide trials.
_SPOOF_FIELDS = ("attack", "vocoder")
# Fields that do not describe how an utterance was made or recorded.
_NOT_TABULATED = ("id", "path", "label", "speaker", "phase", "seed", "extra", "system_scores")
# A field with more values numbers the trials, like a seed or a segment, and does not sort them.
_MOST_VALUES = 400
# Intervals take most of the time. No published corpus has as many rows.
_MOST_INTERVALS = 500
# With fewer clusters a bootstrap interval is too narrow (Cameron, Gelbach and Miller, 2008).
_FEWEST_SPEAKERS = 10


@dataclass(frozen=True)
class Row:
    """The EER of a part of the trials, a fraction; None if a class is empty.

    ``group`` holds field → value. ``interval`` is the 95 % bootstrap interval of the EER, if one
    was asked for. Only official tables have ``min_dcf``.
    """

    group: dict[str, str]
    num_bonafide: int
    num_spoof: int
    eer: float | None
    interval: tuple[float, float] | None = None
    min_dcf: float | None = None


@dataclass(frozen=True)
class Table:
    """The rows of all combinations of values of ``fields``, sorted by value.

    An official table has its parts as rows, in its own order.
    """

    fields: tuple[str, ...]
    rows: list[Row]


def tables(matched: Matched, method: str = "asvspoof", *, num_resamples: int = 0, seed: int = 0) -> list[Table]:
    """Tabulate every field that sorts the trials, and every pair of :data:`CROSSED` among them.

    Tables of one field have intervals, but for those beyond the first 500 rows. A field with a
    single value has no table.
    """
    single: list[Table] = []
    left = _MOST_INTERVALS
    for name, num_values in sorting_fields([trial for trial in matched.trials if trial.label != BONAFIDE]).items():
        left -= num_values
        draws = num_resamples if left >= 0 else 0
        rows = breakdown(matched, name, method=method, num_resamples=draws, seed=seed)
        single.append(Table((name,), rows))
    known = {table.fields[0] for table in single}
    pairs = [pair for pair in CROSSED if known.issuperset(pair)]
    return single + [Table(pair, breakdown(matched, *pair, method=method)) for pair in pairs]


def sorting_fields(trials: Sequence[Trial]) -> dict[str, int]:
    """Find the fields that sort ``trials``, and how many values each has: 2 to 400."""
    extra = dict.fromkeys(name for trial in trials for name, _ in trial.extra)
    names = [*(f.name for f in fields(Trial) if f.name not in _NOT_TABULATED), *extra]
    counts = {name: len({trial.get(name) for trial in trials} - {None}) for name in names}
    return {name: count for name, count in counts.items() if 1 < count <= _MOST_VALUES}


def breakdown(
    matched: Matched, *names: str, method: str = "asvspoof", num_resamples: int = 0, seed: int = 0
) -> list[Row]:
    """Compute the EER for each combination of values of the fields ``names`` in spoofed trials.

    Fields of the recording, such as ``codec``, choose trials of both classes. Fields of the
    spoofing choose spoofed trials, which are compared with all bona fide trials, as in the
    published tables; these are ``attack``, ``vocoder`` and every field that no bona fide trial has.

    Returns:
        The rows sorted by value, with a bootstrap interval each if ``num_resamples`` is above 0.
    """
    recorded = [trial for trial in matched.trials if trial.label == BONAFIDE]
    shared = [n for n in names if n not in _SPOOF_FIELDS and any(trial.get(n) is not None for trial in recorded)]
    bonafide: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    spoof: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for position, trial in enumerate(matched.trials):
        if trial.label == BONAFIDE:
            bonafide[tuple(trial.get(name) for name in shared)].append(position)
        else:
            spoof[tuple(trial.get(name) for name in names)].append(position)
    rows = []
    for values in sorted(values for values in spoof if None not in values):
        group = dict(zip(names, values))
        against = bonafide.get(tuple(group[name] for name in shared), [])
        eer = interval = None
        if against:
            positions = [*against, *spoof[values]]
            rule = functools.partial(metrics.compute_eer, method=method, order=positions)
            scores = matched.scores[against], matched.scores[spoof[values]]
            eer, _ = rule(*scores)
            if num_resamples:
                speakers = speaker_groups([matched.trials[i] for i in positions])
                interval = metrics.bootstrap_interval(rule, *scores, num_resamples=num_resamples, seed=seed, **speakers)
        rows.append(Row(group, len(against), len(spoof[values]), eer, interval))
    return rows


def speaker_groups(trials: Sequence[Trial]) -> dict[str, Any]:
    """List the speakers of both classes, as :func:`nes2net.metrics.bootstrap_interval` takes them.

    Empty, so that trials are drawn, if a trial has no speaker or there are fewer than ten speakers.
    """
    speakers = {trial.speaker for trial in trials}
    if None in speakers or len(speakers) < _FEWEST_SPEAKERS:
        return {}
    return {
        "bonafide_groups": [trial.speaker for trial in trials if trial.label == BONAFIDE],
        "spoof_groups": [trial.speaker for trial in trials if trial.label != BONAFIDE],
    }
