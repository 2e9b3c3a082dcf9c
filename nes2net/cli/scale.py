"""`nes2net scale`: score a collection of any size on Ray, shard by shard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from nes2net.cli.entry import INCOMPLETE
from nes2net.cli.flags import File, Flag, Folder, Length, Loading
from nes2net.errors import counted, listed
from nes2net.machine.terminal import printable

if TYPE_CHECKING:
    from nes2net.scale.collection import Outcome


def scale(
    source: str,
    *,
    model: str,
    loading: Loading,
    out: Folder,
    scores: File | None = None,
    overwrite: bool = False,
    retry_errors: bool = False,
    length: Length,
    batch_size: Annotated[int | None, Flag("N")] = None,
    num_actors: int | None = None,
    cpus_per_actor: float = 1,
    gpus_per_actor: float | None = None,
    address: str | None = None,
) -> int:
    """Score a collection of any size on Ray, shard by shard.

    OUT gets a .parquet file for each shard, with a row for each recording: id, address, seconds, score, or an error
    that says why there is none; OUT/scale.json says what made them. The same command goes on after an interruption, and
    scores shards that were added or replaced. Exit status 1 means that a recording or a shard could not be read.

    Example:
        nes2net scale 's3://bucket/set/*.parquet' --model detector.pth --out DIR
        nes2net scale files.txt --model detector.pth --out DIR --scores s.txt

    Args:
        source: folder, file, pattern or URL of .parquet, .arrow or .tar shards; a list (.txt) of paths and URLs; a
            folder of recordings; or hub:OWNER/NAME
        model: checkpoint (.pth), folder, or name on the Hugging Face hub
        out: folder of the results
        scores: write all scores to a score file too, for nes2net evaluate
        overwrite: remove the results of another detector or setting, or of shards that are not in the source
        retry_errors: score again the shards that have recordings without a score

    How much of each recording:
        protocol: the first 4 s, or whole recordings; if not given, what the authors of a published detector score,
            else what the detector was trained on, else 4sec
        num_samples: samples of '4sec' (64600)

    Computing:
        batch_size: recordings in a batch; 8 on the CPU and 64 on a GPU if not given
        num_actors: processes that score; as many as GPUs, or else processors, if not given
        cpus_per_actor: threads of each of them without a GPU
        gpus_per_actor: a part of a GPU, or several; 1 if there are GPUs
        address: address of a Ray cluster, such as auto; if not given, RAY_ADDRESS, and without that this machine
    """
    from nes2net.audio.waveform import ASVSPOOF_SAMPLES
    from nes2net.scale.cluster import Resources
    from nes2net.scale.collection import score_collection
    from nes2net.scale.engine import Model
    from nes2net.scale.results import to_score_file

    of_protocol: dict[str | None, Any] = {"4sec": ASVSPOOF_SAMPLES, "full": None, None: "auto"}
    outcome = score_collection(
        source,
        Model(model, **vars(loading)),
        out,
        num_samples=of_protocol[length.protocol] if length.num_samples is None else length.num_samples,
        batch_size=batch_size,
        resources=Resources(num_actors, cpus_per_actor, gpus_per_actor, address),
        overwrite=overwrite,
        retry_errors=retry_errors,
    )
    status = _report(outcome)
    if scores and outcome.scored:
        written = to_score_file(outcome.out, scores)
        print(f"{counted(written.scored, 'score')} written to {written.path}")
    return status


def _report(outcome: Outcome) -> int:
    """Print what there is and, on standard error, what is missing; return the exit status."""
    read = outcome.shards - len(outcome.unread)
    kept = f", {outcome.kept} of them by earlier runs" if outcome.kept else ""
    scored = f"{outcome.scored:,} of {counted(outcome.rows, 'recording has a score', 'recordings have scores')}"
    print(f"{scored}, in {outcome.out}; {read:,} of {counted(outcome.shards, 'shard')}{kept}")
    if outcome.without_score:
        print(
            f"{counted(outcome.without_score, 'recording has', 'recordings have')} no score: the column `error` says why",
            file=sys.stderr,
        )
    if outcome.unread:
        reasons = printable(listed(list(outcome.unread.values())))
        print(f"{counted(len(outcome.unread), 'shard')} could not be read: {reasons}", file=sys.stderr)
    return 0 if outcome.complete else INCOMPLETE
