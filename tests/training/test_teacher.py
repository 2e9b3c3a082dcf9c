"""Training a student: what it hears, where its weights come from, resuming, and what is refused."""

import json
import re
import shutil

import pytest
import torch
from builders.recipes import short_run

from nes2net import Detector, InputError
from nes2net.checkpoints.state_dict import load_state_dict
from nes2net.training.averaging import average_run
from nes2net.training.run import train
from nes2net.training.tasks.task import create_task

NES = {"name": "nes2net_x", "nes_ratio": [4, 4]}


@pytest.fixture
def teacher(small_model, tmp_path):
    """A detector with random weights and batch statistics of its own."""
    torch.manual_seed(7)
    detector = Detector.from_config(small_model).train()
    detector(torch.randn(4, 8000))
    detector.save(tmp_path / "teacher.pth")
    return detector.eval()


@pytest.fixture
def student(corpus, small_model, teacher, tmp_path):
    """A function that builds the recipe of a student of one layer, with changes merged into it."""
    frontend = {"name": "teacher_student", "teacher": small_model["frontend"], "student": {"encoder_layers": 1}}
    values = {
        "name": "tiny",
        "model": {"frontend": frontend, "backend": {"name": "one_class_distillation", "backend": NES}},
        "train": {"epochs": 2, "batch_size": 2},
        "validation": {"select_on": "eer"},
    }

    def recipe(task=(), **changes):
        named = {"name": "distillation", "teacher": str(tmp_path / "teacher.pth"), **dict(task)}
        return short_run(corpus, tmp_path, values, {**changes, "train": {"task": named, **changes.get("train", {})}})

    return recipe


def halves(detector, half):
    return detector.frontend.model.get_submodule(half), detector.backend.get_submodule(half)


def test_the_teacher_stays_and_the_student_learns_from_bona_fide_speech(student, teacher, capsys):
    folder = train(student(), "cpu")
    printed = capsys.readouterr().out
    assert "training trials: 6 (6 bona fide, 0 spoof)" in printed
    size, trained = (
        int(n.replace(",", "")) for n in re.search(r"([\d,]+) parameters, ([\d,]+) of them", printed).groups()
    )
    assert "development trials: " in printed and "(0 bona fide" not in printed.partition("development trials")[2]
    found = Detector.from_pretrained(
        folder / "epoch_2.pth" if (folder / "epoch_2.pth").exists() else folder / "epoch_1.pth", device="cpu"
    )
    ours = [part.state_dict() for part in halves(found, "teacher")]
    theirs = [teacher.frontend.state_dict(), teacher.backend.state_dict()]
    for mine, original in zip(ours, theirs):
        assert mine.keys() == {key for key in original if not key.startswith("fc.")}
        assert all(torch.equal(mine[key], original[key]) for key in mine)
    assert found.record["recipe"]["train"]["task"]["teacher"].endswith("teacher.pth")
    assert size == sum(p.numel() for p in found.parameters())
    assert trained == sum(p.numel() for part in halves(found, "student") for p in part.parameters())
    moments = torch.load(folder / "resume.pt", weights_only=True)["optimizer"]["state"]
    assert sum(of["exp_avg"].numel() for of in moments.values()) <= trained
    rows = json.loads((folder / "history.json").read_text())
    assert all(0 < row["val_loss_wo_aug"] < 2 and 0 <= row["val_eer_wo_aug"] <= 1 for row in rows)


def test_the_development_loss_is_that_of_bona_fide_speech(student):
    from nes2net.audio.read import load_audio
    from nes2net.audio.waveform import head_crop
    from nes2net.registry import corpora

    recipe = student(train={"epochs": 1, "batch_size": 3})
    folder = train(recipe, "cpu")
    detector = Detector.from_pretrained(folder / "epoch_1.pth", device="cpu")
    (corpus,) = recipe.data.corpora
    bonafide = [t for t in corpora.get(corpus.name).trials(corpus.root, "dev") if t.target == 1]
    waveforms = torch.stack([torch.as_tensor(head_crop(load_audio(t.path), 8000)).float() for t in bonafide])
    (row,) = json.loads((folder / "history.json").read_text())
    with torch.inference_mode():
        assert row["val_loss_wo_aug"] == pytest.approx((1 - detector.scores(waveforms)).mean().item(), abs=1e-5)


@pytest.mark.parametrize("start", ["teacher", "random"])
def test_what_the_student_starts_from(student, start):
    """With a learning rate below the resolution of float32 the weights stay what they were."""
    folder = train(student(train={"lr": 1e-30, "epochs": 1}, task={"student_init": start}), "cpu")
    found = Detector.from_pretrained(folder / "epoch_1.pth", device="cpu")
    for theirs, ours in zip(halves(found, "teacher"), halves(found, "student")):
        theirs = dict(theirs.named_parameters())
        shared = [name for name, value in ours.named_parameters() if value.ndim > 1 and value.std() > 0]  # drawn
        assert shared and theirs.keys() >= set(shared)
        equal = [torch.allclose(ours.get_parameter(name), theirs[name], rtol=0, atol=1e-29) for name in shared]
        assert all(equal) if start == "teacher" else not any(equal)


def test_an_interrupted_run_ends_with_the_same_weights(student, tmp_path, monkeypatch):
    whole = train(student(comment="whole"), "cpu")
    from nes2net.training import loop

    class Stopped(Exception):
        pass

    def stop(*_):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "end_epoch", stop)  # after the steps of the first epoch, which are saved
        with pytest.raises(Stopped):
            train(student(comment="stopped"), "cpu")
    (tmp_path / "teacher.pth").unlink()  # its weights are in resume.pt
    folder = train(student(comment="stopped"), "cpu")
    states = [torch.load(place / "resume.pt", weights_only=True)["detector"] for place in (whole, folder)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_new_batch_statistics_of_an_average_are_the_students(student):
    folder = train(student(train={"keep": "all"}), "cpu")
    plain = load_state_dict(average_run(folder, last=2).path)
    anew = load_state_dict(average_run(folder, last=2, batch_norm_batches=2).path)
    changed = {key for key in plain if not torch.equal(plain[key], anew[key])}
    assert changed and all(key.startswith("student.") and ("running" in key or "num_batches" in key) for key in changed)


def test_bona_fide_speech_is_enough_to_train_on(student, corpus, tmp_path):
    copy = tmp_path / "bonafide_only"
    shutil.copytree(corpus, copy)
    (protocol,) = copy.rglob("ASVspoof2019.LA.cm.train.trn.txt")
    lines = protocol.read_text().splitlines(keepends=True)
    protocol.write_text("".join(line for line in lines if line.endswith("bonafide\n")))
    recipe = student(data={"root": str(copy)})
    assert [trial.target for trial in create_task(recipe).trials("train")] == [1] * 6
    protocol.write_text("".join(line for line in lines if not line.endswith("bonafide\n")))
    with pytest.raises(InputError, match="the training set has no bona fide trials"):
        create_task(recipe).trials("train")


def test_a_list_without_parts_is_no_corpus_to_train_on(student, corpus, tmp_path):
    """Its bona fide trials would train and develop the student, though the spoofed ones train nothing."""
    folder, path = corpus / "release_in_the_wild", tmp_path / "list.csv"
    path.write_text((folder / "meta.csv").read_text())
    with pytest.raises(InputError, match="all 6 bona fide development trials are training trials too"):
        train(student(data={"corpus": "generic", "root": str(folder), "protocols": str(path)}), "cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": {"teacher": None}}, "who is the teacher\\? name the checkpoint .* with `train.task.teacher`"),
        ({"task": {"teacher": "none.pth"}}, "none.pth"),
        ({"task": {"distance": "mae"}}, "task 'distillation': distance is one of cosine, mse, not 'mae'"),
        (
            {"train": {"init_from": "a.pth"}},
            "`train.init_from` holds teacher and student: leave out one of it and `train.task.teacher`",
        ),
        ({"augment": {"latent": {}}}, "the task distillation trains on bona fide ones alone: leave it out"),
        ({"model": {"backend": NES}}, "needs a teacher and a student: set `model.frontend.name=teacher_student`"),
        ({"train": {"loss": "focal"}}, "`train.loss` changes nothing in the task distillation"),
        ({"train": {"adapt": {}}}, "`train.adapt` has no front-end to adapt"),
        (
            {"model": {"backend": {"name": "one_class_distillation", "backend": {**NES, "dilation": 3}}}},
            "`model.backend.backend.dilation` is 3 here and 2 there",
        ),
        (
            {"model": {"backend": {"name": "one_class_distillation", "backend": "aasist"}}},
            "`model.backend.backend.name` is 'aasist' here and 'nes2net_x' there",
        ),
    ],
)
def test_wrong_recipes_are_refused(student, changes, message):
    with pytest.raises(InputError, match=message):
        train(student(**changes), "cpu")


def test_a_teacher_of_another_size_is_named(student, small_model):
    frontend = {"name": "teacher_student", "teacher": {**small_model["frontend"], "encoder_layers": 3}}
    with pytest.raises(InputError, match="`model.frontend.teacher.encoder_layers` is 3 here and 2 there"):
        train(student(model={"frontend": frontend}), "cpu")


def test_a_copy_of_the_teacher_has_nothing_to_learn(student, small_model):
    frontend = {"name": "teacher_student", "teacher": small_model["frontend"]}
    with pytest.raises(InputError, match="start as a copy of the teacher and have nothing to learn"):
        train(student(model={"frontend": frontend}), "cpu")
