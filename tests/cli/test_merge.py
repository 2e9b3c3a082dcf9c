"""`nes2net export --to merged`, and the commands that merge by themselves or take `--base`."""

import os

import torch

from nes2net.detector import Detector


def test_a_merged_file_is_an_ordinary_detector(small_model, tmp_path, monkeypatch, command, refused):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    adapt = {"kind": "lora", "rank": 2}
    detector = Detector.from_config({**small_model, "frontend": {**small_model["frontend"], "adapt": adapt}}).eval()
    detector.save_base(tmp_path / "base.pth")
    for parameter in detector.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    detector.save("lora.pth", epoch=2)
    waveform = 0.1 * torch.randn(2, 6000)

    def score(path):
        with torch.no_grad():
            return Detector.from_pretrained(path, "cpu")(waveform)

    def same_as_merged(path):
        found = Detector.from_pretrained(path, "cpu").state_dict()
        return all(torch.equal(value, found[key]) for key, value in merged.state_dict().items())

    expected = score("lora.pth")
    os.rename("base.pth", "moved.pth")
    merge = "export lora.pth --to merged --out merged.pth"
    assert refused(merge) == (
        "nes2net: error: lora.pth holds only the trained part of its front-end, and its base "
        f"'{tmp_path / 'base.pth'}' is neither there nor beside it: name the base with --base\n"
    )
    assert command(f"{merge} --base moved.pth")[:2] == (0, "wrote merged.pth\n")
    merged = Detector.from_pretrained("merged.pth", "cpu")
    assert merged.config["frontend"] == Detector.from_config(small_model).config["frontend"]
    assert merged.record == {"epoch": 2}
    torch.testing.assert_close(score("merged.pth"), expected, atol=1e-6, rtol=0)
    refused(f"{merge} --base moved.pth", "exists: pass --overwrite or name another")
    again = "export {} --to merged --out again.pth"
    refused(again.format("merged.pth"), "this detector holds all its tensors: there is nothing to merge")
    whole = Detector.from_pretrained("lora.pth", "cpu", base="moved.pth")
    whole.base = None
    whole.save("whole.pth")  # with LoRA beside its base, in one file
    assert command(again.format("whole.pth"))[0] == 0 and same_as_merged("again.pth")
    # Averages keep the base, and export merges by itself, to the same tensors.
    assert command("average lora.pth lora.pth --out average.pth")[0] == 0
    assert command("export average.pth --to pth --out exported.pth --base moved.pth")[0] == 0
    assert same_as_merged("exported.pth")
    assert command("export average.pth --to hf --out hf --base moved.pth")[0] == 0
    torch.testing.assert_close(score("hf"), expected, atol=1e-6, rtol=0)
