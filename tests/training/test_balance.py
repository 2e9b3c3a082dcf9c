"""Balance: shares of an epoch's draws in each batch, items in turn, and the cap of a speaker."""

import numpy as np
import pytest
from builders import input_error

from nes2net.data.corpora.trial import Trial
from nes2net.training.balance import Balance, Level, balance_of
from nes2net.training.recipes.data import DataConfig

#: 20 bona fide and 180 spoofed items of a, 60 and 40 of b
CORPUS = ["a"] * 200 + ["b"] * 100
CLASS = ["bonafide"] * 20 + ["spoof"] * 180 + ["bonafide"] * 60 + ["spoof"] * 40
BY_CORPUS_AND_CLASS = Balance(300, [Level(CORPUS), Level(CLASS)], draws=600)
OF_CLASS = [f"{corpus} {label}" for corpus, label in zip(CORPUS, CLASS)]


def order(balance, batch_size, epoch=1):
    return balance.order(np.random.default_rng([7, epoch]), batch_size).reshape(-1, batch_size)


def counts(batches, groups, name):
    """How many items of group ``name`` each batch has."""
    return (np.array(groups)[batches] == name).sum(1)


@pytest.mark.parametrize("batch_size", [12, 13, 3])
def test_corpora_and_their_classes_have_equal_shares_of_each_batch_and_epoch_up_to_one_item(batch_size):
    batches = order(Balance(300, [Level(CORPUS), Level(CLASS)], draws=3000), batch_size)
    for group in ("a", "b"):
        draws = counts(batches, CORPUS, group)
        assert set(draws.tolist()) <= {batch_size // 2, -(-batch_size // 2)}
        assert abs(draws.sum() - batches.size / 2) <= 1
        halves = [counts(batches, OF_CLASS, f"{group} {label}") for label in ("bonafide", "spoof")]
        assert (abs(halves[0] - halves[1]) <= 1).all()
        assert abs(halves[0].sum() - halves[1].sum()) <= 1


def test_each_corpus_gets_a_share_of_the_drawn_items_in_proportion_to_its_weight():
    batches = order(Balance(300, [Level(CORPUS, {"a": 2.0, "b": 1.5})], draws=7000), 10)
    draws = counts(batches, CORPUS, "a")  # 40/7 of 10
    assert set(draws.tolist()) == {5, 6}
    assert abs(np.cumsum(draws) - np.arange(1, 701) * 40 / 7).max() <= 1  # at any time


def test_the_items_of_a_group_are_drawn_equally_often_up_to_one_draw():
    batches = order(BY_CORPUS_AND_CLASS, 12)
    times = np.bincount(batches.ravel(), minlength=300)
    for group in set(OF_CLASS):
        of_group = times[[name == group for name in OF_CLASS]]
        assert np.ptp(of_group) <= 1


def test_no_item_comes_twice_in_a_batch_that_takes_fewer_items_than_each_group_has():
    batches = order(BY_CORPUS_AND_CLASS, 12)
    assert all(len(set(batch)) == 12 for batch in batches.tolist())


@pytest.fixture
def many_groups():
    """The groups of the items of batches that have fewer items than there are groups."""
    groups = np.arange(300) % 50
    return groups[order(Balance(300, [Level(groups.tolist())], draws=310), 31)]


def test_if_groups_outnumber_the_items_of_a_batch_each_batch_has_at_most_one_item_of_each_group(many_groups):
    assert all(len(set(batch)) == 31 for batch in many_groups.tolist())


def test_if_groups_outnumber_the_items_of_a_batch_they_come_equally_often_in_an_epoch(many_groups):
    """Up to one draw."""
    assert np.ptp(np.bincount(many_groups.ravel())) <= 1


SPEAKERS = ["loud"] * 100 + ["quiet"] * 3 + [None] * 10


def test_only_a_speaker_with_more_utterances_than_the_cap_is_capped():
    drawn = set(order(Balance(113, speakers=SPEAKERS, speaker_cap=5), 18).ravel().tolist())
    assert len(drawn) == 18
    assert drawn >= set(range(100, 113))


def test_each_epoch_draws_other_utterances_of_a_capped_speaker():
    balance = Balance(113, speakers=SPEAKERS, speaker_cap=5)
    epochs = [set(order(balance, 18, epoch).ravel().tolist()) for epoch in range(1, 40)]
    assert len(set().union(*epochs)) > 90


def test_a_balance_that_asks_more_of_a_capped_speaker_than_the_cap_repeats_the_same_utterances():
    capped = order(Balance(113, [Level(SPEAKERS)], speakers=SPEAKERS, speaker_cap=5, draws=300), 10)
    assert len(set(capped.ravel().tolist()) & set(range(100))) == 5


TRIALS = [
    Trial(
        f"{corpus}:{number}",
        label=label,
        speaker="s1",
        attack="A01" if label == "spoof" else None,
        extra=(("corpus", corpus),),
    )
    for number, (corpus, label) in enumerate(zip(CORPUS, CLASS))
]
PLAIN = [{"name": "generic", "alias": "a"}, {"name": "generic", "alias": "b"}]
WEIGHTED = [PLAIN[0] | {"weight": 3}, PLAIN[1]]


@pytest.mark.parametrize(
    "settings, batch_size, shares",
    [
        ({"corpora": WEIGHTED}, 40, {"corpus": {"a": 30}}),
        ({"corpora": WEIGHTED, "balance": ["class", "corpus"]}, 16, {"class": {"spoof": 8}, "corpus": {"a": 12}}),
        # An attack is one of its corpus, and so is a speaker.
        ({"corpora": PLAIN, "balance": ["attack"]}, 6, {"attack": {"": 2, "a spoof": 2, "b spoof": 2}}),
    ],
)
def test_each_batch_has_the_shares_that_the_recipe_sets(settings, batch_size, shares):
    attacks = [name if "spoof" in name else "" for name in OF_CLASS]
    groups = {"corpus": CORPUS, "class": CLASS, "attack": attacks}
    batches = order(balance_of(DataConfig(**settings), TRIALS), batch_size)
    for field, of_groups in shares.items():
        for name, share in of_groups.items():
            assert set(counts(batches, groups[field], name).tolist()) == {share}


def test_an_epoch_is_not_balanced_without_a_setting_that_asks_for_it():
    assert balance_of(DataConfig(), TRIALS) is None
    assert balance_of(DataConfig(corpora=PLAIN), TRIALS) is None


def test_an_epoch_draws_as_many_items_as_epoch_size_of_the_recipe():
    assert balance_of(DataConfig(epoch_size=400), TRIALS).draws == 400


def test_an_epoch_without_a_size_draws_as_many_items_as_the_cap_of_speakers_leaves():
    assert balance_of(DataConfig(corpora=PLAIN, speaker_cap=7), TRIALS).draws == 14


def test_a_balance_by_a_fact_that_no_trial_states_is_refused():
    with input_error(r"`data\.balance` needs the codec .* no trial states it: .* such as class,"):
        balance_of(DataConfig(balance=["codec"]), TRIALS)


def test_digests_of_balances_are_equal_only_for_the_same_settings_and_trials():
    by_class = DataConfig(balance=["class"])
    other_settings = [DataConfig(balance=["class", "attack"]), DataConfig(balance=["class"], speaker_cap=1)]
    digests = [balance_of(data, TRIALS).digest() for data in (by_class, *other_settings)]
    digests.append(balance_of(by_class, TRIALS[::-1]).digest())
    assert len(set(digests)) == 4
    assert digests[0] == balance_of(by_class, TRIALS).digest()
