"""WavLM against unilm's and s3prl's outputs, the library's own forward, and the published names."""

import json

import numpy as np
import pytest
import torch

from nes2net import InputError, create_frontend
from nes2net.frontends.fairseq_format import to_fairseq, to_transformers

TINY = {"encoder_layers": 3, "encoder_embed_dim": 48, "encoder_ffn_embed_dim": 96, "encoder_attention_heads": 4}


@pytest.fixture
def unilm_file(golden):
    return golden / "frontends" / "tiny_wavlm_unilm.pt"


@pytest.fixture
def reference(golden):
    return np.load(golden / "frontends" / "tiny_wavlm_golden.npz")


@pytest.mark.parametrize("length", [64600, 16000, 520])
def test_every_hidden_state_is_unilms(unilm_file, reference, length):
    frontend = create_frontend("wavlm", unilm_file, normalize=False).eval()
    assert (frontend.out_dim, frontend.num_layers, frontend.hop_length) == (48, 4, 320)
    with torch.inference_mode():
        states = frontend(torch.from_numpy(reference[f"in_{length}"]), layers="all")
        (last,) = frontend(torch.from_numpy(reference[f"in_{length}"]))
    np.testing.assert_allclose(last.numpy(), reference[f"x_{length}"], atol=5e-6)
    for i, state in enumerate(states[:-1]):
        np.testing.assert_allclose(state.numpy(), reference[f"hs{i}_{length}"], atol=5e-6)
        raw = frontend(torch.from_numpy(reference[f"in_{length}"]), layers="all", final_norm=False)
    torch.testing.assert_close(last, states[-1])
    np.testing.assert_allclose(raw[-1].detach().numpy(), reference[f"hs3_{length}"], atol=5e-6)
    for i, state in enumerate(states):  # the list that s3prl returns
        np.testing.assert_allclose(state.numpy(), reference[f"s3prl{i}_{length}"], atol=5e-6)


def test_gradients_are_unilms(golden, unilm_file, reference):
    frontend = create_frontend("wavlm", unilm_file, normalize=False).eval()
    norms = json.loads((golden / "frontends" / "tiny_wavlm_gradnorms.json").read_text())
    for length, expected in norms.items():
        frontend.zero_grad()
        frontend(torch.from_numpy(reference[f"in_{length}"]))[-1].square().mean().backward()
        for name, parameter in frontend.model.named_parameters():
            value = expected[to_fairseq(name)]
            assert parameter.grad.norm().item() == pytest.approx(value, rel=1e-3, abs=1e-7), name


def test_normalised_waveforms_do_not_depend_on_level_or_batch():
    frontend = create_frontend("wavlm", **TINY).eval()
    waveform = torch.randn(2, 4000)
    with torch.inference_mode():
        (expected,) = frontend(waveform)
        (louder,) = frontend(torch.stack([waveform[0] * 3 + 0.1, waveform[1]]))
    torch.testing.assert_close(louder, expected, atol=1e-4, rtol=1e-4)
    assert frontend.config["normalize"] is True


def test_forward_is_the_librarys_own():
    frontend = create_frontend("wavlm", normalize=False, **TINY).eval()
    waveform = 0.1 * torch.randn(2, 8000)
    with torch.inference_mode():
        torch.testing.assert_close(
            frontend(waveform)[-1], frontend.model(waveform).last_hidden_state, atol=1e-5, rtol=1e-5
        )


def test_wavlm_large_has_the_manifests_names_and_shapes(golden):
    manifest = json.loads((golden / "frontends" / "manifest_wavlm_large_unilm.json").read_text())["keys"]
    with torch.device("meta"):
        frontend = create_frontend("wavlm_large")
    state_dict = {k.removeprefix("model."): list(v.shape) for k, v in frontend.state_dict().items()}
    assert state_dict == {k: v[0] for k, v in manifest.items()}
    assert sum(v.numel() for v in frontend.state_dict().values()) == 315_453_120
    names = [name for name, _ in frontend.model.named_parameters()]
    assert [to_transformers(to_fairseq(name)) for name in names] == names


def test_a_wav2vec_file_is_no_wavlm(golden):
    with pytest.raises(InputError, match=r"tiny_w2v2_plain\.pt does not fit this model; missing: .*grep"):
        create_frontend("wavlm", golden / "frontends" / "tiny_w2v2_plain.pt")
