"""Balance: shares of an epoch's draws in each batch, items in turn, and the cap of a speaker."""

import numpy as np
import pytest

from nes2net import InputError
from nes2net.corpora.trial import Trial
from nes2net.recipes.data import DataConfig
from nes2net.training.balance import Balance, Level, balance_of
from nes2net.training.sampling import EpochBatches, StepShare, by_step

#: 20 bona fide and 180 spoofed items of a, 60 and 40 of b; a third of the items has no attack
CORPUS = ["a"] * 200 + ["b"] * 100
CLASS = ["bonafide"] * 20 + ["spoof"] * 180 + ["bonafide"] * 60 + ["spoof"] * 40


def order(balance, batch_size, epoch=1):
    return balance.order(np.random.default_rng([7, epoch]), batch_size).reshape(-1, batch_size)


def counts(batches, groups, name):
    """How many items of group ``name`` each batch has."""
    return (np.array(groups)[batches] == name).sum(1)


@pytest.mark.parametrize("batch_size", [12, 13, 3, 7])
def test_each_batch_has_equal_shares_up_to_one(batch_size):
    batches = order(Balance(300, [Level(CORPUS), Level(CLASS)], draws=3000), batch_size)
    assert batches.shape == (3000 // batch_size, batch_size)
    for group in ("a", "b"):
        found = counts(batches, CORPUS, group)
        assert set(found.tolist()) <= {batch_size // 2, -(-batch_size // 2)}
        assert abs(found.sum() - batches.size / 2) <= 1
        of_class = [f"{corpus}{label}" for corpus, label in zip(CORPUS, CLASS)]
        halves = [counts(batches, of_class, f"{group}{label}") for label in ("bonafide", "spoof")]
        assert (abs(halves[0] - halves[1]) <= 1).all() and abs(halves[0].sum() - halves[1].sum()) <= 1


def test_weights_are_shares_of_the_draws():
    shares = {"a": 2.0, "b": 1.5}
    batches = order(Balance(300, [Level(CORPUS, shares)], draws=7000), 10)
    found = counts(batches, CORPUS, "a")  # 40/7 of 10
    assert set(found.tolist()) == {5, 6} and abs(found.sum() - 4000) <= 1
    assert abs(np.cumsum(found) - np.arange(1, 701) * 40 / 7).max() <= 1  # and so at any time
    most = Level(CORPUS, {"a": 1.6e308, "b": 1.2e308})  # whose sum is no number
    assert (counts(order(Balance(300, [most], draws=7000), 10), CORPUS, "a") == found).all()
    without = order(Balance(300, draws=7000), 10)
    assert abs(counts(without, CORPUS, "a").sum() - 7000 * 2 / 3) <= 200  # by size, each item 23 or 24 times


def test_items_come_in_turn():
    """Each is drawn equally often up to one, and twice in a batch only if its group is smaller than its share."""
    batches = order(Balance(300, [Level(CORPUS), Level(CLASS)], draws=600), 12)
    times = np.bincount(batches.ravel(), minlength=300)
    groups = {("a", "bonafide"): 20, ("a", "spoof"): 180, ("b", "bonafide"): 60, ("b", "spoof"): 40}
    for group, number in groups.items():
        of_group = times[[pair == group for pair in zip(CORPUS, CLASS)]]
        assert len(of_group) == number and of_group.sum() == 150 and np.ptp(of_group) <= 1
    assert all(len(set(batch)) == 12 for batch in batches.tolist())
    plain = order(Balance(300), 12)
    assert sorted(plain.ravel().tolist()) == list(range(300))


def test_a_group_may_have_one_group_of_the_next_level():
    batches = order(Balance(300, [Level(CORPUS), Level(["spoof"] * 200 + CLASS[200:])], draws=600), 12)
    assert (counts(batches, CORPUS, "a") == 6).all() and (counts(batches, CORPUS, "b") == 6).all()


def test_epochs_differ_and_repeat():
    balance = Balance(300, [Level(CORPUS), Level(CLASS)])
    assert (order(balance, 12) == order(balance, 12)).all()
    assert not (order(balance, 12) == order(balance, 12, epoch=2)).all()


def test_many_groups_in_turn():
    """Of more groups than a batch has items each comes equally often up to one, and once in a batch."""
    speakers = [f"s{number % 50}" for number in range(300)]
    batches = order(Balance(300, [Level(speakers)], draws=310), 31)
    times = np.bincount(np.array([int(speakers[item][1:]) for item in batches.ravel()]))
    assert np.ptp(times) <= 1 and all(len({speakers[item] for item in batch}) == 31 for batch in batches.tolist())


def test_a_speaker_has_at_most_so_many_utterances():
    speakers = ["loud"] * 100 + ["quiet"] * 3 + [None] * 10
    balance = Balance(113, speakers=speakers, most_of_speaker=5)
    assert balance.draws == 5 + 3 + 10
    epochs = [set(order(balance, 18, epoch).ravel().tolist()) for epoch in range(1, 40)]
    assert all(len(epoch) == 18 and {100, 101, 102, *range(103, 113)} <= epoch for epoch in epochs)
    assert len(set().union(*epochs)) > 90  # each epoch draws others of the loud one
    capped = order(Balance(113, [Level(speakers)], speakers=speakers, most_of_speaker=5, draws=300), 10)
    assert len(set(capped.ravel().tolist()) & set(range(100))) == 5  # again and again the same of this epoch


@pytest.mark.parametrize("world_size, accumulate", [(2, 1), (1, 3), (3, 2)])
def test_all_processes_share_the_balanced_batches(world_size, accumulate):
    options = {"balance": Balance(300, [Level(CORPUS), Level(CLASS)]), "chunk_samples": [10, 90]}
    whole = EpochBatches(300, 12, 1, True, **options)
    whole.epoch = 2
    parts = []
    for rank in range(world_size):
        batches = EpochBatches(300, 12, 1, True, share=StepShare(rank, world_size, accumulate), **options)
        batches.epoch, batches.start = 2, 5  # as resumed
        parts.append(list(by_step(batches, accumulate)))
    steps = list(whole)
    assert len(steps) == len(whole) == 25
    for step, batch in enumerate(steps[5:]):
        assert [item for place in range(accumulate) for of_rank in parts for item in of_rank[step][place]] == batch


def trials():
    return [
        Trial(
            f"{corpus}:{number}",
            label=label,
            speaker="s1",
            attack="A01" if label == "spoof" else None,
            extra=(("corpus", corpus), ("room", f"r{number % 3}")),
        )
        for number, (corpus, label) in enumerate(zip(CORPUS, CLASS))
    ]


def test_what_a_recipe_says():
    both = [{"name": "generic", "alias": "a", "weight": 3}, {"name": "generic", "alias": "b"}]
    plain = [{"name": corpus["name"], "alias": corpus["alias"]} for corpus in both]
    assert balance_of(DataConfig(), trials()) is None and balance_of(DataConfig(corpora=plain), trials()) is None
    weighted = balance_of(DataConfig(corpora=both, epoch_size=400), trials())
    assert counts(order(weighted, 40), CORPUS, "a").tolist() == [30] * 10
    # By class first, and in each class by weight.
    inner = balance_of(DataConfig(corpora=both, balance=["class", "corpus"]), trials())
    batches = order(inner, 16)
    assert set(counts(batches, CLASS, "spoof").tolist()) == {8} and set(counts(batches, CORPUS, "a").tolist()) == {12}
    # An attack is one of its corpus, and so is a speaker.
    attacks = balance_of(DataConfig(corpora=plain, balance=["attack"]), trials())
    of_attack = [f"{corpus}{label}" if label == "spoof" else "" for corpus, label in zip(CORPUS, CLASS)]
    batches = order(attacks, 6)
    assert [set(counts(batches, of_attack, name).tolist()) for name in ("", "aspoof", "bspoof")] == [{2}] * 3
    assert balance_of(DataConfig(corpora=plain, speaker_cap=7), trials()).draws == 14
    assert set(counts(order(balance_of(DataConfig(balance=["room"]), trials()), 3), list("012") * 100, "0")) == {1}


def test_a_field_that_no_trial_has_is_named():
    with pytest.raises(InputError, match=r"`data\.balance` needs the codec .* none has it; they have class, speaker,"):
        balance_of(DataConfig(balance=["codec"]), trials())
    with pytest.raises(InputError, match=r"`data\.speaker_cap` needs the speaker of the training trials"):
        balance_of(DataConfig(speaker_cap=1), [Trial("a", label="spoof")])


def test_the_groups_have_a_digest():
    """A run does not go on with other groups."""
    by_class = DataConfig(balance=["class"])
    others = [DataConfig(balance=["class", "attack"]), DataConfig(balance=["class"], speaker_cap=1)]
    digests = [balance_of(data, trials()).digest() for data in (by_class, *others)]
    digests.append(balance_of(by_class, trials()[::-1]).digest())
    assert len(set(digests)) == 4 and digests[0] == balance_of(by_class, trials()).digest()
