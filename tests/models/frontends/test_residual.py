"""Residual sums in float32 beside a network in bfloat16: how exact they are, their gradients, and when they begin again."""

import copy

import pytest
import torch
from torch import nn

from nes2net import create_frontend
from nes2net.models.frontends.residual import PreNormLayer

TINY = {"encoder_layers": 24, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 2}
TINY |= {"conv_pos": 16, "conv_pos_groups": 4, "pretraining_heads": False}
TWO_LAYERS = {**TINY, "encoder_layers": 2}


@pytest.fixture(scope="module")
def layers():
    """Layers whose outputs are small beside frames of :func:`frames_of`, as after many layers of XLS-R 300M."""
    torch.manual_seed(0)
    return create_frontend("wav2vec2", **TINY).bfloat16().transformer_layers


def frames_of(seed):
    return (20 * torch.randn(2, 50, 32, generator=torch.Generator().manual_seed(seed))).bfloat16()


def through(layers, x, exact=None):
    """The output of all layers; with ``exact``, before it is rounded."""
    if exact is None:
        for layer in layers:
            x = layer(x)
        return x
    for layer in layers:
        x, exact = layer(x, exact=exact)
    assert torch.equal(x, exact.bfloat16())
    return exact


def test_residual_sums_in_float32_are_five_times_as_exact_as_in_bfloat16(layers):
    x = frames_of(0)
    reference = through(copy.deepcopy(layers).double(), x.double())
    after_each_sum = (through(layers, x) - reference).norm().item()
    exact = (through(layers, x, x.float()) - reference).norm().item()
    assert exact < 0.2 * after_each_sum


def test_residual_sums_in_float32_have_the_gradients_of_sums_in_bfloat16(layers):
    """Of a layer whose sums are exact in bfloat16, so that both computations give the same numbers."""
    layer = copy.deepcopy(layers[0])
    for linear in (layer.attention.out_proj, layer.feed_forward.output_dense):
        nn.init.zeros_(linear.weight)
        nn.init.ones_(linear.bias)
    gradients = []
    for exact in (None, torch.zeros(2, 50, 32)):
        layer.zero_grad()
        x = torch.zeros(2, 50, 32, dtype=torch.bfloat16, requires_grad=True)
        output = layer(x) if exact is None else layer(x, exact=exact)[0]
        output.square().sum().backward()
        gradients.append([x.grad, *(weight.grad for weight in layer.parameters())])
    for plain, summed in zip(*gradients, strict=True):
        assert torch.equal(plain, summed)


def test_residual_sums_are_in_float32_only_in_training_in_bfloat16(layers, monkeypatch):
    frontend = create_frontend("wav2vec2", **TWO_LAYERS)
    begun = []
    forward = PreNormLayer.forward

    def watched(layer, x, *args, exact=None, **kwargs):
        begun.append(exact is not None)
        return forward(layer, x, *args, exact=exact, **kwargs)

    monkeypatch.setattr(PreNormLayer, "forward", watched)
    waveform = torch.randn(1, 2000)
    frontend(waveform)
    with torch.no_grad():
        frontend.bfloat16()(waveform.bfloat16())
    assert begun == [False] * 4
    frontend(waveform.bfloat16())
    assert begun[4:] == [True] * 2


def test_a_residual_sum_is_carried_from_layer_to_layer_where_frames_did_not_change():
    """It begins again at frames that changed, as a deep prompt changes them."""
    frontend = create_frontend("wav2vec2", **TWO_LAYERS).bfloat16()
    first, second = frontend.transformer_layers
    y, shared = frontend.run_layer(first, frames_of(1), None)
    carried, _ = frontend.run_layer(second, y, shared)
    _, exact = shared
    assert torch.equal(carried, second(y, exact=exact)[0])
    after_change, _ = frontend.run_layer(second, y + 1, shared)
    from_the_start, _ = frontend.run_layer(second, y + 1, None)
    assert torch.equal(after_change, from_the_start)
