"""An interrupted run resumes to the same weights, bit for bit, on one device in float32."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from builders import PATIENCE
from builders.shared_memory import with_shared_memory

from nes2net import Detector, InputError
from nes2net.checkpoints.state_dict import load_state_dict, read_record
from nes2net.cli.main import main
from nes2net.errors import Unfinished
from nes2net.training import dataset, loop
from nes2net.training.averaging import average_run
from nes2net.training.dataset import TrainingSet
from nes2net.training.run import train
from nes2net.training.selection import Selection


def content(path):
    return torch.load(path, weights_only=True)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k != "seconds")
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def without_recipe(state):
    """The state of a run without its recipe and the file of its base, which name the run's folders."""
    base = {key: value for key, value in state.get("base", {}).items() if key != "file"}
    return {key: value for key, value in state.items() if key != "recipe"} | {"base": base}


def assert_same_run(torn, whole):
    """Everything saved is equal, except the time it took."""
    assert same(*(without_recipe(content(folder / "resume.pt")) for folder in (torn, whole)))
    assert same(json.loads((torn / "history.json").read_text()), json.loads((whole / "history.json").read_text()))
    names = sorted(p.name for p in whole.glob("epoch_*.pth"))
    assert names and names == sorted(p.name for p in torn.glob("epoch_*.pth"))
    assert all(same(content(torn / name), content(whole / name)) for name in names)
    assert not list(torn.glob(".*.tmp"))


def send_at(monkeypatch, number, moment):
    """Send this process signal ``number`` in the middle of the step ``moment``, (epoch, step)."""
    original = loop.seed_step

    def seed_step(seed, epoch, step, rank):
        if (epoch, step) == moment:
            os.kill(os.getpid(), number)
        original(seed, epoch, step, rank)

    monkeypatch.setattr(loop, "seed_step", seed_step)


@pytest.fixture
def runs(recipe, model_with_dropout, tmp_path):
    """``runs(name, **changes)``: a recipe with dropout, in a folder of its own."""

    def make(name, **changes):
        schedule = {"schedule": "cosine", "warmup_steps": 2, **changes.pop("train", {})}
        places = {"output": str(tmp_path / name), "logs": str(tmp_path / name)}
        return recipe(**{"model": model_with_dropout, "train": schedule, **places, **changes})

    return make


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return tmp_path_factory.mktemp("uninterrupted")


@pytest.fixture
def whole(runs, uninterrupted):
    """Folder of an uninterrupted run of ``runs`` without changes, trained once."""
    for folder in uninterrupted.glob("*_tiny_*"):
        return folder
    return train(runs("whole", output=str(uninterrupted)))


@pytest.mark.parametrize(
    "changes, moments",
    [
        ({}, [(1, 0), (2, 1), (3, 2)]),
        ({"data": {"num_workers": 2}}, [(2, 0)]),
        pytest.param({"augment": {"rng": "legacy", "algo": 10}}, [(2, 0)], marks=pytest.mark.slow),
        (
            {
                "augment": {"conditions": ["mp3:16", "white:10", "babble:5", "cut:0.5"], "condition_probability": 0.9},
                "train": {
                    "accumulate": 2,
                    "keep": "last,best",
                    "max_grad_norm": 0.1,
                    "freeze_frontend_epochs": 1,
                    "freeze_layers": 0,
                    "layer_decay": 0.5,
                },
            },
            [(1, 1), (2, 0)],
        ),
        pytest.param(
            {
                "data": {"crop": "dynamic", "chunk_samples": [6000, 9000]},
                "train": {
                    "freeze_frontend": True,
                    "frontend_mode": "train",
                    "schedule": "cosine_epochs",
                    "warmup_steps": 0,
                    "warmup_epochs": 1,
                    "warmup_from_zero": True,
                },
                "validation": {"select_on": "train_loss"},
            },
            [(1, 2), (2, 0)],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {
                "data": {"crop": "pieces", "min_piece": 2000},
                "train": {
                    "schedule": "step",
                    "decay_epochs": 1,
                    "loss": {"name": "cross_entropy", "normalize": False},
                    "accumulate": 2,
                },
                "validation": {"mode": "train"},
            },
            [(2, 1)],
            marks=pytest.mark.slow,
        ),
        (
            {"train": {"adapt": {"kind": "lora", "rank": 2, "dropout": 0.1}, "epochs": 2, "layer_decay": 0.5}},
            [(1, 1), (2, 0)],
        ),
    ],
    ids=["alone", "workers", "legacy", "many options", "dynamic", "pieces", "lora"],
)
def test_a_run_stopped_at_a_step_goes_on_to_the_same_end(runs, whole, monkeypatch, tmp_path, changes, moments):
    if changes.keys() - {"data"}:  # the number of reading processes does not matter
        whole = train(runs("whole", **changes))
    for epoch, step in moments:
        with monkeypatch.context() as patch, pytest.raises(Unfinished, match="SIGTERM; the same command goes on"):
            send_at(patch, signal.SIGTERM, (epoch, step))
            train(runs("torn", **changes))
        (folder,) = (tmp_path / "torn").glob("*_tiny_*")
        progress = content(folder / "resume.pt")["progress"]  # the step is done, then the run ends
        assert (progress["epoch"], progress["step"]) == (epoch, step + 1)
        torch.manual_seed(99)  # nothing may depend on the state that the interruption left
        random.seed(99)
    assert_same_run(train(runs("torn", **changes)), whole)


def test_training_on_several_corpora_goes_on_to_the_same_end(runs, corpus, monkeypatch, tmp_path, capsys):
    """Two corpora, balanced and capped, and two that choose, by the worst one; folders may move, weights not."""
    moved = tmp_path / "moved"
    shutil.copytree(corpus, moved)

    def changes(root, weight=2, **data):
        la = {"name": "asvspoof2019_la", "root": str(root), "alias": "la", "weight": weight}
        wild = {"name": "in_the_wild", "root": str(root), "train_split": "eval", "dev_split": None}
        other = {"name": "asvspoof2021_la", "root": str(root), "train_split": None, "dev_split": "eval"}
        several = {"root": None, "corpora": [la, wild, other], "balance": ["corpus", "class"], **data}
        return {
            "data": {"speaker_cap": 3, "epoch_size": 14, **several},
            "validation": {"select_on": "eer", "over": "worst"},
            "train": {"accumulate": 2, "epochs": 2},
            "model": {"frontend": {"name": "lps", "n_fft": 256, "hop_length": 256, "num_bins": 32}},
        }

    whole = train(runs("whole", **changes(corpus)))
    printed = capsys.readouterr().out
    assert "training trials: 24 (12 bona fide, 12 spoof)\n  la: 12 (6 bona fide" in printed
    assert "an epoch draws 14 of the training trials" in printed and "development corpora after epoch" in printed
    for epoch, step in [(1, 1), (2, 0)]:
        with monkeypatch.context() as patch, pytest.raises(Unfinished):
            send_at(patch, signal.SIGTERM, (epoch, step))
            train(runs("torn", **changes(corpus)))
    for wrong, key in ((changes(corpus, weight=1), "corpora.weight"), (changes(corpus, speaker_cap=4), "speaker_cap")):
        with pytest.raises(InputError, match=rf"holds another run, which differs in `data\.{key}`"):
            train(runs("torn", **wrong))
    assert_same_run(train(runs("torn", **changes(moved))), whole)
    row = json.loads((whole / "history.json").read_text())[0]
    assert row["val_eer_wo_aug_worst"] == max(row["val_eer_wo_aug/la"], row["val_eer_wo_aug/asvspoof2021_la"])


def test_what_a_run_started_from_is_known_to_the_end(runs, whole, monkeypatch, capsys):
    """It is in checkpoints and averages, so that scoring can say what their detectors have seen."""
    start = min(whole.glob("epoch_*.pth"))
    changes = {"train": {"init_from": str(start), "epochs": 1}}
    with monkeypatch.context() as patch, pytest.raises(Unfinished):
        send_at(patch, signal.SIGTERM, (1, 1))
        train(runs("torn", **changes))
    folder = train(runs("torn", **changes))
    recipe = read_record(load_state_dict(start))["recipe"]
    for file in (folder / "epoch_1.pth", average_run(folder, last=1).path):
        found = read_record(load_state_dict(file))["started_from"]
        data = {key: recipe["data"][key] for key in ("num_samples", "crop")}
        (corpus,) = recipe["data"]["corpora"]
        kept = {key: corpus[key] for key in ("name", "train_split", "dev_split", "dev_phase")}
        placed = {**data, "corpora": [{**kept, "root": corpus["root"]}]}
        assert found == [{"recipe": {"name": recipe["name"], "data": placed, "segments": recipe["segments"]}}]
    Detector.from_pretrained(folder / "epoch_1.pth", device="cpu").save(folder / "shared.pth")
    found = read_record(load_state_dict(folder / "shared.pth"))["started_from"]
    assert found == [
        {"recipe": {"name": recipe["name"], "data": {**data, "corpora": [kept]}, "segments": recipe["segments"]}}
    ]  # no places of this machine
    main(["info", str(folder / "epoch_1.pth")])
    assert f"started from {recipe['name']} " in " ".join(capsys.readouterr().out.split())


def test_stopped_while_validating(runs, whole, drawn_curves, monkeypatch, tmp_path):
    """The run stops at once, because the epoch's training is saved already."""
    original = loop.Validator.run

    def run(self, epoch):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the signal came late")
        return original(self, epoch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Validator, "run", run)
        train(runs("torn"))
    (resume,) = (tmp_path / "torn").glob("*/resume.pt")
    assert content(resume)["progress"]["epoch"] == 2 and content(resume)["progress"]["step"] == 3
    assert list(resume.parent.glob("curves.png"))  # of what there is so far
    assert_same_run(train(runs("torn")), whole)


def test_stopped_while_validating_in_train_mode(runs, monkeypatch):
    """What the batch statistics have learnt of the development set by then is forgotten."""
    changes = {"validation": {"mode": "train"}, "train": {"epochs": 2}}
    whole = train(runs("whole", **changes))
    values = loop.Validator._values

    def stopped(self, *of_pass):
        if self.monitor.selection.history:
            os.kill(os.getpid(), signal.SIGINT)
        return values(self, *of_pass)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Validator, "_values", stopped)
        train(runs("torn", **changes))
    assert_same_run(train(runs("torn", **changes)), whole)


@pytest.mark.parametrize("stopped", [False, True])
def test_the_learning_rate_of_an_epoch_is_that_of_its_steps(runs, monkeypatch, stopped):
    """It is not that of the next epoch, also if the run resumed after the epoch's last step."""
    values = runs("run", train={"schedule": "cosine_epochs", "t_max": 2, "warmup_steps": 0})
    if stopped:
        with monkeypatch.context() as patch, pytest.raises(Unfinished):
            send_at(patch, signal.SIGTERM, (2, 2))
            train(values)
    history = json.loads((train(values) / "history.json").read_text())
    assert [row["lr"] for row in history] == pytest.approx([1e-3, 5e-4, 0.0], abs=1e-12)


def test_gradients_that_are_not_finite_poison_nothing(runs, whole, monkeypatch, tmp_path):
    """The loss of the step is finite; the last save is of the step before, and can be used."""
    step = loop.Trainer.train_step

    def poisoned(self, batches, epoch, number, due):
        if (epoch, number) != (2, 2):
            return step(self, batches, epoch, number, due)
        parameter = next(p for p in self.objective.parameters() if p.requires_grad)
        hook = parameter.register_hook(lambda gradient: gradient * float("nan"))
        try:
            return step(self, batches, epoch, number, due)
        finally:
            hook.remove()

    with (
        monkeypatch.context() as patch,
        pytest.raises(InputError, match=r"the gradients' norm is nan in epoch 2, step 2"),
    ):
        patch.setattr(loop.Trainer, "train_step", poisoned)
        train(runs("torn"))
    (resume,) = (tmp_path / "torn").glob("*/resume.pt")
    assert all(torch.isfinite(value).all() for value in content(resume)["detector"].values())
    assert_same_run(train(runs("torn")), whole)


def test_a_run_on_other_trials_is_refused(runs, corpus, monkeypatch, tmp_path):
    """Its epochs would draw from another list."""
    with monkeypatch.context() as patch, pytest.raises(Unfinished):
        send_at(patch, signal.SIGTERM, (1, 0))
        train(runs("run"))
    root = tmp_path / "other"
    shutil.copytree(corpus, root)
    train(runs("moved", data={"root": str(root)}, train={"epochs": 1}))
    (protocol,) = root.rglob("*train.trn.txt")
    protocol.write_text("".join(protocol.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(InputError, match=r"another training set \(12 then and 11 now.*`comment`"):
        train(runs("run", data={"root": str(root)}))


def test_the_best_stays_until_there_is_a_better_one(runs, monkeypatch):
    """An epoch validated again after an interruption may not be the best any more.

    On a GPU, for example, its digits may differ.
    """
    values = runs("run", train={"epochs": 2, "keep": "best"}, validation={"augmented": False})
    losses = iter([0.5, 0.4999999, 0.5000001])
    fixed = {"val_eer_wo_aug": 0.1, "val_eer_wo_aug_low": 0.0, "val_eer_wo_aug_high": 0.2}
    monkeypatch.setattr(loop.Validator, "run", lambda self, epoch: {"val_loss_wo_aug": next(losses), **fixed})
    save = loop.RunState.save

    def cut_at_the_end(self):
        if self.progress.epoch == 3:
            raise Cut
        save(self)

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(loop.RunState, "save", cut_at_the_end)
        train(values)
    folder = train(values)
    assert [path.name for path in folder.glob("*.pth")] == ["epoch_1.pth"]


def test_a_disk_that_fails(runs, whole, monkeypatch, tmp_path, capsys):
    command = command_of(runs("torn"), tmp_path)
    with monkeypatch.context() as patch:
        send_at(patch, signal.SIGTERM, (1, 1))
        assert main(command) == 75
    capsys.readouterr()

    def fails(self):
        raise OSError(errno.EIO, "", str(self.selection.folder / "resume.pt"))

    with monkeypatch.context() as patch:
        patch.setattr(loop.RunState, "save", fails)
        assert main(command) == 75
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nes2net")]
    assert "resume.pt: Input/output error" in line and "the same command goes on" in line
    assert_same_run(train(runs("torn")), whole)


@pytest.mark.parametrize("what", ["folder", "a file", "folder while validating", "too many open files"])
def test_the_data_goes_away_and_comes_back(runs, whole, corpus, monkeypatch, tmp_path, capsys, what):
    """Nothing is done without the files, and the run goes on where they went."""
    root = tmp_path / "mounted"
    shutil.copytree(corpus, root)
    torn = runs("torn", data={"root": str(root)}, train={"save_every_minutes": 0.0})
    (file,) = root.rglob("LA_T_1000007.flac")
    place = file if what == "a file" else root
    seed_step, validate = loop.seed_step, loop.Validator.run

    def step(seed, epoch, number, rank):
        if (epoch, number) == (2, 0) and what in ("folder", "a file"):
            place.rename(tmp_path / "away")
        if (epoch, number) == (2, 0) and what == "too many open files":
            patch.setattr(dataset, "open", refused, raising=False)
            patch.setattr(dataset, "load_audio", refused)
        seed_step(seed, epoch, number, rank)

    def run(self, epoch):
        if epoch == 2 and what == "folder while validating":
            place.rename(tmp_path / "away")
        return validate(self, epoch)

    def refused(path, *_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(loop, "seed_step", step)
        patch.setattr(loop.Validator, "run", run)
        assert main(command_of(torn, tmp_path)) == 75
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("nes2net: ") and "the same command goes on from the last save" in line
    assert ("Too many open files" if what == "too many open files" else "is not there any more") in line
    progress = content(tmp_path / "torn" / torn.tag / "resume.pt")["progress"]
    assert progress["epoch"] == 2 and progress["step"] == 3 if "validating" in what else progress["step"] in (1, 2)
    if (tmp_path / "away").exists():
        (tmp_path / "away").rename(place)
    assert_same_run(train(torn), whole)


def test_an_error_of_reading_that_passes_changes_nothing(runs, whole, monkeypatch):
    read, failed = dataset.load_audio, []

    def load_audio(path):
        if len(failed) < 5 and path not in failed:
            failed.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path)

    monkeypatch.setattr(dataset, "load_audio", load_audio)
    assert_same_run(train(runs("torn")), whole)
    assert len(failed) == 5


def test_a_step_without_a_usable_file_ends_the_run(runs, corpus, tmp_path):
    """Damaged files are left out as long as a step has others."""
    root = tmp_path / "damaged"
    shutil.copytree(corpus, root)
    for file in root.glob("ASVspoof2019_LA_train/flac/*.flac"):
        file.write_bytes(b"no audio")
    values = runs("torn", data={"root": str(root)})
    with pytest.raises(Unfinished, match="stopped in epoch 1, step 0: its files cannot be used"):
        train(values)
    assert not (tmp_path / "torn" / values.tag / "resume.pt").exists()


class Cut(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.mark.slow
def test_cut_off_between_the_files_of_an_epoch(runs, monkeypatch, tmp_path):
    """Cut off before any of the writes that end an epoch, a run ends that epoch again, alike."""
    whole = train(runs("whole", train={"keep": "last"}))
    torn = runs("torn", train={"keep": "last"})

    def cut(*_, **__):
        raise Cut

    def cut_at_end_of_epoch(self):
        if self.progress.step == 0:
            raise Cut
        save(self)

    save = loop.RunState.save
    cuts = [
        (Selection, "write_history", cut),
        (loop.Monitor, "epoch", cut),
        (loop.RunState, "save", cut_at_end_of_epoch),
    ]
    for owner, name, instead in cuts:
        with monkeypatch.context() as patch, pytest.raises(Cut):
            patch.setattr(owner, name, instead)
            train(torn)
        progress = content(tmp_path / "torn" / torn.tag / "resume.pt")["progress"]
        assert (progress["epoch"], progress["step"]) == (1, 3)

    def cut_after_saving(self):
        if self.progress.epoch == 4:
            raise Cut
        return remove_files(self)

    remove_files = loop.RunState.remove_files
    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(loop.RunState, "remove_files", cut_after_saving)
        train(torn)
    assert_same_run(train(torn), whole)  # nothing is left but to remove what is not to be kept


def test_handlers_are_as_before_after_a_run(runs):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    train(runs("run", train={"epochs": 1}))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


KILLED_IN_A_STEP = """
import os, signal, sys
from nes2net.checkpoints.state_dict import load_state_dict, read_record
from nes2net.cli.main import main
from nes2net.training import loop
from nes2net.training.dataset import TrainingSet

step = loop.Trainer.train_step
def killed(self, batches, epoch, number, due):
    done = step(self, batches, epoch, number, due)
    if (epoch, number) == (2, 1):
        os.kill(os.getpid(), signal.SIGKILL)  # the weights have changed, nothing is saved of it
    return done
loop.Trainer.train_step = killed
sys.exit(main(sys.argv[1:]))
"""


def command_of(recipe, tmp_path):
    path = tmp_path / f"{os.path.basename(recipe.output)}.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    return ["train", str(path), "--device", "cpu"]


@pytest.mark.slow
def test_an_adapted_run_killed_in_a_step(runs, tmp_path):
    changes = {"train": {"adapt": {"kind": "lora", "rank": 2, "dropout": 0.1}, "save_every_minutes": 0.0}}
    whole = train(runs("whole", **changes))
    command = command_of(runs("torn", **changes), tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED_IN_A_STEP, *command], capture_output=True, timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    (folder,) = (tmp_path / "torn").glob("*_tiny_*")
    assert content(folder / "resume.pt")["progress"]["step"] == 1 and (folder / "base.pth").is_file()
    assert_same_run(train(runs("torn", **changes)), whole)


def test_killed_in_a_step(runs, whole, tmp_path):
    """A separate process is killed (kill −9); it saves after each step."""
    command = command_of(runs("torn", train={"save_every_minutes": 0.0}), tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED_IN_A_STEP, *command], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    (folder,) = (tmp_path / "torn").glob("*_tiny_*")
    progress = content(folder / "resume.pt")["progress"]
    assert (progress["epoch"], progress["step"]) == (2, 1)
    (folder / ".resume.pt.4711.tmp").write_bytes(b"torn")  # as a kill in a save leaves it
    time.sleep(1.1)  # TensorBoard's files are read in the order of the second in their names
    assert_same_run(train(runs("torn")), whole)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder.parent / folder.name)).Reload()  # logs are beside the checkpoints here
    assert [e.step for e in events.Scalars("loss")] == [1, 2, 3]


def test_a_reading_process_is_killed(runs, whole, monkeypatch, tmp_path):
    """As the system does if memory runs out: training stops with what is saved, and goes on from it."""
    changes = {"train": {"save_every_minutes": 0.0}, "data": {"num_workers": 1}}
    original = TrainingSet.prepare

    def prepare(self, index, epoch, *length):
        if (self.part, epoch) == ("train", 2):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, index, epoch, *length)

    with (
        monkeypatch.context() as patch,
        pytest.raises(Unfinished, match=r"\(SIGKILL\).*lower `data.num_workers` \(now 1"),
    ):
        patch.setattr(TrainingSet, "prepare", prepare)
        train(runs("torn", **changes))
    (resume,) = (tmp_path / "torn").glob("*/resume.pt")
    assert content(resume)["progress"]["epoch"] == 2
    assert_same_run(train(runs("torn", **changes)), whole)


@pytest.mark.slow
def test_little_shared_memory(runs, whole, tmp_path):
    command = [sys.executable, "-m", "nes2net.cli.main", *command_of(runs("small", data={"num_workers": 2}), tmp_path)]
    done = subprocess.run(with_shared_memory("384k", command), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: shared memory is full") == 1 and "lower `data.num_workers`" in done.stderr
    assert_same_run(next((tmp_path / "small").glob("*_tiny_*")), whole)


@pytest.mark.slow
def test_killed_again_and_again(runs, whole, tmp_path):
    """A run is killed twice (kill −9) at random moments, and then ends."""
    options = {"train": {"save_every_minutes": 0.0}, "data": {"num_workers": 1}}
    command = [sys.executable, "-m", "nes2net.cli.main", *command_of(runs("torn", **options), tmp_path)]
    moments = random.Random(2024)

    def killed(saves):
        """Kill the run between two saves, of which it makes one after each step; return False if it ended before."""
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seen, times = None, [time.monotonic()]
        while process.poll() is None and len(times) <= saves + 1:
            last = [path.stat().st_mtime_ns for path in (tmp_path / "torn").glob("*/resume.pt")]
            if last != seen:
                seen, times = last, [*times, time.monotonic()]
            time.sleep(0.001)
        time.sleep(moments.uniform(0, times[-1] - times[-2]))
        process.kill()
        return process.wait(timeout=PATIENCE) == -signal.SIGKILL

    kills = 0
    for _ in range(20):
        kills = kills + 1 if killed(moments.choice([2, 3])) else 0
        if kills == 2:
            break
        if not kills:  # it was done before: from the start again
            shutil.rmtree(tmp_path / "torn")
    assert kills == 2
    assert_same_run(train(runs("torn", **options)), whole)


@pytest.mark.slow
def test_terminated_from_outside(runs, whole, tmp_path):
    """A batch system's SIGTERM to all processes ends a run with status 75, and nothing is lost."""
    recipe = runs("torn", data={"num_workers": 2})
    command = [sys.executable, "-m", "nes2net.cli.main", *command_of(recipe, tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stdout:
        if line.startswith("epoch 1 - "):
            os.killpg(process.pid, signal.SIGTERM)
            break
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 75, errors[-2000:]
    assert "nes2net: stopped by SIGTERM; the same command goes on" in errors and "Traceback" not in errors
    assert_same_run(train(recipe), whole)


def test_a_full_disk(runs, whole, tmp_path, capsys):
    """A limit of half a save on the size of files acts as a full disk."""
    resource = pytest.importorskip("resource")
    torn = runs("torn")
    command = command_of(torn, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        send_at(patch, signal.SIGTERM, (1, 1))
        assert main(command) == 75
    (resume,) = (tmp_path / "torn").glob("*/resume.pt")
    before = resume.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        status = main(command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = capsys.readouterr().err.splitlines()[-1]
    assert status == 75 and "no room to write" in error and "the same command goes on" in error and "1.2 MB" in error
    assert resume.read_bytes() == before and not list(resume.parent.glob(".*.tmp"))
    assert_same_run(train(torn), whole)


def test_one_process_at_a_time(runs, tmp_path):
    folder = train(runs("run", train={"epochs": 1}))
    holds = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    pytest.importorskip("fcntl")
    other = subprocess.Popen(
        [sys.executable, "-c", holds, str(folder / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another process is training in .*`comment`"):
            train(runs("run", train={"epochs": 1}))
    finally:
        other.communicate("")
    train(runs("run", train={"epochs": 1}))


@pytest.mark.parametrize("version", [3, 99])
def test_what_another_version_saved_is_refused(runs, version):
    folder = train(runs("run", train={"epochs": 1}))
    torch.save({"version": version}, folder / "resume.pt")
    with pytest.raises(InputError, match=r"resume\.pt was written by another version.*`train\.init_from`"):
        train(runs("run", train={"epochs": 1}))


def test_where_and_how_fast_may_change_between_the_parts_of_a_run(runs, whole, monkeypatch, tmp_path):
    with monkeypatch.context() as patch, pytest.raises(Unfinished):
        send_at(patch, signal.SIGTERM, (2, 0))
        train(runs("torn"))
    other = {"save_every_minutes": 1.0, "activation_checkpointing": True}
    folder = train(runs("torn", data={"cache": str(tmp_path / "cache"), "num_workers": 1}, train=other))
    assert_same_run(folder, whole)
