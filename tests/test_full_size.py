"""XLS-R 300M + Nes2Net-X at full size with random weights: built, saved, loaded strictly, scored on the CPU."""

import numpy as np
import pytest
import soundfile
import torch

from nes2net import Detector
from nes2net.cli import demo
from nes2net.detector import PUBLISHED_MODELS


@pytest.mark.slow
def test_built_saved_loaded_and_scored(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # no xlsr2_300m.pt here
    torch.manual_seed(0)
    detector = Detector.from_config(PUBLISHED_MODELS["wav2vec2_Nes2Net_X"]).eval()
    assert sum(v.numel() for v in detector.frontend.state_dict().values()) == 317_390_592
    waveform = (0.1 * np.random.default_rng(0).standard_normal(64600)).astype(np.float32)
    score = detector.score(waveform)
    bare = dict(detector.state_dict())
    del detector
    torch.save(bare, "published.pth")  # as the published code saves: no record of the architecture

    detector = Detector.from_pretrained("published.pth", device="cpu")
    assert detector.score(waveform) == score
    detector.save("again.pth")
    again = torch.load("again.pth", weights_only=True, mmap=True)
    assert again.keys() == bare.keys() and all(torch.equal(again[k], bare[k]) for k in bare)
    del detector, again, bare

    soundfile.write("speech.wav", waveform, 16000, subtype="FLOAT")
    arguments = ["--model_path", "published.pth", "--file_to_test", "speech.wav", "--model_name", "wav2vec2_Nes2Net_X"]
    assert demo.main(arguments) == 0
    assert float(capsys.readouterr().out.split()[-1]) == pytest.approx(score, abs=1e-5)
