"""The training loop, on one screen: steps over parts and processes, validation, selection, and a state that is saved at any step."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor
from torch.utils.data import DataLoader

from nes2net.config import Recipe
from nes2net.data.dataset import Batch
from nes2net.data.sampling import by_step
from nes2net.errors import InputError
from nes2net.training.distributed import plan_step, sums_over_processes
from nes2net.training.interruption import StopRequests
from nes2net.training.monitor import Monitor, not_finite_error
from nes2net.training.objective import Objective
from nes2net.training.seeding import seed_step
from nes2net.training.state import Progress, RunState
from nes2net.training.validation import Validator

if TYPE_CHECKING:
    from accelerate import Accelerator


class Trainer:
    """Trains from wherever ``state`` is to the end of the recipe; every process does the same, the main one alone writes to ``folder``.

    ``loader`` gives this process's parts of the steps (:class:`nes2net.data.sampling.EpochBatches`).
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        objective: Objective,
        loader: DataLoader,
        validator: Validator,
        state: RunState,
        accelerator: Accelerator,
        monitor: Monitor,
        stop: StopRequests,
    ) -> None:
        self.recipe, self.folder, self.objective, self.loader = recipe, folder, objective, loader
        self.validator, self.state, self.accelerator, self.monitor = validator, state, accelerator, monitor
        self.stop, self.steps_per_epoch = stop, len(loader.batch_sampler)
        self.model = accelerator.prepare_model(objective)  # autocast, DistributedDataParallel
        self.optimizer = accelerator.prepare_optimizer(state.optimizer)  # the GradScaler of fp16

    def fit(self) -> None:
        """The epochs that are left. Signals wait for the end of a step or of what is written; a validation is begun anew."""
        while self.state.progress.epoch < self.recipe.train.epochs and not self.state.selection.should_stop:
            epoch = self.state.progress.epoch
            with self.stop.deferred():
                self.train_epoch(epoch)
            values = {"loss": self.state.progress.loss, "lr": self.state.scheduler.get_last_lr()[0]}
            if self.validator.due(epoch):
                values |= self.validator.run(epoch)
            with self.stop.deferred():
                self.end_epoch(epoch, values)

    def train_epoch(self, epoch: int) -> None:
        """The steps of ``epoch`` that are left; ends early where a signal came, after a step that all processes have done."""
        progress, sampler = self.state.progress, self.loader.batch_sampler
        if progress.step == self.steps_per_epoch:
            return
        self.objective.begin_training(epoch)
        sampler.epoch, sampler.start = epoch, progress.step
        steps = by_step(self.loader, self.recipe.train.accumulate)
        meter = self.monitor.meter(steps, epoch, progress.step, self.steps_per_epoch)
        saved = time.monotonic()
        for batches in meter:
            due = time.monotonic() - saved >= 60 * self.recipe.train.save_every_minutes
            signal, save = self.train_step(batches, epoch, progress.step, due)
            utterances, last = sum(len(b.targets) for b in batches), progress.step == self.steps_per_epoch
            meter.update(utterances, loss=progress.loss, lr=self.state.scheduler.get_last_lr()[0])
            if last and not progress.utterances:
                raise InputError("not one file of the training set could be used; the lines above name them")
            if signal or save or last:
                self.save()
                saved = time.monotonic()
            if signal:
                self.stop.stop(signal)
        self.monitor.advise(meter)

    def train_step(self, batches: list[Batch], epoch: int, step: int, due: bool) -> tuple[int, bool]:
        """One step down the gradient of Σ numerators / Σ denominators over all parts of all processes.

        Returns the signal by which to stop after it, 0 for none, and whether to save, both as all processes know them.
        """
        accelerator, progress, train = self.accelerator, self.state.progress, self.recipe.train
        seed_step(self.recipe.seed, epoch, step, accelerator.process_index)
        parts = [self.prepare(batch, epoch, step, place) for place, batch in enumerate(batches)]
        weights = [float(self.objective.criterion.weight_of(targets)) for _, targets in parts]
        counts = [len(targets) for _, targets in parts]
        plan = plan_step(accelerator, weights, counts, self.stop.requested, due and accelerator.is_main_process)
        if plan.denominator > 0:
            numerator = 0.0
            for place in plan.used:
                # DistributedDataParallel averages the gradients over processes, after the last part; what is meant is their sum.
                with nullcontext() if place == plan.used[-1] else accelerator.no_sync(self.model):
                    loss: Tensor = self.model(*parts[place], epoch * self.steps_per_epoch + step)
                    accelerator.backward(loss * (accelerator.num_processes / plan.denominator))
                numerator += loss.item()
            loss_of_step = sums_over_processes(accelerator, [numerator])[0] / plan.denominator
            if not math.isfinite(loss_of_step):
                raise not_finite_error(loss_of_step, self.recipe, self.loader, epoch, step)
            if train.max_grad_norm is not None:
                accelerator.clip_grad_norm_(self.model.parameters(), train.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            if not self.optimizer.step_was_skipped:  # as GradScaler does with gradients that are not finite
                self.state.scheduler.step()
            progress.loss_sum += loss_of_step * plan.utterances
            progress.utterances += plan.utterances
        progress.step = step + 1
        return plan.signal, plan.save

    def prepare(self, batch: Batch, epoch: int, step: int, place: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets on the device, mixed where the recipe mixes; none of them where no file could be read."""
        self.monitor.left_out(batch.errors)
        device, rank = self.accelerator.device, self.accelerator.process_index
        waveforms, targets = (t.to(device, non_blocking=True) for t in (batch.waveforms, batch.targets))
        part = place * self.accelerator.num_processes + rank
        return self.objective.mixed(waveforms, targets, epoch, step, part) if len(targets) else (waveforms, targets)

    def end_epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Select, write, report. Cut off anywhere, it is done again with the same results."""
        state, selection, path = self.state, self.state.selection, self.folder / f"epoch_{epoch}.pth"
        state.progress.count_time()
        selection.update(epoch, {**values, "seconds": state.progress.seconds})
        state.progress = Progress(epoch + 1)
        if self.accelerator.is_main_process:
            kept = epoch in selection.kept_epochs()
            if kept:
                state.detector.save(path, recipe=self.recipe.to_dict(), epoch=epoch, **values)
            selection.write_history()
            self.monitor.epoch(epoch, values, path.name if kept else None)
            for file in selection.files_to_remove():
                file.unlink()
        self.save()

    def save(self) -> None:
        if self.accelerator.is_main_process:
            self.state.save(self.folder)
