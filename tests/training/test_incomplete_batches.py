"""Training with the last incomplete batch of an epoch: `train.drop_last: false`."""

from itertools import chain

from builders import SHARED, input_error
from builders.files import read_json
from builders.runs import refused, state_of

from nes2net.training.balance import Balance, Level
from nes2net.training.run import train
from nes2net.training.sampling import EpochBatches, StepShare, by_step


def indices_of(batches):
    """The indices of each batch."""
    return [[index for _, index, *_ in batch] for batch in batches]


def sizes_of_steps(num_items, batch_size, share):
    """Sizes of a process's batches in each step."""
    batches = EpochBatches(num_items, batch_size, 1, True, share, drop_last=False)
    sizes = [len(batch) for batch in batches]
    return list(by_step(sizes, share.accumulate))


def num_steps(folder):
    """How many steps the optimiser of a run has made."""
    moments = state_of(folder)["optimizer"]["state"]
    return int(moments[0]["step"])


def test_number_of_batches_and_size_of_the_last_one_in_a_ctrsvdd_epoch_equal_the_published_code(shared):
    path = SHARED / "golden" / "originals" / "ctrsvdd_batches.json"
    published = read_json(path)
    batches = EpochBatches(published["items"], published["batch_size"], 1, True, drop_last=published["drop_last"])
    assert len(batches) == published["steps"]
    batches.start = published["steps"] - 1
    assert [len(batch) for batch in batches] == [published["last_batch"]]


def test_an_incomplete_last_batch_has_the_items_that_are_otherwise_dropped():
    complete_batches = indices_of(EpochBatches(23, 5, 7, True))
    batches = indices_of(EpochBatches(23, 5, 7, True, drop_last=False))
    assert batches[:-1] == complete_batches
    assert sorted(chain.from_iterable(batches)) == list(range(23))


def test_each_process_gets_equally_many_parts_of_an_incomplete_batch_and_none_is_empty():
    assert sizes_of_steps(25, 10, StepShare(0, 2, 3)) == [[2, 2, 1], [2, 2, 1], [2, 1]]
    assert sizes_of_steps(25, 10, StepShare(1, 2, 3)) == [[2, 2, 1], [2, 2, 1], [1, 1]]
    assert sizes_of_steps(7, 4, StepShare(0, 2, 2)) == [[1, 1], [2]]
    assert sizes_of_steps(7, 4, StepShare(1, 2, 2)) == [[1, 1], [1]]


def test_a_last_batch_of_fewer_utterances_than_processes_is_refused():
    share = StepShare(0, 2)
    message = "the last batch of an epoch has 1 utterance, too few for 2 processes: set `train.drop_last=true`"
    with input_error(message):
        EpochBatches(21, 10, 1, True, share, drop_last=False)


def test_each_piece_comes_once_in_an_epoch_with_an_incomplete_last_batch():
    steps = indices_of(EpochBatches(30, 4, 3, True, lengths=list(range(100, 130)), drop_last=False))
    assert sorted(chain.from_iterable(steps)) == list(range(30))


def test_a_balance_of_groups_holds_in_each_batch_even_in_an_incomplete_one():
    groups = ["a"] * 40 + ["b"] * 12
    balance = Balance(52, [Level(groups)])
    batches = indices_of(EpochBatches(52, 8, 3, True, balance=balance, drop_last=False))
    assert len(batches[-1]) < 8
    for batch in batches:
        num_of_a = sum(groups[index] == "a" for index in batch)
        assert abs(num_of_a - len(batch) / 2) <= 0.5


def test_an_epoch_smaller_than_a_batch_is_one_step_if_drop_last_is_false(recipe):
    folder = train(recipe(train={"epochs": 1, "batch_size": 20, "drop_last": False}), "cpu")
    assert num_steps(folder) == 1


def test_an_epoch_without_a_complete_batch_is_refused_if_drop_last_is_true(recipe):
    message = "12 training trials do not fill one batch of 20: .*`train.drop_last=false`"
    refused(recipe(train={"batch_size": 20}), message)


def test_a_last_batch_of_one_utterance_is_refused_if_the_back_end_batch_normalises_vectors(recipe):
    run = recipe(train={"epochs": 1, "batch_size": 11, "drop_last": False})
    message = "a part of a step has a single utterance, too few for batch statistics: .*set `train.drop_last=true`"
    refused(run, message, "cpu")


def test_a_last_batch_of_one_utterance_is_trained_on_if_the_back_end_batch_normalises_frames(recipe):
    model = {"backend": {"name": "nes2net_x", "nes_ratio": [2, 2]}}
    run = recipe(model=model, train={"epochs": 1, "batch_size": 11, "drop_last": False})
    assert num_steps(train(run, "cpu")) == 2
