"""Define a corpus: its facts, and the methods that list its trials. Also count trials.

A corpus is the variable ``CORPUS`` of a module, usually a
:class:`~nes2net.data.corpora.layout.ListedCorpus`. Another package registers its own by
``nes2net.data.registry.corpora.add("mine", "my_module:CORPUS")``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.data.corpora.id_tables import holds_only_labels, read_labels
from nes2net.data.corpora.protocol import (
    WHOLE,
    canonical_phase,
    check_trials,
    corpus_root,
    first_file,
)
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial, Trials, trials_digest
from nes2net.lib.errors import InputError, check_known, pluralise
from nes2net.lib.storage.files import AnyPath
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.metrics.localisation.segments import SegmentsByUtterance
from nes2net.metrics.tables import OfficialRow
from nes2net.metrics.tdcf import TandemWeights

#: Fields of a trial by whose values :func:`count` counts the trials; a field that is always empty is left out.
COUNTED = ("attack", "codec", "transmission", "source", "vocoder", "quality")
#: Folder or file of a corpus; None for a corpus that is downloaded on first use.
Root: TypeAlias = AnyPath | None
#: Folder of the protocols, or one protocol; None if they are in the folder of the corpus.
Protocols: TypeAlias = AnyPath | None
#: Field → values of trials to omit.
Excluded: TypeAlias = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Counts:
    """Numbers of trials in a part of a corpus, in all and by class.

    ``bonafide`` and ``spoof`` are None if unknown. ``by[field][value]`` counts the values of a
    field.
    """

    trials: int
    bonafide: int | None = None
    spoof: int | None = None
    by: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def labelled(self) -> bool:
        """Whether there are labelled trials of both classes."""
        return bool(self.bonafide and self.spoof)

    def differences(self, official: Counts) -> list[str]:
        """Describe each difference from the ``official`` numbers, as far as both are known.

        >>> Counts(3, 1, 2, {"attack": {"A07": 2}}).differences(Counts(3, 2, 1, {"attack": {"A07": 1, "A08": 1}}))
        ['1 bona fide instead of 2', '2 spoofed instead of 1', 'attack A07: 2 instead of 1', 'attack A08: 0 instead of 1']
        """
        totals = [
            ("trials", self.trials, official.trials),
            ("bona fide", self.bonafide, official.bonafide),
            ("spoofed", self.spoof, official.spoof),
        ]
        differences = []
        for noun, number, expected in totals:
            if number is not None and expected is not None and number != expected:
                differences.append(f"{number:,} {noun} instead of {expected:,}")
        for name, expected_numbers in official.by.items():
            numbers = Counter(self.by.get(name, expected_numbers))
            for value in sorted({*numbers, *expected_numbers}):
                expected = expected_numbers.get(value, 0)
                if numbers[value] != expected:
                    differences.append(f"{name} {value}: {numbers[value]:,} instead of {expected:,}")
        return differences


def count(trials: Iterable[Trial]) -> Counts:
    """Count ``trials`` in all, by class if any has a label, and by the fields in :data:`COUNTED`.

    >>> count([Trial("a", label="bonafide"), Trial("b", label="spoof", attack="A07")])
    Counts(trials=2, bonafide=1, spoof=1, by={'attack': {'A07': 1}})
    """
    trials = list(trials)
    labels = Counter(trial.label for trial in trials)
    by = {}
    for name in COUNTED:
        values = Counter(getattr(trial, name) for trial in trials)
        values.pop(None, None)
        if values:
            by[name] = dict(sorted(values.items()))
    if labels[BONAFIDE] + labels[SPOOF] == 0:
        return Counts(len(trials), by=by)
    return Counts(len(trials), labels[BONAFIDE], labels[SPOOF], by)


def key_digest(trials: Trials) -> str:
    """Compute the SHA-256 of the sorted lines ``id label phase``, whatever the format of the key.

    >>> key_digest([Trial("b", label="spoof"), Trial("a", label="bonafide")])[:16]
    '6e6414d2c27ce533'
    """
    # Another line would no longer fit the stored digests of corpora, results and records.
    return trials_digest(trials, lambda trial: f"{trial.id} {trial.label} {trial.phase or '-'}", in_order=False)


class AsvScores(NamedTuple):
    """Scores of the organisers' speaker-verification system, (N,) each."""

    target: NDArray
    nontarget: NDArray
    spoof: NDArray


@dataclass(frozen=True)
class Download:
    """A file of a corpus that can be downloaded without asking its owners."""

    url: str
    """Address of a file, a Zenodo record, or a hub data set (``hub:OWNER/NAME[@REVISION]``)."""
    what: str = ""
    """The content, such as ``training audio``."""
    _: KW_ONLY
    name: str = ""
    """Path below the corpus's folder, by default the end of the address; a record's folder."""
    size: int | None = None
    """Bytes; None if not published."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Name in :mod:`hashlib` → published checksum in hexadecimal, if any."""
    unpack: str = "."
    """Folder below the corpus's for the content, if it is an archive."""
    licence: str = ""
    """If not the licence of the corpus."""


@dataclass(frozen=True, kw_only=True)
class Corpus(ABC):
    """The facts of a corpus, and its trials.

    :class:`~nes2net.data.corpora.layout.ListedCorpus` and
    :class:`~nes2net.data.corpora.folders.FolderCorpus` derive the trials from a declaration of the
    files.

    Methods raise :class:`~nes2net.lib.errors.InputError` if a file is malformed or a part is
    unknown, and :class:`~nes2net.data.corpora.protocol.NotFound`, with every path tried, if a file
    is missing. No method opens an audio file.
    """

    title: str
    """The usual name."""
    notes: str = ""
    """Paper, layout and peculiarities; ``nes2net info`` prints the lines as they are."""
    segments: Callable[..., SegmentsByUtterance] | None = None
    """``segments(root, split, protocols=None)`` returns utterance → segments that cover it. None if
        there are no such labels, or only of frames.
    """
    segment_labels: Callable[..., dict[str, NDArray]] | None = None
    """``segment_labels(root, split, resolution, protocols=None)`` returns utterance → labels (T,) of
        frames of ``resolution`` ms, 1 bona fide, 0 spoof, if any.
    """
    asv_scores: Callable[..., AsvScores] | None = None
    """``asv_scores(path, phase)`` returns those scores; None, and no min t-DCF, without them."""
    official_table: Callable[[Trials, NDArray], list[OfficialRow]] | None = None
    """``official_table(trials, scores)`` returns the organisers' table from labelled trials and
        scores (N,), if there is one.
    """

    phases: tuple[str, ...] = ()
    """The phases in the labels, by default the ``splits``."""
    key_files: Sequence[str] = ()
    """Possible paths of the key (labels); empty if the protocols hold the labels."""
    parts_overlap: bool = False
    """Whether a trial may be in several parts; evaluations then read the labels of one part."""
    user_defined: bool = False
    """Whether these are a user's own files: ``root`` may be a list, and ``"all"`` a part."""
    about: str = ""
    """The content, for the list of all corpora; needed only without official ``counts``."""
    takes: str = "FOLDER"
    """Placeholder for ``root`` in examples of commands."""
    home: Callable[[], Path] | None = None
    """``home()`` returns the folder of a corpus that is downloaded on first use."""
    test_samples: int = ASVSPOOF_SAMPLES
    """Samples of each utterance that '4sec' scoring uses."""

    eer_method: str = "asvspoof"
    """Method of the published EER, see :func:`nes2net.metrics.compute_eer`."""
    min_dcf_options: Mapping[str, Any] = field(default_factory=dict)
    """Costs of the published minDCF (:func:`nes2net.metrics.compute_min_dcf`)."""
    min_dcf_costs: str = ASVSPOOF5_COSTS
    """Name of these costs, for tables."""
    tdcf_version: int = 2021
    """Version of the published min t-DCF, see :func:`nes2net.metrics.compute_min_tdcf`."""
    tandem_weights: TandemWeights | None = None
    """Weights of the published min t-DCF of claims; None for the rates of the evaluated ASV scores."""
    official_text: Callable[..., str] | None = None
    """``official_text(a_dcf, t_eer, min_tdcf)`` writes figures of claims as the organisers' program;
        the last two may be missing.
    """
    excluded: Excluded = field(default_factory=dict)
    """Field → values whose trials the published figures omit."""

    counts: Mapping[str, Counts] = field(default_factory=dict)
    """Split → official numbers of trials."""
    key_counts: Mapping[str, Counts] = field(default_factory=dict)
    """Phase → official numbers of labelled trials, by default ``counts``."""
    key_digests: Mapping[str, str] = field(default_factory=dict)
    """Phase → :func:`key_digest` of the official labelled trials, if known."""
    asv_counts: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """Phase → official numbers of target, nontarget and spoof scores, if known."""
    editions: Mapping[str, Mapping[str, Counts]] = field(default_factory=dict)
    """Further edition → its ``counts``."""
    counts_from: str = ""
    """Source of ``counts``, such as ``the paper, Table 2``, if no official file was counted: other
        numbers are no error.
    """
    obtain: Mapping[str, str] = field(default_factory=dict)
    """``audio``, ``protocol``, ``keys`` or ``asv`` → where to get such files."""
    downloads: Sequence[Download] = ()
    """What ``nes2net data download`` fetches; empty if the owners have to be asked."""
    by_hand: Sequence[str] = ()
    """Steps to get the files that are not among ``downloads``; if both are empty, ``obtain``."""
    licence: str = ""
    """Licence of the recordings, if known. If sources disagree, the publisher's page decides."""
    source: str = ""
    """Page or paper that describes the corpus."""
    beside: str | None = None
    """Regular expression (:mod:`re`) for names, without suffix, of other recordings than trials."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The parts, such as ``train``."""

    @abstractmethod
    def find_protocol(self, root: Root, split: str = "eval", protocols: Protocols = None) -> Path:
        """Find the file, or folder of files, that lists the trials of ``split``.

        Args:
            root: the folder of the corpus; None for a corpus that is downloaded on first use.
            protocols: the folder of the protocols, or one protocol, if not in ``root``.
        """

    @abstractmethod
    def find_audio(self, root: Root, split: str = "eval") -> Path:
        """Find the folder of the audio of ``split``."""

    @abstractmethod
    def read_protocol(self, path: Path, split: str | None = None, audio: Path | None = None) -> list[Trial]:
        """Read the trials of a protocol, with paths below ``audio`` if it is given."""

    @abstractmethod
    def read_keys(self, path: Root, phase: str | None = None) -> list[Trial]:
        """Read labels as :meth:`keys` does, but only from a key or protocol."""

    def keys(self, path: Root, phase: str | None = None) -> list[Trial]:
        """Read the labelled trials of ``phase``, without audio, for evaluation.

        Args:
            path: a key or protocol, the folder that holds it, or a file that holds only ids and
                labels, which belong to every phase.
            phase: None for all phases or, if protocols hold the labels, all splits with a protocol.
        """
        labels = self.place(path)
        if not self.holds_only_labels(labels):
            return self.read_keys(path, phase)
        trials = check_trials(read_labels(labels), labels)
        if phase is not None:
            self.check_phase(phase, trials)
        return trials

    def holds_only_labels(self, path: Path) -> bool:
        """Whether ``path`` is a file of ids and labels, and not a key or protocol of this corpus."""
        return path.name not in {Path(file).name for file in self.key_files} and holds_only_labels(path)

    def trials(self, root: Root, split: str = "eval", *, protocols: Protocols = None) -> list[Trial]:
        """List the trials of ``split`` in the order of the protocol, with the paths of their audio.

        The arguments are those of :meth:`find_protocol`.
        """
        split = self.resolve_split(split)
        root = corpus_root(self.place(root))
        return self.read_protocol(self.find_protocol(root, split, protocols), split, self.find_audio(root, split))

    def enrolment(self, root: Root, split: str = "eval", *, protocols: Protocols = None) -> dict[str, list[Path]]:
        """Map each person to the recordings that enrol them: of each speaker, those that are not spoofed.

        The arguments are those of :meth:`find_protocol`. Claims enrol nobody.

        Raises:
            InputError: also if nobody is enrolled.
        """
        people: dict[str, list[Path]] = {}
        trials = self.trials(root, split, protocols=protocols)
        for trial in trials:
            if trial.speaker and trial.label != SPOOF and not trial.claim:
                people.setdefault(trial.speaker, []).append(trial.audio_path())
        if not people:
            raise InputError(
                f"{root}: {pluralise(trials, 'trial')}, but none that enrols a person: it needs a speaker, and may be no claim "
                "and no spoof; list such recordings for the corpus generic, in the columns file and speaker"
            )
        return people

    def find_splits(self, root: Root, protocols: Protocols = None) -> tuple[str, ...]:
        """List the parts that a copy should have; of a user's own files, the parts that exist."""
        return self.splits

    def find_key(self, path: AnyPath) -> Path:
        """Return the file ``path``, or the first of ``key_files`` in the folder ``path``."""
        path = Path(path)
        if path.is_file():
            return path
        return first_file(
            [path / file for file in self.key_files],
            what=f"key of {self.title}",
            remedy=f"give the folder of keys that holds {self.key_files[0]}",
        )

    def how_to_get(self, kind: str) -> str:
        """Where to get files of the ``kind``, if :attr:`obtain` states it."""
        return "" if kind not in self.obtain else f"get {self.obtain[kind]}"

    @property
    def accepted_splits(self) -> tuple[str, ...]:
        """The ``splits``, and ``all`` for a user's own files."""
        if self.user_defined:
            return (*self.splits, WHOLE)
        return self.splits

    def resolve_split(self, split: str) -> str:
        """Return this package's name for ``split``; raise InputError if there is none."""
        split = canonical_phase(split)
        check_known([split], self.accepted_splits, f"{self.title} has no split")
        return split

    def place(self, root: Root) -> Path:
        """Return ``root``, or ``home()``, if there is one, if ``root`` is None or ``"."``.

        Raises:
            InputError: if ``root`` is None and the corpus has no ``home``, or if the download
                fails.
        """
        if self.home is not None and (root is None or str(root) in ("", ".")):
            return self.home()
        if root is None:
            raise InputError(f"where is {self.title}? name its folder with `root`")
        return Path(root)

    def official_counts(self, split: str, counts: Counts, *, labelled: bool = False) -> Counts | None:
        """Return the official numbers of ``split``, or of the ``labelled`` trials of this phase, if known.

        Of several editions, the first or the one that agrees with a copy's ``counts`` decides.
        """
        first = None
        editions = [self.counts, *self.editions.values()]
        if labelled and self.key_counts:
            editions = [self.key_counts]
        for edition in editions:
            official = edition.get(canonical_phase(split))
            if official is not None and not counts.differences(official):
                return official
            first = first or official
        return first

    def describe_trials(self, trials: Trials, split: str, phase: str | None = None) -> dict[str, object]:
        """Describe ``trials`` for the record of scores: number, digest of ids, and ``official``.

        ``official`` is false if the numbers differ from those of the labelled trials of ``phase``,
        or without ``phase`` of ``split``; true if the latter are unknown or come from a paper.
        """
        counts = count(trials)
        official = self.official_counts(phase or split, counts, labelled=bool(phase))
        is_official = official is None or bool(self.counts_from) or not counts.differences(official)
        ids = trials_digest(trials, lambda trial: trial.id, in_order=False)
        return {"trials": len(trials), "ids_sha256": ids, "official": is_official}

    def differences_from_official(self, key: Trials, phase: str) -> list[str] | None:
        """Describe how the labelled trials ``key`` differ from the official ones of ``phase``.

        None if the official numbers are unknown, or differ but come only from a paper.
        """
        counts = count(key)
        official = self.official_counts(phase, counts, labelled=True)
        if official is None:
            return None
        differences = counts.differences(official)
        if differences and self.counts_from:
            return None
        digest = self.key_digests.get(canonical_phase(phase))
        if not differences and digest is not None and key_digest(key) != digest:
            return ["as many trials, but other ids or labels"]
        return differences

    def check_known_phase(self, phase: str, further_phases: Iterable[str] = ()) -> None:
        """Raise :class:`~nes2net.lib.errors.InputError` if there is no such ``phase``."""
        phases = [*(self.phases or self.splits), *further_phases]
        check_known([phase], phases, f"{self.title} has no phase")

    def check_phase(self, phase: str, key: Trials) -> None:
        """Raise :class:`~nes2net.lib.errors.InputError` if the corpus has no such ``phase``.

        Also raised if the labels ``key`` state no phases, but have the official numbers of another
        phase. A user's list without parts has only the phases ``eval`` and ``all``, which mean the
        same.
        """
        phase = canonical_phase(phase)
        stated_phases = {trial.phase for trial in key if trial.phase}
        if phase == "eval" and not stated_phases and phase not in (*self.phases, *self.splits):
            return  # the default, of a corpus whose parts have other names: all of the labels
        self.check_known_phase(phase, [*sorted(stated_phases), WHOLE] if self.user_defined else ())
        # If the labels state phases, the caller can select the trials of the phase, so no further check is needed.
        if stated_phases:
            return
        if self.user_defined:
            if phase not in ("eval", WHOLE):
                raise InputError(
                    f"the list names no parts, so there is no phase '{phase}'; fill its column 'split', or ask for '{WHOLE}'"
                )
            return
        # Labels without phases may belong to another phase: compare their numbers with the official ones.
        counts = count(key)
        numbers = (counts.bonafide, counts.spoof)
        equal_phases = []
        for name, official in (self.key_counts or self.counts).items():
            if official.labelled and numbers == (official.bonafide, official.spoof):
                equal_phases.append(name)
        if equal_phases and phase not in equal_phases:
            raise InputError(
                f"the labels name no phases, and their numbers ({counts.bonafide:,} bona fide, {counts.spoof:,} "
                f"spoofed) belong to phase {equal_phases[0]} of {self.title}, not to {phase}; ask for "
                f"`phase={equal_phases[0]}`"
            )
