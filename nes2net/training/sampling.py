"""Choose the utterances of each training step, and each process's share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from nes2net.lib.errors import pluralise, refuse
from nes2net.training.balance import Balance
from nes2net.training.read_ahead import ReadAhead

T = TypeVar("T")

_CHUNK_STREAM = 0xC4A2  # arbitrary number; distinguishes the random stream of the lengths from other streams
_STEPS_AHEAD = 16  # number of steps whose blocks are fetched in advance
_BLOCK = 4  # number of batches in a block; pieces of similar length are shuffled within a block


def seed_of_stream(seed: int, epoch: int, *position: int) -> list[int]:
    """Make the seed of the random stream of an ``epoch``, from 1, or of a ``position`` in it.

    Args:
        position: numbers of the stream in the epoch, such as that of a step.

    >>> seed_of_stream(1234, 1), seed_of_stream(1234, 2, 7)
    ([1234, 0], [1234, 1, 7])
    """
    return [seed, epoch - 1, *position]


@dataclass(frozen=True, eq=False)
class ItemBlocks:
    """Items that are read fastest block by block, such as the recordings of a Parquet row group.

    >>> ItemBlocks(np.array([0, 0, 1, 1, 2, 2]), 1).shuffle(np.arange(6), np.random.default_rng(0)).tolist()
    [2, 3, 4, 5, 1, 0]
    """

    of_item: NDArray
    """Number of the block of each item, (N,)."""
    num_open: int
    """Number of blocks that are drawn from at a time."""

    def shuffle(self, items: NDArray, rng: np.random.Generator) -> NDArray:
        """Order ``items`` at random; at most ``num_open`` blocks are begun but not finished at any time."""
        # Blocks have random ranks k. Items are ordered by uniform times between k − num_open + 1 and k + 1, cut off at
        # both ends, so that the first and last items are of num_open blocks, too.
        names, block_of_item = np.unique(self.of_item[items], return_inverse=True)
        rank = rng.permutation(len(names))[block_of_item]
        starts = np.maximum(0, rank - self.num_open + 1)
        ends = np.minimum(rank + 1, max(1, len(names) - self.num_open + 1))
        times = starts + (ends - starts) * rng.random(len(items))
        return items[np.argsort(times, kind="stable")]


def count_steps(draws: int, batch_size: int, drop_last: bool) -> int:
    """Count the steps of an epoch with ``draws`` utterances.

    >>> count_steps(84404, 34, drop_last=False), count_steps(84404, 34, drop_last=True)
    (2483, 2482)
    """
    return draws // batch_size if drop_last else -(-draws // batch_size)


class StepShare(NamedTuple):
    """The rule by which a process takes parts of a step.

    Process ``rank`` takes the parts ``rank``, ``rank`` + ``world_size``, ``rank`` +
    2·``world_size`` and so on, of ``accumulate`` × ``world_size``.
    """

    rank: int = 0
    world_size: int = 1
    accumulate: int = 1


#: The share of a process that trains alone and without accumulation: each step has one part.
WHOLE = StepShare()


@dataclass(eq=False)
class EpochBatches(Sampler[list[tuple[int, ...]]]):
    """Batches of (epoch, index) pairs, for the ``batch_sampler`` of a ``DataLoader``.

    In training (``shuffle``), step s takes items s·B to (s + 1)·B − 1 of a permutation drawn from
    (seed, epoch). The batch is cut into ``accumulate`` × ``world_size`` parts of nearly equal size;
    an incomplete last batch has fewer, equally many for each process. An iteration yields the parts
    of this process's :class:`StepShare`.

    Without ``shuffle``, items stay in order, and process r takes the batches r, r + world_size and
    so on.

    With ``chunk_samples`` or ``lengths``, items are (epoch, index, length), with one length for a
    batch in all its parts and processes. With ``lengths`` and ``shuffle``, items are sorted by
    length (ties at random) and cut into blocks of 4 batches; items within blocks, and blocks but an
    incomplete last one, are shuffled.

    >>> batches = EpochBatches(10, 4, seed=1, shuffle=False)
    >>> [[index for _, index in batch] for batch in batches], len(batches)
    ([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]], 3)
    >>> [len(part) for part in EpochBatches(10, 4, 1, True, StepShare(accumulate=2))]
    [2, 2, 2, 2]

    Args:
        length: number of items.
        batch_size: B, the items of a step, over all parts and processes.
        chunk_samples: lowest and highest length of a step's items, drawn uniformly by a stream of
            (seed, epoch, step).
        lengths: length of each item; a batch gets that of its longest item.
        balance: draws the items instead of a permutation, by the same stream; not with ``lengths``.
        blocks: draws the items instead, if there is no ``balance``.
        ahead: fetches the blocks of the next steps.
        drop_last: drop the last incomplete batch of a training epoch.

    Attributes:
        epoch: epoch of the next iteration, from 1; set it before each.
        start: first step of the next iteration.

    Raises:
        InputError: if a batch has fewer utterances than parts, or the last batch fewer than
            processes.
    """

    length: int
    batch_size: int
    seed: int
    shuffle: bool
    share: StepShare = WHOLE
    _: KW_ONLY
    chunk_samples: Sequence[int] | None = None
    lengths: Sequence[int] | None = None
    balance: Balance | None = None
    blocks: ItemBlocks | None = None
    ahead: ReadAhead | None = None
    drop_last: bool = True
    epoch: int = 1
    start: int = 0

    def __post_init__(self) -> None:
        rank, world_size, accumulate = self.share
        #: number of items that an epoch draws
        self.draws = self.length if self.balance is None else self.balance.draws
        size_of_last = self.draws % self.batch_size
        refuse(
            (
                self.shuffle and self.batch_size < accumulate * world_size,
                f"a batch of {self.batch_size} cannot be cut into {accumulate} × {world_size} parts: "
                "`train.batch_size` counts the utterances of all processes and accumulated parts; raise it, or lower "
                "`train.accumulate` or the number of processes",
            ),
            (
                self.shuffle and not self.drop_last and 0 < size_of_last < world_size,
                f"the last batch of an epoch has {pluralise(size_of_last, 'utterance')}, too few for {world_size} "
                "processes: set `train.drop_last=true`, or change `train.batch_size` or the number of processes",
            ),
        )
        #: numbers of this process's batches in the epoch
        self._numbers = range(rank, -(-self.length // self.batch_size), world_size)
        if self.shuffle:  # this process has a part of each batch
            self._numbers = range(count_steps(self.draws, self.batch_size, self.drop_last))

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[list[tuple[int, ...]]]:
        order = self._draw_order()
        for number in self._numbers[self.start :]:
            first = number * self.batch_size
            batch = order[first : first + self.batch_size]
            if self.ahead is not None:
                self.ahead.request(order[first : first + _STEPS_AHEAD * self.batch_size])
            length = self._common_length(batch, number)
            for indices in self._parts_of(batch):
                yield [(self.epoch, int(index), *length) for index in indices]

    def _parts_of(self, batch: NDArray) -> list[NDArray]:
        if not self.shuffle:
            return [batch]
        rank, world_size, num_parts = self.share
        if len(batch) < self.batch_size:
            # Keep the parts about as large as in other steps. Each process needs an item in each of its parts.
            part_size = math.ceil(self.batch_size / (num_parts * world_size))
            num_parts = min(math.ceil(len(batch) / (part_size * world_size)), len(batch) // world_size)
        return np.array_split(batch, num_parts * world_size)[rank::world_size]

    def _draw_order(self) -> NDArray:
        if not self.shuffle:
            return np.arange(self.length)
        rng = np.random.default_rng(seed_of_stream(self.seed, self.epoch))
        if self.balance is not None:
            return self.balance.order(rng, self.batch_size, self.drop_last)
        if self.blocks is not None:
            order = self.blocks.shuffle(np.arange(self.length), rng)
        else:
            order = rng.permutation(self.length)
        if self.lengths is None:
            return order
        order = order[np.argsort(np.take(self.lengths, order), kind="stable")]
        size = _BLOCK * self.batch_size
        blocks = [rng.permutation(order[first : first + size]) for first in range(0, self.length, size)]
        num_whole = self.length // size
        shuffled_blocks = [blocks[number] for number in rng.permutation(num_whole)]
        return np.concatenate([*shuffled_blocks, *blocks[num_whole:]])

    def _common_length(self, batch: NDArray, step: int) -> tuple[int, ...]:
        """Return a tuple that holds the length, or is empty if each item keeps its own."""
        if self.chunk_samples is not None:
            low, high = self.chunk_samples
            rng = np.random.default_rng(seed_of_stream(self.seed, self.epoch, step, _CHUNK_STREAM))
            return (int(rng.integers(low, high, endpoint=True)),)
        if self.lengths is None:
            return ()
        return (int(np.take(self.lengths, batch).max()),)


def by_step(batches: Iterable[T], accumulate: int) -> Iterator[list[T]]:
    """Group ``batches``, which are parts of steps, by step; the last may have fewer than ``accumulate``.

    >>> list(by_step("abcd", 2))
    [['a', 'b'], ['c', 'd']]
    """
    iterator = iter(batches)
    while step := list(islice(iterator, accumulate)):
        yield step
