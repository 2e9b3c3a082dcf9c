"""Training a student: what it hears, where its weights come from, resuming, and what is refused."""

import io
import shutil
from contextlib import redirect_stdout

import pytest
import torch
from builders import input_error, small_parts
from builders.recipes import SPECTRAL_RUN, short_run
from builders.runs import detector_of, history_of, refused, same, stop, weights_of

from nes2net import Detector
from nes2net.data.audio.read import load_audio
from nes2net.data.audio.waveform import head_crop
from nes2net.lib.output.progress import printing_lines
from nes2net.training.run import train
from nes2net.training.tasks.task import create_task

TEACHER = {"name": "wav2vec2_small", **small_parts.FRONTENDS["wav2vec2"]}  # of two layers
BACKEND = {"name": "asp_mlp", "hidden_dim": 8}
STUDENT = {"encoder_layers": 1}


def model(student=STUDENT, backend=BACKEND, **teacher):
    frontend = {"name": "teacher_student", "teacher": {**TEACHER, **teacher}, "student": student}
    return {"frontend": frontend, "backend": {"name": "one_class_distillation", "backend": backend}}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A detector with random weights and batch statistics of its own, and its file."""
    torch.manual_seed(7)
    detector = Detector.from_config({"frontend": TEACHER, "aggregation": "last", "backend": BACKEND}).train()
    detector(torch.randn(4, 8000))
    file = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    detector.save(file)
    return detector.eval(), file


def changes_of(teacher, task=(), **changes):
    """What makes a recipe that of a student of one layer, with further changes."""
    task_options = {"name": "distillation", "teacher": str(teacher[1]), **dict(task)}
    changes["train"] = {"batch_size": 2, "task": task_options, **changes.get("train", {})}
    return {"model": model(), "validation": {"select_on": "eer"}, **changes}


@pytest.fixture
def student(recipe, teacher):
    """A function that builds the recipe of a student, with changes merged into it."""
    return lambda **changes: recipe(**changes_of(teacher, **changes))


def halves(detector, half):
    return detector.frontend.model.get_submodule(half), detector.backend.get_submodule(half)


@pytest.fixture(scope="module")
def finished(corpus, teacher, tmp_path_factory):
    """The run folder of a student that was trained for two epochs, and what the run printed."""
    changes = changes_of(teacher, train={"batch_size": 3, "keep": "all"})
    recipe = short_run(corpus, tmp_path_factory.mktemp("student"), SPECTRAL_RUN, changes)
    with redirect_stdout(io.StringIO()) as printed, printing_lines():
        folder = train(recipe, "cpu")
    return folder, printed.getvalue()


@pytest.fixture(scope="module")
def folder(finished):
    return finished[0]


def test_a_run_trains_no_weight_of_the_teacher(folder, teacher):
    """The last layer of the teacher is not part of the trained detector."""
    original_detector, _ = teacher
    originals = original_detector.frontend, original_detector.backend
    last = original_detector.backend.last_layer_name
    for half, original in zip(halves(detector_of(folder), "teacher"), originals):
        original = {key: value for key, value in original.state_dict().items() if not key.startswith(f"{last}.")}
        assert same(dict(half.state_dict()), original)


def test_a_student_is_trained_only_on_bona_fide_speech(finished):
    assert "training trials: 6 (6 bona fide, 0 spoof)" in finished[1]


def test_a_student_is_validated_only_on_bona_fide_speech(folder, dev_trials):
    detector = detector_of(folder)
    bonafide = [trial for trial in dev_trials if trial.target == 1]
    waveforms = torch.stack([torch.as_tensor(head_crop(load_audio(t.path), 4000)).float() for t in bonafide])
    with torch.inference_mode():
        loss = (1 - detector.scores(waveforms)).mean().item()
    assert history_of(folder)[0]["val_loss_wo_aug"] == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("start, is_equal", [("teacher", True), ("random", False)])
def test_the_student_starts_from_the_weights_of_the_teacher_or_from_random_ones_as_asked(student, start, is_equal):
    """With a learning rate below the resolution of float32 the weights stay as they were."""
    trained_detector = detector_of(
        train(student(train={"lr": 1e-30, "epochs": 1}, task={"student_init": start}), "cpu")
    )
    for teacher_half, student_half in zip(halves(trained_detector, "teacher"), halves(trained_detector, "student")):
        teacher_half = dict(teacher_half.named_parameters())
        shared = [
            name for name, value in student_half.named_parameters() if value.ndim > 1 and value.std() > 0
        ]  # drawn
        assert shared
        equal = {
            torch.allclose(student_half.get_parameter(name), teacher_half[name], rtol=0, atol=1e-29) for name in shared
        }
        assert equal == {is_equal}


@pytest.mark.slow
def test_an_interrupted_run_of_a_student_resumes_as_if_uninterrupted_without_the_teachers_file(student, teacher):
    uninterrupted = train(student(comment="whole"), "cpu")
    stop(student(comment="stopped"), 1, 1, "cpu")
    away = teacher[1].rename(teacher[1].with_name("away"))  # its weights are in resume.pt
    resumed = train(student(comment="stopped"), "cpu")
    away.rename(teacher[1])
    assert same(weights_of(resumed), weights_of(uninterrupted))


def test_the_training_trials_of_a_student_may_all_be_bona_fide(student, corpus, tmp_path):
    copy = shutil.copytree(corpus, tmp_path / "bonafide_only")
    (protocol,) = copy.rglob("ASVspoof2019.LA.cm.train.trn.txt")
    lines = protocol.read_text().splitlines(keepends=True)
    task = create_task(student(data={"root": str(copy)}))
    protocol.write_text("".join(line for line in lines if line.endswith("bonafide\n")))
    assert [trial.target for trial in task.trials("train")] == [1] * 6


def test_a_protocol_without_a_split_column_is_refused_for_a_student(student, corpus):
    """Its bona fide trials would both train and validate."""
    folder = corpus / "release_in_the_wild"
    wild = student(data={"corpus": "generic", "root": str(folder), "protocols": str(folder / "meta.csv")})
    refused(wild, "all 6 bona fide development trials are training trials too.*column 'split'")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"task": {"teacher": None}}, "no teacher is named: name the checkpoint .* with `train.task.teacher`"),
        ({"augment": {"latent": {}}}, "the task distillation trains only on bona fide ones: remove it"),
        ({"model": {**model(), "backend": BACKEND}}, "and a student: set `model.frontend.name=teacher_student`"),
        ({"train": {"loss": "focal"}}, "`train.loss` changes nothing in the task distillation"),
        (
            {"model": model(backend={**BACKEND, "hidden_dim": 4})},
            "`model.backend.backend.hidden_dim` is 4 in the recipe and 8",
        ),
        ({"model": model(student=None)}, "start as a copy of the teacher and have nothing to learn"),
    ],
)
def test_a_recipe_that_cannot_train_a_student_is_refused_with_the_reason(student, changes, message):
    with input_error(message):
        train(student(**changes), "cpu")
