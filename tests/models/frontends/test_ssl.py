"""What the self-supervised front-ends share: compiling by layer."""

import copy

import pytest
import torch
from builders import assert_near
from torch import nn
from torch._dynamo.utils import counters

from nes2net import create_frontend
from nes2net.lib.parts.options import options_of
from nes2net.models.quantisation import quantise
from nes2net.models.registry import frontends

LAYERS = 10  # more than PyTorch would compile one by one
SMALL = {
    "encoder_layers": LAYERS,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 4,
    "pretraining_heads": False,
}


@pytest.fixture
def frontend(request):
    torch.manual_seed(0)
    return create_frontend(getattr(request, "param", "wavlm"), **SMALL).eval()


@pytest.fixture(autouse=True)
def forget():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def graphs():
    return counters["stats"]["unique_graphs"]


PRECISIONS = {"float32": lambda frontend: frontend, "bfloat16": nn.Module.bfloat16, "int8": quantise}


def waveforms_of(frontend):
    return (0.1 * torch.randn(3, 8000)).to(next(frontend.parameters()).dtype)


@pytest.mark.slow
@pytest.mark.parametrize(
    "frontend, precision",
    [("wav2vec2", "float32"), ("wavlm", "bfloat16"), ("wavlm", "int8")],
    indirect=["frontend"],
)
def test_equal_layers_are_compiled_once_per_shape(frontend, precision):
    """They give nearly the states of eager ones."""
    PRECISIONS[precision](frontend)
    waveforms = waveforms_of(frontend)
    compiled = []
    with torch.inference_mode():
        expected = frontend(waveforms)[0]
        frontend.compile(dynamic=False, backend="eager")
        for batch in (waveforms, waveforms, waveforms[:2]):
            frontend(batch)
            compiled.append(graphs())
        assert_near(frontend(waveforms)[0], expected, 0.05 * expected.float().std().item())
    assert compiled == [1, 1, 2]


@pytest.mark.slow
def test_int8_states_of_layers_compiled_by_inductor_are_near_the_eager_ones(frontend):
    quantise(frontend)
    waveforms = (0.1 * torch.randn(2, 8000)).to(next(frontend.parameters()).dtype)
    with torch.inference_mode():
        expected = frontend(waveforms)[0].float()
        frontend.compile(dynamic=False)
        difference = frontend(waveforms)[0].float() - expected
    assert graphs() == 1
    assert difference.abs().mean() < 0.02 * expected.std()


def gradients_of(frontend, waveforms):
    hidden_state = frontend(waveforms)[-1]
    weights = torch.randn(hidden_state.shape, generator=torch.Generator().manual_seed(0))
    (hidden_state * weights.to(hidden_state)).sum().backward()
    return {name: weight.grad.double() for name, weight in frontend.named_parameters() if weight.grad is not None}


@pytest.mark.slow
def test_gradients_of_compiled_layers_are_at_most_twice_as_inexact_as_eager_ones():
    """Against float64, by inductor.

    Except that of the bias of keys, which is 0, because a softmax ignores what all keys share. What
    remains is rounding, which differs completely between computations.
    """
    torch.manual_seed(0)
    frontend = create_frontend("wav2vec2", **{**SMALL, "encoder_layers": 2})
    waveforms = 0.1 * torch.randn(2, 8000)
    exact = gradients_of(copy.deepcopy(frontend).double(), waveforms.double())
    eager = gradients_of(copy.deepcopy(frontend), waveforms)
    frontend.compile()
    compiled = gradients_of(frontend, waveforms)
    assert graphs() == 1
    for name, gradient in exact.items():
        if not name.endswith("k_proj.bias"):
            assert (compiled[name] - gradient).norm() < 2 * (eager[name] - gradient).norm(), name


def test_sizes_of_convolutions_and_encoder_of_wav2vec2_may_be_as_small_as_one():
    options = options_of(frontends.get("wav2vec2"))
    assert options["conv_feature_layers"].fits([[1, 1, 1]])
    assert options["encoder_embed_dim"].fits(1)
