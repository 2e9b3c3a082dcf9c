"""A subset of trials in the proportions of the whole."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from nes2net.corpora.trial import Trial
from nes2net.errors import InputError


def stratified_subset(trials: Sequence[Trial], count: int, seed: int = 0) -> list[Trial]:
    """Draw ``count`` of ``trials``, in their order, so that labels and attacks keep their shares.

    Each label and attack has at least one trial. The others are shared out in proportion, by largest
    remainders. Which trials of an attack are drawn depends on ``seed`` and on that attack's trials
    alone.

    Raises:
        InputError: if ``count`` is smaller than the number of labels and attacks.

    >>> trials = [Trial(str(n), label="spoof", attack=f"A{n // 8}") for n in range(10)]
    >>> [trial.attack for trial in stratified_subset(trials, 5)]
    ['A0', 'A0', 'A0', 'A0', 'A1']
    """
    if count >= len(trials):
        return list(trials)
    strata: dict[tuple[str, str], list[int]] = {}
    for number, trial in enumerate(trials):
        strata.setdefault((trial.label or "", trial.attack or ""), []).append(number)
    if count < len(strata):
        raise InputError(
            f"`num_trials` is at least {len(strata)}, one for each label and attack of the {len(trials)} trials, not {count}"
        )
    names = sorted(strata)
    sizes = np.array([len(strata[name]) for name in names])
    left = count - len(names)
    # Exact in integers: shares of what is left, in units of 1/(trials − strata).
    shares, remainders = np.divmod(left * (sizes - 1), len(trials) - len(names))
    largest = np.argsort(-remainders, kind="stable")[: left - int(shares.sum())]
    shares[largest] += 1
    kept: list[int] = []
    for name, further in zip(names, shares.tolist()):
        rng = np.random.default_rng([seed, zlib.crc32("/".join(name).encode())])
        kept += rng.choice(strata[name], 1 + further, replace=False).tolist()
    return [trials[number] for number in sorted(kept)]
