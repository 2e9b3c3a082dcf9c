"""The training loop: one epoch of Adam steps, two passes over the development set, a checkpoint where either improved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from nes2net.checkpoint import save_atomically
from nes2net.config import Recipe
from nes2net.data.dataset import Batch
from nes2net.detector import Detector
from nes2net.errors import InputError
from nes2net.training.objective import Objective

#: Development losses by which checkpoints are kept: with RawBoost and without, as in the published tables.
LOSSES = ("val_loss_w_aug", "val_loss_wo_aug")
SCHEDULES = ("constant", "cosine", "inverse_sqrt")


class Trainer:
    """Holds the state of a run. ``fit`` trains to the last epoch; ``state`` and ``load_state`` are what a resumed run needs."""

    def __init__(
        self,
        detector: Detector,
        recipe: Recipe,
        folder: Path,
        train: DataLoader,
        dev_augmented: DataLoader,
        dev: DataLoader,
    ) -> None:
        self.detector, self.recipe, self.folder = detector, recipe, folder
        self.train_loader = train
        self.dev_loaders = dict(zip(LOSSES, (dev_augmented, dev)))
        self.device = detector.device
        self.objective = Objective(recipe, detector, len(train))
        # Adam with L2 decay, not AdamW, over everything: the front-end is fine-tuned whole (recipe of arXiv 2504.05657).
        self.optimizer = torch.optim.Adam(
            detector.parameters(),
            lr=recipe.train.lr,
            weight_decay=recipe.train.weight_decay,
            betas=_betas(recipe.train.adam_betas),
            eps=recipe.train.adam_eps,
            amsgrad=recipe.train.amsgrad,
        )
        if recipe.train.schedule not in SCHEDULES:
            raise InputError(f"schedule is one of {', '.join(SCHEDULES)}, not '{recipe.train.schedule}'")
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._learning_rate_factor)
        self.epoch = 0  # finished epochs
        self.best = dict.fromkeys(LOSSES, math.inf)
        self.bad_files: set[str] = set()

    def fit(self) -> None:
        """Train the epochs that are left."""
        from torch.utils.tensorboard import SummaryWriter

        epochs = self.recipe.train.epochs
        if self.epoch >= epochs:
            tqdm.write(f"{self.folder} is trained already, {epochs} epochs")
            return
        if self.epoch:
            tqdm.write(f"going on in {self.folder} after epoch {self.epoch - 1}")
        with SummaryWriter(Path(self.recipe.logs) / self.recipe.tag, purge_step=self.epoch) as writer:
            for epoch in range(self.epoch, epochs):
                values = {"loss": self.train_epoch(epoch)}
                values |= {name: self.validate(loader, epoch, name) for name, loader in self.dev_loaders.items()}
                kept = self._keep(epoch, values)
                for name, value in values.items():
                    writer.add_scalar(name, value, epoch)
                losses = " - ".join(f"{name}: {value:.6f}" for name, value in values.items())
                tqdm.write(f"epoch {epoch} - {losses}{f' - saved {kept}' if kept else ''}")

    def train_epoch(self, epoch: int) -> float:
        """One pass over the training set; returns Σ(batch loss × batch size) / number of utterances."""
        # Dropout draws from a stream of (seed, epoch): a resumed run and an uninterrupted one are the same.
        torch.manual_seed(self.recipe.seed + 1_000_003 * (epoch + 1))
        self.detector.train()
        total, count = 0.0, 0
        bar = self._progress(self.train_loader, epoch, "train")
        for step, batch in enumerate(bar):
            waveforms, targets = self._to_device(batch)
            if not len(targets):
                continue
            loss = self.objective.training_loss(waveforms, targets, epoch, step)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if self.recipe.train.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(self.detector.parameters(), self.recipe.train.max_grad_norm)
            self.optimizer.step()
            self.scheduler.step()
            total, count = total + loss.item() * len(targets), count + len(targets)
            if not math.isfinite(total):
                raise InputError(
                    f"the loss is {loss.item()} in epoch {epoch}: lower the learning rate ({self.recipe.train.lr})"
                )
            bar.set_postfix(loss=f"{total / count:.4f}", lr=f"{self.scheduler.get_last_lr()[0]:.2e}", refresh=False)
        return self._mean(total, count, "training")

    @torch.no_grad()
    def validate(self, loader: DataLoader, epoch: int, name: str) -> float:
        """Mean loss over the development set as published: the weighted mean of each batch, averaged by batch size."""
        self.detector.eval()
        total, count = 0.0, 0
        bar = self._progress(loader, epoch, name)
        for batch in bar:
            waveforms, targets = self._to_device(batch)
            if not len(targets):
                continue
            total += self.objective.validation_loss(waveforms, targets).item() * len(targets)
            count += len(targets)
            bar.set_postfix(loss=f"{total / count:.4f}", refresh=False)
        return self._mean(total, count, "development")

    def state(self) -> dict[str, Any]:
        return {
            "model": self.detector.config,
            "detector": self.detector.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
            "best": self.best,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.detector.load_state_dict(state["detector"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.epoch, self.best = state["epoch"], state["best"]

    def _keep(self, epoch: int, values: dict[str, float]) -> str | None:
        """Save ``epoch_{n}.pth`` where a development loss is at most its best so far, then what a resumed run needs."""
        improved = [name for name in LOSSES if values[name] <= self.best[name]]
        self.best |= {name: values[name] for name in improved}
        path = self.folder / f"epoch_{epoch}.pth"
        if improved:
            self.detector.save(path, recipe=self.recipe.to_dict(), epoch=epoch, **values)
        self.epoch = epoch + 1
        save_atomically(self.state(), self.folder / "resume.pt")
        return path.name if improved else None

    def _learning_rate_factor(self, step: int) -> float:
        train = self.recipe.train
        if train.schedule == "inverse_sqrt":  # Vaswani et al., 2017: step^−0.5 after the warm-up, 1 at its end
            peak = max(1, train.warmup_steps)
            return min((step + 1) / peak, (peak / (step + 1)) ** 0.5)
        steps = max(1, train.epochs * len(self.train_loader))
        warmup = min(1.0, (step + 1) / (train.warmup_steps + 1))
        return warmup * (0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))) if train.schedule == "cosine" else 1.0)

    def _progress(self, loader: DataLoader, epoch: int, name: str) -> tqdm:
        loader.sampler.epoch = epoch
        last = self.recipe.train.epochs - 1
        return tqdm(
            loader, desc=f"epoch {epoch}/{last} {name}", unit="batch", leave=False, dynamic_ncols=True, mininterval=0.5
        )

    def _to_device(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        for error in batch.errors:
            if error not in self.bad_files:  # said once, however many epochs
                tqdm.write(f"left out: {error}")
                self.bad_files.add(error)
        return batch.waveforms.to(self.device, non_blocking=True), batch.targets.to(self.device, non_blocking=True)

    def _mean(self, total: float, count: int, part: str) -> float:
        if not count:
            raise InputError(f"not one file of the {part} set could be used; the errors above name them")
        return total / count


def _betas(betas: list[float]) -> tuple[float, float]:
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise InputError(f"adam_betas are two numbers from 0 to below 1, not {betas}")
    return betas[0], betas[1]
