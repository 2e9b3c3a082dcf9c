"""Reads the reference numbers of the further systems, ``golden/zoo`` of the folder of real files."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from builders import SHARED, golden_backends

#: Tolerances: float32 as the numbers were published, float64 and gradient norms far below.
AGREES, AGREES_F64, GRADIENTS = 1e-5, 1e-10, 1e-8


@cache
def _load(name: str) -> dict[str, Any]:
    return torch.load(SHARED / "golden" / "zoo" / f"{name}.pt", weights_only=True)


def read(name: str) -> dict[str, Any]:
    """The file ``name``; the test skips if there is no such folder."""
    if not (SHARED / "golden" / "zoo").is_dir():
        pytest.skip(f"no reference numbers of further systems at {SHARED / 'golden' / 'zoo'} (set NES2NET_SHARED)")
    return _load(name)


def gradient_norms(named: dict[str, Tensor]) -> dict[str, float | None]:
    """The L2 norm of each gradient, in float64; None if there is none."""
    return {key: None if x.grad is None else x.grad.double().norm().item() for key, x in named.items()}


def check_norms(found: dict[str, float | None], expected: dict[str, float | None], rel: float = GRADIENTS) -> None:
    assert found.keys() == expected.keys()
    for key, norm in expected.items():
        assert found[key] == (None if norm is None else pytest.approx(norm, rel=rel, abs=1e-9)), key


def published_gradients(model: nn.Module, x: Tensor, outputs_of=None) -> tuple[Tensor, dict[str, float | None]]:
    """Logits of ``x`` and the norms of all gradients of the sum that the reference took."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    logits = (outputs_of or model)(x)
    golden_backends.published_loss(logits).backward()
    return logits.detach(), gradient_norms({**dict(model.named_parameters()), "__input__": x})


def close(found: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)
