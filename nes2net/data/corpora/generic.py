"""Read a user's own recordings: from a CSV file that lists them, or from a folder for each class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import filterfalse
from pathlib import Path

from nes2net.data.audio.files import list_recordings
from nes2net.data.audio.read import count_samples
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Corpus, Protocols, Root
from nes2net.data.corpora.id_tables import (
    LABELS,
    PATH_COLUMNS,
    column_name,
    column_of,
    delimiter_of,
    first_line,
    label_of,
)
from nes2net.data.corpora.list_forms import find_list, is_list, open_list
from nes2net.data.corpora.listed_parts import TIMES, find_columns, read_part
from nes2net.data.corpora.protocol import WHOLE
from nes2net.data.corpora.segments import Uncovered, any_spoof, check_labels, covering_segments, read_labels
from nes2net.data.corpora.trial import SPOOF, Trial, Trials, as_claim
from nes2net.lib.errors import InputError, at_line, join_names, pluralise, refuse, short_repr
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.storage.files import AnyPath, is_absent
from nes2net.lib.storage.text_files import read_once
from nes2net.metrics.localisation.label_files import read_audacity, read_reco2dur, read_rttm, read_textgrid
from nes2net.metrics.localisation.segments import Segment, SegmentsByUtterance

#: Word for a split, in lower case → our name of the split.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "development", "valid", "validation", "val"), "dev"),
    **dict.fromkeys(("eval", "evaluation", "test", "testing"), "eval"),
}
SPLITS = ("train", "dev", "eval")
# Usual name of a column of a list → its possible names.
_COLUMN_NAMES = {
    "path": PATH_COLUMNS,
    "id": ("id", "utt_id", "utterance_id"),
    "split": ("split", "phase"),
}
_LABEL_FILES = {".labels.txt": read_audacity, ".TextGrid": read_textgrid}  # beside a recording
# Beginning of a path in a list that stands for the folder of the audio.
_FOLDER_OF_AUDIO = ("{data_root}/", "$data_root/")
#: Fields of a trial that a list may state, each in a column of the same name.
FIELDS = tuple(
    name for name in Trial.__slots__ if name not in ("id", "path", "label", "phase", "extra", "system_scores", "part")
)


def _split_of(word: str) -> str | None:
    return SPLIT_WORDS.get(word.lower())


def _paths_of_splits(folder: Path) -> dict[str, Path]:
    # Split → its list or folder, by their names; a list comes before a folder.
    lists: dict[str, Path] = {}
    folders: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_list(path) and not path.is_dir():
            _add(lists, _split_of(path.name.lower().partition(".")[0]), path)
        elif _split_of(path.name) and path.is_dir() and (find_list(path) is not None or _class_folders(path)):
            _add(folders, _split_of(path.name), path)
    paths = folders | lists
    return {split: paths[split] for split in SPLITS if split in paths}


def _add(paths: dict[str, Path], meaning: str | None, path: Path) -> None:
    if meaning is not None and paths.setdefault(meaning, path) != path:
        raise InputError(
            f"{path.parent}: both {paths[meaning].name} and {path.name} stand for {meaning}; rename or remove one"
        )


def _class_folders(folder: Path) -> dict[str, Path]:
    # Label → the folder that is called like this class.
    classes: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        label = LABELS.get(path.name.lower())
        if label and path.is_dir():
            _add(classes, label, path)
    return classes


def _read_folder(folder: Path, root: Path) -> list[Trial]:
    # The first folder that is called like a part is the part, above or below the folder of the class.
    if not folder.is_relative_to(root):
        raise InputError(f"{folder}: holds recordings in folders of classes: give it as `root`, without `protocols`")
    trials = []
    for label, class_folder in _class_folders(folder).items():
        for path in list_recordings(class_folder):
            recording = path.relative_to(root)
            phase = next(filter(None, map(_split_of, recording.parent.parts)), None)
            attack = None
            if label == SPOOF:
                attack = next(filterfalse(_split_of, path.relative_to(class_folder).parent.parts), None)
            trials.append(Trial(files.id_of(recording), path, label, attack=attack, phase=phase))
    trial_in = {trial.phase: trial for trial in trials}
    if None in trial_in and len(trial_in) > 1:
        raise InputError(
            f"{folder}: some recordings lie in folders of parts, such as train, but not {trial_in[None].path}; move all "
            "into such folders, or rename these folders"
        )
    return trials


def _read_splits(folder: Path, audio: Path) -> Iterator[Trial]:
    # ``audio``: folder of the paths in lists beside the folders of splits. Rows of a list that state another split are
    # skipped.
    for split, path in _paths_of_splits(folder).items():
        for trial in _read_part(path, audio):
            if trial.phase in (None, split):
                yield replace(trial, phase=split)


def _read_part(path: Path, audio: Path) -> Iterable[Trial]:
    # Read a list, a folder with a list, or a folder with folders of classes.
    if not path.is_dir():
        return read_once(_read_list, path, audio)
    list_in_folder = find_list(path)
    if list_in_folder is not None:
        return read_once(_read_list, list_in_folder, path)
    return _read_folder(path, audio)


def _read_list(path: Path, audio: Path) -> Iterator[Trial]:
    rows = open_list(path)
    line, names = next(rows, (1, []))
    with at_line(path, line):
        header = _usual_header(names)
    part_columns = find_columns(header)
    # Equal pairs of name and value are stored once, to save memory.
    pairs: dict[tuple[str, str], tuple[str, str]] = {}
    for line, row in rows:
        with at_line(path, line):
            values = {name: field.strip() for name, field in zip(header, row, strict=True)}
            part = None
            if part_columns:
                stated_part = {column: values[name] for column, name in part_columns.items()}
                part = read_part(stated_part, f"{path.name}, line {line}")
            recording = _path_of(values.pop("path"), row)
            id = "%20".join(values.pop("id", "").split()) or files.id_of(recording)
            label = None
            if word := values.pop("label", ""):
                label = label_of(word)
        phase = None
        if split := values.pop("split", ""):
            phase = files.look_up_word(split.lower(), SPLIT_WORDS, "split", path, line)
        fields = {name: files.or_none(values.pop(name)) for name in FIELDS if name in values}
        stated_pairs = [pair for pair in values.items() if all(pair) and pair[0] not in TIMES]
        extra = tuple(pairs.setdefault(pair, pair) for pair in stated_pairs)
        trial = Trial(id, audio / recording, label, phase=phase, extra=extra, part=part, **fields)  # type: ignore[arg-type]  # only text
        if trial.claim:
            with at_line(path, line):
                trial = as_claim(trial)
        yield trial


def _usual_header(names: Sequence[str]) -> list[str]:
    """Write the columns of a list in lower case, those with several names by the usual one."""
    header = [name.strip().lower() for name in names]
    for usual_name, possible_names in _COLUMN_NAMES.items():
        column = column_of(header, possible_names)
        if column is not None:
            header[column] = usual_name
    if "key" in header and not {"label", "claim"}.intersection(header):
        header[header.index("key")] = "claim"
    refuse(
        (
            "path" not in header,
            f"expected a column 'path' (or {', '.join(PATH_COLUMNS[1:])}; and 'label'), found "
            f"{short_repr(','.join(names))}; add it, and separate columns by commas, tabs, semicolons or vertical bars, or "
            "write a JSON object in each line",
        ),
        ("extra" in header, "a column is named 'extra', a name that nes2net uses itself; rename or remove it"),
        ("phase" in header, "the columns 'split' and 'phase' mean the same; rename or remove one"),
    )
    files.check_columns([name for name in map(column_name, header) if name], "the header")
    return header


def _path_of(file: str, row: Sequence[str]) -> Path:
    for beginning in _FOLDER_OF_AUDIO:
        file = file.removeprefix(beginning)
    recording = Path(file)
    if not recording.name:
        raise InputError(f"{short_repr(','.join(row))} names no file; write the path of a recording in its column")
    if file.startswith("$"):
        raise InputError(
            f"{short_repr(file)} begins with a variable, which is not replaced; write paths relative to the folder of the "
            "list, or absolute ones"
        )
    return recording


def segments(
    root: AnyPath, split: str = WHOLE, *, protocols: Protocols = None, uncovered: Uncovered = None
) -> SegmentsByUtterance:
    """Read the segments of ``split``: utterance → segments that cover it from 0 to its end.

    Segments come from an RTTM, or from Audacity's ``NAME.labels.txt`` or Praat's ``NAME.TextGrid`` beside recordings.
    Without any, a labelled trial becomes one segment; an unlabelled one is skipped. Durations come
    from ``reco2dur`` beside the RTTM, or from the audio.

    Args:
        root, split, protocols: as for ``CORPUS.trials``.
        uncovered: the class of time that no segment covers, ``"bonafide"`` or ``"spoof"``; by
            default bona fide if only spoofed segments are listed. Otherwise, gaps of more than 1 ms
            are errors.

    Raises:
        InputError: for the reasons of ``CORPUS.trials``; if a file is malformed; if segments
            contradict the list, lie outside of their utterance, or leave gaps.
        NotFound: if there is neither an RTTM nor a label file.
    """
    split = CORPUS.resolve_split(split)
    trials = CORPUS.trials(root, split, protocols=protocols)
    path, listed_segments = _listed_segments(root, split, protocols, trials)
    ids = {trial.id for trial in CORPUS.trials(root, WHOLE, protocols=protocols)}
    ids.update(trial.id for trial in trials)  # an id may depend on whether one split or the whole corpus is read
    unknown_ids = [id for id in listed_segments if id not in ids]
    if unknown_ids:
        utterances_are = pluralise(unknown_ids, "utterance is", "utterances are")
        raise InputError(
            f"{path}: {utterances_are} not in the list: {join_names(unknown_ids)}; add them, or remove their segments"
        )
    labelled = [trial for trial in trials if trial.label is not None or trial.id in listed_segments]
    folder = path if path.is_dir() else path.parent
    reco2dur = folder / "reco2dur"
    durations: dict[str, float] = {}
    if not is_absent(reco2dur):
        stated = read_reco2dur(reco2dur)
        durations = {trial.id: stated[trial.id] for trial in labelled if trial.id in stated}
    unstated = [trial for trial in labelled if trial.id not in durations]
    for trial in ProgressDisplay(unstated, title="durations", unit="file"):
        durations[trial.id] = count_samples(trial.recording()) / SAMPLE_RATE
    segments = covering_segments(listed_segments, path, durations, LABELS, uncovered)
    check_labels(any_spoof(segments), labelled, path)
    for trial in labelled:
        if trial.id not in segments and trial.label and durations[trial.id]:
            segments[trial.id] = [Segment(trial.label, 0.0, durations[trial.id])]
    return segments


def _listed_segments(
    root: AnyPath, split: str, protocols: Protocols, trials: Trials
) -> tuple[Path, SegmentsByUtterance]:
    try:
        path = _find_rttm(root, split, protocols)
    except files.NotFound:
        by_id: SegmentsByUtterance = {}
        for trial in trials:
            recording = trial.audio_path()
            for suffix, read in _LABEL_FILES.items():
                labels = recording.with_name(f"{recording.stem}{suffix}")
                if is_absent(labels):
                    continue
                begins_later = trial.part is not None and trial.part.start
                refuse(
                    (
                        trial.id in by_id,
                        f"{labels}: another file beside it labels the same recording; remove one of them",
                    ),
                    (
                        begins_later,
                        f"{labels}: labels the whole recording, but '{trial.id}' is a part; write an RTTM file of the trials",
                    ),
                )
                by_id[trial.id] = read(labels)
        if not by_id:
            raise
        return CORPUS.find_audio(root, split), by_id  # the folder, for messages
    return path, read_rttm(path)


def _find_rttm(root: AnyPath, split: str, protocols: Protocols) -> Path:
    protocol = CORPUS.find_protocol(root, split, protocols)
    candidates = []
    if not protocol.is_dir():
        candidates.append(protocol.with_suffix(".rttm"))
    for path in (protocol, Path(root if protocols is None else protocols)):
        folder = path if path.is_dir() else path.parent
        names = [word for word, meaning in SPLIT_WORDS.items() if meaning == split]
        candidates += [folder / f"{name}.rttm" for name in (*names, "segments")]
    return files.first_file(
        candidates, what="RTTM of the segments", remedy="write the segments of these recordings into one of them"
    )


@dataclass(frozen=True, kw_only=True)
class UserCorpus(Corpus):
    """A user's own recordings: ``root`` may be a file, and ``"all"`` may be a part."""

    splits = SPLITS
    user_defined: bool = True

    def trials(self, root: Root, split: str = WHOLE, *, protocols: Protocols = None) -> list[Trial]:
        """List the trials of ``split``, in the order of the list or the shards, or by path.

        The path of a trial is a file, or an address in a shard (:mod:`nes2net.data.audio.packed`).

        Args:
            root: a list or shard, or a folder in one of the layouts of this module.
            split: ``"train"``, ``"dev"``, ``"eval"``, or ``"all"``. Without parts, every split is
                the whole corpus.
            protocols: the list or the folder of the lists, if not in ``root``; paths in a list are
                then relative to ``root``.

        Raises:
            InputError: if ``root`` has none of the layouts, if a row is malformed, if an id occurs
                twice, or if the split has no trials.
            MissingLibrary: if the shards need pyarrow.
        """
        split = self.resolve_split(split)
        return self.read_protocol(self.find_protocol(root, split, protocols), split, self.find_audio(root, split))

    def read_keys(self, path: Root, phase: str | None = None) -> list[Trial]:
        # A phase such as `progress` is not a split.
        split = phase if phase is not None and phase in self.accepted_splits else WHOLE
        labelled = [trial for trial in self.trials(path, split) if trial.label is not None]
        if not labelled:
            raise InputError(f"{path}: no trial has a label; fill the column 'label'")
        return files.select_phase(labelled, phase)

    def find_splits(self, root: Root, protocols: Protocols = None) -> tuple[str, ...]:
        """List which of ``train``, ``dev`` and ``eval`` exist; ``("all",)`` if none does."""
        splits = self.find_split_names(root, protocols)
        if None in splits:
            splits = {trial.phase for trial in self.trials(root, protocols=protocols)}
        return tuple(split for split in self.splits if split in splits) or (WHOLE,)

    @abstractmethod
    def find_split_names(self, root: Root, protocols: Protocols) -> set[str | None]:
        """Find the splits in the names of files and folders, and None if rows may state more."""

    def find_audio(self, root: Root, split: str = WHOLE) -> Path:
        """Find the folder to which paths in a list are relative."""
        root = self.place(root)
        if root.is_file():
            return root.parent
        return files.corpus_root(root)


@dataclass(frozen=True, kw_only=True)
class GenericCorpus(UserCorpus):
    """A user's own recordings in one of the layouts that this module describes."""

    def find_split_names(self, root: Root, protocols: Protocols) -> set[str | None]:
        folder = self.place(root if protocols is None else protocols)
        if not folder.is_dir():
            return {None}
        return {*_paths_of_splits(folder)} or {None}

    def holds_only_labels(self, path: Path) -> bool:
        line = first_line(path).lower()
        columns = {column.strip() for column in line.split(delimiter_of(line))}
        is_list = "label" in columns and not columns.isdisjoint(PATH_COLUMNS)
        return not is_list and super().holds_only_labels(path)

    def find_protocol(self, root: Root, split: str = WHOLE, protocols: Protocols = None) -> Path:
        """Find the list of ``split``, its folder of classes, or the folder with a list for each part.

        ``protocols`` comes before ``root``; a file is itself the list.

        Raises:
            NotFound: if there is neither a list nor a folder of classes.
        """
        folder = self.place(root if protocols is None else protocols)
        if folder.is_file():
            return folder
        if folder.is_dir():
            # The list or folder of the split; for the whole corpus, the folder if it has lists of splits.
            of_splits = _paths_of_splits(folder)
            if split in of_splits:
                return of_splits[split]
            if split == WHOLE and any(path.is_file() or find_list(path) for path in of_splits.values()):
                return folder
            # If there are no lists of splits, find a single list of all splits.
            single_list = find_list(folder)
            if single_list is not None:
                return single_list
            # If there is no list at all, take the folder if it has folders of classes.
            if of_splits or _class_folders(folder):
                return folder
        raise files.NotFound(
            f"{folder}: no folders of classes, and no list of trials that has a usual name or is the only one; give a CSV file "
            "with the columns path,label, or a folder with the folders bonafide and spoof",
            [folder],
        )

    def read_protocol(self, path: Path, split: str | None = WHOLE, audio: Path | None = None) -> list[Trial]:
        """Read the trials of ``split`` from a list, or from a folder of lists or classes.

        Args:
            split: ``None`` or ``"all"`` for all trials.
            audio: the folder to which paths in a list, or ids in a folder of classes, are relative;
                by default the folder of the list, or ``path``.

        Raises:
            InputError: if a line is malformed.
        """
        read: Callable[[Path, Path], Iterable[Trial]] = _read_part
        if path.is_dir() and _paths_of_splits(path):
            read = _read_splits
        trials = files.check_trials(read(path, audio or CORPUS.find_audio(path)), path)
        # The rows of a list that is named after its part (train.csv) need not state the part.
        if split in (None, WHOLE) or all(trial.phase is None for trial in trials):
            return trials
        return files.select_phase(trials, split)


CORPUS = GenericCorpus(
    title="Generic corpus",
    notes="""
    A list is a CSV file with a header and the columns below. Tabs separate the columns of a file
    .tsv. In other files, the header shows the separator: commas, tabs, semicolons or vertical bars.
    Between tabs, quotation marks belong to the text, unless the header has any.

    path               also named file, file_path and so on; relative to the folder of the list
    label              bonafide, genuine, real, human, pristine; spoof, fake,
                       deepfake, synthetic, generated; or empty
    split              also named phase; train, dev or eval (optional)
    id, attack, …      fields of a trial (optional); id is also named utt_id
    start, stop        a part of the recording, in samples; or in seconds: offset and duration,
                       start and duration, start and end
    channel            a channel, counted from 0, instead of the mean of all (optional)
    any other name     kept in extra of the trial; no column may be named extra

    Lists of other toolkits are read too: JSON lines (NeMo, Lhotse's cuts of single files,
    AudioFolder; also .gz), Kaldi's wav.scp with utt2label and utt2spk beside it, and SpeechBrain's
    CSV. Commands and archives in them are refused.

    A list may name any file, even by an absolute path or with .., because files are only decoded as
    audio.

    Accepted layouts:

    list.csv                one list; the corpus has parts if the list has a column split
    <root>/train.csv        a list for each part: train.csv, dev.csv, eval.csv
    <root>/metadata.csv     one list in a folder: metadata.csv, meta.csv, list.csv, metadata.jsonl,
                            cuts.jsonl, wav.scp, or the only list of the folder
    <root>/train/real/      a folder for each part, and in it a folder for each class or a list
    <root>/real/            a folder for each class; a folder below spoof is named after the attack
    <root>/real/train/      a folder for each class, and in it a folder for each part

    Segments of partly spoofed recordings stand in an RTTM file beside the list or in the folder:
    <list>.rttm, train.rttm (dev.rttm, eval.rttm), or segments.rttm for all parts, with the ids of
    the trials; or in label files of Audacity (NAME.labels.txt) or Praat (NAME.TextGrid) beside the
    recordings.

    By default, the id of a trial is the path of its recording from the root, without suffix. Spaces
    in an id become %20, because spaces separate the fields of score files.
    """,
    about="recordings of your own: a CSV list, or a folder for each class",
    takes="LIST.csv|FOLDER",
    segments=segments,
    segment_labels=partial(read_labels, segments),
)
