"""`nes2net export --to merged`, and the commands that merge by themselves or take `--base`."""

import os

import pytest
import torch

from nes2net.cli.main import main
from nes2net.detector import Detector

WAVEFORM = 0.1 * torch.randn(2, 6000, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def checkpoint(small_model, tmp_path):
    torch.manual_seed(0)
    adapt = {"kind": "lora", "rank": 2}
    detector = Detector.from_config({**small_model, "frontend": {**small_model["frontend"], "adapt": adapt}}).eval()
    detector.save_base(tmp_path / "base.pth")
    for parameter in detector.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    detector.save(tmp_path / "lora.pth", epoch=2)
    return tmp_path / "lora.pth"


def test_a_merged_file_is_an_ordinary_detector(checkpoint, small_model, tmp_path, capsys):
    with torch.no_grad():
        expected = Detector.from_pretrained(checkpoint, "cpu")(WAVEFORM)
    base, moved = tmp_path / "base.pth", tmp_path / "moved.pth"
    os.rename(base, moved)
    out = tmp_path / "merged.pth"
    assert main(["export", str(checkpoint), "--to", "merged", "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"nes2net: error: {checkpoint} holds only the trained part of its front-end, and its base '{base}' is neither "
        "there nor beside it: name the base with --base\n"
    )
    assert main(["export", str(checkpoint), "--to", "merged", "--out", str(out), "--base", str(moved)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    merged = Detector.from_pretrained(out, "cpu")
    assert merged.config["frontend"] == Detector.from_config(small_model).config["frontend"]
    assert merged.record == {"epoch": 2}
    with torch.no_grad():
        torch.testing.assert_close(merged(WAVEFORM), expected, atol=1e-6, rtol=0)
    assert main(["export", str(checkpoint), "--to", "merged", "--out", str(out), "--base", str(moved)]) == 2
    assert "exists: pass --overwrite or name another" in capsys.readouterr().err
    assert main(["export", str(out), "--to", "merged", "--out", str(tmp_path / "again.pth")]) == 2
    assert "this detector holds all its tensors: there is nothing to merge" in capsys.readouterr().err
    whole = Detector.from_pretrained(checkpoint, "cpu", base=moved)
    whole.base = None
    whole.save(tmp_path / "whole.pth")  # with LoRA beside its base, in one file
    assert main(["export", str(tmp_path / "whole.pth"), "--to", "merged", "--out", str(tmp_path / "again.pth")]) == 0
    found = Detector.from_pretrained(tmp_path / "again.pth", "cpu").state_dict()
    assert all(torch.equal(value, found[key]) for key, value in merged.state_dict().items())
    capsys.readouterr()
    # Averages keep the base, and export merges by itself, to the same tensors.
    average, exported = tmp_path / "average.pth", tmp_path / "exported.pth"
    assert main(["average", str(checkpoint), str(checkpoint), "--out", str(average)]) == 0
    assert main(["export", str(average), "--to", "pth", "--out", str(exported), "--base", str(moved)]) == 0
    found = Detector.from_pretrained(exported, "cpu").state_dict()
    assert all(torch.equal(value, found[key]) for key, value in merged.state_dict().items())
    assert main(["export", str(average), "--to", "hf", "--out", str(tmp_path / "hf"), "--base", str(moved)]) == 0
    with torch.no_grad():
        found = Detector.from_pretrained(tmp_path / "hf", "cpu")(WAVEFORM)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
