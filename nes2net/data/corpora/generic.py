"""A user's own recordings: a CSV file that lists them, or a folder for each class.

A list is a CSV file with a header and these columns. Commas, tabs, semicolons or vertical bars
separate them, as the header tells; tabs if the name ends in ``.tsv``.

================== ============================================================================
``path``           also ``file``, ``file_path`` and so on; relative to the folder of the list
``label``          ``bonafide``, ``genuine``, ``real``, ``human``, ``pristine``; ``spoof``, ``fake``,
                   ``deepfake``, ``synthetic``, ``generated``; or empty
``split``          also ``phase``; train, dev or eval (optional)
``id`` (also ``utt_id``), ``attack`` and other fields of :class:`~nes2net.data.corpora.trial.Trial` (optional)
any other name     kept in ``extra`` of the trial; no column may itself be called ``extra``
================== ============================================================================

A list is trusted to say where files lie: absolute paths and ``..`` are allowed. The files are only
decoded as audio.

Accepted layouts:

======================= ============================================================================
``list.csv``            one list, with parts if it has a column ``split``
``<root>/train.csv``    a list for each part: ``train.csv``, ``dev.csv``, ``eval.csv``;
                        together they are the whole corpus
``<root>/metadata.csv`` also ``meta.csv``, ``list.csv``, or the only CSV file of the folder
``<root>/train/real/``  a folder for each part, with a folder for each class in it
``<root>/real/``        a folder for each class; below ``spoof``, the first folder names the attack
======================= ============================================================================

Segments of partly spoofed recordings stand in RTTM beside the list or in the folder:
``<list>.rttm``, ``train.rttm`` (``dev.rttm``, ``eval.rttm``), or ``segments.rttm`` for all parts. Its
utterances are ids of trials.

An id is the path from the root without suffix. Spaces in it become ``%20``, because spaces separate
the fields of score files.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nes2net.data.audio.files import recordings_listed
from nes2net.data.audio.read import count_samples
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Corpus
from nes2net.data.corpora.id_tables import delimiter_of, first_line, unknown_label
from nes2net.data.corpora.protocol import WHOLE
from nes2net.data.corpora.segments import Uncovered, any_spoof, check_labels, labels_of, read_segments
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.lib.errors import InputError, counted, listed, shown
from nes2net.lib.progress import ProgressDisplay
from nes2net.metrics.localisation.label_files import read_reco2dur, read_rttm
from nes2net.metrics.localisation.segments import Segment

#: Word, in lower case → our label.
LABELS = {
    **dict.fromkeys(
        ("bonafide", "bona-fide", "bona_fide", "bona fide", "genuine", "real", "human", "pristine"), BONAFIDE
    ),
    **dict.fromkeys(("spoof", "spoofed", "fake", "deepfake", "synthetic", "generated"), SPOOF),
}
#: Word, in lower case → split.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "development", "valid", "validation", "val"), "dev"),
    **dict.fromkeys(("eval", "evaluation", "test"), "eval"),
}
SPLITS = ("train", "dev", "eval")
_PATH_COLUMNS = ("path", "file", "filename", "file_name", "file_path", "filepath", "audio_path", "audio")
_ID_COLUMNS = ("id", "utt_id", "utterance_id")
_SPLIT_COLUMNS = ("split", "phase")
_SHORT = 3.0  # seconds; measuring that takes less shows no progress
_LISTS = ("metadata.csv", "meta.csv", "list.csv")
#: Fields of a trial whose columns have the same name.
FIELDS = tuple(
    name for name in Trial.__slots__ if name not in ("id", "path", "label", "phase", "extra", "system_scores")
)


def _own(folder: Path, split: str) -> Path | None:
    """The list or the folder of classes in ``folder`` that is only for ``split``."""
    return _list_of(folder, split) or _folder_of(folder, split)


def _list_of(folder: Path, split: str) -> Path | None:
    names = [f"{name}{suffix}" for name, of in SPLIT_WORDS.items() if of == split for suffix in (".csv", ".tsv")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _folder_of(folder: Path, split: str) -> Path | None:
    names = [name for name, of in SPLIT_WORDS.items() if of == split]
    return next((folder / name for name in names if (folder / name).is_dir() and _classes(folder / name)), None)


def _classes(folder: Path) -> dict[str, Path]:
    """Label → the folder in ``folder`` that is named after it."""
    found: dict[str, Path] = {}
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and (label := LABELS.get(inner.name.lower())):
            if label in found:
                raise InputError(f"{folder}: both {found[label].name} and {inner.name} would be {label}; rename one")
            found[label] = inner
    return found


def _read_folder(folder: Path, root: Path) -> Iterator[Trial]:
    parts: dict[str | None, Path] = {split: own for split in SPLITS if (own := _folder_of(folder, split))}
    phase_of_root = SPLIT_WORDS.get(folder.name) if folder != root else None
    for split, part in (parts or {None: folder}).items():
        for label, place in _classes(part).items():
            for path in recordings_listed(place):
                inner = path.relative_to(place).parts
                attack = inner[0] if label == SPOOF and len(inner) > 1 else None
                phase = split or phase_of_root
                yield Trial(files.id_of(path.relative_to(root)), path, label, attack=attack, phase=phase)


def _read_list(path: Path, audio: Path) -> Iterator[Trial]:
    delimiter = "\t" if path.suffix == ".tsv" else delimiter_of(first_line(path)) or ","
    rows = files.read_csv(path, delimiter)
    line, first = next(rows, (1, []))
    header = [name.strip().lower() for name in first]
    id_column = next((name for name in _ID_COLUMNS if name in header), "id")
    header = ["id" if name == id_column else name for name in header]
    file_column = next((header.index(name) for name in _PATH_COLUMNS if name in header), None)
    if file_column is None:
        raise InputError(
            f"{path}, line {line}: expected a column 'path' (or {', '.join(_PATH_COLUMNS[1:])}; and 'label'), found "
            f"{shown(delimiter.join(first))}; commas, tabs, semicolons or vertical bars separate columns"
        )
    split_columns = [name for name in _SPLIT_COLUMNS if name in header]
    if "extra" in header or len(split_columns) > 1:
        wrong = (
            "a column is named 'extra'"
            if "extra" in header
            else "there are the columns 'split' and 'phase', which say the same"
        )
        raise InputError(f"{path}, line {line}: {wrong}; rename or remove it")
    columns = {name: header.index(name) for name in ("id", "label", *split_columns, *FIELDS) if name in header}
    further = [(i, name) for i, name in enumerate(header) if i != file_column and name and name not in columns]
    for line, row in rows:
        if not Path(row[file_column]).name:
            raise InputError(f"{path}, line {line}: names no file: {shown(','.join(row))}")
        if row[file_column].startswith("$"):
            raise InputError(
                f"{path}, line {line}: {shown(row[file_column])} begins with a variable, which is not replaced; write paths "
                "relative to the folder of the list, or absolute ones"
            )
        values = {name: row[column].strip() for name, column in columns.items()}
        label = values.pop("label", "")
        split = "".join(values.pop(name) for name in split_columns)
        id = "%20".join(values.pop("id", "").split()) or files.id_of(Path(row[file_column]))
        further_fields: dict[str, Any] = {name: files.or_none(value, "") for name, value in values.items()}
        if label and label.lower() not in LABELS:
            raise InputError(f"{path}, line {line}: {unknown_label(label, LABELS)}")
        yield Trial(
            id=id,
            path=audio / row[file_column],
            label=LABELS[label.lower()] if label else None,
            phase=files.checked_word(split.lower(), SPLIT_WORDS, "split", path, line) if split else None,
            extra=tuple((name, row[column]) for column, name in further if row[column]),
            **further_fields,
        )


def segments(
    root: str | Path, split: str = WHOLE, *, protocols: str | Path | None = None, uncovered: Uncovered = None
) -> dict[str, list[Segment]]:
    """Utterance of ``split`` → its segments, which cover it from 0 to its duration.

    A trial that is not in the RTTM is bona fide or spoof as a whole, by its label; without a label
    it is left out. Durations come from ``reco2dur`` beside the RTTM, or from the audio files.

    Args:
        root, split, protocols: As for ``CORPUS.trials``.
        uncovered: The class of time that no segment covers, ``"bonafide"`` or ``"spoof"``. By
            default more than a millisecond is an error, unless the RTTM lists spoofed segments
            only; all other time is then bona fide.

    Raises:
        InputError: as ``CORPUS.trials``; if the RTTM is malformed or names other utterances, segments
            lie outside of their utterance or leave out time, or a label of the list contradicts
            them.
        NotFound: if there is no RTTM.
    """
    split = files.known_split(split, CORPUS.accepted_splits, CORPUS.title)
    # The RTTM is beside the list, in the folder of the classes, or in the given place.
    of_split = CORPUS.find_protocol(root, split, protocols)
    place = Path(root if protocols is None else protocols)
    own = [] if of_split.is_dir() else [of_split.with_suffix(".rttm")]
    names = [*(name for name, of in SPLIT_WORDS.items() if of == split), "segments"]
    folders = [path if path.is_dir() else path.parent for path in (of_split, place)]
    path = files.first_file(
        [*own, *(folder / f"{name}.rttm" for folder in folders for name in names)],
        what="RTTM of the segments",
        remedy="write the segments of these recordings into one of them",
    )
    everything, trials = (CORPUS.trials(root, part, protocols=protocols) for part in (WHOLE, split))
    ids = {trial.id for trial in (*everything, *trials)}  # ids of a part need not begin with its folder
    listed_ids = read_rttm(path).keys()
    if unknown := [id for id in listed_ids if id not in ids]:
        raise InputError(
            f"{path}: {counted(len(unknown), 'utterance is', 'utterances are')} not in the list: {listed(unknown)}"
        )
    known = [trial for trial in trials if trial.label is not None or trial.id in listed_ids]
    reco2dur = path.with_name("reco2dur")
    stated = read_reco2dur(reco2dur) if reco2dur.is_file() else {}
    durations = {trial.id: stated[trial.id] for trial in known if trial.id in stated}
    unstated = [(trial.id, trial.path) for trial in known if trial.id not in stated and trial.path is not None]
    for id, audio in ProgressDisplay(unstated, title="durations", unit="file", delay=_SHORT):
        durations[id] = count_samples(audio) / SAMPLE_RATE
    found = read_segments(path, durations, LABELS, uncovered)
    check_labels(any_spoof(found), known, path)
    return found | {
        trial.id: [Segment(trial.label, 0.0, durations[trial.id])]
        for trial in known
        if trial.id not in found and trial.label and durations[trial.id]
    }


def segment_labels(
    root: str | Path, split: str = WHOLE, resolution: int = 20, *, protocols: str | Path | None = None
) -> dict[str, NDArray]:
    """Utterance of ``split`` → labels (T,) of frames of ``resolution`` ms: 1 bona fide, 0 spoof.

    They are pooled from labels of 10 ms. Errors are the same as for :func:`segments`.
    """
    return labels_of(segments(root, split, protocols=protocols), resolution)


@dataclass(frozen=True, kw_only=True)
class UserCorpus(Corpus):
    """A user's own recordings: ``root`` may be a file, and ``"all"`` is a part."""

    splits = SPLITS
    user_defined: bool = True

    def trials(
        self, root: str | Path | None, split: str = WHOLE, *, protocols: str | Path | None = None
    ) -> list[Trial]:
        """The trials of ``split`` in the order of the list, shard by shard, or sorted by path.

        They have the paths of their audio, or addresses in shards (:mod:`nes2net.data.audio.packed`); no audio is read.

        Args:
            root: A list or shard, or a folder in one of the layouts of this module.
            split: ``"train"``, ``"dev"``, ``"eval"``, or ``"all"``. Every split of a corpus without
                parts is the whole corpus.
            protocols: The list or the folder of the lists, if they are not in ``root``; the paths in
                them are then relative to ``root``.

        Raises:
            InputError: if ``root`` has none of the layouts, a row is malformed, an id stands twice, or
                the split has no trials.
            MissingLibrary: if Parquet or Arrow files need pyarrow.
        """
        split = files.known_split(split, self.accepted_splits, self.title)
        return self.read_protocol(self.find_protocol(root, split, protocols), split, self.find_audio(root, split))

    def keys(self, path: str | Path | None, phase: str | None = None) -> list[Trial]:
        """The labelled trials, for evaluation; errors as for :meth:`trials`."""
        split = phase if phase in self.accepted_splits else WHOLE  # else a phase such as `progress`
        labelled = [trial for trial in self.trials(path, split or WHOLE) if trial.label is not None]
        if not labelled:
            raise InputError(f"{path}: no trial has a label; fill the column 'label'")
        return files.select_phase(labelled, phase)

    def find_splits(self, root: str | Path | None, protocols: str | Path | None = None) -> tuple[str, ...]:
        """The parts that are there: some of ``train``, ``dev``, ``eval``, or ``("all",)``."""
        named = self.named_splits(root, protocols)
        if None in named:
            named = {trial.phase for trial in self.trials(root, protocols=protocols)}
        return tuple(split for split in self.splits if split in named) or (WHOLE,)

    @abstractmethod
    def named_splits(self, root: str | Path | None, protocols: str | Path | None) -> set[str | None]:
        """The splits that the names of files and folders state; None is among them if rows state the split."""

    def find_audio(self, root: str | Path | None, split: str = WHOLE) -> Path:
        """The folder from which paths start."""
        root = self.place(root)
        return root.parent if root.is_file() else files.corpus_root(root)


@dataclass(frozen=True, kw_only=True)
class GenericCorpus(UserCorpus):
    """A user's own recordings in one of the layouts above."""

    def named_splits(self, root: str | Path | None, protocols: str | Path | None) -> set[str | None]:
        """As for every corpus of a user."""
        place = self.place(root if protocols is None else protocols)
        own: set[str | None] = {split for split in self.splits if place.is_dir() and _own(place, split)}
        return own or {None}

    def find_protocol(self, root: str | Path | None, split: str = WHOLE, protocols: str | Path | None = None) -> Path:
        """The list of ``split``, the folder of its classes, or the folder of all parts' lists.

        :class:`~nes2net.data.corpora.protocol.NotFound` if there is none of these.
        """
        place = self.place(root if protocols is None else protocols)
        if place.is_file():
            return place
        if place.is_dir():
            candidates = sorted(path for path in place.iterdir() if path.suffix in (".csv", ".tsv"))
            if split in self.splits and (own := _own(place, split)):
                return own
            if split == WHOLE and any(_list_of(place, part) for part in self.splits):
                return place
            usual = [path for path in candidates if path.name in _LISTS]
            if usual or len(candidates) == 1:
                return (usual or candidates)[0]
            if _classes(place) or any(_folder_of(place, name) for name in self.splits):
                return place
        raise files.NotFound(
            f"{place}: no list of trials and no folders of classes; give a CSV file with the columns path,label, or a folder with "
            "the folders bonafide and spoof",
            [place],
        )

    def read_protocol(self, path: Path, split: str | None = WHOLE, audio: Path | None = None) -> list[Trial]:
        """The trials of a list, or of a folder of lists or classes.

        :class:`InputError` names the file and line that is malformed.
        """
        if path.is_dir() and any(_list_of(path, part) for part in self.splits):
            of_parts = (
                replace(trial, phase=part)
                for part in self.splits
                if (own := _own(path, part))
                for trial in self.read_protocol(own, part, audio if audio and own.is_file() else path)
            )
            return files.select_phase(files.checked_trials(of_parts, path), split)
        rows = _read_folder(path, audio or path) if path.is_dir() else _read_list(path, audio or path.parent)
        found = files.checked_trials(rows, path)
        # The list of a single part (train.csv) need not name it.
        if split in (None, WHOLE) or all(trial.phase is None for trial in found):
            return found
        return files.select_phase(found, split)


CORPUS = GenericCorpus(
    title="Generic corpus",
    about="recordings of your own: a CSV list, or a folder for each class",
    takes="LIST.csv|FOLDER",
    segments=segments,
    segment_labels=segment_labels,
)
