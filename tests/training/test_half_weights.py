"""Copies of the weights in bfloat16: what has them, what becomes of their gradients, and that they go again."""

import copy

import pytest
import torch
from builders.training_steps import SPECTRUM
from torch import nn

from nes2net import Detector
from nes2net.training.half_weights import HalfWeights


@pytest.fixture
def detector(model_with_dropout):
    torch.manual_seed(0)
    backend = {"name": "nes2net_x", "nes_ratio": [4, 4]}
    return Detector.from_config({"frontend": "wav2vec2_small", "backend": backend}).eval()


def types_of(detector):
    return {name: weight.dtype for name, weight in detector.named_parameters()}


def test_all_weights_of_nes2net_x_have_bfloat16_copies_except_batch_norms_and_the_last_layer(detector):
    with HalfWeights(detector).in_place():
        of_type = types_of(detector)
    in_float32 = {name for name, dtype in of_type.items() if dtype == torch.float32}
    norms = {name for name, module in detector.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert in_float32 == {f"{name}.{kind}" for name in (*norms, "backend.fc") for kind in ("weight", "bias")}
    assert {*of_type.values()} == {torch.float32, torch.bfloat16}


def test_recurrent_weights_stay_in_float32_while_copies_in_bfloat16_are_in_place():
    detector = Detector.from_config({"frontend": SPECTRUM, "backend": "llgf"})
    with HalfWeights(detector).in_place():
        of_type = types_of(detector)
    recurrent = {dtype for name, dtype in of_type.items() if "weight_hh" in name}
    assert recurrent == {torch.float32}


def test_gradients_of_two_batches_are_the_float32_sums_of_those_of_a_detector_in_bfloat16(detector):
    waveforms = 0.1 * torch.randn(2, 2, 8000, generator=torch.Generator().manual_seed(1))
    rounded = copy.deepcopy(detector)
    half_weights = HalfWeights(detector)
    converted = {id(weight) for weight in half_weights.weights.values()}
    for weight, of_rounded in zip(detector.parameters(), rounded.parameters(), strict=True):
        if id(weight) in converted:
            of_rounded.data = of_rounded.data.bfloat16()
    with half_weights.in_place(), torch.autocast("cpu", torch.bfloat16):
        for batch in waveforms:
            detector(batch).sum().backward()
    gradients = [weight.grad for weight in detector.parameters()]
    sums = [torch.zeros_like(gradient) for gradient in gradients]
    for batch in waveforms:
        rounded.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            rounded(batch).sum().backward()
        for total, weight in zip(sums, rounded.parameters()):
            total += weight.grad
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    for gradient, total in zip(gradients, sums, strict=True):
        assert torch.equal(gradient, total)


def test_bfloat16_copies_of_frozen_weights_require_no_gradient(detector):
    detector.frontend.requires_grad_(False)
    with HalfWeights(detector).in_place():
        assert not any(weight.requires_grad for weight in detector.frontend.parameters())
