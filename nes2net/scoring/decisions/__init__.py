"""The meaning of a score: a log-likelihood ratio, a probability, and a decision or "cannot tell".

A calibration is learned from labelled scores of a detector. It turns further scores of this
detector into log-likelihood ratios, and keeps the ratios of its trials, from which thresholds are
read.
"""

from nes2net.scoring.decisions.along import DecisionAlong, decide_along
from nes2net.scoring.decisions.calibration import LinearCalibration, Llrs, ScoredBy, add_resamples, fit, load
from nes2net.scoring.decisions.decision import CANNOT_TELL, Decider, Decision, OperatingPoint
from nes2net.scoring.decisions.evidence import Evidence, Running
from nes2net.scoring.decisions.genuine import GenuineThreshold, genuine_threshold
from nes2net.scoring.decisions.known import KnownThreshold, Reference, known_scores, verification_scores
from nes2net.scoring.decisions.person import PERSON_OUTCOMES, fit_person, fit_sasv, judge_person, sasv_ratio
from nes2net.scoring.decisions.population import Population, Traits, Typicality

__all__ = [
    "CANNOT_TELL",
    "PERSON_OUTCOMES",
    "Decider",
    "Decision",
    "DecisionAlong",
    "Evidence",
    "GenuineThreshold",
    "KnownThreshold",
    "LinearCalibration",
    "Llrs",
    "OperatingPoint",
    "Population",
    "Reference",
    "Running",
    "ScoredBy",
    "Traits",
    "Typicality",
    "add_resamples",
    "decide_along",
    "fit",
    "fit_person",
    "fit_sasv",
    "genuine_threshold",
    "judge_person",
    "known_scores",
    "load",
    "sasv_ratio",
    "verification_scores",
]
