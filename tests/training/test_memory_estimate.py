"""The estimate of the memory of training follows what is trained, and how."""

import pytest

from nes2net.detector import Detector
from nes2net.training.memory_estimate import training_memory
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.train import TrainConfig


@pytest.fixture
def estimate(small_model):
    return lambda **train: training_memory(Recipe(model=small_model, train=TrainConfig(batch_size=4, **train)))


def test_weights_and_moments_are_counted(small_model, estimate):
    detector = Detector.from_config(small_model)
    whole = estimate()
    assert whole.trained == sum(p.numel() for p in detector.parameters())
    assert whole.weights == sum(t.nbytes for t in (*detector.parameters(), *detector.buffers()))
    assert whole.optimizer == 3 * 4 * whole.trained and estimate(amsgrad=True).optimizer == 4 * 4 * whole.trained
    assert whole.total == whole.weights + whole.optimizer + whole.activations
    lora = estimate(adapt={"kind": "lora", "rank": 2})
    added = lora.weights - whole.weights
    assert lora.trained == added // 4 + sum(p.numel() for p in detector.backend.parameters())
    assert estimate(freeze_frontend=True).trained == sum(p.numel() for p in detector.backend.parameters())


def test_settings_that_take_less(estimate, small_model):
    whole = estimate().activations
    lora = {"adapt": {"kind": "lora", "rank": 2}}
    for options in ({"activation_checkpointing": True}, {"accumulate": 2}, {"freeze_layers": 1}, lora):
        assert 0 < estimate(**options).activations < 0.9 * whole, options
    assert estimate(**lora, precision="bf16").activations < estimate(**lora).activations
    assert estimate(freeze_frontend=True).activations < 0.2 * whole
    # Logistic regression keeps nothing. Its last layer of one logit is none that the cross-entropy of steps takes.
    model = {**small_model, "backend": {"name": "logistic", "num_logits": 1}}
    train = TrainConfig(optimizer="logistic", loss="focal", epochs=1)
    found = training_memory(Recipe(model=model, train=train))
    assert found.trained > 0 and found.optimizer == found.activations == 0
