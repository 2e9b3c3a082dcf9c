"""Decide whether a claimed person, who is enrolled, is speaking live: the one judge of all commands."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from nes2net.lib.errors import InputError, refuse
from nes2net.lib.output.sheet import FactsDict
from nes2net.models.registry import speaker_encoder_of
from nes2net.models.speakers import SpeakerEncoder
from nes2net.scoring.decisions.along import Cutoff
from nes2net.scoring.decisions.claim import SasvFit
from nes2net.scoring.decisions.decision import Decider, Decision
from nes2net.scoring.decisions.person import PERSON_OUTCOMES, fuse, judge_person
from nes2net.scoring.decisions.population import TELEPHONE, Traits
from nes2net.scoring.people import PeopleStore
from nes2net.scoring.track import Track

_NEAREST = 5  # people that are named if nobody is claimed
_ENROLLED = "this recording is part of the enrolment: not a test, maybe a replay"
_NOBODY = "nobody is claimed, and the nearest enrolled person need not be the one who speaks: claim one, STORE:NAME"
_SCORES_ONLY = "scores decide nothing without a calibration, which nes2net calibrate person makes"
_BORDERLINE = "both scores together are too near the threshold, or below it, although each passes by itself"
# Whether a recording went through a telephone, unlike all enrolled ones → the warning.
_OTHER_CHANNEL = {
    False: "enrolled by telephone only, while this recording is not by telephone",
    True: "enrolled without a telephone, while this recording is by telephone",
}
_MEANING = (
    "this person: consistent with the enrolled voice, as other voices may be, too",
    "live: not recognised as synthesised, converted or replayed by this detector, which recognises replayed speech only "
    "if it was trained for it",
)
_FUSED = {"ratio": "llr_sasv"}  # rule → fact with its result; by default sasv_score
_FACTS = "person asv_score llr_asv llr_cm llr_sasv sasv_score rule threshold thresholds weights basis enrolled".split()


@dataclass(frozen=True)
class PersonDecision(Decision):
    """The outcome of a claim; :attr:`decision` has its words."""

    facts: FactsDict = field(default_factory=dict)
    """Plain data, None if unknown; ``code`` is a key of :data:`PERSON_OUTCOMES`."""

    @property
    def words(self) -> list[str]:
        return [self.decision, *self.facts["reason"], *self.facts["because"], *self.facts["warnings"]]

    @property
    def meaning(self) -> str:
        return f"Claimed to speak: {self.facts['person'] or 'nobody'}. Outcome: {'; '.join(self.words)}."

    def row(self) -> FactsDict:
        return super().row() | self.facts


def _in_words(llr: float, counts: Iterable[int]) -> str:
    """Write a ratio, at most as large as ``counts`` of trials support (:attr:`LinearCalibration.largest_llr`).

    >>> _in_words(3.6109, [90, 90, 0]), _in_words(-9.0, [90, 20])
    ('37 : 1 for', '1 : 21')
    """
    odds = f"{math.exp(min(abs(llr), math.log1p(min(filter(None, counts))))):,.0f}"
    return f"{odds} : 1 for" if llr >= 0 else f"1 : {odds}"


@dataclass(frozen=True, eq=False)
class PersonDecider:
    """Decides on claims of people in a store.

    Args:
        name: the claimed person; empty to name the nearest.
        liveness: by a calibration of ``nes2net calibrate person``; None for scores only.
        abstain_within: "cannot tell" if the ratio is less than so many nats from the threshold.
    """

    store: PeopleStore
    name: str
    encoder: SpeakerEncoder
    liveness: Decider | None = None
    abstain_within: float = 0.0

    @classmethod
    def of(
        cls, place: str, encoder: str | None = None, liveness: Decider | None = None, abstain_within: float = 0.0
    ) -> PersonDecider:
        """Open ``STORE:NAME``, or ``STORE``.

        Args:
            encoder: as for :func:`speaker_encoder_of`; None for that of the store.

        Raises:
            InputError: if the person is not enrolled, or another encoder made store or calibration.
        """
        folder = place
        name = ""
        if ":" in place and not Path(place).is_dir():
            folder, _, name = place.rpartition(":")
        store = PeopleStore(folder)
        first = name or next(iter(store.names()), "")
        refuse((not first, f"{folder}: nobody is enrolled here: use nes2net enrol add"))
        chosen = speaker_encoder_of(encoder or store.read(first).facts.encoder.name)
        store.encoder = chosen.identity
        store.read(first)
        decider = cls(store, name, chosen, liveness, abstain_within)
        if claim := decider.claim:
            refuse(
                (
                    claim.encoder not in ("", str(store.encoder)),
                    f"the calibration is of the speaker encoder ({claim.encoder}), not ({store.encoder}): calibrate with "
                    f"{folder}",
                ),
                (
                    abstain_within and claim.rule == "cascade",
                    "the calibration has a threshold for each score, and no ratio that can be near one: remove "
                    "`abstain_within`",
                ),
            )
        return decider

    @property
    def claim(self) -> SasvFit | None:
        """What the calibration says of people, if anything."""
        if self.liveness is None:
            return None
        return self.liveness.calibration.claim

    @property
    def threshold(self) -> float:
        """Only for the judgement of frames, which decides on nobody."""
        raise InputError("claims are decided by scores of recordings, not of frames: remove `person` or `judgement`")

    def __call__(self, score: float, traits: Traits | None = None) -> PersonDecision:
        """Decide by the score of the detector, and the voice in ``traits``."""
        assert traits is not None
        unusable = {"code": "unusable", "outcome": PERSON_OUTCOMES["unusable"]}
        facts: FactsDict = {**dict.fromkeys(_FACTS), "cm_score": score, "encoder": self.encoder.name, **unusable}
        facts |= {"person": self.name or None, "warnings": []}
        reason = traits.unfit
        because: list[str] = []
        if traits.voice is not None and not self.name:
            names, models = self.store.models
            nearest = sorted(zip((models @ traits.voice).tolist(), names), reverse=True)[:_NEAREST]
            facts |= {"code": "scores_only", "nearest": {name: cosine for cosine, name in nearest}}
            because = [f"cosine {cosine:.3f} to {name}" for cosine, name in nearest]
            reason = _NOBODY
        elif traits.voice is not None:
            person, vectors = self.store.read(self.name)
            asv = float(vectors[0] @ traits.voice)
            facts |= {"asv_score": asv, "enrolled": len(person.recordings)}
            is_telephone = traits.bandwidth <= TELEPHONE
            if all((recording.bandwidth <= TELEPHONE) != is_telephone for recording in person.recordings):
                facts["warnings"] = [_OTHER_CHANNEL[is_telephone]]
            because = [f"cosine {asv:.3f}"]
            if any(recording.sha256 == traits.sha256 for recording in person.recordings):
                reason = _ENROLLED
            elif self.liveness is None or self.claim is None:
                facts["code"] = "scores_only"
                reason = _SCORES_ONLY
            else:
                because = self._judge(self.claim, facts)
                facts["basis"] = self.liveness.calibration.trained_on.get("basis", "trials")
                if reason := reason or self.liveness.why_unlike(score, 0.0, traits).reason:
                    facts |= unusable
                elif facts["code"] == "borderline":
                    reason = _BORDERLINE
        facts |= {"reason": list(filter(None, [reason])), "because": because}
        return PersonDecision(score, None, None, facts["outcome"], judged=traits.judged, facts=facts)

    def _judge(self, claim: SasvFit, facts: FactsDict) -> list[str]:
        """Add the outcome to ``facts``, and say what decided."""
        scores = [facts["asv_score"]], [facts["cm_score"]]
        code, may_not_be_live = (values.item() for values in judge_person(claim, *scores, self.abstain_within))
        facts |= {"code": code, "outcome": PERSON_OUTCOMES[code] + ", and may not be live" * may_not_be_live}
        facts["rule"] = claim.rule
        if claim.rule == "cascade":
            facts["thresholds"] = np.subtract(claim.threshold, claim[1:4:2]).tolist()
            words = "cosine {:.3f}; this person from {:.3f} on, live from a score of {:.4g} on"
            return [words.format(facts["asv_score"], *facts["thresholds"])]
        facts |= {"threshold": claim.threshold, "weights": claim.weights._asdict()}
        facts[_FUSED.get(claim.rule, "sasv_score")] = fuse(claim, *scores).item()
        facts["llr_asv"], llr_cm = claim.llrs(*scores).ravel().tolist()
        because = [f"speaker ratio {_in_words(facts['llr_asv'], claim.counts)}"]
        if claim.weights.spoof:
            facts["llr_cm"] = llr_cm
            because.append(f"live ratio {_in_words(facts['llr_cm'], claim.counts)}")
        return because

    def along(self, score: float, track: Track, traits: Traits | None) -> PersonDecision:
        """Decide by the mean of the windows; ``score`` is that of the beginning."""
        return replace(self(track.score, traits), score=score, judged=track.judged)

    def basis(self) -> FactsDict:
        """Identify person, encoder and calibration by plain data."""
        calibration = self.liveness and self.liveness.calibration.sha256
        return {"person": self.name, "encoder": str(self.store.encoder), "calibration": calibration}

    def describe(self) -> list[str]:
        """Describe the basis of decisions in lines for people."""
        this_person, live = _MEANING
        if self.liveness is None or self.claim is None:
            return [this_person, live]
        if self.claim.refusal:
            live = f"live is not checked: {self.claim.refusal}"
        costs = ", ".join(f"{name} {weight:g}" for name, weight in self.claim.weights._asdict().items())
        lines = [f"costs of errors: {costs}; calibrated on {sum(self.claim.counts):,} trials; rule {self.claim.rule}"]
        if genuine := self.liveness.calibration.rule:
            share = float(200 * genuine.alpha)
            lines = [
                f"together at most {share:.12g} % of your genuine recordings are refused",
                *self.liveness.describe(),
            ]
        return [this_person, live, *lines, *self.claim.doubts]


#: What decides on a recording.
AnyDecider: TypeAlias = Decider | Cutoff | PersonDecider


def decider_on(people: AnyDecider | None, name: str, remedy: str) -> PersonDecider:
    """Decide on a person whom a client names; an error does not tell who is enrolled.

    Raises:
        InputError: if nobody has this name; ends with ``remedy``.
    """
    if not name or not isinstance(people, PersonDecider) or people.store.find(name) is None:
        raise InputError("nobody of this name is enrolled here", remedy=remedy)
    return replace(people, name=name)
