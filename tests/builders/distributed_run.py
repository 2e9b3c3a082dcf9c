"""Train recipes one after the other in processes of torchrun, each in its trouble.

Notes how each run ended in each process, and what each process wrote.
"""

import errno
import json
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from nes2net.recipes.reading import load_recipe
from nes2net.training import loop
from nes2net.training.run import train

RANK = int(os.environ.get("RANK", "0"))
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@contextmanager
def trouble(kind, recipe):
    """Cause trouble of ``kind`` while a recipe trains.

    ``step`` and ``validation`` send a signal to the second process alone, in the second epoch.
    ``full`` fills the disk at the end. ``lost`` takes a recording from the second process in a step.
    ``elsewhere`` hides the run folder from the second process.
    """

    def terminate():
        if RANK == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def seed_step(seed, epoch, step, rank):
        if (epoch, step) == (2, 0):
            terminate()
        before[0](seed, epoch, step, rank)

    def validate(self, epoch):
        if epoch == 2:
            terminate()
        return before[1](self, epoch)

    def save(self):
        if (self.progress.epoch, self.progress.step) == (3, 0):
            raise OSError(errno.ENOSPC, "", str(self.selection.folder / "resume.pt"))
        before[2](self)

    def train_step(self, batches, epoch, step, due):
        if RANK == 1 and (epoch, step) == (2, 1):
            batches = [batch._replace(lost=["a.flac is not there any more"]) for batch in batches]
        return before[3](self, batches, epoch, step, due)

    before = loop.seed_step, loop.Validator.run, loop.RunState.save, loop.Trainer.train_step
    if kind == "step":
        loop.seed_step = seed_step
    elif kind == "validation":
        loop.Validator.run = validate
    elif kind == "full":
        loop.RunState.save = save
    elif kind == "lost":
        loop.Trainer.train_step = train_step
    elif kind == "elsewhere" and RANK == 1:
        recipe.output += "_elsewhere"
    try:
        yield
    finally:
        loop.seed_step, loop.Validator.run, loop.RunState.save, loop.Trainer.train_step = before


def main(folder: str, runs: list[str]) -> None:
    ended, written = [], []

    def watch(event, arguments):
        if (event == "open" and arguments[2] & WRITES) or event in ("os.mkdir", "os.rename", "os.remove"):
            written.append(str(arguments[0]))

    sys.addaudithook(watch)
    for run in runs:
        path, _, kind = run.partition("#")
        recipe = load_recipe(path)
        with trouble(kind, recipe):
            try:
                train(recipe, "cpu")
                ended.append("")
            except Exception as error:
                ended.append(f"{type(error).__name__}: {error}")
    backend = dist.group.WORLD._get_backend(torch.device("cpu"))
    patience = backend.options._timeout.total_seconds()
    report = json.dumps({"ended": ended, "written": written, "patience": patience})
    Path(folder, f"rank{RANK}.json").write_text(report)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
