"""One-class distillation: a student imitates a teacher on bona fide speech.

The authors published no code. The student learns to compute the teacher's embeddings of bona fide
speech, so speech is likely spoofed if the embeddings differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.computing.devices import at_least_float32, without_autocast
from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import Options, PartOption, Size, Takes, name_and_options
from nes2net.models.backends.base import Backend
from nes2net.models.backends.frame_backend import FrameBackend
from nes2net.models.frontends.base import Frontend, Layers
from nes2net.models.registry import create_backend, create_frontend

#: The names of the two networks that the detector contains, in the order of their hidden states.
HALVES = ("teacher", "student")
_STUDENT_LAYERS = 6  # default number of transformer layers of a student; an assumption

_SOURCE = (
    'J. Lu et al., "One-class knowledge distillation for spoofing speech detection", ICASSP 2024 (arXiv 2309.08285).'
)


class TeacherStudent(Frontend):
    """The front-ends of a teacher and a student: waveform B×N → the last hidden state of each, B×T×D.

    The teacher is frozen, in eval mode. A recipe names its weights as ``train.task.teacher``; the
    student may start from them.

    Args:
        teacher: name and options of the teacher's front-end.
        student: name and options of the student's front-end. Options without the
            name of a front-end replace options of the teacher's front-end. With null, the student
            has the teacher's front-end with at most 6 transformer layers; the number 6 is an
            assumption.

    Raises:
        InputError: if the frames of teacher and student differ in size or times.

    >>> frontend = TeacherStudent(teacher="wav2vec2_small", student={"encoder_layers": 1})
    >>> [tuple(state.shape) for state in frontend(torch.zeros(2, 16000), layers="all")]
    [(2, 61, 128), (2, 61, 128)]
    """

    source = _SOURCE
    num_layers = 2

    def __init__(
        self,
        *,
        teacher: PartOption = "xlsr_300m",
        student: PartOption | None = None,
    ) -> None:
        super().__init__()
        name, options = _half_options("teacher", teacher, "checkpoint")
        teacher_frontend = create_frontend(name, **options)
        teacher_config = teacher_frontend.config
        # Without options, the student is the teacher with fewer layers. Options without the name of a front-end replace
        # options of the teacher.
        if student is None:
            student = {}
            if teacher_config.get("encoder_layers", 0) > _STUDENT_LAYERS:
                student["encoder_layers"] = _STUDENT_LAYERS
        if not isinstance(student, str) and student.get("name", teacher_config["name"]) == teacher_config["name"]:
            student = {**teacher_config, **student}
        name, options = _half_options("student", student, "checkpoint")
        student_frontend = create_frontend(name, **options)
        # Mean hidden states are compared, so frames must be equal in size and time.
        teacher_weight = next(teacher_frontend.parameters(), None)
        student_weight = next(student_frontend.parameters(), None)
        if (teacher_weight is None) != (student_weight is None):
            owner = "student" if teacher_weight is None else "teacher"
            raise InputError(f"only the front-end of the {owner} has weights: use front-ends of one kind for both")
        for fact in ("out_dim", "hop_length", "min_samples", "used_samples", "pre_emphasis"):
            of_teacher = getattr(teacher_frontend, fact)
            of_student = getattr(student_frontend, fact)
            if of_teacher != of_student:
                raise InputError(
                    f"teacher and student must give frames of one size at the same times, but {fact} is {of_teacher} for "
                    f"the teacher and {of_student} for the student: give both the same options except the number of layers"
                )
            setattr(self, fact, of_teacher)
        # The module is called ``model``, because in published checkpoints the names of a front-end's tensors begin with
        # this word.
        self.model = nn.ModuleDict({"teacher": teacher_frontend.requires_grad_(False), "student": student_frontend})
        self.config = {"name": "teacher_student", "teacher": teacher_config, "student": student_frontend.config}
        self.full_precision = teacher_frontend.full_precision
        self.num_unused = teacher_frontend.num_unused + student_frontend.num_unused
        self.train()

    def train(self, mode: bool = True) -> TeacherStudent:
        super().train(mode)
        self.model["teacher"].eval()
        return self

    def forward(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]:
        """Compute the last hidden states of ``waveform`` B×N, as a list of tensors B×T×D.

        Args:
            layers: ``"all"`` gives the teacher's last state, then the student's; ``"last"`` only
                the student's.
        """
        halves = HALVES if layers == "all" else HALVES[1:]
        return [self.model[half](waveform, "last", final_norm)[-1] for half in halves]

    @property
    def transformer_layers(self) -> Sequence[nn.Module]:
        """The student's transformer layers; the teacher's are never trained."""
        student = self.model["student"]
        assert isinstance(student, Frontend)  # tells mypy the type, because a ModuleDict may hold any module
        return student.transformer_layers

    @property
    def after_layers(self) -> Sequence[nn.Module]:
        student = self.model["student"]
        assert isinstance(student, Frontend)
        return student.after_layers

    def compile(self, *args: Any, **options: Any) -> None:
        for half in self.model.values():
            half.compile(*args, **options)


class OneClassDistillation(Backend):
    """One-class distillation: a student, trained on bona fide speech only, imitates a teacher trained on both classes.

    Hidden states of teacher and student, B×T×``feature_dim`` each → logits (−s, s), B×2. The score
    s is the mean of two cosines: between the hidden states' means over time, and between the
    embeddings of the back-ends, whose last layers are removed. Using both, with equal weights, is
    an assumption. The teacher's back-end is frozen, in eval mode. The front-end must be
    ``teacher_student``.

    Args:
        feature_dim: size of a hidden state, D; the front-end's ``out_dim``.
        backend: name and options of the back-end, the same for teacher and student.
        frontend_level: whether to compare the hidden states, too. If false, s is the cosine between
            the embeddings alone. Choose false for front-ends without weights, such as ``lps``:
            teacher and student then have equal hidden states.
        num_logits: number of logits, always 2.

    Raises:
        InputError: if the back-end reads several hidden states, or has no last layer of its own.

    >>> backend = OneClassDistillation(feature_dim=64, backend={"name": "nes2net_x", "nes_ratio": [4, 4]})
    >>> backend([torch.randn(2, 50, 64), torch.randn(2, 50, 64)]).shape
    torch.Size([2, 2])
    """

    source = _SOURCE
    wants_layers = "all"
    num_states = 2
    score_rule = "cosine"
    last_layer_name = "similarity"

    def __init__(
        self,
        *,
        feature_dim: Size = 1024,
        backend: PartOption = "nes2net_x",
        frontend_level: bool = True,
        num_logits: Annotated[int, Field(ge=2, le=2), Takes("2, the negative and the positive similarity")] = 2,
    ) -> None:
        super().__init__(feature_dim)
        self.frontend_level = frontend_level
        name, options = _half_options("backend", backend, "feature_dim")
        self.teacher, self.student = (create_backend(name, feature_dim=feature_dim, **options) for _ in HALVES)
        if self.student.wants_layers == "all" or not self.student.last_layer_name:
            why = "reads all hidden states" if self.student.wants_layers == "all" else "has no last layer of its own"
            raise InputError(f"back-end '{name}' {why}: choose one that embeds only the last state")
        if isinstance(self.student, FrameBackend) and self.student.utterance == "min":
            raise InputError(
                f"back-end '{name}' with `model.backend.backend.utterance=min` embeds by the logits of a last layer: use another "
                "`model.backend.backend.utterance`"
            )
        for half in (self.teacher, self.student):
            half.replace_last_layer(nn.Identity())
        self.teacher.requires_grad_(False)
        self.wants_final_norm = self.student.wants_final_norm
        self.receptive_field = self.student.receptive_field
        self.min_frames = self.student.min_frames
        self.max_frames = self.student.max_frames
        self.fixed_frames = self.student.fixed_frames
        self.similarity = Similarity([feature_dim] if frontend_level else [])
        self.train()

    def train(self, mode: bool = True) -> OneClassDistillation:
        super().train(mode)
        self.teacher.eval()
        return self

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        """Compute embeddings B×2E: E numbers of the teacher, then E of the student.

        E is the back-end's embedding, after the state's mean over time (D) if ``frontend_level``.
        No gradients flow to the teacher.
        """
        self.check_hidden_states(features)
        # ``features`` are the teacher's state and the student's, B×T×D each.
        levels = [self._levels(half, state) for half, state in zip((self.teacher, self.student), features)]
        return torch.cat([*(level.detach() for level in levels[0]), *levels[1]], dim=1)

    def _levels(self, half: Backend, state: Tensor) -> list[Tensor]:
        embedding = half.embed(state)  # B×E
        if not self.frontend_level:
            return [embedding]
        return [state.mean(1).to(embedding.dtype), embedding]  # B×D and B×E


class Similarity(nn.Module):
    """Compute the similarity s of teacher and student from their embeddings, B×2E, as logits (−s, s), B×2.

    Each half of an embedding consists of one or two vectors, called levels. s is the mean of the
    levels' cosines.

    Args:
        first_sizes: sizes of all levels except the last.
    """

    def __init__(self, first_sizes: Sequence[int]) -> None:
        super().__init__()
        self.first_sizes = list(first_sizes)  # of all levels but the last, whose size is the rest

    def levels(self, embeddings: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Split ``embeddings`` B×2E into a pair (teacher, student) per level, in at least float32."""
        size = embeddings.shape[1] // 2
        sizes = [*self.first_sizes, size - sum(self.first_sizes)]
        teacher, student = (half.split(sizes, dim=1) for half in at_least_float32(embeddings).split(size, dim=1))
        return list(zip(teacher, student))

    def forward(self, embeddings: Tensor) -> Tensor:
        with without_autocast(embeddings.device):
            normal = [[F.normalize(half, dim=1) for half in level] for level in self.levels(embeddings)]
            cosines = [(teacher * student).sum(dim=1) for teacher, student in normal]  # (B,) each
            similarity = torch.stack(cosines, dim=1).mean(dim=1, keepdim=True)  # B×1
            return torch.cat([-similarity, similarity], dim=1)


def _half_options(option: str, value: str | Options, reserved: str) -> tuple[str, Options]:
    name, options = name_and_options({option: value}, option, reserved=(reserved,), owner=f"`{option}`")
    if name in ("teacher_student", "one_class_distillation"):
        raise InputError(
            f"`{option}` is '{name}': a teacher or student cannot itself be made of teacher and student: name another part"
        )
    return name, options
