"""Teacher and student in one detector: what they compute, what is trained, what is refused."""

import pytest
import torch
import torch.nn.functional as F
from builders import input_error, small_parts
from conftest import seeded_detector
from torch.testing import assert_close

from nes2net import Detector, create_backend, create_frontend

TEACHER = {"name": "wav2vec2_small", **small_parts.FRONTENDS["wav2vec2"], "encoder_layers": 3}
FRONTEND = {"name": "teacher_student", "teacher": TEACHER, "student": {"encoder_layers": 1}}
NES = {"name": "nes2net_x", "nes_ratio": [4, 4]}
MODEL = {"frontend": FRONTEND, "backend": {"name": "one_class_distillation", "backend": NES}}
LPS = {"name": "lps", "n_fft": 128, "num_bins": 32}


@pytest.fixture
def twins() -> Detector:
    return seeded_detector(MODEL)


def test_the_logits_of_teacher_and_student_are_minus_and_plus_the_mean_of_two_cosines(twins):
    """Between states of the front-ends, and between embeddings of the back-ends."""
    waveform = 0.1 * torch.randn(3, 16000)
    halves = []
    for half in ("teacher", "student"):
        state = twins.frontend.model[half](waveform)[-1]
        halves.append((state.mean(1), getattr(twins.backend, half).embed(state)))
    expected = torch.stack([F.cosine_similarity(a, b, dim=1) for a, b in zip(*halves)]).mean(0)
    assert_close(twins(waveform), torch.stack([-expected, expected], 1))


def test_with_frontend_level_false_the_score_is_the_cosine_of_the_back_ends_alone():
    """The cosine of the front-ends is 1 here, because both are the same spectrum."""
    scores = []
    frontend = {"name": "teacher_student", "teacher": LPS}
    for level in (True, False):
        torch.manual_seed(0)
        twins = Detector.from_config({"frontend": frontend, "backend": {**MODEL["backend"], "frontend_level": level}})
        scores.append(twins.eval().scores(torch.randn(4, 4000, generator=torch.Generator())))
    assert_close(scores[0], (1 + scores[1]) / 2)


def test_in_training_the_teacher_is_frozen_and_the_student_is_not(twins):
    """What is frozen is in eval mode, has no parameters that require gradients, and keeps its running statistics."""
    before = {key: value.clone() for key, value in twins.state_dict().items()}
    twins.train()(torch.randn(3, 8000))
    moved = [key for key, value in twins.state_dict().items() if not torch.equal(before[key], value)]
    assert moved
    assert all("student" in key for key in moved)
    for twin in (twins.frontend.model, twins.backend):
        teacher = twin.get_submodule("teacher")
        student = twin.get_submodule("student")
        assert not any(p.requires_grad for p in teacher.parameters())
        assert all(p.requires_grad for p in student.parameters())
        assert not any(m.training for m in teacher.modules())
        assert all(m.training for m in student.modules())


def test_the_default_student_has_the_options_of_the_teacher_and_at_most_6_layers():
    frontend = create_frontend("teacher_student", teacher={**TEACHER, "encoder_layers": 8})
    assert frontend.config["student"] == {**frontend.config["teacher"], "encoder_layers": 6}
    smaller = create_frontend("teacher_student", teacher=TEACHER)
    assert smaller.config["student"] == smaller.config["teacher"]


def test_the_front_end_teacher_student_gives_only_its_second_state_if_only_the_last_layer_is_asked_for():
    frontend = create_frontend("teacher_student", teacher=TEACHER)
    (last,) = frontend(torch.zeros(1, 8000))
    assert torch.equal(last, frontend(torch.zeros(1, 8000), layers="all")[1])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"teacher": "teacher_student"}, "`teacher` is 'teacher_student': a teacher or student cannot itself"),
        ({"teacher": LPS, "student": {"checkpoint": "a.pt"}}, "`student` has no option 'checkpoint'"),
        ({"teacher": LPS, "student": {"num_bins": 16}}, "out_dim is 32 for the teacher and 16 for the student"),
        ({"teacher": LPS, "student": {"hop_length": 160}}, "hop_length is 130 for the teacher and 160 for"),
        ({"teacher": LPS, "student": TEACHER}, "only the front-end of the student has weights"),
    ],
)
def test_front_ends_that_cannot_be_teacher_and_student_are_refused(options, message):
    with input_error(message):
        create_frontend("teacher_student", **options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"backend": "sls"}, "back-end 'sls' reads all hidden states"),
        ({"backend": "one_class_distillation"}, "cannot itself be made of teacher and student"),
    ],
)
def test_back_ends_that_cannot_be_teacher_and_student_are_refused(options, message):
    with input_error(message):
        create_backend("one_class_distillation", feature_dim=64, **options)


def test_one_class_distillation_refuses_a_front_end_of_one_hidden_state():
    with input_error("reads 2 hidden states, and front-end 'lps' gives 1"):
        Detector.from_config({"frontend": LPS, "backend": MODEL["backend"]})
