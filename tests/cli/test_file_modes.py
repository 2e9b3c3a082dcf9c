"""Every command gives the files that it writes the permissions of the umask, and replaces no device."""

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
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
def test_every_command_respects_the_umask(corpus, small_model, spectral_detector, tmp_path, monkeypatch, capsys, umask):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    umask(mask := 0o027)  # 0640 is neither the usual mode of a file nor that of a temporary one
    monkeypatch.setattr("nes2net.export.onnx.LARGEST_FILE", 1000)  # its weights are in a second file
    data = {"num_workers": 0, "num_samples": 8000, "cache": "cache", "root": str(corpus)}
    train = {"epochs": 1, "batch_size": 4, "keep": "all"}
    model = {**small_model, "backend": "asp_mlp"}
    recipe = {"name": "tiny", "model": model, "data": data, "train": train}
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    spectral_detector.save("spectral.pth")
    wav, keys = corpus / "release_in_the_wild" / "1.wav", corpus / "keys"
    scoring = "--model mean.pth --samples 8000 --workers 0 --out"
    for command in (
        "train recipe.yaml date=d",
        "average models/d_tiny_e1_bz4_lr2.5e-07_algo0_seed1234 --ids 1 1",
        "average models/d_tiny_e1_bz4_lr2.5e-07_algo0_seed1234/epoch_1.pth --out mean.pth",
        "export mean.pth --to pth --out exported.pth",
        "export mean.pth --to safetensors --out folder",
        "export mean.pth --to hf --out huggingface",
        "export spectral.pth --to onnx --out exported.onnx",
        f"score asvspoof2021_la {corpus} {scoring} scores.txt",
        f"score asvspoof2019_la {corpus} --split dev {scoring} dev.txt",
        f"evaluate asvspoof2021_la scores.txt --keys {keys} --html page.html --json page.json --resamples 10",
        f"calibrate fit asvspoof2019_la dev.txt --keys {corpus} --apply dev.txt --out calibrated.txt --save parameters.json"
        " --allow-inverted",
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


@pytest.mark.skipif(os.name != "posix", reason="pipes are those of POSIX systems")
def test_a_command_replaces_no_pipe_or_device(spectral_detector, tmp_path, monkeypatch, capsys):
    """Text goes through it; what must be a file is refused, before hours are spent on it."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    spectral_detector.save("detector.pth")
    Path("list.csv").write_text("path,label\n" + "".join(f"{n},{('real', 'fake')[n % 2]}\n" for n in range(8)))
    Path("s.txt").write_text("".join(f"{n} {n % 3}\n" for n in range(8)))
    for name in ("out", "out.pth", "out.onnx", "out.png", "a.json", "b.partial"):
        os.mkfifo(name)
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    for command in (
        "average detector.pth --out out",
        "export detector.pth --to pth --out out.pth --overwrite",
        "export detector.pth --to onnx --out out.onnx --overwrite",
        "score generic list.csv --model detector.pth --out out --overwrite",
        "score generic list.csv --model detector.pth --out out",
        "score generic list.csv --model detector.pth --out a",
        "score generic list.csv --model detector.pth --out b",
        "predict 1.wav --model detector.pth --plot out.png",
    ):
        assert main(command.split()) == 2
        error = capsys.readouterr().err
        assert re.search("is a device or a pipe, which|b.partial: is not a regular file", error), (command, error)
        assert error.count("\n") == 1
    if os.path.exists("/dev/fd"):
        calibrate = "calibrate fit generic s.txt --keys list.csv --phase all --allow-inverted"
        for command in (
            "evaluate generic s.txt --keys list.csv --resamples 5 --json /dev/fd/{}",
            "evaluate generic s.txt --keys list.csv --resamples 5 --html /dev/fd/{}",
            f"{calibrate} --save /dev/fd/{{}}",
            f"{calibrate} --apply s.txt --out /dev/fd/{{}}",
        ):
            receiving, sending = os.pipe()
            with open(receiving, encoding="utf-8") as pipe:
                reader = ThreadPoolExecutor(1).submit(pipe.read)
                assert main(command.format(sending).split()) == 0, capsys.readouterr().err
                os.close(sending)
                assert reader.result(10).startswith(("{", "<!doctype html>", "0 "))
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before
