"""The monitor of a run: lines, a bar, TensorBoard, a table and a picture.

Only the main process reports. Results go to standard output and remarks to standard error. A
:class:`RunReporter` has standard output to itself.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from nes2net.detector import Detector
from nes2net.errors import InputError, worded
from nes2net.recipes.recipe import Recipe, TrainConfig
from nes2net.training.curves import plot_curves
from nes2net.training.dataset import BatchLoader
from nes2net.training.progress import Meter, advice
from nes2net.training.selection import Row, Selection

CURVES_FILE = "curves.png"
_DRAW_EVERY = 60.0  # seconds at least; drawing takes about one

T = TypeVar("T")


class RunReporter(Protocol):
    """Prints a run in the lines of another program; only the main process calls it."""

    def started(self, detector: Detector, checkpoint: str | None, num_training: int, num_development: int) -> None:
        """Print that training begins.

        Args:
            checkpoint: file that the whole detector was read from, None if it was not.
            num_training: number of training trials.
            num_development: number of development trials.
        """

    def epoch_ended(self, history: list[Row]) -> None:
        """Print the epoch that has just ended, the last one of ``history``."""


class Monitor:
    """Reports a run of ``recipe`` in ``folder``.

    On exit it draws the curves and closes TensorBoard's log, ``{logs}/{tag}``.

    Args:
        selection: the history of the run.
        shown: False in processes other than the main one; those name unreadable files only.
        reporter: prints the run in the lines of another program, alone on standard output.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        selection: Selection,
        shown: bool = True,
        reporter: RunReporter | None = None,
    ) -> None:
        self.recipe, self.folder, self.selection, self.shown = recipe, folder, selection, shown
        self.reporter = reporter
        self.writer: SummaryWriter | None = None
        self._bad_files: set[str] = set()
        self._advised = False
        self._unused = 0
        self._drawn_at, self._is_drawn = time.monotonic(), True

    def open_log(self, first_epoch: int) -> None:
        """Open TensorBoard's log without what was written before from ``first_epoch`` on."""
        if self.shown:
            folder = Path(self.recipe.logs) / self.recipe.tag
            try:
                self.writer = SummaryWriter(folder, purge_step=first_epoch)
            except (PermissionError, NotADirectoryError, FileExistsError) as error:
                raise InputError(
                    f"{folder} cannot be written to ({error.strerror}): name another folder with `logs`"
                ) from None

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if not self._is_drawn or not (self.folder / CURVES_FILE).is_file():
            self._draw()
        if self.writer is None:
            return
        try:
            self.writer.close()
        except OSError:
            if kind is None:  # otherwise the full disk has been reported already
                raise

    def say(self, text: str) -> None:
        """Print a result, or the state of the run."""
        if self.shown:
            tqdm.write(worded(text), file=sys.stdout if self.reporter is None else sys.stderr)

    def remark(self, text: str) -> None:
        """Print a remark on standard error."""
        if self.shown:
            tqdm.write(worded(text), file=sys.stderr)

    def left_out(self, errors: Sequence[str]) -> None:
        """Name each unusable file once in a run; every process names its own files."""
        for error in errors:
            if error not in self._bad_files:
                self._bad_files.add(error)
                tqdm.write(f"left out: {error}", file=sys.stderr)

    def not_used(self, utterances: int) -> None:
        """Count utterances that were read but left out of a step."""
        self._unused += utterances

    def meter(self, steps: Iterable[T], epoch: int, start: int, total: int) -> Meter[T]:
        """Make the progress bar of a training pass."""
        title = f"epoch {epoch}/{self.recipe.train.epochs} train"
        return Meter(steps, title=title, total=total, start=start, shown=self.shown)

    def after_training(self, meter: Meter) -> None:
        """Report unused utterances, and once in a run how to shorten long waits for data."""
        if self._unused:
            self.remark(
                f"{self._unused} utterances were left out although they could be read: in their part of a step, another "
                "process could read none of its files, which the lines above name"
            )
            self._unused = 0
        if self._advised:
            return
        data = self.recipe.data
        most = 0 if self.recipe.augment.rng == "legacy" else None
        line = advice(meter.wait_share, data.num_workers, waited=meter.waited, cached=data.cache is not None, most=most)
        if line:
            self._advised = True
            self.remark(line)

    def started(self, detector: Detector, checkpoint: str | None, num_training: int, num_development: int) -> None:
        """Report that training begins: see :class:`RunReporter`."""
        if self.shown and self.reporter is not None:
            self.reporter.started(detector, checkpoint, num_training, num_development)

    def epoch(self, epoch: int, values: dict[str, float], saved: str | None) -> None:
        """Report an epoch: a line, TensorBoard's scalars as published, and at times the curves."""
        parts = [f"{name}: {value:.6f}" for name, value in values.items() if "loss" in name]
        parts += [f"{name}: {values[name]:.2%}" for name in ("val_eer_w_aug", "val_eer_wo_aug") if name in values]
        if saved:
            parts.append(f"saved {saved}")
        self.say(" - ".join([f"epoch {epoch}", *parts]))
        if self.reporter is not None:
            self.reporter.epoch_ended(self.selection.history)
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, epoch)
            self.writer.flush()
        self._is_drawn = False
        if time.monotonic() - self._drawn_at >= _DRAW_EVERY:
            self._draw()

    def table(self) -> None:
        """Print the table of all epochs."""
        if self.selection.history:
            self.say(self.selection.table())

    def _draw(self) -> None:
        if self.shown and self.selection.history:
            plot_curves(self.selection.history, self.folder / CURVES_FILE)
            self._drawn_at, self._is_drawn = time.monotonic(), True


def check_finite(loss: float, norm: float, train: TrainConfig, loader: BatchLoader, epoch: int, step: int) -> None:
    """Raise :class:`InputError` if the loss or the gradients' norm of a step is not finite.

    The message names the step and its utterances, and says what to try.
    """
    if math.isfinite(loss) and math.isfinite(norm):
        return
    what = f"loss is {loss}" if not math.isfinite(loss) else f"gradients' norm is {norm}"
    loader.begin(epoch, step)
    parts = islice(loader.batch_sampler, train.accumulate)
    names = ", ".join(loader.dataset.trials[index].id for part in parts for _, index in part)
    precision = "`train.precision=bf16` or fp32, " if train.precision == "fp16" else ""
    raise InputError(
        f"the {what} in epoch {epoch}, step {step} (utterances {names}): try {precision}a lower learning rate than "
        f"{train.lr} (`train.lr`), or clip the gradients (`train.max_grad_norm`); the last save is of an earlier step"
    )
