"""How many trials a corpus has, and how many are there: counted in total, by class, and by what the protocol says of them.

A corpus is a module with the same names as every other:

======================================== ==========================================================================
``TITLE``, ``SPLITS``                    what people call it; its parts
``EER_METHOD``, ``TEST_SAMPLES``         rule of the published EER; samples of '4sec' scoring
``COUNTS``                               split → the official :class:`Counts`
``OBTAIN``                               ``audio``, ``protocol``, ``keys`` → where to get it
``find_protocol(root, split, protocols)`` the file that lists the trials; :class:`NotFound` names every place tried
``find_audio(root, split)``              the folder of the audio
``read_protocol(path, split, audio)``    its trials, with paths if ``audio`` is given
``trials(root, split, protocols=…)``     the trials of a split with the paths of their audio
``keys(path, phase)``                    labelled trials without audio, for evaluation
======================================== ==========================================================================

Where labels come apart from the protocol there are ``PHASES``, ``KEY_COUNTS`` (phase → counts) and ``find_key`` too, with the
scores of a speaker-verification system ``asv_scores`` and ``TDCF_VERSION``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from nes2net.data.protocol import WHOLE, canonical_phase
from nes2net.data.trial import BONAFIDE, SPOOF, Trial
from nes2net.errors import InputError

#: What a file in a folder of audio ends in, if it is a recording.
AUDIO_SUFFIXES = frozenset(".wav .flac .mp3 .ogg .opus .m4a .aac .aiff .aif .sph .wma .webm".split())
#: Fields whose values are counted, where a corpus has them.
COUNTED = ("attack", "codec", "transmission", "source", "vocoder", "quality")


@dataclass(frozen=True)
class Counts:
    """Trials of a part of a corpus; ``by`` holds field → value → number. None: not known."""

    trials: int
    bonafide: int | None = None
    spoof: int | None = None
    by: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def differences(self, official: Counts) -> list[str]:
        """How these counts differ from ``official``, one text each; what either of the two does not know is passed over.

        >>> Counts(3, 1, 2, {"attack": {"A07": 2}}).differences(Counts(3, 2, 1, {"attack": {"A07": 1, "A08": 1}}))
        ['1 bona fide instead of 2', '2 spoofed instead of 1', 'attack A07: 2 instead of 1', 'attack A08: 0 instead of 1']
        """
        pairs = [
            ("{} trials instead of {}", self.trials, official.trials),
            ("{} bona fide instead of {}", self.bonafide, official.bonafide),
            ("{} spoofed instead of {}", self.spoof, official.spoof),
        ]
        for name, expected in official.by.items():
            found = self.by.get(name, {})
            if found:
                pairs += [
                    (f"{name} {value}: {{}} instead of {{}}", found.get(value, 0), expected.get(value, 0))
                    for value in sorted({*found, *expected})
                ]
        return [
            text.format(f"{found:,}", f"{expected:,}")
            for text, found, expected in pairs
            if None not in (found, expected) and found != expected
        ]


def count(trials: Iterable[Trial]) -> Counts:
    """Count ``trials``. Classes are None where no trial is labelled.

    >>> count([Trial("a", label="bonafide"), Trial("b", label="spoof", attack="A07")])
    Counts(trials=2, bonafide=1, spoof=1, by={'attack': {'A07': 1}})
    """
    trials = list(trials)
    labels = Counter(trial.label for trial in trials)
    known = labels[BONAFIDE] + labels[SPOOF] > 0
    by = {}
    for name in COUNTED:
        values = Counter(getattr(trial, name) for trial in trials)
        values.pop(None, None)
        if values:
            by[name] = dict(sorted(values.items()))
    return Counts(len(trials), labels[BONAFIDE] if known else None, labels[SPOOF] if known else None, by)


def check_phase(module: ModuleType, phase: str, key: Sequence[Trial]) -> None:
    """:class:`InputError` if the corpus ``module`` has no ``phase``, which trials that name no phase would take for theirs.

    A corpus of one's own has ``train``, ``dev``, ``eval`` and ``all``; where its list names no parts, only the last two, which are
    the same.
    """
    phase = canonical_phase(phase)
    known = list(dict.fromkeys(canonical_phase(name) for name in getattr(module, "PHASES", module.SPLITS)))
    if not module.COUNTS:
        known.append(WHOLE)
    if phase not in known:
        raise InputError(f"{module.TITLE} has no phase '{phase}'; it has {', '.join(known)}")
    if not module.COUNTS and phase not in ("eval", WHOLE) and all(trial.phase is None for trial in key):
        raise InputError(
            f"the list names no parts, so there is no phase '{phase}'; fill its column 'split', or ask for '{WHOLE}'"
        )
