"""Every command names the files that it writes, and gives them the permissions of the umask."""

import os
import shutil
import stat
from pathlib import Path

import pytest
import yaml
from builders import slow
from builders.report_case import make_case
from builders.small_parts import SPECTRAL_MODEL
from conftest import seeded_detector

EVALUATE = "evaluate asvspoof2021_la good.txt worse.txt --keys . --resamples 5"
CALIBRATE = "calibrate fit asvspoof2021_la --keys . --phase eval"
PUBLISHED = "--model_name wav2vec2_Nes2Net_X --eval --database_path corpus --model_path a.pth --eval_output main.txt"
COMMANDS = {
    "train": "train recipe.yaml",
    "average": "average a.pth b.pth --out mean.pth",
    "score": "score asvspoof2019_la corpus --split dev --model a.pth --samples 8000 --workers 0 --out scores.txt",
    "evaluate": f"{EVALUATE} --html r.html --json r.json --latex r.tex --markdown r.md",
    "calibrate": f"{CALIBRATE} good.txt --save c.json --apply worse.txt --out calibrated.txt",
    "fuse": f"{CALIBRATE} good.txt worse.txt --save f.json",
    "export to a folder": "export a.pth --to safetensors --out folder",
    "export to onnx": "export a.pth --to onnx --out exported.onnx",
    "augment": "augment clip.flac --algo 5 --out heard --plot",
    "predict": "predict clip.flac --model a.pth --plot track.png --window 1 --json",
    "published": f"published main {PUBLISHED} --test_samples 8000 --num_workers 0",
}


@pytest.fixture
def folder(corpus, workdir):
    """The working folder, with everything that the commands read."""
    make_case(workdir)
    shutil.copy(next(corpus.rglob("*.flac")), "clip.flac")
    (workdir / "corpus").symlink_to(corpus)
    recipe = {
        "model": SPECTRAL_MODEL,
        "data": {"root": "corpus", "num_samples": 8000, "num_workers": 0, "cache": "cache"},
        "train": {"epochs": 1, "batch_size": 4, "keep": "all"},
        "validation": {"augmented": False},
    }
    (workdir / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for name in ("a.pth", "b.pth"):
        seeded_detector(recipe["model"]).save(name)
    return workdir


@pytest.fixture
def mode():
    """The permissions of a new file; neither the usual ones nor those of a temporary file."""
    before = os.umask(0o027)
    yield 0o640
    os.umask(before)


def files(folder):
    """The files in a folder; those of the corpus are behind a link, which rglob does not follow."""
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX systems")
@pytest.mark.parametrize("name", [*slow("export to onnx"), *(name for name in COMMANDS if name != "export to onnx")])
def test_written_files_are_announced_with_permissions_of_the_umask(name, folder, mode, monkeypatch, command):
    if name == "export to onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
        monkeypatch.setattr("nes2net.apps.export.onnx.MAX_FILE_BYTES", 1000)  # its weights are in a second file
    before = files(folder)
    status, out, err = command(COMMANDS[name])
    announced = {Path(word.rstrip(".,;:")) for word in (out + err).split()}
    announced.add(Path("cache"))  # which the recipe names
    announced |= {Path(f"{path}.json") for path in announced if path.suffix == ".txt"}  # records of score files
    written = {path.relative_to(folder) for path in files(folder) - before}
    assert status == 0
    assert written
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in written} == {oct(mode)}
    assert [path for path in written if not {path, *list(path.parents)[:-1]} & announced] == []
