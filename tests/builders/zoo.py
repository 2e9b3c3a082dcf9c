"""Reads the reference numbers of the further systems, ``golden/zoo`` of the folder of real files."""

import copy
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from builders import SHARED
from builders import golden_backends as gb

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


def check_case(model: nn.Module, case: dict[str, Any], x: Tensor) -> Tensor:
    """Outputs in float32; in float64 outputs, gradients, and, if the case has them, those of train mode without dropout.

    Parameters that the published code does not train need not be listed. Returns the logits in float32.
    """
    model.eval()
    with torch.no_grad():
        logits = gb.logits_of(model, x)
    close(logits, case["output"], AGREES)
    double = gb.without_dropout(copy.deepcopy(model)).double()
    for prefix, output in (("", "output_f64"), ("train_", "train_mode_output_f64")):
        if output in case:
            found, norms = gb.published_gradients(double.train(prefix == "train_"), x.double())
            close(found, case[output], AGREES_F64)
            expected = case.get(f"{prefix}grad_norms", norms)
            listed = {key: norm for key, norm in norms.items() if norm is not None or key in expected}
            gb.check_norms(listed, expected, GRADIENTS)
    if "bn_after_train_abs_sums" in case:
        gb.check_statistics(double, case, rel=1e-12)
    return logits


def close(found: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)
