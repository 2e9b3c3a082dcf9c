"""Int8 products: exact integers, a row at a time, on every processor; and detectors that use them."""

import copy
import platform

import numpy as np
import pytest
import soundfile
import torch
from builders import assert_near, input_error
from scipy.stats import spearmanr
from torch import nn

from nes2net import Detector
from nes2net.cli.main import main
from nes2net.models import quantisation
from nes2net.models.quantisation import (
    Int8Linear,
    has_fast_product,
    onednn_product,
    plain_product,
    quantise,
    quantise_rows,
)

SMALL = {"backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}
FRONTENDS = {
    "wav2vec2": {"name": "wav2vec2_small"},
    "wavlm": {"name": "wavlm", "encoder_layers": 3, "encoder_embed_dim": 128, "encoder_ffn_embed_dim": 192,
              "encoder_attention_heads": 4, "conv_feature_layers": [[64, 16, 8], [64, 4, 4], [64, 4, 4], [64, 4, 2]]},
}  # fmt: skip

needs_fast_product = pytest.mark.skipif(not has_fast_product(), reason="this processor has no exact int8 products")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=FRONTENDS)
def detector(request):
    return Detector.from_config({"frontend": FRONTENDS[request.param], **SMALL}).eval()


@pytest.fixture
def waveforms():
    """Noise of different colours and levels, so that scores differ: 12×16000."""
    rng = np.random.default_rng(0)
    noise = [np.convolve(rng.standard_normal(16000), np.hanning(3 + 4 * i), "same") for i in range(12)]
    return torch.from_numpy(np.stack([0.1 * (1 + i) * x / np.abs(x).max() for i, x in enumerate(noise)])).float() / 2


def scores(detector, waveforms):
    with torch.inference_mode():
        return detector.scores(waveforms).float()


@pytest.mark.parametrize(
    "frontend, fast_product, fast_bfloat16, fastest",
    [
        ({"name": "wav2vec2_small"}, True, True, "int8"),
        ({"name": "wav2vec2_small"}, False, True, "bfloat16"),
        ({"name": "wav2vec2_small"}, False, False, "float32"),
        ({"name": "lfcc"}, True, True, "float32"),
    ],
)
def test_the_precision_fastest_is_int8_bfloat16_or_float32_by_processor_and_front_end(
    frontend, fast_product, fast_bfloat16, fastest, monkeypatch
):
    """The first of them of which the processor has fast products; float32 for a front-end without transformer layers."""
    monkeypatch.setattr(quantisation, "has_fast_product", lambda: fast_product)
    monkeypatch.setattr(quantisation, "has_fast_bfloat16", lambda: fast_bfloat16)
    detector = Detector.from_config({"frontend": frontend, **SMALL})
    assert detector.set_precision("fastest").precision == fastest


on_x86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="nothing tells it of others")
NO_INSTRUCTIONS = "note: this processor has no instructions for"


@pytest.fixture
def notes_of_predict(tmp_path, monkeypatch, capsys):
    """A function that predicts in a precision, with or without fast bfloat16; it returns the standard error."""
    monkeypatch.chdir(tmp_path)
    Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"}).save("a.pth")
    soundfile.write("a.wav", 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)

    def run(dtype, is_fast):
        monkeypatch.setattr(quantisation, "has_fast_bfloat16", lambda: is_fast)
        assert main(f"predict a.wav --model a.pth --device cpu --dtype {dtype}".split()) == 0
        return capsys.readouterr().err

    return run


@on_x86
@pytest.mark.parametrize(
    "dtype, is_fast, emulated", [("bfloat16", False, True), ("bfloat16", True, False), ("float32", False, False)]
)
def test_predict_reports_exactly_that_the_processor_emulates_bfloat16(notes_of_predict, dtype, is_fast, emulated):
    assert (f"{NO_INSTRUCTIONS} bfloat16" in notes_of_predict(dtype, is_fast)) is emulated


# In bfloat16 scale and quotient are rounded to 8 bits.
@pytest.mark.parametrize("dtype, rounding", [(torch.float32, 0), (torch.bfloat16, 1.5 * 2**-8)])
@pytest.mark.parametrize("shape", [(1, 5), (7, 64), (2, 3, 33)])
@pytest.mark.parametrize("compiling", [False, True])
def test_a_row_of_numbers_is_quantised_to_values_from_1_to_255_within_half_a_step_of_its_scale(
    dtype, rounding, shape, compiling, monkeypatch
):
    """A step is the largest number of the row, divided by 126."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    x = (torch.randn(shape) * 10.0 ** torch.arange(-3, shape[-2] - 3)[:, None]).to(dtype)
    rows = quantise_rows(x)
    assert rows.values.dtype == torch.uint8
    back = (rows.values.double() - 128) * rows.scale.double()
    largest = x.double().abs().amax(-1, keepdim=True)
    error = (back - x.double()).abs() / largest
    assert error.max() <= 0.5 / 126 * (1 + 1e-4) + rounding
    assert rows.values.min() >= 1


def test_a_row_of_zeros_is_quantised_to_zeros_of_a_finite_scale():
    rows = quantise_rows(torch.zeros(2, 8, dtype=torch.bfloat16))
    assert (rows.values == 128).all()
    assert rows.scale.isfinite().all()


def test_only_int8_products_of_a_row_with_nan_are_nan():
    linear = Int8Linear(nn.Linear(8, 3))
    x = torch.randn(2, 8)
    x[0, 3] = torch.nan
    out = linear(x)
    assert out[0].isnan().all()
    assert out[1].isfinite().all()


def reference(values, weight, scale):
    """The product in integers of 64 bits."""
    integers = (values.numpy().astype(np.int64) - 128) @ weight.numpy().astype(np.int64).T
    return torch.from_numpy(integers * scale.double().numpy())


@pytest.mark.parametrize(
    "prepare", [pytest.param(onednn_product, marks=needs_fast_product), plain_product], ids=["onednn", "plain"]
)
@pytest.mark.parametrize("shape, out", [((1, 1), 1), ((5, 7), 3), ((3, 201, 130), 67), ((2, 4096), 8)])
def test_int8_products_equal_those_of_64_bit_integers(prepare, shape, out):
    values = torch.randint(1, 256, shape, dtype=torch.uint8)
    weight = torch.randint(-127, 128, (out, shape[-1]), dtype=torch.int8)
    scale = torch.rand(out)
    # the largest sum
    values[0] = 255
    weight[0] = 127
    product = prepare(weight, scale)
    expected = reference(values, weight, scale)
    assert torch.allclose(product(values, torch.float32).double(), expected, rtol=1e-6, atol=1e-3)
    assert torch.allclose(product(values, torch.bfloat16).double(), expected, rtol=2**-8, atol=1)


@pytest.mark.parametrize("dtype, least_correlation", [(torch.float32, 0.99), (torch.bfloat16, 0.97)])
def test_an_int8_detector_scores_nearly_as_with_float_products(
    detector, waveforms, monkeypatch, dtype, least_correlation
):
    monkeypatch.setattr(quantisation, "has_fast_bfloat16", lambda: dtype == torch.bfloat16)
    before = scores(copy.deepcopy(detector).to(dtype), waveforms)
    after = scores(quantise(detector), waveforms)
    assert not torch.equal(before, after)
    assert spearmanr(before, after)[0] >= least_correlation
    assert (after - before).abs().max() < 0.1 * before.std()


def test_an_int8_score_does_not_depend_on_the_processor_or_the_batch(detector, waveforms, monkeypatch):
    """In float32: bfloat16 products of PyTorch depend on the number of rows by themselves."""
    monkeypatch.setattr(quantisation, "has_fast_bfloat16", lambda: False)
    together = scores(quantise(copy.deepcopy(detector)), waveforms)
    monkeypatch.setattr(quantisation, "has_fast_product", lambda: False)
    loud = torch.cat([waveforms[:2], 2 * waveforms[-1:]])
    assert_near(scores(quantise(detector), loud)[:2], together[:2], 1e-5)


def test_fast_int8_products_are_used_only_if_they_exist_are_exact_and_use_vector_instructions(monkeypatch):
    """Those of oneDNN without VNNI are inexact: they add pairs of products in 16 bits."""

    def missing(*_):
        raise AttributeError("'_OpNamespace' 'onednn' object has no attribute 'qlinear_prepack'")

    def overflowing(weight, scale):
        def product(values, dtype):
            pairs = (values.int()[:, None] * weight.int()).unflatten(-1, (-1, 2)).sum(-1).clamp(-32768, 32767)
            return (pairs.sum(-1) - 128 * weight.int().sum(-1)).to(dtype)

        return product

    for capability, product, fast in (
        ("AVX2", missing, False),
        ("AVX2", overflowing, False),
        ("AVX2", plain_product, True),
        ("DEFAULT", plain_product, False),
    ):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        monkeypatch.setattr(quantisation, "onednn_product", product)
        assert has_fast_product.__wrapped__() is fast


def test_a_layer_of_a_back_end_with_the_name_of_a_transformer_layer_is_not_quantised():
    """SLS has a linear layer ``fc1``, as Whisper's transformer layers have."""
    backend = {"name": "sls", "num_frames": 30}
    detector = Detector.from_config({"frontend": FRONTENDS["wav2vec2"], "backend": backend})
    assert isinstance(quantise(detector).backend.fc1, nn.Linear)


def test_to_quantise_a_front_end_without_transformer_layers_is_refused():
    with input_error("has no transformer layers to quantise"):
        quantise(Detector.from_config({"frontend": "lps", "backend": "mean_linear"}))
