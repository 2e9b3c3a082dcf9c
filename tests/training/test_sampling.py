"""Sampling: the utterances of a step, shares of processes, and resuming at a step."""

import numpy as np
import pytest

from nes2net import InputError
from nes2net.training.sampling import EpochBatches, by_step


def epoch(batches, number=1, start=0):
    batches.epoch, batches.start = number, start
    return [[index for _, index in part] for part in batches]


def test_an_epoch_is_a_permutation_without_the_last_incomplete_batch():
    batches = EpochBatches(23, 5, seed=7, shuffle=True)
    first, second = epoch(batches), epoch(batches, 2)
    assert [len(b) for b in first] == [5] * 4 and len(batches) == 4
    assert len({i for b in first for i in b}) == 20
    assert first == epoch(EpochBatches(23, 5, seed=7, shuffle=True)) != second
    assert first != epoch(EpochBatches(23, 5, seed=8, shuffle=True))
    assert [i for b in first for i in b] == np.random.default_rng([7, 0]).permutation(23)[:20].tolist()
    batches.epoch = 3
    assert {number for part in batches for number, _ in part} == {3}


def test_going_on_from_a_step_gives_the_rest():
    batches = EpochBatches(23, 5, seed=7, shuffle=True, accumulate=2)
    whole = epoch(batches, 2)
    assert [epoch(batches, 2, start) for start in range(5)] == [whole[2 * start :] for start in range(5)]


@pytest.mark.parametrize(
    "batch_size, world_size, accumulate", [(12, 2, 1), (12, 2, 3), (13, 4, 3), (5, 5, 1), (7, 1, 3)]
)
def test_parts_of_all_processes_are_the_whole_batch(batch_size, world_size, accumulate):
    whole = epoch(EpochBatches(60, batch_size, seed=1, shuffle=True))
    shares = [
        list(
            by_step(
                epoch(EpochBatches(60, batch_size, 1, True, rank=r, world_size=world_size, accumulate=accumulate)),
                accumulate,
            )
        )
        for r in range(world_size)
    ]
    for step, batch in enumerate(whole):
        parts = [shares[rank][step][place] for place in range(accumulate) for rank in range(world_size)]
        assert [i for part in parts for i in part] == batch
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1 and min(sizes) > 0


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_in_order_all_batches_are_shared(world_size):
    batches = [EpochBatches(22, 4, 0, False, rank=r, world_size=world_size) for r in range(world_size)]
    shares = [epoch(b, 5) for b in batches]
    assert [len(b) for b in batches] == [len(s) for s in shares]
    taken = sorted((part[0], part) for share in shares for part in share)
    assert [part for _, part in taken] == [list(range(s, min(s + 4, 22))) for s in range(0, 22, 4)]


def test_a_batch_of_fewer_utterances_than_parts_is_refused():
    with pytest.raises(InputError, match="batch of 4 cannot be cut into 3 × 2 parts.*train.accumulate"):
        EpochBatches(60, 4, 0, True, world_size=2, accumulate=3)
