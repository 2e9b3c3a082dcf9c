"""wav2vec 2.0 against fairseq's outputs, the library's own forward, and the published names."""

import json

import numpy as np
import pytest
import torch

from nes2net import InputError, create_frontend
from nes2net.checkpoint import check_fit
from nes2net.frontends.fairseq_format import to_fairseq, to_transformers
from nes2net.frontends.wav2vec2 import SMALL

PACKINGS = ("plain", "namespace", "omegaconf", "taskstate")


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_hidden_state_is_fairseqs(golden, packing):
    frontend = create_frontend("wav2vec2", golden / "frontends" / f"tiny_w2v2_{packing}.pt").eval()
    reference = np.load(golden / "frontends" / "tiny_w2v2_golden.npz")
    assert (frontend.out_dim, frontend.num_layers, frontend.hop_length, frontend.min_samples) == (48, 4, 320, 400)
    for length in (64600, 16000, 520):
        waveform = torch.from_numpy(reference[f"in_{length}"])
        with torch.inference_mode():
            states = frontend(waveform, layers="all")
            (last,) = frontend(waveform)
        # hidden state i is the input of layer i, so fairseq's output of layer i is hidden state i + 1
        expected = [reference[f"layer{i}_{length}"] for i in range(2)] + [reference[f"x_{length}"]]
        for state, value in zip(states[1:], expected):
            np.testing.assert_allclose(state.numpy(), value, atol=5e-6)
            raw = frontend(waveform, layers="all", final_norm=False)
        torch.testing.assert_close(last, states[-1], atol=0, rtol=0)
        np.testing.assert_allclose(raw[-1].detach().numpy(), reference[f"layer2_{length}"], atol=5e-6)


def test_gradients_are_fairseqs(golden):
    frontend = create_frontend("wav2vec2", golden / "frontends" / "tiny_w2v2_plain.pt").eval()
    reference = np.load(golden / "frontends" / "tiny_w2v2_golden.npz")
    norms = json.loads((golden / "frontends" / "tiny_w2v2_gradnorms.json").read_text())
    for length, expected in norms.items():
        frontend.zero_grad()
        frontend(torch.from_numpy(reference[f"in_{length}"]))[-1].square().mean().backward()
        found = {to_fairseq(n): p.grad.norm().item() for n, p in frontend.model.named_parameters()}
        with_gradient = {k: v for k, v in expected.items() if v is not None}
        assert found.keys() == with_gradient.keys()
        for name, value in with_gradient.items():
            assert found[name] == pytest.approx(value, rel=1e-3, abs=1e-7), name


def test_xlsr_300m_has_the_manifests_names_and_shapes(golden):
    manifest = json.loads((golden / "frontends" / "manifest_xlsr300m_fairseq.json").read_text())
    with torch.device("meta"):
        state_dict = create_frontend("xlsr_300m").state_dict()
    assert {k.removeprefix("model."): list(v.shape) for k, v in state_dict.items()} == {
        k: v[0] for k, v in manifest["keys"].items()
    }
    assert sum(v.numel() for v in state_dict.values()) == manifest["n_params"] == 317_390_592


@pytest.mark.parametrize(
    "options", [SMALL, {**SMALL, "extractor_mode": "default", "layer_norm_first": False, "conv_bias": False}]
)
def test_forward_is_the_librarys_own(options):
    """Both families (pre-norm with layer norm, post-norm with group norm as in Base) against transformers' forward."""
    torch.manual_seed(0)
    frontend = create_frontend("wav2vec2", **options).eval()
    waveform = 0.1 * torch.randn(2, 8000)
    with torch.inference_mode():
        expected = frontend.model(waveform).last_hidden_state
        torch.testing.assert_close(frontend(waveform)[-1], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", ["layer_norm", "default"])
def test_names_go_there_and_back(mode):
    frontend = create_frontend(
        "wav2vec2", **{**SMALL, "extractor_mode": mode, "pretraining_heads": True, "final_dim": 32}
    )
    names = [name for name, _ in frontend.model.named_parameters()]
    published = [to_fairseq(name, mode) for name in names]
    assert [to_transformers(name) for name in published] == names
    assert len(set(published)) == len(names)
    state_dict = {k: torch.randn_like(v) for k, v in frontend.state_dict().items()}
    check_fit(state_dict, frontend.state_dict(), "itself")
    frontend.load_state_dict(state_dict)
    for key, tensor in frontend.state_dict().items():
        torch.testing.assert_close(tensor, state_dict[key])


def test_pretraining_tensors_are_kept_but_not_trained(golden):
    path = golden / "frontends" / "tiny_w2v2_plain.pt"
    frontend = create_frontend("wav2vec2", path)
    trained = {to_fairseq(n) for n, _ in frontend.named_parameters()}
    assert not any("quantizer" in n or "mask_emb" in n for n in trained)
    in_file = torch.load(path, weights_only=True)["model"]
    for name, tensor in in_file.items():
        torch.testing.assert_close(frontend.state_dict()[f"model.{name}"], tensor, atol=0, rtol=0)
    assert len(in_file) == len(frontend.state_dict())


def test_layer_drop_skips_layers_in_train_mode_only():
    torch.manual_seed(0)
    frontend = create_frontend("wav2vec2", **{**SMALL, "encoder_layerdrop": 0.5})
    waveform = torch.randn(1, 4000)
    with torch.no_grad():
        train = {frontend(waveform)[-1].sum().item() for _ in range(12)}
        frontend.eval()
        assert len({frontend(waveform)[-1].sum().item() for _ in range(3)}) == 1
    assert len(train) > 1


def test_too_short_a_waveform_is_named():
    frontend = create_frontend("wav2vec2", **SMALL)
    shortest = frontend.min_samples
    assert frontend(torch.zeros(1, shortest))[-1].shape[1] == 1
    with pytest.raises(InputError, match=f"{shortest - 1} samples is too short.*{shortest}"):
        frontend(torch.zeros(1, shortest - 1))


def test_wrong_files_say_what_they_are(tmp_path):
    with pytest.raises(InputError, match=r"missing\.pt not found.*--ssl_checkpoint"):
        create_frontend("wav2vec2", tmp_path / "missing.pt")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "detector.pth")
    with pytest.raises(InputError, match="no fairseq checkpoint"):
        create_frontend("wav2vec2", tmp_path / "detector.pth")
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"no wav2vec 2\.0 or WavLM checkpoint"):
        create_frontend("wav2vec2", tmp_path / "other.pt")


def test_a_file_that_lacks_a_tensor_is_refused(golden, tmp_path):
    content = torch.load(golden / "frontends" / "tiny_w2v2_plain.pt", weights_only=True)
    del content["model"]["encoder.layers.1.fc1.weight"]
    torch.save(content, tmp_path / "torn.pt")
    with pytest.raises(InputError, match=r"missing: model\.encoder\.layers\.1\.fc1\.weight"):
        create_frontend("wav2vec2", tmp_path / "torn.pt")
