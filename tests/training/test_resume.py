"""An interrupted run resumes to the same weights, bit for bit, on one device in float32."""

import errno
import os
import random
import shutil
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import yaml
from builders import PATIENCE, genuine_checkpoint, input_error, slow
from builders.runs import (
    assert_same_run,
    detector_of,
    folder_of,
    history_of,
    place_of,
    refused,
    same,
    state_of,
    stop,
    weights_of,
)

from nes2net import create_frontend
from nes2net.cli.main import main
from nes2net.lib.errors import Unfinished
from nes2net.lib.storage.files import exclusive_lock
from nes2net.models.checkpoints.state_dict import load_state_dict, read_record
from nes2net.models.provenance import Provenance
from nes2net.training import loop
from nes2net.training.averaging import average
from nes2net.training.resume_file import _check_32_bit_words
from nes2net.training.run import train
from nes2net.training.selection import Selection


@pytest.fixture(autouse=True)
def _one_thread():
    """The last bits depend on the number of threads, and forked processes have but one."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(number)


GF = {"backend": {"name": "gf", "hidden_dim": 16}}


@pytest.fixture
def runs(recipe, tmp_path):
    """``runs(name, **changes)``: a recipe with dropout and augmentation, in a folder of its own."""

    def make(name, **changes):
        changes["train"] = {"schedule": "cosine", "warmup_steps": 2, **changes.get("train", {})}
        changes["augment"] = {"algo": 4, **changes.get("augment", {})}
        folders = {"output": str(tmp_path / name), "logs": str(tmp_path / name)}
        return recipe(**{"model": GF, **folders, **changes})

    return make


@pytest.fixture
def whole_run(runs, tmp_path_factory):
    """Folder of an uninterrupted run of ``runs`` without changes, trained once."""
    uninterrupted = tmp_path_factory.getbasetemp() / "uninterrupted"
    return next(uninterrupted.glob("*_tiny_*"), None) or train(runs("whole", output=str(uninterrupted)))


@pytest.fixture
def uninterrupted(runs, whole_run):
    """A function that gives the folder of an uninterrupted run; only those with changes are trained anew."""

    def trained(**changes):
        if any(changes.values()):
            return train(runs("whole", **changes))
        return whole_run

    return trained


#: Changes of a recipe, and the steps at which it is stopped; the fast tests try the first. The back-end gf and
#: wav2vec 2.0 have dropout.
RUNS = yaml.safe_load("""
alone: {at: [[1, 1], [2, 2]], train: {batch_size: 5, drop_last: false}}  # the last batch is smaller
legacy: {at: [[1, 1], [2, 0]], model: &gf {backend: {name: gf, hidden_dim: 16}},
  augment: {rng: legacy, algo: 11, parameters: {LnL_ratio: 0.5, SSI_ratio: 0.5}}}
conditions: {at: [[1, 1], [2, 0]],
  augment: {conditions: ["mp3:16", "white:10", "babble:5", "cut:0.5"], condition_probability: 0.9},
  train: {accumulate: 2, max_grad_norm: 0.1, keep: "last,best", freeze_frontend_epochs: 1, freeze_layers: 0,
    layer_decay: 0.5}}
lora: {at: [[1, 1], [2, 0]], train: {adapt: {kind: lora, rank: 2, dropout: 0.1}, layer_decay: 0.5}}
workers: {at: [[2, 0]], data: {num_workers: 2}}
dynamic: {at: [[1, 2], [2, 0]], data: &dynamic {crop: dynamic, chunk_samples: [3000, 5000]},
  train: {freeze_frontend: true, frontend_mode: train,
    schedule: cosine_epochs, warmup_steps: 0, warmup_epochs: 1, warmup_from_zero: true},
  validation: {select_on: train_loss}}
adversarial: {at: [[2, 1]], model: *gf, augment: {adversarial: {attack: "pgd:30", steps: 2}}, train: {accumulate: 2}}
pieces: {at: [[2, 1]], model: *gf, data: {crop: pieces, min_piece: 2000},
  train: {accumulate: 2, schedule: step, decay_epochs: 1, loss: {name: cross_entropy, normalize: false}},
  validation: {mode: train}}
specmix: {at: [[2, 1]],
  model: {backend: {name: mpif_res2net, planes: [4, 8], blocks: [1, 1], strides: [1, 2], num_frames: 24}},
  augment: {specmix: {frequency_bands: 3, time_bands: 0, gamma: 0.3, mix_labels: true}},
  train: {loss: angular_softmax, schedule: inverse_sqrt, amsgrad: true}}
vectors: {at: [[2, 1]], model: {}, data: *dynamic, augment: {latent: {probability: 1.0}, fir: {band: wide}},
  train: {loss: {name: am_softmax, margin: [duration, 0.06, 0.14]}, accumulate: 2}}
""")


@pytest.mark.parametrize("name", ["alone", *slow(*list(RUNS)[1:])])
def test_a_run_stopped_at_a_step_resumes_and_ends_as_if_uninterrupted(runs, uninterrupted, model_with_dropout, name):
    changes = {"model": model_with_dropout, **RUNS[name]}
    moments = changes.pop("at")
    whole_run = uninterrupted(**changes)
    for epoch, step in moments:
        assert place_of(stop(runs("torn", **changes), epoch, step)) == (epoch, step + 1)  # the step is done
        torch.manual_seed(99)  # nothing may depend on the state that the interruption left
        random.seed(99)
    assert_same_run(train(runs("torn", **changes)), whole_run)


def handlers():
    return signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)


def test_a_stopped_run_restores_the_handlers_of_sigterm_and_sigint(recipe):
    before = handlers()
    stop(recipe(), 1, 0)
    assert handlers() == before


def test_training_on_several_corpora_resumes_as_if_uninterrupted_after_their_folder_was_moved(runs, corpus, tmp_path):
    """Two corpora train, balanced and capped, and two validate."""

    def run(name, root=corpus):
        la = {"name": "asvspoof2019_la", "root": str(root), "alias": "la", "weight": 2}
        wild = {"name": "in_the_wild", "root": str(root), "train_split": "eval", "dev_split": None}
        dev_only = {"name": "asvspoof2021_la", "root": str(root), "train_split": None, "dev_split": "eval"}
        data = {"root": None, "corpora": [la, wild, dev_only], "balance": ["corpus", "class"], "epoch_size": 14}
        validation = {"select_on": "eer", "over": "worst"}
        return runs(
            name, model={}, data={**data, "speaker_cap": 3}, validation=validation, train={"accumulate": 2, "epochs": 1}
        )

    whole_run = train(run("whole"))
    stop(run("torn"), 1, 1)
    assert_same_run(train(run("torn", shutil.copytree(corpus, tmp_path / "moved"))), whole_run)


def record_of(file):
    return read_record(load_state_dict(file))


@pytest.fixture
def started(runs, whole_run):
    """The folder of an interrupted run that started from a checkpoint, and the provenance of that checkpoint."""
    start = min(whole_run.glob("epoch_*.pth"))
    recipe = runs("torn", train={"init_from": str(start), "epochs": 1})
    stop(recipe, 1, 1)
    return train(recipe), Provenance.read(record_of(start))


def test_checkpoints_and_averages_name_the_checkpoint_that_their_run_started_from(started):
    """A saved detector names it without the names of folders."""
    folder, start = started
    for file in (folder / "epoch_1.pth", average(folder, last=1).path):
        assert record_of(file)["started_from"] == [start.only_training_data().to_dict()]
    detector_of(folder).save(folder / "shared.pth")
    expected = start.only_training_data(folders=False).to_dict()
    assert record_of(folder / "shared.pth")["started_from"] == [expected]


@pytest.mark.parametrize("changes", [{}, *slow({"validation": {"mode": "train"}})], ids=["eval", "train"])
def test_a_run_stopped_while_validating_resumes_and_ends_as_if_uninterrupted(runs, uninterrupted, changes):
    """The run stops amid the validation, after the epoch's training was saved.

    In train mode, what batch statistics have learnt of the development set by then is discarded.
    """
    whole_run = uninterrupted(**changes)
    torn = runs("torn", **changes)
    values = loop.Validator._loss_and_figures

    def stopped(self, *of_pass):
        if self.monitor.selection.history:
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the signal came late")
        return values(self, *of_pass)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Validator, "_loss_and_figures", stopped)
        train(torn)
    assert place_of(folder_of(torn)) == (2, 3)
    assert_same_run(train(torn), whole_run)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_a_step_whose_gradients_are_nan_leaves_a_last_save_that_resumes_as_if_uninterrupted(
    runs, whole_run, monkeypatch, number
):
    """The loss of the step is finite; the last save is of an earlier step."""
    backward = loop.Trainer.backward
    torn = runs("torn")

    def poisoned(self, *step):
        loss = backward(self, *step)
        progress = self.state.progress
        if (progress.epoch, progress.step) == (2, number):
            next(p for p in self.objective.parameters() if p.grad is not None).grad.fill_(float("nan"))
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "backward", poisoned)
        refused(torn, rf"gradients' norm is nan in epoch 2, step {number} \(utterances LA_T_\d+, ")
    assert_same_run(train(torn), whole_run)


def test_a_run_does_not_resume_on_another_list_of_training_trials(recipe, corpus, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "other")
    values = recipe(data={"root": str(root)})
    stop(values, 1, 0)
    (protocol,) = root.rglob("*train.trn.txt")
    protocol.write_text("".join(protocol.read_text().splitlines(keepends=True)[1:]))
    refused(values, r"another training set \(12 then and 11 now.*`comment`")


def test_a_run_without_a_usable_training_file_stops_at_its_first_step(recipe, corpus, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "other")
    damaged = recipe(data={"root": str(root)})
    for file in root.glob("ASVspoof2019_LA_train/flac/*.flac"):
        file.write_bytes(b"no audio")
    with pytest.raises(Unfinished, match="stopped in epoch 1, step 0: its files cannot be used"):
        train(damaged)


def test_a_resumed_run_does_not_train_frozen_convolutions_either(recipe, small_model, tmp_path):
    frontend = {key: value for key, value in small_model["frontend"].items() if key != "name"}
    genuine_checkpoint.write(create_frontend("wav2vec2", **frontend), tmp_path / "ssl.pt")
    model = {**small_model, "frontend": {"name": "wav2vec2", "feature_grad_mult": 0.0}}
    values = recipe(model=model, ssl_checkpoint=str(tmp_path / "ssl.pt"), train={"epochs": 1})
    stop(values, 1, 1)
    folder = train(values)
    expected = create_frontend("wav2vec2", tmp_path / "ssl.pt").state_dict()
    frozen = {f"ssl_model.{name}": tensor for name, tensor in expected.items() if ".feature_extractor." in name}
    assert frozen
    assert same(frozen, {name: weights_of(folder)[name] for name in frozen})


@pytest.mark.parametrize(
    "part_name, changes", [("frontend", {"n_fft": 256}), ("backend", {"score_rule": "difference"})]
)
def test_a_run_resumes_only_the_detector_of_its_recipe(recipe, part_name, changes):
    """Another detector may have tensors of the same shapes."""
    values = recipe()
    folder = stop(values, 1, 1)
    state = state_of(folder)
    state["model"][part_name].update(changes)
    torch.save(state, folder / "resume.pt")
    refused(values, rf"resume\.pt does not hold the detector of the recipe \(another {part_name}\): copy it again")


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


def test_the_best_checkpoint_stays_until_the_end_of_a_better_epoch_is_saved(recipe, monkeypatch):
    """An epoch validated again after an interruption may not be the best any more.

    On a GPU, for example, its digits may differ.
    """
    values = recipe(train={"keep": "best"})
    losses = iter([0.5, 0.4999999, 0.5000001])
    fixed = {"val_eer_wo_aug": 0.1, "val_eer_wo_aug_low": 0.0, "val_eer_wo_aug_high": 0.2}
    monkeypatch.setattr(loop.Validator, "run", lambda self, *arguments: {"val_loss_wo_aug": next(losses), **fixed})
    with cut(loop.RunState, "save", lambda state: state.progress.epoch == 3):
        train(values)
    assert [path.name for path in train(values).glob("*.pth")] == ["epoch_1.pth"]


@pytest.mark.slow
def test_a_run_cut_off_between_the_files_of_an_epoch_resumes_and_ends_as_if_uninterrupted(runs):
    """Before any of the writes that end an epoch."""
    schedule = {"keep": "last", "schedule": "cosine_epochs", "t_max": 2, "warmup_steps": 0}
    whole_run = train(runs("whole", train=schedule))
    torn = runs("torn", train=schedule)
    for owner, name, when in (
        (Selection, "write_history", lambda _: True),
        (loop.Monitor, "report_epoch", lambda _: True),
        (loop.RunState, "save", lambda state: state.progress.step == 0),
    ):
        with cut(owner, name, when):
            train(torn)
        assert place_of(folder_of(torn)) == (1, 3)
    with cut(Selection, "remove_files", lambda selection: selection.is_done):
        train(torn)
    assert_same_run(train(torn), whole_run)  # nothing is left but to remove what is not to be kept


def test_the_history_has_the_learning_rate_that_the_steps_of_each_epoch_had(recipe):
    folder = train(recipe(train={"schedule": "cosine_epochs", "t_max": 2}))
    assert [row["lr"] for row in history_of(folder)] == pytest.approx([1e-3, 5e-4], abs=1e-12)


def command_of(recipe, tmp_path):
    path = tmp_path / f"{os.path.basename(recipe.output)}.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    return ["train", str(path), "--device", "cpu"]


def test_a_run_that_a_failing_disk_ended_with_status_75_resumes_and_ends_as_if_uninterrupted(
    runs, whole_run, monkeypatch, tmp_path
):
    torn = runs("torn")

    def fail(self):
        raise OSError(errno.EIO, "", str(self.selection.folder / "resume.pt"))

    with monkeypatch.context() as patch:
        patch.setattr(loop.RunState, "save", fail)
        assert main(command_of(torn, tmp_path)) == 75
    assert_same_run(train(torn), whole_run)


def test_a_run_that_missing_data_ended_with_status_75_resumes_when_the_data_are_back(
    runs, whole_run, corpus, monkeypatch, tmp_path
):
    """A file is missing in a step, and the whole folder in a validation."""
    root = shutil.copytree(corpus, tmp_path / "mounted")
    away = tmp_path / "away"
    torn = runs("torn", data={"root": str(root)}, train={"save_every_minutes": 0.0})
    (file,) = root.rglob("LA_T_1000007.flac")
    for owner, name, missing_path, steps in ((loop, "seed_step", file, (0, 1, 2)), (loop.Validator, "run", root, (3,))):
        original = getattr(owner, name)

        def instead(*arguments, missing_path=missing_path, original=original):
            if not away.exists():
                missing_path.rename(away)
            return original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, instead)
            assert main(command_of(torn, tmp_path)) == 75
        assert place_of(folder_of(torn))[1] in steps
        away.rename(missing_path)
    assert_same_run(train(torn), whole_run)


def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def kill_amid_a_save(state):
    """Kill this process when the file is complete, but has another name yet."""
    os.replace = kill
    state.save()


@pytest.mark.parametrize("kill_in_step", [kill_amid_a_save, *slow(kill)], ids=["amid a save", "before a save"])
def test_a_run_killed_in_a_step_resumes_and_ends_as_if_uninterrupted(runs, whole_run, kill_in_step):
    """A separate process is killed (kill −9) in the second epoch, amid a save or before it; it saves after each step."""
    torn = runs("torn", train={"save_every_minutes": 0.0})
    step = loop.Trainer.train_step

    def killed(self, batches, epoch, number, due):
        done = step(self, batches, epoch, number, due)
        if (epoch, number) == (2, 1):  # the weights have changed
            kill_in_step(self.state)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Trainer, "train_step", killed)
        process = get_context("fork").Process(target=train, args=(torn,))
        process.start()
        process.join(PATIENCE)
    folder = folder_of(torn)
    assert process.exitcode == -signal.SIGKILL
    assert place_of(folder) == (2, 1)
    assert_same_run(train(torn), whole_run)


@pytest.mark.slow
def test_tensorboard_has_each_epoch_of_a_resumed_run_once(recipe):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    values = recipe()
    with cut(loop.RunState, "save", lambda state: state.progress.epoch == 3):
        train(values)
    time.sleep(1.1)  # TensorBoard's files are read in the order of the second in their names
    events = EventAccumulator(str(Path(values.logs) / train(values).name)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2]


def test_a_folder_in_which_another_process_trains_is_refused(recipe):
    pytest.importorskip("fcntl")
    values = recipe(train={"epochs": 1})
    folder = train(values)
    with exclusive_lock(folder / ".lock", ""), ProcessPoolExecutor(1, get_context("fork")) as executor:
        with input_error("another process is training in .*`comment`"):
            executor.submit(train, values).result(PATIENCE)


def test_a_resume_file_of_another_version_is_refused(recipe):
    values = recipe()
    folder = stop(values, 1, 0)
    for version in (3, 99):
        torch.save({"version": version}, folder / "resume.pt")
        refused(values, r"resume\.pt was written by another version.*`train\.init_from`")


def test_only_words_of_32_bits_are_accepted_as_the_state_of_a_saved_random_generator():
    words = torch.tensor([0, 1, 2**32 - 1])
    assert _check_32_bit_words(words) is words
    for wrong in (words - 1, words + 1, words.int(), words[None]):
        with pytest.raises(ValueError, match="whole numbers of 32 bits"):
            _check_32_bit_words(wrong)
