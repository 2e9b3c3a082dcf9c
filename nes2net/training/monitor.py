"""Report a run to the user: in lines, progress, a log, TensorBoard, other trackers and a picture.

Only the main process reports. ``train.log`` gets every line.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import torch

from nes2net.lib.errors import InputError, first_line, one_line, pluralise, with_flag_names
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import RESULTS, log_line, say_aside
from nes2net.training.callback import Callback
from nes2net.training.dataset import BatchLoader
from nes2net.training.measures import Figures
from nes2net.training.progress import Meter, advice
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.run_log import LOG_FILE, RunLog, circumstances
from nes2net.training.selection import Selection
from nes2net.training.tracker import start_tracker

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CURVES_FILE = "curves.png"
_DRAW_EVERY = 60.0  # shortest time in seconds between two pictures; drawing takes about 1 s

T = TypeVar("T")


@dataclass
class TensorBoard:
    """The callback that adds the values of each epoch to TensorBoard's log."""

    writer: SummaryWriter

    def __call__(self, event: str, facts: Facts, /) -> None:
        if event == "epoch":
            for name, value in facts["values"].items():
                self.writer.add_scalar(name, value, facts["epoch"])
            self.writer.flush()
        if event == "end":
            try:
                self.writer.close()
            except OSError:
                if facts["error"] is None:  # raise only if no other error ends the run
                    raise


@dataclass
class Monitor:
    """Reports a run to the user: prints lines, shows progress, writes logs, and draws curves.

    On exit, it draws the curves if needed, and closes the logs.

    Args:
        log: folder of TensorBoard's log.
        shown: True in the main process only; others only name failed files.
        callbacks: called by :meth:`tell`, like the loggers that :meth:`open_logs` adds.
    """

    selection: Selection
    log: Path
    shown: bool = True
    callbacks: Sequence[Callback] = ()

    def __post_init__(self) -> None:
        self.curves = self.selection.folder / CURVES_FILE
        self.run_log = RunLog(self.selection.folder / LOG_FILE)
        self._bad_files: set[str] = set()  # reported ones
        self._advised = False  # whether slow reading was mentioned
        #: utterances of this epoch that were read but not trained on
        self.unused = 0
        #: seconds that the last validation took, for the estimate of the time left
        self.validation_seconds = 0.0
        #: time at which the curves were last drawn, and whether they show all epochs
        self._drawn_at = time.monotonic()
        self._is_drawn = True

    def open_logs(self, first_epoch: int, recipe: Recipe, device: torch.device) -> None:
        """Open the logs, and tell TensorBoard to hide values that an interrupted run logged from ``first_epoch`` on.

        Raises:
            InputError: if TensorBoard's folder cannot be written to, or if the tracker cannot
                start.
        """
        from torch.utils.tensorboard import SummaryWriter  # imported late: a run may be refused before it has logs

        self.run_log.open()
        for line in circumstances(device):
            self.run_log.write(line)
        try:
            # With a random suffix, the name of the log is not known beforehand, so that no link can wait under this
            # name.
            suffix = f".{secrets.token_hex(4)}"
            writer = SummaryWriter(self.log, purge_step=first_epoch, filename_suffix=suffix)
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise InputError(
                f"{self.log} cannot be written to ({error.strerror}): name another folder with `logs`"
            ) from None
        self.callbacks = [*self.callbacks, TensorBoard(writer)]
        if recipe.tracker is not None:
            self.callbacks.append(start_tracker(recipe, self.selection.folder))

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not self._is_drawn or not self.curves.is_file():
            self._draw()
        if error is not None:
            self.run_log.write(one_line(f"ended by {type(error).__name__}: {with_flag_names(first_line(error))}"))
        self.tell("end", {"error": error})
        self.run_log.close()

    def tell(self, event: str, facts: Facts) -> bool:
        """Call all callbacks in the main process; return whether one returned True."""
        return self.shown and any([callback(event, facts) for callback in self.callbacks])

    def meter(self, steps: Iterable[T], epoch: int, total: int, start: int) -> Meter[T]:
        """Make the meter of the training ``steps`` of ``epoch``, which shows the time left for the run.

        Args:
            total: steps of an epoch.
            start: steps done before the run resumed.
        """
        title = f"epoch {epoch} of {self.selection.epochs}"
        later = self.selection.epochs - epoch
        meter = Meter(steps, title=title, unit="step", total=total, start=start)
        meter.later_steps = later * total
        meter.later_seconds = (later + 1) * self.validation_seconds
        return meter

    def say(self, text: str) -> None:
        """Log ``text`` in the main process."""
        if self.shown:
            log_line(text, RESULTS)

    def report_failed_files(self, errors: Sequence[str]) -> None:
        """Print each message about a failed or silent file of this process once in a run."""
        for error in errors:
            if error not in self._bad_files:
                self._bad_files.add(error)
                say_aside(error)

    def after_training(self, meter: Meter, loader: BatchLoader) -> None:
        """Report unused utterances of an epoch; once in a run, advise how to wait less for data."""
        if self.unused and self.shown:
            say_aside(
                f"{pluralise(self.unused, 'readable utterance was', 'readable utterances were')} skipped, because another "
                "process could not read any file of its share of the batch (see above)"
            )
        self.unused = 0
        most_workers = 0 if loader.dataset.augmentation.in_turn else None
        line = advice(
            meter.wait_share,
            loader.num_workers,
            waited=meter.waited,
            cached=loader.dataset.cache is not None,
            most=most_workers,
        )
        if line and not self._advised and self.shown:
            self._advised = True
            say_aside(line)

    def report_epoch(self, epoch: int, values: Figures, saved: str | None) -> None:
        """Print a line about an epoch, and draw the curves, at most once a minute.

        Args:
            saved: name of the checkpoint; None if the epoch is not kept.
        """
        facts = [f"{name}: {value:.6f}" for name, value in values.items() if "loss" in name]
        for measure in self.selection.task_measures:
            if measure.prominent:
                form = ".2%" if measure.percent else ".6f"
                facts += [f"{key}: {values[key]:{form}}" for key in measure.headings([values]) if key in values]
        if saved:
            facts.append(f"saved {saved}")
        self.say(" - ".join([f"epoch {epoch}", *facts]))
        self._is_drawn = False
        if time.monotonic() - self._drawn_at >= _DRAW_EVERY:
            self._draw()

    def _draw(self) -> None:
        if self.shown and self.selection.history:
            from nes2net.training.curves import plot_curves  # imported late, because it needs matplotlib

            selection = self.selection
            kept_epochs = selection.kept_epochs()
            plot_curves(selection.history, self.curves, selection.folder.name, kept_epochs, selection.task_measures)
            self._drawn_at = time.monotonic()
            self._is_drawn = True


def check_finite(loss: float, norm: float, train: TrainConfig, loader: BatchLoader, epoch: int, step: int) -> None:
    """Raise :class:`InputError` if the loss of a step, or the ``norm`` of its gradients, is not finite.

    ``loader`` draws the batches of the step again, so that the message can name its utterances.
    """
    if math.isfinite(loss) and math.isfinite(norm):
        return
    problem = f"gradients' norm is {norm}" if math.isfinite(loss) else f"loss is {loss}"
    loader.begin(epoch, step)
    items = chain.from_iterable(islice(loader.batch_sampler, train.accumulate))
    names = ", ".join(loader.dataset.trials[index].id for _, index, *_ in items)
    precision = "`train.precision=bf16` or fp32, " if train.precision == "fp16" else ""
    raise InputError(
        f"the {problem} in epoch {epoch}, step {step} (utterances {names}): try {precision}a lower learning rate than "
        f"{train.lr} (`train.lr`), or clip the gradients (`train.max_grad_norm`); the last save is of an earlier step"
    )
