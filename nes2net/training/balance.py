"""Choose the utterances of an epoch by shares of corpora, classes and other groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.generic import FIELDS
from nes2net.data.corpora.trial import Trials, extra_fields
from nes2net.lib.errors import InputError, join_names
from nes2net.training.recipes.data import DataConfig


class Level(NamedTuple):
    """A division of the items into groups."""

    groups: Sequence[Hashable]
    """The group of each item."""
    shares: Mapping[Hashable, float] | None = None
    """Group → relative share of the draws; None for equal shares."""


class Balance:
    """Draws the items of an epoch so that each batch has the shares of the groups, up to rounding.

    The first level divides all items into groups, each further level every group into subgroups;
    the draws of a batch are divided in the same way. The next batches make up for rounding. In a
    group of the last level, all items are drawn in random order, then again in another, so that
    counts of draws differ by at most 1.

    Args:
        length: number of items.
        levels: the divisions into groups, outermost first.
        speakers: speaker of each item, None if unknown; needed for ``speaker_cap``.
        speaker_cap: largest number of items of a speaker in an epoch, chosen anew for each;
            None sets no limit. Items without a speaker are always included.
        draws: draws of an epoch; by default, the number of items within ``speaker_cap``.

    >>> level = Level(["a", "a", "a", "a", "a", "b"], {"a": 1, "b": 1})
    >>> order = Balance(6, [level]).order(np.random.default_rng(0), batch_size=2)
    >>> [max(batch) for batch in order.reshape(3, 2).tolist()], len(set(order.tolist()))
    ([5, 5, 5], 4)
    """

    def __init__(
        self,
        length: int,
        levels: Sequence[Level] = (),
        *,
        speakers: Sequence[Hashable | None] | None = None,
        speaker_cap: int | None = None,
        draws: int | None = None,
    ) -> None:
        self.length = length
        #: orders the items of a group at random, such as :meth:`ItemBlocks.shuffle`; None if any order is equally likely
        self.shuffle_items: Callable[[NDArray, np.random.Generator], NDArray] | None = None
        # For each level, the number of each item's group, and the names of the groups by number.
        self._levels = [_number_groups(level.groups) for level in levels]
        self._shares = []  # for each level, the share of each group
        for level, (_, names) in zip(levels, self._levels):
            shares = level.shares or dict.fromkeys(names, 1.0)
            self._shares.append(np.array([shares[name] for name in names]))
        self._speaker_cap: _SpeakerCap | None = None  # None without a limit
        if speakers is not None and speaker_cap is not None:
            self._speaker_cap = _SpeakerCap(speakers, speaker_cap)
            length = self._speaker_cap.draws
        #: number of draws in an epoch
        self.draws = draws or length

    def order(self, rng: np.random.Generator, batch_size: int, drop_last: bool = True) -> NDArray:
        """Draw the indices of an epoch, batch after batch, in random order within a batch.

        With ``drop_last``, an incomplete last batch has no draws.
        """
        num_whole = self.draws // batch_size * batch_size
        num_draws = num_whole if drop_last else self.draws
        steps = np.arange(num_draws) // batch_size
        items = self._speaker_cap.draw(rng) if self._speaker_cap is not None else np.arange(self.length)
        drawn = self._draw_items(items, steps, 0, rng)
        whole_batches = rng.permuted(drawn[:num_whole].reshape(-1, batch_size), axis=1)
        return np.concatenate([whole_batches.ravel(), rng.permutation(drawn[num_whole:])])

    def digest(self) -> str:
        """Compute the SHA-256, in hexadecimal, of the groups and, with a speaker limit, of the speakers.

        A run resumes only with the saved digest.
        """
        digest = sha256()
        for numbers, names in self._levels:
            digest.update(f"{names}\n".encode("utf-8", "surrogateescape") + numbers.astype("<i8").tobytes())
        if self._speaker_cap is not None:
            digest.update(self._speaker_cap.speakers.astype("<i8").tobytes())
        return digest.hexdigest()

    def _draw_items(self, items: NDArray, steps: NDArray, level: int, rng: np.random.Generator) -> NDArray:
        """``steps`` states the batch of each draw, ascending; the result has the same shape."""
        if level == len(self._levels):
            if self.shuffle_items is not None:
                # Batches do not matter here: items are drawn in one order after another.
                rounds = -(-len(steps) // len(items))  # rounded up
                return np.concatenate([self.shuffle_items(items, rng) for _ in range(rounds)])[: len(steps)]
            return items[_draw_in_turn(len(items), steps, rng)]
        group_numbers, _ = self._levels[level]
        groups, members = np.unique(group_numbers[items], return_inverse=True)
        shares = self._shares[level][groups]
        if (shares == shares[0]).all():
            drawn_groups = _draw_in_turn(len(shares), steps, rng)
        else:
            drawn_groups = _draw_by_shares(shares, steps)
        drawn = np.empty(len(steps), items.dtype)
        for in_group, draws_of_group in zip(_positions(members, len(groups)), _positions(drawn_groups, len(groups))):
            if len(draws_of_group):
                drawn[draws_of_group] = self._draw_items(items[in_group], steps[draws_of_group], level + 1, rng)
        return drawn


class _SpeakerCap:
    """Draws at most ``speaker_cap`` items of each speaker, and all of unknown ones (None)."""

    def __init__(self, speakers: Sequence[Hashable | None], speaker_cap: int) -> None:
        self.speakers = _number_groups(speakers)[0]
        self.speaker_cap = speaker_cap
        self.unknown = np.array([speaker is None for speaker in speakers], dtype=bool)
        counts = np.bincount(self.speakers[~self.unknown])
        #: number of items drawn in an epoch
        self.draws = int(np.minimum(counts, speaker_cap).sum() + self.unknown.sum())

    def draw(self, rng: np.random.Generator) -> NDArray:
        # Shuffle the items, sort them by speaker, and take the first items of each speaker.
        order = rng.permutation(len(self.speakers))
        order = order[np.argsort(self.speakers[order], kind="stable")]
        speakers = self.speakers[order]
        rank = np.arange(len(order)) - np.searchsorted(speakers, speakers)  # position among the speaker's items
        return np.sort(order[(rank < self.speaker_cap) | self.unknown[order]])


def _number_groups(groups: Sequence[Hashable | None]) -> tuple[NDArray, list[Hashable | None]]:
    # Return the number of each item's group, and the groups by number.
    numbers: dict[Hashable | None, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64), list(numbers)


def _positions(numbers: NDArray, count: int) -> list[NDArray]:
    """List, for each number below ``count``, its positions in ``numbers``, ascending.

    >>> [positions.tolist() for positions in _positions(np.array([1, 0, 1]), 3)]
    [[1], [0, 2], []]
    """
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.searchsorted(numbers[order], np.arange(1, count)))


def _draw_by_shares(shares: NDArray, steps: NDArray) -> NDArray:
    """Draw a group for each draw: in each of the ascending ``steps``, every group gets its share, rounded.

    The groups that have lost most by rounding down so far get the remaining draws of a step.
    """
    shares = shares / shares.max()  # the sum of huge shares would overflow
    shares = shares / math.fsum(shares)
    owed = np.zeros(len(shares))
    groups_of_draws = []
    for number in np.unique(steps, return_counts=True)[1].tolist():
        # Add 1e-9, because rounding errors may put a product slightly below the whole number that it should be.
        counts = np.floor(number * shares + 1e-9).astype(np.int64)
        owed += number * shares - counts
        most_owed = np.argsort(-owed, kind="stable")[: number - counts.sum()]
        counts[most_owed] += 1
        owed[most_owed] -= 1
        groups_of_draws.append(np.repeat(np.arange(len(shares)), counts))
    return np.concatenate(groups_of_draws)


def _draw_in_turn(count: int, steps: NDArray, rng: np.random.Generator) -> NDArray:
    """Draw all numbers below ``count`` in random order, then all again in another, and so on.

    In each of the ascending ``steps``, and over all, counts of draws differ by at most 1.
    """
    if count == 1:
        return np.zeros(len(steps), dtype=np.int64)
    all_numbers = np.arange(count)
    waiting = np.arange(0)
    drawn = []
    for num_draws in np.unique(steps, return_counts=True)[1].tolist():
        rounds, remainder = divmod(num_draws, count)
        drawn_now = waiting[:remainder]
        waiting = waiting[remainder:]
        if num_missing := remainder - len(drawn_now):
            order = rng.permutation(count)
            # In the new order, numbers already drawn in this step come last.
            already_drawn = np.isin(order, drawn_now)
            order = np.concatenate([order[~already_drawn], order[already_drawn]])
            drawn_now = np.concatenate([drawn_now, order[:num_missing]])
            waiting = order[num_missing:]
        drawn += [all_numbers] * rounds + [drawn_now]
    return np.concatenate(drawn)


def balance_of(data: DataConfig, trials: Trials) -> Balance | None:
    """Make the :class:`Balance` that ``data`` asks for; None, as published, to draw each trial once.

    Raises:
        InputError: if no trial states a field of ``data.balance``, or a speaker for
            ``data.speaker_cap``.
    """
    if not data.balanced:
        return None
    weights: dict[Hashable, float] | None = None
    if len(data.parts("train")) > 1:
        weights = {corpus.called: corpus.weight or 1.0 for corpus in data.corpora}
    names = list(data.balance)
    if data.weighted and "corpus" not in names:
        names.insert(0, "corpus")
    levels = [
        Level(_group_of_each_trial(trials, name, "balance"), weights if name == "corpus" else None) for name in names
    ]
    speakers = None
    if data.speaker_cap is not None:
        speakers = _group_of_each_trial(trials, "speaker", "speaker_cap")
    return Balance(len(trials), levels, speakers=speakers, speaker_cap=data.speaker_cap, draws=data.epoch_size)


def _group_of_each_trial(trials: Trials, name: str, key: str) -> list[Hashable | None]:
    """Return the value of the field ``name`` of each trial, None without one.

    Attacks and speakers become pairs of corpus and value.
    """
    field = "label" if name == "class" else name
    values: list[Hashable | None] = [trial.get(field) for trial in trials]
    if all(value is None for value in values):
        stated_fields = [stated for stated in FIELDS if any(trial.get(stated) is not None for trial in trials)]
        raise InputError(
            f"`data.{key}` needs the {name} of the training trials, but no trial states it: remove it, or use a field of the "
            f"trials, such as {join_names(['class', *stated_fields, *extra_fields(trials)], 12)}"
        )
    if name not in ("attack", "speaker"):
        return values
    # Add the corpus: two corpora may use one name for different things.
    return [value and (trial.get("corpus"), value) for value, trial in zip(values, trials)]
