"""`nes2net scale`: score a collection of any size on Ray, shard by shard."""

from __future__ import annotations

from typing import Annotated

from nes2net.actions.flags import Loading, ModelName, Reading
from nes2net.apps.scale.cluster import Resources
from nes2net.lib.errors import join_names, pluralise
from nes2net.lib.output.terminal import say, say_aside
from nes2net.lib.shell.command_line import INCOMPLETE
from nes2net.lib.shell.commands import Count, File, Flag, Folder, command_facts


@command_facts(
    about="OUT gets a .parquet file for each shard. The same command resumes an interrupted run, and scores "
    "shards that were added or replaced. Exit status 1 means that a recording or a shard could not be "
    "read."
)
def scale(
    source: str,
    *,
    model: ModelName,
    loading: Loading,
    out: Folder,
    scores: File | None = None,
    overwrite: bool = False,
    retry_errors: bool = False,
    judgement: Annotated[str, Flag("NAME|OPTIONS")] = "scores",
    length: Reading,
    batch_size: Count | None = None,
    resources: Resources,
) -> int:
    """Score a collection of any size on Ray, shard by shard.

    Example:
        nes2net scale 's3://bucket/set/*.parquet' --model detector.pth --out DIR
        nes2net scale files.txt --model detector.pth --out DIR --scores s.txt

    Args:
        source: folder, file, pattern or URL of shards, list (.txt), folder of recordings, or hub:OWNER/NAME
        out: folder of the results
        scores: score file, to write all scores to one file, too
        judgement: kind of result, if not a score, e.g. classes
        overwrite: remove the results of another run
        retry_errors: score again the shards with errors

    Computing:
        batch_size: recordings in a batch (8, or 64 on a GPU)
        num_actors: number of actors, the processes that score
        cpus_per_actor: threads of an actor without a GPU
        gpus_per_actor: GPUs of an actor; may be a fraction
        address: Ray cluster; this machine if not given
    """
    from nes2net.apps.scale.collection import score_collection
    from nes2net.apps.scale.engine import Model
    from nes2net.apps.scale.results import to_score_file
    from nes2net.lib.storage.yaml_text import read_value

    record = score_collection(
        source,
        Model(model, **vars(loading) | {"config": loading.as_config}),
        out,
        judgement=read_value(judgement, None, "`judgement`"),
        num_samples=length.requested_samples_of_files(),
        audio_track=length.audio_track,
        batch_size=batch_size,
        resources=resources,
        overwrite=overwrite,
        retry_errors=retry_errors,
    )
    num_read = record.shards - len(record.failures)
    from_earlier_runs = ""
    if record.kept_from_earlier_runs:
        from_earlier_runs = f", {record.kept_from_earlier_runs} of them by earlier runs"
    scored = f"{record.scored:,} of {pluralise(record.total or 0, 'recording has a score', 'recordings have scores')}"
    say(f"{scored}, in {out}; {num_read:,} of {pluralise(record.shards, 'shard')}{from_earlier_runs}")
    if record.without_score:
        say_aside(
            f"{pluralise(record.without_score, 'recording has', 'recordings have')} no score: the column `error` says why"
        )
    if record.failures:
        reasons = join_names(list(record.failures.values()))
        say_aside(f"{pluralise(record.failures, 'shard')} could not be read: {reasons}; the same command tries again")
    if scores and record.scored:
        written = to_score_file(out, scores)
        say(f"{written.done:,} {written.what} written to {written.path}")
    return 0 if record.is_complete else INCOMPLETE
