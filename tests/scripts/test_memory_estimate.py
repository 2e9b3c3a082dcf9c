"""The estimate of the memory of training follows what is trained, and how."""

import sys

import pytest
from conftest import REPOSITORY

from nes2net.detector import Detector
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.train import TrainConfig

LORA = {"kind": "lora", "rank": 2}


@pytest.fixture
def training_memory(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts" / "site")
    monkeypatch.delitem(sys.modules, "memory_estimate", raising=False)
    from memory_estimate import training_memory

    return training_memory


@pytest.fixture
def estimate(small_model, training_memory):
    return lambda **train: training_memory(Recipe(model=small_model, train=TrainConfig(batch_size=4, **train)))


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_estimate_counts_weights_and_optimizer_state(small_model, estimate):
    detector = Detector.from_config(small_model)
    memory = estimate()
    assert memory.trained == num_parameters(detector)
    assert memory.weights == sum(tensor.nbytes for tensor in (*detector.parameters(), *detector.buffers()))
    assert memory.optimizer == 3 * 4 * memory.trained
    assert estimate(amsgrad=True).optimizer == 4 * 4 * memory.trained
    assert memory.total == memory.weights + memory.optimizer + memory.activations


def test_only_trained_parameters_are_counted_as_trained(small_model, estimate):
    backend = Detector.from_config(small_model).backend
    lora = estimate(adapt=LORA)
    added_bytes = lora.weights - estimate().weights
    assert lora.trained == added_bytes // 4 + num_parameters(backend)
    assert estimate(freeze_frontend=True).trained == num_parameters(backend)


@pytest.mark.parametrize(
    "options", [{"activation_checkpointing": True}, {"accumulate": 2}, {"freeze_layers": 1}, {"adapt": LORA}]
)
def test_settings_that_save_activations_lower_the_estimate(estimate, options):
    activations = estimate(**options).activations
    assert 0 < activations
    assert activations < 0.9 * estimate().activations
