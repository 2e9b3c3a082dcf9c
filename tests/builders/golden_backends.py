"""Comparing back-ends and heads with the outputs of the published code (format and tolerances: the reference folder's README)."""

import json
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nes2net.backends.aasist import aasist
from nes2net.backends.nes2net import nes2net, nes2net_x, nes2net_x_selu
from nes2net.backends.raw_aasist import raw_aasist, raw_aasist_l

AGREES_F64 = 1e-9
GRADIENTS_F64 = 1e-6


@cache
def load(folder: Path, name: str) -> dict:
    return torch.load(folder / f"{name}.pt", weights_only=True)


def cases(folder: Path, name: str) -> dict[str, tuple[dict, Tensor]]:
    """Input name → (what the published code gave, the input)."""
    inputs = load(folder, "inputs")
    return {key: (case, inputs[key]) for key, case in load(folder, name)["cases"].items() if key in inputs}


def state_dict(folder: Path, name: str) -> dict[str, Tensor]:
    """The file's weights, with those given as a formula written out."""
    file = load(folder, name)
    return {**file["state_dict"], **{key: hashed(**rule) for key, rule in file.get("state_formula", {}).items()}}


def hashed(seed: int, scale: float, shape: list[int]) -> Tensor:
    """The formula of ``hash_doc``: a value per index from an integer hash, uniform in ±``scale``."""
    x = np.arange(np.prod(shape), dtype=np.uint32) + np.uint32(seed * 0x9E3779B9 & 0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    x ^= x >> np.uint32(16)
    return torch.from_numpy(np.float32((x / 2**32 * 2 - 1) * scale).reshape(shape))


def check_names_and_shapes(model: nn.Module, folder: Path, manifest: str) -> None:
    published = json.loads((folder / f"manifest_{manifest}.json").read_text())["keys"]
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == {
        key: shape for key, (shape, _) in published.items()
    }


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def published_loss(logits: Tensor) -> Tensor:
    """Σ logits·c with c[b, j] = 1 + 0.5 b − 0.75 j."""
    utterances, columns = (torch.arange(n, dtype=logits.dtype) for n in logits.shape)
    return (logits * (1 + 0.5 * utterances[:, None] - 0.75 * columns)).sum()


def check_eval(model: nn.Module, case: dict, x: Tensor, atol: float) -> None:
    """Float32 outputs within ``atol``; where the file has them, float64 outputs and the norm of every gradient."""
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(x), case["output"], rtol=0, atol=atol)
    if "output_f64" in case:
        logits = check_gradients(model.double(), x.double(), case["grad_norms"], rtol=GRADIENTS_F64)
        torch.testing.assert_close(logits, case["output_f64"], rtol=0, atol=AGREES_F64)


def check_train(model: nn.Module, case: dict, x: Tensor) -> None:
    """Train mode with batch statistics and no dropout, in float64: outputs, gradients, and what the running statistics become."""
    without_dropout(model).double().train()
    logits = check_gradients(model, x.double(), case["train_grad_norms"], rtol=GRADIENTS_F64)
    torch.testing.assert_close(logits.float(), case["train_mode_output"].float(), rtol=0, atol=1e-6)
    statistics = model.state_dict()
    for key, expected in case["bn_after_train_abs_sums"].items():
        assert statistics[key].abs().sum().item() == pytest.approx(expected, rel=1e-9), key


def check_gradients(model: nn.Module, x: Tensor, norms: dict[str, float | None], rtol: float) -> Tensor:
    """Every gradient's L2 norm; zero ones compare as zero, and None means that the published code gives no gradient."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    logits = model(x)
    published_loss(logits).backward()
    tensors = {**dict(model.named_parameters()), "__input__": x}
    assert tensors.keys() == norms.keys()
    for key, expected in norms.items():
        gradient = tensors[key].grad
        if expected is None:
            assert gradient is None, key
        else:
            assert gradient.double().norm().item() == pytest.approx(expected, rel=rtol, abs=1e-9), key
    return logits.detach()


#: Models whose outputs stand in tests/golden/backends.npz, so that they are also checked without the reference folder.
PINNED = {
    "nes2net": nes2net,
    "nes2net_x": nes2net_x,
    "nes2net_x_astp": partial(nes2net_x, pool="astp"),
    "nes2net_x_selu": nes2net_x_selu,
    "aasist": aasist,
    "raw_aasist": raw_aasist,
    "raw_aasist_l": raw_aasist_l,
}
PINNED_FILE = Path(__file__).parents[1] / "golden" / "backends.npz"


def pinned_logits(name: str) -> np.ndarray:
    """Logits in float64 of the model ``name`` with weights and input from NumPy's PCG64, in eval mode."""
    model = PINNED[name]().double().eval()
    for index, (key, tensor) in enumerate(sorted(model.state_dict().items())):
        if tensor.is_floating_point():
            low, high = (0.5, 1.5) if key.endswith("running_var") else (-0.2, 0.2)
            values = np.random.Generator(np.random.PCG64(index)).uniform(low, high, tuple(tensor.shape))
            tensor.copy_(torch.from_numpy(values))
    shape = (2, 20_000) if name.startswith("raw") else (2, 33, 1024)
    x = np.random.Generator(np.random.PCG64(1000)).standard_normal(shape)
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


def check_pinned(name: str) -> None:
    np.testing.assert_allclose(pinned_logits(name), np.load(PINNED_FILE)[name], rtol=0, atol=AGREES_F64)


if __name__ == "__main__":  # to be run only when every comparison with the published code holds
    np.savez_compressed(PINNED_FILE, **{name: pinned_logits(name) for name in PINNED})
