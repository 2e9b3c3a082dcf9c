"""Plan the trials: parts, ids, attacks, codecs and phases; the same seed gives the same plan."""

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
    """Largest number of human clips of each part, and number of spoofs by one method for each human clip."""

    train: int = 400
    dev: int = 84
    evaluation: int = 118
    spoofs_in_training: float = 0.6
    spoofs_in_evaluation: float = 0.25

    @property
    def human(self) -> int:
        """Largest number of human clips of all parts."""
        return self.train + self.dev + len(EVALUATION_PARTS) * self.evaluation


#: Sizes of the short form of the demonstration, whose training and development parts are those of the full form.
SHORT = Sizes(evaluation=60)


@dataclass(frozen=True)
class Clip:
    """One trial to make.

    ``source`` is the recording of a human clip, the recording that a spoof copies, or the one that
    gives a spoof its speaker and duration.
    """

    id: str
    part_name: str
    method: str
    source: Recording
    codec: str
    phase: str

    @property
    def is_human(self) -> bool:
        """Whether the clip is bona fide."""
        return self.method == HUMAN

    @property
    def attack(self) -> str:
        """The attack number, or ``-`` for human speech."""
        return "-" if self.is_human else METHODS[self.method].attack

    @property
    def label(self) -> str:
        """The label in protocols."""
        return "bonafide" if self.is_human else "spoof"


def round_robin(recordings: list[Recording], seed: int) -> list[Recording]:
    """Order recordings at random, cycling through speakers and languages.

    Any beginning of the list is therefore balanced.
    """
    groups = defaultdict(list)
    for recording in recordings:
        groups[recording.speaker, recording.language].append(recording)
    ranked = []
    for name, group in groups.items():
        order = generator(seed, "order", *name).permutation(len(group))
        for rank, i in enumerate(order):
            ranked.append((rank / len(group), name, group[i]))
    ranked.sort(key=lambda item: item[:2])
    return [recording for _, _, recording in ranked]


@dataclass(frozen=True)
class Split:
    """Human clips of each part, and the enrolment clips of the toy verification."""

    recordings_by_part: dict[str, list[Recording]]
    enrolment: list[Recording]


def split(usable: list[Recording], sizes: Sizes, seed: int) -> Split:
    """Share out the human clips among the parts and the enrolment of the toy verification.

    Raises:
        InputError: if there are too few clips.
    """
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
    recordings_by_part = {"dev": learning[:fifth], "train": learning[fifth : fifth + sizes.train]}
    enrolment = _first_of_each_speaker(testing, min(ENROLMENT_CLIPS, len(testing) // 8))
    trials = [r for r in testing if r not in set(enrolment)]
    each = min(sizes.evaluation, len(trials) // len(EVALUATION_PARTS))
    for i, part_name in enumerate(EVALUATION_PARTS):
        recordings_by_part[part_name] = trials[i : each * len(EVALUATION_PARTS) : len(EVALUATION_PARTS)]
    training_speakers = {r.speaker for r in recordings_by_part["train"]} - {r.speaker for r in testing}
    strangers = [r for r in recordings_by_part["train"] if r.speaker in training_speakers]
    return Split(recordings_by_part, enrolment + _first_of_each_speaker(strangers, ENROLMENT_CLIPS))


def _first_of_each_speaker(recordings: list[Recording], count: int) -> list[Recording]:
    counts: Counter[str] = Counter()
    first_recordings = []
    for recording in recordings:
        if counts[recording.speaker] < count:
            first_recordings.append(recording)
        counts[recording.speaker] += 1
    return first_recordings


def _copies(
    part_name: str, human: list[Recording], methods: list[str], sizes: Sizes, seed: int
) -> list[tuple[str, Recording]]:
    """List (method, human clip to copy) for every spoof of a part.

    A method is paired only with clips in its languages.
    """
    ratio = sizes.spoofs_in_evaluation if part_name in EVALUATION_PARTS else sizes.spoofs_in_training
    count = max(1, round(ratio * len(human)))
    languages = {r.language for r in human}
    pairs = []
    for method in methods:
        if METHODS[method].used_in(part_name, languages):
            order = generator(seed, "pairs", part_name, method).permutation(len(human))
            spoken = [human[i] for i in order if METHODS[method].speaks(human[i].language)]
            pairs += [(method, recording) for recording in spoken[:count]]
    return pairs


def clips(shared: Split, methods: list[str], sizes: Sizes, seed: int) -> list[Clip]:
    """List every trial of the corpus.

    Each class cycles through the codecs and phases of a part, so that neither tells the classes
    apart.
    """
    planned = []
    for part_name, human in shared.recordings_by_part.items():
        rng = generator(seed, "part", part_name)
        codecs = _CODECS[part_name]
        rows = []
        for pairs in ([(HUMAN, r) for r in human], _copies(part_name, human, methods, sizes, seed)):
            for number, pick in enumerate(rng.permutation(len(pairs))):
                phase = "progress" if number % 11 == 10 else "eval"
                rows.append((*pairs[pick], codecs[number % len(codecs)], phase))
        prefix, first = _FIRST_ID.get(part_name, ("", 0))
        for number, pick in enumerate(rng.permutation(len(rows)), start=first):
            method, source, codec, phase = rows[pick]
            planned.append(Clip(f"{prefix}{number}", part_name, method, source, codec, phase))
    return planned
