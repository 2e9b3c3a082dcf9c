"""Turn a score into a log-likelihood ratio, a probability and a decision, or into "cannot tell"."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.data.audio.speech import SPEECH_RULE
from nes2net.lib.errors import InputError, check_setting, refuse, with_flag_names
from nes2net.lib.output.sheet import FactsDict
from nes2net.lib.output.terminal import printable_name
from nes2net.metrics import wilson_interval
from nes2net.metrics.dcf import act_dcf_threshold
from nes2net.metrics.intervals import Interval
from nes2net.scoring.decisions.calibration import LinearCalibration, Llrs
from nes2net.scoring.decisions.population import Traits


@dataclass(frozen=True)
class OperatingPoint:
    """A rule for a threshold θ: a recording is bona fide if its ratio is at least θ.

    - ``eer`` takes the θ at which the rates of misses and of false alarms on the calibration's
      trials differ least.
    - ``cost`` takes the Bayes threshold −ln(c_miss · prior / (c_fa · (1 − prior))), where ``prior``
      is the prior of bona fide. This θ does not depend on trials (Brümmer and du Preez,
      "Application-independent evaluation of speaker detection", Computer Speech & Language 20,
      2006).
    - ``fa`` takes the lowest θ at which at most a share ``rate`` of the calibration's spoofed
      trials is accepted.
    - ``miss`` takes the highest θ at which at most a share ``rate`` of the calibration's bona fide
      trials is rejected.
    """

    kind: Literal["eer", "cost", "fa", "miss"]
    c_miss: float = 1.0
    c_fa: float = 1.0
    prior: float = 0.5
    rate: float = 0.0

    @classmethod
    def parse(cls, text: str) -> OperatingPoint:
        """Read an operating point as on the command line, such as ``cost:1,10,0.95``.

        Raises:
            InputError: if the text is not an operating point, or if a number is out of its range.

        >>> OperatingPoint.parse("cost:1,10,0.95").name, OperatingPoint.parse("fa:1%").rate
        ('cost:1,10,0.95', 0.01)
        """
        kind, _, value = text.strip().partition(":")
        try:
            if kind == "eer" and not value:
                return cls("eer")
            if kind == "cost":
                c_miss, c_fa, prior = map(float, value.split(","))
                # Impossible costs give a threshold that is not finite, or an error.
                if not math.isfinite(act_dcf_threshold(1 - prior, c_miss, c_fa)):
                    raise ValueError
                return cls("cost", c_miss, c_fa, prior)
            if kind in ("fa", "miss") and value.endswith("%"):
                rate = float(value[:-1]) / 100
                if not 0 < rate < 1:
                    raise ValueError
                return cls(kind, rate=rate)  # type: ignore[arg-type]
        except (ValueError, OverflowError, ZeroDivisionError):
            pass
        raise InputError(
            "an operating point is 'eer', 'cost:CMISS,CFA,PRIOR' (costs of the two errors and the prior of bona fide), "
            "'fa:RATE%' or 'miss:RATE%' (at most so many false alarms or misses on the calibration's own trials), not "
            f"'{text}'"
        )

    @property
    def name(self) -> str:
        """The text that :meth:`parse` reads."""
        if self.kind == "eer":
            return "eer"
        if self.kind == "cost":
            return f"cost:{self.c_miss:.12g},{self.c_fa:.12g},{self.prior:.12g}"
        return f"{self.kind}:{100 * self.rate:.12g}%"

    def threshold(self, llrs: Llrs | None) -> float:
        """Compute the threshold θ, a natural-log likelihood ratio.

        Args:
            llrs: ratios of the calibration's trials; None if unknown. ``cost`` does not need them.

        Raises:
            InputError: if no ratios are known, or too few for the rate.
        """
        if self.kind == "cost":
            return act_dcf_threshold(1 - self.prior, self.c_miss, self.c_fa) + 0.0  # turns −0 into 0
        if llrs is None:
            raise InputError(
                f"the calibration holds no scores, from which the operating point '{self.name}' is computed: make it again with "
                "`nes2net calibrate fit … --save FILE`, or use cost:CMISS,CFA,PRIOR"
            )
        llrs = Llrs(*map(np.sort, llrs))
        if self.kind == "eer":
            return _equal_error_threshold(llrs)
        # The rate limits the errors on one class: skip as many of its ascending ratios.
        if self.kind == "fa":
            class_llrs = llrs.spoof
            class_name = "spoofed"
        else:
            class_llrs = llrs.bonafide
            class_name = "bona fide"
        num_trials = len(class_llrs)
        if num_trials * self.rate < 1:
            raise InputError(
                f"{100 * self.rate:g} % of {num_trials} {class_name} trials is less than one trial: use a rate of at "
                f"least {round_up(100 / num_trials)} %, or more trials"
            )
        allowed = int(num_trials * self.rate * (1 + 1e-12))  # the factor undoes rounding: 1 % of 100 trials is 1
        if self.kind == "miss":
            return float(class_llrs[allowed])  # trials with lower ratios are the misses that the rate allows
        highest_rejected = class_llrs[num_trials - allowed - 1]
        return float(np.nextafter(highest_rejected, math.inf))


def _equal_error_threshold(llrs: Llrs) -> float:
    """Find the threshold at which the rates of misses and false alarms differ least."""
    # It lies midway between two neighbouring ratios. If the least difference occurs several times, the lowest
    # threshold is used.
    steps = np.unique(np.concatenate(llrs))
    misses, rejected_spoof = (np.searchsorted(class_llrs, steps) / len(class_llrs) for class_llrs in llrs)
    nearest = int(np.argmin(np.abs(misses - (1 - rejected_spoof))))
    before = steps[max(0, nearest - 1)]
    return float(before / 2 + steps[nearest] / 2)


def round_up(value: float) -> str:
    """Format a positive number with two digits, rounded up, for stated minimums.

    >>> round_up(1 / 300), round_up(0.5)
    ('0.0034', '0.5')
    """
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / step * (1 - 1e-12)) * step:.12g}"  # the factor undoes rounding


#: The decision on a recording that is unfit, too clipped, or unlike the calibration's recordings, or whose score is too
#: uncertain.
CANNOT_TELL = "cannot tell"
#: What may explain that higher scores mean spoofed.
CAUSES_OF_INVERSION = (
    "labels or scores are inverted, the trials are too few to tell, or the detector does not work on these recordings"
)
#: A note for the user, shown if the weight of the calibration is negative.
INVERTED = f"the weight of the calibration is negative, so higher scores count as spoofed: {CAUSES_OF_INVERSION}"
#: The decisions of a calibration on genuine recordings only.
USUAL = "usual for your genuine recordings"
UNUSUAL = "unusual for your genuine recordings"
#: Why such a calibration is refused.
NO_RATIOS = (
    "the calibration is of genuine recordings only, so it has a fixed threshold and no ratios: calibrate on bona "
    "fide and spoofed recordings"
)
#: Factor for the ratio of a clipped recording, because a calibration does not state how many of its
#: own were clipped: an assumption.
CLIPPED_LLR_FACTOR = 0.5
#: The default of ``abstain``: at most this share of recordings like the calibration's gets "cannot tell" for being
#: unusual.
ABSTAIN = 0.01
# A calibration of whole recordings decides on recordings of at most this many times its longest one; if unknown, two
# minutes, the longest that `predict` scores in one piece. Both numbers are assumptions.
_TIMES_LONGER = 1.5
_MAX_SECONDS = 120.0


def clipping_factor(traits: Traits | None) -> float:
    """The factor for log-likelihood ratios: :data:`CLIPPED_LLR_FACTOR` if clipped, else 1."""
    return CLIPPED_LLR_FACTOR if traits is not None and traits.clipping else 1.0


@dataclass(frozen=True)
class Decision:
    """The meaning of a score at an operating point."""

    score: float
    """The score of the detector."""
    llr: float | None
    """Natural-log likelihood ratio of bona fide against spoof; None if unfit, or unlike the
    calibration's recordings."""
    probability: float | None
    """Probability of bona fide at the prior; None without ``llr``."""
    decision: str
    """``"bonafide"``, ``"spoof"`` or ``"cannot tell"``."""
    reason: str | None = None
    """Why ``"cannot tell"``; else None."""
    p_value: float | None = None
    """Share of the calibration's recordings that are at least as unusual; None if not compared."""
    judged: float | None = None
    """Share of the recording that was scored; None if unknown."""
    p_genuine: float | None = None
    """Share of genuine recordings with at most this score, if only they calibrated."""
    unusual_share: float | None = None
    """Share of unusual windows, if decided so along the recording."""

    @property
    def words(self) -> list[str]:
        """Phrases on what decided besides the score."""
        phrases = {
            "p {:.2g} among your genuine recordings": self.p_genuine,
            "{:.0%} of its windows with speech are unusual": self.unusual_share,
        }
        return [phrase.format(value) for phrase, value in phrases.items() if value is not None]

    @property
    def meaning(self) -> str:
        """Sentences for a report, about a decision without a probability."""
        if self.decision == CANNOT_TELL:
            reason = with_flag_names(self.reason or "")
            return (
                f"This detector has no answer for this recording: {reason}. That speaks neither for nor against "
                "real speech."
            )
        return (
            f"The score is {self.decision}, by which this detector was calibrated; a low score alone does not tell why. "
            f"{'; '.join(self.words)}."
        )

    def row(self) -> FactsDict:
        """Return plain data without fields that are None, except llr and probability."""
        reason = self.reason and with_flag_names(self.reason)
        row = {field.name: getattr(self, field.name) for field in fields(Decision)} | {"reason": reason}
        # Every row has these two, null for "cannot tell".
        return {name: value for name, value in row.items() if value is not None or name in ("llr", "probability")}


class ErrorCount(NamedTuple):
    """Wrong decisions on a class of the calibration's recordings."""

    truth: str
    """The true class."""
    called: str
    """The class that wrong decisions chose."""
    number: int
    """Recordings of the class ``truth``."""
    wrong: int
    """Wrong decisions."""

    @property
    def share(self) -> float:
        """Fraction of wrong decisions."""
        return self.wrong / self.number

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % interval of :attr:`share`."""
        return wilson_interval(self.share, self.number)


class Unlike(NamedTuple):
    """Why a recording, or a window of a stream, is unlike those of a calibration."""

    reason: str
    """Empty if it is not unlike them."""
    p_value: float | None = None
    """Share of the calibration's recordings that are at least as unusual; None if not compared."""
    similar: str = "like this one"
    """The recordings that the calibration lacks, such as ``"with such a level"``."""


@dataclass(frozen=True, eq=False)
class Decider:
    """Decides on scores at an operating point, by a calibration of one system.

    Args:
        prior: prior of bona fide, for probabilities.
        operating_point: None for the Bayes threshold at ``prior`` with equal costs.
        abstain: a share such as 0.01: "cannot tell" if at most this share of the calibration's
            recordings is at least as unusual. 0 switches this off, also for uncertain ratios; unfit
            recordings, such as silence, always get "cannot tell".
        unbounded: do not bound shown ratios and probabilities by
            :attr:`LinearCalibration.largest_llr`.

    A calibration of genuine recordings only has a fixed threshold and no ratios.

    Raises:
        InputError: if a number is out of its range, the calibration fuses systems, its trials
            are too few, or it has no ratios for other settings than ``abstain``.
    """

    calibration: LinearCalibration
    prior: float = 0.5
    operating_point: OperatingPoint | None = None
    abstain: float = ABSTAIN
    unbounded: bool = False

    def __post_init__(self) -> None:
        systems = len(self.calibration.weights)
        refuse(
            (
                self.calibration.genuine and (self.prior != 0.5 or self.operating_point or self.unbounded),
                f"{NO_RATIOS}, or remove `prior`, `operating_point` and `unbounded`",
            ),
            (
                systems != 1,
                f"the calibration fuses {systems} systems; decisions require a calibration of one system: make one with "
                "nes2net calibrate",
            ),
        )
        check_setting("prior", self.prior, 0 < self.prior < 1, "between 0 and 1")
        check_setting("abstain", self.abstain, 0 <= self.abstain < 1, "a share from 0 to below 1")
        _ = self.llr_threshold  # computing the threshold raises an error if the calibration's trials are too few

    @classmethod
    def at(cls, calibration: LinearCalibration, point: OperatingPoint | None) -> Decider:
        """Decide at ``point``; by default at equal errors, or at the threshold of genuine recordings only."""
        if point is None and not calibration.genuine:
            point = OperatingPoint("eer")
        return cls(calibration, operating_point=point)

    @property
    def point(self) -> OperatingPoint:
        """The operating point in force."""
        if rule := self.calibration.rule:
            return OperatingPoint("miss", rate=float(rule.alpha))
        return self.operating_point or OperatingPoint("cost", prior=self.prior)

    @cached_property
    def llr_threshold(self) -> float:
        """Lowest ratio accepted as bona fide, or lowest usual score."""
        if self.calibration.rule:
            return self.calibration.rule.threshold
        return self.point.threshold(self.calibration.llrs)

    @cached_property
    def threshold(self) -> float | None:
        """Lowest score accepted as bona fide, exact to the last bit.

        None if it is not finite, or if the calibration's weight is not positive, so that higher
        scores do not mean higher ratios.
        """
        (weight,) = self.calibration.weights
        score = (self.llr_threshold - self.calibration.offset) / weight if weight > 0 else math.inf
        if not math.isfinite(score):
            return None
        # The ratio of a score is rounded, so this formula may miss the lowest accepted score by some bits. Widen an
        # interval until ``low`` is rejected and ``high`` accepted, then bisect it.
        step = 1 / weight
        while self.accepts([score - step])[0] or not self.accepts([score + step])[0]:
            step *= 2
        low = score - step
        high = score + step
        while low < (middle := low / 2 + high / 2) < high:
            if self.accepts([middle])[0]:
                high = middle
            else:
                low = middle
        return high

    @property
    def usual_scores(self) -> Interval | None:
        """Range of 95 % of the calibration's bona fide scores; None if unknown, or if the weight is 0."""
        llrs = self.calibration.llrs
        (weight,) = self.calibration.weights
        if llrs is None or weight == 0:
            return None
        low, high = sorted((np.quantile(llrs.bonafide, (0.025, 0.975)) - self.calibration.offset) / weight)
        return float(low), float(high)

    def accepts(self, scores: ArrayLike) -> NDArray:
        """Whether each score's unbounded ratio reaches the threshold."""
        return self.calibration(scores) >= self.llr_threshold

    @cached_property
    def bound(self) -> float:
        """Bound of the shown log-likelihood ratios; infinite without a bound."""
        return math.inf if self.unbounded else self.calibration.largest_llr

    @property
    def largest_llr(self) -> float | None:
        """:attr:`bound`; None without a bound."""
        return self.bound if math.isfinite(self.bound) else None

    def llrs(self, scores: ArrayLike) -> NDArray:
        """Compute the natural-log likelihood ratios (N,) of scores (N,), bounded by :attr:`largest_llr`."""
        return self.bounded(self.calibration(scores))

    def bounded(self, llrs: NDArray) -> NDArray:
        """Bound ratios by :attr:`bound`."""
        return np.clip(llrs, -self.bound, self.bound)

    def probabilities(self, scores: ArrayLike) -> NDArray:
        """Compute the probabilities (N,) of bona fide at the prior from scores (N,)."""
        return self.probability(self.llrs(scores))

    def probability(self, llrs: ArrayLike) -> NDArray:
        """Compute the probabilities of bona fide at the prior from log-likelihood ratios."""
        from scipy.special import expit  # for a fast start-up: scoring needs no SciPy

        return expit(np.asarray(llrs) + math.log(self.prior / (1 - self.prior)))

    def __call__(self, score: float, traits: Traits | None = None) -> Decision:
        """Decide on a recording by its score and its traits.

        "cannot tell" if the recording is unfit, or unlike those of the calibration
        (:meth:`why_unlike`), or if clipping or few trials make the side of the threshold uncertain.

        Args:
            traits: None to decide by the score alone.
        """
        judged = None if traits is None else traits.judged
        # An unfit recording, such as silence, has no ratio, and neither has a recording that is unlike the calibration's.
        if traits is not None and traits.unfit:
            return Decision(score, None, None, CANNOT_TELL, traits.unfit, judged=judged)
        unbounded = self.calibration([score])  # (1,)
        unlike = self.why_unlike(score, float(unbounded[0]), traits)
        p_value = unlike.p_value
        if unlike.reason:
            return Decision(score, None, None, CANNOT_TELL, unlike.reason, p_value, judged)
        if rule := self.calibration.rule:
            decision = UNUSUAL if score < rule.threshold else USUAL
            return Decision(score, None, None, decision, None, p_value, judged, float(rule.p(score)))
        factor = clipping_factor(traits)
        llr = factor * float(self.bounded(unbounded)[0])
        probability = float(self.probability(llr))
        is_bonafide = unbounded[0] >= self.llr_threshold
        decision = "bonafide" if is_bonafide else "spoof"
        unbounded_llr = factor * float(unbounded[0])
        reason = self.why_uncertain(unbounded_llr)
        # Clipping multiplies the ratio by a factor below 1: do not decide if this moves it across the threshold.
        if traits is not None and is_bonafide != (unbounded_llr >= self.llr_threshold):
            reason = traits.clipping
        if reason:
            decision = CANNOT_TELL
        return Decision(score, llr, probability, decision, reason or None, p_value, judged)

    def why_uncertain(self, llr: float) -> str:
        """Say that a ratio's 95 % interval holds the threshold; empty if not, or if ``abstain`` is 0."""
        if not self.abstain:
            return ""
        low, high = self.calibration.interval(llr)
        if not low < self.llr_threshold <= high:
            return ""
        return (
            f"its llr, {llr:.2f}, is too uncertain: by the calibration's trials it is {low:.2f} to {high:.2f} (95 % "
            f"interval), on either side of the threshold, {self.llr_threshold:.2f}"
        )

    def why_unlike(self, score: float, llr: float, traits: Traits | None) -> Unlike:
        """Say why a recording, or a window of a stream, is unlike the calibration's.

        Reasons are a much longer recording, unusual traits (see ``abstain``), or a score, with the
        unbounded ratio ``llr``, outside of theirs.
        """
        if traits and (too_long := self.why_too_long(traits)):
            return Unlike(too_long)
        population = self.calibration.population
        p_value = None
        # If the recordings were not measured, the score alone decides.
        if traits is not None and population is not None and self.abstain:
            p_value, _, reason, similar = population.typicality(traits)
            if p_value <= self.abstain:
                return Unlike(reason, p_value, similar)
        return Unlike(self._why_unlike_scores(score, llr), p_value)

    def why_too_long(self, traits: Traits) -> str:
        """Say that a calibration of whole recordings decides neither on streams nor on much longer recordings."""
        scored_by = self.calibration.scored_by
        if scored_by is None or scored_by.num_samples is not None:  # of windows, or not known to be of whole recordings
            return ""
        population = self.calibration.population
        durations = population.durations if population else None
        shortest, longest = durations or (0.0, _MAX_SECONDS)
        if traits.duration <= _TIMES_LONGER * longest:
            return ""
        lengths = f"recordings of {shortest:.1f} to {longest:.1f} s" if durations else "recordings of unknown length"
        return f"calibrated on {lengths}, each as a whole: calibrate on windows, or on beginnings, as `nes2net calibrate recordings` does"

    def _why_unlike_scores(self, score: float, llr: float) -> str:
        """Say that a score is below or above all of the calibration's N trials; empty if not.

        Among usual recordings this has a probability of 2/(N + 1), so ``abstain`` must be at least
        that.
        """
        llrs = self.calibration.llrs
        if llrs is None:
            return ""
        lowest = min(llrs.bonafide[0], llrs.spoof[0])
        highest = max(llrs.bonafide[-1], llrs.spoof[-1])
        if lowest <= llr <= highest or 2 / (len(llrs.bonafide) + len(llrs.spoof) + 1) > self.abstain:
            return ""
        (weight,) = self.calibration.weights
        low, high = sorted((bound - self.calibration.offset) / weight for bound in (lowest, highest))
        return f"its score, {score:.4g}, lies outside of the range of the calibration's trials, {low:.4g} to {high:.4g}"

    @property
    def note(self) -> str | None:
        """Why no recording can get "cannot tell" for being unusual; None if one can, or if ``abstain`` is 0."""
        population = self.calibration.population
        if not self.abstain:
            return None
        if population is None:
            return (
                "the calibration's recordings were not measured, so none is called 'cannot tell' for being unlike them: "
                "make it again with `nes2net calibrate fit … --root DIR`"
            )
        if population.num_recordings + 1 >= 1 / self.abstain:
            return None
        least_p = round_up(1 / (population.num_recordings + 1))
        return (
            f"the calibration's {population.num_recordings} recordings are too few for `abstain` {self.abstain:g}, so none "
            f"is called 'cannot tell' for being unlike them: use a share of at least {least_p}, or a calibration on more "
            "recordings"
        )

    @cached_property
    def errors(self) -> tuple[ErrorCount, ...]:
        """Wrong decisions on the calibration's trials by class; empty if their ratios are unknown."""
        llrs = self.calibration.llrs
        if llrs is None:
            return ()
        threshold = self.llr_threshold
        return (
            ErrorCount("bona fide", "spoof", len(llrs.bonafide), int((llrs.bonafide < threshold).sum())),
            ErrorCount("spoof", "bona fide", len(llrs.spoof), int((llrs.spoof >= threshold).sum())),
        )

    def basis(self) -> FactsDict:
        """Collect the basis of decisions as plain data: threshold, prior, and facts about the calibration."""
        facts = {key: value for key, value in self.calibration.trained_on.items() if key != "figures"}
        scored_by = self.calibration.scored_by
        settings: FactsDict = {
            "threshold": self.threshold,
            "abstain": self.abstain,
            "detector": scored_by.fingerprint if scored_by else None,
            "speech_rule": SPEECH_RULE,
        }
        if not self.calibration.genuine:
            settings |= {
                "operating_point": self.point.name,
                "llr_threshold": self.llr_threshold,
                "prior": self.prior,
                "largest_llr": self.largest_llr,
                "errors": [count._asdict() for count in self.errors],
            }
        # Put the settings first, and merge them again at the end, so that no fact of the calibration's file replaces a
        # setting.
        return {**settings, **facts, **settings}

    def describe(self) -> list[str]:
        """Describe the basis of decisions in lines for people.

        >>> from nes2net.scoring.decisions import OperatingPoint, fit
        >>> calibration = fit([2.0, 1.0, 0.5, -0.5], [-2.0, -1.0, 0.0, 0.7])
        >>> print(*Decider(calibration, operating_point=OperatingPoint.parse("cost:1,10,0.5")).describe(), sep="\\n")
        decision: bona fide from an llr of 2.3025850929940455 on (a score of 1.7930494200697973), the operating point cost:1,10,0.5
        probability: of bona fide, at a prior of 0.5; ratios shown are at most ±1.609, which the trials of the calibration can support
        errors: 3 of the calibration's own 4 bona fide trials are called spoof, the best case (95 % interval: 30 to 95 %)
        errors: 0 of the calibration's own 4 spoof trials are called bona fide, the best case (95 % interval: 0 to 49 %)
        calibration: on trials that it does not name
        """
        trained_on = self.calibration.trained_on
        scored_by = self.calibration.scored_by
        source = ", phase ".join(str(trained_on[name]) for name in ("corpus", "phase") if name in trained_on)
        facts = [source or "on trials that it does not name"]
        resolution_ms = self.calibration.resolution_ms
        unit = "trials" if resolution_ms is None else f"frames of {resolution_ms:g} ms"
        if "num_bonafide" in trained_on and "num_spoof" in trained_on:
            facts.append(f"{trained_on['num_bonafide']} bona fide and {trained_on['num_spoof']} spoofed {unit}")
        if "date" in trained_on:
            facts.append(str(trained_on["date"])[:10])
        if scored_by:
            facts.append(f"detector {scored_by.fingerprint[:12]}")
        at_score = "" if self.threshold is None else f" (a score of {self.threshold!r})"
        bound = ""
        if self.largest_llr is not None:
            bound = (
                f"; ratios shown are at most ±{self.largest_llr:.4g}, which the trials of the calibration can support"
            )
        point = self.point.name
        if not self.operating_point:
            point += ", the Bayes threshold of the prior"
        lines = [
            f"decision: bona fide from an llr of {self.llr_threshold!r} on{at_score}, the operating point {point}",
            f"probability: of bona fide, at a prior of {self.prior:g}{bound}",
        ]
        for count in self.errors:
            low, high = count.interval
            lines.append(
                f"errors: {count.wrong:,} of the calibration's own {count.number:,} {count.truth} {unit} are called "
                f"{count.called}, the best case (95 % interval: {100 * low:.0f} to {100 * high:.0f} %)"
            )
        if rule := self.calibration.rule:
            counted = "genuine recordings"
            scope = "wider if several are of one person"
            if rule.unit == "people":
                counted = "people"
                scope = "of new people"
            lines = [
                f"decision: unusual below a score of {rule.threshold!r}, k = {rule.k} of {rule.number:,} {counted}. About "
                f"{rule.k / (rule.number + 1):.1%} of recordings like these fall below it (95 % range {rule.low:.1%} to "
                f"{rule.high:.1%}, {scope}); how many fakes fall below it is not known. Scores equal to it: "
                f"{(rule.scores == rule.threshold).sum()}"
            ]
        lines.append(f"calibration: {', '.join(printable_name(fact)[:200] for fact in facts)}")
        return [*lines, INVERTED] if self.calibration.weights[0] < 0 else lines
