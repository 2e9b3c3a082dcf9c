"""Check a copy of a corpus: which files exist, which tasks they allow, and where to get missing files."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nes2net.data.audio.files import is_recording, walk
from nes2net.data.audio.packed import AnyRecording, is_there, shard_of
from nes2net.data.corpora.copies import shared_recordings
from nes2net.data.corpora.corpus import Corpus, Counts, count
from nes2net.data.corpora.decoding import Decoding, decode_all
from nes2net.data.corpora.listed_parts import PART_FIELDS
from nes2net.data.corpora.protocol import WHOLE, NotFound, corpus_root, resolve_split
from nes2net.data.corpora.segments import any_spoof, check_labels
from nes2net.data.corpora.trial import Trial, extra_fields
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.lib.files import AnyPath
from nes2net.lib.findings import Finding
from nes2net.lib.remote import is_remote
from nes2net.lib.text_files import record_digests
from nes2net.metrics.localisation.frames import RESOLUTIONS


@dataclass
class SplitCheck:
    """The state of one part of a corpus.

    ``present`` and ``missing`` recordings are listed, ``extra`` ones are not; paths in the last two
    begin below the folder ``audio``. ``segments`` describes the labels of segments.
    ``is_trained_on``: all trials are also training trials. ``notes`` need no action.
    """

    split: str
    protocol: Path | None = None
    audio: Path | None = None
    counts: Counts = field(default_factory=lambda: Counts(0))
    official: Counts | None = None
    present: list[AnyRecording] = field(default_factory=list, repr=False)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    decoding: Decoding | None = None
    segments: list[str] = field(default_factory=list)
    is_trained_on: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def training(self) -> str:
        """``"yes"``, ``"in part: …"`` or ``"no: …"``."""
        reason = self.why_no_audio
        unreadable = len(self.present) - self.num_readable
        # Training leaves out unreadable files, but refuses a part with missing files.
        if reason and (self.missing or not unreadable or not self.num_readable):
            return f"no: {reason}"
        if self.counts.spoof is None:
            return f"no: {_UNLABELLED}"
        if not self.counts.labelled:
            return f"no: {_ONE_CLASS}"
        unlabelled = self.counts.trials - (self.counts.bonafide or 0) - self.counts.spoof
        if unlabelled:
            return f"no: {unlabelled:,} of {pluralise(self.counts.trials, 'trial')} have no label"
        if reason:
            return f"in part: {reason}, and are skipped"
        return "yes"

    @property
    def validation(self) -> str:
        """``"yes"``, ``"in part: …"`` or ``"no: …"``; no if all trials are training trials.

        If such a part also lacks audio, only that is given as the reason.
        """
        if self.is_trained_on and self.training != f"no: {self.why_no_audio}":
            return f"no: {_TRAINED_ON}"
        return self.training

    @property
    def scoring(self) -> str:
        """``"yes"``, ``"in part: …"`` or ``"no: …"``."""
        if not self.why_no_audio:
            return "yes"
        if self.num_readable:
            return f"in part: {self.why_no_audio}"
        return f"no: {self.why_no_audio}"

    @property
    def num_readable(self) -> int:
        """Number of files in ``present`` that could be decoded, if that was tried."""
        if self.decoding is None:
            return len(self.present)
        return len(self.present) - len(self.decoding.unreadable)

    @property
    def why_no_audio(self) -> str:
        """Why some trials have no readable audio, if so."""
        if self.audio is None:
            return "its audio is not there"
        if not self.counts.trials:
            return "its trials are not known"
        if self.missing:
            return f"{len(self.missing):,} of {pluralise(self.counts.trials, 'file is', 'files are')} missing"
        if self.decoding and self.decoding.unreadable:
            return f"{len(self.decoding.unreadable):,} of {pluralise(self.counts.trials, 'file')} cannot be read"
        return ""


@dataclass
class KeyCheck:
    """The state of the key: ``path``, if any, and numbers of labelled trials by phase."""

    path: Path | None = None
    counts: dict[str, Counts] = field(default_factory=dict)


@dataclass
class CorpusCheck:
    """The result of :func:`check_corpus`.

    ``findings``: everything that is missing or wrong, and where to get it. ``has_min_tdcf`` is None
    if the corpus does not define min t-DCF, or ``eval`` was not checked. ``is_selection``: only
    some parts were to be checked.
    """

    corpus: Corpus
    root: Path
    is_selection: bool = False
    splits: list[SplitCheck] = field(default_factory=list)
    key: KeyCheck | None = None
    has_min_tdcf: bool | None = None
    findings: list[Finding] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Folders of recordings, and possible files of labels, in ``root`` that were not read."""

    def report(self, kind: str, problem: str, split: str = "", *, spares_some: bool = False) -> None:
        """Add a finding about files of ``kind``, and where to get them.

        Args:
            kind: a key of ``obtain`` of the corpus, such as ``audio``.
            spares_some: whether some trials can be used despite the problem.
        """
        subject = f"{kind} of {split}" if split else kind
        self.findings.append(Finding(subject, problem, self.corpus.how_to_get(kind), spares_some))

    @property
    def complete(self) -> bool:
        return not self.findings

    @property
    def is_whole(self) -> bool:
        """Whether a user's own corpus has no parts such as ``train``."""
        return [split_check.split for split_check in self.splits] == [WHOLE]

    def tasks(self) -> list[tuple[str, str]]:
        """Return task, such as ``"score eval"``, and ``"yes"``, ``"in part: …"`` or ``"no: …"``."""
        # Training uses the part ``train``, and validation uses ``dev``; a corpus without parts is used for both. Each
        # part can be scored.
        train = []
        score = []
        evaluate = []
        for split_check in self.splits:
            split = split_check.split
            if split in ("train", WHOLE):
                train.append(("train", split_check.training))
            if split in ("dev", WHOLE):
                train.append(("validate", split_check.validation))
            name = "" if self.is_whole else f" {split}"
            score.append((f"score{name}", split_check.scoring))
            if self.key is None:
                evaluate.append((f"evaluate{name}", self._evaluation_answer(split, split_check.counts, _UNLABELLED)))
        if [task for task, _ in train] == ["train"] and not self.is_selection:
            train.append(("validate", "no: there is no part dev"))
        # If there is a key, the evaluation of each phase of the key is a separate task.
        if self.key is not None:
            reason = "the keys cannot be used"
            if self.key.path is None:
                reason = "the keys are not there"
            for phase, counts in (self.key.counts or {"eval": Counts(0)}).items():
                evaluate.append((f"evaluate {phase}", self._evaluation_answer(phase, counts, reason)))
        return train + score + evaluate

    def _evaluation_answer(self, phase: str, counts: Counts, reason: str) -> str:
        if not (counts.bonafide or counts.spoof):
            return f"no: {reason}"
        if not counts.labelled:
            return f"in part: {_ONE_CLASS}, so at a threshold of other trials"
        if self.has_min_tdcf is None or phase != "eval":
            return "yes"
        if self.has_min_tdcf:
            return "yes: EER and min t-DCF"
        return "in part: EER without min t-DCF"


# Match the names of files that may hold labels: at the root, and below it, where transcripts lie beside recordings.
_LABELS = re.compile(r"(?i)(?!readme|licen[cs]e|changelog).*\.(csv|tsv|txt|jsonl?|xlsx)$")
_LISTS = re.compile(r"(?i).*\.(csv|tsv|jsonl)$")
# Field in which trials of one recording may differ → the problem.
_SHARED = {"label": "with contrary labels", "phase": "in several parts", "id": "under several ids"}
_UNLABELLED = "its labels are not there"
_ONE_CLASS = "all its trials are of one class"
_TRAINED_ON = "all its trials are training trials too; fill a column 'split' with train and dev"


def check_corpus(
    corpus: Corpus,
    root: AnyPath | None,
    *,
    protocols: AnyPath | None = None,
    keys: AnyPath | None = None,
    splits: Sequence[str] | None = None,
    subset: bool = False,
    decode: bool = False,
    workers: int | None = None,
) -> CorpusCheck:
    """Check which files of ``corpus`` exist in ``root``, and which tasks they allow.

    Missing and malformed files are reported in the result.

    Args:
        root, protocols: as for the method ``trials`` of the corpus.
        keys: the folder of the keys, by default ``root``. If the protocols hold the labels,
            ``keys`` stands for ``protocols``, unless both are given.
        splits: the parts to check, by default all.
        subset: accept protocols that list a selection of the official trials.
        decode: decode every file, in ``workers`` processes.

    Raises:
        NotFound: if ``root`` or ``keys`` does not exist.
        InputError: if one of ``splits`` is not a part of the corpus.
    """
    root = corpus.place(root)
    if not ((root.is_file() or is_remote(root)) and corpus.user_defined):
        corpus_root(root)
    if keys is not None and not Path(keys).exists():
        raise NotFound(f"keys {keys} not found; give the folder of the keys", [Path(keys)])
    # Find out which parts to check, and where their lists may be.
    lists = protocols if protocols is not None or corpus.key_files else keys
    is_selection = bool(splits)
    if not splits:
        splits = corpus.find_splits(root, lists)
    names = [resolve_split(split, corpus.accepted_splits, corpus.title) for split in splits]
    check = CorpusCheck(corpus, root, is_selection)
    ids: dict[str, None] = {}
    own_trials: list[Trial] = []  # of a user's own corpus; their phase is the split
    folders: set[str] = set()
    training_recordings: set[object] = set()
    with record_digests() as read_files:
        for split in names:
            split_check, trials = _check_split(check, split, lists, subset)
            if decode and split_check.audio is not None:
                _decode_split(check, split_check, workers)
            # By default, train comes before dev, which may have the same recordings.
            recordings = {(trial.path, trial.part) for trial in trials}
            if split == "train":
                training_recordings |= recordings
            is_trained_on = bool(recordings) and recordings <= training_recordings
            split_check.is_trained_on = split == WHOLE or (split == "dev" and is_trained_on)
            check.splits.append(split_check)
            folders |= {os.path.dirname(trial.path) for trial in trials if trial.path is not None}
            if corpus.user_defined:
                own_trials += [replace(trial, phase=split) for trial in trials if trial.path is not None]
            ids |= dict.fromkeys(trial.id for trial in trials)
        # A recording is extra only if it is in no list of the corpus.
        if any(split_check.extra for split_check in check.splits):
            listed_paths = _listed_paths(corpus, root, lists)
            for split_check in check.splits:
                audio = os.path.abspath(split_check.audio or "")
                split_check.extra = [
                    name
                    for name in split_check.extra
                    if os.path.normpath(os.path.join(audio, name)) not in listed_paths
                ]
        keys = root if keys is None else Path(keys)
        if corpus.key_files:
            check.key = _check_key(check, keys, ids, subset)
        if corpus.asv_scores and "eval" in names:
            protocols_found = (split_check.protocol for split_check in check.splits)
            check.has_min_tdcf = _check_asv_scores(check, [keys, *filter(None, protocols_found)])
    _check_shared_recordings(check, own_trials)
    if not is_selection:
        with suppress(InputError):  # a folder cannot be listed
            check.unread += _unused_content(check, [*folders, *read_files])
    return check


def _check_shared_recordings(check: CorpusCheck, trials: Sequence[Trial]) -> None:
    shared: dict[str, list[str]] = defaultdict(list)  # field that differs → recordings
    for group in shared_recordings(trials):
        rows = [f"{trial.recording()} ({trial.id}, {trial.label or 'no label'} in {trial.phase})" for trial in group]
        for name in _SHARED:
            if len({trial.get(name) for trial in group} - {None, WHOLE}) > 1:
                shared[name].append(" = ".join(rows))
                break
    for name, recordings in shared.items():
        problem = f"the same recording {_SHARED[name]}"
        if name == "id":
            check.splits[0].notes.append(f"{problem}: {join_names(recordings)}")
        else:
            check.findings.append(Finding(problem, join_names(recordings), "correct or remove the rows"))


def _unused_content(check: CorpusCheck, used_paths: Iterable[AnyPath]) -> Iterator[str]:
    """Yield folders of recordings, and files of labels, that no split uses."""
    read_paths = set(map(os.path.realpath, used_paths))
    for folder, _, names in walk(check.root):
        num_recordings = sum(_is_trial(name, check.corpus) for name in names)
        relative_folder = os.path.relpath(folder, check.root)
        if num_recordings and os.path.realpath(folder) not in read_paths:
            yield f"{relative_folder} ({pluralise(num_recordings, 'recording')})"
        pattern = _LABELS if relative_folder == "." else _LISTS
        for name in filter(pattern.match, names):
            if os.path.realpath(os.path.join(folder, name)) not in read_paths:
                yield os.path.normpath(os.path.join(relative_folder, name))


def _is_trial(name: str, corpus: Corpus) -> bool:
    return is_recording(name) and (corpus.beside is None or not re.fullmatch(corpus.beside, _stem(name)))


def _decode_split(check: CorpusCheck, split_check: SplitCheck, workers: int | None) -> None:
    assert split_check.audio is not None
    split = split_check.split
    split_check.decoding = decode_all(split_check.present, split_check.audio, workers, f"decoding {split}")
    failures = [f"{name} ({reason})" for name, reason in split_check.decoding.unreadable.items()]
    if failures:
        of_files = pluralise(len(split_check.present), "file")
        check.report("audio", f"{len(failures):,} of {of_files} cannot be read: {join_names(failures)}", split)


def _listed_paths(corpus: Corpus, root: Path, protocols: AnyPath | None) -> set[str]:
    """Collect the absolute paths of all lists, because parts may share a folder."""
    roots = [(root, split) for split in corpus.splits]
    if root.is_file():
        roots.append((root.parent, WHOLE))
    paths: set[str] = set()
    for folder, split in roots:
        with suppress(InputError):  # the part does not exist, or has no list that can be read
            trials = corpus.trials(folder, split, protocols=protocols)
            paths.update(os.path.abspath(trial.path) for trial in trials if trial.path is not None)
    return paths


def _check_asv_scores(check: CorpusCheck, paths: Sequence[Path]) -> bool:
    assert check.corpus.asv_scores is not None
    tried: list[Path] = []
    for path in paths:
        try:
            check.corpus.asv_scores(path, "eval")
            return True
        except NotFound as error:
            tried += error.tried
        except InputError as error:
            check.findings.append(Finding("min t-DCF", str(error)))
            return False
    problem = f"the scores of the speaker-verification system are {_not_there(tried)}"
    check.findings.append(Finding("min t-DCF", problem, check.corpus.how_to_get("asv")))
    return False


def why_unusable(error: InputError) -> str:
    """Name the paths tried in vain, or else repeat the message."""
    if isinstance(error, NotFound) and error.tried:
        return _not_there(error.tried)
    return str(error)


def _not_there(tried: Sequence[Path]) -> str:
    return f"not there (looked for {', '.join(dict.fromkeys(map(str, tried)))})"


def find_split(check: CorpusCheck, split: str, protocols: AnyPath | None, name: str) -> tuple[SplitCheck, list[Trial]]:
    """Find protocol, trials and recordings of a part; report problems in ``check``.

    Args:
        protocols: as for ``trials`` of the corpus.
        name: name of the part in findings.
    """
    corpus = check.corpus
    split_check = SplitCheck(split)
    trials: list[Trial] = []
    # Find the protocol, the audio and the trials; report what cannot be found or read.
    try:
        split_check.protocol = corpus.find_protocol(check.root, split, protocols)
    except InputError as error:
        remedy = f"{corpus.how_to_get('protocol')} or name its folder with `protocols`".removeprefix(" or ")
        check.findings.append(Finding(f"protocol of {name}", why_unusable(error), remedy))
    try:
        split_check.audio = corpus.find_audio(check.root, split)
    except InputError as error:
        check.report("audio", why_unusable(error), name)
    try:
        if split_check.protocol is not None:
            trials = corpus.read_protocol(split_check.protocol, split, split_check.audio)
    except InputError as error:
        check.report("protocol", why_unusable(error), name)
    if split_check.protocol is None:
        with suppress(InputError):  # some corpora can be scored without a protocol
            trials = corpus.trials(check.root, split)
    if split_check.audio is not None:
        num_others = _check_files(check, split_check, trials)
        missing = split_check.missing
        if missing:
            of_files = pluralise(len(trials), "file is", "files are")
            problem = f"{len(missing):,} of {of_files} missing in {split_check.audio}"
            if num_others:
                problem += (
                    f" ({num_others:,} are there under another suffix, or as a folder, pipe, device or dangling link)"
                )
            problem += f": {join_names(missing)}"
            check.report("audio", problem, name, spares_some=bool(split_check.present))
    return split_check, trials


def _check_split(
    check: CorpusCheck, split: str, protocols: AnyPath | None, subset: bool
) -> tuple[SplitCheck, list[Trial]]:
    corpus = check.corpus
    split_check, trials = find_split(check, split, protocols, split)
    split_check.counts = count(trials)
    split_check.official = corpus.official_counts(split, split_check.counts)
    if not trials:
        return split_check, trials
    differences = []
    if split_check.official is not None:
        differences = split_check.counts.differences(split_check.official)
    if differences and corpus.counts_from:
        split_check.notes.append(f"differs from {corpus.counts_from}: {join_names(differences)}")
    elif differences and not subset:
        check.report("protocol", _not_official_message(differences), split)
    columns = [name for name in extra_fields(trials) if name not in PART_FIELDS]
    if corpus.user_defined and columns:
        split_check.notes.append(f"columns that only group the trials: {join_names(columns)}")
    split_check.segments = _check_segments(check, split, protocols, trials)
    return split_check, trials


def _not_official_message(differences: Sequence[str]) -> str:
    return f"not the official trials ({join_names(differences)}; `subset=True` accepts a selection)"


def _check_segments(check: CorpusCheck, split: str, protocols: AnyPath | None, trials: Sequence[Trial]) -> list[str]:
    """Report contradictions to the labels of trials; describe each kind of labels of segments.

    Of labels of frames, only the finest resolution is compared.
    """
    # Kinds of labels that a copy may have, the finest resolution first, and how to tell whether an utterance is spoofed.
    corpus = check.corpus
    kinds: list[tuple[Any, ...]] = [("segments", corpus.segments, (), any_spoof)]
    if not corpus.user_defined:
        for resolution in RESOLUTIONS:
            kinds.append((f"labels of {resolution} ms", corpus.segment_labels, (resolution,), _any_spoofed_frame))
    descriptions = []
    for name, read, resolutions, summarise in kinds:
        if read is None:
            continue
        try:
            spoofed = summarise(read(check.root, split, *resolutions, protocols=protocols))
            check_labels(spoofed, trials, f"{name} of {split}")
        except NotFound:
            continue
        except InputError as error:
            check.findings.append(Finding(split, str(error)))
            continue
        unlabelled = [trial.id for trial in trials if trial.id not in spoofed]
        num_labelled = len(trials) - len(unlabelled)
        descriptions.append(f"{name} of {num_labelled:,} of {pluralise(len(trials), 'trial')}")
        if unlabelled and not corpus.user_defined:
            trials_have = pluralise(len(unlabelled), "trial has", "trials have")
            check.findings.append(
                Finding(split, f"{name}: {trials_have} no labels of segments: {join_names(unlabelled)}")
            )
        if resolutions:
            break
    return descriptions


def _any_spoofed_frame(labels: Mapping[str, NDArray]) -> dict[str, bool]:
    return {utterance: bool((frames == 0).any()) for utterance, frames in labels.items()}  # 1 bona fide, 0 spoof


def _check_files(check: CorpusCheck, split_check: SplitCheck, trials: Sequence[Trial]) -> int:
    # Adds to present, missing and extra recordings of `split_check`; returns for how many missing ones something else is
    # there. Recordings in shards are looked up one by one.
    expected: dict[str, dict[str, list[AnyRecording]]] = defaultdict(dict)  # folder → name → its parts in the list
    for trial in trials:
        if trial.path is None:
            continue
        if shard_of(trial.path) is None:
            folder, name = os.path.split(trial.path)
            expected[folder or "."].setdefault(name, []).append(trial.recording())
        elif is_there(trial.path):
            split_check.present.append(trial.path)
        else:
            split_check.missing.append(os.path.relpath(trial.path, split_check.audio))
    num_others = 0
    for folder, paths in sorted(expected.items()):
        is_file: dict[str, bool] = {}
        try:
            if os.path.isdir(folder):
                # Unlike entry.is_file(), os.path.isfile() raises no error for a link to itself.
                for entry in os.scandir(folder):
                    is_file[entry.name] = entry.is_file(follow_symlinks=False) or os.path.isfile(entry)
        except OSError as error:
            problem = f"{folder} cannot be read ({error.strerror}); its files count as missing"
            check.findings.append(Finding(split_check.split, problem))
        names = set(filter(is_file.get, is_file))
        missing = paths.keys() - names
        extra = {name for name in names - paths.keys() if _is_trial(name, check.corpus)}
        num_others += len(set(map(_stem, missing)) & set(map(_stem, extra | is_file.keys() - names)))
        for name, recordings in paths.items():
            if name not in missing:
                split_check.present += recordings
        below = os.path.relpath(folder, split_check.audio)
        split_check.missing += _paths_below(below, missing)
        split_check.extra += _paths_below(below, extra)
    return num_others


def _paths_below(folder: str, names: Iterable[str]) -> list[str]:
    return sorted(os.path.normpath(os.path.join(folder, name)) for name in names)


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _check_key(check: CorpusCheck, path: Path, ids: dict[str, None], subset: bool) -> KeyCheck:
    corpus = check.corpus
    key = KeyCheck()
    try:
        key.path = corpus.find_key(path)
        trials = corpus.keys(key.path)
    except InputError as error:
        check.report("keys", why_unusable(error))
        return key
    for phase in corpus.phases or corpus.splits:
        phase_trials = [trial for trial in trials if trial.phase in (None, phase)]
        if phase_trials:
            key.counts[phase] = count(phase_trials)
    differences = []
    for phase, official in corpus.key_counts.items():
        counts = key.counts.get(phase, Counts(0, 0, 0))
        differences += [f"{phase}: {difference}" for difference in counts.differences(official)]
    if differences and not subset:
        check.report("keys", _not_official_message(differences))
    labelled = {trial.id for trial in trials}
    unlabelled = [id for id in ids if id not in labelled]
    unlisted = sorted(labelled.difference(ids))
    if unlabelled:
        trials_of = f"{pluralise(len(unlabelled), 'trial')} of the protocol"
        check.findings.append(Finding("keys", f"{trials_of} without a label: {join_names(unlabelled)}"))
    if unlisted and ids:
        trials_are = pluralise(len(unlisted), "labelled trial is", "labelled trials are")
        check.findings.append(Finding("keys", f"{trials_are} not in the protocol: {join_names(unlisted)}"))
    return key
