"""Checking a copy of a corpus: what is there, which tasks it allows, where to get the rest."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from nes2net.data.audio.files import is_recording
from nes2net.data.audio.packed import is_there, shard_of
from nes2net.data.corpora.corpus import Corpus, Counts, count
from nes2net.data.corpora.decoding import Decoding, decode_all
from nes2net.data.corpora.protocol import WHOLE, NotFound, corpus_root, known_split
from nes2net.data.corpora.segments import any_spoof, check_labels
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError, counted, listed
from nes2net.lib.findings import Finding
from nes2net.metrics.localisation.frames import RESOLUTIONS


@dataclass
class SplitCheck:
    """What was found of one part of a corpus.

    ``missing`` and ``extra`` are paths below the folder ``audio``, ``present`` are the files to
    read. ``segments`` says which labels of segments there are. ``is_trained_on`` says whether all its
    trials are training trials too. ``notes`` names what is remarkable but no fault.
    """

    split: str
    protocol: Path | None = None
    audio: Path | None = None
    counts: Counts = field(default_factory=lambda: Counts(0))
    official: Counts | None = None
    present: list[Path] = field(default_factory=list, repr=False)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    decoding: Decoding | None = None
    segments: list[str] = field(default_factory=list)
    is_trained_on: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def training(self) -> str:
        """What training does with this part: ``"yes"``, ``"in part: …"`` or ``"no: …"``."""
        unreadable = len(self.decoding.unreadable) if self.decoding else 0
        if (reason := self.why_no_audio) and (self.missing or not unreadable or unreadable == len(self.present)):
            return f"no: {reason}"
        if self.counts.spoof is None:
            return f"no: {_UNLABELLED}"
        if not self.counts.labelled:
            return f"no: {_ONE_CLASS}"
        unlabelled = self.counts.trials - (self.counts.bonafide or 0) - self.counts.spoof
        if unlabelled:
            return f"no: {unlabelled:,} of {counted(self.counts.trials, 'trial')} have no label"
        return f"in part: {reason}, and are left out" if reason else "yes"

    @property
    def why_no_audio(self) -> str:
        """The reason why some trials cannot be read; empty if all can."""
        if self.audio is None or not self.counts.trials:
            return "its audio is not there" if self.audio is None else "its trials are not known"
        if self.missing:
            return f"{len(self.missing):,} of {counted(self.counts.trials, 'file is', 'files are')} missing"
        if self.decoding and self.decoding.unreadable:
            return f"{len(self.decoding.unreadable):,} of {counted(self.counts.trials, 'file')} cannot be read"
        return ""


@dataclass
class KeyCheck:
    """What was found of labels in separate files: phase → ``counts``."""

    path: Path | None = None
    counts: dict[str, Counts] = field(default_factory=dict)


@dataclass
class CorpusCheck:
    """The result of :func:`check_corpus`.

    ``findings`` names everything that is missing or wrong, and where to get it. ``has_min_tdcf``
    says whether min t-DCF can be computed; None if the corpus does not define it. ``is_selection``
    says whether only some parts were to be checked.
    """

    corpus: Corpus
    root: Path
    is_selection: bool = False
    splits: list[SplitCheck] = field(default_factory=list)
    key: KeyCheck | None = None
    has_min_tdcf: bool | None = None
    findings: list[Finding] = field(default_factory=list)

    def report(self, kind: str, problem: str, part: str = "", *, spares_some: bool = False) -> None:
        """Add what is wrong with the ``kind`` of file of a part, in the words of the corpus's ``obtain``."""
        what = f"{kind} of {part}" if part else kind
        self.findings.append(Finding(what, problem, self.corpus.how_to_get(kind), spares_some))

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.findings

    @property
    def is_whole(self) -> bool:
        """Whether the corpus has no parts (only generic corpora)."""
        return [part.split for part in self.splits] == [WHOLE]

    def tasks(self) -> list[tuple[str, str]]:
        """Pairs of a task and ``"yes"``, ``"in part: …"`` or ``"no: …"``."""
        train = []
        score = []
        evaluate = []
        for part in self.splits:
            if part.split in ("train", WHOLE):
                train.append(("train", part.training))
            if part.split in ("dev", WHOLE):
                repeated = part.is_trained_on and part.training != f"no: {part.why_no_audio}"
                train.append(("validate", f"no: {_TRAINED_ON}" if repeated else part.training))
            name = "" if self.is_whole else f" {part.split}"
            readable = len(part.present) - len(part.decoding.unreadable if part.decoding else ())
            extent = "in part" if readable else "no"
            verdict = f"{extent}: {part.why_no_audio}" if part.why_no_audio else "yes"
            score.append((f"score{name}", verdict))
            if self.key is None:
                evaluate.append((f"evaluate{name}", self._evaluation(part.split, part.counts, _UNLABELLED)))
        if [task for task, _ in train] == ["train"] and not self.is_selection:
            train.append(("validate", "no: there is no part dev"))
        if self.key is not None:
            reason = "the keys are not there" if self.key.path is None else "the keys cannot be used"
            for phase, counts in (self.key.counts or {"eval": Counts(0)}).items():
                evaluate.append((f"evaluate {phase}", self._evaluation(phase, counts, reason)))
        return train + score + evaluate

    def _evaluation(self, phase: str, counts: Counts, reason: str) -> str:
        if not (counts.bonafide or counts.spoof):
            return f"no: {reason}"
        if not counts.labelled:
            return f"in part: {_ONE_CLASS}, so at a threshold of other trials"
        if self.has_min_tdcf is None or phase != "eval":
            return "yes"
        return "yes: EER and min t-DCF" if self.has_min_tdcf else "in part: EER without min t-DCF"


_UNLABELLED = "its labels are not there"
_ONE_CLASS = "all its trials are of one class"
_TRAINED_ON = "all its trials are training trials too; fill a column 'split' with train and dev"


def check_corpus(
    corpus: Corpus,
    root: str | Path | None,
    *,
    protocols: str | Path | None = None,
    keys: str | Path | None = None,
    splits: Sequence[str] | None = None,
    subset: bool = False,
    decode: bool = False,
    workers: int | None = None,
) -> CorpusCheck:
    """Check the copy of ``corpus`` in ``root``.

    Missing and malformed files are reported in the result.

    Args:
        root, protocols: As for ``trials`` of the corpus; None for a corpus that is fetched.
        keys: The folder of the keys, by default ``root``. For a corpus whose protocols hold the
            labels, another folder in which protocols are sought.
        splits: The parts to check, by default all.
        subset: The protocols are a selection, so counts may differ from the official ones.
        decode: Decode every file, in ``workers`` processes.

    Raises:
        InputError: if ``root`` is not a folder (or list), or there is no such split.
    """
    root = corpus.place(root)
    if not (root.is_file() and corpus.user_defined):
        corpus_root(root)
    if keys is not None and not Path(keys).exists():
        raise NotFound(f"keys {keys} not found; give the folder of the keys", [Path(keys)])
    lists = protocols if protocols is not None or corpus.key_files else keys
    is_selection = bool(splits)
    if not splits:
        splits = corpus.find_splits(root, lists)
    names = [known_split(split, corpus.accepted_splits, corpus.title) for split in splits]
    check = CorpusCheck(corpus, root, is_selection)
    ids: dict[str, None] = {}
    trained: set[Path | None] = set()
    for split in names:
        part, trials = _check_split(check, split, lists, subset)
        if decode and part.audio is not None:
            part.decoding = decode_all(part.present, part.audio, workers, f"decoding {split}")
            if reasons := [f"{name} ({reason})" for name, reason in part.decoding.unreadable.items()]:
                of_files = counted(len(part.present), "file")
                check.report("audio", f"{len(reasons):,} of {of_files} cannot be read: {listed(reasons)}", split)
        paths = {trial.path for trial in trials}
        if split == "train":
            trained = paths
        part.is_trained_on = split == WHOLE or (split == "dev" and bool(paths) and paths <= trained)
        check.splits.append(part)
        ids |= dict.fromkeys(trial.id for trial in trials)
    if any(part.extra for part in check.splits):
        # Parts may share a folder, and so may a list and the lists beside it.
        places = [(root, split) for split in corpus.splits] + ([(root.parent, WHOLE)] if root.is_file() else [])
        named: set[str] = set()
        for place, split in places:
            with suppress(InputError):  # a part that does not exist, or lists of something else
                trials = corpus.trials(place, split, protocols=lists)
                named |= {os.path.abspath(trial.path) for trial in trials if trial.path is not None}
        for part in check.splits:
            audio = part.audio or ""
            part.extra = [name for name in part.extra if os.path.abspath(os.path.join(audio, name)) not in named]
    keys = root if keys is None else Path(keys)
    if corpus.key_files:
        check.key = _check_key(check, keys, ids, subset)
    if corpus.asv_scores and "eval" in names:
        split_protocols = [part.protocol for part in check.splits if part.protocol is not None]
        check.has_min_tdcf = _check_asv_scores(check, [keys, *split_protocols])
    return check


def _check_asv_scores(check: CorpusCheck, places: Sequence[Path]) -> bool:
    """Whether one of ``places`` has the scores that min t-DCF needs."""
    assert check.corpus.asv_scores is not None
    tried: list[Path] = []
    for place in places:
        try:
            check.corpus.asv_scores(place, "eval")
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
    """What is wrong with a file, to be said beside its name."""
    return _not_there(error.tried) if isinstance(error, NotFound) and error.tried else str(error)


def _not_there(tried: Sequence[Path]) -> str:
    return f"not there (looked for {', '.join(dict.fromkeys(map(str, tried)))})"


def find_split(
    check: CorpusCheck, split: str, protocols: str | Path | None, name: str
) -> tuple[SplitCheck, list[Trial]]:
    """Find the protocol, the trials and the recordings of a part; findings call it ``name``."""
    corpus = check.corpus
    part = SplitCheck(split)
    trials: list[Trial] = []
    try:
        part.protocol = corpus.find_protocol(check.root, split, protocols)
    except InputError as error:
        check.report("protocol", why_unusable(error), name)
    try:
        part.audio = corpus.find_audio(check.root, split)
    except InputError as error:
        check.report("audio", why_unusable(error), name)
    try:
        if part.protocol is not None:
            trials = corpus.read_protocol(part.protocol, split, part.audio)
    except InputError as error:
        check.report("protocol", why_unusable(error), name)
    if part.protocol is None:
        with suppress(InputError):  # some corpora can be scored without a protocol
            trials = corpus.trials(check.root, split)
    if part.audio is not None:
        other_suffix = _check_files(check, part, trials)
        if part.missing:
            there = f" ({other_suffix:,} are there under another suffix)" if other_suffix else ""
            of_files = counted(len(trials), "file is", "files are")
            problem = f"{len(part.missing):,} of {of_files} missing in {part.audio}{there}: {listed(part.missing)}"
            check.report("audio", problem, name, spares_some=bool(part.present))
    return part, trials


def _check_split(
    check: CorpusCheck, split: str, protocols: str | Path | None, subset: bool
) -> tuple[SplitCheck, list[Trial]]:
    corpus = check.corpus
    part, trials = find_split(check, split, protocols, split)
    part.counts = count(trials)
    part.official = corpus.official_counts(split, part.counts)
    if not trials:
        return part, trials
    differences = part.counts.differences(part.official) if part.official else []
    if differences and corpus.counts_from:
        part.notes.append(f"differs from {corpus.counts_from}: {listed(differences)}")
    elif differences and not subset:
        check.report("protocol", _not_official(differences), split)
    part.segments = _check_segments(check, split, protocols, trials)
    return part, trials


def _not_official(differences: Sequence[str]) -> str:
    return f"not the official trials ({listed(differences)}; `subset=True` accepts a selection)"


def _check_segments(check: CorpusCheck, split: str, protocols: str | Path | None, trials: Sequence[Trial]) -> list[str]:
    """Compare the labels of segments, which a copy need not have, with the trials and their labels.

    Returns what is there. Among labels of frames, the finest resolution that is there is compared.
    """
    corpus = check.corpus
    root = check.root
    there = []
    readers: list[tuple[str, Callable[[], Mapping[str, bool]]]] = []
    if (segments := corpus.segments) is not None:
        readers.append(("RTTM", lambda: any_spoof(segments(root, split, protocols=protocols))))
    if (labels := corpus.segment_labels) is not None and not corpus.user_defined:
        for ms in RESOLUTIONS:

            def of_frames(ms: int = ms) -> dict[str, bool]:
                found = labels(root, split, ms, protocols=protocols)
                return {utterance: bool((frames == 0).any()) for utterance, frames in found.items()}

            readers.append((f"labels of {ms} ms", of_frames))
    for name, read in readers:
        try:
            spoofed = read()
            check_labels(spoofed, trials, f"{name} of {split}")
        except NotFound:
            continue
        except InputError as error:
            check.findings.append(Finding(split, str(error)))
            continue
        without = [trial.id for trial in trials if trial.id not in spoofed]
        there.append(f"{name} of {len(trials) - len(without):,} of {counted(len(trials), 'trial')}")
        if without and not corpus.user_defined:
            have_none = f"{counted(len(without), 'trial has', 'trials have')} no labels of segments"
            check.findings.append(Finding(split, f"{name}: {have_none}: {listed(without)}"))
        if name != "RTTM":
            break
    return there


def _check_files(check: CorpusCheck, part: SplitCheck, trials: Sequence[Trial]) -> int:
    """Compare the trials with the folders of their files.

    Returns how many missing files exist under another suffix.
    """
    expected: dict[str, dict[str, Path]] = defaultdict(dict)
    for trial in trials:
        if trial.path is not None and shard_of(trial.path) is not None:
            if is_there(trial.path):
                part.present.append(trial.path)
            else:
                part.missing.append(os.path.relpath(trial.path, part.audio))
        elif trial.path is not None:
            folder, name = os.path.split(trial.path)
            expected[folder or "."][name] = trial.path
    beside = check.corpus.beside
    other_suffix = 0
    for folder, named in sorted(expected.items()):
        try:
            there = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        except OSError as error:
            problem = f"{folder} cannot be read ({error.strerror}); its files count as missing"
            check.findings.append(Finding(part.split, problem))
            there = set()
        missing = named.keys() - there
        recordings = filter(is_recording, there - named.keys())
        extra = {name for name in recordings if beside is None or not re.fullmatch(beside, _stem(name))}
        other_suffix += len({_stem(name) for name in missing} & {_stem(name) for name in extra})
        part.present += [path for name, path in named.items() if name not in missing]
        below = os.path.relpath(folder, part.audio)
        for names, found in ((part.missing, missing), (part.extra, extra)):
            names += sorted(os.path.normpath(os.path.join(below, name)) for name in found)
    return other_suffix


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _check_key(check: CorpusCheck, place: Path, ids: dict[str, None], subset: bool) -> KeyCheck:
    corpus = check.corpus
    key = KeyCheck()
    try:
        key.path = corpus.find_key(place)
        trials = corpus.keys(key.path)
    except InputError as error:
        check.report("keys", why_unusable(error))
        return key
    for phase in corpus.phases or corpus.splits:
        if of_phase := [trial for trial in trials if trial.phase in (None, phase)]:
            key.counts[phase] = count(of_phase)
    differences = [
        f"{phase}: {text}"
        for phase, official in corpus.key_counts.items()
        for text in key.counts.get(phase, Counts(0, 0, 0)).differences(official)
    ]
    if differences and not subset:
        check.report("keys", _not_official(differences))
    labelled = {trial.id for trial in trials}
    unlabelled = [id for id in ids if id not in labelled]
    unlisted = sorted(labelled.difference(ids))
    if unlabelled:
        trials_of = f"{counted(len(unlabelled), 'trial')} of the protocol"
        check.findings.append(Finding("keys", f"{trials_of} without a label: {listed(unlabelled)}"))
    if unlisted and ids:
        trials_are = counted(len(unlisted), "labelled trial is", "labelled trials are")
        check.findings.append(Finding("keys", f"{trials_are} not in the protocol: {listed(unlisted)}"))
    return key
