"""Exported detectors give the same logits, here and in the library of each format."""

import shutil

import numpy as np
import pytest
import torch
from builders import input_error, small_parts
from builders.classification_folders import KINDS, folder_of
from builders.files import read_json, write_json
from conftest import load_detector, seeded_detector
from safetensors.torch import load_file, save_file

from nes2net import Detector, create_frontend
from nes2net.apps.export.formats import export

PROJECTED = {"name": "mean_linear", "projection_dim": 8}


@pytest.fixture
def detector(request, small_model):
    torch.manual_seed(0)
    name = getattr(request, "param", "wav2vec2")
    if name != "wav2vec2":
        frontend = {"name": name, **small_parts.FRONTENDS[name], "pretraining_heads": True}
        small_model |= {"frontend": frontend, "aggregation": "sea"}
    return Detector.from_config(small_model).eval()


each_detector = pytest.mark.parametrize("detector", ["wav2vec2", "hubert", "wavlm"], indirect=True)


@pytest.mark.parametrize(
    "detector, to, name",
    [
        ("hubert", "pth", "out.pth"),
        ("wavlm", "safetensors", "out"),
        *((name, "hf", "out") for name in ("wav2vec2", "hubert", "wavlm", "data2vec")),
    ],
    indirect=["detector"],
)
def test_an_exported_detector_has_equal_tensors_and_logits(detector, tmp_path, to, name):
    """Also one that is exported to the place from which its tensors are mapped."""
    loaded = load_detector(export(detector, to, tmp_path / name))
    loaded = load_detector(export(loaded, to, tmp_path / name))
    for key, tensor in detector.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key
    waveform = torch.randn(2, 8000)
    with torch.inference_mode():
        assert torch.equal(loaded(waveform), detector(waveform))


def test_an_exported_pth_is_a_state_dict_with_the_names_of_the_published_code(detector, tmp_path):
    """The published code calls torch.load, then load_state_dict with the published names."""
    path = export(detector, "pth", tmp_path / "out.pth")
    content = torch.load(path, weights_only=True)
    assert all(isinstance(tensor, torch.Tensor) for tensor in content.values())
    assert {k.split(".")[0] for k in content} == {"ssl_model", "Nested_Res2Net_TDNN"}
    Detector.from_config(detector.config).load_state_dict(content, strict=True)


@each_detector
def test_transformers_computes_the_same_features_by_an_exported_front_end(detector, tmp_path):
    from transformers import AutoFeatureExtractor, AutoModel

    export(detector, "hf", tmp_path / "out")
    model, loading = AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(loading.values())
    waveform = 3 * torch.randn(8000)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "out")
    inputs = extractor(waveform.numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        expected = detector.frontend(waveform[None])[-1]
        hidden_state = model.eval()(inputs.input_values).last_hidden_state
    torch.testing.assert_close(hidden_state, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("kind", "labels", "is_weighted", "polarity", "bona_fide_first"),
    [
        *((kind, ("real", "fake"), False, None, [0, 1]) for kind in KINDS),
        ("Wav2Vec2", ("LABEL_0", "LABEL_1"), True, "bonafide=LABEL_1", [1, 0]),
        ("WavLM", ("human", "ai tts", "vocoded"), False, None, [0, 1, 2]),
    ],
)
def test_a_classification_folder_that_is_loaded_and_exported_gives_the_same_answers(
    kind, labels, is_weighted, polarity, bona_fide_first, tmp_path
):
    """For transformers with the names and the order of the classes, and for this package with the same scores."""
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    model = folder_of(kind, tmp_path / "source", labels, use_weighted_layer_sum=is_weighted)
    detector = load_detector(tmp_path / "source", config=polarity)
    again = load_detector(export(detector, "hf", tmp_path / "out"))
    export(again, "hf", tmp_path / "out")
    loaded, report = AutoModelForAudioClassification.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report.values())
    assert loaded.config.id2label == model.config.id2label
    assert loaded.config.label2id == model.config.label2id
    waveform = 0.01 * torch.randn(8000).numpy()
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "out")
    inputs = extractor(waveform, sampling_rate=16000, return_tensors="pt").input_values
    with torch.inference_mode():
        logits = loaded.eval()(inputs).logits[0]
        torch.testing.assert_close(logits, model(inputs).logits[0], atol=1e-5, rtol=0)
    bonafide, *spoof = logits[bona_fide_first]
    score = bonafide - torch.stack(spoof).logsumexp(0)
    assert again.score(waveform, 16000, num_samples=None) == pytest.approx(score.item(), abs=1e-5)


def saved_and_exported(folder, **record):
    """The configuration of an exported folder of a classifier that was saved as a detector."""
    folder_of("Wav2Vec2", folder / "source")
    load_detector(folder / "source").save(folder / "saved", **record)
    return read_json(export(load_detector(folder / "saved"), "hf", folder / "out") / "config.json")


def test_a_classifier_that_was_saved_as_a_detector_is_exported_with_the_classes_spoof_and_bonafide(tmp_path):
    facts = saved_and_exported(tmp_path)
    assert facts["id2label"] == {"0": "spoof", "1": "bonafide"}
    assert facts["label2id"] == {"spoof": 0, "bonafide": 1}


@pytest.mark.parametrize("numbers", [{"a": 0, "b": 2}, {"a": [], "b": 0}])
def test_impossible_class_numbers_in_a_saved_detector_are_ignored_in_its_export(tmp_path, numbers):
    assert saved_and_exported(tmp_path, class_numbers=numbers)["label2id"] == {"spoof": 0, "bonafide": 1}


@pytest.mark.parametrize(
    "name, layer_norm_first, aggregation, backend",
    [
        *((name, False, "last", "mean_linear") for name in ("wav2vec2", "hubert", "wavlm", "data2vec")),
        *((name, True, "weighted_sum", PROJECTED) for name in ("wav2vec2", "hubert", "wavlm")),
        ("data2vec", False, "weighted_sum", PROJECTED),
    ],
)
def test_the_pipeline_of_transformers_gives_the_probabilities_of_an_exported_detector(
    tmp_path, name, layer_norm_first, aggregation, backend
):
    transformers = pytest.importorskip("transformers")
    frontend = {"name": name, **small_parts.FRONTENDS[name], "layer_norm_first": layer_norm_first}
    detector = seeded_detector({"frontend": frontend, "aggregation": aggregation, "backend": backend})
    if aggregation == "weighted_sum":
        torch.nn.init.normal_(detector.aggregation.weight_hidd)
    export(detector, "hf", tmp_path)
    waveform = 0.1 * np.random.default_rng(0).standard_normal(16000, dtype=np.float32)
    pipeline = transformers.pipeline("audio-classification", model=str(tmp_path), device="cpu")
    probabilities = {answer["label"]: answer["score"] for answer in pipeline(waveform, sampling_rate=16000)}
    score = detector.score(waveform, 16000, num_samples=None)
    assert probabilities == {"bonafide": pytest.approx(score, abs=1e-6), "spoof": pytest.approx(1 - score, abs=1e-6)}


def test_a_weighted_sum_without_the_final_norm_is_refused(tmp_path):
    """As in folders of releases 5.16 and 5.17 of transformers, whose detectors score otherwise here."""
    folder_of("WavLM", tmp_path, use_weighted_layer_sum=True, tie_last_hidden_states=False)
    with input_error("tie_last_hidden_states False: only True is supported"):
        load_detector(tmp_path)


@pytest.mark.parametrize(
    "head, options",
    [
        ("frontend", {"repeat_last": True}),
        ("frontend", {"pre_emphasis": 0.97}),
        ("backend", {"pool": None}),
        ("backend", {"num_logits": 1}),
        ("aggregation", {"name": "sea"}),
    ],
)
def test_the_config_of_an_exported_folder_names_a_classifier_only_if_transformers_computes_the_same(
    small_model, tmp_path, head, options
):
    small_model |= {"aggregation": {"name": "last"}, "backend": {"name": "mean_linear", "projection_dim": 8}}
    for changes, model in (({}, "Wav2Vec2ForSequenceClassification"), (options, "Wav2Vec2Model")):
        small_model[head] |= changes
        out = export(Detector.from_config(small_model), "hf", tmp_path / "out")
        assert read_json(out / "config.json")["architectures"] == [model]


@pytest.mark.parametrize("normalize", [True, "batch", "huggingface"])
def test_an_exported_front_end_keeps_its_setting_of_normalisation(small_model, tmp_path, normalize):
    """Also where the folder has a file of another model that says the opposite, and that the library reads first."""
    small_model["frontend"]["normalize"] = normalize
    opposite = {"feature_extractor": {"do_normalize": not normalize}}
    write_json(tmp_path / "out" / "processor_config.json", opposite)
    export(Detector.from_config(small_model), "hf", tmp_path / "out")
    frontend = create_frontend("wav2vec2", tmp_path / "out")
    assert (frontend.normalize, frontend.config.get("normalize", False)) == (normalize, normalize)


def test_an_exported_folder_whose_two_files_hold_the_same_tensor_is_refused(small_model, tmp_path):
    export(Detector.from_config(small_model), "hf", tmp_path)
    head = load_file(tmp_path / "head.safetensors")
    save_file({**head, "ssl_model.model.layer_norm.bias": torch.zeros(1)}, tmp_path / "head.safetensors")
    with input_error("head.safetensors holds ssl_model.model.layer_norm.bias, which model.safetensors holds, too"):
        Detector.from_pretrained(tmp_path, "cpu")


def test_a_detector_whose_front_end_is_a_spectrum_is_not_exported_for_transformers(spectral_detector, tmp_path):
    with input_error("'lps' is not written as a folder of the transformers library"):
        export(spectral_detector, "hf", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def hub(tmp_path, monkeypatch):
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
            temporary_files = [".config.yaml.1f.tmp", "frontend/.a.1f.tmp", ".a.onnx.1f.tmp/a.onnx"]
            uploaded = filter_repo_objects(["config.yaml", *temporary_files], ignore_patterns=ignore_patterns)
            assert list(uploaded) == ["config.yaml"]
            shutil.copytree(folder_path, f"hub/{repo_id}")

    def snapshot_download(name, allow_patterns, revision):
        def left_out(_, names):
            model_files = filter_repo_objects(names, allow_patterns=allow_patterns)
            return {*names} - {*model_files}

        return shutil.copytree(f"hub/{name}", "cache", ignore=left_out)

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)


def test_a_detector_is_loaded_from_the_repository_to_which_it_was_pushed(detector, hub, output):
    detector.save("in.pth")
    assert "pushed to hub/somebody/detector" in output("export in.pth --push somebody/detector").out
    pulled = load_detector("somebody/detector")
    assert all(torch.equal(a, b) for a, b in zip(pulled.state_dict().values(), detector.state_dict().values()))


def test_a_refusal_of_the_hub_is_told_in_one_line(detector, monkeypatch):
    from huggingface_hub.errors import HFValidationError

    def refuse(*_, **__):
        raise HFValidationError("Repo id must be in the form 'owner/name'\nmore")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    message = r"'a/b/c' was not pushed to the Hugging Face hub: Repo id must be in the form 'owner/name'$"
    with input_error(message):
        detector.push_to_hub("a/b/c")
