"""What a person sees of a run: lines, a bar, TensorBoard, a table and a picture. The main process alone shows them.

Results go to standard output and remarks to standard error. With a :class:`RunReporter`, standard output is left to it.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

from torch.utils.data import DataLoader
from tqdm import tqdm

from nes2net.errors import InputError, worded
from nes2net.recipes.recipe import Recipe
from nes2net.training.curves import plot_curves
from nes2net.training.progress import Meter, advice
from nes2net.training.selection import Row, Selection

if TYPE_CHECKING:
    from nes2net.detector import Detector

CURVES_FILE = "curves.png"
_DRAW_EVERY = 60.0  # seconds at least, which drawing takes about one of

T = TypeVar("T")


class RunReporter(Protocol):
    """Prints a run on standard output in the lines of another program. The main process alone calls it."""

    def started(self, detector: Detector, checkpoint: str | None, num_training: int, num_development: int) -> None:
        """Training of so many trials begins; ``checkpoint`` is the file that the whole detector was read from, if it was."""

    def epoch_ended(self, history: list[Row]) -> None:
        """An epoch has ended, the last one of ``history``."""


class Monitor:
    """Reports a run of ``recipe`` in ``folder``; leaving it draws the curves and closes TensorBoard's log, ``{logs}/{tag}``.

    Args:
        selection: has the history of the run.
        shown: False on processes other than the main one, which say no more than which files they cannot read.
        reporter: prints the run in the lines of another program, and is then alone on standard output.
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
        self.writer = None
        self._bad_files: set[str] = set()
        self._advised = False
        self._unused = 0
        self._drawn_at, self._is_drawn = time.monotonic(), True

    def open_log(self, first_epoch: int) -> None:
        """Open TensorBoard's log; what an interrupted run wrote of ``first_epoch`` and later is taken back."""
        if self.shown:
            from torch.utils.tensorboard import SummaryWriter

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
            if kind is None:  # a full disk has been told of already
                raise

    def say(self, text: str) -> None:
        """Print a result, or how far the run is."""
        if self.shown:
            tqdm.write(worded(text), file=sys.stdout if self.reporter is None else sys.stderr)

    def remark(self, text: str) -> None:
        """Print what should be known besides."""
        if self.shown:
            tqdm.write(worded(text), file=sys.stderr)

    def left_out(self, errors: Sequence[str]) -> None:
        """Say once which files could not be used, however many epochs; each process reads others."""
        for error in errors:
            if error not in self._bad_files:
                self._bad_files.add(error)
                tqdm.write(f"left out: {error}", file=sys.stderr)

    def not_used(self, utterances: int) -> None:
        """Count utterances that were read and left out of a step, see :func:`nes2net.training.distributed.plan_step`."""
        self._unused += utterances

    def meter(self, steps: Iterable[T], epoch: int, start: int, total: int) -> Meter[T]:
        """The bar of a training pass."""
        title = f"epoch {epoch}/{self.recipe.train.epochs} train"
        return Meter(steps, title=title, total=total, start=start, shown=self.shown)

    def after_training(self, meter: Meter) -> None:
        """Say how many utterances could not be used, and once in a run that it waits for data, where it does, and what to do."""
        if self._unused:
            self.remark(
                f"{self._unused} utterances were left out that could be read: in their part of a step another process had none, the "
                "lines above name its files"
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
        """Training begins: see :class:`RunReporter`."""
        if self.shown and self.reporter is not None:
            self.reporter.started(detector, checkpoint, num_training, num_development)

    def epoch(self, epoch: int, values: dict[str, float], saved: str | None) -> None:
        """A line, TensorBoard's scalars under the published names, and every now and then the curves."""
        parts = [f"{name}: {value:.6f}" for name, value in values.items() if "loss" in name]
        eers = {name: value for name, value in values.items() if name in ("val_eer_w_aug", "val_eer_wo_aug")}
        parts += [f"{name}: {value:.2%}" for name, value in eers.items()]
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
        """All epochs."""
        if self.selection.history:
            self.say(self.selection.table())

    def _draw(self) -> None:
        if self.shown and self.selection.history:
            plot_curves(self.selection.history, self.folder / CURVES_FILE)
            self._drawn_at, self._is_drawn = time.monotonic(), True


def check_finite(loss: float, norm: float, recipe: Recipe, loader: DataLoader, epoch: int, step: int) -> None:
    """Raise :class:`InputError` where the loss of a step or its gradients' norm is no number: where, on which utterances, what to try."""
    if math.isfinite(loss) and math.isfinite(norm):
        return
    what = f"loss is {loss}" if not math.isfinite(loss) else f"gradients' norm is {norm}"
    batches = loader.batch_sampler
    batches.epoch, batches.start = epoch, step
    parts = islice(batches, recipe.train.accumulate)
    names = ", ".join(loader.dataset.trials[index].id for part in parts for _, index in part)
    precision = "`train.precision=bf16` or fp32, " if recipe.train.precision == "fp16" else ""
    raise InputError(
        f"the {what} in epoch {epoch}, step {step} (utterances {names}): try {precision}a lower learning rate than "
        f"{recipe.train.lr} (`train.lr`), or clip the gradients (`train.max_grad_norm`); what is saved is of an earlier step"
    )
