"""Train recipes one after the other in processes of torchrun, each in its trouble.

Notes how each run ended in each process, and what each process wrote.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from nes2net.training import loop
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.run import train

RANK = int(os.environ.get("RANK", "0"))
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@contextmanager
def trouble(kind: str, recipe: Recipe) -> Iterator[None]:
    """Cause trouble of ``kind`` while a recipe trains.

    ``step`` and ``validation`` send a signal to the second process alone, in the second epoch.
    ``full`` fills the disk at the end. ``lost`` takes a recording from the second process in a step.
    ``elsewhere`` hides the run folder from the second process.
    """
    owner, name = {
        "validation": (loop.Validator, "run"),
        "full": (loop.RunState, "save"),
        "lost": (loop.Trainer, "train_step"),
    }.get(kind, (loop, "seed_step"))
    before = getattr(owner, name)

    def instead(*arguments):
        in_second_epoch = arguments[1:3] == (2, 0) if kind == "step" else arguments[1:2] == (2,)
        if kind in ("step", "validation") and in_second_epoch and RANK == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        if kind == "full" and (arguments[0].progress.epoch, arguments[0].progress.step) == (3, 0):
            raise OSError(errno.ENOSPC, "", str(arguments[0].selection.folder / "resume.pt"))
        if kind == "lost" and RANK == 1 and arguments[2:4] == (2, 1):
            lost = [batch._replace(lost=["a.flac is not there any more"]) for batch in arguments[1]]
            arguments = (arguments[0], lost, *arguments[2:])
        return before(*arguments)

    if kind == "elsewhere" and RANK == 1:
        recipe.output += "_elsewhere"
    with mock.patch.object(owner, name, instead):
        yield


def main(folder: str, runs: list[str]):
    ended = []
    written = []

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
    report = json.dumps({"ended": ended, "written": written})
    Path(folder, f"rank{RANK}.json").write_text(report)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
