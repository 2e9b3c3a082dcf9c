"""Sampling: the utterances of each training step, and each process's share of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np
from torch.utils.data import Sampler

from nes2net.errors import InputError

T = TypeVar("T")


def stream_of_epoch(seed: int, epoch: int, *place: int) -> list[int]:
    """Make the seed, for NumPy's generators, of the stream of ``epoch`` or of a ``place`` in it.

    Epochs count from 1, their streams from 0. So a seed gives the weights that it gave when epochs
    counted from 0.

    >>> stream_of_epoch(1234, 1), stream_of_epoch(1234, 2, 7)
    ([1234, 0], [1234, 1, 7])
    """
    return [seed, epoch - 1, *place]


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) pairs, for the ``batch_sampler`` of a ``DataLoader``.

    In training (``shuffle``), step s takes items s·B to (s + 1)·B of a permutation drawn from
    (seed, epoch); the last incomplete batch is dropped, as published. The batch is cut, in order,
    into ``accumulate`` × ``world_size`` parts of nearly equal size. An iteration yields the parts
    of this process: its a-th part is part a·world_size + rank of the step.

    Without ``shuffle``, all batches are in order, and process r takes batches r, r + world_size, ….

    >>> batches = EpochBatches(10, 4, seed=1, shuffle=False)
    >>> [[index for _, index in batch] for batch in batches], len(batches)
    ([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]], 3)
    >>> [len(part) for part in EpochBatches(10, 4, seed=1, shuffle=True, accumulate=2)]
    [2, 2, 2, 2]

    Attributes:
        epoch: epoch of the next iteration, counted from 1: first item of its pairs, and seed of its
            permutation. Set it before each iteration.
        start: first step of the next iteration.

    Raises:
        InputError: if a batch has fewer utterances than parts.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        shuffle: bool,
        *,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        if shuffle and batch_size < accumulate * world_size:
            raise InputError(
                f"a batch of {batch_size} cannot be cut into {accumulate} × {world_size} parts: `train.batch_size` "
                "counts the utterances of all processes and accumulated parts; raise it, or lower `train.accumulate` "
                "or the number of processes"
            )
        self.length, self.batch_size, self.seed, self.shuffle = length, batch_size, seed, shuffle
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        self.epoch, self.start = 1, 0
        #: without ``shuffle``, first item of each of this process's batches
        self._firsts = range(rank * batch_size, length, world_size * batch_size)

    def __len__(self) -> int:
        """Number of steps in an epoch; without ``shuffle``, of this process's batches."""
        return self.length // self.batch_size if self.shuffle else len(self._firsts)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self._training_parts() if self.shuffle else self._batches_in_order()

    def _training_parts(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng(stream_of_epoch(self.seed, self.epoch)).permutation(self.length)
        for step in range(self.start, len(self)):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            parts = np.array_split(batch, self.accumulate * self.world_size)
            for part in parts[self.rank :: self.world_size]:
                yield [(self.epoch, int(index)) for index in part]

    def _batches_in_order(self) -> Iterator[list[tuple[int, int]]]:
        for first in self._firsts[self.start :]:
            yield [(self.epoch, index) for index in range(first, min(first + self.batch_size, self.length))]


def by_step(parts: Iterable[T], accumulate: int) -> Iterator[list[T]]:
    """Group ``parts`` by step.

    >>> list(by_step("abcd", 2))
    [['a', 'b'], ['c', 'd']]
    """
    iterator = iter(parts)
    while step := list(islice(iterator, accumulate)):
        yield step
