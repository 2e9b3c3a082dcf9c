"""EERs over several corpora."""

import numpy as np
import pytest

from nes2net import metrics
from nes2net.corpora.trial import Trial
from nes2net.evaluation.breakdown import FEWEST, OverCorpora, over_corpora
from nes2net.evaluation.matching import match


def scored(seed, attacks):
    """A corpus with 30 bona fide trials, and so many of each attack, whose scores overlap."""
    rng = np.random.default_rng(seed)
    key = [Trial(f"b{number}", label="bonafide") for number in range(30)]
    for attack, number in attacks.items():
        key += [Trial(f"{attack}{place}", label="spoof", attack=attack) for place in range(number)]
    means = np.array([2.0 if trial.label == "bonafide" else float(trial.attack[1:]) for trial in key])
    return match(key, [trial.id for trial in key], means + rng.normal(size=len(key)))


def test_every_figure_is_that_of_its_trials():
    attacks = {"one": {"A0": 40, "A1": 40}, "two": {"A1": 25, "A2": FEWEST - 1}, "three": {}}
    corpora = {name: scored(seed, of) for seed, (name, of) in enumerate(attacks.items())}
    methods = {"one": "asvspoof", "two": "sklearn", "three": "asvspoof"}
    found = over_corpora(corpora, methods)
    scores = {name: (corpora[name].bonafide, corpora[name].spoof) for name in ("one", "two")}
    expected = {name: metrics.compute_eer(*classes, methods[name])[0] for name, classes in scores.items()}
    assert found.eers == expected  # three has no spoofed trials
    assert found.mean == pytest.approx(np.mean(list(expected.values())))
    assert found.worst == max(expected.items(), key=lambda pair: pair[1])
    bonafide, spoof = zip(*((matched.bonafide, matched.spoof) for matched in corpora.values()))
    assert found.pooled == metrics.compute_eer(np.concatenate(bonafide), np.concatenate(spoof))[0]
    assert list(found.groups) == ["one/A0", "one/A1", "two/A1"]  # A2 has too few trials
    one = corpora["one"]
    of_attack = one.scores[[trial.attack == "A1" for trial in one.trials]]
    assert found.groups["one/A1"] == metrics.compute_eer(one.bonafide, of_attack)[0]
    assert found.worst_group == max(found.groups.items(), key=lambda pair: pair[1])


def test_the_table():
    found = OverCorpora({"la": 0.1, "wild": 0.25}, {"la/A07": 0.4, "wild/x": 0.3}, 0.2)
    assert found.table().splitlines() == [
        "corpus                 EER %",
        "la                    10.000",
        "wild                  25.000  worst",
        "mean                  17.500",
        "worst group (la/A07)  40.000",
        "pooled                20.000",
    ]
    assert found.to_dict()["worst"] == ["wild", 0.25]
    assert OverCorpora({}).mean is None and OverCorpora({}).worst is None and OverCorpora({}).rows() == []
