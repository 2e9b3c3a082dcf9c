"""XLS-R 300M and its detector at full size, with random weights, on the CPU."""

import numpy as np
import pytest
import soundfile
import torch
from builders import genuine_checkpoint

from nes2net import Detector, create_frontend
from nes2net.cli.published import easy_inference_demo as demo
from nes2net.inspect.identify import identify
from nes2net.published_models import PUBLISHED_MODELS


@pytest.mark.weekly
def test_built_saved_loaded_and_scored(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # a folder without xlsr2_300m.pt
    torch.manual_seed(0)
    detector = Detector.from_config(PUBLISHED_MODELS["wav2vec2_Nes2Net_X"]).eval()
    assert sum(v.numel() for v in detector.frontend.state_dict().values()) == 317_390_592
    waveform = (0.1 * np.random.default_rng(0).standard_normal(64600)).astype(np.float32)
    score = detector.score(waveform, 16000)
    bare = dict(detector.state_dict())
    del detector
    torch.save(bare, "published.pth")  # like the published code, without a record of the architecture

    detector = Detector.from_pretrained("published.pth", device="cpu")
    assert detector.score(waveform, 16000) == score
    detector.save("again.pth")
    again = torch.load("again.pth", weights_only=True, mmap=True)
    assert again.keys() == bare.keys() and all(torch.equal(again[k], bare[k]) for k in bare)
    del detector, again, bare

    soundfile.write("speech.wav", waveform, 16000, subtype="FLOAT")
    arguments = ["--model_path", "published.pth", "--file_to_test", "speech.wav", "--model_name", "wav2vec2_Nes2Net_X"]
    assert demo.main(arguments) == 0
    assert float(capsys.readouterr().out.split()[-1]) == pytest.approx(score, abs=1e-5)


@pytest.mark.weekly
def test_a_pretraining_file_of_full_size_is_read_back(tmp_path):
    """XLS-R 300M in fairseq's format gives the outputs of the transformers model that was written."""
    torch.manual_seed(0)
    frontend = create_frontend("xlsr_300m").eval()
    genuine_checkpoint.write(frontend, tmp_path / "xlsr2_300m.pt")
    waveform = 0.1 * torch.randn(1, 64600)
    with torch.inference_mode():
        expected = frontend.model(waveform).last_hidden_state
    kept = {k: v for k, v in frontend.state_dict().items() if k.startswith(("model.quantizer", "model.mask_emb"))}
    del frontend

    identity = identify(tmp_path / "xlsr2_300m.pt")
    assert identity.parameters == 317_390_592 and not identity.misfit
    assert {"omegaconf.dictconfig.DictConfig", "argparse.Namespace"} <= set(identity.records)
    read = create_frontend("xlsr_300m", tmp_path / "xlsr2_300m.pt").eval()
    with torch.inference_mode():
        found = read(waveform)[-1]
    assert found.shape == (1, 201, 1024)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert len(kept) == 4 and all(torch.equal(read.state_dict()[k], v) for k, v in kept.items())
