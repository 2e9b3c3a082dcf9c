"""Compares back-ends with the published code; tests/golden/README.md has the tolerances."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from builders import golden
from nes2net.lib.computing.without_memory import without_memory

AGREES_F64 = 1e-9
GRADIENTS_F64 = 1e-6
HASHED_AT_ONCE = 1 << 15  # as many as the cache of a processor holds


def cases(name: str) -> list[tuple[dict, Tensor]]:
    """What the published code gave for each input, and the input."""
    inputs = golden.read("inputs")
    return [(case, inputs[key]) for key, case in golden.read(name)["cases"].items() if key in inputs]


@lru_cache(maxsize=2)
def state_dict(name: str) -> dict[str, Tensor]:
    """The weights of a file, those that are given as a formula included; callers share them."""
    file = golden.read(name)
    return {**file["state_dict"], **{key: hashed(**rule) for key, rule in file.get("state_formula", {}).items()}}


def hashed(seed: int, scale: float, shape: list[int]) -> Tensor:
    """A tensor that is too large to store: an integer hash of the index, within ±``scale``."""
    numbers = np.empty(np.prod(shape), np.float32)
    for start in range(0, len(numbers), HASHED_AT_ONCE):
        block = numbers[start : start + HASHED_AT_ONCE]
        x = np.arange(start, start + len(block), dtype=np.uint32) + np.uint32(seed * 0x9E3779B9 & 0xFFFFFFFF)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            x ^= x >> np.uint32(shift)
            x *= np.uint32(factor)
        x ^= x >> np.uint32(16)
        block[:] = (x / 2**32 * 2 - 1) * scale
    return torch.from_numpy(numbers.reshape(shape))


def empty(build: Callable[[], nn.Module]) -> nn.Module:
    """The model that ``build`` makes, without the draws of weights that a test will load."""
    with without_memory():
        model = build()
    return model.to_empty(device="cpu")


def manifest(name: str) -> dict[str, list[int]]:
    """Key → shape of every tensor of a published model."""
    return {key: shape for key, (shape, _) in golden.read("manifests")[name]["keys"].items()}


def shapes(model: nn.Module) -> dict[str, list[int]]:
    """Key → shape of every tensor of ``model``."""
    return {key: list(value.shape) for key, value in model.state_dict().items()}


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def published_loss(logits: Tensor) -> Tensor:
    """Σ logits·c with c[b, j] = 1 + 0.5 b − 0.75 j."""
    utterances, columns = (torch.arange(n, dtype=logits.dtype) for n in logits.shape)
    return (logits * (1 + 0.5 * utterances[:, None] - 0.75 * columns)).sum()


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """Logits of features B×T×D, or of hidden states in one tensor, B×L×T×D."""
    return model(x.unbind(1) if x.ndim == 4 else x)


def gradient_norms(parameters: dict[str, Tensor]) -> dict[str, float | None]:
    """The L2 norm of each gradient, in float64; None if there is none."""
    return {key: None if x.grad is None else x.grad.double().norm().item() for key, x in parameters.items()}


def published_gradients(model: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, float | None]]:
    """Logits of ``x``, and the norms of all gradients of the sum that the reference took."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    logits = logits_of(model, x)
    published_loss(logits).backward()
    return logits.detach(), gradient_norms({**dict(model.named_parameters()), "__input__": x})


def check_norms(norms: dict[str, float | None], expected: dict[str, float | None], rel: float, atol: float = 1e-9):
    """Norms within a relative and an absolute tolerance; None means that the published code gives no gradient."""
    assert norms.keys() == expected.keys()
    for key, norm in expected.items():
        assert norms[key] == (None if norm is None else pytest.approx(norm, rel=rel, abs=atol)), key


def check_gradients(
    model: nn.Module, x: Tensor, norms: dict[str, float | None], rel: float, atol: float = 1e-9
) -> Tensor:
    """The norms of all gradients; returns the logits."""
    logits, computed_norms = published_gradients(model, x)
    check_norms(computed_norms, norms, rel, atol)
    return logits


def check_eval(model: nn.Module, case: dict, x: Tensor, atol: float):
    """Float32 outputs within ``atol``; float64 outputs and gradient norms if the file has them."""
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(logits_of(model, x), case["output"], rtol=0, atol=atol)
    if "output_f64" in case:
        logits = check_gradients(model.double(), x.double(), case["grad_norms"], GRADIENTS_F64)
        torch.testing.assert_close(logits, case["output_f64"], rtol=0, atol=AGREES_F64)


def check_train(model: nn.Module, case: dict, x: Tensor):
    """Train mode without dropout, in float64: outputs, gradients and new running statistics."""
    without_dropout(model).double().train()
    logits = check_gradients(model, x.double(), case["train_grad_norms"], GRADIENTS_F64)
    torch.testing.assert_close(logits.float(), case["train_mode_output"].float(), rtol=0, atol=1e-6)
    check_statistics(model, case, rel=1e-9)


def check_statistics(model: nn.Module, case: dict, rel: float):
    """The running statistics after a pass in train mode."""
    statistics = model.state_dict()
    for key, expected in case["bn_after_train_abs_sums"].items():
        assert statistics[key].abs().sum().item() == pytest.approx(expected, rel=rel), key


def check_alike(function: Callable, plain_function: Callable, inputs: list[Tensor]) -> None:
    """Outputs and gradients of two functions in float64."""
    leaves = [tensor.requires_grad_() for tensor in inputs]
    outputs = function(*leaves)
    expected = plain_function(*leaves)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    weights = torch.randn_like(outputs)
    gradients = [torch.autograd.grad((out * weights).sum(), leaves) for out in (outputs, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)
