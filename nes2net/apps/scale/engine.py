"""The stages on Ray Data: tasks read shards, tasks decode, and a pool of actors scores."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from nes2net.apps.scale.cluster import Resources, start_ray
from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.pieces import Piece, packed, unpacked
from nes2net.apps.scale.reading import OWN_COLUMNS, fetched, pieces_of
from nes2net.apps.scale.sources import Shard, Source, is_url, shards_of
from nes2net.data.audio.packed import AnyRecording, RecordingBytes
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, SAMPLE_RATE
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.evaluation.judgements import Scores
from nes2net.lib.errors import InputError, one_line
from nes2net.scoring.batches import Compute, Plan, Read, collate
from nes2net.scoring.heard import HeardPart, samples_to_score
from nes2net.scoring.kernel import (
    Result,
    Scorer,
    check_takes_audio_alone,
    default_batch_size,
    depends_on_batch,
    scoring_mode,
)
from nes2net.scoring.record import circumstances, plain
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
        named = model if isinstance(model, Model) else cls(str(model))
        path = Path(named.name)
        return replace(named, name=str(path.resolve())) if path.exists() else named

    def loaded(self) -> Detector:
        return Detector.from_pretrained(self.name, self.device, self.dtype, self.config, self.base)


class Facts(NamedTuple):
    """What a process that loaded the detector says of it."""

    fingerprint: str
    run: dict[str, Any]
    """Plain data that is equal for two runs if and only if their scores may be mixed."""
    record: dict[str, Any]
    """The facts of its training."""
    about: dict[str, Any]
    """Architecture, software and hardware."""
    reader: WaveformReader
    batch_size: int
    heard: HeardPart
    """How much of a recording is scored."""


def facts_of(
    model: Model, num_samples: int | Literal["auto"] | None, batch_size: int | None, resources: Resources
) -> Facts:
    """Load ``model`` in a process like the scoring ones, and return its facts.

    Raises:
        InputError: if it cannot be loaded there, or cannot score single recordings.
    """
    ray = library("ray")
    found = ray.get(
        ray.remote(_facts).options(**resources.remote(), max_retries=0).remote(model, num_samples, batch_size)
    )
    if isinstance(found, str):
        raise InputError(found)
    return found


def _facts(model: Model, num_samples: int | Literal["auto"] | None, batch_size: int | None) -> Facts | str:
    try:
        scorer = model.loaded()
        check_takes_audio_alone(scorer)
        heard = samples_to_score(scorer.provenance, num_samples, ASVSPOOF_SAMPLES)
        reader = WaveformReader.of(scorer, heard.num_samples)
    except InputError as error:  # Ray would put a traceback into its message
        return str(error)
    batch_size = default_batch_size(scorer.computes_on) if batch_size is None else batch_size
    fingerprint = scorer.fingerprint()
    run = {
        "model": fingerprint,
        "num_samples": heard.num_samples,
        "dtype": scorer.precision,
        "device": scorer.computes_on.type,
    }
    if depends_on_batch(scorer):
        run["batch_size"] = batch_size
    with scoring_mode(scorer):
        about = {
            "architecture": plain(scorer.config),
            "score_rule": scorer.score_rule,
            **circumstances(scorer, batch_size),
        }
    return Facts(fingerprint, run, plain(scorer.provenance.to_dict()), about, reader, batch_size, heard)


class Scoring:
    """An actor that loads a detector once and scores decoded pieces.

    Args:
        fingerprint: fingerprint of the detector; another detector under the same name, as on a
            machine with an older copy, is refused.
        as_rows: whether pieces are given back as their rows.
    """

    def __init__(self, model: Model, facts: Facts, as_rows: bool) -> None:
        self.scorer = replace(model, dtype=facts.run["dtype"]).loaded()  # for "fastest" too the same everywhere
        if self.scorer.fingerprint() != facts.fingerprint:
            raise InputError(f"{model.name} is another detector on this machine: give all machines the same one")
        self.facts, self.as_rows = facts, as_rows

    def __call__(self, table: Any) -> Any:
        """Score a table of :func:`packed` pieces."""
        pieces = [
            piece if piece.table is None else replace(piece, table=self.scored(piece.table))
            for piece in unpacked(table)
        ]
        if not self.as_rows:
            return packed(pieces)
        return library("pyarrow").concat_tables([piece.table for piece in pieces], promote_options="permissive")

    def scored(self, table: Any) -> Any:
        """A decoded piece with ``seconds``, ``score`` and ``error`` in place of its waveforms."""
        arrow = library("pyarrow")
        device = self.scorer.device
        with (
            torch.cuda.device(device) if device.type == "cuda" else nullcontext(),
            scoring_mode(self.scorer),
        ):
            results = results_of(self.scorer, self.facts.reader, waveforms_of(table), self.facts.batch_size)
        scores = [result if isinstance(result, float) else None for result in results]
        errors = [result if isinstance(result, str) else None for result in results]
        samples = table.column("num_samples").to_pylist()
        seconds = [None if count is None else count / SAMPLE_RATE for count in samples]
        return (
            table.drop_columns(["waveform", "num_samples", "error"])
            .append_column("seconds", arrow.array(seconds, arrow.float64()))
            .append_column("score", arrow.array(scores, arrow.float64()))
            .append_column("error", arrow.array(errors, arrow.string()))
        )


def results_of(scorer: Scorer, reader: WaveformReader, waveforms: list[Tensor | str], batch_size: int) -> list[Result]:
    """Score ``waveforms``, in the batches of `nes2net score`; errors stay as they are."""
    plan = Plan(batch_size, reader.num_samples is None, filled=not depends_on_batch(scorer))
    trials = [Trial(str(number)) for number in range(len(waveforms))]
    lengths = [-1 if isinstance(waveform, str) else len(waveform) for waveform in waveforms]
    batches = plan.batches(trials, lambda trial: lengths[int(trial.id)])
    read = (collate([Read(item.id, waveforms[int(item.id)], "-") for item in batch]) for batch in batches)
    results: list[Result] = [""] * len(waveforms)
    for share in Compute(scorer, plan, Scores())(read):
        for id, row in share.rows.items():
            results[int(id)] = row.value
        for id, reason in share.failures.items():
            results[int(id)] = reason
    return results


def scored_pieces(dataset: Any, model: Model, facts: Facts, resources: Resources, *, as_rows: bool) -> Dataset:
    """Decode and score a dataset of packed pieces, lazily."""
    data = library("ray.data")
    # Ray joins two stages that ask for the same: on a CPU an actor decodes what it scores, and beside
    # a GPU tasks decode ahead.
    cpus = resources.cpus_per_actor or 1

    def decode(table: Any) -> Any:
        return packed(
            piece if piece.table is None else replace(piece, table=decoded(piece.table, facts.reader))
            for piece in unpacked(table)
        )

    return dataset.map_batches(decode, batch_size=1, batch_format="pyarrow", num_cpus=cpus).map_batches(
        Scoring,
        batch_size=1,
        batch_format="pyarrow",
        fn_constructor_args=(model, facts, as_rows),
        compute=data.ActorPoolStrategy(size=resources.num_actors),
        **resources.remote(),
    )


def decoded(table: Any, reader: WaveformReader) -> Any:
    """Replace the columns ``content`` and ``suffix`` of a piece by ``waveform``, ``num_samples`` and ``error``.

    A waveform is bytes of float32 samples, 16 kHz, or null if the ``error`` says why it is missing.
    The number of samples counts the whole recording.
    """
    arrow = library("pyarrow")
    rows = list(zip(*(table.column(name).to_pylist() for name in ("address", "content", "suffix"))))
    with ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="nes2net-fetch") as pool:
        recordings = list(pool.map(lambda row: _recording(*row), rows))
    found = [_read(reader, recording) for recording in recordings]
    waveforms = [one.waveform.tobytes() if isinstance(one, Recording) else None for one in found]
    return (
        table.drop_columns(["content", "suffix"])
        .append_column("waveform", arrow.array(waveforms, arrow.large_binary()))
        .append_column(
            "num_samples",
            arrow.array([one.num_samples if isinstance(one, Recording) else None for one in found], arrow.int64()),
        )
        .append_column("error", arrow.array([one if isinstance(one, str) else None for one in found], arrow.string()))
    )


def waveforms_of(table: Any) -> list[Tensor | str]:
    """What :func:`decoded` put into ``table``: waveforms (N,) float32, or errors."""
    pairs = zip(table.column("waveform"), table.column("error"))
    return [
        torch.frombuffer(bytearray(waveform.as_buffer()), dtype=torch.float32) if waveform.is_valid else error.as_py()
        for waveform, error in pairs
    ]


def _recording(address: str, content: bytes | None, suffix: str) -> AnyRecording | InputError:
    """The recording, or the error if it cannot be fetched."""
    if content is not None:
        return RecordingBytes(address, content, suffix)
    try:
        return fetched(address) if is_url(address) else address
    except InputError as error:
        return error


def _read(reader: WaveformReader, recording: AnyRecording | InputError) -> Recording | str:
    """The waveform, or the reason why it is missing."""
    if isinstance(recording, InputError):
        return str(recording)
    try:
        return reader.read(recording)
    except InputError as error:
        return str(error)
    except Exception as error:  # a decoder can raise anything on a damaged file
        return one_line(f"{recording} could not be read ({type(error).__name__}: {error})")


def pieces_dataset(shards: list[Shard], batch_size: int) -> Any:
    """A lazy dataset of the packed pieces of ``shards``; a task reads each shard."""
    return _read_pieces(shards, BATCHES_OF_PIECE * batch_size, batch_size, lambda piece: packed([piece]))


def _read_pieces(shards: list[Shard], rows: int, batch_size: int, table_of: Callable[[Piece], Any]) -> Dataset:
    def pieces(table: Any) -> Iterator[Any]:
        for text in table.column("source").to_pylist():
            yield from map(table_of, pieces_of(Shard.from_json(text), rows, batch_size))

    items = [{"source": shard.to_json()} for shard in shards]
    data = library("ray.data").from_items(items, override_num_blocks=len(items))
    return data.map_batches(pieces, batch_size=1, batch_format="pyarrow", num_cpus=_READING_CPUS)


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

    def rows(piece: Piece) -> Any:
        if piece.fault is not None:
            raise InputError(piece.fault)
        return piece.table

    start_ray(Resources())
    return _read_pieces(shards_of(source), 64, 1, rows)


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
            as :func:`nes2net.scoring.heard.samples_to_score` chooses, 64,600 for most detectors.
        batch_size: None for 8 on a CPU and 64 on a GPU.
        resources: resources of the actors; by default all that Ray has.
        audio: the column of the recordings: bytes, ``struct<bytes, path>``, paths or URLs; one of
            ``audio``, ``content``, ``bytes``, ``address``, ``path`` and ``url`` if not given.

    Raises:
        InputError: if an argument is out of its range, the detector cannot be loaded, or there is no
            such column.
        MissingLibrary: if Ray, pyarrow or fsspec is not installed.
    """
    resources = resources or Resources()
    start_ray(resources)
    if isinstance(model, Detector):
        folder = Path(tempfile.mkdtemp(prefix="nes2net-scale-"))
        model.save(folder)
        model = folder
    named = Model.of(model)
    resources = resources.on(library("ray").cluster_resources(), named.device)
    named = replace(named, device=resources.device)
    facts = facts_of(named, num_samples, checked_batch_size(batch_size), resources)
    rows: Any = dataset
    pieces = rows.map_batches(
        lambda table: packed([Piece("", 0, True, with_recordings(table, audio))]),
        batch_size=BATCHES_OF_PIECE * facts.batch_size,
        batch_format="pyarrow",
        num_cpus=_READING_CPUS,
    )
    return scored_pieces(pieces, named, facts, resources, as_rows=True)


def checked_batch_size(batch_size: int | None) -> int | None:
    """``batch_size``, or :class:`InputError` if it is below 1."""
    if batch_size is not None and batch_size < 1:
        raise InputError(f"`batch_size` is at least 1, not {batch_size}")
    return batch_size


def with_recordings(table: Any, audio: str | None = None) -> Any:
    """Give a table of any rows the columns of recordings, as in a piece.

    Raises:
        InputError: if it has no column of recordings.
    """
    arrow, types = library("pyarrow"), library("pyarrow.types")
    names = table.column_names
    found = audio or next((name for name in _AUDIO_COLUMNS if name in names), None)
    if found not in names:
        raise InputError(
            f"the rows have no column '{found or 'audio'}' of recordings, only {', '.join(names)}: name one with `audio`"
        )
    column = table.column(found)
    rows = column.to_pylist()
    if types.is_struct(column.type):
        content = [row and row.get("bytes") for row in rows]
        places = [str((row and row.get("path")) or "") for row in rows]
    elif types.is_binary(column.type) or types.is_large_binary(column.type):
        content = rows
        beside = next((name for name in ("address", "path", "url") if name in names), None)
        places = [str(place or "") for place in table.column(beside).to_pylist()] if beside else [""] * len(rows)
    else:
        content, places = [None] * len(rows), [str(row or "") for row in rows]
    ids = table.column("id").to_pylist() if "id" in names else places
    suffixes = table.column("suffix").to_pylist() if "suffix" in names else [os.path.splitext(p)[1] for p in places]
    kept = table.drop_columns([name for name in {found, *OWN_COLUMNS} if name in names])
    own = {
        "id": arrow.array([str(id) for id in ids]),
        "address": arrow.array(places),
        "content": arrow.array(content, arrow.large_binary()),
        "suffix": arrow.array([str(suffix or "") for suffix in suffixes]),
    }
    for name, values in own.items():
        kept = kept.append_column(name, values)
    return kept
