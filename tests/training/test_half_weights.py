"""Copies of the weights in bfloat16: what has them, what becomes of their gradients, and that they go again."""

import copy
from statistics import mean

import pytest
import torch
import torch.nn.functional as F
from builders.training_steps import SPECTRUM
from torch import nn

from nes2net import Detector
from nes2net.training.half_weights import HalfWeights

#: All layers of the published front-end, each of them thin.
THIN = {
    "encoder_layers": 24, "encoder_embed_dim": 128, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 2,
    "conv_pos_groups": 16, "conv_feature_layers": [[16, 10, 5], *[[16, 3, 2]] * 4, *[[16, 2, 2]] * 2],
}  # fmt: skip


@pytest.fixture
def detector(model_with_dropout):
    torch.manual_seed(0)
    backend = {"name": "nes2net_x", "nes_ratio": [4, 4]}
    return Detector.from_config({"frontend": "wav2vec2_small", "backend": backend}).eval()


def types_of(detector):
    return {name: weight.dtype for name, weight in detector.named_parameters()}


def test_all_weights_have_copies_except_norms_over_batches_and_the_last_layer(detector):
    weights = list(detector.parameters())
    with HalfWeights(detector).in_place():
        of_type = types_of(detector)
    in_float32 = {name for name, dtype in of_type.items() if dtype == torch.float32}
    norms = {name for name, module in detector.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert in_float32 == {f"{name}.{kind}" for name in (*norms, "backend.fc") for kind in ("weight", "bias")}
    assert {*of_type.values()} == {torch.float32, torch.bfloat16}
    assert all(a is b for a, b in zip(detector.parameters(), weights, strict=True))  # the weights themselves again


def test_recurrent_layers_keep_their_weights():
    detector = Detector.from_config({"frontend": SPECTRUM, "backend": "llgf"})
    with HalfWeights(detector).in_place():
        of_type = types_of(detector)
    recurrent = {dtype for name, dtype in of_type.items() if "weight_hh" in name}
    assert recurrent == {torch.float32}


def test_gradients_equal_those_of_a_detector_in_bfloat16(detector):
    """The gradients of two batches are added in float32."""
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


@pytest.mark.slow
def test_the_loss_of_the_published_step_is_about_that_of_autocast():
    """In the mean of twelve batches; rounding moves the loss of one batch by up to 0.005 from float32's."""
    torch.manual_seed(0)
    detector = Detector.from_config(
        {"frontend": {"name": "xlsr_300m", "pretraining_heads": False, **THIN}, "backend": "nes2net_x"}
    ).train()
    half_weights = HalfWeights(detector)
    targets = torch.arange(12) % 2
    differences = []
    for seed in range(12):
        waveforms = 0.1 * torch.randn(12, 8000, generator=torch.Generator().manual_seed(seed))

        def loss(waveforms=waveforms):
            with torch.autocast("cpu", torch.bfloat16):
                return F.cross_entropy(detector(waveforms).float(), targets, torch.tensor([0.1, 0.9])).item()

        of_autocast = loss()
        with half_weights.in_place():
            differences.append(loss() - of_autocast)
    assert all(differences)
    assert abs(mean(differences)) < 1e-3


def test_frozen_weights_have_no_gradient(detector):
    detector.frontend.requires_grad_(False)
    with HalfWeights(detector).in_place():
        logits = detector.backend(torch.randn(2, 20, 128, dtype=torch.bfloat16))
        frozen = next(detector.frontend.parameters())
        assert not frozen.requires_grad
    logits.sum().backward()
    assert all(weight.grad is None for weight in detector.frontend.parameters())
    assert all(weight.grad is not None for weight in detector.backend.parameters())


def test_a_detector_without_weights_to_convert_stays_in_float32():
    detector = Detector.from_config({"frontend": SPECTRUM, "backend": "mean_linear"})
    with HalfWeights(detector).in_place():
        assert {*types_of(detector).values()} == {torch.float32}
        assert detector(torch.zeros(1, 8000)).shape == (1, 2)
