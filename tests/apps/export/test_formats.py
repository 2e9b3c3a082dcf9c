"""Exported detectors give the same logits, here and in the library of each format."""

import shutil
from pathlib import Path

import pytest
import torch
from builders import small_parts

from nes2net import Detector, InputError, create_frontend
from nes2net.apps.export.formats import export
from nes2net.cli.main import main

SPEECH = {**small_parts.FRONTENDS["wavlm"], "pretraining_heads": True}


@pytest.fixture
def detector(request, small_model):
    torch.manual_seed(0)
    name = getattr(request, "param", "wav2vec2")
    if name != "wav2vec2":
        small_model |= {"frontend": {"name": name, **SPEECH}, "aggregation": "sea"}
    return Detector.from_config(small_model).eval()


each_detector = pytest.mark.parametrize("detector", ["wav2vec2", "hubert", "wavlm"], indirect=True)


@each_detector
@pytest.mark.parametrize(("to", "name"), [("pth", "out.pth"), ("safetensors", "out"), ("hf", "out")])
def test_an_exported_detector_is_the_same(detector, tmp_path, to, name):
    """It may replace its source, from which its tensors are mapped."""
    loaded = Detector.from_pretrained(export(detector, to, tmp_path / name), device="cpu")
    assert loaded.config == detector.config and not loaded.training
    assert list(loaded.state_dict()) == list(detector.state_dict()) or to == "hf"
    loaded = Detector.from_pretrained(export(loaded, to, tmp_path / name), device="cpu")
    for key, tensor in detector.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key
    waveform = torch.randn(2, 8000)
    with torch.inference_mode():
        assert torch.equal(loaded(waveform), detector(waveform))


def test_published_code_loads_a_pth_strictly(detector, tmp_path):
    """The published code calls torch.load, then load_state_dict with the published names."""
    content = torch.load(export(detector, "pth", tmp_path / "out.pth"), weights_only=True)
    assert all(isinstance(tensor, torch.Tensor) for tensor in content.values())
    assert {k.split(".")[0] for k in content} == {"ssl_model", "Nested_Res2Net_TDNN"}
    Detector.from_config(detector.config).load_state_dict(content, strict=True)


@each_detector
def test_transformers_reads_the_front_end(detector, tmp_path):
    from transformers import AutoFeatureExtractor, AutoModel

    export(detector, "hf", tmp_path / "out")
    model, loading = AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(loading.values())
    kinds = {"wav2vec2": "Wav2Vec2Model", "hubert": "HubertModel", "wavlm": "WavLMModel"}
    assert type(model).__name__ == kinds[detector.frontend.config["name"]]
    waveform = 3 * torch.randn(8000)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "out")
    inputs = extractor(waveform.numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        expected = detector.frontend(waveform[None])[-1]
        found = model.eval()(inputs.input_values).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("normalize", [False, True, "batch", "huggingface"])
def test_an_exported_front_end_normalises_as_before(small_model, tmp_path, normalize):
    small_model["frontend"]["normalize"] = normalize
    export(Detector.from_config(small_model), "hf", tmp_path / "out")
    frontend = create_frontend("wav2vec2", tmp_path / "out")
    assert (frontend.normalize, frontend.config.get("normalize", False)) == (normalize, normalize)


def test_wrong_names_for_a_format(detector, spectral_detector, tmp_path):
    for exported, to, name, message in (
        (detector, "pth", "folder", r"ends in \.pth"),
        (detector, "onnx", "out.pth", r"ends in \.onnx"),
        (detector, "safetensors", "out.pth", "writes a folder"),
        (detector, "zip", "out", "one of pth, safetensors, merged, hf, onnx"),
        (spectral_detector, "hf", "out", "'lps' is not written as a folder of the transformers library"),
    ):
        with pytest.raises(InputError, match=message):
            export(exported, to, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_push_and_pull(detector, tmp_path, monkeypatch, capsys):
    """A folder stands in for the hub: uploads are copied into it, downloads out of it."""
    from huggingface_hub.utils import filter_repo_objects

    monkeypatch.chdir(tmp_path)

    class Api:
        def __init__(self, token=None):
            pass

        def create_repo(self, name, private, exist_ok):
            assert exist_ok
            return f"hub/{name}"

        def upload_folder(self, *, repo_id, folder_path, commit_message, ignore_patterns):
            assert commit_message
            left = [".config.yaml.1f.tmp", "frontend/.a.1f.tmp", ".a.onnx.1f.tmp/a.onnx"]
            kept = filter_repo_objects(["config.yaml", *left], ignore_patterns=ignore_patterns)
            assert list(kept) == ["config.yaml"]
            shutil.copytree(folder_path, f"hub/{repo_id}")

    def snapshot_download(name, allow_patterns):
        return shutil.copytree(f"hub/{name}", "cache", ignore=lambda _, names: {*names} - {*allow_patterns})

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert detector.push_to_hub("somebody/detector") == "hub/somebody/detector"
    uploaded = sorted(p.name for p in Path("hub/somebody/detector").iterdir())
    assert uploaded == ["README.md", "config.yaml", "model.safetensors"]
    pulled = Detector.from_pretrained("somebody/detector", device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(pulled.state_dict().values(), detector.state_dict().values()))
    detector.save(tmp_path / "in.pth")
    assert main(["export", str(tmp_path / "in.pth"), "--push", "somebody/again"]) == 0
    assert "pushed to hub/somebody/again" in capsys.readouterr().out


def test_a_refusal_of_the_hub_is_one_line(detector, monkeypatch):
    from huggingface_hub.errors import HFValidationError

    def refuse(*_, **__):
        raise HFValidationError("Repo id must be in the form 'owner/name'\nmore")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    message = r"'a/b/c' was not pushed to the Hugging Face hub: Repo id must be in the form 'owner/name'$"
    with pytest.raises(InputError, match=message):
        detector.push_to_hub("a/b/c")
