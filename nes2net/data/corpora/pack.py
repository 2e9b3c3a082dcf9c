"""Packing the recordings of a corpus into shards, which :mod:`nes2net.data.corpora.shards` reads.

The bytes of the audio files stay as they are. Parquet shards have the layout of the Speech
Anti-Spoofing Arena: columns ``path``, ``audio`` (bytes and path), ``label`` (0 bona fide, 1 spoof, null
unknown) and ``notes`` (JSON with ``utterance_id`` and what the corpus says besides), in files
``data/test-00000-of-00002.parquet``, with ``data/labels.parquet`` and ``eval.yaml``. Tar shards
have the layout of WebDataset.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import quote

from nes2net.data.audio.files import is_recording
from nes2net.data.audio.packed import fetched, open_recording, pyarrow_module, status_of
from nes2net.data.corpora.generic import FIELDS
from nes2net.data.corpora.protocol import WHOLE
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial, trials_digest
from nes2net.lib.errors import InputError, counted, listed
from nes2net.lib.files import json_text, read_bounded, remove_left, replacing, write_text, writing
from nes2net.lib.progress import ProgressDisplay

Format = Literal["parquet", "tar"]
FORMATS: tuple[Format, ...] = get_args(Format)
#: Bytes of audio in a shard, as ``datasets`` uploads them.
SHARD_BYTES = 500_000_000

_NAMES = {"train": "train", "dev": "validation", "eval": "test"}  # split → as datasets calls it
_PLAN = "pack.json"
_LARGEST_PLAN = 1 << 24  # bytes
# A row group is read at once: recordings in another order, as in training, are then read fast.
_GROUP_ROWS = 100
_GROUP_BYTES = 4_000_000
_LABELS = {BONAFIDE: 0, SPOOF: 1, None: None}


class _Packed(NamedTuple):
    """A recording and the facts that are written with it."""

    trial: Trial
    size: int
    """Bytes."""
    suffix: str
    """With its point; may be empty."""


class PackResult(NamedTuple):
    """What :func:`pack` wrote."""

    shards: list[Path]
    trials: int
    size: int
    """Bytes of audio."""
    there_before: int
    """How many of the shards an earlier run wrote."""


def pack(
    parts: Mapping[str, Sequence[Trial]],
    out: str | Path,
    *,
    title: str,
    format: Format = "parquet",
    shard_bytes: int = SHARD_BYTES,
) -> PackResult:
    """Write the recordings of ``parts`` to shards in the folder ``out``.

    Each shard appears when it is complete, and the same call after an interruption leaves out the
    finished ones. Equal files give equal shards.

    Args:
        parts: Split, or ``"all"`` for a corpus without parts → its trials.
        title: Title of the corpus.
        shard_bytes: Bytes of audio in a shard, at most; a shard has at least one recording.

    Raises:
        InputError: if a recording is missing or changes meanwhile, an id stands twice, ``out`` holds
            shards of other recordings, or a file cannot be written.
        MissingLibrary: if Parquet needs pyarrow.
    """
    out = Path(out)
    if shard_bytes < 1:
        raise InputError(f"`shard_size` is at least 1 byte, not {shard_bytes}")
    planned = _planned(parts, out, format, shard_bytes)
    trials = [packed.trial for shard in planned.values() for packed in shard]
    with writing(out, "make room or name another folder; the same command goes on"):
        # The plan of an earlier run has to be the same: its shards are then as this run would write them.
        digests = {
            path.relative_to(out).as_posix(): trials_digest(
                [packed.trial for packed in shard],
                lambda t: f"{t.id} {t.label} {_notes(t)} {tuple(status_of(t.audio_path()))}",
            )
            for path, shard in planned.items()
        }
        plan = json_text({"title": title, "shards": digests}, indent=1)
        file = out / _PLAN
        if not file.exists():
            if out.is_dir() and any(out.iterdir()):
                raise InputError(f"{out} is not empty: name another folder")
            write_text(file, plan)
        elif read_bounded(file, _LARGEST_PLAN).decode("utf-8", "replace") != plan:
            raise InputError(
                f"{out} holds shards of other recordings, or in other sizes, or files of the corpus have changed since: "
                "name another folder, or remove this one"
            )
        for folder in {path.parent for path in planned}:
            remove_left(folder)
        there = {path for path in planned if path.is_file()}
        write: Callable[[Path, Sequence[_Packed]], None] = _write_tar if format == "tar" else _write_parquet
        with ProgressDisplay[None](title="packing", unit="recording", total=len(trials), leave=True) as display:
            for path, shard in planned.items():
                if path not in there:
                    with replacing(path) as temporary:
                        write(temporary, shard)
                display.update(len(shard))
        if format == "parquet":  # the labels and the task, which the Arena expects beside the shards
            path = out / "data" / "labels.parquet"
            pyarrow = pyarrow_module("pyarrow", path)
            parquet = pyarrow_module("pyarrow.parquet", path)
            ids = pyarrow.array([trial.id for trial in trials], pyarrow.string())
            labels = pyarrow.array([_LABELS[trial.label] for trial in trials], pyarrow.int64())
            with replacing(path) as temporary:
                parquet.write_table(pyarrow.table({"utterance_id": ids, "label": labels}), temporary)
            write_text(
                out / "eval.yaml",
                f"name: {json.dumps(PurePath(title).name)}\ntasks:\n  - id: speech-anti-spoofing\n    config: default\n"
                f"    split: {_NAMES.get(list(parts)[-1], 'test')}\nmetrics: [eer_percent]\n",
            )
    size = sum(packed.size for shard in planned.values() for packed in shard)
    return PackResult(list(planned), len(trials), size, len(there))


def _planned(
    parts: Mapping[str, Sequence[Trial]], out: Path, format: Format, shard_bytes: int
) -> dict[Path, list[_Packed]]:
    """The path of each shard, and what goes into it."""
    split_of: dict[str, str] = {}
    for split, trials in parts.items():
        if twice := [trial.id for trial in trials if split_of.setdefault(trial.id, split) != split]:
            raise InputError(
                f"{counted(len(twice), 'id stands', 'ids stand')} in {split_of[twice[0]]} and in {split}, but each "
                f"recording needs its own: {listed(twice)}; pack one `split`"
            )
    found: dict[str, list[_Packed]] = {}
    for split, trials in parts.items():
        found[split], missing = [], []
        for trial in ProgressDisplay(trials, title=f"sizes of {split}", unit="file", delay=1.0):
            path = trial.audio_path()
            try:
                source = fetched(path)
                if isinstance(source, Path):
                    found[split].append(_Packed(trial, path.stat().st_size, path.suffix))
                else:  # in another shard
                    found[split].append(_Packed(trial, len(source.content), source.suffix or ""))
            except OSError:
                missing.append(str(path))
        if missing:
            raise InputError(
                f"{len(missing):,} of {len(trials):,} audio files of {split} are missing: {listed(missing, 3)}; complete "
                "the corpus, or name another `split`"
            )
    wrong = [p.trial.id for part in found.values() for p in part if not is_recording(f"x{p.suffix}")]
    if format == "tar" and wrong:
        raise InputError(
            f"a tar shard tells recordings by their suffix, which {len(wrong):,} do not have: {listed(wrong, 3)}; take "
            "`format=parquet`"
        )
    planned: dict[Path, list[_Packed]] = {}
    for split, part in found.items():
        shards = list(_groups(part, shard_bytes))
        # The first word tells the split: of `track1`, a further evaluation part, notes tell the rest.
        name = _NAMES.get(split, split if split == WHOLE else f"test-{split}")
        for number, shard in enumerate(shards):
            file = f"{name}-{number:05d}"
            of_arena = f"data/{file}-of-{len(shards):05d}.parquet"
            planned[out / (f"{file}.tar" if format == "tar" else of_arena)] = shard
    return planned


def _notes(trial: Trial) -> str:
    """Id, fields and further columns of a trial, as JSON, and its phase if it is not a split."""
    fields = {name: value for name in FIELDS if (value := getattr(trial, name)) is not None}
    if trial.phase is not None and trial.phase not in _NAMES:
        fields["phase"] = trial.phase
    return json.dumps({"utterance_id": trial.id, **dict(trial.extra), **fields}, ensure_ascii=False)


def _content(packed: _Packed) -> bytes:
    path = packed.trial.audio_path()
    try:
        with open_recording(path) as file:
            content = file.read()
    except OSError as error:
        raise InputError(f"audio file {path} cannot be read ({error.strerror})") from error
    if len(content) != packed.size:
        raise InputError(f"audio file {path} changed while it was packed: begin anew when it is complete")
    return content


def _name(packed: _Packed) -> str:
    """The name of the file of a recording, which no operating system reads as a path."""
    return f"{quote(packed.trial.id, safe='').replace('.', '%2E')}{packed.suffix}"


def _write_parquet(path: Path, shard: Sequence[_Packed]) -> None:
    pyarrow = pyarrow_module("pyarrow", path)
    parquet = pyarrow_module("pyarrow.parquet", path)
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
    # Coded audio does not become smaller; read as it lies in the file, it needs no decompression.
    compression = {
        "path": "snappy",
        "audio.bytes": "none",
        "audio.path": "snappy",
        "label": "snappy",
        "notes": "snappy",
    }
    with parquet.ParquetWriter(path, schema, compression=compression, use_dictionary=False) as writer:
        for group in _groups(shard, _GROUP_BYTES, _GROUP_ROWS):
            names = [_name(packed) for packed in group]
            columns: list[list[Any]] = [
                names,
                [{"bytes": _content(packed), "path": name} for packed, name in zip(group, names)],
                [_LABELS[packed.trial.label] for packed in group],
                [_notes(packed.trial) for packed in group],
            ]
            arrays = [pyarrow.array(values, kind) for values, kind in zip(columns, types)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), row_group_size=len(group))


def _groups(recordings: Sequence[_Packed], most_bytes: int, most: int | None = None) -> Iterator[list[_Packed]]:
    """Consecutive ``recordings`` of at most so many bytes and number together; at least one is in a group."""
    group: list[_Packed] = []
    held = 0
    for packed in recordings:
        if group and (len(group) == most or held + packed.size > most_bytes):
            yield group
            group = []
            held = 0
        group.append(packed)
        held += packed.size
    if group:
        yield group


def _write_tar(path: Path, shard: Sequence[_Packed]) -> None:
    with tarfile.open(path, "w") as archive:
        for packed in shard:
            name = _name(packed)
            told = json.loads(_notes(packed.trial)) | {"label": packed.trial.label}
            json_name = f"{os.path.splitext(name)[0]}.json"
            for member, content in ((name, _content(packed)), (json_name, json.dumps(told).encode())):
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
