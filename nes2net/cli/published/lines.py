"""Print the lines that the published `main.py` and `easy_inference_demo.py` print on standard output.

The lines keep their wording, because scripts parse them. Notes of this toolkit go to standard
error. Of several processes, only the first process prints.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import print_output
from nes2net.lib.process.this_process import is_first

if TYPE_CHECKING:
    from nes2net.detector import Detector
    from nes2net.training.averaging import RunAverage
    from nes2net.training.selection import Row


def say(line: str) -> None:
    """Print ``line`` in the first process; do nothing in other processes."""
    if is_first():
        print_output(line)


def print_device(device: str) -> None:
    from nes2net.lib.computing.devices import choose_device  # imported late, because importing torch takes seconds

    say(f"Device: {choose_device(device).type}")


def print_parameters(detector: Detector) -> None:
    """Print how many parameters the whole detector and its front-end have, with the heads of pre-training."""
    from nes2net.lib.computing.module_size import count_numbers  # imported late, because importing torch takes seconds

    num_unused = detector.frontend.num_unused
    say(f"num_params    : {count_numbers(detector.parameters()) + num_unused}")
    say(f"num_params_SSL: {count_numbers(detector.frontend.parameters()) + num_unused}")


def print_average(average: RunAverage) -> None:
    """Print whether checkpoints were averaged now, or whether the average of an earlier run was used.

    If the file holds the average of other checkpoints, the published program uses it anyway. This
    toolkit replaces it, and prints that it did not exist.
    """
    if average.earlier == "used":
        say(f"File '{average.path}' already exists. Model averaging operation skipped.")
        return
    say(f"File '{average.path}' does not exist. Proceeding with the model averaging operation...")
    for checkpoint in average.checkpoints:
        say(f"Model loaded : {checkpoint}")
    say(f"Model loaded average of {len(average.checkpoints)} best models in {average.path}")


def print_evaluation_start(num_trials: int | None) -> None:
    """Print the line for the start of scoring, with the time in UTC, and the number of trials.

    The line for the start says "training", as in the published program.

    Args:
        num_trials: number of trials; None for In-the-Wild, because the published program prints no
            number for this corpus.
    """
    say(f"training started at: {time.strftime('%a, %d %b %Y %I:%M:%S', time.gmtime())}")
    if num_trials is not None:
        say(f"no. of eval trials {num_trials}")


@dataclass
class TrainingLines:
    """The callback that prints the lines of a training run."""

    average: RunAverage | None = None
    """The average that the training starts from, if any."""

    def __call__(self, event: str, facts: Facts, /) -> None:
        if event == "epoch":
            self.print_epoch(facts["state"].selection.history)
        if event != "start":
            return
        state = facts["state"]
        print_parameters(state.detector)
        if self.average is not None:
            print_average(self.average)
        if state.recipe.train.init_from is not None:
            say(f"Model loaded : {state.recipe.train.init_from}")
        say(f"no. of training trials {state.data['training']['trials']}")
        say(f"no. of validation trials {state.data['development']['trials']}")

    def print_epoch(self, history: list[Row]) -> None:
        """Print the losses of the last epoch, the best losses so far, and the time that the epoch took.

        If there was no validation after the epoch, nothing is printed.
        """
        row = history[-1]
        if "val_loss_wo_aug" not in row:
            return
        # The published program validates with and without RawBoost. If RawBoost is off, both losses are the same.
        w_aug = "val_loss_w_aug" if "val_loss_w_aug" in row else "val_loss_wo_aug"
        wo_aug = "val_loss_wo_aug"
        best_w_aug, at_w_aug = _best(history, w_aug)
        best_wo_aug, at_wo_aug = _best(history, wo_aug)
        say(
            f"\n{row['epoch']}: tr_loss {row['loss']:.5f}, -val_loss_w_aug {row[w_aug]:.5f}, -val_loss_wo_aug {row[wo_aug]:.5f}, "
            f"Best loss w/ aug: E{at_w_aug}/{best_w_aug:5f}, Best loss wo aug: E{at_wo_aug}/{best_wo_aug:.5f}"
        )
        say(f"time cost: {row['seconds']}")


def _best(history: list[Row], name: str) -> tuple[float, int]:
    """Of several epochs with the lowest loss the last counts, as in the published program."""
    # Tuples compare by the loss, and then by the negative epoch.
    lowest, negative_epoch = min((row[name], -row["epoch"]) for row in history if name in row)
    return lowest, -negative_epoch
