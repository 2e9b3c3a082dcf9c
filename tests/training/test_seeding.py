"""Deterministic algorithms: asked for while training, put back, and refused where there are none."""

import os

import pytest
import torch
from builders import small_parts
from builders.determinism import not_repeatable

from nes2net import Detector, InputError
from nes2net.recipes.recipe import Recipe
from nes2net.recipes.train import TrainConfig
from nes2net.training.objective import Objective
from nes2net.training.optimisation import create_optimizer
from nes2net.training.seeding import cuda_algorithms

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def settings():
    cudnn, fill = torch.backends.cudnn, torch.utils.deterministic.fill_uninitialized_memory
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    return (*strict, fill, cudnn.deterministic, cudnn.benchmark, os.environ.get(WORKSPACE))


def test_settings_hold_inside_and_are_put_back(monkeypatch):
    monkeypatch.delenv(WORKSPACE, raising=False)
    before = settings()
    with cuda_algorithms(deterministic=True):
        assert settings() == (True, False, False, True, False, ":4096:8")
        with cuda_algorithms(deterministic=False):
            assert settings()[:5] == (False, False, False, False, False)
        assert settings() == (True, False, False, True, False, ":4096:8")
    assert settings() == before
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with pytest.raises(KeyError), cuda_algorithms(deterministic=True):
        assert os.environ[WORKSPACE] == ":16:8"
        raise KeyError
    assert settings() == (*before[:5], ":16:8")


def test_what_cannot_repeat_itself_is_named(monkeypatch):
    with pytest.raises(InputError, match=r"put_ .*: take `train\.deterministic=false`"):
        with cuda_algorithms(deterministic=True):
            torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))
    with pytest.raises(RuntimeError, match="must match"), cuda_algorithms(deterministic=True):
        torch.zeros(2) + torch.zeros(3)
    monkeypatch.setenv(WORKSPACE, ":0:0")
    with cuda_algorithms(deterministic=False):
        with pytest.raises(InputError, match=r"with CUBLAS_WORKSPACE_CONFIG=:0:0 .* set it to :4096:8 or :16:8"):
            cuda_algorithms(deterministic=True).__enter__()


SSL = {**small_parts.FRONTENDS["wav2vec2"], "dropout": 0.1, "attention_dropout": 0.1}
WAVLM, SPECTRUM = {"name": "wavlm", **SSL}, {"name": "lps", "num_bins": 64}
NES2NET = {"name": "nes2net_x", "nes_ratio": [4, 4], "pool": "astp"}
MPIF = {"name": "mpif_res2net", "num_frames": 64, "planes": [8, 16, 32, 64], "scale": 4, "head": "angular"}


@pytest.mark.parametrize(
    ("frontend", "aggregation", "backend", "train"),
    [
        ({"name": "wav2vec2_small", **SSL}, "weighted_sum", NES2NET, {"activation_checkpointing": True}),
        (WAVLM, "sea", NES2NET, {"optimizer": "adamw"}),
        (WAVLM, "attm", NES2NET, {"precision": "bf16"}),
        ({"name": "lfcc"}, "last", {**NES2NET, "nes_ratio": [4, 3], "num_logits": 1}, {"loss": "focal"}),
        (SPECTRUM, "last", MPIF, {"loss": "angular_softmax"}),
    ],
)
def test_a_step_of_training_can_be_repeated_on_a_gpu(frontend, aggregation, backend, train):
    """Each of its operations has a deterministic implementation; back-ends: tests/backends/test_every_backend.py."""
    values, weights, waveforms, targets = TrainConfig(**train), [], 0.1 * torch.randn(2, 8000), torch.tensor([0, 1])

    def step():
        torch.manual_seed(0)
        detector = Detector.from_config({"frontend": frontend, "aggregation": aggregation, "backend": backend})
        if values.activation_checkpointing:
            detector.frontend.checkpoint_activations()
        objective = Objective(detector, Recipe(train=values))
        optimizer = create_optimizer(detector.parameters(), values)
        with torch.autocast("cpu", torch.bfloat16, enabled=values.precision == "bf16"):
            objective(waveforms, targets, iteration=0).backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        weights.append(list(detector.parameters()))

    step()
    with cuda_algorithms(deterministic=True):
        assert not not_repeatable(step)
    assert all(torch.equal(plain, strict) for plain, strict in zip(*weights, strict=True))
    assert not_repeatable(lambda: torch.rand(3).cumsum(0)) == {"aten::cumsum"}  # so the test can tell
