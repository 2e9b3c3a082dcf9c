"""Linear layers on oneDNN equal PyTorch's own, which serve where oneDNN cannot."""

import copy

import pytest
import torch
from builders import assert_near
from torch import nn
from torch.func import hessian, jacfwd, jacrev, vmap
from torch.testing import assert_close

from nes2net import create_frontend
from nes2net.lib.computing.flops import count_flops
from nes2net.models.frontends import onednn
from nes2net.models.frontends.onednn import with_onednn
from nes2net.models.frontends.ssl import SMALL

needs_onednn = pytest.mark.skipif(
    onednn._product is None, reason="this processor or build of PyTorch has no fast oneDNN"
)


@pytest.fixture
def products(monkeypatch):
    """The arguments of the calls of oneDNN."""
    calls = []
    product = onednn._product
    monkeypatch.setattr(onednn, "_product", lambda *args: calls.append(args) or product(*args))
    return calls


def computed(layer, x, gradient):
    """The output, and gradients of the input and the parameters for ``gradient`` of the output."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    output = layer(x)
    output.backward(gradient)
    return [output, x.grad, *(parameter.grad.clone() for parameter in layer.parameters())]


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape, out", [((5,), 11), ((1, 5), 1), ((3, 7, 5), 11), ((2, 201, 96), 130), ((2, 3, 7, 5), 4)]
)
def test_outputs_and_gradients_of_a_layer_on_onednn_equal_those_of_pytorch(products, bias, shape, out):
    torch.manual_seed(0)
    linear = nn.Linear(shape[-1], out, bias)
    x = torch.randn(shape)
    layer = with_onednn(copy.deepcopy(linear))
    dense = torch.randn(*shape[:-1], out)

    def strided(tensor):
        return tensor.mT.contiguous().mT if tensor.ndim > 1 else tensor

    cases = ((x, dense), (x, torch.ones(()).expand(dense.shape)), (strided(x), strided(dense.flip(-1))))
    for x, gradient in cases:
        for a, b in zip(computed(layer, x, gradient), computed(linear, x, gradient), strict=True):
            assert a.shape == b.shape
            assert_near(a, b, 3e-6 * b.abs().max().item())  # sums of 402 products
    assert len(products) == 3 * 3


@needs_onednn
def test_gradients_of_gradients_of_a_layer_on_onednn_equal_those_of_pytorch():
    linear = nn.Linear(5, 4)
    x = torch.randn(3, 5, requires_grad=True)
    penalties = []
    for layer in (linear, with_onednn(copy.deepcopy(linear))):
        (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
        penalties.append(layer.weight.grad)
    assert_close(*penalties, atol=1e-4, rtol=1e-5)


@needs_onednn
def test_inputs_that_are_empty_or_not_in_float32_are_left_to_pytorch(products):
    linear = nn.Linear(5, 11)
    x = torch.randn(3, 5)
    layer = with_onednn(linear)
    layer(x[:0]).sum().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer.double()(x.double()).dtype == torch.float64
    assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    assert not products


TRANSFORMS = {
    "trace": lambda layer, x: torch.jit.trace(layer, x, check_trace=False)(x.flip(0)),  # the check runs the layer itself
    "vmap": lambda layer, x: vmap(layer)(x),
    "jacobians": lambda layer, x: (jacrev(layer)(x), jacfwd(layer)(x), hessian(lambda x: layer(x).square().sum())(x)),
    "export": lambda layer, x: torch.export.export(layer, (x,)).module()(x),
}  # fmt: skip


@needs_onednn
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("transformed", TRANSFORMS.values(), ids=TRANSFORMS)
def test_a_layer_that_is_traced_exported_or_transformed_by_torch_func_is_left_to_pytorch(
    products, transformed, trainable
):
    linear = nn.Linear(5, 11).requires_grad_(trainable)
    x = torch.randn(3, 5)
    onednn_results, expected = (transformed(layer, x) for layer in (with_onednn(copy.deepcopy(linear)), linear))
    assert_near(onednn_results, expected, 0)
    assert not products


@needs_onednn
def test_every_linear_layer_of_a_front_end_runs_in_onednn(products):
    frontend = create_frontend("wav2vec2", **SMALL).eval()
    waveform = torch.randn(1, 8000)
    with torch.inference_mode():
        frontend(waveform)
    assert len(products) == 1 + 6 * SMALL["encoder_layers"]


@needs_onednn
def test_operations_in_onednn_are_counted_as_in_pytorch(monkeypatch):
    frontend = create_frontend("wav2vec2", **SMALL)
    waveform = torch.randn(1, 8000)
    counted = count_flops(frontend, waveform)
    monkeypatch.setattr(onednn, "_product", None)
    assert counted == count_flops(frontend, waveform) > 0
