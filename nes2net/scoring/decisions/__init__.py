"""What a score means: log-likelihood ratio, probability, and a decision at an operating point, or none.

A calibration is learned from labelled scores. It turns the scores of the same detector into
log-likelihood ratios, and keeps the ratios of its own trials. The thresholds of operating points
are read off these.
"""

from nes2net.scoring.decisions.calibration import LinearCalibration, Llrs, ScoredBy, fit, load
from nes2net.scoring.decisions.decision import CANNOT_TELL, Decider, Decision, OperatingPoint
from nes2net.scoring.decisions.known import KnownThreshold, Reference, known_scores, verification_scores
from nes2net.scoring.decisions.population import Population, Traits, Typicality

__all__ = [
    "CANNOT_TELL",
    "Decider",
    "Decision",
    "KnownThreshold",
    "LinearCalibration",
    "Llrs",
    "OperatingPoint",
    "Population",
    "Reference",
    "ScoredBy",
    "Traits",
    "Typicality",
    "fit",
    "known_scores",
    "load",
    "verification_scores",
]
