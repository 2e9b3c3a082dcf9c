"""Define a trial (an utterance with label and other fields), and subsets."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
from pydantic import Field

from nes2net.data.audio.parts import RecordingPart
from nes2net.lib.errors import InputError, check_setting, join_names, pluralise, refuse
from nes2net.lib.output.terminal import check_one_line
from nes2net.lib.parts.options import Takes

if TYPE_CHECKING:
    from nes2net.data.audio.packed import AnyRecording

BONAFIDE = "bonafide"
SPOOF = "spoof"
#: Word for a claim, see :func:`as_claim` → label of the recording.
CLAIMS = {"target": BONAFIDE, "nontarget": BONAFIDE, "spoof": SPOOF}
#: Name of the item of ``extra`` with the models that a trial enrols in verification, separated by spaces.
ENROLMENT_MODELS = "enrolment_models"


@dataclass(frozen=True, slots=True)
class Trial:
    """An utterance of a corpus. A field is None if the corpus does not have it or leaves it empty.

    ``id`` is the utterance's name in protocols and score files. ``label`` is ``"bonafide"`` or
    ``"spoof"``. The other fields hold the corpus's own words:

    ============ =========================================================================
    speaker      speaker, or singer (CtrSVDD)
    attack       spoofing system, ``A07``; None for bona fide
    codec        codec, or the corpus's word for no codec, ``none`` or ``nocodec``
    transmission telephone line, ``loc_tx`` (ASVspoof 2021 LA)
    source       data set the utterance was taken from (ASVspoof 2021 DF, CtrSVDD)
    vocoder      kind of waveform generation (ASVspoof 2021 DF); None for bona fide
    phase        split or phase of the challenge
    trim         ``trim`` or ``notrim``: whether silence was cut off (ASVspoof 2021)
    gender       of the speaker (ASVspoof 5), or of source and target speaker, ``FM`` (ASVspoof 2021 DF)
    quality      setting of the codec, 1–8 (ASVspoof 5)
    seed         seed of the codec's conditions (ASVspoof 5)
    attack_type  family of the attack, ``AC3`` (ASVspoof 5)
    language     of the utterance in the Voice Conversion Challenge (ASVspoof 2021 DF)
    task, team   task and team of the Voice Conversion Challenge (ASVspoof 2021 DF)
    claim        ``target``, ``nontarget`` or ``spoof``, if ``speaker`` is a claimed person
    extra        further columns of a generic corpus, as (name, value) pairs
    ============ =========================================================================

    ``system_scores`` are scores of other systems, for a detector that fuses them
    (:mod:`nes2net.scoring.system_scores`), in no corpus. ``part`` is None for all of ``path``.

    >>> trial = Trial("LA_E_1", label="spoof", attack="A07", extra=(("room", "kitchen"),))
    >>> trial.attack, trial.get("attack"), trial.get("room"), trial.get("window"), trial.target
    ('A07', 'A07', 'kitchen', None, 0)
    """

    id: Annotated[str, Field(pattern=r"^\S+$"), Takes("text without spaces")]
    path: Annotated[Path | None, Takes("a Path or None")] = None
    label: Annotated[str | None, Field(pattern="^(bonafide|spoof)$"), Takes("'bonafide', 'spoof' or None")] = None
    speaker: str | None = None
    attack: str | None = None
    codec: str | None = None
    transmission: str | None = None
    source: str | None = None
    vocoder: str | None = None
    phase: str | None = None
    trim: str | None = None
    gender: str | None = None
    quality: str | None = None
    seed: str | None = None
    attack_type: str | None = None
    language: str | None = None
    task: str | None = None
    team: str | None = None
    claim: str | None = None
    extra: tuple[tuple[str, str], ...] = ()
    system_scores: tuple[float, ...] = ()
    part: RecordingPart | None = None

    @property
    def target(self) -> int | None:
        """1 for bona fide, 0 for spoof, None if unknown."""
        return None if self.label is None else int(self.label == BONAFIDE)

    def audio_path(self) -> Path:
        """Return ``path``, which must be known.

        Raises:
            InputError: if the trial has no path, because it comes from a key.
        """
        if self.path is None:
            raise InputError(
                f"trial '{self.id}' has no path to its audio, because it is from a key: read the corpus folder instead"
            )
        return self.path

    def recording(self) -> AnyRecording:
        """Return :meth:`audio_path`, or the ``part`` of it."""
        if self.part is None:
            return self.audio_path()
        return self.part.of(self.audio_path())

    def choose(self, channel: int | None, track: int = 0) -> Trial:
        """Choose a channel, unless the part names one, and an audio track, both counted from 0."""
        return replace(self, part=(self.part or RecordingPart()).choose(channel, track))

    def with_audio_of(self, trial: Trial) -> Trial:
        return replace(self, path=trial.path, part=trial.part)

    def get(self, name: str) -> str | None:
        """Return the field ``name``, or that item of ``extra``, if there is one."""
        if name in self.__slots__ and name != "part":
            return getattr(self, name)
        return dict(self.extra).get(name)

    def __reduce__(self) -> tuple:
        # Pickles the up to 600,000 trials of a DataLoader worker in half the time. In the order of the fields, for
        # _unpickled_trial.
        id, path, *other_fields = _values(self)
        kind = type(path)
        if path is not None:
            path = str(path)
        return _unpickled_trial, (kind, id, path, *other_fields)


def claim_id(person: str, recording: str) -> str:
    """Make the id of a claim.

    >>> claim_id("LA_0015", "LA_E_1103494")
    'LA_0015:LA_E_1103494'
    """
    return f"{person}:{recording}"


def as_claim(trial: Trial, enrolment: str = "") -> Trial:
    """Give a trial with a ``claim`` its id and label.

    A claim says that the enrolled ``speaker`` speaks in the recording: ``target`` (bona fide, this
    person), ``nontarget`` (bona fide, another person) or ``spoof``. A recording stands in several
    claims, so its id is not enough.

    Args:
        enrolment: the recording in the id, if one stands for its speaker.

    Raises:
        InputError: if the claim is unknown, there is no speaker, or label or attack contradict the
            claim.
    """
    label = CLAIMS.get(str(trial.claim))
    contradicts = trial.label not in (None, label) or (trial.attack and label == BONAFIDE)
    stated = trial.attack or trial.label
    refuse(
        (label is None, f"'{trial.id}' has the claim '{trial.claim}': expected {', '.join(CLAIMS)}"),
        (contradicts, f"'{trial.id}' is {trial.claim} and {stated} at once: correct its row"),
        (not trial.speaker, f"'{trial.id}' is a claim without a speaker: name the claimed person"),
    )
    return replace(trial, id=claim_id(enrolment or str(trial.speaker), trial.id), label=label)


#: Trials of a corpus, in order.
Trials: TypeAlias = Sequence[Trial]


def trials_digest(trials: Iterable[Trial], line: Callable[[Trial], str], *, in_order: bool = True) -> str:
    """Compute the SHA-256 of a list of trials, in hexadecimal, to tell whether two lists are equal.

    Args:
        line: the text of a trial that counts, such as its id and label.

    >>> a, b = Trial("a", label="bonafide"), Trial("b", label="spoof")
    >>> trials_digest([b, a], lambda trial: trial.id)[:16]
    'aea8a04c2f293417'
    >>> trials_digest([b, a], lambda trial: trial.id, in_order=False)[:16]
    '911169ddaaf146af'
    """
    lines: Iterable[str] = map(line, trials)
    if not in_order:
        lines = sorted(lines)
    digest = hashlib.sha256()
    for text in lines:
        # Another form would no longer fit the digests in records and results.
        digest.update(f"{text}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


_values = attrgetter(*Trial.__slots__)


def _unpickled_trial(kind: type[Path], id: str, path: str | None, *other_fields: Any) -> Trial:
    if path is None:
        return Trial(id, None, *other_fields)
    return Trial(id, kind(path), *other_fields)


def stratified_subset(trials: Trials, count: int, seed: int = 0, *, setting: str = "num_trials") -> list[Trial]:
    """Draw ``count`` of the trials, or all; keep their order, and the shares of labels and attacks.

    A stratum is a pair of label and attack. One trial is drawn from each; the others are
    distributed in proportion, by the method of largest remainders. The draw within a stratum
    depends only on ``seed`` and its trials.

    Raises:
        InputError: if ``count``, the value of ``setting``, is smaller than the number of strata.

    >>> trials = [Trial(str(n), label="spoof", attack=f"A{n // 8}") for n in range(10)]
    >>> [trial.attack for trial in stratified_subset(trials, 5)]
    ['A0', 'A0', 'A0', 'A0', 'A1']
    """
    if count >= len(trials):
        return list(trials)
    strata: dict[tuple[str, str], list[int]] = {}
    for number, trial in enumerate(trials):
        strata.setdefault((trial.label or "", trial.attack or ""), []).append(number)
    expected = f"at least {len(strata)}, one for each label and attack of the {len(trials)} trials"
    check_setting(setting, count, count >= len(strata), expected)
    names = sorted(strata)
    sizes = np.array([len(strata[name]) for name in names])
    remaining = count - len(names)
    # Compute each stratum's share of the remaining trials, rounded down, and the remainder. Integers keep shares and
    # remainders exact.
    shares, remainders = np.divmod(remaining * (sizes - 1), len(trials) - len(names))
    largest_remainders = np.argsort(-remainders, kind="stable")
    shares[largest_remainders[: remaining - int(shares.sum())]] += 1
    drawn_numbers: list[int] = []
    for name, share in zip(names, shares.tolist()):
        # Other seeds would draw other subsets than earlier runs.
        rng = np.random.default_rng([seed, zlib.crc32("/".join(name).encode())])
        drawn_numbers += rng.choice(strata[name], 1 + share, replace=False).tolist()
    return [trials[number] for number in sorted(drawn_numbers)]


def extra_fields(trials: Iterable[Trial]) -> dict[str, None]:
    """List the names in ``extra``, in the order of first occurrence, as an ordered set."""
    return dict.fromkeys(chain.from_iterable(dict(trial.extra) for trial in trials))


def class_name(trial: Trial, field: str, aliases: Mapping[str, str]) -> str | None:
    """Find the class of ``trial`` in source tracing: bona fide, or the value of ``field``, if any.

    Args:
        aliases: value → name of the class, to join several values in one class.

    >>> class_name(Trial("a", label="spoof", attack=" A16 "), "attack", {"A16": "A04"})
    'A04'
    """
    if trial.label == BONAFIDE:
        return BONAFIDE
    name = (trial.get(field) or "").strip()
    return aliases.get(name, name) or None


def class_names(trials: Trials, field: str, aliases: Mapping[str, str], source: str, remedy: str) -> list[str]:
    """Find the class of each of ``trials`` by :func:`class_name`.

    Args:
        source, remedy: for the message: where the trials come from, and what to do.

    Raises:
        InputError: if a spoofed trial has no class, or one whose name does not fit a line of a table.
    """
    names = [class_name(trial, field, aliases) or "" for trial in trials]
    unnamed = [trial.id for trial, name in zip(trials, names) if not name]
    if unnamed:
        raise InputError(
            f"{pluralise(unnamed, 'spoofed trial')} of {source} with no {field}, which would name the class: "
            f"{join_names(unnamed)}; {remedy}"
        )
    check_one_line(sorted(set(names)), f"the field {field} of {source}")
    return names
