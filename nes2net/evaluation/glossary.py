"""The terms that the page of an evaluation explains, with their sources."""

from __future__ import annotations

import re

from nes2net.metrics.declared import ACT_DCF, CLLR, EER, MIN_DCF, MIN_TDCF
from nes2net.metrics.registry import Term, metrics

_T_DCF = MIN_TDCF.term.source

_CLLR = CLLR.term.source
_BOOTSTRAP = "Efron and Tibshirani, An Introduction to the Bootstrap, 1993"

GLOSSARY = (
    Term(
        "score",
        "A detector’s number for an utterance. Higher means more likely bona fide; the scale is the detector’s own.",
    ),
    Term("bona fide, spoof", "Recorded human speech, and speech that was synthesised, converted or otherwise faked."),
    Term("trial", "One utterance with its label, for which every system has one score."),
    EER.term,
    Term(
        "point-based EER",
        "The EER of frames: every frame of every utterance is a trial, whose label is spoof if any part of it is.",
        "Zhang et al., IEEE/ACM TASLP 31, 2023",
    ),
    Term(
        "range-based EER",
        "The EER of time: the share of bona fide seconds called spoof, and of spoofed seconds not called so. It "
        "does not depend on the resolution of the labels.",
        "Zhang et al., Interspeech 2023",
    ),
    Term(
        "intersection over union",
        "The time that is spoofed and called spoofed, divided by the time that is one or the other.",
    ),
    Term(
        "threshold",
        "Trials whose score lies above it count as bona fide. The EER's threshold is read off the evaluated trials "
        "themselves, so it cannot be used elsewhere.",
    ),
    Term(
        "miss, false alarm",
        "A bona fide trial that is rejected, and a spoofed one that is accepted.",
        sign=r"\bmiss|false alarm",
    ),
    Term(
        "condition",
        "A change of the recordings of all trials, such as a codec or noise, at a named strength.",
        sign=r"\bconditions?\b",
    ),
    Term(
        "DET curve",
        "Detection error trade-off: misses against false alarms at all thresholds, on the scale of the normal "
        "deviate, on which normally distributed scores give a straight line. Lower left is better.",
        "Martin et al., Eurospeech 1997",
        r"\bDET\b",
    ),
    Term(
        "95 % interval",
        "If trials or speakers were drawn again, 95 of 100 such intervals would hold the figure of the whole "
        "population. It comes from a bootstrap, which draws them with replacement. An error rate has Wilson’s "
        "interval, for the number of trials whose variation equals the draws’, so that it also holds for few errors.",
        f"{_BOOTSTRAP}; over speakers: Ferrer and Riera, 2023; error rates: Franco et al., JSSAM 7, 2019",
    ),
    Term(
        "p-value",
        "How often a difference at least as large would turn up if the systems were equally good. It comes from "
        "a paired bootstrap, which draws the same trials or speakers for both.",
        _BOOTSTRAP,
    ),
    MIN_TDCF.term,
    Term(
        "ASV",
        "Automatic speaker verification: is this the voice of the claimed speaker?",
        _T_DCF,
        r"\bASV\b",
    ),
    MIN_DCF.term,
    ACT_DCF.term,
    CLLR.term,
    Term(
        "HTER",
        "Half total error rate: the mean of the shares of bona fide trials rejected and of spoofed trials accepted, at "
        "one threshold; the report says on which trials it was chosen. Guessing has 50 %. One minus it is the balanced accuracy.",
        "Bengio and Mariéthoz, Odyssey 2004",
    ),
    Term(
        "1 − SRR",
        "One minus the rate of rejected spoofed trials: the share that is accepted as bona fide, at a threshold "
        "that was chosen on other trials. A set without bona fide trials has no other figure.",
        "Speech Anti-Spoofing Arena",
        sign="1 − SRR",
    ),
    Term(
        "accuracy",
        "The share of all trials that are judged right. It depends on how many trials of each class there are: whoever "
        "calls everything spoof is right about all spoofed trials.",
    ),
    Term(
        "macro-F1",
        "The mean over classes of the harmonic mean of precision and recall, each class with the same weight.",
        "van Rijsbergen, Information Retrieval, 1979",
    ),
    Term(
        "AUROC",
        "The probability that a trial of a known class has a higher score of being known than one of an unknown class; "
        "guessing has 50 %.",
        "Hanley and McNeil, Radiology 143, 1982",
    ),
    Term(
        "FPR95",
        "The share of unknown trials that are taken for known at the threshold that accepts 95 % of the known ones. "
        "Lower is better.",
        "Liu et al., NeurIPS 2020",
    ),
    Term(
        "F1 of spoof",
        "The harmonic mean of precision and recall, where a spoofed trial that is rejected is a hit. Like accuracy it "
        "depends on the numbers of both classes.",
        "van Rijsbergen, Information Retrieval, 1979",
    ),
    Term(
        "operating point",
        "The rule by which a threshold is chosen: equal errors on the development trials, least cost, or a given share "
        "of false alarms or misses there.",
        sign=r"[Oo]perating point",
    ),
    Term(
        "by discrimination, by calibration",
        "The two parts of Cllr. The first remains after the best monotone calibration, which pools adjacent violators "
        "on the test labels. The second is the rest, which another calibration would save.",
        _CLLR,
        "by discrimination",
    ),
    Term(
        "reliability",
        "Whether, of the trials that are given a probability of p, the share p is bona fide.",
        "DeGroot and Fienberg, The Statistician 32, 1983; intervals: Wilson, JASA 22, 1927",
        "[Rr]eliability",
    ),
    Term(
        "log-likelihood ratio",
        "The natural logarithm of how much more probable the recording is if it is bona fide than if it is spoofed.",
        _CLLR,
    ),
    Term(
        "calibration",
        "A function, learned on other trials, that turns raw scores into log-likelihood ratios.",
        _CLLR,
        r"\bcalibrat",
    ),
)


def terms_in(page: str) -> list[Term]:
    """List the terms in the text of an HTML page, in the order of the glossary.

    >>> [term.name for term in terms_in('<p id="scores">The EER of 240 trials')]
    ['trial', 'EER']
    """
    text = re.sub(r"<[^>]*>", " ", page)
    terms = [*GLOSSARY, *(metric.term for metric in metrics.added("scores", "ratios"))]
    return [
        term for term in terms if term.name and re.search(term.sign or rf"\b{re.escape(term.name.split(',')[0])}", text)
    ]
