"""`nes2net average`: average several checkpoints, given as files or chosen from a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from nes2net.cli.next_commands import after_averaging, print_next
from nes2net.lib.errors import InputError
from nes2net.lib.output.terminal import say, say_aside
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.shell.command_line import WRONG_INPUT
from nes2net.lib.shell.commands import File, Flag, command_facts


@command_facts(names={"folder": "checkpoints"})
def average(
    checkpoints: Sequence[str],
    *,
    ids: Sequence[int] | None = None,
    last: Annotated[int | None, Flag("K"), NotWith("ids")] = None,
    best: Annotated[int | None, Flag("K"), NotWith("ids", "last")] = None,
    by: Annotated[str | None, Flag("VALUE"), UsedWith("best")] = None,
    weights: Sequence[float] | None = None,
    out: File | None = None,
    mode: Literal["mean", "legacy"] = "mean",
) -> int:
    """Average checkpoints.

    Example:
        nes2net average models/0520_nes2net_x --best 5

    Args:
        checkpoints: checkpoint files, or one run folder
        ids: epochs of the run folder
        last: the last K epochs of the run folder (SWA)
        best: the K epochs with the lowest --by, 3 or 5 in papers
        by: measure for --best: val_loss_wo_aug (if not given), val_eer_wo_aug, …, loss
        weights: weight of each checkpoint; equal if not given
        out: file to write; not needed for a run folder
        mode: the mean, or what the published code computes
    """
    from nes2net.training.averaging import average as average_of_run
    from nes2net.training.averaging import average_files, measures_of, recipe_of
    from nes2net.training.selection import best_epochs, choices

    if (ids, last, best) != (None, None, None):
        if len(checkpoints) != 1:
            raise InputError(
                f"--ids, --last and --best require one run folder, not {len(checkpoints)} paths: name only the folder"
            )
        folder = checkpoints[0]
        if best is not None:
            ids = best_epochs(folder, best, by or "val_loss_wo_aug")
        run_average = average_of_run(folder, ids, mode, last=last, weights=weights, out=out)
        path = run_average.path
        if run_average.earlier == "used":
            say(f"{path} already holds the average of these checkpoints; --out names another file")
        else:
            say(f"average written to {path}")
    elif len(checkpoints) == 1 and Path(checkpoints[0]).is_dir():
        folder = checkpoints[0]
        offered_choices, table = choices(folder, task_measures=measures_of(folder))
        say(f"saved in {folder}, epochs counted from 1; best means the lowest val_loss_wo_aug (--by):")
        say(*table)
        print_next([["average", folder, f"--{choice.which}", choice.number] for choice in offered_choices])
        say_aside("nothing was averaged: choose with --best K, --last K or --ids N …")
        return WRONG_INPUT
    else:
        if not out:
            raise InputError("an average of files requires a file to write: name it with --out")
        path = average_files(checkpoints, out, mode, weights)
        say(f"average written to {out}")
    if recipe := recipe_of(path):
        print_next(after_averaging(path, recipe))
    return 0
