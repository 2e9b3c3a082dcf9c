"""Every command names the files that it writes, and leaves data on standard output by itself."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from builders.report_case import make_case

from nes2net import Detector
from nes2net.cli.main import main
from nes2net.registry import corpora

CALIBRATE = "asvspoof2021_la good.txt --keys . --phase eval"
COMMANDS = {
    "train": "train recipe.yaml",
    "average": "average a.pth b.pth --out mean.pth",
    "average of a run": "average run --ids 1 2",
    "score": "score asvspoof2019_la corpus --split dev --model a.pth --out scores.txt --samples 8000 --workers 0",
    "evaluate": "evaluate asvspoof2021_la good.txt worse.txt --keys . --resamples 5 --html r.html --json r.json",
    "calibrate": f"calibrate fit {CALIBRATE} --save c.json --apply worse.txt --out calibrated.txt",
    "fuse": "calibrate fit asvspoof2021_la good.txt worse.txt --keys . --phase eval --save f.json",
    "apply": "calibrate apply calibration.json worse.txt --out applied.txt",
    "export to pth": "export a.pth --to pth --out published.pth",
    "export to a folder": "export a.pth --to safetensors --out folder",
    "augment": "augment clip.flac --algo 5 --out heard --plot",
    "predict": "predict clip.flac --model a.pth --plot track.png --window 1 --json",
}

FAILING = {
    "score": "score generic bad.csv --model a.pth --out new/of/scores.txt --workers 0",
    "embed": "embed generic bad.csv --model a.pth --of backend --out new/of/e.npy --workers 0",
    "predict": "predict bad.wav --model a.pth --plot new/of/",
    "explain": "explain bad.wav --model a.pth --out new/of/",
    "robustness": "robustness generic bad.csv --model a.pth --out new/of --conditions gain --workers 0",
    "average": "average a.pth none.pth --out new/of/mean.pth",
    "export": "export none.pth --to onnx --out new/of/a.onnx",
    "export below a file": "export a.pth --to safetensors --out a.pth/x",
    "train": "train recipe.yaml train.init_from=none.pth output=new/of logs=new/logs",
}


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return make_case(tmp_path_factory.mktemp("case"))


@pytest.fixture
def folder(case, corpus, small_model, tmp_path, monkeypatch):
    """A folder to work in, with everything that the commands read."""
    monkeypatch.chdir(tmp_path)
    for path in case.iterdir():
        Path(path.name).symlink_to(path)
    Path("corpus").symlink_to(corpus)
    Path("clip.flac").symlink_to(next(corpus.rglob("*.flac")))
    for name in ("a.pth", "b.pth", "run/epoch_1.pth", "run/epoch_2.pth"):
        Path(name).parent.mkdir(exist_ok=True)
        Detector.from_config(small_model).save(name)
    recipe = {
        "model": small_model,
        "data": {"root": "corpus", "num_samples": 8000, "num_workers": 0},
        "train": {"epochs": 1, "batch_size": 4},
        "validation": {"augmented": False},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    weights = {"weights": [2.0], "offset": 1.0, "prior": 0.5, "l2": 0.0, "systems": ["good"]}
    Path("calibration.json").write_text(json.dumps({"format": "nes2net linear calibration", **weights}))
    return tmp_path


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file() and not any(p.is_symlink() for p in path.parents)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_file_is_named(name, folder, capsys):
    before = files(folder)
    assert main(COMMANDS[name].split()) == 0
    captured = capsys.readouterr()
    words = {Path(word.rstrip(".,;:")) for word in (captured.out + captured.err).split()}
    written = {path.relative_to(folder) for path in files(folder) - before}
    assert written
    unnamed = [path for path in written if not {path, *list(path.parents)[:-1]} & words and not belongs(path, words)]
    assert unnamed == []
    if "--json" in COMMANDS[name] and name == "predict":
        assert [json.loads(line)["file"] for line in captured.out.splitlines()] == ["clip.flac"]


@pytest.mark.parametrize("name", FAILING)
def test_a_command_that_fails_leaves_no_empty_folder(name, folder):
    Path("bad.wav").write_bytes(b"no audio")
    Path("bad.csv").write_text("path,label\nbad.wav,bonafide\nnone.wav,spoof\n")
    before = sorted(folder.rglob("*"))
    assert main(FAILING[name].split()) in (1, 2)
    assert sorted(folder.rglob("*")) == before


def belongs(path: Path, words: set[Path]) -> bool:
    """Whether a file is the record of a score file that is named."""
    return path.suffix == ".json" and path.with_suffix("") in words


def test_reproduce(corpus, register_corpus, small_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    official = corpora.get("asvspoof2019_la")
    register_corpus("tiny", replace(official, counts={}, key_digests={}, asv_counts={}))
    Detector.from_config(small_model).save("a.pth")
    system = {"system": "tiny", "train": "tiny", "metric": "EER", "source": "nobody", "samples": 8000}
    test = {"test": "tiny", "corpus": "tiny", "split": "dev", "phase": "dev"}
    table = {
        "title": "Mine",
        "columns": {"dev": "dev"},
        "systems": {"row": {**system, "results": {"dev": {"best": 1.0}}}},
    }
    Path("rows.yaml").write_text(yaml.safe_dump({"tests": {"dev": test}, "tables": [table]}))
    before = files(tmp_path)
    command = f"experiment reproduce row-dev --rows rows.yaml --data {corpus} --checkpoint a.pth --out out --workers 0 --resamples 5"
    assert main(command.split()) in (0, 1)
    said = capsys.readouterr().err
    assert {f"wrote {path.relative_to(tmp_path)}" for path in files(tmp_path) - before} <= set(said.splitlines())
