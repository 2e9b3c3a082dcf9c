"""Pack the recordings of a corpus into shards, which :mod:`nes2net.data.corpora.shards` reads.

The bytes of the audio files do not change, except of parts. Parquet shards have the layout of the Speech
Anti-Spoofing Arena: ``data/test-00000-of-00002.parquet``, beside them ``data/labels.parquet`` and
``eval.yaml``; columns ``path``, ``audio`` (bytes and path), ``label`` (0 bona fide, 1 spoof, null
unknown) and ``notes`` (JSON with ``utterance_id`` and the other fields of the trial).
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import soundfile

from nes2net.data.audio.packed import fetch, open_recording, pyarrow_module, status_of
from nes2net.data.audio.parts import Fetched, PartOf, RecordingBytes
from nes2net.data.audio.read import AudioFile
from nes2net.data.audio.waveform import as_16_bits
from nes2net.data.corpora.generic import FIELDS
from nes2net.data.corpora.protocol import WHOLE
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial, Trials, trials_digest
from nes2net.lib.errors import InputError, as_input_error, check_setting, join_names, pluralise
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.storage.files import (
    FOLDER_LOCK,
    AnyPath,
    json_text,
    path_below,
    read_bounded,
    replacing,
    write_text,
    writing,
    writing_folder,
)
from nes2net.lib.storage.text_files import check_utf8

#: Bytes of audio in a shard: the default of ``datasets`` for uploads.
SHARD_BYTES = 500_000_000

_NAMES = {"train": "train", "dev": "validation", "eval": "test"}  # split → name of the split in ``datasets``
# This file in the output folder holds the names of the planned shards, each with a digest of its trials.
_PLAN = "pack.json"
_MAX_PLAN_BYTES = 1 << 24  # bytes
#: Bytes of audio in a row group, which programs read as a whole. Small ones make training in random order faster;
#: from elsewhere, each is a request.
GROUP_BYTES = 4_000_000
_GROUP_ROWS = 100  # largest number of recordings in a row group
_SUBTYPES = {"int16": "PCM_16", "float32": "FLOAT"}  # of samples of a part
_LABELS = {BONAFIDE: 0, SPOOF: 1, None: None}  # our label → its number in the Arena


class _Packed(NamedTuple):
    """A recording to pack."""

    trial: Trial
    size: int
    """In bytes."""
    suffix: str
    """With the dot, or empty."""


class PackResult(NamedTuple):
    """Shards, and the number of their bytes."""

    shards: list[Path]
    size: int
    """Bytes of audio."""
    there_before: int
    """Number of shards that an earlier run wrote."""


def pack(
    parts: Mapping[str, Trials],
    out: AnyPath,
    *,
    title: str,
    shard_bytes: int = SHARD_BYTES,
    group_bytes: int = GROUP_BYTES,
) -> PackResult:
    """Write the recordings of ``parts`` to shards in the folder ``out``.

    The same recordings give the same shards. A shard gets its name when it is complete, so the same
    call resumes after an interruption.

    Args:
        parts: split → its trials; the split is ``"all"`` for a corpus without parts.
        shard_bytes: the most bytes of audio in a shard; a larger recording gets its own.
        group_bytes: the same for a row group.

    Raises:
        InputError: if a recording is missing or changes during packing; if two recordings have the
            same id; if ``out`` holds shards of other recordings; or if a file cannot be written.
        MissingLibrary: if pyarrow is not installed.
    """
    out = Path(out)
    check_setting("shard_size", shard_bytes, shard_bytes >= 1, "at least 1 byte")
    # Decide which recording belongs to which shard.
    recordings = _check_and_size_recordings(parts)
    shards: dict[Path, list[_Packed]] = {}
    for split, split_recordings in recordings.items():
        name = f"test-{split}"  # the notes state the phase of a further evaluation part, such as `track1`
        if split in (*_NAMES, WHOLE):
            name = _NAMES.get(split, WHOLE)
        groups = list(_group_by_size(split_recordings, shard_bytes))
        for number, group in enumerate(groups):
            path = path_below(out, "data") / f"{name}-{number:05d}-of-{len(groups):05d}.parquet"
            shards[path] = group
    trials = list(chain.from_iterable(parts.values()))
    size = sum(packed.size for packed in chain.from_iterable(recordings.values()))
    with writing(out, "make room or name another folder; the same command resumes"), writing_folder(out):
        _write_or_compare_plan(title, shards, out)
        existing = {path for path in shards if path.is_file()}
        with ProgressDisplay[None](title="packing", unit="recording", total=len(trials), leave=True) as display:
            for path, shard in shards.items():
                if path not in existing:
                    with replacing(path, durable=True) as temporary:
                        _write_parquet(temporary, shard, group_bytes)
                display.update(len(shard))
        _write_arena_files(out, title, trials, _NAMES.get(list(parts)[-1], "test"))
    return PackResult(list(shards), size, len(existing))


def _write_or_compare_plan(title: str, shards: Mapping[Path, Sequence[_Packed]], out: Path) -> None:
    """Write digests of the trials of each shard, or compare them with an earlier run's."""
    digests = {}
    for path, shard in shards.items():
        digests[path.relative_to(out).as_posix()] = trials_digest([packed.trial for packed in shard], _text_for_digest)
    plan = json_text({"title": title, "shards": digests}, indent=1)
    file = out / _PLAN
    if not file.exists():
        if {*os.listdir(out)} - {FOLDER_LOCK}:
            raise InputError(f"{out} is not empty: name another folder")
        write_text(file, plan)
    elif read_bounded(file, _MAX_PLAN_BYTES).decode("utf-8", "replace") != plan:
        raise InputError(
            f"{out} holds shards of other recordings, or in other sizes, or files of the corpus have changed since: "
            "name another folder, or remove this one"
        )


def _text_for_digest(trial: Trial) -> str:
    # Another text would refuse to resume an earlier run.
    return f"{trial.id} {trial.label} {_notes_json(trial)} {tuple(status_of(trial.audio_path()))} {trial.part}"


def _write_arena_files(out: Path, title: str, trials: Trials, split: str) -> None:
    # The Speech Anti-Spoofing Arena reads exactly these two files, columns and keys.
    path = out / "data" / "labels.parquet"
    pyarrow = pyarrow_module("pyarrow", path)
    parquet = pyarrow_module("pyarrow.parquet", path)
    ids = pyarrow.array([trial.id for trial in trials], pyarrow.string())
    labels = pyarrow.array([_LABELS[trial.label] for trial in trials], pyarrow.int64())
    with replacing(path, durable=True) as temporary:
        parquet.write_table(pyarrow.table({"utterance_id": ids, "label": labels}), temporary)
    write_text(
        out / "eval.yaml",
        f"name: {json.dumps(PurePath(title).name)}\ntasks:\n  - id: speech-anti-spoofing\n    config: default\n"
        f"    split: {split}\nmetrics: [eer_percent]\n",
    )


def _check_and_size_recordings(parts: Mapping[str, Trials]) -> dict[str, list[_Packed]]:
    split_of: dict[str, str] = {}
    # Two trials of one split cannot have the same id: reading its list refuses that.
    for split, trials in parts.items():
        check_utf8(trial.id for trial in trials)
        repeated_ids = [trial.id for trial in trials if split_of.setdefault(trial.id, split) != split]
        if repeated_ids:
            ids_stand = pluralise(repeated_ids, "id stands", "ids stand")
            raise InputError(
                f"{ids_stand} in {split_of[repeated_ids[0]]} and in {split}, but each recording needs its own id: "
                f"{join_names(repeated_ids)}; pack one `split`"
            )
    # Find the sizes of the recordings, which must all exist.
    recordings: dict[str, list[_Packed]] = {}
    for split, trials in parts.items():
        split_recordings = []
        missing = []
        for trial in ProgressDisplay(trials, title=f"sizes of {split}", unit="file"):
            try:
                source = _fetch(trial)
                if isinstance(source, Path):
                    split_recordings.append(_Packed(trial, source.stat().st_size, source.suffix))
                else:  # the recording is in a shard, or a part
                    split_recordings.append(_Packed(trial, len(source.content), source.suffix or ""))
            except OSError:
                missing.append(str(trial.path))
        if missing:
            raise InputError(
                f"{len(missing):,} of {len(trials):,} audio files of {split} are missing: {join_names(missing, 3)}; complete "
                "the corpus, or name another `split`"
            )
        recordings[split] = split_recordings
    return recordings


def _notes_json(trial: Trial) -> str:
    """Return id, fields and extra columns as JSON, with the phase if it is not a split."""
    fields = {name: getattr(trial, name) for name in FIELDS if getattr(trial, name) is not None}
    if trial.phase is not None and trial.phase not in _NAMES:
        fields["phase"] = trial.phase
    return json_text({**dict(trial.extra), **fields, "utterance_id": trial.id})


def _fetch(trial: Trial) -> Fetched:
    """Fetch a recording; write the samples of a part to an AU file in memory, without loss."""
    recording = trial.recording()
    if isinstance(recording, PartOf):
        with AudioFile(recording) as audio:
            if not audio.is_whole():
                blocks, rates = zip(*audio.blocks())
                samples = as_16_bits(np.concatenate(blocks, axis=1).T)
                content = io.BytesIO()
                soundfile.write(content, samples, rates[0], _SUBTYPES[samples.dtype.name], format="AU")
                return RecordingBytes(str(recording), content.getvalue(), ".au")
    return fetch(recording)


def _read_content(packed: _Packed) -> bytes:
    path = packed.trial.audio_path()
    with as_input_error(f"audio file {path} cannot be read", OSError):
        with open_recording(_fetch(packed.trial)) as file:
            content = file.read()
    if len(content) != packed.size:
        raise InputError(f"audio file {path} changed while it was packed: start again when it is complete")
    return content


def _name_in_shard(packed: _Packed) -> str:
    """Escape the id so that it can never be a path."""
    return f"{quote(packed.trial.id, safe='').replace('.', '%2E')}{packed.suffix}"


def _write_parquet(path: Path, shard: Sequence[_Packed], group_bytes: int) -> None:
    pyarrow = pyarrow_module("pyarrow", path)
    parquet = pyarrow_module("pyarrow.parquet", path)
    # The schema has the types of pyarrow, and its metadata has the types of ``datasets``.
    audio = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    features = {
        "path": {"dtype": "string", "_type": "Value"},
        "audio": {"sampling_rate": 16000, "_type": "Audio"},
        "label": {"names": [BONAFIDE, SPOOF], "_type": "ClassLabel"},
        "notes": {"dtype": "string", "_type": "Value"},
    }
    types = (pyarrow.string(), audio, pyarrow.int64(), pyarrow.string())
    schema = pyarrow.schema(
        list(zip(features, types)), metadata={"huggingface": json_text({"info": {"features": features}})}
    )
    # Audio is not compressed, because compression would save next to nothing, and make reading slower.
    compression = {
        "path": "snappy",
        "audio.bytes": "none",
        "audio.path": "snappy",
        "label": "snappy",
        "notes": "snappy",
    }
    with parquet.ParquetWriter(path, schema, compression=compression, use_dictionary=False) as writer:
        for group in _group_by_size(shard, group_bytes, _GROUP_ROWS):
            rows: list[dict[str, object]] = []
            for packed in group:
                name = _name_in_shard(packed)
                rows.append(
                    {
                        "path": name,
                        "audio": {"bytes": _read_content(packed), "path": name},
                        "label": _LABELS[packed.trial.label],
                        "notes": _notes_json(packed.trial),
                    }
                )
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema), row_group_size=len(group))


def _group_by_size(
    recordings: Sequence[_Packed], max_bytes: int, max_recordings: int | None = None
) -> Iterator[list[_Packed]]:
    """Divide into consecutive groups; a recording above ``max_bytes`` gets its own."""
    group: list[_Packed] = []
    num_bytes = 0
    for packed in recordings:
        if group and (len(group) == max_recordings or num_bytes + packed.size > max_bytes):
            yield group
            group = []
            num_bytes = 0
        group.append(packed)
        num_bytes += packed.size
    if group:
        yield group
