"""Read a corpus whose recordings are packed in shards: Parquet, Arrow or tar files."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from sys import getsizeof
from typing import Any

from nes2net.data.audio.files import is_recording, walk
from nes2net.data.audio.packed import SHARD_SUFFIXES, Member, audio_column, open_shard, status_of, tar_members
from nes2net.data.audio.tables import Table, open_table
from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Protocols, Root
from nes2net.data.corpora.generic import FIELDS, SPLIT_WORDS, UserCorpus
from nes2net.data.corpora.id_tables import LABELS
from nes2net.data.corpora.protocol import WHOLE, NotFound
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.lib.errors import InputError, as_input_error, join_names, pluralise, readable_size, short_repr
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.output.terminal import note_once
from nes2net.lib.process.this_process import enough_memory
from nes2net.lib.storage.files import Budget, is_stream
from nes2net.lib.storage.plain_data import parse_json
from nes2net.lib.storage.text_files import decode_text
from nes2net.lib.web.remote import (
    NUM_THREADS,
    RemotePath,
    address_of,
    expand_series,
    forget,
    is_address,
    is_remote,
    list_folder,
)

#: Possible names of the column or entry that holds the id of a recording.
IDS = ("utterance_id", "id", "utt_id", "__key__")
_SPLITS = ("split", "phase")
_NOTES = "notes"
_SAME = {"speaker_id": "speaker"}  # name of a column → field of a trial
# Columns and entries that are neither copied to a field nor kept in ``extra``.
_READ_APART = {*IDS, *_SPLITS, _NOTES, "label", "path", "audio"}
_MAX_NOTES_LENGTH = 1 << 20  # characters or bytes
_COMPRESSED = re.compile(r"\.(tgz|tar\.\w+)$", re.IGNORECASE)
# Name of a shard in a series, as ``datasets`` writes it: prefix, number, number of shards, suffix.
_COUNTED = re.compile(r"(.*-)(\d{5})-of-(\d{5})(\.\w+)")
# Names of the types of columns of words and numbers, in pyarrow; categories are a dictionary.
_PLAIN_TYPE = re.compile(
    r"(dictionary<values=)?((large_)?string|string_view|u?int\d+|(half)?float\d*|double|bool|null)\b"
)
# Words, and numbers of the classes in the Arena → our label.
_WORDS: dict[Any, str] = {**LABELS, "0": BONAFIDE, "1": SPOOF}
_LABELS = {**_WORDS, 0: BONAFIDE, 1: SPOOF}
_NO_LETTERS = re.compile(r"[^A-Za-z]")
_KEY = re.compile(r"((?:.*/)?[^/.]+)[^/]*", re.DOTALL)  # group 1 is the key of a file in a tar file, if not hidden
_TEXTS = (".json", ".cls", ".txt")  # suffixes of the files that are read beside a recording in a tar file


@dataclass(frozen=True)
class ShardFile:
    """A Parquet, Arrow or tar file that holds many recordings."""

    path: Path
    split: str | None
    """The split in the name of the file, or of a folder above it, if any."""


def shards_below(root: Path) -> list[ShardFile]:
    """List the shards in and below the folder ``root``, sorted by path, or ``root`` itself.

    Raises:
        NotFound: if there are no shards.
        InputError: if there are shards of more than one kind, only compressed shards, or fewer
            shards than their names state.
    """
    address = str(root)
    folder = root
    paths: list[Path]
    if is_remote(root):
        folder = RemotePath(folder_of(address))
        paths = list(map(RemotePath, shard_addresses(address)))
    elif root.is_file() and root.suffix.lower() in SHARD_SUFFIXES:
        folder = root.parent
        paths = [root]
    else:
        paths = _paths_below(root)
    if not paths:
        raise NotFound(
            f"{address}: no shards; expected .parquet, .arrow or .tar files in it or in its folders; name a folder that has them",
            [root],
        )
    kinds = {path.suffix.lower() for path in paths}
    if len(kinds) > 1:
        raise InputError(
            f"{address} holds shards of several kinds ({', '.join(sorted(kinds))}): name the folder of one"
        )
    if paths != [root]:
        names = {path.relative_to(folder).as_posix() for path in paths}
        matches = filter(None, map(_COUNTED.fullmatch, names))
        for before, count, suffix in sorted({match.group(1, 3, 4) for match in matches}):
            series = [f"{before}{shard:05d}-of-{count}{suffix}" for shard in range(int(count))]
            missing = [shard for shard in series if shard not in names]
            if missing:
                raise InputError(
                    f"{address}: {len(missing):,} of {pluralise(series, 'shard is', 'shards are')} missing: "
                    f"{join_names(missing, 3)}; copy or download them"
                )
    return [ShardFile(path, _split_of(path.relative_to(folder))) for path in sorted(paths)]


def folder_of(address: str) -> str:
    fixed = re.split(r"[*{]", address, maxsplit=1)[0]  # up to a pattern or series
    if fixed != address or address.lower().endswith(SHARD_SUFFIXES):
        return fixed.rpartition("/")[0]
    return address.rstrip("/")


def _paths_below(root: Path) -> list[Path]:
    files.corpus_root(root)
    paths = []
    compressed = None
    for folder, subfolders, names in walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if is_shard(name) and not is_stream(path):
                paths.append(path)
            elif _COMPRESSED.search(name):
                compressed = path
    if not paths and compressed:
        raise InputError(
            f"{compressed} is compressed, so its recordings cannot be read one by one: decompress it first"
        )
    return paths


def shard_addresses(address: str) -> list[str]:
    """Return the address of a remote shard, of a series of shards, or of the shards in and below a folder or of a pattern.

    Only folders and patterns are asked for, with the errors of
    :func:`~nes2net.lib.web.remote.list_folder`. Facts about a shard are asked for again.
    """
    if is_shard(_name_in(address)) and "*" not in address:
        addresses = expand_series(address)
        for shard in addresses:
            forget(shard)
        return addresses
    return [shard for shard in list_folder(address) if is_shard(_name_in(shard))]


def _name_in(address: str) -> str:
    return PurePosixPath(address.partition("?")[0]).name


def is_shard(name: str) -> bool:
    """Whether a file of this name is a shard.

    >>> [is_shard(name) for name in ("test-00000-of-00002.parquet", "labels.parquet", ".x.tar", "cache-1.arrow")]
    [True, False, False, False]
    """
    return name.lower().endswith(SHARD_SUFFIXES) and name != "labels.parquet" and not name.startswith((".", "cache-"))


def _split_of(path: PurePath) -> str | None:
    first_words = [_NO_LETTERS.split(name)[0].lower() for name in reversed(path.parts)]
    return next(filter(None, map(SPLIT_WORDS.get, first_words)), None)


def _read_table(shard: ShardFile, root: Path) -> Iterator[Trial]:
    # The default id is the path of the recording below ``root``.
    budget = Budget.of(f"shard {shard.path}", status_of(shard.path).size, "if it can be trusted, write smaller shards")
    table = open_table(shard.path, budget)
    audio = audio_column(table.schema, shard.path)
    columns = [field.name for field in table.schema if field.name != audio and _PLAIN_TYPE.match(str(field.type))]
    # Refuse columns with the same name, and columns of labels or splits with a wrong type.
    files.check_columns(columns, f"shard {shard.path}")
    for name in ("label", *_SPLITS):
        number = table.schema.get_field_index(name)
        if number >= 0 and name not in columns:
            raise InputError(
                f"shard {shard.path}: the column {name!r} is of type {short_repr(str(table.schema.field(number).type))}; expected "
                "words or whole numbers: write it again, or rename it"
            )
    label_of = _class_labels(table, shard.path) or _label_of
    for number, values in enumerate(_read_rows(table, columns, budget)):
        row_name = f"shard {shard.path}, row {number}"
        yield _trial_of_row(shard.path / str(number), values, shard, root, label_of, row_name)


def _class_labels(table: Table, path: Path) -> Callable[[Any, str], str | None] | None:
    metadata = (table.schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        content = parse_json(metadata, f"the metadata of shard {path}")
        names = content.get("info", {}).get("features", {}).get("label", {}).get("names")
    except InputError:
        raise
    except (ValueError, AttributeError):  # the metadata was not written by ``datasets``
        return None
    if not names or not isinstance(names, list):
        return None
    words = list(map(str, names))
    listed_words = short_repr(", ".join(words))
    labels = {number: _LABELS.get(word.strip().lower()) for number, word in enumerate(words)}
    if None in labels.values():
        raise InputError(
            f"shard {path}: the names of its labels are {listed_words}; expected {', '.join(LABELS)}; rename them"
        )
    return partial(_label_of, labels=_WORDS | labels, expected=f"0 to {len(words) - 1} ({listed_words})")


def _read_rows(table: Table, names: list[str], budget: Budget) -> Iterator[FactsDict]:
    if not names:
        num_rows = sum(table.counts)
        budget.take("rows", steps=num_rows)
        for _ in range(num_rows):
            yield {}
        return
    # Batches have their columns in the order of the schema, as `names`.
    for batch in table.batches(names, budget):
        for values in zip(*batch.columns):
            row: FactsDict = {}
            for name, value in zip(names, values):
                row[name] = value.as_py()
                # A file may store a long text once for many rows, but in memory each row has a copy.
                budget.take("text beside its audio", bytes=getsizeof(row[name]))
            yield row


def _label_of(
    value: Any,
    row_name: str,
    labels: Mapping[Any, str | None] = _LABELS,
    expected: str = "0 (bona fide), 1 (spoof), null",
) -> str | None:
    if value in (None, ""):
        return None
    word = value
    if isinstance(value, str):
        word = value.strip().lower()
    if isinstance(value, (bool, list, dict)) or word not in labels:
        raise InputError(
            f"{row_name}: the label is {short_repr(str(value))}; expected {expected} or one of {', '.join(LABELS)}; correct it"
        )
    return labels[word]


def _trial_of_row(
    path: Path,
    values: Facts,
    shard: ShardFile,
    root: Path,
    label_of: Callable[[Any, str], str | None],
    row_name: str,
) -> Trial:
    notes = _parse_notes(values.get(_NOTES), row_name)
    merged = _stated(notes) | _stated(values)
    # Only a column ``label`` may have class names of its own (:func:`_class_labels`), not a label in the notes.
    label = label_of(values["label"], row_name) if "label" in values else _label_of(merged.get("label"), row_name)
    ids = [_as_text(merged[name]) for name in IDS if name in merged]
    id = ids[0] if ids else path.relative_to(root).as_posix()
    phase = _phase_of_row(merged, shard, row_name)
    # All other values are fields of the trial, or extra columns.
    # Of `speaker` and `speaker_id`, the first counts.
    fields: dict[str, str | None] = {}
    extra = []
    for name, value in merged.items():
        if name in _READ_APART:
            continue
        field = _SAME.get(name, name)
        text = _as_text(value)
        # In some data sets, the attack of a bona fide trial is called "bonafide".
        if (field, text) == ("attack", BONAFIDE):
            text = ""
        if field in FIELDS:
            fields.setdefault(field, files.or_none(text))
        elif text:
            extra.append((name, text))
    return Trial("%20".join(id.split()), path, label, phase=phase, extra=tuple(extra), **fields)  # type: ignore[arg-type]  # only text


def _stated(values: Facts) -> FactsDict:
    return {name: value for name, value in values.items() if value not in (None, "")}


def _phase_of_row(values: Facts, shard: ShardFile, row_name: str) -> str | None:
    """If the shard's name states the split, a row may state a part of it, such as ``progress``."""
    if shard.split is not None:
        phase = files.canonical_phase(_as_text(values.get("phase", "")))
        return shard.split if phase.lower() in ("", *SPLIT_WORDS) else phase
    word = str(values.get("split") or values.get("phase") or "").strip()
    if not word:
        return None
    split = SPLIT_WORDS.get(word.lower())
    if split is None:
        raise InputError(
            f"{row_name}: unknown split {short_repr(word)}; expected one of {', '.join(SPLIT_WORDS)}; correct it"
        )
    return split


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def _parse_notes(text: Any, row_name: str) -> FactsDict:
    if text in (None, ""):
        return {}
    with as_input_error(f"{row_name}: the notes are not JSON", ValueError, TypeError, remedy=short_repr(str(text))):
        if len(text) > _MAX_NOTES_LENGTH:
            raise ValueError(f"{len(text):,} characters, more than {_MAX_NOTES_LENGTH:,}")
        notes = parse_json(text, f"{row_name}: the notes")
        if not isinstance(notes, dict):
            raise ValueError("not a mapping of names to values")
        return notes


def _read_tar(shard: ShardFile, root: Path, unread: list[str]) -> Iterator[Trial]:
    # Make a trial of each sample: a recording, and texts. The label is in the .json, or else in the .cls, or else in the
    # .txt. A sample without a recording is skipped, and so is a second text with one of these suffixes.
    with closing(open_shard(shard.path)) as file:
        for key, sample in _samples_of(tar_members(shard.path)).items():
            sample_name = f"shard {shard.path}, {key}"
            recordings = [member.name for member in sample if _is_audio(member)]
            if len(recordings) > 1:
                raise InputError(
                    f"{sample_name} has more than one recording: {join_names(recordings)}; give each its own name"
                )
            texts: dict[str, str] = {}
            for member in sample:
                suffix = os.path.splitext(member.name)[1].lower()
                if recordings and suffix in _TEXTS and suffix not in texts:
                    if member.size > _MAX_NOTES_LENGTH:
                        raise InputError(
                            f"shard {shard.path}, {member.name} has {readable_size(member.size)}; "
                            f"at most {readable_size(_MAX_NOTES_LENGTH)} are read; shorten it"
                        )
                    file.seek(member.offset)
                    content = file.read(member.size)
                    texts[suffix] = decode_text(shard.path / member.name, content, "shard {}: not a text file ({})")
                elif not _is_audio(member):
                    unread.append(member.name)
            if not recordings:
                continue
            values = _parse_notes(texts.get(".json"), f"{sample_name}.json")
            word = texts.get(".cls", texts.get(".txt", "")).strip()
            # Without a .cls, other words than labels are transcripts.
            if values.get("label") is None and (".cls" in texts or word.lower() in _LABELS):
                values["label"] = word
            yield _trial_of_row(shard.path / recordings[0], values, shard, root, _label_of, sample_name)


def _samples_of(members: Iterable[Member]) -> dict[str, list[Member]]:
    """Group files, except hidden ones, by WebDataset's key: the name up to the first dot.

    Recordings that share this key, such as ``talk.1.0.wav`` and ``talk.1.1.wav``, are grouped with
    the files that differ from them only in the suffix.
    """
    keys = {member: match[1] for member in members if (match := _KEY.fullmatch(member.name))}
    num_recordings = Counter(key for member, key in keys.items() if _is_audio(member))
    samples: dict[str, list[Member]] = defaultdict(list)
    for member, key in keys.items():
        if num_recordings[key] > 1:
            key = os.path.splitext(member.name)[0]
        samples[key].append(member)
    return samples


def _is_audio(member: Member) -> bool:
    return is_recording(os.path.basename(member.name))


@dataclass(frozen=True, kw_only=True)
class ShardCorpus(UserCorpus):
    """A user's own recordings in a folder of shards."""

    def find_split_names(self, root: Root, protocols: Protocols) -> set[str | None]:
        return {shard.split for shard in shards_below(self.find_protocol(root, protocols=protocols))}

    def place(self, root: Root) -> Path:
        root = super().place(root)
        return RemotePath(address_of(root)) if is_address(root) else root

    def find_audio(self, root: Root, split: str = WHOLE) -> Path:
        root = self.place(root)
        return RemotePath(folder_of(str(root))) if is_remote(root) else super().find_audio(root, split)

    def find_protocol(self, root: Root, split: str = WHOLE, protocols: Protocols = None) -> Path:
        """Return ``root`` after checking that there are shards, which may be of all splits.

        Raises:
            NotFound: if there are no shards.
            InputError: if ``protocols`` is given; also the errors of :func:`shards_below`.
        """
        if protocols is not None:
            raise InputError("shards hold the labels of their recordings: remove `protocols`")
        root = self.place(root)
        shards_below(root)
        return root

    def read_protocol(self, path: Path, split: str | None = WHOLE, audio: Path | None = None) -> list[Trial]:
        # Choose the shards that may hold trials of the split.
        whole_corpus = split in (None, WHOLE)
        shards = shards_below(path)
        splits = dict.fromkeys(str(shard.split) for shard in shards)
        if not whole_corpus:
            shards = [shard for shard in shards if shard.split in (None, split)]
        if not shards:
            raise InputError(
                f"{path}: no shard of the split '{split}' is there, only of {', '.join(splits)}; choose one of these"
            )
        root = self.find_audio(path)
        split_trials: list[Trial] = []
        trials: list[Trial] = []
        unread: list[str] = []
        read = partial(_read_shard, root=root, unread=unread)
        with ThreadPoolExecutor(NUM_THREADS) as threads:
            read_all: Callable[..., Iterable[list[Trial]]] = map
            if is_remote(path):
                read_all = threads.map
            for shard, shard_trials in zip(shards, read_all(read, shards)):
                trials += shard_trials
                every_row = whole_corpus or shard.split is not None  # the shard's name states the split of all rows
                split_trials += [trial for trial in shard_trials if every_row or trial.phase in (None, split)]
        if unread:
            note_once(
                f"not read in the shards of {path}: {join_names(sorted(unread), 3)}; a recording needs a suffix such as .wav, "
                "its label lies in a .json, .cls or .txt of the same name"
            )
        files.check_trials(trials, path)
        # Without trials, select_phase() raises an error that lists the phases.
        return split_trials or files.select_phase(trials, split)


def _read_shard(shard: ShardFile, root: Path, unread: list[str]) -> list[Trial]:
    trials = _read_table(shard, root)
    if shard.path.suffix.lower() == ".tar":
        trials = _read_tar(shard, root, unread)
    problem = f"shard {shard.path} cannot be read"
    remedy = "it is cut off or damaged, copy or download it again"
    too_large = f"shard {shard.path} needs more memory than there is"
    # Reading a damaged shard can raise any error.
    with as_input_error(problem, Exception, remedy=remedy), enough_memory(lambda: too_large):
        return list(trials)


CORPUS = ShardCorpus(
    title="Corpus in shards",
    notes="""
    The audio is read from the shards without unpacking them. Listing the trials reads no audio.

    data/test-*.parquet         the layout of the Speech Anti-Spoofing Arena, and of data sets that
                                datasets uploads to the hub
    data-*-of-*.arrow           the layout that save_to_disk of datasets writes
    shard-000.tar               WebDataset: utt1.flac and, with the same name up to the first dot,
                                utt1.json, or utt1.cls or utt1.txt with the label alone; not
                                compressed. Of recordings that agree up to the first dot, the names
                                without suffix count.

    The name of a shard, or of a folder above it, may begin with its split: train, validation or
    dev, test or eval. If no name states the split, a column split may state the split of each row.
    A table has these columns, and a .json has these entries:

    audio              the content of an audio file, or {bytes, path}
    label              0 bona fide, 1 spoof, unless a ClassLabel of datasets names them otherwise;
                       or a word that a generic list may have; null if unknown
    utterance_id       also id; by default the address of the recording, data/test-00000.parquet/17
    notes              JSON with entries of the same names; a column overrides an entry of the notes
    phase              a phase of the evaluation part, if there are several, such as progress
    attack, …          and other fields of a trial; speaker_id is speaker
    any other name     of words and numbers: kept in extra of the trial

    Files called labels.parquet, and files whose name begins with cache-, do not count as shards.
    """,
    about="recordings of your own in Parquet, Arrow or tar files; hub:OWNER/NAME for shards on the Hugging Face hub",
    eer_method="arena",
)
