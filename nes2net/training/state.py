"""The state of a run in ``resume.pt``, which can resume at any optimisation step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from nes2net.data.augment.legacy import LegacyStream
from nes2net.data.corpora.trial import Trial, trials_digest
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.lib.parts.registry import PACKAGES_KEY
from nes2net.lib.web.remote import changed_file
from nes2net.models.checkpoints.base import base_names, trained_tensors
from nes2net.models.checkpoints.state_dict import compare, save_atomically
from nes2net.training.balance import Balance
from nes2net.training.dataset import Examples, Tensors
from nes2net.training.objective import Objective
from nes2net.training.recipes.recipe import Recipe, flatten
from nes2net.training.resume_file import REMEDY, RESUME_FILE, VERSION, Fingerprint, Progress, ResumeContent
from nes2net.training.sampling import count_steps
from nes2net.training.selection import Selection


@dataclass
class SavedTensors:
    """Tensors by name, which are restored in place."""

    state_dict: Callable[[], Tensors]

    def load_state_dict(self, state: Tensors) -> None:
        tensors = self.state_dict()
        check_tensors(state, tensors)
        for name, tensor in tensors.items():
            tensor.copy_(state[name])


@dataclass
class OptimizerState:
    """An optimiser, of which only the moments are restored; each step sets the learning rate."""

    optimizer: Optimizer

    def state_dict(self) -> dict[str, object]:
        return {"state": self.optimizer.state_dict()["state"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Check the moments in ``state``, and restore them; on the CPU as copies of the mapped file."""
        names = ["exp_avg", "exp_avg_sq"]
        if self.optimizer.defaults["amsgrad"]:
            names.append("max_exp_avg_sq")
        moments_by_number = state["state"]
        parameters = parameters_of(self.optimizer)
        expected: dict[str, Tensor] = {}
        for number, parameter in enumerate(parameters):
            if number in moments_by_number:  # a parameter without a gradient so far has no moments
                expected |= {f"{number}.{name}": parameter for name in names}
                expected[f"{number}.step"] = torch.zeros(())
        saved: dict[str, Any] = flatten(moments_by_number)
        check_tensors(saved, expected)
        for name, tensor in saved.items():
            is_too_high = name.endswith(".step") and (tensor > 1e9).any()
            if is_too_high or (not name.endswith(".exp_avg") and (tensor < 0).any()):
                raise ValueError(f"impossible value: {name}")
        if not parameters[0].is_cuda:  # loading keeps tensors, which are mapped from the file, unless it moves them
            moments_by_number = tree_map_only(Tensor, torch.clone, moments_by_number)
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments_by_number})


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    return list(chain.from_iterable(group["params"] for group in optimizer.param_groups))


def check_tensors(state: Tensors, expected: Tensors) -> None:
    """Check that tensors have the names, shapes and types of ``expected``, and finite values.

    A value may be infinite or NaN where an ``expected`` tensor has such values.

    Raises:
        ValueError: if ``state`` does not fit.
    """
    if misfit := str(compare(state, expected, exact_types=True)):
        raise ValueError(misfit)
    infinite = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    damaged = [name for name in infinite if expected[name].isfinite().all()]
    if damaged:
        raise ValueError(f"not finite: {join_names(damaged, 5)}")


def check_all_saved(optimizer: Optimizer, objective: Objective) -> None:
    """Raise InputError if ``optimizer`` changes a tensor that ``resume.pt`` does not hold."""
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    tensors = objective.detector.state_dict(keep_vars=True)
    base_ids = {id(tensors[name]) for name in base_names(objective.detector)}
    unsaved_parameters = [p for p in parameters_of(optimizer) if id(p) in base_ids or id(p) not in names]
    unsaved = [names.get(id(p), f"one of {tuple(p.shape)}") for p in unsaved_parameters]
    if unsaved:
        freezes = ", and remove the weights that `train.adapt` freezes" if base_ids else ""
        raise InputError(
            f"{type(objective).__name__}.trained_parameters has tensors that {RESUME_FILE} does not hold, "
            f"{join_names(unsaved, 5)}: make them parameters or submodules (nn.Parameter, nn.ModuleList){freezes}"
        )


@dataclass
class RunState:
    """The parts of a run that have a state, with :meth:`save` and :meth:`load`.

    Raises:
        InputError: if the optimiser changes a tensor that no part saves.
    """

    recipe: Recipe
    #: :func:`fingerprint` of the training set and of the development set
    data: dict[str, Fingerprint]

    objective: Objective
    optimizer: Optimizer
    selection: Selection
    #: the GradScaler of fp16; None for other precisions
    scaler: Any = None
    #: the stream of ``augment.rng: legacy``; None if each utterance has its own stream
    stream: LegacyStream | None = None
    progress: Progress = field(default_factory=Progress)
    #: address of each remote shard → its size and tag
    shards: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_all_saved(self.optimizer, self.objective)

    @property
    def detector(self) -> Detector:
        return self.objective.detector

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that have a state: key in ``resume.pt`` → part, None for one that this run lacks.

        The state is plain data and tensors; ``load_state_dict`` raises ValueError if it does not
        fit.
        """
        return {
            "detector": SavedTensors(partial(trained_tensors, self.detector)),
            "objective": SavedTensors(self.objective.own_tensors),
            "optimizer": OptimizerState(self.optimizer),
            "scaler": self.scaler,
            "stream": self.stream,
        }

    def save(self) -> None:
        """Replace ``resume.pt`` atomically, and only then remove checkpoints that are no longer kept."""
        content: dict[str, object] = {
            "version": VERSION,
            "recipe": self.recipe.to_dict(),
            "data": self.data,
            "shards": self.shards,
            "model": self.detector.config,
            "started_from": [start.to_dict() for start in self.detector.provenance.started_from],
            "selection": self.selection.history,
            "progress": self.progress.state_dict(),
            "devices": self.detector.provenance.training.get("devices", []),
            PACKAGES_KEY: self.detector.provenance.facts.get(PACKAGES_KEY, {}),
        }
        if self.detector.base is not None:
            content["base"] = self.detector.base
        for name, stateful in self.parts.items():
            content[name] = None if stateful is None else stateful.state_dict()
        save_atomically(content, self.selection.folder / RESUME_FILE)
        self.selection.remove_files()

    def load(self, content: ResumeContent) -> None:
        """Restore the ``content`` from :func:`nes2net.training.resume_file.read_resume_file`.

        Tensors are copied, because a tensor in use would keep the file mapped.

        Raises:
            InputError: if the trials have changed, or if the content belongs to another run.
        """
        for name, data_set in self.data.items():
            saved = content["data"][name]
            if data_set != saved:
                counts = f"{saved['trials']} then and {data_set['trials']} now"
                raise InputError(
                    f"{self.selection.folder} holds a run on another {name} set ({counts}, or other trials or another "
                    "order): name its corpus and protocols, or give this run a `comment` of its own"
                )
        for address, status in content["shards"].items():
            status_now = self.shards.get(address, status)  # the shards may have moved
            if status_now != status:
                raise changed_file(address, status, status_now)
        self._check_progress(content)
        for name, stateful in self.parts.items():
            if stateful is None:
                continue
            try:
                stateful.load_state_dict(content[name])
            except ValueError as error:
                raise InputError(
                    f"{self.selection.folder / RESUME_FILE} does not fit this run ({name}; {error}): {REMEDY}"
                ) from error
        self.selection.history = content["selection"]
        self.progress = Progress.model_validate(content["progress"])  # its clock starts now

    def _check_progress(self, content: ResumeContent) -> None:
        progress = Progress.model_validate(content["progress"])
        training = self.data["training"]
        batch_size = self.recipe.train.batch_size
        draws = int(training.get("draws", training["trials"]))
        steps = count_steps(draws, batch_size, self.recipe.train.drop_last)
        epochs = self.selection.epochs
        most_utterances = progress.step * batch_size
        too_far = progress.epoch > epochs + 1 or progress.step > steps or progress.utterances > most_utterances
        if too_far or any((stateful is None) != (content[name] is None) for name, stateful in self.parts.items()):
            raise InputError(
                f"{self.selection.folder / RESUME_FILE} does not fit this run, which has {pluralise(epochs, 'epoch')} "
                f"of {pluralise(steps, 'step')} (there epoch {progress.epoch}, step {progress.step}): {REMEDY}"
            )

    @property
    def num_bytes(self) -> int:
        """Approximate size of ``resume.pt`` in bytes, with moments for all parameters."""
        moments = 3 if self.optimizer.defaults.get("amsgrad") else 2
        trained = sum(parameter.nbytes for parameter in parameters_of(self.optimizer))
        tensors = trained_tensors(self.detector) | self.objective.own_tensors()
        return sum(tensor.nbytes for tensor in tensors.values()) + moments * trained


def fingerprint(examples: Examples, balance: Balance | None = None) -> Fingerprint:
    """Identify the trials of ``examples`` by their number, and by a digest of the ids and classes in order.

    A run resumes only if it is unchanged. The digest includes ``labels`` of frames, scores of other
    systems and parts of recordings, but no paths.

    Returns:
        ``trials``, their number, and ``digest``; with a ``balance``, ``draws`` and the digest
        ``groups``.
    """
    trials = examples.trials
    frame_labels = {} if examples.labels is None else examples.labels.of_trial

    def line(trial: Trial) -> str:
        text = f"{trial.id}\t{examples.target(trial)}"
        if trial.system_scores:
            text += f"\t{trial.system_scores}"
        if trial.part is not None:
            text += f"\t{trial.part}"
        if trial.id in frame_labels:
            text += f"\t{sha256(frame_labels[trial.id].tobytes()).hexdigest()}"
        return text

    identity: Fingerprint = {"trials": len(trials), "digest": trials_digest(trials, line)}
    if balance is not None:
        identity |= {"draws": balance.draws, "groups": balance.digest()}
    return identity
