"""Sampling: the utterances of a step, shares of processes, and resuming at a step."""

import numpy as np
import pytest

from nes2net import InputError
from nes2net.training.sampling import EpochBatches, StepShare, by_step


def numbered(batches, number=1, start=0):
    """Batches of an epoch from a step on, with what belongs to each utterance's number: a length, if there is one."""
    batches.epoch = number
    batches.start = start
    return [[tuple(item) for _, *item in part] for part in batches]


def epoch(batches, number=1):
    return [[index for index, *_ in part] for part in numbered(batches, number)]


def test_an_epoch_is_a_permutation_without_the_last_incomplete_batch():
    batches = EpochBatches(23, 5, seed=7, shuffle=True)
    first = epoch(batches)
    second = epoch(batches, 2)
    assert [len(b) for b in first] == [5] * 4
    assert len(batches) == 4
    assert first == epoch(EpochBatches(23, 5, seed=7, shuffle=True)) != second
    assert first != epoch(EpochBatches(23, 5, seed=8, shuffle=True))
    assert [i for b in first for i in b] == np.random.default_rng([7, 0]).permutation(23)[:20].tolist()
    batches.epoch = 3
    assert {number for part in batches for number, _ in part} == {3}


@pytest.mark.parametrize(
    "batch_size, world_size, accumulate", [(12, 2, 1), (12, 2, 3), (13, 4, 3), (5, 5, 1), (7, 1, 3)]
)
def test_parts_of_all_processes_are_the_whole_batch(batch_size, world_size, accumulate):
    whole = epoch(EpochBatches(60, batch_size, seed=1, shuffle=True))
    of_ranks = [StepShare(rank, world_size, accumulate) for rank in range(world_size)]
    shares = [list(by_step(epoch(EpochBatches(60, batch_size, 1, True, share=of)), accumulate)) for of in of_ranks]
    for step, batch in enumerate(whole):
        parts = [shares[rank][step][place] for place in range(accumulate) for rank in range(world_size)]
        assert [i for part in parts for i in part] == batch
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) > 0
    parts = world_size * accumulate
    with pytest.raises(InputError, match=f"batch of {parts - 1} cannot be cut into .* parts.*train.accumulate"):
        EpochBatches(60, parts - 1, 0, True, share=of_ranks[0])


@pytest.mark.parametrize("world_size", [1, 2, 7])
def test_in_order_all_batches_are_shared(world_size):
    batches = [EpochBatches(22, 4, 0, False, share=StepShare(rank, world_size)) for rank in range(world_size)]
    shares = [epoch(b, 5) for b in batches]
    assert [len(b) for b in batches] == [len(s) for s in shares]
    taken = sorted((part[0], part) for share in shares for part in share)
    assert [part for _, part in taken] == [list(range(s, min(s + 4, 22))) for s in range(0, 22, 4)]
    of_lengths = EpochBatches(5, 2, 0, False, lengths=[9, 8, 7, 5, 3])
    assert numbered(of_lengths) == [[(0, 9), (1, 9)], [(2, 7), (3, 7)], [(4, 3)]]  # that of the longest


def shares_of_steps(length, batch_size, world_size, accumulate, **options):
    """Each step's parts in the order of the batch, as (index, length) pairs."""
    of_ranks = [StepShare(rank, world_size, accumulate) for rank in range(world_size)]
    batches = [EpochBatches(length, batch_size, 3, True, share=of, **options) for of in of_ranks]
    shares = [list(by_step(numbered(of), accumulate)) for of in batches]
    steps = range(length // batch_size)
    return [[item for place in range(accumulate) for share in shares for item in share[step][place]] for step in steps]


def test_each_step_has_one_length_in_all_parts_and_processes():
    options = {"chunk_samples": [16000, 96000]}
    whole = shares_of_steps(900, 3, 1, 1, **options)
    assert [[index for index, _ in step] for step in whole] == epoch(EpochBatches(900, 3, 3, True))
    found = [size for (size,) in ({size for _, size in step} for step in whole)]
    counts = np.histogram(found, 8, (16000, 96000))[0]
    # 37.5 expected, standard deviation 5.7
    assert counts.min() > 15
    assert counts.sum() == 300
    assert shares_of_steps(900, 3, 3, 1, **options) == shares_of_steps(900, 3, 1, 3, **options) == whole
    batches = EpochBatches(900, 3, 3, True, **options)
    assert numbered(batches, start=250) == whole[250:]
    assert [part[0][1] for part in numbered(batches, 2)] != found
    assert {5, 6} == {part[0][2] for part in EpochBatches(900, 3, 3, True, chunk_samples=[5, 6])}


def test_pieces_of_similar_length_share_a_batch():
    """Blocks of four batches are ranges of the sorted lengths, in random order inside and outside."""
    lengths = np.random.default_rng(0).integers(8000, 64000, 107)
    batches = EpochBatches(107, 3, seed=3, shuffle=True, lengths=lengths)
    steps = numbered(batches)
    assert len(steps) == len(batches) == 35
    assert all({size for _, size in step} == {max(lengths[index] for index, _ in step)} for step in steps)
    order = [index for step in steps for index, _ in step]
    ranks = np.argsort(np.argsort(lengths, kind="stable"))[order]
    blocks = [ranks[first : first + 12] // 12 for first in range(0, 96, 12)]
    assert len(set(order)) == 105
    assert all(len(set(block)) == 1 for block in blocks)
    assert sorted(block[0] for block in blocks) == list(range(8)) != [block[0] for block in blocks]
    assert set(ranks[96:] // 12) == {8}  # the incomplete block is the last one
    assert any(list(ranks[first : first + 12]) != sorted(ranks[first : first + 12]) for first in range(0, 96, 12))
    assert shares_of_steps(107, 3, 3, 1, lengths=lengths) == shares_of_steps(107, 3, 1, 3, lengths=lengths) == steps
    assert numbered(batches, start=30) == steps[30:]
    assert numbered(batches, 2) != steps
    # Equal lengths are in random order: else the same pieces of full length would be left out of every epoch.
    batches = EpochBatches(50, 4, seed=3, shuffle=True, lengths=[64000] * 50)
    left_out = [set(range(50)) - {i for part in epoch(batches, number) for i in part} for number in range(1, 40)]
    assert all(len(indices) == 2 for indices in left_out)
    assert len(set().union(*left_out)) > 30
