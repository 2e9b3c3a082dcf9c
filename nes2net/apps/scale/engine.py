"""The stages on Ray Data: tasks read shards, tasks decode, and a pool of actors scores."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from nes2net.apps.scale.cluster import Resources, start_ray
from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.reading import OWN_COLUMNS, Piece, Row, fetched, pieces_of
from nes2net.apps.scale.results import RESULT_COLUMNS, table_of
from nes2net.apps.scale.sources import Shard, Source, is_url, shards_of
from nes2net.data.audio.packed import AnyRecording, RecordingBytes, content_of
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, SAMPLE_RATE
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.evaluation.judgements import Scores
from nes2net.lib.errors import InputError
from nes2net.scoring.batches import Compute, Item, Plan, Read, Reading, collate
from nes2net.scoring.engine import RunSettings
from nes2net.scoring.kernel import Scorer, check_takes_audio_alone, default_batch_size, depends_on_batch, scoring_mode
from nes2net.scoring.record import circumstances, computing, plain
from nes2net.scoring.score_length import ScoreLength, samples_to_score
from nes2net.scoring.waveforms import Recording, WaveformReader

if TYPE_CHECKING:
    from ray.data import Dataset

#: Batches in a piece: so many are computed without waiting for the next piece.
BATCHES_OF_PIECE = 8
# Processors of the tasks that read shards. They mostly wait; and tasks that ask for as much as those
# that decode would be joined with them, so that a shard would be decoded in one process.
_READING_CPUS = 0.5
_FETCHED_AT_ONCE = 16  # URLs; a store answers each after some 50 ms
_AUDIO_COLUMNS = ("audio", "content", "bytes", "address", "path", "url")


@dataclass(frozen=True)
class Model:
    """A detector by name, and how it is to compute; the arguments of ``Detector.from_pretrained``.

    The name leads to a checkpoint, a folder or a model on the Hugging Face hub, where every machine
    finds it.
    """

    name: str
    device: str = "auto"
    dtype: str = "auto"
    config: dict[str, Any] | str | None = None
    base: str | None = None

    @classmethod
    def of(cls, model: str | Path | Model) -> Model:
        """``model`` by its name; the path of a file or folder of this machine becomes absolute."""
        described = model if isinstance(model, Model) else cls(str(model))
        path = Path(described.name)
        return replace(described, name=str(path.resolve())) if path.exists() else described

    def loaded(self) -> Detector:
        return Detector.from_pretrained(self.name, self.device, self.dtype, self.config, self.base)


class Facts(NamedTuple):
    """What a process that loaded the detector says of it."""

    run: dict[str, Any]
    """Plain data that is equal for two runs if and only if their scores may be mixed."""
    record: dict[str, Any]
    """The detector, software and hardware, for the record of a run."""
    reader: WaveformReader
    batch_size: int
    score_length: ScoreLength
    """How much of a recording is scored."""
    model: Model
    """The detector on the device of an actor."""
    resources: Resources
    """Of the actors, complete."""


def facts_of(
    model: Model, num_samples: int | Literal["auto"] | None, batch_size: int | None, resources: Resources
) -> Facts:
    """Load ``model`` in a process like the scoring ones of this cluster, and return its facts.

    Raises:
        InputError: if it cannot be loaded there, or cannot score single recordings.
    """
    ray = library("ray")
    resources = resources.on(ray.cluster_resources(), model.device)
    loading = ray.remote(_facts).options(**resources.remote(), max_retries=0)
    facts = ray.get(loading.remote(replace(model, device=resources.device), num_samples, batch_size, resources))
    if isinstance(facts, str):
        raise InputError(facts)
    return facts


def _facts(
    model: Model, num_samples: int | Literal["auto"] | None, batch_size: int | None, resources: Resources
) -> Facts | str:
    try:
        scorer = model.loaded()
        check_takes_audio_alone(scorer)
        score_length = samples_to_score(scorer.provenance, num_samples, ASVSPOOF_SAMPLES)
        reader = WaveformReader.of(scorer, score_length.num_samples)
    except InputError as error:  # Ray would put a traceback into its message
        return str(error)
    batch_size = batch_size or default_batch_size(scorer.computes_on)
    run = computing(scorer, score_length.num_samples)
    if depends_on_batch(scorer):
        run["batch_size"] = batch_size
    with scoring_mode(scorer):
        record = {"checkpoint": plain(scorer.provenance.to_dict()), **circumstances(scorer, batch_size)}
    model = replace(model, dtype=scorer.precision)  # for "fastest" too the same everywhere
    return Facts(run, record, reader, batch_size, score_length, model, resources)


class Scoring:
    """An actor that loads a detector once and scores decoded pieces.

    Another detector under the same name, as on a machine with an older copy, is refused.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.scorer = facts.model.loaded()
        if self.scorer.fingerprint() != facts.run["model"]:
            raise InputError(f"{facts.model.name} is another detector on this machine: give all machines the same one")

    def __call__(self, row: dict[str, Piece]) -> dict[str, Piece]:
        device = self.scorer.device
        with (
            torch.cuda.device(device) if device.type == "cuda" else nullcontext(),
            scoring_mode(self.scorer),
        ):
            return {"piece": scored(row["piece"], self.scorer, self.facts.reader, self.facts.batch_size)}


def scored(piece: Piece, scorer: Scorer, reader: WaveformReader, batch_size: int) -> Piece:
    """Score a :func:`decoded` piece in the batches of `nes2net score`: ``score`` and ``error`` for ``waveform``."""
    plan = Plan(batch_size, reader.num_samples is None, filled=not depends_on_batch(scorer))
    waveforms = {str(number): row["waveform"] for number, row in enumerate(piece.rows)}
    # A text is the reason why there is no waveform.
    lengths = {id: -1 if isinstance(waveform, str) else len(waveform) for id, waveform in waveforms.items()}
    batches = plan.batches([Trial(id) for id in waveforms], lambda trial: lengths[trial.id])
    read_batches = (collate([Read(item.id, waveforms[item.id], "-") for item in batch]) for batch in batches)
    scores: dict[str, float] = {}
    errors: dict[str, str] = {}
    for result in Compute(scorer, plan, Scores())(read_batches):
        scores |= {id: row.value for id, row in result.rows.items()}
        errors |= result.failures
    rows = []
    for id, row in zip(waveforms, piece.rows):
        rows.append({**_without(row, "waveform"), "score": scores.get(id), "error": errors.get(id)})
    return replace(piece, rows=rows)


def scored_pieces(pieces: Any, facts: Facts) -> Dataset:
    """Decode and score a dataset of pieces, lazily."""

    def decode(row: dict[str, Piece]) -> dict[str, Piece]:
        return {"piece": decoded(row["piece"], facts.reader)}

    # Ray joins two stages that ask for the same: on a CPU an actor decodes what it scores, and beside
    # a GPU tasks decode ahead.
    return pieces.map(decode, num_cpus=facts.resources.cpus_per_actor or 1).map(
        Scoring,
        fn_constructor_args=(facts,),
        compute=library("ray.data").ActorPoolStrategy(size=facts.resources.num_actors),
        **facts.resources.remote(),
    )


def decoded(piece: Piece, reader: WaveformReader) -> Piece:
    """Decode the recordings of a piece: ``seconds`` and ``waveform`` for ``content`` and ``suffix``.

    The seconds are those of the whole recording. A waveform is (N,) float32, 16 kHz, or a text, the reason
    why it is missing.
    """
    rows = []
    with ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="nes2net-fetch") as pool:
        fetching = {str(number): pool.submit(_recording, row) for number, row in enumerate(piece.rows)}
        reading = Reading(lambda item: reader.read(fetching[item.id].result()))
        for id, row in zip(fetching, piece.rows):
            waveform = reading[Item(id, row["address"])].content
            seconds = None
            if isinstance(waveform, Recording):
                seconds = waveform.num_samples / SAMPLE_RATE
                waveform = torch.from_numpy(waveform.waveform)
            rows.append({**_without(row, "content", "suffix"), "seconds": seconds, "waveform": waveform})
    return replace(piece, rows=rows)


def _recording(row: Row) -> AnyRecording:
    address = row["address"]
    if row["content"] is not None:
        return RecordingBytes(address, row["content"], row["suffix"])
    return fetched(address) if is_url(address) else address


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def pieces_dataset(shards: list[Shard], batch_size: int, rows: int | None = None) -> Dataset:
    """A lazy dataset of the pieces of ``shards``; a task reads each shard.

    Args:
        rows: recordings in a piece; a number of batches if not given.
    """
    rows = rows or BATCHES_OF_PIECE * batch_size

    def pieces(row: dict[str, Shard]) -> Iterator[dict[str, Piece]]:
        for piece in pieces_of(row["shard"], rows, batch_size):
            yield {"piece": piece}

    items = [{"shard": shard} for shard in shards]
    dataset = library("ray.data").from_items(items, override_num_blocks=len(items))
    return dataset.flat_map(pieces, num_cpus=_READING_CPUS)


def _as_rows(pieces: Any, columns: Sequence[str]) -> Dataset:
    """The rows of a dataset of pieces, which have at least ``columns``."""

    def rows(batch: dict[str, Sequence[Piece]]) -> Any:
        (piece,) = batch["piece"]
        if piece.fault is not None:
            raise InputError(piece.fault)
        return table_of(piece.rows, columns, piece.beside)

    return pieces.map_batches(rows, batch_size=1, num_cpus=_READING_CPUS)


def read(source: Source) -> Dataset:
    """The recordings of ``source`` as a lazy Ray dataset, for :func:`score` or anything else.

    Its rows have ``id``, ``address``, ``content`` (the bytes of an audio file; null if they are to be
    fetched from the address), ``suffix`` (of the file) and the further columns of the shards. What a
    source is, :func:`nes2net.apps.scale.sources.shards_of` says.

    Raises:
        InputError: if there is no such source. A shard that cannot be read ends the run of the
            dataset; :func:`nes2net.apps.scale.collection.score_collection` leaves it out.
        MissingLibrary: if Ray, pyarrow or fsspec is not installed.
    """
    start_ray(Resources())
    return _as_rows(pieces_dataset(shards_of(source), 1, 64), OWN_COLUMNS)


def score(
    dataset: Dataset,
    model: str | Path | Model | Detector,
    *,
    num_samples: int | Literal["auto"] | None = "auto",
    batch_size: int | None = None,
    resources: Resources | None = None,
    audio: str | None = None,
) -> Dataset:
    """Score the recordings of a Ray dataset, lazily, by a pool of actors that each load ``model`` once.

    The rows stay, without the bytes, and get ``seconds`` (length of the recording), ``score``, higher
    for bona fide, and ``error``, which says why there is no score. Recordings share a batch with their
    neighbours in a block, so the last digits of a score depend on how Ray cuts the dataset; the
    scores of :func:`nes2net.apps.scale.collection.score_collection` do not.

    Args:
        dataset: rows with the bytes of an audio file, or with its path or URL.
        model: see :class:`Model`; of a detector, a copy is saved in a temporary folder of this machine.
        num_samples: leading samples of each recording, repeated if there are fewer; None for all, "auto"
            as :func:`nes2net.scoring.score_length.samples_to_score` chooses, 64,600 for most detectors.
        batch_size: None for 8 on a CPU and 64 on a GPU.
        resources: resources of the actors; by default all that Ray has.
        audio: the column of the recordings: bytes, ``struct<bytes, path>``, paths or URLs; one of
            ``audio``, ``content``, ``bytes``, ``address``, ``path`` and ``url`` if not given.

    Raises:
        InputError: if an argument is out of its range, the detector cannot be loaded, or there is no
            such column.
        MissingLibrary: if Ray, pyarrow or fsspec is not installed.
    """
    RunSettings(batch_size=batch_size)  # checks it
    resources = resources or Resources()
    start_ray(resources)
    if isinstance(model, Detector):
        folder = Path(tempfile.mkdtemp(prefix="nes2net-scale-"))
        model.save(folder)
        model = folder
    facts = facts_of(Model.of(model), num_samples, batch_size, resources)
    rows: Any = dataset
    pieces = rows.map_batches(
        lambda table: {"piece": [piece_of_rows(table, audio)]},
        batch_size=BATCHES_OF_PIECE * facts.batch_size,
        batch_format="pyarrow",
        num_cpus=_READING_CPUS,
    )
    return _as_rows(scored_pieces(pieces, facts), RESULT_COLUMNS)


def piece_of_rows(table: Any, audio: str | None = None) -> Piece:
    """The recordings of a table of any rows; what else is in it stands beside them.

    Raises:
        InputError: if it has no column of recordings.
    """
    names = table.column_names
    column = audio or next((name for name in _AUDIO_COLUMNS if name in names), "audio")
    if column not in names:
        raise InputError(
            f"the rows have no column '{column}' of recordings, only {', '.join(names)}: name one with `audio`"
        )
    of_recordings = []
    for name in dict.fromkeys((column, *OWN_COLUMNS, "path", "url")):
        if name in names:
            of_recordings.append(name)
    rows = []
    for row in table.select(of_recordings).to_pylist():
        content, address = content_of(row[column])
        address = address or next((row[name] for name in ("address", "path", "url") if row.get(name)), "")
        suffix = row.get("suffix") or os.path.splitext(address)[1]
        rows.append({"id": str(row.get("id", address)), "address": address, "content": content, "suffix": suffix})
    return Piece("", 0, True, rows, beside=table.drop_columns([n for n in names if n in (column, *OWN_COLUMNS)]))
