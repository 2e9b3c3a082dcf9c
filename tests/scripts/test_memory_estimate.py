"""The estimate of the memory of training."""

import sys

import pytest
from conftest import REPOSITORY

from nes2net.detector import Detector
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.train import TrainConfig


@pytest.fixture
def estimate(small_model, monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts" / "site")
    monkeypatch.delitem(sys.modules, "memory_estimate", raising=False)
    from memory_estimate import training_memory

    return lambda **train: training_memory(Recipe(model=small_model, train=TrainConfig(batch_size=4, **train)))


def test_the_estimate_of_memory_is_of_weights_optimizer_state_and_activations(small_model, estimate):
    detector = Detector.from_config(small_model)
    memory = estimate()
    assert memory.trained == sum(parameter.numel() for parameter in detector.parameters())
    assert memory.weights == sum(tensor.nbytes for tensor in (*detector.parameters(), *detector.buffers()))
    assert memory.optimizer == 3 * 4 * memory.trained
    assert memory.total == memory.weights + memory.optimizer + memory.activations


def test_with_amsgrad_the_estimated_optimizer_state_has_a_fourth_number_for_each_weight(estimate):
    memory = estimate(amsgrad=True)
    assert memory.optimizer == 4 * 4 * memory.trained
