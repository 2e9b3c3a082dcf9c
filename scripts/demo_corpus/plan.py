"""Plan of the trials: parts, ids, attacks, codecs and phases, the same on every run with the same seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from nes2net.lib.errors import InputError

from .channel import generator
from .codecs import DF_CODECS, LA_CODECS, WILD_CODECS
from .recordings import Recording
from .synthesis import EVALUATION_PARTS, METHODS

HUMAN = "human"
ENROLMENT_CLIPS = 8  # per speaker, for the toy speaker verification
_CODECS = {"train": ("none",), "dev": ("none",), "la": LA_CODECS, "df": DF_CODECS, "wild": WILD_CODECS}
_FIRST_ID = {
    "train": ("LA_T_", 1_000_001),
    "dev": ("LA_D_", 1_000_001),
    "la": ("LA_E_", 1_000_001),
    "df": ("DF_E_", 2_000_001),
}
_MIN_CLIPS = 8


@dataclass(frozen=True)
class Sizes:
    """Largest number of human clips per part, and of spoofs by one method per human clip."""

    train: int = 400
    dev: int = 84
    evaluation: int = 118
    spoofs_in_training: float = 0.6
    spoofs_in_evaluation: float = 0.25

    @property
    def human(self) -> int:
        return self.train + self.dev + len(EVALUATION_PARTS) * self.evaluation


@dataclass(frozen=True)
class Clip:
    """One trial to make; ``source`` is its human clip, the one it copies, or the one that gives speaker and duration."""

    id: str
    part: str
    method: str
    source: Recording
    codec: str
    phase: str

    @property
    def is_human(self) -> bool:
        return self.method == HUMAN

    @property
    def attack(self) -> str:
        return "-" if self.is_human else METHODS[self.method].attack

    @property
    def label(self) -> str:
        return "bonafide" if self.is_human else "spoof"


def round_robin(recordings: list[Recording], seed: int) -> list[Recording]:
    """Order recordings at random, cycling through speakers and languages, so that any head of the list is balanced."""
    groups = defaultdict(list)
    for recording in recordings:
        groups[recording.speaker, recording.language].append(recording)
    ranked = []
    for name, group in groups.items():
        order = generator(seed, "order", *name).permutation(len(group))
        ranked += [(rank / len(group), name, group[i]) for rank, i in enumerate(order)]
    return [recording for _, _, recording in sorted(ranked, key=lambda item: item[:2])]


@dataclass(frozen=True)
class Split:
    """Human clips of each part, and the enrolment clips of the toy verification."""

    parts: dict[str, list[Recording]]
    enrolment: list[Recording]


def split(usable: list[Recording], sizes: Sizes, seed: int) -> Split:
    """Share out the usable human clips; raise :class:`InputError` if there are too few."""
    ordered = round_robin(usable, seed)
    anywhere = [r for r in ordered if r.role == "any"]
    learning = [r for r in ordered if r.role == "train"] + anywhere[::2]
    testing = [r for r in ordered if r.role == "eval"] + anywhere[1::2]
    if len(learning) < 2 * _MIN_CLIPS or len(testing) < (len(EVALUATION_PARTS) + 1) * _MIN_CLIPS:
        raise InputError(
            f"too little human speech: {len(learning)} clips of 1.2 s and more to train and develop, {len(testing)} to "
            f"evaluate, but {2 * _MIN_CLIPS} and {(len(EVALUATION_PARTS) + 1) * _MIN_CLIPS} are needed; add recordings"
        )
    fifth = min(sizes.dev, max(_MIN_CLIPS, len(learning) // 6))
    parts = {"dev": learning[:fifth], "train": learning[fifth : fifth + sizes.train]}
    enrolment = _first_of_each_speaker(testing, min(ENROLMENT_CLIPS, len(testing) // 8))
    trials = [r for r in testing if r not in set(enrolment)]
    each = min(sizes.evaluation, len(trials) // len(EVALUATION_PARTS))
    for i, part in enumerate(EVALUATION_PARTS):
        parts[part] = trials[i : each * len(EVALUATION_PARTS) : len(EVALUATION_PARTS)]
    others = {r.speaker for r in parts["train"]} - {r.speaker for r in testing}
    strangers = [r for r in parts["train"] if r.speaker in others]
    return Split(parts, enrolment + _first_of_each_speaker(strangers, ENROLMENT_CLIPS))


def _first_of_each_speaker(recordings: list[Recording], count: int) -> list[Recording]:
    seen: Counter[str] = Counter()
    chosen = []
    for recording in recordings:
        if seen[recording.speaker] < count:
            chosen.append(recording)
        seen[recording.speaker] += 1
    return chosen


def _copies(
    part: str, human: list[Recording], methods: list[str], sizes: Sizes, seed: int
) -> list[tuple[str, Recording]]:
    """List (method, paired human clip) of every spoof of a part; a method is paired with clips of its own languages."""
    ratio = sizes.spoofs_in_evaluation if part in EVALUATION_PARTS else sizes.spoofs_in_training
    count = max(1, round(ratio * len(human)))
    languages = {r.language for r in human}
    pairs = []
    for method in methods:
        if METHODS[method].used_in(part, languages):
            order = generator(seed, "pairs", part, method).permutation(len(human))
            spoken = [human[i] for i in order if METHODS[method].speaks(human[i].language)]
            pairs += [(method, recording) for recording in spoken[:count]]
    return pairs


def clips(shared: Split, methods: list[str], sizes: Sizes, seed: int) -> list[Clip]:
    """List every trial of the corpus; each class cycles through codecs and phases, so that neither favours one."""
    planned = []
    for part, human in shared.parts.items():
        rng = generator(seed, "part", part)
        rows = []
        for pairs in ([(HUMAN, r) for r in human], _copies(part, human, methods, sizes, seed)):
            for i, pick in enumerate(rng.permutation(len(pairs))):
                codec = _CODECS[part][i % len(_CODECS[part])]
                rows.append((*pairs[pick], codec, "progress" if i % 11 == 10 else "eval"))
        prefix, first = _FIRST_ID.get(part, ("", 0))
        for number, pick in enumerate(rng.permutation(len(rows)), start=first):
            method, source, codec, phase = rows[pick]
            planned.append(Clip(f"{prefix}{number}", part, method, source, codec, phase))
    return planned
