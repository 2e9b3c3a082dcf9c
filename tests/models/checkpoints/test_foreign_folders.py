"""Hugging Face folders as people have them: compiled models, default names of classes, adapters, Trainer's output."""

import json

import pytest
import torch
from builders import input_error
from builders.classification_folders import KINDS, WAVEFORM, folder_of
from builders.files import read_json, write, write_json
from safetensors.torch import load_file, save_file

from nes2net import Detector, create_frontend

pytest.importorskip("transformers")


def change_config(folder, **changes):
    path = folder / "config.json"
    write_json(path, {**read_json(path), **changes})


def score_of(folder):
    return Detector.from_pretrained(folder, "cpu").score(WAVEFORM, 16000)


def refusal(path):
    with input_error() as refused:
        Detector.from_pretrained(path, "cpu")
    return str(refused.value)


def test_a_folder_saved_from_a_compiled_model_scores_as_that_of_the_plain_model(tmp_path):
    folder_of("Wav2Vec2", tmp_path)
    expected = score_of(tmp_path)
    weights = {f"_orig_mod.{name}": tensor for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert score_of(tmp_path) == pytest.approx(expected, abs=1e-7)


def test_default_names_in_label2id_do_not_contradict_the_names_of_classes(tmp_path):
    folder_of("Wav2Vec2", tmp_path)
    expected = score_of(tmp_path)
    change_config(tmp_path, label2id={"LABEL_0": 0, "LABEL_1": 1})
    assert score_of(tmp_path) == pytest.approx(expected, abs=1e-7)


def test_a_peft_adapter_is_refused_with_its_base_and_the_call_that_merges_it(tmp_path):
    write(tmp_path / "adapter_config.json", json.dumps({"base_model_name_or_path": "OWNER/BASE"}))
    message = refusal(tmp_path)
    assert "PEFT adapter of 'OWNER/BASE'" in message
    assert "merge_and_unload" in message


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_a_peft_adapter_beside_a_model_is_refused_and_never_ignored(tmp_path, name, spectral_detector):
    """Beside a detector of this package, too."""
    spectral_detector.save(tmp_path / "detector")
    write(tmp_path / "detector" / name, "{}")
    assert "holds a PEFT adapter" in refusal(tmp_path / "detector")
    folder_of("Wav2Vec2", tmp_path)
    write(tmp_path / name, "{}")
    assert f"holds a PEFT adapter of None ({name})" in refusal(tmp_path)
    with input_error("holds a PEFT adapter"):
        create_frontend("wav2vec2", tmp_path)


WEIGHT_NORM = "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0"


@pytest.mark.parametrize(
    "second_name",
    [
        "wav2vec2.encoder.pos_conv_embed.conv.weight_g",
        "wav2vec2.encoder.pos_conv.0.weight_g",
        f"_orig_mod.{WEIGHT_NORM}",
        WEIGHT_NORM.removeprefix("wav2vec2."),
    ],
)
def test_a_folder_with_two_names_of_one_tensor_is_refused_with_both(tmp_path, second_name):
    folder_of("Wav2Vec2", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights[second_name] = 5 * weights[WEIGHT_NORM]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    message = refusal(tmp_path)
    assert "holds one tensor under two names" in message
    assert second_name.removeprefix("_orig_mod.").removeprefix("wav2vec2.") in message


def test_a_detectors_file_with_two_names_of_one_tensor_is_refused_with_both(tmp_path):
    names = ["proj_fc.weight", "m_ssl.model.mask_emb", "ssl_model.model.mask_emb"]
    torch.save(dict.fromkeys(names, torch.zeros(2, 2)), tmp_path / "model.pth")
    assert f"model.pth holds one tensor under two names, {names[1]} and {names[2]}" in refusal(tmp_path / "model.pth")


def test_a_front_end_refuses_a_state_dict_with_two_names_of_one_tensor():
    frontend = create_frontend("wav2vec2_small", encoder_layers=1)
    name = "model.encoder.pos_conv_embed.conv.parametrizations.weight.original0"
    with input_error("holds one tensor under two names, model.encoder.pos_conv.0.weight_g and "):
        frontend.load_state_dict({**frontend.state_dict(), name: torch.zeros(1)})


def test_the_output_folder_of_a_trainer_is_refused_with_the_names_of_its_checkpoints(tmp_path):
    for number in (500, 1000):
        write(tmp_path / f"checkpoint-{number}" / "config.json", "{}")
    assert "name one of checkpoint-500, checkpoint-1000" in refusal(tmp_path)


@pytest.mark.parametrize("classes", [["WhisperForAudioClassification"], ["Wav2Vec2ForCTC"], None])
def test_a_folder_of_another_class_of_model_is_refused_with_its_class_and_those_that_are_read(tmp_path, classes):
    folder_of("Wav2Vec2", tmp_path)
    change_config(tmp_path, architectures=classes)
    message = refusal(tmp_path)
    assert str(classes) in message
    for kind in KINDS:
        assert f"{kind}ForSequenceClassification" in message


def test_weights_named_without_their_folder_are_refused_with_its_path(tmp_path):
    folder_of("Wav2Vec2", tmp_path)
    assert f"name its folder, {tmp_path}" in refusal(tmp_path / "model.safetensors")
