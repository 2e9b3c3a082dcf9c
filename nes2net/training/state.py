"""The state of a run in ``resume.pt``, from which it resumes at any optimisation step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nes2net.data.augment.legacy import LegacyStream
from nes2net.data.corpora.trial import Trial, trials_digest
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, counted, listed
from nes2net.models.checkpoints.state_dict import compare, metadata_of, save_atomically, with_metadata
from nes2net.models.provenance import START_KEY
from nes2net.training.balance import Balance
from nes2net.training.dataset import Target, binary_target
from nes2net.training.frame_labels import FrameLabels
from nes2net.training.optimisation import set_learning_rate
from nes2net.training.resume_file import REMEDY, RESUME_FILE, VERSION, Progress
from nes2net.training.selection import Selection


@dataclass
class RunState:
    """The parts of a run that have a state; :meth:`load` restores exactly what :meth:`save` wrote.

    For a detector with an adapted front-end they leave out its frozen tensors, and name their file.
    ``recipe``, as plain data, and ``data`` (:func:`fingerprint` of each part) identify the run.
    There is a ``scaler`` in fp16 only, and a ``stream`` for ``augment.rng: legacy`` only.
    """

    recipe: dict[str, Any]
    data: dict[str, dict[str, int | str]]

    detector: Detector
    optimizer: Optimizer
    selection: Selection
    scaler: Any = None
    stream: LegacyStream | None = None
    progress: Progress = field(default_factory=Progress)

    def content(self) -> dict[str, Any]:
        """Collect plain data and tensors; the tensors are the run's own, not copies."""
        self.progress.count_time()
        return {
            "version": VERSION,
            "recipe": self.recipe,
            "data": self.data,
            "model": self.detector.config,
            "detector": self.detector.trained_state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "selection": self.selection.history,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "stream": self.stream.state() if self.stream else None,
            "progress": self.progress.model_dump(),
            **({} if self.detector.base is None else {"base": self.detector.base}),
            START_KEY: [start.to_dict() for start in self.detector.provenance.started_from],
        }

    def save(self) -> None:
        """Replace ``resume.pt`` as a whole, and only then remove checkpoints not to be kept."""
        save_atomically(self.content(), self.selection.folder / RESUME_FILE)
        self.remove_files()

    def remove_files(self) -> None:
        """Remove checkpoints that are not to be kept; call this once the history is saved."""
        for file in self.selection.files_to_remove():
            file.unlink()

    def load(self, content: dict[str, Any]) -> None:
        """Restore what :func:`nes2net.training.resume_file.read_resume_file` read.

        The file is not kept mapped.

        Raises:
            InputError: if the training or the development trials have changed, or the content
                belongs to another run.
        """
        for part, now in self.data.items():
            if now != (before := content["data"][part]):
                counts = f"{before['trials']} then and {now['trials']} now"
                raise InputError(
                    f"{self.selection.folder} holds a run on another {part} set ({counts}, or other trials or another "
                    "order): name its corpus and protocols, or give this run a `comment` of its own"
                )
        weights, moments = self.detector.trained_state_dict(), content["optimizer"]["state"]
        self._check_tensors("detector", content["detector"], weights)
        # The optimiser's tensors by name: those of the file, and those that its parameters require. Parameters without
        # a gradient so far have none.
        parameters = dict(enumerate(p for group in self.optimizer.param_groups for p in group["params"]))
        names = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if self.optimizer.defaults["amsgrad"] else [])]
        expected = {f"{i}.{name}": parameters[i] for i in moments if i in parameters for name in names}
        expected |= {f"{i}.step": torch.zeros(()) for i in moments if i in parameters}
        found = {f"{i}.{name}": value for i, of in moments.items() for name, value in of.items()}
        self._check_tensors("optimizer", found, expected)
        epoch, step, utterances = (content["progress"][key] for key in ("epoch", "step", "utterances"))
        batch_size, training = self.recipe["train"]["batch_size"], self.data["training"]
        steps = int(training.get("draws", training["trials"])) // batch_size
        too_far = epoch > self.selection.epochs + 1 or step > steps or utterances > step * batch_size
        parts = ((self.scaler, content["scaler"]), (self.stream, content["stream"]))
        if too_far or any((ours is None) != (theirs is None) for ours, theirs in parts):
            raise InputError(
                f"{self.selection.folder / RESUME_FILE} does not fit this run, which has {counted(self.selection.epochs, 'epoch')} "
                f"of {counted(steps, 'step')} (there epoch {epoch}, step {step}): {REMEDY}"
            )
        saved = with_metadata(content["detector"], metadata_of(weights))
        self.detector.load_state_dict(saved, strict=not self.detector.frontend.adapted)  # the base is there
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        for moments in self.optimizer.state.values():
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.device.type == "cpu":  # otherwise it is a copy already
                    moments[name] = value.clone()
        self.selection.history = content["selection"]
        if self.scaler:
            self.scaler.load_state_dict(content["scaler"])
        if self.stream:
            self.stream.load_state(content["stream"])
        self.progress = Progress(**content["progress"])
        set_learning_rate(self.optimizer, self.progress.lr)  # the rest of a group is the recipe's

    def _check_tensors(self, part: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
        """Compare names, shapes and types, and refuse values that are not finite if ours are."""
        problem = str(compare(found, expected))
        if not problem:
            unlike = [name for name, value in found.items() if value.dtype != expected[name].dtype]
            problem = f"other type: {listed(unlike, 5)}" if unlike else ""
        if not problem:
            lost = [n for n, value in found.items() if not value.isfinite().all() and expected[n].isfinite().all()]
            problem = f"not finite: {listed(lost, 5)}" if lost else ""
        if problem:
            raise InputError(
                f"{self.selection.folder / RESUME_FILE} does not fit this run ({part}; {problem}): {REMEDY}"
            )

    @property
    def num_bytes(self) -> int:
        """Approximate size of ``resume.pt`` once the optimiser has its two moments."""
        weights = self.detector.trained_state_dict().values()
        moments = 3 if self.optimizer.defaults.get("amsgrad") else 2
        trained = sum(p.numel() * p.element_size() for group in self.optimizer.param_groups for p in group["params"])
        return sum(t.numel() * t.element_size() for t in weights) + moments * trained


def fingerprint(
    trials: Sequence[Trial],
    labels: FrameLabels | None = None,
    balance: Balance | None = None,
    target: Target = binary_target,
) -> dict[str, int | str]:
    """Tell one list of trials from another by its length and the ids and classes in order, not by where the audio lies.

    If a detector fuses scores of other systems, these count too, and so do ``labels`` of frames, and the
    groups of a ``balance``, with the number of its draws.
    """
    of_trial = {} if labels is None else labels.of_trial

    def line(trial: Trial) -> str:
        scores = f"\t{trial.system_scores}" if trial.system_scores else ""
        frames = f"\t{sha256(of_trial[trial.id].tobytes()).hexdigest()}" if trial.id in of_trial else ""
        return f"{trial.id}\t{target(trial)}{scores}{frames}"

    found: dict[str, int | str] = {"trials": len(trials), "digest": trials_digest(trials, line)}
    if balance is None:
        return found
    return {**found, "draws": balance.draws, "groups": balance.digest()}
