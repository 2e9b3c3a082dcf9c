"""The training loop: steps in parts on all processes, validation, selection, saving."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from nes2net.lib.computing.devices import QueuedCopy, float32_products
from nes2net.lib.errors import InputError
from nes2net.training.card import with_last_epoch, write_card
from nes2net.training.dataset import Batch, BatchLoader, StepPart
from nes2net.training.distributed import SCORING_PRECISIONS, plan_step, write_once
from nes2net.training.half_weights import half_weights
from nes2net.training.interruption import BY_CALLBACK, StopRequests, stop_without_data
from nes2net.training.measures import Figures
from nes2net.training.monitor import Monitor, check_finite
from nes2net.training.objective import Objective
from nes2net.training.optimisation import count_plateaus, learning_rate_schedule, set_learning_rate
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recorded_step import RecordedStep, known_obstacle
from nes2net.training.sampling import by_step
from nes2net.training.seeding import seed_step
from nes2net.training.state import Progress, RunState
from nes2net.training.task_contract import check_parts_finite
from nes2net.training.validation import Validator, is_due


class _UnreadStep(NamedTuple):
    values: QueuedCopy  # which the device may still be computing: loss and norm of the gradient
    epoch: int
    step: int
    utterances: int
    parts: Sequence[StepPart]


@dataclass
class Trainer:
    """Trains from ``state`` to the last epoch of the recipe; only the main process writes files."""

    recipe: Recipe
    objective: Objective
    loader: BatchLoader  # each batch of this process is a part of a step (EpochBatches)
    validator: Validator
    state: RunState
    accelerator: Accelerator
    monitor: Monitor
    stop: StopRequests

    def __post_init__(self) -> None:
        self.steps_per_epoch = len(self.loader.batch_sampler)
        self.learning_rate = learning_rate_schedule(self.recipe.train, self.steps_per_epoch)
        self.accelerator.ddp_handler.find_unused_parameters = not self.objective.uses_all_weights
        # Accelerate adds autocast and DDP to the model, and the GradScaler of fp16 to the optimiser.
        self.model = self.accelerator.prepare_model(self.objective)
        self.optimizer = self.accelerator.prepare_optimizer(self.state.optimizer)
        self.half_weights = half_weights(self.objective.detector, self.recipe.train.precision)
        self.unread: _UnreadStep | None = None
        obstacle = known_obstacle(self.recipe, self.objective, self.accelerator)
        self.recorded_step = RecordedStep(self.change_weights, self.monitor.say, obstacle)

    def fit(self) -> None:
        """Train, validate and save the remaining epochs; a signal takes effect after a step or a save."""
        while not self.state.selection.is_done:
            epoch = self.state.progress.epoch
            with (
                self.stop.defer("the end of this step, and a save"),
                float32_products(SCORING_PRECISIONS[self.recipe.train.precision]),
            ):
                self.train_epoch(epoch)
            values = {"loss": self.state.progress.loss, "lr": self.state.progress.lr}
            if is_due(epoch, self.recipe.train, self.recipe.validation):
                values |= self.validator.run(epoch, self.recorded_step.is_recordable)
                self.tell("validation", epoch=epoch, values=values)
            with self.stop.defer("a save"):
                self.end_epoch(epoch, values)

    def tell(self, event: str, **facts: Any) -> None:
        """Call the callbacks, and stop the run if one returns True."""
        if self.monitor.tell(event, {"state": self.state, **facts}):
            self.stop.requested = self.stop.requested or BY_CALLBACK

    def train_epoch(self, epoch: int) -> None:
        """Do the remaining steps of ``epoch``, or up to a signal.

        The run is also saved every ``train.save_every_minutes`` and after the last step.

        Raises:
            InputError: if no step was computed, because some process always had no usable file.
        """
        progress = self.state.progress
        if progress.step == self.steps_per_epoch:
            return
        self.objective.begin_training(epoch)
        self.loader.begin(epoch, progress.step)
        steps = by_step(self.loader, self.recipe.train.accumulate)
        meter = self.monitor.meter(steps, epoch, self.steps_per_epoch, progress.step)
        saved_at = time.monotonic()
        for batches in meter:
            save_is_due = time.monotonic() - saved_at >= 60 * self.recipe.train.save_every_minutes
            utterances_before = progress.utterances
            signal, must_save = self.train_step(batches, epoch, progress.step, save_is_due)
            is_last_step = progress.step == self.steps_per_epoch
            must_save |= bool(signal) or is_last_step
            if must_save:
                self.read_result()
            loss = progress.loss or None  # 0 until the result of the first step has been read
            meter.update(progress.utterances - utterances_before, loss=loss, lr=progress.lr)
            if is_last_step and not progress.utterances:
                raise InputError(
                    "each step lacked a usable file in some process: correct or replace the files named above"
                )
            if must_save:
                write_once(self.accelerator, self.state.save)
                saved_at = time.monotonic()
            if signal:
                self.stop.stop(signal)
        self.recorded_step.forget()  # validation needs the memory, and the next epoch may train other layers
        self.monitor.after_training(meter, self.loader)

    def train_step(self, batches: list[Batch], epoch: int, step: int, save_is_due: bool) -> tuple[int, bool]:
        """Do an optimisation step.

        Args:
            batches: this process's batches, one for each part of the gradient accumulation.
            save_is_due: counts only in the main process.

        Returns:
            The number of the signal that stops the run, 0 for none; and whether to save now. All
            processes return the same.

        Raises:
            Unfinished: if a file cannot be read at present, or if no process can use any file of
                the step; no weight has changed.
            InputError: if the loss or the gradient of the step before is not finite.
        """
        accelerator = self.accelerator
        progress = self.state.progress
        seed_step(self.recipe.seed, epoch, step, accelerator.process_index)
        progress.lr = self.learning_rate(self.iteration(epoch, step)) * self.plateau_factor()
        set_learning_rate(self.state.optimizer, progress.lr)
        step_parts, denominators_of_parts = zip(
            *(self.prepare_part(batch, epoch, step, number) for number, batch in enumerate(batches))
        )
        lost_files = list(chain.from_iterable(batch.lost for batch in batches))
        save_is_due = save_is_due and accelerator.is_main_process
        counts = [len(batch.part.targets) for batch in batches]
        # The processes exchange numbers here: each must call this, also without data.
        plan = plan_step(accelerator, denominators_of_parts, counts, self.stop.requested, save_is_due, len(lost_files))
        if plan.lost or not plan.utterances + plan.unused:
            stop_without_data(lost_files, f"epoch {epoch}, step {step}")
        self.monitor.unused += plan.unused
        denominators = torch.tensor(plan.denominators, dtype=torch.float64)
        if denominators.any():
            denominators[denominators == 0] = math.inf  # a term without samples then adds 0
            used_parts = [step_parts[number] for number in plan.used]
            values = self.recorded_step(used_parts, denominators.to(accelerator.device, non_blocking=True))
            queued = QueuedCopy(values)
            self.read_result()  # of the step before: the GPU computes this step meanwhile
            self.unread = _UnreadStep(queued, epoch, step, plan.utterances, step_parts)
        progress.step = step + 1
        return plan.signal, plan.save

    def prepare_part(self, batch: Batch, epoch: int, step: int, number: int) -> tuple[StepPart, list[float]]:
        """Move one part of a step to the device, and mix its examples; report failed files.

        Args:
            number: index among this process's parts of the step.

        Returns:
            The part, empty if none of its files could be used; and the denominators of its terms.
        """
        self.monitor.report_failed_files(batch.errors)
        targets = batch.part.targets
        extra_tensors = self.objective.prepare_extra_tensors(batch.part.extra_tensors, batch.part.inputs.shape[1])
        step_part = batch.part._replace(extra_tensors=extra_tensors, iteration=self.iteration(epoch, step))
        step_part = step_part.to(self.accelerator.device)
        if len(targets):
            number_in_step = number * self.accelerator.num_processes + self.accelerator.process_index
            step_part, targets = self.objective.mix(step_part, targets, epoch, step, number_in_step)
        return step_part, self.objective.denominators(targets, extra_tensors)

    def iteration(self, epoch: int, step: int) -> int:
        return (epoch - 1) * self.steps_per_epoch + step

    def read_result(self) -> None:
        """Wait for the result of the last step, check it, and add it to the progress.

        Called once the next step has queued its work, so that a GPU never waits.

        Raises:
            InputError: if the loss or the gradient is not finite; that step has changed no weight.
        """
        if self.unread is None:
            return
        unread = self.unread
        self.unread = None
        loss, gradient_norm = unread.values.wait().tolist()
        if not math.isfinite(loss):
            check_parts_finite(self.validator.task, self.objective, unread.parts)
        check_finite(loss, gradient_norm, self.recipe.train, self.loader, unread.epoch, unread.step)
        self.state.progress.loss_sum += loss * unread.utterances
        self.state.progress.utterances += unread.utterances
        self.tell("step", epoch=unread.epoch, step=unread.step, loss=loss)

    def change_weights(self, parts: Sequence[StepPart], denominators: Tensor) -> Tensor:
        """Change the weights by one optimisation step; no operation waits for a GPU.

        Nothing changes if the loss or the gradient is not finite; on a GPU, the optimiser's kernel
        checks it.

        Args:
            denominators: of each term of the loss over the whole step, float64 on the device;
                infinite for a term without samples.

        Returns:
            The loss of the step and the norm of its gradient, (2,) in float64 on the device.
        """
        loss = self.backward(parts, denominators)
        values = torch.stack([loss, self.gradient_norm().to(loss)])
        if self.accelerator.scaler is None:
            is_finite = values.isfinite().all()
            if self.state.optimizer.defaults["fused"]:
                self.state.optimizer.found_inf = (~is_finite).float()  # type: ignore[attr-defined]
            elif not is_finite:
                return values
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return values

    def backward(self, parts: Sequence[StepPart], denominators: Tensor) -> Tensor:
        """Sum the gradients of a step over its parts and all processes; return the loss of the step."""
        accelerator = self.accelerator
        factors = accelerator.num_processes / denominators  # DDP averages gradients, but we want their sum
        sums = torch.zeros_like(denominators)
        with self.half_weights():
            for number, part in enumerate(parts, 1):
                with nullcontext() if number == len(parts) else accelerator.no_sync(self.model):
                    numerators: Tensor = self.model(part)
                    accelerator.backward((numerators * factors.to(numerators)).sum())
                sums += numerators.detach()
        sums = accelerator.reduce(sums, "sum")
        return sum(sums / denominators)

    def gradient_norm(self) -> Tensor:
        """Compute the norm of the gradient, and clip the gradient if the recipe says so."""
        parameters = list(self.model.parameters())
        self.accelerator.unscale_gradients()
        norm = get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        if self.recipe.train.max_grad_norm is not None:
            clip_grads_with_norm_(parameters, self.recipe.train.max_grad_norm, norm)
        if self.accelerator.scaler:  # gradients may be infinite, because the GradScaler skips such steps
            return torch.zeros_like(norm)
        return norm

    def plateau_factor(self) -> float:
        """Compute the learning-rate factor: ½ per plateau of the development loss."""
        losses = [row["val_loss_wo_aug"] for row in self.state.selection.history if "val_loss_wo_aug" in row]
        return 0.5 ** count_plateaus(losses, self.recipe.train.plateau_patience)

    def end_epoch(self, epoch: int, values: Figures) -> None:
        """Add the epoch to the history, save its checkpoint, and report it; then remove old checkpoints.

        Args:
            values: by their keys in the history.
        """
        state = self.state
        selection = state.selection
        path = selection.folder / f"epoch_{epoch}.pth"
        state.progress.count_time()
        selection.update(epoch, {**values, "seconds": state.progress.seconds})
        state.progress = Progress(epoch=epoch + 1)
        is_kept = epoch in selection.kept_epochs()

        def write() -> None:
            if is_kept:
                state.detector.provenance = with_last_epoch(state.detector.provenance, selection)
                record = state.detector.provenance.to_dict() | {
                    "recipe": state.recipe.to_dict(),
                    "epoch": epoch,
                    **values,
                }
                state.detector.save(path, **record)
            # A run that is interrupted before state.save() repeats all of write().
            selection.write_history()
            if (described := selection.described_checkpoint()) is not None:
                write_card(selection.folder, described)
            self.monitor.report_epoch(epoch, values, path.name if is_kept else None)
            state.save()
            self.tell("epoch", epoch=epoch, values=values)  # last, because a slow server delays it

        write_once(self.accelerator, write)
