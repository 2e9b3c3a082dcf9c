"""Hugging Face folders of sequence classification: the transformers library's logits, polarity by names, refusals."""

import pytest
import soundfile
import torch
from builders import input_error
from builders.classification_folders import KINDS, WAVEFORM, folder_of
from builders.files import read_json, write_json
from safetensors.torch import load_file, save_file

from nes2net import Detector
from nes2net.cli.main import main
from nes2net.models.checkpoints.classification import bonafide_or_spoof

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stable", [False, True])
def test_the_score_of_a_classification_folder_is_the_difference_of_the_logits_of_transformers(kind, stable, tmp_path):
    norm = "layer" if stable else "group"
    model = folder_of(kind, tmp_path, feat_extract_norm=norm, do_stable_layer_norm=stable, conv_bias=stable)
    detector = Detector.from_pretrained(tmp_path, "cpu")
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path)
    inputs = extractor(WAVEFORM, sampling_rate=16000, return_tensors="pt").input_values
    with torch.no_grad():
        real, fake = model(inputs).logits[0].double().tolist()
    assert detector.score(WAVEFORM, 16000, num_samples=None) == pytest.approx(real - fake, abs=1e-5)


def test_a_detector_of_a_classification_folder_has_the_same_score_after_it_was_saved(tmp_path):
    folder_of("WavLM", tmp_path / "model", ("fake", "real"))
    detector = Detector.from_pretrained(tmp_path / "model", "cpu")
    detector.save(tmp_path / "saved")
    saved = Detector.from_pretrained(tmp_path / "saved", "cpu")
    assert saved.score(WAVEFORM, 16000) == pytest.approx(detector.score(WAVEFORM, 16000), abs=1e-7)


def test_a_weighted_sum_of_layers_scores_as_in_transformers(tmp_path):
    """The last layer counts after the final norm, as in release 4 of the library, whose files these are."""
    model = folder_of("WavLM", tmp_path, ("fake", "real"), do_normalize=False, use_weighted_layer_sum=True)
    detector = Detector.from_pretrained(tmp_path, "cpu")
    with torch.no_grad():
        states = model.wavlm(torch.from_numpy(WAVEFORM)[None], output_hidden_states=True).hidden_states
        weights = model.layer_weights.softmax(0)
        merged = sum(weight * state for weight, state in zip(weights, states, strict=True))
        fake, real = model.classifier(model.projector(merged).mean(1))[0].tolist()
    assert detector.score(WAVEFORM, 16000, num_samples=None) == pytest.approx(real - fake, abs=1e-5)


def test_info_describes_a_classification_folder_by_its_parts_and_classes(tmp_path, capsys):
    folder_of("Hubert", tmp_path)
    assert not main(["info", str(tmp_path)])
    printed = " ".join(capsys.readouterr().out.split())
    assert "detector, a Hugging Face folder of HuBERT with a classification head" in printed
    assert "back-end mean_linear" in printed
    assert "classes: bona fide is real, spoof fake" in printed


def test_an_unstated_normalisation_of_waveforms_is_reported(tmp_path, capsys):
    """On standard error and in the record of the scores, with the default that is used."""
    folder = tmp_path / "model"
    folder_of("WavLM", folder)
    (folder / "preprocessor_config.json").unlink()
    corpus = tmp_path / "corpus"
    for label in ("real", "fake"):
        (corpus / label).mkdir(parents=True)
        soundfile.write(corpus / label / f"{label}.wav", WAVEFORM, 16000)
    reason = "waveforms are normalised, because this is the default of transformers, and no preprocessor_config.json"
    out = tmp_path / "scores.txt"
    assert not main(["score", "generic", str(corpus), "--model", str(folder), "--out", str(out), "--device", "cpu"])
    assert reason in capsys.readouterr().err
    record = read_json(tmp_path / "scores.txt.json")
    assert reason in record["checkpoint"]["waveforms"]


def test_config_chooses_the_bona_fide_class_if_the_names_of_classes_do_not_tell_it(tmp_path):
    folder_of("Wav2Vec2", tmp_path / "named", ("real", "fake"))
    expected = Detector.from_pretrained(tmp_path / "named", "cpu").score(WAVEFORM, 16000)
    assert abs(expected) > 1e-3
    folder_of("Wav2Vec2", tmp_path, ("LABEL_0", "LABEL_1"))
    readings = [Detector.from_pretrained(tmp_path, "cpu", config=f"bonafide=LABEL_{number}") for number in (0, 1)]
    scores = [detector.score(WAVEFORM, 16000) for detector in readings]
    assert scores == pytest.approx([expected, -expected], abs=1e-6)


def test_untelling_names_of_classes_and_a_bona_fide_class_that_the_folder_does_not_have_are_refused(tmp_path):
    """With settings that choose the bona fide one."""
    folder_of("Wav2Vec2", tmp_path, ("LABEL_0", "LABEL_1"))
    with input_error("name it with `config=bonafide=LABEL_1` or `config=bonafide=LABEL_0`"):
        Detector.from_pretrained(tmp_path, "cpu")
    with input_error("has no class 'LABEL_2'"):
        Detector.from_pretrained(tmp_path, "cpu", config="bonafide=LABEL_2")


def test_a_bona_fide_class_that_the_names_contradict_is_refused(tmp_path):
    folder_of("Wav2Vec2", tmp_path)
    with input_error("contradicts that fake is bona fide"):
        Detector.from_pretrained(tmp_path, "cpu", config="bonafide=fake")


def test_the_name_of_a_class_in_an_advice_is_quoted_for_the_shell(tmp_path):
    """A stranger chose the name, and a user copies the advice."""
    folder_of("Wav2Vec2", tmp_path, ("voice A", "$(touch owned)"))
    with input_error() as error:
        Detector.from_pretrained(tmp_path, "cpu")
    assert "`config='bonafide=$(touch owned)'`" in str(error.value)


def test_several_spoofed_classes_are_scored_together_against_bona_fide(tmp_path):
    """They keep their names."""
    model = folder_of("Wav2Vec2", tmp_path, ("human", "ai tts", "vocoded"))
    detector = Detector.from_pretrained(tmp_path, "cpu")
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path)
    with torch.no_grad():
        logits = model(extractor(WAVEFORM, sampling_rate=16000, return_tensors="pt").input_values).logits[0].double()
    expected = logits[0] - logits[1:].logsumexp(0)
    assert detector.classes == ("ai tts", "vocoded", "bonafide")
    assert detector.score(WAVEFORM, 16000, num_samples=None) == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize(
    "name, side",
    [
        ("HumanVoice", "bonafide"),
        ("AIVoice", "spoof"),
        ("bona-fide", "bonafide"),
        ("Bona Fide speech", "bonafide"),
        ("deepfake", "spoof"),
        ("chair", None),
        ("unreal", None),
        ("non-synthetic", None),
        ("real or fake", None),
        ("LABEL_0", None),
        ("other", None),
    ],
)
def test_whole_words_in_the_name_of_a_class_decide_whether_it_is_bona_fide(name, side):
    assert bonafide_or_spoof(name) == side


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"id2label": {"0": "real", "1": "genuine"}, "label2id": None}, "which does not tell which one is bona fide"),
        ({"label2id": {"real": 1, "fake": 0}}, "contradict each other"),
        (
            {"id2label": {"0": "real", "1": "fake", "2": "spoof"}, "label2id": None},
            "classifier.weight has the shape .2, 24., and id2label has 3 classes",
        ),
        ({"problem_type": "multi_label_classification"}, "only 'single_label_classification' is supported"),
    ],
)
def test_classifiers_that_cannot_be_scored_are_refused_with_the_reason(changes, message, tmp_path):
    folder_of("Wav2Vec2", tmp_path)
    config = read_json(tmp_path / "config.json") | changes
    write_json(tmp_path / "config.json", config)
    with input_error(message):
        Detector.from_pretrained(tmp_path, "cpu")


@pytest.mark.parametrize("name", ["classifier.weight", "classifier.bias", "projector.weight", "projector.bias"])
def test_a_head_with_a_tensor_without_dimensions_is_refused_with_its_shape(name, tmp_path):
    folder_of("Wav2Vec2", tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({**load_file(path), name: torch.tensor(1.0)}, path, metadata={"format": "pt"})
    with input_error(rf"{name}.* \(\)"):
        Detector.from_pretrained(tmp_path, "cpu")
