"""WavLM: unilm's and s3prl's outputs, the library's own forward, and the published names."""

from itertools import pairwise

import pytest
import torch
from builders import assert_near, golden
from numpy.testing import assert_allclose
from torch.testing import assert_close

from nes2net import create_frontend

TINY = {"encoder_layers": 3, "encoder_embed_dim": 48, "encoder_ffn_embed_dim": 96, "encoder_attention_heads": 4}


@pytest.mark.parametrize("length", [64600, 16000, 520])
def test_hidden_states_of_wavlm_equal_those_of_unilm_and_s3prl(pretrained, length):
    reference = golden.read("frontends/tiny_wavlm")["arrays"]
    frontend = create_frontend("wavlm", pretrained / "tiny_wavlm_unilm.pt", normalize=False).eval()
    waveform = torch.from_numpy(reference[f"in_{length}"])
    with torch.inference_mode():
        states = frontend(waveform, layers="all")
        (last,) = frontend(waveform)
        raw = frontend(waveform, layers="all", final_norm=False)
    assert_allclose(last.numpy(), reference[f"x_{length}"], atol=5e-6)
    for i, state in enumerate(raw):
        assert_allclose(state.numpy(), reference[f"hs{i}_{length}"], atol=5e-6)
    for i, state in enumerate(states):  # the list that s3prl returns
        assert_allclose(state.numpy(), reference[f"s3prl{i}_{length}"], atol=5e-6)


@pytest.mark.parametrize("layer_norm_first", [True, False])
def test_outputs_and_gradients_of_wavlm_equal_those_of_transformers_with_eager_attention(layer_norm_first):
    """Outputs and all gradients, in float64, where the order of summation does not show."""
    from transformers import WavLMModel

    torch.manual_seed(0)
    frontend = create_frontend("wavlm", normalize=False, layer_norm_first=layer_norm_first, **TINY).double()
    for layer in frontend.model.encoder.layers:  # the initial values are all one
        torch.nn.init.normal_(layer.attention.gru_rel_pos_const)
    library = WavLMModel(frontend.model.config).double()
    library.load_state_dict(frontend.model.state_dict())
    waveform = 0.1 * torch.randn(2, 2000, dtype=torch.float64)
    weights = torch.randn(48, dtype=torch.float64)
    outputs = [frontend(waveform)[-1], library(waveform).last_hidden_state, frontend.model(waveform).last_hidden_state]
    for attended in outputs[::2]:
        assert_near(attended, outputs[1], 1e-12)
    for output in outputs[:2]:
        (output * weights).sum().backward()
    expected = dict(library.named_parameters())
    for name, parameter in frontend.model.named_parameters():
        assert_close(parameter.grad, expected[name].grad, atol=1e-9, rtol=1e-9)


def test_later_layers_of_wavlm_have_their_position_bias_if_the_first_one_is_dropped():
    torch.manual_seed(0)
    frontend = create_frontend("wavlm", normalize=False, encoder_layerdrop=0.5, **TINY)
    waveform = torch.randn(1, 2000)
    with torch.no_grad():
        frontend.eval()
        layers = frontend.model.encoder.layers
        shared = None
        state = frontend(waveform, layers="all")[0]
        for layer in layers[1:]:
            state, shared = frontend.run_layer(layer, state, shared)
        frontend.train()
        for _ in range(60):
            states = frontend(waveform, layers="all", final_norm=False)
            if [torch.equal(a, b) for a, b in pairwise(states)] == [True, False, False]:
                break
    assert_close(states[-1], state)


def test_frames_of_wavlm_in_bfloat16_are_near_those_in_float32():
    frontend = create_frontend("wavlm", **TINY).eval()
    waveform = torch.randn(2, 8000)
    with torch.inference_mode():
        (expected,) = frontend(waveform)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (mixed,) = frontend(waveform)
        (low,) = frontend.bfloat16()(waveform.bfloat16())
    for frames in (low, mixed):
        assert (frames - expected).square().mean().sqrt() < 0.03 * expected.std()
