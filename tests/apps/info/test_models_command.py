"""`nes2net models`, and detectors and front-ends that commands fetch by name from a server on this machine."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from builders import genuine_checkpoint
from builders.http_server import running
from builders.hub_server import use_cache
from conftest import load_detector

from nes2net import Detector, create_frontend
from nes2net.models.checkpoints.published_file import PublishedFile
from nes2net.models.frontends import sizes
from nes2net.models.published_models import PUBLISHED


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working folder with a recording, and no weights on this machine."""
    monkeypatch.chdir(tmp_path)
    use_cache(monkeypatch, tmp_path / "hf", offline=False)
    soundfile.write("a.wav", 0.1 * np.random.default_rng(0).standard_normal(64600), 16000)
    return tmp_path


def test_nes2net_models_lists_models_with_their_figures_and_licences(output, home):
    out = output("models").out
    for text in ("AASIST-L", "antideepfake_xlsr_2b", "df_arena_1b", "0.83 %", "CC BY-NC-SA 4.0", "xlsr_300m"):
        assert text in out


def test_nes2net_models_as_json_has_the_training_corpora_of_a_detector(output, home):
    detectors = {row["name"]: row for row in json.loads(output("models --json").out)["detectors"]}
    assert detectors["AASIST"]["trained_on"] == ["asvspoof2019_la:train"]


def test_an_unknown_name_of_a_model_is_answered_with_the_nearest_known_name(refused, home):
    refused("models aasist", "there is no model 'aasist'; did you mean 'AASIST'?")
    refused("predict a.wav --model aasist", "checkpoint aasist not found; did you mean 'AASIST'?")


def test_a_model_that_a_program_cannot_download_is_refused_with_what_to_do_instead(refused, home):
    refused("predict a.wav --model wav2vec2_Nes2Net_X", "cannot be downloaded by a program", "--model")


def test_models_and_info_show_the_addresses_of_the_released_files_of_a_published_result(output, home):
    by_hand = json.loads(output("models --json").out)["by hand"]
    (first_goal,) = [detector for detector in by_hand if detector["result"] == "nes2net_x-2021_df"]
    cards = [" ".join(output(words).out.split()) for words in ("models Nes2Net-X", "info nes2net_x-2021_df")]
    assert first_goal["files"]
    for address in first_goal["files"].values():
        for card in cards:
            assert address in card


def test_a_published_detector_is_fetched_once_by_its_name_for_the_command_and_for_python(output, home, monkeypatch):
    """The server has random weights of AASIST-L, as their publisher has them: a bare state dict."""
    torch.manual_seed(0)
    torch.save(Detector.from_config("AASIST-L").state_dict(), "random.pth")
    content = (home / "random.pth").read_bytes()
    with running(content) as server:
        file = PublishedFile(f"{server.address}/AASIST-L.pth", len(content), hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(PUBLISHED, "AASIST-L", replace(PUBLISHED["AASIST-L"], file=file))
        out, err = output("predict a.wav --model AASIST-L --json")
        assert "note: AASIST-L is fetched once from" in err
        row = json.loads(out)
        output("predict a.wav --model AASIST-L")
        assert len(server.fetched()) == 1
    detector = load_detector("AASIST-L")
    assert detector.score("a.wav") == pytest.approx(row["score"], abs=1e-6)


def test_of_a_file_and_a_published_model_of_the_same_name_the_file_is_loaded(spectral_detector, home):
    spectral_detector.save("AASIST-L")
    assert load_detector("AASIST-L").config == spectral_detector.config


def test_a_file_of_pre_training_is_fetched_once_by_its_name_and_read(home, monkeypatch):
    genuine_checkpoint.write(create_frontend("wav2vec2_small"), home / "small.pt")
    with running((home / "small.pt").read_bytes()) as server:
        monkeypatch.setitem(sizes._ADDRESSES, sizes._XLSR, f"{server.address}/{{file}}")
        frontend = create_frontend("wav2vec2", "xlsr_1b")
        create_frontend("wav2vec2", "xlsr_1b")
        assert server.fetched() == ["/xlsr2_960m_1000k.pt"]
        expected = create_frontend("wav2vec2", home / "small.pt").state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in frontend.state_dict().items())
