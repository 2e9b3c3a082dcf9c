"""Deterministic algorithms: asked for while training, put back, and refused where there are none."""

import os

import torch
from builders import input_error

from nes2net.training.seeding import cuda_algorithms

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def settings():
    cudnn = torch.backends.cudnn
    fill = torch.utils.deterministic.fill_uninitialized_memory
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    return (*strict, fill, cudnn.deterministic, cudnn.benchmark, os.environ.get(WORKSPACE))


def test_cuda_algorithms_changes_the_deterministic_settings_of_pytorch(monkeypatch):
    monkeypatch.delenv(WORKSPACE, raising=False)
    with cuda_algorithms(deterministic=True):
        assert settings() == (True, False, False, True, False, ":4096:8")
        with cuda_algorithms(deterministic=False):
            assert settings()[:5] == (False, False, False, False, False)


def test_cuda_algorithms_restores_the_deterministic_settings_of_pytorch_at_its_end():
    before = settings()
    with cuda_algorithms(deterministic=True):
        outer = settings()
        with cuda_algorithms(deterministic=False):
            pass
        assert settings() == outer
    assert settings() == before


def test_an_operation_without_a_deterministic_algorithm_is_refused_by_name():
    with input_error(r"put_ .*: use `train\.deterministic=false`"):
        with cuda_algorithms(deterministic=True):
            torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))
