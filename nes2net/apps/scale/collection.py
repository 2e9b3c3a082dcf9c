"""Score a collection shard by shard into a folder of results, resuming after an interruption."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nes2net.apps.scale.cluster import Resources, connect
from nes2net.apps.scale.engine import Facts, Model, facts_of, pieces_dataset, scored_pieces
from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.reading import Piece
from nes2net.apps.scale.results import (
    NAME,
    RECORD,
    CollectionRecord,
    Results,
    ShardScores,
    judgement_of_recordings,
    read_record,
    write_results,
)
from nes2net.apps.scale.sources import shards_of
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import Trial, Trials
from nes2net.lib.errors import InputError, Unfinished, first_line
from nes2net.lib.output.terminal import print_note
from nes2net.lib.process.processes import Processes
from nes2net.lib.storage.claims import Claim
from nes2net.lib.storage.files import AnyPath, check_no_device, remove_leftovers
from nes2net.scoring.engine import BatchResult, RunSettings, run_over
from nes2net.scoring.journal import JournalRow, stamp
from nes2net.scoring.judgement import AnyJudgement
from nes2net.scoring.score_length import RequestedSamples
from nes2net.training.interruption import StopRequests

_KILLED = "a process that read, decoded or scored the shard was killed, perhaps for memory"


def score_collection(
    source: AnyPath,
    model: AnyPath | Model,
    out: AnyPath,
    *,
    judgement: AnyJudgement[Any] = "scores",
    num_samples: RequestedSamples = "auto",
    audio_track: int = 0,
    batch_size: int | None = None,
    resources: Resources | None = None,
    overwrite: bool = False,
    retry_errors: bool = False,
) -> CollectionRecord:
    """Score the shards of ``source`` into ``out``, which gets a Parquet file for each shard.

    Columns: ``id``, ``address``, the shard's columns of texts, numbers and booleans, ``seconds``
    (duration of the recording), ``score`` (higher for bona fide), and ``error`` (reason for a
    missing score). Files are written atomically. The same call after an interruption, or after
    shards were added or replaced, scores the shards without results. A recording that cannot be
    read has an error; a shard that cannot be read has no results, and is tried again by the next
    call.

    `nes2net score` with the same order and number of threads gives the same scores: bit for bit for
    a fixed number of samples, up to float32 rounding for whole utterances.

    Args:
        source: see :func:`nes2net.apps.scale.sources.shards_of`.
        model: a checkpoint or folder that every machine can read; a name on the Hugging Face hub;
            or a :class:`~nes2net.apps.scale.engine.Model`, which also has device and precision.
        judgement: a judgement, its name, or a mapping of ``name`` and options. If it gives several
            numbers for a recording, ``score`` is a list.
        num_samples: leading samples to score, repeated if short; None for all; "auto" for
            :func:`nes2net.scoring.score_length.samples_to_score`, 64,600 for most detectors.
        audio_track: of files with several, from 0.
        batch_size: None for 8 on a CPU and 64 on a GPU.
        resources: None for all of this machine.
        overwrite: first remove results of another detector or other settings, and results of shards
            that the source does not have.
        retry_errors: score a shard again if some of its recordings have no score.

    Raises:
        InputError: if there is no such source or detector; if the judgement is of frames or
            embeddings; if ``out`` has results that only ``overwrite`` would remove; if another run
            is writing to ``out``; or if an argument is out of range.
        MissingLibrary: if Ray, pyarrow or fsspec is not installed.
        Unfinished: if Ray stops, or SIGTERM comes; finished shards are kept.
    """
    out = Path(out)
    check_no_device(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file, and the results need a folder: name another with `out`")
    # A collection is a run over shards. Its finished file is its record.
    settings = RunSettings(batch_size=batch_size, overwrite="others" if overwrite else False, alone=True)
    chosen_judgement = judgement_of_recordings(judgement)
    results = Results(out, shards_of(source), overwrite=overwrite, retry_errors=retry_errors)
    trials = [Trial(address) for address in results.shards]
    resources = resources or Resources()
    # Return at once if an earlier call has done everything: starting Ray and loading the detector would take half a
    # minute.
    chosen_model = Model.of(model)
    files = _stamps_of_model(Path(chosen_model.name))
    request = {**asdict(chosen_model), "files": files, "num_samples": num_samples, "batch_size": batch_size}
    request["audio_track"] = audio_track
    request |= chosen_judgement.identity()
    record = None if overwrite else read_record(out)
    if record is not None and files:
        with results.open_kept(out) as finished:
            is_finished = finished.stamps == {trial.id: results.stamp(trial) for trial in trials}
        # The finished run had the same arguments, and all its results are still there.
        if Claim(out, request, record.asked, is_finished).is_done:
            return record
    # Ray's handler of SIGTERM would print a stack trace and abort.
    with connect(resources), StopRequests():
        facts = facts_of(chosen_model, num_samples, batch_size, resources, chosen_judgement)
        facts = facts._replace(
            reader=replace(facts.reader, audio_track=audio_track), run={**facts.run, "audio_track": audio_track}
        )
        print_note(facts.score_length.note)
        about = {
            "asked": request,
            "judgement": facts.judgement.describe(),
            "corpus": {"root": str(source), "protocol": "full" if facts.reader.num_samples is None else "4sec"},
            **facts.record,
            "actors": facts.resources.num_actors,
        }
        on_ray = _OnRay(results, facts)
        run_over(trials, on_ray.read, on_ray.write, results, out / NAME, run=facts.run, about=about, settings=settings)
    record = read_record(out)
    assert record is not None  # `run_over` wrote it
    return record


def _stamps_of_model(model: Path) -> str:
    """Return a text that changes if a file of ``model`` changes; "" for a name on the hub."""
    files = [model]
    if model.is_dir():
        files = sorted(model.rglob("*"))
    return " ".join(stamp(path) for path in files if path.is_file())


@dataclass(frozen=True)
class _OnRay:
    """Scores shards on Ray, and writes the results of each as soon as it is complete."""

    results: Results
    facts: Facts

    def read(self, trials: Trials, done: Container[str], processes: Processes) -> Generator[list[Piece], None, None]:
        """Yield the scored pieces of each shard that is not ``done``; first remove all other results.

        Old results of a shard must not stay, even if the new shard cannot be read. A shard that a
        process did not survive gives one piece with a fault.

        Raises:
            Unfinished: if Ray stops.
        """
        folder = self.results.folder
        remove_leftovers(folder)
        (folder / RECORD).unlink(missing_ok=True)
        self.results.keep_only(done)
        unfinished = {trial.id for trial in trials if trial.id not in done}
        if not unfinished:
            return
        shards = [self.results.shards[trial.id] for trial in trials if trial.id in unfinished]
        dataset = scored_pieces(pieces_dataset(shards, self.facts.batch_size), self.facts)
        # The value -1 lets Ray continue if a process dies. The pieces that the dead process was computing are then
        # missing.
        dataset.context.max_errored_blocks = -1
        pieces_by_shard = defaultdict(list)
        try:
            for row in dataset.iter_rows():
                piece = row["piece"]
                pieces_by_shard[piece.shard].append(piece)
                pieces = _in_order_if_complete(pieces_by_shard[piece.shard])
                if pieces is not None:
                    del pieces_by_shard[piece.shard]
                    unfinished.remove(piece.shard)
                    yield pieces
        except library("ray").exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            raise Unfinished(
                f"Ray stopped ({type(cause).__name__}: {first_line(cause)}); finished shards are kept: run the same command to resume"
            ) from error
        for address in sorted(unfinished):
            yield [Piece(address, 0, True, [], _KILLED)]  # its first and last piece

    def write(self, shards: Iterable[list[Piece]]) -> Generator[BatchResult[ShardScores], None, None]:
        """Write the results of each shard, except shards that cannot be read."""
        for pieces in shards:
            shard = self.results.shards[pieces[0].shard]
            if fault := pieces[-1].fault:  # a fault ends the shard
                yield BatchResult({}, {shard.address: fault})
                continue
            rows = [row for piece in pieces for row in piece.rows]
            result = write_results(
                self.results.folder, shard, self.facts.run, rows, has_lists=not self.facts.judgement.is_score
            )
            num_samples = round(result.seconds * SAMPLE_RATE)
            yield BatchResult({shard.address: JournalRow(result, shard.stamp)}, {}, num_samples)


def _in_order_if_complete(pieces: Sequence[Piece]) -> list[Piece] | None:
    in_order = sorted(pieces, key=lambda piece: piece.number)
    last = in_order[-1]
    return in_order if last.last and len(in_order) == last.number + 1 else None
