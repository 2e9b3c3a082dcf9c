"""Adversarial training: a step trains on utterances that the current weights are attacked by."""

import pytest
import torch
from builders import input_error
from conftest import seeded_detector

from nes2net.models.backends.base import scores_of
from nes2net.training.adversarial import AdversarialTraining
from nes2net.training.objective import Objective, StepPart
from nes2net.training.recipes.recipe import recipe_from_dict

SPECTRUM = {"name": "lps", "n_fft": 256, "hop_length": 256, "num_bins": 32}
MODEL = {"frontend": SPECTRUM, "aggregation": "last", "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}
TARGETS = torch.arange(8) % 2
WAVEFORMS = 0.1 * torch.randn(8, 8000, generator=torch.Generator().manual_seed(0))


def objective_of(model=MODEL, **settings):
    recipe = recipe_from_dict({"augment": {"adversarial": {"probability": 1.0, **settings}}})
    objective = Objective(seeded_detector(model), recipe)
    objective.begin_training(1)
    return objective


def attacked_by(objective, step=0):
    """The waveforms on which a step trains."""
    mixed, targets = objective.mix(StepPart(WAVEFORMS, TARGETS), TARGETS, 1, step, 0)
    assert torch.equal(targets, TARGETS)
    return mixed.inputs


def test_utterances_of_both_sides_lose_margin_within_the_budget():
    objective = objective_of(attack="fgsm:30")
    attacked = attacked_by(objective)
    noise = attacked - WAVEFORMS
    ratios = 10 * (WAVEFORMS.square().sum(1) / noise.square().sum(1)).log10()
    assert ratios.min() > 29.999
    assert ratios.max() < 40
    detector = objective.detector.eval()
    with torch.no_grad():
        gain = scores_of(detector(attacked), "difference") - scores_of(detector(WAVEFORMS), "difference")
    assert (gain[TARGETS == 1] < 0).all()
    assert (gain[TARGETS == 0] > 0).all()


@pytest.mark.parametrize("side, target", (("spoof", 0), ("bonafide", 1)))
def test_only_utterances_of_the_side_are_attacked(side, target):
    changed = (attacked_by(objective_of(side=side)) != WAVEFORMS).any(1)
    assert torch.equal(changed, TARGETS == target)


def test_the_step_decides_which_utterances_are_attacked():
    objective = objective_of(probability=0.5)
    changed_rows = set()
    for step in range(4):
        attacked = attacked_by(objective, step)
        torch.manual_seed(99)  # no global state counts
        assert torch.equal(attacked_by(objective, step), attacked)
        changed = (attacked != WAVEFORMS).any(1)
        changed_rows.add(tuple(changed.tolist()))
    assert len(changed_rows) > 1
    assert torch.equal(attacked_by(objective_of(probability=0.0)), WAVEFORMS)


def test_the_attack_changes_neither_weights_nor_batch_statistics_nor_random_numbers():
    objective = objective_of(attack="pgd:40", steps=2)
    objective.detector.backend.eval()  # as a part that is frozen
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    modes = [module.training for module in objective.modules()]
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    attacked_by(objective)
    assert torch.equal(torch.rand(2), expected)
    assert [module.training for module in objective.modules()] == modes
    for name, tensor in objective.state_dict().items():
        assert torch.equal(tensor, before[name])
    for weight in objective.parameters():
        assert weight.requires_grad
        assert weight.grad is None


REFUSED = {
    "attack": ("pdg:40", "unknown attack 'pdg'; did you mean 'pgd'"),
    "probability": (2, "adversarial training: probability must be a number from 0 to 1, not 2"),
    "budget": (40, "adversarial training has no setting 'budget'"),
}


@pytest.mark.parametrize("setting", REFUSED)
def test_settings_that_do_not_fit_are_refused_before_training(setting):
    value, message = REFUSED[setting]
    with input_error(message):
        AdversarialTraining.of(**{setting: value})


def test_a_detector_without_bona_fide_is_refused():
    backend = {**MODEL["backend"], "classes": ["A01", "A02"], "score_rule": "difference"}
    with input_error("no class is bonafide: remove `augment.adversarial`"):
        objective_of({**MODEL, "backend": backend})
