"""Score on Ray Data in three stages: tasks read shards, tasks decode recordings, and actors score them.

A task is a function call in any process of the cluster. An actor is a process that keeps a
detector.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from nes2net.apps.scale.cluster import Resources
from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.reading import Columns, Piece, fetch, pieces_of
from nes2net.apps.scale.sources import Shard
from nes2net.data.audio.packed import AnyRecording, RecordingBytes
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, SAMPLE_RATE
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.lib.errors import InputError
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.web.remote import is_address
from nes2net.scoring.batches import BatchPlan, Compute, Item, ItemDataset, ReadItem, collate
from nes2net.scoring.judgement import Judgement
from nes2net.scoring.kernel import Scorer, check_takes_audio_alone, default_batch_size, depends_on_batch, scoring_mode
from nes2net.scoring.record import describe_computation, plain, score_dependencies
from nes2net.scoring.score_length import RequestedSamples, ScoreLength, samples_to_score
from nes2net.scoring.waveforms import Recording, WaveformReader

if TYPE_CHECKING:
    from ray.data import Dataset

#: Number of batches in a piece. An actor computes the batches of a piece without waiting for the next piece.
BATCHES_OF_PIECE = 8
# A half is enough for a task that reads a shard, because it mostly waits. It must differ from that of a task that
# decodes: Ray would join tasks with equal resources into one process.
_READING_CPUS = 0.5
_FETCHED_AT_ONCE = 16  # largest number of URLs that a process fetches at once; an object store needs 50 ms to answer


@dataclass(frozen=True)
class Model:
    """The arguments of ``Detector.from_pretrained`` in every actor.

    ``name`` is a checkpoint or folder that every machine can read, or a name on the Hugging Face
    hub.
    """

    name: str
    device: str = "auto"
    dtype: str = "auto"
    config: dict[str, Any] | str | None = None
    base: str | None = None

    @classmethod
    def of(cls, model: AnyPath | Model) -> Model:
        """Make a path on this machine absolute."""
        described = model if isinstance(model, Model) else cls(str(model))
        path = Path(described.name)
        return replace(described, name=str(path.resolve())) if path.exists() else described

    def load(self) -> Detector:
        return Detector.from_pretrained(self.name, self.device, self.dtype, self.config, self.base)


class Facts(NamedTuple):
    """What all processes know of the detector, collected by one that has loaded it."""

    run: Mapping[str, object]
    """The facts that determine scores. Scores of runs with equal facts may be mixed."""
    record: Mapping[str, object]
    """Further facts for the record of the run."""
    reader: WaveformReader
    batch_size: int
    judgement: Judgement[Any]
    """With the options that the detector determines."""
    score_length: ScoreLength
    model: Model
    """With the actor's device."""
    resources: Resources
    """All numbers are filled in."""


def facts_of(
    model: Model, num_samples: RequestedSamples, batch_size: int | None, resources: Resources, judgement: Judgement[Any]
) -> Facts:
    """Collect facts about the detector in a process with the resources of an actor.

    Raises:
        InputError: if the process cannot load the detector, or if it cannot score audio alone or
            cannot make the judgement.
    """
    ray = library("ray")
    resources = resources.resolve(ray.cluster_resources(), model.device)
    load_remotely = ray.remote(_load_facts).options(**resources.ray_options(), max_retries=0)
    model = replace(model, device=resources.device)
    facts = ray.get(load_remotely.remote(model, num_samples, batch_size, resources, judgement))
    if isinstance(facts, str):
        raise InputError(facts)
    return facts


def _load_facts(
    model: Model, num_samples: RequestedSamples, batch_size: int | None, resources: Resources, judgement: Judgement[Any]
) -> Facts | str:
    """Load the detector and collect facts; return an error as text, because Ray would add a traceback to it."""
    try:
        scorer = model.load()
        check_takes_audio_alone(scorer)
        score_length = samples_to_score(scorer.provenance, num_samples, ASVSPOOF_SAMPLES)
        reader = judgement.reader(WaveformReader.of(scorer, score_length.num_samples))
        judgement = judgement.fit_to(scorer)
    except InputError as error:
        return str(error)
    batch_size = batch_size or default_batch_size(scorer.computes_on)
    run = {**score_dependencies(scorer, score_length.num_samples), **judgement.identity()}
    if depends_on_batch(scorer):
        run["batch_size"] = batch_size
    with scoring_mode(scorer):
        checkpoint = plain(scorer.provenance.to_dict() | {"path": model.name})
        record = {"checkpoint": checkpoint, **describe_computation(scorer, batch_size)}
    model = replace(model, dtype=scorer.precision)  # "fastest" may mean another precision on another machine
    return Facts(run, record, reader, batch_size, judgement, score_length, model, resources)


class Scoring:
    """The actor: loads a detector once, and scores decoded pieces.

    Raises:
        InputError: if this machine has another detector of this name, for example an older copy.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.scorer = facts.model.load()
        if self.scorer.fingerprint() != facts.run["model"]:
            raise InputError(
                f"{facts.model.name} on {socket.gethostname()} has the fingerprint {self.scorer.fingerprint()}, not "
                f"{facts.run['model']}: copy the same file to all machines"
            )

    def __call__(self, row: dict[str, Piece]) -> dict[str, Piece]:
        facts = self.facts
        with scoring_mode(self.scorer):
            return {"piece": score_piece(row["piece"], self.scorer, facts)}


def score_piece(piece: Piece, scorer: Scorer, facts: Facts) -> Piece:
    """Score the recordings of a decoded piece in the same batches as `nes2net score`.

    Returns:
        The piece; in its rows, ``score`` (as plain data) and ``error`` replace ``waveform``.
    """
    judgement = facts.judgement
    plan = BatchPlan(facts.batch_size, facts.reader.num_samples is None, filled=not depends_on_batch(scorer))
    waveforms = {str(number): row["waveform"] for number, row in enumerate(piece.rows)}
    lengths = dict.fromkeys(waveforms, -1)
    contents = dict(waveforms)
    for id, waveform in waveforms.items():
        if not isinstance(waveform, str):  # a text says why a recording could not be read
            lengths[id] = len(waveform)
            contents[id] = (waveform, None)
    batches = plan.batches([Trial(id) for id in waveforms], lambda trial: lengths[trial.id])
    # "-" stands for the stamp of a file, which is not used here.
    read_batches = (collate([ReadItem(item.id, contents[item.id], "-") for item in batch]) for batch in batches)
    scores: dict[str, object] = {}
    errors: dict[str, str] = {}
    for result in Compute(scorer, plan, judgement)(read_batches):
        scores |= {id: judgement.to_json(row.value) for id, row in result.rows.items()}
        errors |= result.failures
    rows = []
    for id, row in zip(waveforms, piece.rows):
        rows.append({**_without_columns(row, "waveform"), "score": scores.get(id), "error": errors.get(id)})
    return replace(piece, rows=rows)


def scored_pieces(pieces: Any, facts: Facts) -> Dataset:
    """Return a lazy dataset: Ray decodes and scores the pieces when it is iterated."""

    def decode(row: dict[str, Piece]) -> dict[str, Piece]:
        return {"piece": decode_piece(row["piece"], facts.reader)}

    # Ray joins stages with equal resources: an actor on a CPU decodes and scores, one with a GPU only scores, and
    # others decode ahead.
    return pieces.map(decode, num_cpus=facts.resources.cpus_per_actor or 1).map(
        Scoring,
        fn_constructor_args=(facts,),
        compute=library("ray.data").ActorPoolStrategy(size=facts.resources.num_actors),
        **facts.resources.ray_options(),
    )


def decode_piece(piece: Piece, reader: WaveformReader) -> Piece:
    """Fetch and decode the recordings of a piece.

    Returns:
        The piece; in its rows, ``seconds`` and ``waveform`` replace ``content`` and ``suffix``.
        ``seconds`` is the duration of the whole recording; ``waveform`` is (N,) float32 at 16 kHz,
        or says why the recording cannot be read.
    """
    rows = []
    with ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="nes2net-fetch") as pool:
        fetching = {str(number): pool.submit(_recording_of_row, row) for number, row in enumerate(piece.rows)}
        reading = ItemDataset(lambda item: reader.read(fetching[item.id].result()))
        for id, row in zip(fetching, piece.rows):
            waveform = reading[Item(id, row["address"])].content
            seconds = None
            if isinstance(waveform, Recording):
                seconds = waveform.num_samples / SAMPLE_RATE
                waveform = torch.from_numpy(waveform.waveform)
            rows.append({**_without_columns(row, "content", "suffix"), "seconds": seconds, "waveform": waveform})
    return replace(piece, rows=rows)


def _recording_of_row(row: Columns) -> AnyRecording:
    address = row["address"]
    if row["content"] is not None:
        return RecordingBytes(address, row["content"], row["suffix"])
    return fetch(address) if is_address(address) else address


def _without_columns(row: Columns, *names: str) -> Columns:
    return {name: value for name, value in row.items() if name not in names}


def pieces_dataset(shards: list[Shard], batch_size: int) -> Dataset:
    """Make a Ray dataset of pieces; a task reads a shard when it is needed."""

    def pieces(row: dict[str, Shard]) -> Iterator[dict[str, Piece]]:
        for piece in pieces_of(row["shard"], BATCHES_OF_PIECE * batch_size, batch_size):
            yield {"piece": piece}

    items = [{"shard": shard} for shard in shards]
    dataset = library("ray.data").from_items(items, override_num_blocks=len(items))
    return dataset.flat_map(pieces, num_cpus=_READING_CPUS)
