"""Attacks by questions only."""

import numpy as np
import pytest
import torch

from nes2net.models.attacks.batch import AttackedBatch
from nes2net.models.attacks.queries import Spsa, Square

WAVEFORMS = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (3, 200)))
IS_SPOOF = torch.tensor([True, False, True])
WEIGHT = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (200, 2)))


def asked(attack):
    """The last iterate of ``attack``, what it asked for, and the clean recordings."""
    questions = []

    def logits_of(x):
        assert not torch.is_grad_enabled()
        questions.append(x)
        return x @ WEIGHT

    batch = AttackedBatch(logits_of, WAVEFORMS, IS_SPOOF, "score")
    batch.seed(0)
    *_, last = attack.iterates(batch)
    return last, questions, batch.clean


def test_spsa_asks_for_two_scores_of_each_of_32_directions():
    _, questions, clean = asked(Spsa("0.01fs", steps=3))
    assert len(questions) == 3 * 2 * 32
    size = (questions[0] - clean).abs()
    assert size.numpy() == pytest.approx(0.01)


def test_square_asks_once_for_its_start_and_for_each_step():
    last, questions, clean = asked(Square("0.01fs", steps=50))
    assert len(questions) == 1 + 50
    for question in questions:
        size = (question - clean).abs()
        assert size.numpy() == pytest.approx(0.01)
    signs = IS_SPOOF * 2.0 - 1
    reached = [signs * (question @ WEIGHT)[:, 1] for question in questions]
    best = torch.stack(reached).amax(0)
    torch.testing.assert_close(signs * (last @ WEIGHT)[:, 1], best)


def test_stretches_of_square_become_shorter_and_each_changes_something():
    last, questions, _ = asked(Square("0.01fs", steps=1000))
    widths = []
    signs = IS_SPOOF * 2.0 - 1
    current = questions[0]
    value = signs * (current @ WEIGHT)[:, 1]
    for question in questions[1:]:
        changes = (question != current).sum(1)
        assert changes.min() > 0
        widths.append(int(changes.max()))
        asked_value = signs * (question @ WEIGHT)[:, 1]
        current = torch.where((asked_value > value)[:, None], question, current)
        value = torch.maximum(value, asked_value)
    assert torch.equal(current, last)
    assert max(widths[:2]) <= 160
    assert max(widths[10:20]) <= 40
    assert set(widths[-100:]) == {1}
