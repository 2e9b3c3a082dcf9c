"""The scan of Mamba-2 equals a loop over frames, for any number of them."""

import pytest
import torch
from builders import golden_backends as gb
from torch import Tensor

from nes2net.models.backends.state_space_dual import CHUNK, state_space_dual


def loop(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The recurrence as the paper writes it, a frame at a time."""
    state = x.new_zeros(*x[:, 0].shape, B.shape[2])
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(delta[:, t] * A)[..., None, None]
        state = decay * state + (delta[:, t, :, None] * x[:, t])[..., None] * B[:, t, None, None]
        outputs.append((state * C[:, t, None, None]).sum(dim=3))
    return torch.stack(outputs, dim=1)


def inputs(frames: int, dtype=torch.float64, scale: float = 1.0) -> list[Tensor]:
    torch.manual_seed(frames)
    x = torch.randn(2, frames, 3, 4)
    delta = scale * torch.rand(2, frames, 3)
    B, C = torch.randn(2, 2, frames, 5)
    return [tensor.to(dtype) for tensor in (x, delta, -3 * torch.rand(3), B, C)]


@pytest.mark.parametrize("frames", [1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 3])
def test_the_dual_form_of_mamba2_has_the_outputs_and_gradients_of_a_loop(frames):
    gb.check_alike(state_space_dual, loop, inputs(frames))


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
def test_the_dual_form_of_mamba2_in_float32_equals_a_loop_whether_states_last_or_vanish(scale):
    """Its gradients are finite."""
    leaves = [tensor.requires_grad_() for tensor in inputs(500, torch.float32, scale)]
    y = state_space_dual(*leaves)
    expected = loop(*inputs(500, scale=scale))
    assert (y - expected).abs().max() < 1e-6 * expected.abs().max()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(y.sum(), leaves))
