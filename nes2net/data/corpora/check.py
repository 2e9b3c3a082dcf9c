"""Check a copy of a corpus: which files exist, which tasks they allow, and where to get missing files."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nes2net.data.audio.files import is_recording, walk
from nes2net.data.audio.packed import AnyRecording, is_there, shard_of
from nes2net.data.corpora.copies import shared_recordings
from nes2net.data.corpora.corpus import Corpus, Counts, Protocols, Root, count
from nes2net.data.corpora.decoding import Decoding, decode_all
from nes2net.data.corpora.listed_parts import PART_FIELDS
from nes2net.data.corpora.protocol import WHOLE, NotFound, corpus_root
from nes2net.data.corpora.segments import any_spoof, check_labels
from nes2net.data.corpora.trial import Trial, Trials, extra_fields
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.lib.output.findings import Finding
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.text_files import reading_once
from nes2net.lib.web.remote import is_remote
from nes2net.metrics.localisation.frames import RESOLUTIONS


@dataclass
class SplitCheck:
    """The state of one part of a corpus.

    ``present`` and ``missing`` recordings are listed, ``extra`` ones are not; paths in the last two
    begin below the folder ``audio``. ``segments`` describes the labels of segments.
    ``is_trained_on``: all trials are also those of another part, train. ``notes`` need no action.
    """

    split: str
    protocol: Path | None = None
    audio: Path | None = None
    trials: list[Trial] = field(default_factory=list, repr=False)
    counts: Counts = field(default_factory=lambda: Counts(0))
    official: Counts | None = None
    present: list[AnyRecording] = field(default_factory=list, repr=False)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    decoding: Decoding = field(default_factory=Decoding)
    segments: list[str] = field(default_factory=list)
    is_trained_on: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def training(self) -> str:
        """``"yes"``, ``"in part: …"`` or ``"no: …"``."""
        reason = self.why_no_audio
        # Training leaves out unreadable files, but refuses a part with missing files.
        if reason and (self.missing or not self.num_readable):
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
        if (self.is_trained_on or self.split == WHOLE) and self.training != f"no: {self.why_no_audio}":
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
        if self.decoding.unreadable:
            return f"{len(self.decoding.unreadable):,} of {pluralise(self.counts.trials, 'file')} cannot be read"
        return ""


@dataclass
class CorpusCheck:
    """The result of :func:`check_corpus`.

    ``findings``: everything that is missing or wrong, and where to get it. ``has_min_tdcf`` is None
    if the corpus does not define min t-DCF, or ``eval`` was not checked. ``is_selection``: only
    some parts were to be checked. ``protocols`` and ``subset`` are those of :func:`check_corpus`.
    """

    corpus: Corpus
    root: Path
    protocols: Protocols = None
    subset: bool = False
    is_selection: bool = False
    splits: list[SplitCheck] = field(default_factory=list)
    key: Path | None = None
    key_counts: dict[str, Counts] = field(default_factory=dict)
    """Phase → numbers of labelled trials in the key."""
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

    def report_counts(self, kind: str, differences: Sequence[str], split: str = "") -> None:
        if differences and not self.subset:
            problem = f"not the official trials ({join_names(differences)}; `subset=True` accepts a selection)"
            self.report(kind, problem, split)

    @contextmanager
    def reporting(self, kind: str, split: str = "") -> Iterator[None]:
        """Report an :class:`InputError` as a problem of files of ``kind``."""
        try:
            yield
        except InputError as error:
            self.report(kind, why_unusable(error), split)

    @cached_property
    def listed_paths(self) -> set[str]:
        """The absolute paths in all lists of the corpus, because its parts may share a folder."""
        roots = [(self.root, split) for split in self.corpus.splits]
        if self.root.is_file():
            roots.append((self.root.parent, WHOLE))
        paths: set[str] = set()
        for folder, split in roots:
            with suppress(InputError):  # the part does not exist, or has no list that can be read
                trials = self.corpus.trials(folder, split, protocols=self.protocols)
                paths.update(os.path.abspath(trial.path) for trial in trials if trial.path is not None)
        return paths

    @property
    def trials(self) -> Iterator[Trial]:
        return chain.from_iterable(split_check.trials for split_check in self.splits)

    @property
    def complete(self) -> bool:
        return not self.findings

    def tasks(self) -> list[tuple[str, str]]:
        """Return task, such as ``"score eval"``, and ``"yes"``, ``"in part: …"`` or ``"no: …"``."""
        # Training uses the part ``train``, and validation uses ``dev``; a corpus without parts is used for both. Each
        # part can be scored. If there is a key, the evaluation of each of its phases is a task, otherwise of each part.
        counts_by_phase = {split_check.split: split_check.counts for split_check in self.splits}
        reason = _UNLABELLED
        if self.corpus.key_files:
            counts_by_phase = self.key_counts or {"eval": Counts(0)}
            reason = "the keys cannot be used" if self.key else "the keys are not there"
        train = [("train", part.training) for part in self.splits if part.split in ("train", WHOLE)]
        validate = [("validate", part.validation) for part in self.splits if part.split in ("dev", WHOLE)]
        if train and not validate and not self.is_selection:
            validate = [("validate", "no: there is no part dev")]
        tasks = train + validate + [(f"score {part.split}", part.scoring) for part in self.splits]
        for phase, counts in counts_by_phase.items():
            answer = "yes"
            if not (counts.bonafide or counts.spoof):
                answer = f"no: {reason}"
            elif not counts.labelled:
                answer = f"in part: {_ONE_CLASS}, so at a threshold of other trials"
            elif self.has_min_tdcf is not None and phase == "eval":
                answer = "yes: EER and min t-DCF" if self.has_min_tdcf else "in part: EER without min t-DCF"
            tasks.append((f"evaluate {phase}", answer))
        return [(task.removesuffix(f" {WHOLE}"), answer) for task, answer in tasks]


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
    root: Root,
    *,
    protocols: Protocols = None,
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
    lists = protocols if protocols is not None or corpus.key_files else keys
    check = CorpusCheck(corpus, root, lists, subset, is_selection=bool(splits))
    with reading_once() as texts:
        for split in splits or corpus.find_splits(root, lists):
            split = corpus.resolve_split(split)
            split_check = find_split(check, split, split)
            check.splits.append(split_check)
            _check_trials(check, split_check)
            if decode:
                _decode_split(check, split_check, workers)
        _find_trained_on(check)
        _check_labels(check, root if keys is None else Path(keys))
    _check_shared_recordings(check)
    if not check.is_selection:
        with suppress(InputError):  # a folder cannot be listed
            check.unread += _unused_content(check, texts.digests)
    return check


def find_split(check: CorpusCheck, split: str, name: str) -> SplitCheck:
    """Find protocol, trials and recordings of a part; report problems in ``check``, with the part's ``name``."""
    corpus = check.corpus
    split_check = SplitCheck(split)
    try:
        split_check.protocol = corpus.find_protocol(check.root, split, check.protocols)
    except InputError as error:
        remedy = f"{corpus.how_to_get('protocol')} or name its folder with `protocols`".removeprefix(" or ")
        check.findings.append(Finding(f"protocol of {name}", why_unusable(error), remedy))
    with check.reporting("audio", name):
        split_check.audio = corpus.find_audio(check.root, split)
    if split_check.protocol is None:
        with suppress(InputError):  # some corpora can be scored without a protocol
            split_check.trials = corpus.trials(check.root, split)
    else:
        with check.reporting("protocol", name):
            split_check.trials = corpus.read_protocol(split_check.protocol, split, split_check.audio)
    if split_check.audio is not None:
        _check_files(check, split_check, name)
    return split_check


def _check_files(check: CorpusCheck, split_check: SplitCheck, name: str) -> None:
    by_name = {str(trial.path): trial.path for trial in split_check.trials if trial.path is not None}
    paths = by_name.keys()
    in_shards = {name for name, path in by_name.items() if shard_of(path)}  # a remote path is no text
    files, others = _content(check, split_check.split, set(map(os.path.dirname, paths - in_shards)))
    files |= {name for name in in_shards if is_there(by_name[name])}
    missing = paths - files
    unlisted = [path for path in files - paths if _is_trial(os.path.basename(path), check.corpus)]
    extra = [path for path in unlisted if os.path.abspath(path) not in check.listed_paths]
    split_check.present = [trial.recording() for trial in split_check.trials if str(trial.path) in files]
    split_check.missing = sorted(os.path.relpath(path, split_check.audio) for path in missing)
    split_check.extra = sorted(os.path.relpath(path, split_check.audio) for path in extra)
    if missing:
        of_files = pluralise(split_check.trials, "file is", "files are")
        problem = f"{len(missing):,} of {of_files} missing in {split_check.audio}"
        num_others = len(set(map(_stem, missing)).intersection(map(_stem, others.union(unlisted))))
        if num_others:
            problem += (
                f" ({num_others:,} are there under another suffix, or as a folder, pipe, device or dangling link)"
            )
        problem += f": {join_names(split_check.missing)}"
        check.report("audio", problem, name, spares_some=bool(split_check.present))


def _content(check: CorpusCheck, split: str, folders: Iterable[str]) -> tuple[set[str], set[str]]:
    """List the paths of files, and of everything else, in ``folders``; report a folder that cannot be read."""
    files: set[str] = set()
    others: set[str] = set()
    for folder in sorted(folders):
        try:
            for entry in os.scandir(folder or "."):
                path = os.path.join(folder, entry.name)
                # Unlike entry.is_file(), os.path.isfile() raises no error for a link to itself.
                if entry.is_file(follow_symlinks=False) or os.path.isfile(path):
                    files.add(path)
                else:
                    others.add(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            check.report(split, f"{folder} cannot be read ({error.strerror}); its files count as missing")
    return files, others


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _is_trial(name: str, corpus: Corpus) -> bool:
    return is_recording(name) and (corpus.beside is None or not re.fullmatch(corpus.beside, _stem(name)))


def _check_trials(check: CorpusCheck, split_check: SplitCheck) -> None:
    """Count the trials, and compare them with the official numbers and the labels of segments."""
    corpus = check.corpus
    trials = split_check.trials
    split_check.counts = count(trials)
    split_check.official = corpus.official_counts(split_check.split, split_check.counts)
    if not trials:
        return
    differences = split_check.counts.differences(split_check.official or split_check.counts)
    if not corpus.counts_from:
        check.report_counts("protocol", differences, split_check.split)
    elif differences:
        split_check.notes.append(f"differs from {corpus.counts_from}: {join_names(differences)}")
    columns = [name for name in extra_fields(trials) if name not in PART_FIELDS]
    if corpus.user_defined and columns:
        split_check.notes.append(f"columns that only group the trials: {join_names(columns)}")
    _check_segments(check, split_check)


def _check_segments(check: CorpusCheck, split_check: SplitCheck) -> None:
    """Report contradictions to the labels of trials; describe each kind of labels of segments.

    Of labels of frames, only the finest resolution is compared.
    """
    # Kinds of labels that a copy may have, the finest resolution first, and how to tell whether an utterance is spoofed.
    corpus = check.corpus
    trials = split_check.trials
    kinds: list[tuple[Any, ...]] = [("segments", corpus.segments, (), any_spoof)]
    if not corpus.user_defined:
        for resolution in RESOLUTIONS:
            kinds.append((f"labels of {resolution} ms", corpus.segment_labels, (resolution,), _any_spoofed_frame))
    for name, read, resolutions, summarise in kinds:
        if read is None:
            continue
        try:
            spoofed = summarise(read(check.root, split_check.split, *resolutions, protocols=check.protocols))
            check_labels(spoofed, trials, f"{name} of {split_check.split}")
        except NotFound:
            continue
        except InputError as error:
            check.report(split_check.split, str(error))
            continue
        unlabelled = [trial.id for trial in trials if trial.id not in spoofed]
        num_labelled = len(trials) - len(unlabelled)
        split_check.segments.append(f"{name} of {num_labelled:,} of {pluralise(trials, 'trial')}")
        if unlabelled and not corpus.user_defined:
            trials_have = pluralise(unlabelled, "trial has", "trials have")
            check.report(split_check.split, f"{name}: {trials_have} no labels of segments: {join_names(unlabelled)}")
        if resolutions:
            break


def _any_spoofed_frame(labels: Mapping[str, NDArray]) -> dict[str, bool]:
    return {utterance: bool((frames == 0).any()) for utterance, frames in labels.items()}  # 1 bona fide, 0 spoof


def _decode_split(check: CorpusCheck, split_check: SplitCheck, workers: int | None) -> None:
    split = split_check.split
    split_check.decoding = decode_all(
        split_check.present, split_check.audio or check.root, workers, f"decoding {split}"
    )
    failures = [f"{name} ({reason})" for name, reason in split_check.decoding.unreadable.items()]
    if failures:
        of_files = pluralise(split_check.present, "file")
        check.report("audio", f"{len(failures):,} of {of_files} cannot be read: {join_names(failures)}", split)


def _find_trained_on(check: CorpusCheck) -> None:
    training_recordings: set[object] = set()
    for split_check in check.splits:
        recordings = {(trial.path, trial.part) for trial in split_check.trials}
        # By default, train comes before dev, which may have the same recordings.
        if split_check.split == "train":
            training_recordings |= recordings
        elif split_check.split == "dev":
            split_check.is_trained_on = bool(recordings) and recordings <= training_recordings


def _check_labels(check: CorpusCheck, keys: Path) -> None:
    """Check the keys, and the scores of speaker verification, which may also lie near a protocol."""
    if check.corpus.key_files:
        with check.reporting("keys"):
            check.key = check.corpus.find_key(keys)
            _check_key(check, check.corpus.keys(check.key))
    if check.corpus.asv_scores and any(split_check.split == "eval" for split_check in check.splits):
        protocols = filter(None, (split_check.protocol for split_check in check.splits))
        check.has_min_tdcf = _check_asv_scores(check, check.corpus.asv_scores, [keys, *protocols])


def _check_key(check: CorpusCheck, labelled: Trials) -> None:
    corpus = check.corpus
    for phase in corpus.phases or corpus.splits:
        phase_trials = [trial for trial in labelled if trial.phase in (None, phase)]
        if phase_trials:
            check.key_counts[phase] = count(phase_trials)
    differences = []
    for phase, official in corpus.key_counts.items():
        counts = check.key_counts.get(phase, Counts(0, 0, 0))
        differences += [f"{phase}: {difference}" for difference in counts.differences(official)]
    check.report_counts("keys", differences)
    ids = dict.fromkeys(trial.id for trial in check.trials)
    labelled_ids = {trial.id for trial in labelled}
    unlabelled = [id for id in ids if id not in labelled_ids]
    unlisted = sorted(labelled_ids.difference(ids))
    if unlabelled:
        trials_of = f"{pluralise(unlabelled, 'trial')} of the protocol"
        check.findings.append(Finding("keys", f"{trials_of} without a label: {join_names(unlabelled)}"))
    if unlisted and ids:
        trials_are = pluralise(unlisted, "labelled trial is", "labelled trials are")
        check.findings.append(Finding("keys", f"{trials_are} not in the protocol: {join_names(unlisted)}"))


def _check_asv_scores(check: CorpusCheck, read: Callable[..., object], paths: Sequence[Path]) -> bool:
    tried: list[Path] = []
    for path in paths:
        try:
            read(path, "eval")
            return True
        except NotFound as error:
            tried += error.tried
        except InputError as error:
            check.report("min t-DCF", str(error))
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


def _check_shared_recordings(check: CorpusCheck) -> None:
    if not check.corpus.user_defined:
        return
    trials: list[Trial] = []
    for split_check in check.splits:
        trials += [replace(trial, phase=split_check.split) for trial in split_check.trials if trial.path is not None]
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


def _unused_content(check: CorpusCheck, read_files: Iterable[AnyPath]) -> Iterator[str]:
    """Yield folders of recordings, and files of labels, that no split uses."""
    folders = {os.path.dirname(trial.path) for trial in check.trials if trial.path is not None}
    read_paths = set(map(os.path.realpath, chain(folders, read_files)))
    for folder, _, names in walk(check.root):
        num_recordings = sum(_is_trial(name, check.corpus) for name in names)
        relative_folder = os.path.relpath(folder, check.root)
        if num_recordings and os.path.realpath(folder) not in read_paths:
            yield f"{relative_folder} ({pluralise(num_recordings, 'recording')})"
        pattern = _LABELS if relative_folder == "." else _LISTS
        for name in filter(pattern.match, names):
            if os.path.realpath(os.path.join(folder, name)) not in read_paths:
                yield os.path.normpath(os.path.join(relative_folder, name))
