"""`nes2net reproduce`: measure a published result again."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nes2net.cli.entry import INCOMPLETE, WRONG_INPUT
from nes2net.cli.flags import Flag, called
from nes2net.errors import InputError, worded
from nes2net.machine.terminal import say_written, text_table

_File = Annotated[Path, Flag("FILE")]
_Folder = Annotated[Path, Flag("DIR")]


@dataclass(frozen=True)
class Given:
    """Files and folders.

    Args:
        data: folder that holds the corpora
        keys: folder or file of the keys; searched for in ROOT if not given
        protocols: folder of the protocols; searched for in ROOT if not given
        checkpoint: trained detector; if not given, one is trained by the recipe
        recipe: recipe to train by, instead of the published one
        ssl_checkpoint: pre-trained front-end, for training
        out: folder to work in; reproduce/ROW if not given
        rows: your own rows, in the layout of nes2net/experiments/published.yaml
    """

    data: Annotated[Path | None, Flag("ROOT")] = None
    keys: _Folder | None = None
    protocols: _Folder | None = None
    checkpoint: _File | None = None
    recipe: _File | None = None
    ssl_checkpoint: _File | None = None
    out: _Folder | None = None
    rows: _File | None = None


@called(names={"root": "--data", "data.root": "--data", "data.protocols": "--protocols"})
def reproduce(
    row: str | None = None,
    *,
    given: Given,
    batch_size: int = 8,
    num_workers: int = 2,
    allow_partial: bool = False,
    overwrite: bool = False,
    num_resamples: int = 1000,
    device: str = "auto",
) -> int:
    """Measure a published result again, and compare.

    Exit status 1 means that there is no verdict, because the trials, the architecture or the speaker-verification
    system differ from those of the published result.

    Example:
        nes2net reproduce nes2net_x-2021_df --data DB --checkpoint detector.pth

    Args:
        row: which published result; lists all if not given
        batch_size: utterances per batch in scoring
        num_workers: processes that read audio
        allow_partial: evaluate even if files are missing or unreadable
        overwrite: score anew, even over the scores of another checkpoint
        num_resamples: bootstrap draws for the interval
        device: auto, cpu, cuda or cuda:N
    """
    from nes2net.experiments.published import find_row, published_rows

    rows = published_rows(given.rows)
    if row is None:
        print("\n".join(text_table([(each.id, each.describe()) for each in rows], "l")))
        return 0
    from nes2net.experiments.reproduce import Places, find_missing
    from nes2net.experiments.reproduce import reproduce as reproduced

    published = find_row(row, rows)
    if given.data is None:
        raise InputError("where are the corpora? name the folder that holds them with --data")
    out = given.out or Path("reproduce") / published.id
    places = Places(given.data, out, given.keys, given.protocols, given.checkpoint, given.ssl_checkpoint, given.recipe)
    print(published.describe())
    missing = find_missing(published, places)
    if missing:
        goes_on = allow_partial and all(m.spares_some for m in missing)
        head = "warning: the result will be partial, missing are" if goes_on else f"missing, {len(missing)} in all:"
        print(worded("\n".join([head, *map(str, missing)])), file=sys.stderr)
        if not goes_on:
            return WRONG_INPUT
    result = reproduced(
        published,
        places,
        device=device,
        batch_size=batch_size,
        num_workers=num_workers,
        allow_partial=allow_partial,
        overwrite=overwrite,
        num_resamples=num_resamples,
    )
    print(result.text())
    for name in ("scores.txt", "scores.txt.json", "report.html", "report.json"):
        say_written(out / name, beside_data=True)
    return INCOMPLETE if result.conditions.differences else 0
