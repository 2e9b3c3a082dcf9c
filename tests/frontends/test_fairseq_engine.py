"""fairseq's own module and the transformers one: the same names, hidden states, gradients."""

import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from builders import golden

from nes2net import Detector, InputError, create_frontend
from nes2net.checkpoints.fairseq import to_fairseq
from nes2net.frontends.ssl import SMALL

HEADS = {"pretraining_heads": True, "final_dim": 32, "latent_vars": 8}
GROUP_NORM = {"extractor_mode": "default", "layer_norm_first": False, "conv_bias": False}
CONFIGURATIONS = {
    "layer norm first": {**SMALL, **HEADS},
    "group norm, layer norm last": {**SMALL, **GROUP_NORM},
    "as wide as its convolutions": {**SMALL, "encoder_embed_dim": 64},
}


@pytest.fixture(scope="module")
def fairseq():
    return pytest.importorskip(
        "fairseq", reason="fairseq is not installed: pip install --no-deps fairseq-fixed==0.12.3.1"
    )


def both_engines(options, checkpoint=None):
    torch.manual_seed(0)
    ours = create_frontend("wav2vec2", checkpoint, **options)
    original = create_frontend("wav2vec2", checkpoint, engine="fairseq", **options)
    if checkpoint is None:
        original.load_state_dict(ours.state_dict())
    return ours.eval(), original.eval()


@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
@pytest.mark.parametrize("samples", [4000, 8000, 8300], ids=lambda n: f"{n} samples")
def test_hidden_states_are_the_same(fairseq, options, samples):
    ours, original = both_engines(options)
    waveform = 0.1 * torch.randn(2, samples)
    for final_norm in (True, False):
        with torch.inference_mode():
            expected = original(waveform, layers="all", final_norm=final_norm)
            found = ours(waveform, layers="all", final_norm=final_norm)
            (last,) = original(waveform, final_norm=final_norm)
        assert len(found) == len(expected) == ours.num_layers == original.num_layers
        for a, b in zip(found, expected):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
        torch.testing.assert_close(last, expected[-1], atol=0, rtol=0)


@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_gradients_are_the_same(fairseq, options):
    options = {**options, "feature_grad_mult": 0.1}
    ours, original = both_engines(options)
    waveform, weights = 0.1 * torch.randn(2, 8300), torch.randn(ours.out_dim)
    for frontend in (ours, original):
        sum((state * weights).sum() for state in frontend(waveform, layers="all")).backward()
    expected = dict(original.model.named_parameters())
    found = {to_fairseq(n, ours.extractor_mode): p for n, p in ours.model.named_parameters()}
    assert found.keys() == expected.keys()
    for name, parameter in expected.items():
        scale = max(parameter.grad.abs().max().item(), 1.0)
        difference = (found[name].grad - parameter.grad).abs().max().item()
        assert difference < 1e-5 * scale, name


@pytest.mark.parametrize("packing", ["plain", "namespace", "omegaconf", "taskstate"])
def test_a_checkpoint_gives_fairseqs_recorded_outputs(fairseq, pretrained, packing):
    frontend = create_frontend("wav2vec2", pretrained / f"tiny_w2v2_{packing}.pt", engine="fairseq").eval()
    reference = golden.read("frontends/tiny_w2v2")["arrays"]
    for length in (64600, 16000, 520):
        with torch.inference_mode():
            states = frontend(torch.from_numpy(reference[f"in_{length}"]), layers="all")
        expected = [reference[f"layer{i}_{length}"] for i in range(2)] + [reference[f"x_{length}"]]
        for state, value in zip(states[1:], expected):
            np.testing.assert_allclose(state.numpy(), value, atol=5e-6)


@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_names_do_not_tell_the_engine(fairseq, options):
    ours, original = both_engines(options)
    expected, found = ours.state_dict(), original.state_dict()
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in expected.items()}
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=0, rtol=0)
    assert ours.config == original.config
    ours.load_state_dict({k: v + 1 for k, v in found.items()})


def test_dropped_layers_pass_their_input_on(fairseq):
    frontend = create_frontend("wav2vec2", engine="fairseq", **{**SMALL, "encoder_layers": 8, "encoder_layerdrop": 0.5})
    np.random.seed(0)  # fairseq draws from NumPy's own generator
    dropped = (np.random.RandomState(0).random(8) <= 0.5).tolist()
    states = frontend(torch.randn(1, 4000), layers="all", final_norm=False)
    assert [torch.equal(a, b) for a, b in pairwise(states)] == dropped
    assert any(dropped) and not all(dropped)


def test_every_dropout_reaches_the_original_module(fairseq):
    probabilities = {"dropout": 0.1, "attention_dropout": 0.2, "activation_dropout": 0.3, "dropout_input": 0.4}
    model = create_frontend("wav2vec2", engine="fairseq", **{**SMALL, **probabilities}).model
    layer = model.encoder.layers[0]
    assert (model.encoder.dropout, layer.dropout1.p, layer.dropout3.p) == (0.1, 0.1, 0.1)
    assert (layer.self_attn.dropout_module.p, layer.dropout2.p, model.dropout_input.p) == (0.2, 0.3, 0.4)


def test_a_detector_takes_the_engine_from_its_recipe(fairseq):
    config = {"frontend": {"name": "wav2vec2_small"}, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}
    ours = Detector.from_config(config).eval()
    config["frontend"]["engine"] = "fairseq"
    original = Detector.from_config(config).eval()
    assert original.frontend.engine == "fairseq"
    assert type(original.frontend.model).__module__.startswith("fairseq.")
    original.load_published(ours.state_dict(), "ours")
    waveform = 0.1 * torch.randn(2, 16000)
    with torch.inference_mode():
        torch.testing.assert_close(original(waveform), ours(waveform), atol=1e-5, rtol=1e-5)


def test_without_fairseq_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fairseq", None)
    monkeypatch.setitem(sys.modules, "fairseq.models.wav2vec.wav2vec2", None)
    with pytest.raises(
        InputError, match=r"engine=fairseq needs the package fairseq.*pip install --no-deps fairseq-fixed"
    ):
        create_frontend("wav2vec2_small", engine="fairseq")


def test_an_unknown_engine_is_named():
    with pytest.raises(InputError, match="engine is one of transformers, fairseq, not 's3prl'"):
        create_frontend("wav2vec2_small", engine="s3prl")
