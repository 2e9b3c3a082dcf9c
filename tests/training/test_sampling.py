"""Sampling: the utterances of a step, shares of processes, and resuming at a step."""

from itertools import chain

import numpy as np
import pytest

from nes2net.training.sampling import EpochBatches, StepShare, by_step


def numbered(batches, number=1, start=0):
    """Batches of an epoch from a step on, with what belongs to each utterance's number: a length, if there is one."""
    batches.epoch = number
    batches.start = start
    return [[tuple(item) for _, *item in batch] for batch in batches]


def epoch(batches, number=1):
    return [[index for index, *_ in batch] for batch in numbered(batches, number)]


def test_the_order_of_an_epoch_is_the_permutation_of_its_items_by_seed_and_epoch():
    batches = EpochBatches(20, 5, seed=7, shuffle=True)
    for number in (1, 2):
        permutation = np.random.default_rng([7, number - 1]).permutation(20)
        assert epoch(batches, number) == permutation.reshape(4, 5).tolist()


def test_each_item_of_a_batch_comes_with_the_number_of_its_epoch():
    batches = EpochBatches(23, 5, seed=7, shuffle=True)
    batches.epoch = 3
    assert {number for batch_part in batches for number, _ in batch_part} == {3}


def parts_of_steps(world_size, accumulate, *arguments, **options):
    """The parts of each step over all processes, in the order of the batch, each item with what belongs to it."""
    steps_of_ranks = []
    for rank in range(world_size):
        share = StepShare(rank, world_size, accumulate)
        batches = EpochBatches(*arguments, share=share, **options)
        steps_of_ranks.append(by_step(numbered(batches), accumulate))
    return [list(chain.from_iterable(zip(*parts_of_ranks))) for parts_of_ranks in zip(*steps_of_ranks)]


@pytest.fixture(params=[(12, 2, 1), (12, 2, 3), (13, 4, 3), (5, 5, 1), (7, 1, 3)])
def divided(request):
    """Each batch of an epoch, and its parts over all processes."""
    batch_size, world_size, accumulate = request.param
    epoch_options = (60, batch_size, 1, True)
    batches = numbered(EpochBatches(*epoch_options))
    return list(zip(batches, parts_of_steps(world_size, accumulate, *epoch_options), strict=True))


def test_parts_of_a_step_over_all_processes_join_to_the_batch(divided):
    for batch, step_parts in divided:
        assert list(chain.from_iterable(step_parts)) == batch


def test_sizes_of_the_parts_of_a_step_over_all_processes_differ_by_at_most_one(divided):
    for _, step_parts in divided:
        assert np.ptp(list(map(len, step_parts))) <= 1


@pytest.mark.parametrize("world_size", [1, 2, 7])
def test_each_batch_of_the_development_set_goes_to_exactly_one_process(world_size):
    batches = [EpochBatches(22, 4, 0, False, share=StepShare(rank, world_size)) for rank in range(world_size)]
    shares = [epoch(batches_of_rank, 5) for batches_of_rank in batches]
    in_order = np.array_split(np.arange(22), range(4, 22, 4))
    assert sorted(chain.from_iterable(shares)) == [batch.tolist() for batch in in_order]


def test_a_batch_of_the_development_set_has_the_length_of_its_longest_item():
    of_lengths = EpochBatches(5, 2, 0, False, lengths=[9, 8, 7, 5, 3])
    assert numbered(of_lengths) == [[(0, 9), (1, 9)], [(2, 7), (3, 7)], [(4, 3)]]


CHUNKS = {"chunk_samples": [16000, 96000]}


def shares_of_steps(world_size, accumulate):
    """Each step as (index, length) pairs in the order of the batch."""
    steps = parts_of_steps(world_size, accumulate, 900, 3, 3, True, **CHUNKS)
    return [list(chain.from_iterable(step_parts)) for step_parts in steps]


def test_each_step_of_dynamic_crops_has_one_length_in_all_parts_and_processes():
    steps = shares_of_steps(world_size=1, accumulate=1)
    assert shares_of_steps(world_size=3, accumulate=1) == steps
    assert shares_of_steps(world_size=1, accumulate=3) == steps
    lengths = np.array([[length for _, length in step] for step in steps])
    assert (lengths == lengths[:, :1]).all()


def test_lengths_of_dynamic_crops_are_drawn_evenly_from_their_range():
    lengths = [batch[0][2] for batch in EpochBatches(900, 3, 3, True, **CHUNKS)]
    counts = np.histogram(lengths, 8, (16000, 96000))[0]
    assert counts.sum() == 300
    assert abs(counts - 37.5).max() < 23  # four standard deviations


def test_lengths_of_dynamic_crops_are_the_same_after_resuming():
    batches = EpochBatches(900, 3, 3, True, **CHUNKS)
    assert numbered(batches, start=250) == numbered(batches)[250:]


def test_lengths_of_dynamic_crops_differ_between_epochs():
    batches = EpochBatches(900, 3, 3, True, **CHUNKS)
    lengths, other_lengths = ([step[0][1] for step in numbered(batches, number)] for number in (1, 2))
    assert lengths != other_lengths


LENGTHS = np.random.default_rng(0).integers(8000, 64000, 107)


@pytest.fixture
def piece_batches():
    return EpochBatches(107, 3, seed=3, shuffle=True, lengths=LENGTHS)


def test_pieces_of_a_batch_get_the_length_of_its_longest_piece(piece_batches):
    steps = numbered(piece_batches)
    assert len(steps) == 35
    for step in steps:
        indices, lengths = zip(*step)
        assert set(lengths) == {max(LENGTHS[list(indices)])}


@pytest.fixture
def ranks(piece_batches):
    """The ranks of the pieces by their length, in the order of an epoch."""
    order = list(chain.from_iterable(epoch(piece_batches)))
    return np.argsort(np.argsort(LENGTHS, kind="stable"))[order]


def test_four_batches_in_a_row_have_pieces_from_one_range_of_the_sorted_lengths(ranks):
    """The last three batches have the longest pieces, from a smaller range."""
    numbers = ranks[:96].reshape(8, 12) // 12
    assert (numbers == numbers[:, :1]).all()
    assert sorted(numbers[:, 0]) == list(range(8))
    assert set(ranks[96:] // 12) == {8}


def test_ranges_of_lengths_do_not_come_sorted(ranks):
    assert set(np.sign(np.diff(ranks[:96:12]))) == {-1, 1}


def test_pieces_from_one_range_of_lengths_do_not_come_sorted(ranks):
    assert set(np.sign(np.diff(ranks[:96].reshape(8, 12))).ravel()) == {-1, 1}


def test_batches_of_pieces_differ_between_epochs(piece_batches):
    assert numbered(piece_batches, 2) != numbered(piece_batches)


def test_batches_of_pieces_are_the_same_after_resuming(piece_batches):
    assert numbered(piece_batches, start=30) == numbered(piece_batches)[30:]


def test_the_pieces_left_over_from_complete_batches_differ_between_epochs():
    batches = EpochBatches(50, 4, seed=3, shuffle=True, lengths=[64000] * 50)
    ever_omitted = set()
    for number in range(1, 40):
        ever_omitted |= set(range(50)).difference(*epoch(batches, number))
    assert len(ever_omitted) > 30
