"""The published detectors: rows, full sizes, numbers of the published code, and their own scoring."""

import json
import re
import sys
from importlib.machinery import ModuleSpec
from unittest.mock import MagicMock

import numpy as np
import pytest
import soundfile
import torch
from builders import assert_near, input_error, zoo
from builders.files import read_json, write_json
from builders.small_parts import FRONTENDS
from builders.without_weights import detector_without_weights
from safetensors.torch import save_file

from nes2net import Detector
from nes2net.apps.info.identify import identify
from nes2net.cli.main import main
from nes2net.data.corpora.protocol import canonical_phase
from nes2net.data.registry import corpora
from nes2net.models.provenance import Provenance
from nes2net.models.published_models import PUBLISHED, PUBLISHED_MODELS
from nes2net.models.registry import create_frontend
from nes2net.scoring.score_length import samples_to_score

#: Row → kind in the manifest of AntiDeepfake.
KINDS = ("w2v_small", "w2v_large", "mms_300m", "mms_1b", "xlsr_1b", "xlsr_2b", "hubert_xlarge_ll60k")
ANTIDEEPFAKE = {f"antideepfake_{kind.removesuffix('_ll60k')}": kind for kind in KINDS}
ENCODERS = {"hubert_large": "hubert_large_ll60k", "xlsr_300m": "w2v_large", "xlsr_53": "w2v_large"}


@pytest.mark.parametrize("name, kind", {**ANTIDEEPFAKE, **ENCODERS}.items())
def test_models_of_antideepfake_have_the_architecture_of_their_files(name, kind):
    """In options and shapes; an encoder that no detector has fine-tuned is compared with one that is alike."""
    entry, shapes = zoo.manifest("antideepfake", kind)
    config = PUBLISHED_MODELS.get(name) or {"frontend": name, "backend": "mean_linear"}
    detector = detector_without_weights(config)
    state_dict = detector.state_dict()
    options = detector.frontend.config
    for option in (entry["config"].keys() & options.keys()) - {"conv_feature_layers"}:
        assert options[option] == entry["config"][option], option
    shapes_of_detector = {
        key.replace("ssl_model.model.", "m_ssl.model."): list(x.shape) for key, x in state_dict.items()
    }
    assert shapes_of_detector == shapes


#: What published models were trained or selected on; a name in capitals, such as MLAAD, is of no corpus of this toolkit.
DATA = {data for row in PUBLISHED.values() for data in row.trained_on + row.selected_on}


def test_corpora_and_splits_on_which_a_published_model_was_trained_or_selected_exist():
    """Of those corpora that this toolkit reads."""
    for data in DATA:
        corpus, _, split = data.partition(":")
        if split or re.fullmatch("[a-z0-9_]+", corpus):
            assert corpus in corpora.names()
            assert not split or canonical_phase(split) in corpora.get(corpus).splits


def test_exactly_the_published_models_that_forbid_commercial_use_are_marked():
    forbidden = {*ANTIDEEPFAKE, "multiapi_nes2net_la", "df_arena_500m", "df_arena_1b"}
    assert {name for name, row in PUBLISHED.items() if row.non_commercial} == forbidden


@pytest.mark.parametrize(
    "record, samples, why",
    [
        ({"published_model": "df_arena_1b"}, 64600, "by the detector's authors"),
        ({"published_model": "antideepfake_xlsr_2b"}, None, "by the detector's authors"),
        ({"architecture_of": "df_arena_1b"}, 64600, "by the authors of df_arena_1b, whose architecture it has"),
    ],
)
def test_a_published_architecture_scores_by_default_the_length_that_its_authors_score(record, samples, why):
    assert samples_to_score(Provenance.read(record), usual=7) == (samples, why)


@pytest.mark.parametrize(
    "data, samples",
    [
        ({"num_samples": 16000}, 16000),
        ({"num_samples": 16000, "crop": "pieces"}, None),
        ({"num_samples": None}, None),
    ],
)
def test_a_trained_detector_scores_by_default_as_many_samples_as_in_training(data, samples):
    """Whole recordings if training read them whole or in pieces."""
    assert samples_to_score(Provenance.read({"recipe": {"data": data}}), usual=7) == (samples, "in training")


@pytest.mark.parametrize(
    "record",
    [
        {"published_model": "AASIST"},
        *({"recipe": {"data": {"num_samples": number}}} for number in (64600, 1 << 40, "5")),
        {"recipe": {"data": {}}},
    ],
)
def test_the_usual_length_of_a_corpus_is_scored_if_the_detector_states_no_other_possible_length(record):
    """64,600 samples in training do not count: most published detectors were trained on as many."""
    assert samples_to_score(Provenance.read(record), usual=7) == (7, "")


@pytest.fixture
def trained_on_half_a_second(spectral_detector, tmp_path, monkeypatch):
    """The working folder has ``copy.pth``, a copy of a detector that was trained on half a second, and ``a.wav``."""
    monkeypatch.chdir(tmp_path)
    data = {"num_samples": 8000, "crop": "random"}
    spectral_detector.save("trained.pth", recipe={"name": "short", "data": data, "segments": {}})
    Detector.from_pretrained("trained.pth", "cpu").save("copy.pth")
    waveform = 0.1 * np.random.default_rng(0).standard_normal(30_000)
    soundfile.write("a.wav", waveform, 16000, subtype="FLOAT")
    return Detector.from_pretrained("copy.pth", "cpu")


def test_a_copy_of_a_trained_detector_scores_as_many_samples_as_in_training(trained_on_half_a_second):
    detector = trained_on_half_a_second
    expected = detector.score("a.wav", num_samples=8000)
    assert detector.score("a.wav") == expected
    assert detector.score_track("a.wav").scores[0] == pytest.approx(expected, abs=1e-6)


@pytest.fixture(params=["score asvspoof2019_la {} --split dev --out out.txt", "embed --files a.wav --out out.npy"])
def recorded_length(request, trained_on_half_a_second, corpus, tmp_path):
    """A function that runs the command with flags; it returns the length in the record."""

    def run(flags):
        command = f"{request.param.format(corpus)} --model copy.pth --workers 0 {flags}"
        assert main(command.split()) == 0
        (record,) = tmp_path.glob("out.*.json")
        return read_json(record)["run"]["num_samples"]

    return run


def test_score_and_embed_read_as_many_samples_as_in_training_and_say_so(recorded_length, capsys):
    assert recorded_length("") == 8000
    note = "note: the first 0.50 s of each recording are scored (8,000 samples, repeating shorter ones), as in training"
    assert note in capsys.readouterr().err


def test_the_flag_samples_overrides_the_number_of_samples_of_training(recorded_length):
    assert recorded_length("--samples 9000") == 9000


def test_predict_and_explain_score_as_many_samples_as_in_training(trained_on_half_a_second, capsys):
    expected = pytest.approx(trained_on_half_a_second.score("a.wav"), abs=1e-6)

    def printed(words):
        assert main(f"{words} --model copy.pth".split()) == 0
        return capsys.readouterr()

    row = json.loads(printed("predict a.wav --json").out)
    assert row["score"] == expected
    explained = printed("explain a.wav --json --draws 1")
    assert json.loads(explained.out)["score"] == expected


@pytest.fixture
def small_published(small_model, tmp_path):
    """A small detector that says that it is a published one; what is asked for is a function of the name."""
    detector = Detector.from_config(small_model).eval()

    def save(name):
        detector.provenance = Provenance.read({"published_model": name})
        detector.save(tmp_path / f"{name}.pth")
        return tmp_path / f"{name}.pth"

    return save


def test_a_published_detector_scores_as_many_samples_as_its_authors(small_published, tmp_path):
    """By `score` and by `score_files`."""
    waveform = (0.1 * np.random.default_rng(0).standard_normal(70_000)).astype(np.float32)
    detector = Detector.from_pretrained(small_published("df_arena_500m"), "cpu")
    expected = detector.score(waveform, 16000, num_samples=64_600)
    assert detector.score(waveform, 16000) == expected != detector.score(waveform, 16000, num_samples=None)
    soundfile.write(tmp_path / "a.wav", waveform, 16000, subtype="FLOAT")
    ((_, score),) = detector.score_files([tmp_path / "a.wav"])
    assert score == pytest.approx(expected, abs=1e-6)


def test_score_track_uses_windows_of_the_length_that_the_authors_of_a_published_detector_score(small_published):
    detector = Detector.from_pretrained(small_published("xlsr_mambo_3_hydra_n3"), "cpu")
    assert detector.score_track(np.ones(70_000), 16000).window == 66_800 / 16000


@pytest.mark.parametrize(
    "num_samples, crop, message",
    [
        (8000, "tail", "`crop` must be 'head' or 'random', not 'tail'"),
        (None, "random", "only works with `num_samples`"),
    ],
)
def test_an_unknown_crop_and_a_random_one_of_a_whole_recording_are_refused(
    spectral_detector, num_samples, crop, message
):
    with input_error(message):
        spectral_detector.score(np.ones(9000), 16000, num_samples=num_samples, crop=crop)


@pytest.fixture
def scored(small_published, corpus, tmp_path, monkeypatch, capsys):
    """A function that scores by a published model; it returns the record, the warnings and the scores."""
    monkeypatch.chdir(tmp_path)

    def run(name, *flags):
        arguments = ["score", "in_the_wild", str(corpus), "--model", str(small_published(name)), "--workers", "0"]
        assert main([*arguments, "--out", "s.txt", "--overwrite", *flags]) == 0
        record = read_json(tmp_path / "s.txt.json")
        return record, capsys.readouterr().err, (tmp_path / "s.txt").read_text()

    return run


def test_score_reads_whole_recordings_as_the_authors_of_antideepfake_and_says_so(scored):
    record, warnings, _ = scored("antideepfake_mms_1b")
    assert record["run"]["num_samples"] is None
    note = "note: whole recordings are scored, as by the detector's authors; --samples chooses another part\n"
    assert warnings == note


def test_the_flag_crop_seed_decides_which_random_samples_are_scored(scored):
    """With the flag crop; without it, the first ones are."""
    first = ("multiapi_nes2net_la", "--samples", "3000")
    of_a_seed = (*first, "--crop", "random")
    samples = scored(*of_a_seed)[2]
    assert scored(*of_a_seed)[2] == samples
    for flags in (first, (*of_a_seed, "--crop-seed", "1")):
        assert scored(*flags)[2] != samples


def test_a_folder_with_an_unknown_configuration_is_read_as_the_model_that_its_tensors_fit(tmp_path):
    """As that of DF Arena on the hub."""
    original = Detector.from_config("AASIST-L").eval()
    save_file(original.state_dict(), tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", {"model_type": "antispoofing"})
    detector = Detector.from_pretrained(tmp_path, "cpu")
    waveform = np.sin(np.arange(16_000, dtype=np.float32))
    assert detector.score(waveform, 16000) == pytest.approx(original.score(waveform, 16000), abs=1e-5)


def test_files_of_spoof_superb_score_as_the_published_code_with_or_without_their_encoder(pretrained, tmp_path):
    """By their names of tensors, on a small encoder."""
    base = pretrained / "tiny_w2v2_plain.pt"
    config = {
        "frontend": {"name": "wav2vec2", "normalize": True, "repeat_last": True},
        "aggregation": "weighted_sum",
        "backend": {"name": "mean_linear", "projection_dim": 256, "score_rule": "logit"},
    }
    torch.manual_seed(0)
    detector = Detector.from_config(config, base).eval()
    detector.aggregation.weight_hidd.data.normal_()
    renamed = {"ssl_model.weight_hidd": "ssl_model.featurizer.weights"}
    prefixes = {"ssl_model.model.": "ssl_model.model.upstream.model.", "proj_fc.": "post_net.linear."}
    state_dict = {}
    for name, tensor in detector.state_dict().items():
        start = next((start for start in prefixes if name.startswith(start)), "")
        state_dict[renamed.get(name, prefixes.get(start, "") + name.removeprefix(start))] = tensor
    head = {name: tensor for name, tensor in state_dict.items() if not name.startswith("ssl_model.model.")}
    torch.save(state_dict, tmp_path / "whole.pth")
    torch.save(head, tmp_path / "swa.pth")

    waveform = 0.1 * torch.randn(8000)
    with torch.inference_mode():
        normalised = torch.nn.functional.layer_norm(waveform, waveform.shape)
        plain = Detector.from_config({**config, "frontend": "wav2vec2"}, base).eval()
        states = torch.stack(plain.hidden_states(normalised[None], layers="all"))
        frames = torch.einsum("l,lbtd->btd", head["ssl_model.featurizer.weights"].softmax(0), states)
        frames = torch.cat([frames, frames[:, -1:]], 1)  # s3prl.nn: ⌈8,000 / 320⌉ frames, the last one repeated
        frames = frames @ head["projector.weight"].T + head["projector.bias"]
        expected = (frames.mean(1) @ head["post_net.linear.weight"].T + head["post_net.linear.bias"])[0, 1].item()
    full_config = {**config, "frontend": detector.config["frontend"]}
    for file, ssl_checkpoint in (("whole.pth", None), ("swa.pth", base)):
        loaded = Detector.from_pretrained(tmp_path / file, "cpu", config=full_config, base=ssl_checkpoint)
        assert loaded.score(waveform, 16000) == pytest.approx(expected, abs=1e-5)


def test_a_file_without_its_encoder_is_refused_if_no_pre_training_file_is_named(tmp_path):
    config = {"frontend": {"name": "wav2vec2_small", "encoder_layers": 1}, "backend": "mean_linear"}
    state_dict = Detector.from_config(config).state_dict()
    head = {name: tensor for name, tensor in state_dict.items() if not name.startswith("ssl_model.")}
    torch.save(head, tmp_path / "head.pth")
    with input_error("lacks the front-end, which was frozen: name its pre-training file with"):
        Detector.from_pretrained(tmp_path / "head.pth", "cpu", config=config)


def test_every_system_of_spoof_superb_repeats_the_last_frame_as_s3prl():
    """Up to ⌈64,600 / 320⌉ frames, here of a small network."""
    names = [name for name in PUBLISHED if name.startswith("spoof_superb")]
    assert all(PUBLISHED[name].config["frontend"]["repeat_last"] for name in names)
    small = {**FRONTENDS["wav2vec2"], "conv_feature_layers": zoo.CONVOLUTIONS}
    frontend = create_frontend("wav2vec2", **small, repeat_last=True).eval()
    with torch.inference_mode():
        frames = frontend(torch.randn(1, 64_600))[-1]
    assert frames.shape[1] == 202
    assert torch.equal(frames[:, 201], frames[:, 200])


@pytest.mark.weekly
def test_features_of_spoof_superb_are_those_of_s3prl(pretrained, monkeypatch):
    """Those of its upstream and its sum over the layers, on a small WavLM, with and without a repeated frame."""
    submodules = ("", ".compliance", ".compliance.kaldi", ".transforms", ".functional", ".sox_effects", ".models")
    with monkeypatch.context() as patched:
        for submodule in submodules:  # for other upstreams than this one
            patched.setitem(sys.modules, f"torchaudio{submodule}", MagicMock(__spec__=ModuleSpec("torchaudio", None)))
        nn = pytest.importorskip("s3prl.nn", reason="s3prl is not installed: pip install --no-deps s3prl==0.4.18")
    upstream = nn.S3PRLUpstream("wavlm_local", str(pretrained / "tiny_wavlm_unilm.pt")).eval()
    featurizer = nn.Featurizer(upstream)
    torch.nn.init.normal_(featurizer.weights)
    config = {
        "frontend": {"name": "wavlm", "normalize": upstream.upstream.cfg.normalize, "repeat_last": True},
        "aggregation": "weighted_sum",
        "backend": {"name": "mean_linear", "projection_dim": 256, "score_rule": "logit"},
    }
    detector = Detector.from_config(config, pretrained / "tiny_wavlm_unilm.pt").eval()
    detector.aggregation.weight_hidd.data.copy_(featurizer.weights.data)
    for samples in (64600, 16000, 16240):
        waveform = 0.1 * torch.randn(2, samples)
        with torch.inference_mode():
            states, lengths = upstream(waveform, torch.tensor([samples] * 2))
            expected, _ = featurizer(states, lengths)
            features = detector.features(detector.hidden_states(waveform))
        assert_near(features, expected, 1e-5)


def test_a_file_of_spoof_superb_with_only_the_head_is_recognised_as_one_without_its_front_end(tmp_path):
    head = {"ssl_model.featurizer.weights": torch.zeros(13), "projector.weight": torch.zeros(256, 768)}
    head |= {"projector.bias": torch.zeros(256), "post_net.linear.weight": torch.zeros(2, 256)}
    torch.save({**head, "post_net.linear.bias": torch.zeros(2)}, tmp_path / "swa.pth")
    identified = identify(tmp_path / "swa.pth")
    assert sorted(identified.models) == ["spoof_superb_hubert_base", "spoof_superb_wav2vec2_base"]
    assert "its front-end, which was frozen, is not in it" in " ".join(identified.notes)
