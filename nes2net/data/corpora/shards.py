"""Recordings packed in shards: Parquet, Arrow or tar files, in a folder and the folders in it.

The audio is read from the shards, without unpacking them; listing the trials reads no audio.

=========================== ========================================================================
``data/test-*.parquet``     the layout of the Speech Anti-Spoofing Arena, and what
                            ``datasets`` uploads to the hub
``data-*-of-*.arrow``       what ``datasets`` writes by ``save_to_disk``
``shard-000.tar``           WebDataset: ``utt1.flac`` and, of the same name, ``utt1.json``, or
                            ``utt1.cls`` or ``utt1.txt`` with the label alone; not compressed
=========================== ========================================================================

The name of the shard, or of a folder above it, states the split: ``train``, ``validation`` or
``dev``, ``test`` or ``eval``, and what follows after ``-``, ``_`` or ``.``; otherwise by a column
``split``. The columns of a table, and the entries of a ``.json``:

================== =================================================================================
``audio``          the content of an audio file, or ``{bytes, path}``
``label``          0 bona fide, 1 spoof, unless a ``ClassLabel`` of ``datasets`` names them otherwise;
                   or a word that a generic list may have; null: unknown
``utterance_id``   also ``id``; the place of the recording, ``data/test-00000.parquet/17``, if not given
``notes``          JSON with the same names as columns have, which go before it
``phase``          of an evaluation part that has several, such as ``progress``
``attack`` …       and other fields of :class:`~nes2net.data.corpora.trial.Trial`; ``speaker_id`` is ``speaker``
any other name     of words and numbers: kept in ``extra`` of the trial
================== =================================================================================

``labels.parquet`` beside the shards does not count as a shard, and neither does a file whose name
begins with ``cache-``.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from sys import getsizeof
from typing import Any

from nes2net.data.audio.files import is_recording, walk
from nes2net.data.audio.packed import SHARD_SUFFIXES, Member, audio_column, tar_members
from nes2net.data.audio.tables import Table, open_table, pyarrow_module
from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.generic import FIELDS, LABELS, SPLIT_WORDS, UserCorpus
from nes2net.data.corpora.protocol import WHOLE, NotFound
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.lib.errors import InputError, counted, first_line, listed, readable_size, shown
from nes2net.lib.files import Budget
from nes2net.lib.plain_data import parsed_json
from nes2net.lib.this_process import is_out_of_memory

#: Names of the id of a recording.
IDS = ("utterance_id", "id", "utt_id", "__key__")
_SPLITS = ("split", "phase")
_NOTES = "notes"
_SAME = {"speaker_id": "speaker"}
_READ_APART = {*IDS, *_SPLITS, _NOTES, "label", "path", "audio"}
_LONGEST_NOTES = 1 << 20  # characters or bytes
_COMPRESSED = re.compile(r"\.(tgz|tar\.\w+)$", re.IGNORECASE)
_COUNTED = re.compile(r"(.*-)(\d{5})-of-(\d{5})(\.\w+)")  # as datasets calls shards
_NUMBERED = {0: BONAFIDE, 1: SPOOF}
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Shard:
    """A file of many recordings."""

    path: Path
    split: str | None
    """The split that its name tells."""


def shards_below(root: str | Path) -> list[Shard]:
    """The shards in ``root`` and the folders in it, sorted by path.

    Raises:
        NotFound: if there are no shards.
        InputError: if there are shards of more than one kind, or only compressed ones, or if shards
            are missing that the names of others count.
    """
    root = Path(root)
    if root.is_file() and root.suffix.lower() in SHARD_SUFFIXES:
        return [Shard(root, _split_of(PurePosixPath(root.name)))]
    files.corpus_root(root)
    found: list[Shard] = []
    compressed = None
    for folder, inner, names in walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if is_shard(name) and path.is_file():
                found.append(Shard(path, _split_of(PurePosixPath(path.relative_to(root).as_posix()))))
            elif _COMPRESSED.search(name):
                compressed = path
    if not found and compressed:
        raise InputError(
            f"{compressed} is compressed, so its recordings cannot be read one by one: decompress it first"
        )
    if not found:
        raise NotFound(f"{root}: no shards; expected .parquet, .arrow or .tar files in it or in its folders", [root])
    if len(kinds := {shard.path.suffix.lower() for shard in found}) > 1:
        raise InputError(f"{root} holds shards of several kinds ({', '.join(sorted(kinds))}): name the folder of one")
    # Names such as 00000-of-00002 tell whether shards are missing.
    there = {shard.path.relative_to(root).as_posix() for shard in found}
    for name in sorted(there):
        if match := _COUNTED.fullmatch(name):
            before, number, count, suffix = match.groups()
            if int(number) == 0 or f"{before}{0:0{len(number)}d}-of-{count}{suffix}" not in there:
                of_it = [f"{before}{i:0{len(number)}d}-of-{count}{suffix}" for i in range(int(count))]
                if missing := [other for other in of_it if other not in there]:
                    raise InputError(
                        f"{root}: {len(missing):,} of {counted(len(of_it), 'shard is', 'shards are')} missing: "
                        f"{listed(missing, 3)}; copy or download them"
                    )
    return sorted(found, key=lambda shard: shard.path.parts)


def is_shard(name: str) -> bool:
    """Whether a file of this name is a shard.

    >>> [is_shard(name) for name in ("test-00000-of-00002.parquet", "labels.parquet", ".x.tar", "cache-1.arrow")]
    [True, False, False, False]
    """
    return name.lower().endswith(SHARD_SUFFIXES) and name != "labels.parquet" and not name.startswith((".", "cache-"))


def _split_of(path: PurePosixPath) -> str | None:
    words = (match[0].lower() for part in reversed(path.parts) if (match := _WORD.match(part)))
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def _read_table(shard: Shard, root: Path) -> Iterator[Trial]:
    """The trials of a Parquet or Arrow file, from its columns without audio."""
    budget = Budget.of(f"shard {shard.path}", shard.path.stat().st_size, "if it can be trusted, write smaller shards")
    table = open_table(shard.path, budget)
    audio = audio_column(table.schema, shard.path)
    types = pyarrow_module("pyarrow.types", shard.path)
    light = []
    for field in table.schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        is_word = types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view"
        is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
        if field.name != audio and (is_word or is_number or types.is_null(kind)):
            light.append(field.name)
    if twice := [name for name, count in Counter(light).items() if count > 1]:
        raise InputError(f"shard {shard.path}: more than one column is called {shown(twice[0])}")
    for name in ("label", *_SPLITS):
        if (place := table.schema.get_field_index(name)) >= 0 and name not in light:
            raise InputError(
                f"shard {shard.path}: the column {name!r} is of type {shown(str(table.schema.field(place).type))}; expected "
                "words or whole numbers: write it anew, or rename it"
            )
    try:  # the words that numbers in the column `label` stand for
        told = parsed_json(
            (table.schema.metadata or {}).get(b"huggingface", b"{}"), f"the metadata of shard {shard.path}"
        )
        names = told.get("info", {}).get("features", {}).get("label", {}).get("names")
    except InputError:
        raise
    except (ValueError, AttributeError):  # some other program's metadata
        names = None
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        names = []
    of_name = [LABELS.get(name.strip().lower()) for name in names]
    if None in of_name:
        # If no word can be understood, the numbers count as the Arena's, if they are in its range.
        if len(names) != 2 or any(of_name) or {*names} != {"0", "1"}:
            raise InputError(
                f"shard {shard.path}: the names of its labels are {shown(', '.join(names))}; expected {', '.join(LABELS)}"
            )
        of_name = [_NUMBERED[int(name)] for name in names]

    def label_of(value: Any, place: str) -> str | None:
        if not names or value is None or isinstance(value, str):
            return _label(value, place)
        if isinstance(value, bool) or value not in range(len(names)):
            raise InputError(
                f"{place}: the label is {shown(str(value))}; expected 0 to {len(names) - 1} ({shown(', '.join(names))})"
            )
        return of_name[int(value)]

    for row, values in enumerate(_rows(table, light, budget)):
        place = f"shard {shard.path}, row {row}"
        yield _trial(shard.path / str(row), values, shard, root, label_of, place)


def _rows(table: Table, names: list[str], budget: Budget) -> Iterator[dict[str, Any]]:
    """The values of the columns ``names``, row by row. A long text that rows share stands in a file once."""
    if not names:
        rows = sum(table.counts)
        budget.take("rows", steps=rows)
        yield from ({} for _ in range(rows))
        return
    for batch in table.batches(names, budget):
        for values in zip(*batch.columns):
            row = {}
            for name, value in zip(names, values):
                row[name] = value.as_py()
                budget.take("text beside its audio", bytes=getsizeof(row[name]))
            yield row


def _label(value: Any, place: str) -> str | None:
    """The label of a number of the Arena or of a word."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        word = value.strip().lower()
        if word in LABELS:
            return LABELS[word]
        value = int(word) if word in ("0", "1") else value
    if isinstance(value, (bool, str)) or value not in (*_NUMBERED,):  # a list, which JSON may have, has no hash
        raise InputError(
            f"{place}: the label is {shown(str(value))}; expected 0 (bona fide), 1 (spoof), null or one of "
            f"{', '.join(LABELS)}"
        )
    return _NUMBERED[int(value)]


def _trial(
    path: Path,
    values: Mapping[str, Any],
    shard: Shard,
    root: Path,
    label_of: Callable[[Any, str], str | None],
    place: str,
) -> Trial:
    """The trial of a row, from its columns and then from its notes."""
    notes = _notes(values.get(_NOTES), place)
    merged = {**notes, **{name: value for name, value in values.items() if value not in (None, "")}}
    merged.pop(_NOTES, None)
    label = label_of(values["label"], place) if "label" in values else _label(merged.get("label"), place)
    named = next((merged[name] for name in IDS if merged.get(name) not in (None, "")), None)
    id = str(path.relative_to(root).as_posix()) if named is None else _word(named)
    phase = shard.split
    if phase is not None:
        stated = files.canonical_phase(_word(merged.get("phase") or ""))
        phase = phase if stated.lower() in ("", *SPLIT_WORDS) else stated
    elif (word := next((merged[name] for name in _SPLITS if merged.get(name)), None)) is not None:
        if (phase := SPLIT_WORDS.get(str(word).strip().lower())) is None:
            raise InputError(f"{place}: unknown split {shown(str(word))}; expected one of {', '.join(SPLIT_WORDS)}")
    further: dict[str, Any] = {}
    extra = []
    for name, value in merged.items():
        if value is None or name in _READ_APART:
            continue
        field = _SAME.get(name, name)
        text = _word(value)
        if field in FIELDS:
            further.setdefault(field, files.or_none(text, "", *(["bonafide"] if field == "attack" else [])))
        elif text:
            extra.append((name, text))
    return Trial("%20".join(id.split()), path, label, phase=phase, extra=tuple(extra), **further)


def _word(value: Any) -> str:
    """``value`` as text: whole numbers without a point, lists and mappings as JSON."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def _notes(text: Any, place: str) -> dict[str, Any]:
    if text in (None, ""):
        return {}
    try:
        if len(text) > _LONGEST_NOTES:
            raise ValueError(f"more than {_LONGEST_NOTES:,} characters")
        notes = parsed_json(text, f"{place}: the notes")
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(f"{place}: the notes are not JSON ({error}): {shown(str(text))}") from error
    if not isinstance(notes, dict):
        raise InputError(f"{place}: the notes are not a mapping in JSON: {shown(str(text))}")
    return notes


def _read_tar(shard: Shard, root: Path) -> Iterator[Trial]:
    """The trials of a tar file: the members that share a name up to its first dot belong together."""
    samples: dict[str, dict[str, Member]] = {}
    for member in tar_members(shard.path):
        folder, name = os.path.split(member.name)
        stem, _, suffix = name.partition(".")
        if not stem:  # hidden, such as the files that macOS adds
            continue
        sample = samples.setdefault(os.path.join(folder, stem), {})
        if suffix in sample:
            raise InputError(f"shard {shard.path}: {shown(member.name)} is in it more than once")
        sample[suffix] = member
    with open(shard.path, "rb") as file:
        for key, sample in samples.items():
            place = f"shard {shard.path}, {key}"
            audio = [member for suffix, member in sample.items() if is_recording(f"x.{suffix}")]
            if len(audio) > 1:
                raise InputError(f"{place} has more than one recording: {listed([member.name for member in audio])}")
            if not audio:
                continue
            text: dict[str, str] = {}
            for kind in (kind for kind in ("json", "cls", "txt") if kind in sample):
                size = sample[kind].size
                of = f"shard {shard.path}, {sample[kind].name}"
                if size > _LONGEST_NOTES:
                    raise InputError(
                        f"{of} has {readable_size(size)}; at most {readable_size(_LONGEST_NOTES)} are read"
                    )
                file.seek(sample[kind].offset)
                try:
                    text[kind] = file.read(size).decode("utf-8-sig")
                except UnicodeDecodeError as error:
                    raise InputError(f"{of}: is not text in UTF-8") from error
            values: dict[str, Any] = _notes(text.get("json"), f"shard {shard.path}, {key}.json")
            if values.get("label") is None and "cls" in text:
                values["label"] = text["cls"].strip()
            elif values.get("label") is None and (word := text.get("txt", "").strip().lower()) in (*LABELS, "0", "1"):
                values["label"] = word  # otherwise it is what is said
            yield _trial(shard.path / audio[0].name, values, shard, root, _label, place)


@dataclass(frozen=True, kw_only=True)
class ShardCorpus(UserCorpus):
    """The recordings of a folder of shards."""

    def named_splits(self, root: str | Path | None, protocols: str | Path | None) -> set[str | None]:
        """As for every corpus of a user."""
        return {shard.split for shard in shards_below(self.find_protocol(root, protocols=protocols))}

    def find_protocol(self, root: str | Path | None, split: str = WHOLE, protocols: str | Path | None = None) -> Path:
        """The folder of the shards, or the shard; :class:`~nes2net.data.corpora.protocol.NotFound` without shards."""
        if protocols is not None:
            raise InputError("shards hold the labels of their recordings: leave out `protocols`")
        root = self.place(root)
        shards_below(root)
        return root

    def read_protocol(self, path: Path, split: str | None = WHOLE, audio: Path | None = None) -> list[Trial]:
        """The trials of the shards in ``path``; errors are the same as for :meth:`trials`."""
        shards = shards_below(path)
        wanted = [shard for shard in shards if split in (None, WHOLE) or shard.split in (None, split)]
        if not wanted:
            there = ", ".join(dict.fromkeys(str(shard.split) for shard in shards))
            raise InputError(f"{path}: no shard of the split '{split}' is there, only of {there}")
        root = self.find_audio(path)
        of_split: list[Trial] = []
        found: list[Trial] = []
        for shard in wanted:
            read = _read_tar if shard.path.suffix.lower() == ".tar" else _read_table
            try:
                of_shard = list(read(shard, root))
            except InputError:
                raise
            except Exception as error:  # a damaged shard can cause any
                if is_out_of_memory(error):
                    raise InputError(
                        f"shard {shard.path} needs more memory than there is ({first_line(error)})"
                    ) from error
                raise InputError(
                    f"shard {shard.path} cannot be read ({error or type(error).__name__}): it is cut off or damaged; copy or "
                    "download it again"
                ) from error
            found += of_shard
            # All trials of a shard that names its split belong to that split, also in the phase
            # `progress`.
            everything = shard.split is not None or split in (None, WHOLE)
            of_split += of_shard if everything else [trial for trial in of_shard if trial.phase in (None, split)]
        if len({trial.id for trial in found}) < len(found):
            first: dict[str, Trial] = {}
            one, other = next((first[t.id], t) for t in found if first.setdefault(t.id, t) is not t)
            places = [os.path.relpath(trial.audio_path(), root) for trial in (one, other)]
            raise InputError(
                f"{root}: the id {shown(one.id)} stands in {places[0]} and in {places[1]}; give each recording its own"
            )
        files.checked_trials(found, path)
        return of_split or files.select_phase(found, split)


CORPUS = ShardCorpus(
    title="Corpus in shards",
    about="recordings of your own in Parquet, Arrow or tar files; hub:OWNER/NAME for shards on the Hugging Face hub",
    eer_method="arena",
)
