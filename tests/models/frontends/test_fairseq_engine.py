"""fairseq's own module and the transformers one: the same names, hidden states, gradients."""

import shutil
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from builders import assert_near, golden

from nes2net import create_frontend
from nes2net.models.checkpoints.fairseq import to_fairseq
from nes2net.models.frontends.ssl import SMALL

pytestmark = pytest.mark.slow

HEADS = {"pretraining_heads": True, "final_dim": 32, "latent_vars": 8}
GROUP_NORM = {"extractor_mode": "default", "layer_norm_first": False, "conv_bias": False}
CONFIGURATIONS = {
    "layer norm first": {**SMALL, **HEADS},
    "group norm, layer norm last": {**SMALL, **GROUP_NORM},
    "as wide as its convolutions": {**SMALL, "encoder_embed_dim": 64},
}


@pytest.fixture(scope="module")
def fairseq():
    why = "fairseq is not installed: pip install --no-deps fairseq-fixed==0.12.3.1"
    if shutil.which("c++") is None:
        why = "no C++ compiler builds fairseq"
    return pytest.importorskip("fairseq", reason=why)


def both_engines(options):
    torch.manual_seed(0)
    toolkit, original = (
        create_frontend("wav2vec2", engine=engine, **options) for engine in ("transformers", "fairseq")
    )
    original.load_state_dict(toolkit.state_dict())
    return toolkit.eval(), original.eval()


every_configuration = pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS)


@every_configuration
def test_the_engine_of_fairseq_has_the_options_tensors_and_hidden_states_of_the_default_engine(fairseq, options):
    toolkit, original = both_engines(options)
    assert toolkit.config == original.config
    tensors = toolkit.state_dict()
    assert original.state_dict().keys() == tensors.keys()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in original.state_dict().items())
    for samples, final_norm in product((4000, 8300), (True, False)):
        waveform = 0.1 * torch.randn(2, samples)
        with torch.inference_mode():
            expected = original(waveform, layers="all", final_norm=final_norm)
            toolkit_results = toolkit(waveform, layers="all", final_norm=final_norm)
        for a, b in zip(toolkit_results, expected, strict=True):
            assert_near(a, b, 1e-5)


@pytest.mark.parametrize("factor", [0.1, 0.0])
@every_configuration
def test_the_engine_of_fairseq_computes_the_gradients_of_the_default_engine(fairseq, options, factor):
    toolkit, original = both_engines({**options, "feature_grad_mult": factor})
    waveform = 0.1 * torch.randn(2, 8300)
    weights = torch.randn(toolkit.out_dim)
    for frontend in (toolkit, original):
        sum((state * weights).sum() for state in frontend(waveform, layers="all")).backward()
    expected = dict(original.model.named_parameters())
    toolkit_results = {to_fairseq(n, toolkit.extractor_mode): p for n, p in toolkit.model.named_parameters()}
    assert toolkit_results.keys() == expected.keys()
    untrained = {name for name, parameter in expected.items() if parameter.grad is None}
    assert untrained == {name for name in expected if factor == 0 and name.startswith("feature_extractor.")}
    assert untrained == {name for name, parameter in toolkit_results.items() if parameter.grad is None}
    for name in expected.keys() - untrained:
        parameter = expected[name]
        scale = max(parameter.grad.abs().max().item(), 1.0)
        assert (toolkit_results[name].grad - parameter.grad).abs().max().item() < 1e-5 * scale, name


def test_the_engine_of_fairseq_gives_the_recorded_hidden_states_of_a_pre_training_file(fairseq, pretrained):
    """Both engines read its four forms alike."""
    frontend = create_frontend("wav2vec2", pretrained / "tiny_w2v2_omegaconf.pt", engine="fairseq")
    golden.check_tiny_wav2vec2(frontend.eval())


def test_dropouts_reach_the_module_of_fairseq(fairseq):
    options = {"dropout": 0.1, "attention_dropout": 0.2, "activation_dropout": 0.3, "dropout_input": 0.4}
    model = create_frontend("wav2vec2", engine="fairseq", **SMALL, **options).model
    layer = model.encoder.layers[0]
    assert model.encoder.dropout == 0.1
    assert layer.dropout1.p == 0.1
    assert layer.dropout3.p == 0.1
    assert layer.self_attn.dropout_module.p == 0.2
    assert layer.dropout2.p == 0.3
    assert model.dropout_input.p == 0.4


def test_only_layers_that_fairseq_drops_pass_their_input_on_unchanged(fairseq):
    frontend = create_frontend("wav2vec2", engine="fairseq", **{**SMALL, "encoder_layers": 8, "encoder_layerdrop": 0.5})
    np.random.seed(0)  # fairseq draws 0.55, 0.72, 0.60, 0.54, 0.42, 0.65, 0.44 and 0.89 from NumPy's own generator
    states = frontend(torch.randn(1, 4000), layers="all", final_norm=False)
    dropped = [number for number, (a, b) in enumerate(pairwise(states)) if torch.equal(a, b)]
    assert dropped == [4, 6]
