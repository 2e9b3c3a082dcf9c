"""Links and pipes that wait under the names of a command's files and folders: nothing is written through them."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import PATIENCE
from builders.files import write
from builders.small_parts import SPECTRAL_MODEL
from conftest import seeded_detector

from nes2net.lib.storage.yaml_text import write_yaml

MODEL = SPECTRAL_MODEL
CORPUS = "generic list.csv --split dev --model d.pth --workers 0"
LABELS = "generic s.txt --keys list.csv --phase dev"
EVALUATE = f"evaluate {LABELS} --resamples 5"
PUBLISHED = "--model_name wav2vec2_Nes2Net_X --eval --database_path corpus --model_path d.pth"
COMMANDS = {
    "train": "train recipe.yaml",
    "average": "average d.pth copy.pth --out made/mean.pth",
    "score": f"score {CORPUS} --out made/s.txt",
    "decide": f"score {CORPUS} --samples 8000 --out made/s.txt --calibration c.json",
    "embed": f"embed {CORPUS} --out made/e.npy",
    "evaluate": f"{EVALUATE} --html made/r.html --json made/r.json --latex made/r.tex --markdown made/r.md",
    "evaluate classes": "evaluate generic classes.tsv --keys classes.csv --phase all --resamples 5 --html made/r.html",
    "calibrate fit": f"calibrate fit {LABELS} --allow-inverted --save made/c.json",
    "calibrate recordings": "calibrate recordings real fake --model d.pth --save made/c.json --allow-inverted",
    "predict": "predict real/1.wav real/3.wav --model d.pth --plot made --window 0.25",
    "report": "report real/1.wav --model d.pth --html made/r.html",
    "explain": "explain real/1.wav --model d.pth --out made --draws 2",
    "robustness": f"robustness {CORPUS} --out made --resamples 5 --conditions white:5",
    "augment": "augment real/1.wav augment.algo=5 --out made --plot --overwrite",
    "export pth": "export d.pth --to pth --out made/d.pth --overwrite",
    "export folder": "export d.pth --to safetensors --out made --overwrite",
    "export arena": "export d.pth --to arena --out made --overwrite",
    "export space": "export d.pth --to space --out made --calibration c.json --overwrite",
    "export onnx": "export d.pth --to onnx --out made/d.onnx --overwrite",
    "pack parquet": "data pack generic list.csv made",
    "experiment": "experiment run experiment.yaml --device cpu --workers 0",
    "published": f"published main {PUBLISHED} --eval_output made/s.txt --test_samples 8000 --num_workers 0",
}
LIBRARIES = {"export onnx": "onnxscript", "pack parquet": "pyarrow"}
#: The fast tests try these; the slow ones try the others, and the other kinds.
FAST = ("score", "export space")
FAST_KINDS = ("links to other files", "pipes")
#: Commands whose named files may be links or pipes, as after a shell's `>`; what they make beside them may not.
FOLLOWING = ("evaluate", "evaluate classes", "calibrate fit", "calibrate recordings", "report")
#: Folders that the recipe names.
NAMED = {Path("logs")}
#: What waits under the names, and whether it does so after a first run or before it.
KINDS = {
    "links to what was written": True,
    "links to nothing": True,
    "links to other files": False,
    "pipes": False,
    "pipes after a run": True,
}


@pytest.fixture
def work(tmp_path, monkeypatch, corpus, output):
    """The working folder, with everything that the commands read."""
    monkeypatch.chdir(tmp_path)
    Path("corpus").symlink_to(corpus)
    generator = np.random.default_rng(0)
    rows = ["path,label,split"]
    for number in range(24):
        label = ("spoof", "bonafide")[number % 2]
        path = Path(("fake", "real")[number % 2], f"{number}.wav")
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, (0.1 + 0.2 * (number % 2)) * generator.standard_normal(8000), 16000)
        rows.append(f"{path},{label},{'train' if number < 8 else 'dev'}")
    write(Path("list.csv"), rows)
    seeded_detector(MODEL).save("d.pth")
    shutil.copy("d.pth", "copy.pth")
    recipe = {
        "name": "tiny",
        "model": MODEL,
        "data": {"corpora": [{"name": "generic", "root": "list.csv"}], "num_samples": 8000, "num_workers": 0},
        "train": {"epochs": 1, "batch_size": 4, "lr": 1e-3},
        "output": "made",
        "logs": "made/logs",
    }
    Path("recipe.yaml").write_text(write_yaml(recipe))
    tested = {"corpus": "generic", "root": str(tmp_path / "list.csv"), "split": "dev"}
    experiment = {"name": "tiny", "recipe": "recipe.yaml", "seeds": [1], "evaluate": [tested], "num_resamples": 5}
    Path("experiment.yaml").write_text(write_yaml({**experiment, "out": "made"}))
    output(f"score {CORPUS} --samples 8000 --out s.txt")
    fit = f"calibrate fit {LABELS} --root list.csv --model d.pth --save c.json"
    output(f"{fit} --allow-inverted --workers 0")
    write_classes()


def write_classes() -> None:
    """Write logits of so many classes that their table stands beside the page, and the key of the trials."""
    names = [f"class{number}" for number in range(31)]
    logits = ["\t".join(["utterance", *names])]
    key = ["path,label,attack"]
    for number, name in enumerate(names):
        row = np.eye(len(names))[number]
        logits.append("\t".join([str(number), *map(str, row)]))
        key.append(f"{number}.wav,spoof,{name}")
    write(Path("classes.tsv"), logits)
    write(Path("classes.csv"), key)


@pytest.fixture(autouse=True)
def no_waiting():
    """End a test that waits for the other end of a pipe."""

    def give_up(*_):
        pytest.fail("a command waits for a pipe")

    earlier = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(int(PATIENCE))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, earlier)


class Traps:
    """Puts links or pipes into ``made``, the folder of a command's outputs, and looks whether they were followed.

    Args:
        kind: a key of :data:`KINDS`.
        finished: a copy of ``made`` after the first run.
    """

    def __init__(self, kind: str, finished: Path) -> None:
        self.kind = kind
        self.finished = finished
        self.elsewhere = finished.with_name("elsewhere")

    def lay(self, names: set[Path]) -> None:
        """Bring ``made`` into the state before a run, and put a trap under each of ``names`` in it."""
        for folder in (Path("made"), self.elsewhere):
            shutil.rmtree(folder, ignore_errors=True)
        Path("made").mkdir()
        self.elsewhere.mkdir()
        if KINDS[self.kind]:
            shutil.copytree(self.finished, "made", dirs_exist_ok=True)
        for number, name in enumerate(sorted(names)):
            path = Path("made", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lay(path, self.finished / name, self.elsewhere / str(number))
        self.before = self.seen()

    def _lay(self, path: Path, original: Path, target: Path) -> None:
        """Put a trap at ``path``; a link leads to ``target``."""
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        if self.kind.startswith("pipes") and original.is_file():
            os.mkfifo(path)
            return
        path.symlink_to(target.resolve())
        if original.is_dir() and self.kind == "links to what was written":
            shutil.copytree(original, target)
        elif original.is_dir():
            target.mkdir()
            (target / "precious").write_text("precious")
        elif self.kind == "links to what was written":
            shutil.copy(original, target)
        elif self.kind == "links to other files":
            target.write_text("precious")

    def seen(self) -> set[tuple[Path, int, bytes]]:
        """What stands elsewhere: path, time of the last change, and content of each file."""
        files = [path for path in self.elsewhere.rglob("*") if path.is_file()]
        return {(path, path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    def changed(self) -> list[str]:
        """The names of the files that were changed elsewhere."""
        return sorted({str(path.relative_to(self.elsewhere)) for path, *_ in self.seen() ^ self.before})


def refused_trap(names: set[Path], error: str) -> Path:
    """The trap that a command names in ``error``, or one in a folder that it names there."""
    assert "Traceback" not in error
    refused = {name for name in names if any(f"{path}" in error for path in Path("made", name).parents[:-1])}
    refused = {name for name in names if str(Path("made", name)) in error} or refused
    assert refused, error
    return max(refused)


def cases() -> list:
    parameters = []
    for name in COMMANDS:
        for kind in KINDS:
            marks = [] if name in FAST and kind in FAST_KINDS else [pytest.mark.slow]
            parameters.append(pytest.param(name, kind, marks=marks))
    return parameters


@pytest.mark.skipif(os.name != "posix", reason="links and pipes are those of POSIX systems")
@pytest.mark.parametrize("name, kind", cases())
def test_nothing_is_written_through_a_link_or_a_pipe(name, kind, work, command, output, tmp_path_factory):
    """Except for files that the user names for `evaluate`, `calibrate` or `report`."""
    pytest.importorskip(LIBRARIES.get(name, "nes2net"))
    words = COMMANDS[name]
    Path("made").mkdir()
    output(words)
    finished = tmp_path_factory.mktemp("links") / "finished"
    shutil.copytree("made", finished)
    entries = {path.relative_to(finished) for path in finished.rglob("*")} - NAMED
    if name in FOLLOWING:
        entries -= {Path(word).relative_to("made") for word in words.split() if word.startswith("made/")}
    traps = Traps(kind, finished)
    folders = {entry for entry in entries if (finished / entry).is_dir()}
    # All files at once. A trap that the command refuses is removed, and the command runs again.
    names = entries - folders
    status = None
    while status != 0:
        traps.lay(names)
        status, _, error = command(words)
        assert traps.changed() == []
        if status:
            names = names - {refused_trap(names, error)}
    # Each folder by itself, because what stands below a link cannot be one.
    for folder in folders:
        traps.lay({folder})
        status, _, error = command(words)
        assert traps.changed() == []
        if status:
            refused_trap({folder}, error)
