"""Every command gives the files that it writes the permissions of the umask."""

import os
import stat
from pathlib import Path

import pytest
import yaml

from nes2net.cli.main import main
from nes2net.cli.published import main as legacy


@pytest.fixture
def umask():
    """Return a function that sets the umask for this test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX systems")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_every_command_respects_the_umask(corpus, small_model, tmp_path, monkeypatch, capsys, umask, mask):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    umask(mask)
    monkeypatch.setattr("nes2net.export.onnx.LARGEST_FILE", 1000)  # its weights are in a second file
    data = {"num_workers": 0, "num_samples": 8000, "cache": "cache", "root": str(corpus)}
    train = {"epochs": 1, "batch_size": 4, "keep": "all"}
    recipe = {"name": "tiny", "model": small_model, "data": data, "train": train}
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    wav, keys = corpus / "release_in_the_wild" / "1.wav", corpus / "keys"
    scoring = "--model mean.pth --samples 8000 --workers 0 --out"
    for command in (
        "train recipe.yaml date=d",
        "average models/d_tiny_e1_bz4_lr2.5e-07_algo0_seed1234 --ids 1 1",
        "average models/d_tiny_e1_bz4_lr2.5e-07_algo0_seed1234/epoch_1.pth --out mean.pth",
        "export mean.pth --to pth --out exported.pth",
        "export mean.pth --to safetensors --out folder",
        "export mean.pth --to hf --out huggingface",
        "export mean.pth --to onnx --out exported.onnx",
        f"score asvspoof2021_la {corpus} {scoring} scores.txt",
        f"score asvspoof2019_la {corpus} --split dev {scoring} dev.txt",
        f"evaluate asvspoof2021_la scores.txt --keys {keys} --html page.html --json page.json --resamples 10",
        f"calibrate asvspoof2019_la dev.txt --keys {corpus} --apply dev.txt --out calibrated.txt --save parameters.json",
        f"predict {wav} --model mean.pth --plot track.png",
        f"augment {wav} --algo 4 --out heard --plot",
    ):
        assert main(command.split()) == 0, capsys.readouterr().err
    published = (
        f"--model_name wav2vec2_Nes2Net_X --eval --database_path {corpus} --model_path mean.pth --eval_output main.txt"
    )
    assert legacy.main([*published.split(), "--test_samples", "8000", "--num_workers", "0"]) == 0
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert len(modes) > 40 and {path for path, mode in modes.items() if mode != 0o666 & ~mask} == set()
