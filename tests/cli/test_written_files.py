"""Every command names the files that it writes, and gives them the permissions of the umask."""

import os
import shutil
import stat
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import yaml
from builders import slow
from builders.report_case import make_case
from builders.small_parts import SPECTRAL_MODEL
from conftest import seeded_detector

from nes2net.cli.main import main

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX systems")

EVALUATE = "evaluate asvspoof2021_la good.txt worse.txt --keys . --resamples 5"
CALIBRATE = "calibrate fit asvspoof2021_la --keys . --phase eval"
PUBLISHED = "--model_name wav2vec2_Nes2Net_X --eval --database_path corpus --model_path a.pth --eval_output main.txt"
COMMANDS = {
    "train": "train recipe.yaml",
    "average": "average a.pth b.pth --out mean.pth",
    "score": "score asvspoof2019_la corpus --split dev --model a.pth --samples 8000 --workers 0 --out scores.txt",
    "evaluate": f"{EVALUATE} --html r.html --json r.json --latex r.tex --markdown r.md",
    "calibrate": f"{CALIBRATE} good.txt --save c.json",
    "fuse": f"{CALIBRATE} good.txt worse.txt --save f.json",
    "export to a folder": "export a.pth --to safetensors --out folder",
    "export to onnx": "export a.pth --to onnx --out exported.onnx",
    "augment": "augment clip.flac augment.algo=5 --out heard --plot",
    "predict": "predict clip.flac --model a.pth --plot track.png --window 1 --json",
    "published": f"published main {PUBLISHED} --test_samples 8000 --num_workers 0",
}


def write_inputs(folder, corpus):
    """Write everything that the commands read into the working folder."""
    make_case(folder)
    shutil.copy(next(corpus.rglob("*.flac")), "clip.flac")
    (folder / "corpus").symlink_to(corpus)
    recipe = {
        "model": SPECTRAL_MODEL,
        "data": {"root": "corpus", "num_samples": 8000, "num_workers": 0, "cache": "cache"},
        "train": {"epochs": 1, "batch_size": 4, "keep": "all"},
        "validation": {"augmented": False},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for name in ("a.pth", "b.pth"):
        seeded_detector(recipe["model"]).save(name)


def files(folder):
    """The files in a folder; those of the corpus are behind a link, which rglob does not follow."""
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(
    scope="module", params=[*slow("export to onnx"), *(name for name in COMMANDS if name != "export to onnx")]
)
def finished(request, corpus, tmp_path_factory):
    """The folder in which a command ran, the files that it wrote there, and what it printed."""
    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        patch.chdir(folder)
        if request.param == "export to onnx":
            pytest.importorskip("onnxscript")
            pytest.importorskip("onnxruntime")
            patch.setattr("nes2net.apps.export.onnx.MAX_FILE_BYTES", 1000)  # its weights are in a second file
        write_inputs(folder, corpus)
        before = files(folder)
        umask = os.umask(0o027)  # neither the usual one nor that of a temporary file
        try:
            status = main(COMMANDS[request.param].split())
        finally:
            os.umask(umask)
    assert status == 0, err.getvalue()
    return folder, files(folder) - before, out.getvalue() + err.getvalue()


def test_the_files_that_a_command_writes_are_named_in_its_output_and_have_the_permissions_of_the_umask(finished):
    """Each by its path or its folder's; the record of a score file by the path of the score file."""
    folder, written, printed = finished
    announced = {Path(word.rstrip(".,;:")) for word in printed.split()}
    announced.add(Path("cache"))  # which the recipe names
    announced |= {Path(f"{path}.json") for path in announced if path.suffix == ".txt"}
    paths = [path.relative_to(folder) for path in written]
    assert paths
    assert [path for path in paths if not {path, *list(path.parents)[:-1]} & announced] == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o640}
