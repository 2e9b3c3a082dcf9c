"""An interrupted run resumes to the same weights, bit for bit, on one device in float32."""

import errno
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from builders import PATIENCE, slow
from builders.runs import assert_same_run, history_of, signal_in_step, state_of, weights_of

from nes2net import Detector, InputError
from nes2net.checkpoints.state_dict import load_state_dict, read_record
from nes2net.cli.main import main
from nes2net.errors import Unfinished
from nes2net.training import dataset, loop
from nes2net.training.averaging import average_run
from nes2net.training.dataset import TrainingSet
from nes2net.training.resume_file import _words
from nes2net.training.run import train
from nes2net.training.selection import Selection

LORA = {"adapt": {"kind": "lora", "rank": 2, "dropout": 0.1}, "layer_decay": 0.5}
SPECTRUM = {"name": "lps", "n_fft": 256, "hop_length": 256, "num_bins": 32, "normalize": True}
ASP = {"frontend": SPECTRUM, "aggregation": "last", "backend": {"name": "asp_mlp", "hidden_dim": 8}}
#: A back-end with dropout.
GLOBAL = {**ASP, "backend": {"name": "gf", "hidden_dim": 16}}


@pytest.fixture(autouse=True)
def _one_thread():
    """The last bits depend on the number of threads, and forked processes have but one."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(number)


@pytest.fixture
def runs(recipe, model_with_dropout, tmp_path):
    """``runs(name, **changes)``: a recipe with dropout and augmentation, in a folder of its own."""

    def make(name, **changes):
        changes["train"] = {"schedule": "cosine", "warmup_steps": 2, **changes.get("train", {})}
        changes["augment"] = {"algo": 4, **changes.get("augment", {})}
        places = {"output": str(tmp_path / name), "logs": str(tmp_path / name)}
        return recipe(**{"model": model_with_dropout, **places, **changes})

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


def stop(recipe, epoch, step):
    """Train until SIGTERM comes in a step, and return the run folder."""
    with signal_in_step(epoch, step), pytest.raises(Unfinished, match="SIGTERM; the same command goes on"):
        train(recipe)
    return Path(recipe.output) / recipe.tag


def handlers():
    return signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)


DYNAMIC = {"crop": "dynamic", "chunk_samples": [3000, 5000]}
LEGACY = {"rng": "legacy", "algo": 11, "parameters": {"LnL_ratio": 0.5, "SSI_ratio": 0.5}}
CONDITIONS = {"conditions": ["mp3:16", "white:10", "babble:5", "cut:0.5"], "condition_probability": 0.9}
LATER = {"freeze_frontend_epochs": 1, "freeze_layers": 0, "layer_decay": 0.5}
FROZEN = {"freeze_frontend": True, "frontend_mode": "train"}
RISING = {"schedule": "cosine_epochs", "warmup_steps": 0, "warmup_epochs": 1, "warmup_from_zero": True}
HALVED = {"schedule": "step", "decay_epochs": 1, "loss": {"name": "cross_entropy", "normalize": False}}
MPIF = {"name": "mpif_res2net", "planes": [4, 8], "blocks": [1, 1], "strides": [1, 2], "num_frames": 24}
SPECMIX = {"frequency_bands": 3, "time_bands": 0, "gamma": 0.3, "mix_labels": True}
ANGULAR = {"loss": "angular_softmax", "schedule": "inverse_sqrt", "amsgrad": True}
BY_DURATION = {"loss": {"name": "am_softmax", "margin": ["duration", 0.06, 0.14]}}
#: Changes of a recipe, and the steps at which it is stopped.
RUNS = {
    "alone": ({}, [(1, 0), (1, 2), (2, 2)]),
    "workers": ({"data": {"num_workers": 2}}, [(2, 0)]),
    "legacy": ({"model": GLOBAL, "augment": LEGACY}, [(1, 1), (2, 0)]),
    "conditions": (
        {"augment": CONDITIONS, "train": {"accumulate": 2, "keep": "last,best", "max_grad_norm": 0.1, **LATER}},
        [(1, 1), (2, 0)],
    ),
    "dynamic": (
        {"data": DYNAMIC, "train": {**FROZEN, **RISING}, "validation": {"select_on": "train_loss"}},
        [(1, 2), (2, 0)],
    ),
    "pieces": (
        {
            "model": GLOBAL,
            "data": {"crop": "pieces", "min_piece": 2000},
            "train": {"accumulate": 2, **HALVED},
            "validation": {"mode": "train"},
        },
        [(2, 1)],
    ),
    "lora": ({"train": LORA}, [(1, 1), (2, 0)]),
    "specmix": ({"model": {**ASP, "backend": MPIF}, "augment": {"specmix": SPECMIX}, "train": ANGULAR}, [(2, 1)]),
    "vectors of a head": (
        {
            "model": ASP,
            "data": DYNAMIC,
            "augment": {"latent": {"probability": 1.0}, "fir": {"band": "wide"}},
            "train": {"accumulate": 2, **BY_DURATION},
        },
        [(2, 1)],
    ),
}
#: Of these the fast tests run some.
QUICK = ("alone", "legacy", "conditions", "lora")


@pytest.mark.parametrize(
    "changes, moments", [run if name in QUICK else slow(run)[0] for name, run in RUNS.items()], ids=RUNS
)
def test_a_run_stopped_at_a_step_goes_on_to_the_same_end(runs, whole, changes, moments):
    if changes.keys() - {"data"}:  # the number of reading processes does not matter
        whole = train(runs("whole", **changes))
    before = handlers()
    for epoch, step in moments:
        progress = state_of(stop(runs("torn", **changes), epoch, step))["progress"]
        assert (progress["epoch"], progress["step"]) == (epoch, step + 1)  # the step is done, then the run ends
        assert handlers() == before
        torch.manual_seed(99)  # nothing may depend on the state that the interruption left
        random.seed(99)
    assert_same_run(train(runs("torn", **changes)), whole)


def test_training_on_several_corpora_goes_on_to_the_same_end(runs, corpus, tmp_path, capsys):
    """Two corpora, balanced and capped, and two that choose, by the worst one; folders may move, weights not."""
    moved = shutil.copytree(corpus, tmp_path / "moved")

    def changes(root, weight=2, **data):
        la = {"name": "asvspoof2019_la", "root": str(root), "alias": "la", "weight": weight}
        wild = {"name": "in_the_wild", "root": str(root), "train_split": "eval", "dev_split": None}
        other = {"name": "asvspoof2021_la", "root": str(root), "train_split": None, "dev_split": "eval"}
        several = {"root": None, "corpora": [la, wild, other], "balance": ["corpus", "class"], **data}
        validation = {"select_on": "eer", "over": "worst"}
        data = {"speaker_cap": 3, "epoch_size": 14, **several}
        return {"data": data, "validation": validation, "train": {"accumulate": 2}, "model": ASP}

    whole = train(runs("whole", **changes(corpus)))
    printed = capsys.readouterr().out
    assert "training trials: 24 (12 bona fide, 12 spoof)\n  la: 12 (6 bona fide" in printed
    assert "an epoch draws 14 of the training trials" in printed and "development corpora after epoch" in printed
    for moment in ((1, 1), (2, 0)):
        stop(runs("torn", **changes(corpus)), *moment)
    for wrong, key in ((changes(corpus, weight=1), "corpora.weight"), (changes(corpus, speaker_cap=4), "speaker_cap")):
        with pytest.raises(InputError, match=rf"holds another run, which differs in `data\.{key}`"):
            train(runs("torn", **wrong))
    assert_same_run(train(runs("torn", **changes(moved))), whole)
    row = history_of(whole)[0]
    assert row["val_eer_wo_aug_worst"] == max(row["val_eer_wo_aug/la"], row["val_eer_wo_aug/asvspoof2021_la"])


def test_what_a_run_started_from_is_known_to_the_end(runs, whole, capsys):
    """It is in checkpoints and averages, so that scoring can say what their detectors have seen."""
    start = min(whole.glob("epoch_*.pth"))
    recipe = runs("torn", train={"init_from": str(start), "epochs": 1})
    stop(recipe, 1, 1)
    folder = train(recipe)
    first = read_record(load_state_dict(start))["recipe"]
    (corpus,) = first["data"]["corpora"]
    kept = {key: corpus[key] for key in ("name", "train_split", "dev_split", "dev_phase")}

    def started_from(corpus):
        data = {"num_samples": first["data"]["num_samples"], "crop": first["data"]["crop"], "corpora": [corpus]}
        return [{"recipe": {"name": first["name"], "data": data, "segments": first["segments"]}}]

    for file in (folder / "epoch_1.pth", average_run(folder, last=1).path):
        placed = {**kept, "root": corpus["root"]}
        assert read_record(load_state_dict(file))["started_from"] == started_from(placed)
    Detector.from_pretrained(folder / "epoch_1.pth", device="cpu").save(folder / "shared.pth")
    assert read_record(load_state_dict(folder / "shared.pth"))["started_from"] == started_from(kept)  # no places
    main(["info", str(folder / "epoch_1.pth")])
    assert f"started from {first['name']} " in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("mode", ["eval", *slow("train")])
def test_stopped_while_validating(runs, whole, drawn_curves, mode):
    """The run stops at once, because the epoch's training is saved already.

    In train mode it forgets what the batch statistics have learnt of the development set by then.
    """
    changes = {"validation": {"mode": mode}}
    whole = whole if mode == "eval" else train(runs("whole", **changes))
    torn, values = runs("torn", **changes), loop.Validator._values

    def stopped(self, *of_pass):
        if self.monitor.selection.history:
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the signal came late")
        return values(self, *of_pass)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Validator, "_values", stopped)
        train(torn)
    folder = Path(torn.output) / torn.tag
    progress = state_of(folder)["progress"]
    assert (progress["epoch"], progress["step"]) == (2, 3)
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")  # of what there is so far
    assert_same_run(train(torn), whole)


def test_the_learning_rate_of_an_epoch_is_that_of_its_steps(runs):
    """It is not that of the next epoch, also if the run resumed after the epoch's last step."""
    values = runs("run", model=ASP, train={"schedule": "cosine_epochs", "t_max": 2, "warmup_steps": 0, "epochs": 3})
    stop(values, 2, 2)
    assert [row["lr"] for row in history_of(train(values))] == pytest.approx([1e-3, 5e-4, 0.0], abs=1e-12)


def test_gradients_that_are_not_finite_poison_nothing(runs, whole, monkeypatch):
    """The loss of the step is finite; the last save is of the step before, and can be used."""
    step, torn = loop.Trainer.train_step, runs("torn")

    def poisoned(self, batches, epoch, number, due):
        if (epoch, number) != (2, 2):
            return step(self, batches, epoch, number, due)
        parameter = next(p for p in self.objective.parameters() if p.requires_grad)
        hook = parameter.register_hook(lambda gradient: gradient * float("nan"))
        try:
            return step(self, batches, epoch, number, due)
        finally:
            hook.remove()

    with monkeypatch.context() as patch, pytest.raises(InputError, match="gradients' norm is nan in epoch 2, step 2"):
        patch.setattr(loop.Trainer, "train_step", poisoned)
        train(torn)
    assert all(value.isfinite().all() for value in weights_of(Path(torn.output) / torn.tag).values())
    assert_same_run(train(torn), whole)


def test_a_run_on_other_trials_is_refused(runs, corpus, tmp_path):
    """Its epochs would draw from another list."""
    root = shutil.copytree(corpus, tmp_path / "other")
    values = runs("run", model=ASP, data={"root": str(root)})
    stop(values, 1, 0)
    (protocol,) = root.rglob("*train.trn.txt")
    protocol.write_text("".join(protocol.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(InputError, match=r"another training set \(12 then and 11 now.*`comment`"):
        train(values)


class Cut(BaseException):
    """Stands for the end of the process: nothing catches it."""


@contextmanager
def cut(owner, name, when):
    """Cut off a run before the method ``name`` of an object for which ``when`` holds."""
    original = getattr(owner, name)

    def instead(self, *arguments):
        if when(self):
            raise Cut
        return original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cut):
        patch.setattr(owner, name, instead)
        yield


def test_the_best_stays_until_there_is_a_better_one(runs, monkeypatch, capsys):
    """An epoch validated again after an interruption may not be the best any more.

    On a GPU, for example, its digits may differ.
    """
    values = runs("run", model=ASP, augment={"algo": 0}, train={"keep": "best"})
    losses = iter([0.5, 0.4999999, 0.5000001])
    fixed = {"val_eer_wo_aug": 0.1, "val_eer_wo_aug_low": 0.0, "val_eer_wo_aug_high": 0.2}
    monkeypatch.setattr(loop.Validator, "run", lambda self, epoch: {"val_loss_wo_aug": next(losses), **fixed})
    with cut(loop.RunState, "save", lambda state: state.progress.epoch == 3):
        train(values)
    capsys.readouterr()
    assert [path.name for path in train(values).glob("*.pth")] == ["epoch_1.pth"]
    assert "saved" not in capsys.readouterr().out


def test_cut_off_between_the_files_of_an_epoch(runs):
    """Cut off before any of the writes that end an epoch, a run ends that epoch again, alike."""
    whole, torn = (train(runs("whole", train={"keep": "last"})), runs("torn", train={"keep": "last"}))
    for owner, name, when in (
        (Selection, "write_history", lambda _: True),
        (loop.Monitor, "epoch", lambda _: True),
        (loop.RunState, "save", lambda state: state.progress.step == 0),
    ):
        with cut(owner, name, when):
            train(torn)
        progress = state_of(Path(torn.output) / torn.tag)["progress"]
        assert (progress["epoch"], progress["step"]) == (1, 3)
    with cut(loop.RunState, "remove_files", lambda state: state.progress.epoch == 3):
        train(torn)
    assert_same_run(train(torn), whole)  # nothing is left but to remove what is not to be kept


def command_of(recipe, tmp_path):
    path = tmp_path / f"{os.path.basename(recipe.output)}.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    return ["train", str(path), "--device", "cpu"]


def test_a_disk_that_fails_and_then_is_full(runs, whole, monkeypatch, tmp_path, capsys):
    """A limit of half a save on the size of files acts as a full disk."""
    resource = pytest.importorskip("resource")
    torn = runs("torn")
    command, resume = command_of(torn, tmp_path), stop(torn, 1, 1) / "resume.pt"
    before = resume.read_bytes()

    def fails(self):
        raise OSError(errno.EIO, "", str(self.selection.folder / "resume.pt"))

    with monkeypatch.context() as patch:
        patch.setattr(loop.RunState, "save", fails)
        assert main(command) == 75
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nes2net")]
    assert "resume.pt: Input/output error" in line and "the same command goes on" in line
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        status = main(command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = capsys.readouterr().err.splitlines()[-1]
    assert status == 75 and "no room to write" in error and "the same command goes on" in error and " MB" in error
    assert resume.read_bytes() == before and not list(resume.parent.glob(".*.tmp"))
    assert_same_run(train(torn), whole)


def test_the_data_goes_away_and_comes_back(runs, whole, corpus, monkeypatch, tmp_path, capsys):
    """Nothing is done without the files, and the run goes on where they went."""
    root, away = shutil.copytree(corpus, tmp_path / "mounted"), tmp_path / "away"
    torn = runs("torn", data={"root": str(root)}, train={"save_every_minutes": 0.0})
    (file,) = root.rglob("LA_T_1000007.flac")
    folder, seed_step = Path(torn.output) / torn.tag, loop.seed_step

    def refused(path, *_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    def too_many_open_files(patch):
        patch.setattr(dataset, "open", refused, raising=False)
        patch.setattr(dataset, "load_audio", refused)

    def in_a_step(patch, happens):
        def step(*place):
            patch.setattr(loop, "seed_step", seed_step)
            happens(patch)
            seed_step(*place)

        patch.setattr(loop, "seed_step", step)

    def in_validation(patch, happens):
        validate = loop.Validator.run

        def run(self, epoch):
            happens(patch)
            return validate(self, epoch)

        patch.setattr(loop.Validator, "run", run)

    gone = "is not there any more"
    for when, happens, said, steps in (
        (in_a_step, lambda _: file.rename(away), gone, (0, 1, 2)),
        (in_a_step, lambda _: root.rename(away), gone, (1, 2)),
        (in_validation, lambda _: root.rename(away), gone, (3,)),
        (in_a_step, too_many_open_files, "Too many open files", (1, 2)),
    ):
        with monkeypatch.context() as patch:
            when(patch, happens)
            assert main(command_of(torn, tmp_path)) == 75
        *_, line = capsys.readouterr().err.splitlines()
        assert line.startswith("nes2net: ") and "the same command goes on from the last save" in line and said in line
        assert state_of(folder)["progress"]["step"] in steps
        if away.exists():
            away.rename(file if root.exists() else root)
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
    root = shutil.copytree(corpus, tmp_path / "damaged")
    for file in root.glob("ASVspoof2019_LA_train/flac/*.flac"):
        file.write_bytes(b"no audio")
    values = runs("torn", model=ASP, data={"root": str(root)})
    with pytest.raises(Unfinished, match="stopped in epoch 1, step 0: its files cannot be used"):
        train(values)
    assert not (tmp_path / "torn" / values.tag / "resume.pt").exists()


@pytest.mark.parametrize(
    "changes, amid_a_save", [({}, True), *slow(({}, False), (LORA, False))], ids=["saving", "", "lora"]
)
def test_killed_in_a_step(runs, whole, monkeypatch, tmp_path, changes, amid_a_save):
    """A separate process is killed (kill −9) in the second epoch; it saves after each step."""
    torn, step = runs("torn", train={**changes, "save_every_minutes": 0.0}), loop.Trainer.train_step

    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def killed(self, batches, epoch, number, due):
        done = step(self, batches, epoch, number, due)
        if (epoch, number) == (2, 1):  # the weights have changed
            if amid_a_save:
                monkeypatch.setattr(os, "replace", kill)  # the file is complete, but has another name yet
                self.state.save()
            kill()
        return done

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "train_step", killed)
        process = multiprocessing.get_context("fork").Process(target=train, args=(torn,))
        process.start()
        process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    folder = tmp_path / "torn" / torn.tag
    progress = state_of(folder)["progress"]
    assert (progress["epoch"], progress["step"]) == (2, 1) and (folder / "base.pth").is_file() == bool(changes)
    assert bool(list(folder.glob(".*.tmp"))) == amid_a_save
    time.sleep(1.1)  # TensorBoard's files are read in the order of the second in their names
    assert_same_run(train(torn), train(runs("whole", train=changes)) if changes else whole)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()  # logs are beside the checkpoints here
    assert [e.step for e in events.Scalars("loss")] == [1, 2]


def test_a_reading_process_is_killed(runs, whole, monkeypatch):
    """As the system does if memory runs out: training stops with what is saved, and goes on from it."""
    torn, original = runs("torn", train={"save_every_minutes": 0.0}, data={"num_workers": 1}), TrainingSet.prepare

    def prepare(self, index, epoch, *length):
        if (self.part, epoch) == ("train", 2):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, index, epoch, *length)

    with (
        monkeypatch.context() as patch,
        pytest.raises(Unfinished, match=r"\(SIGKILL\).*lower `data.num_workers` \(now 1"),
    ):
        patch.setattr(TrainingSet, "prepare", prepare)
        train(torn)
    assert state_of(Path(torn.output) / torn.tag)["progress"]["epoch"] == 2
    assert_same_run(train(torn), whole)


@pytest.mark.slow
def test_terminated_from_outside(runs, whole, tmp_path):
    """A batch system's SIGTERM to all processes ends a run with status 75, and nothing is lost."""
    recipe = runs("torn", data={"num_workers": 2})
    command = [sys.executable, "-m", "nes2net.cli.main", *command_of(recipe, tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, **pipes, env=one_thread, start_new_session=True)
    for line in process.stdout:
        if line.startswith("epoch 1 - "):
            os.killpg(process.pid, signal.SIGTERM)
            break
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 75, errors[-2000:]
    assert "nes2net: stopped by SIGTERM; the same command goes on" in errors and "Traceback" not in errors
    assert_same_run(train(recipe), whole)


def test_one_process_at_a_time(runs):
    pytest.importorskip("fcntl")
    values = runs("run", model=ASP, train={"epochs": 1})
    folder = train(values)
    holds = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", holds, str(folder / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another process is training in .*`comment`"):
            train(values)
    finally:
        other.communicate("")
    train(values)


def test_what_another_version_saved_is_refused(runs):
    values = runs("run", model=ASP, train={"epochs": 1})
    folder = train(values)
    for version in (3, 99):
        torch.save({"version": version}, folder / "resume.pt")
        with pytest.raises(InputError, match=r"resume\.pt was written by another version.*`train\.init_from`"):
            train(values)


def test_where_and_how_fast_may_change_between_the_parts_of_a_run(runs, whole, tmp_path):
    stop(runs("torn"), 2, 0)
    other = {"save_every_minutes": 1.0, "activation_checkpointing": True}
    folder = train(runs("torn", data={"cache": str(tmp_path / "cache"), "num_workers": 1}, train=other))
    assert_same_run(folder, whole)


def test_words_of_a_generator_have_32_bits():
    """Any of them can be 0, and a stream must resume then, too."""
    words = torch.tensor([0, 1, 2**32 - 1])
    assert _words(words) is words
    for wrong in (words - 1, words + 1, words.int(), words[None]):
        with pytest.raises(ValueError, match="whole numbers of 32 bits"):
            _words(wrong)
