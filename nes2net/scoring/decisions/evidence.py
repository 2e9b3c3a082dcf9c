"""Add up the evidence of a stream's windows, and decide when to raise an alarm."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

from pydantic import FiniteFloat, ValidationError

from nes2net.lib.errors import InputError, check_setting, refuse
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.plain_data import NotNegative, StrictModel, first_problem
from nes2net.scoring.decisions.decision import NO_RATIOS, Decider, Unlike
from nes2net.scoring.decisions.population import Traits


class Running(NamedTuple):
    """The evidence in a stream up to a window's end."""

    end: float
    """The window's end in the stream, in seconds."""
    llr: float
    """The window's bounded natural-log likelihood ratio, bona fide against spoof."""
    weight: float
    """The window's weight; 0 without speech, or if unlike the calibration's recordings."""
    unusual: str
    """Why the window is unlike the calibration's recordings; empty if not, or not compared."""
    similar: str
    """The recordings that the calibration then lacks, such as ``"with such a level"``."""
    mean: float
    """Mean ratio so far; older windows count less."""
    probability: float
    """Probability of bona fide at this mean and the decider's prior."""
    against: float
    """Cumulative sum of evidence against bona fide, ≥ 0; rises after a change to spoofed speech."""
    alarm: bool
    """Whether the stream is taken for spoofed."""


class _EvidenceState(StrictModel):
    """State of :class:`Evidence` after earlier windows."""

    weighted_llrs: FiniteFloat = 0.0
    """Weighted sum of ratios."""
    weight: NotNegative = 0.0
    end: FiniteFloat | None = None
    """End of the last window in seconds."""
    against: NotNegative = 0.0
    alarm: bool = False


@dataclass(eq=False)
class Evidence:
    """Adds up the evidence of a stream's windows, and raises an alarm.

    In the mean of the windows' log-likelihood ratios ℓ, a weight is halved after each half-life;
    overlap does not make the mean more certain. A cumulative sum detects a change within a stream
    (CUSUM; Page, "Continuous inspection schemes", Biometrika 41, 1954): each window adds
    (θ − ℓ)·u·w, where θ is the decider's threshold, u the share of the window that does not overlap
    the one before, and w the weight ``speech`` of :meth:`add`. The sum never falls below 0.

    An alarm begins when the probability is at most ``alarm_probability``, or the sum at least
    ``alarm_against``, unless the 95 % interval of the mean holds the threshold. It lasts while the
    probability is below ``clear_probability``, or the sum at least half of ``alarm_against``. The
    default limits are assumptions: measure their false alarms per hour on your audio.

    Args:
        decider: its ratios are bounded, so that no window decides alone.
        window: seconds of a window; no alarm before the end of the first.
        half_life: seconds; infinite for equal weights.
        latch: an alarm lasts until the end of the stream.

    Raises:
        InputError: if a number is out of its range, or the calibration gives no ratios.

    >>> from nes2net.scoring.decisions import fit
    >>> evidence = Evidence(Decider(fit([2.0, 1.0, 0.5, -0.5], [-2.0, -1.0, 0.0, 0.7])), window=4.0)
    >>> [evidence.add(end, -2.0).alarm for end in (4.0, 8.0, 12.0, 16.0, 20.0)]
    [False, False, False, False, True]
    """

    decider: Decider
    window: float
    _: KW_ONLY
    half_life: float = 10.0
    alarm_probability: float = 0.1
    clear_probability: float = 0.3
    alarm_against: float = 7.0
    latch: bool = False
    _state: _EvidenceState = field(default_factory=_EvidenceState, init=False)

    def __post_init__(self) -> None:
        refuse((self.decider.calibration.genuine, NO_RATIOS))
        check_setting("window", self.window, self.window > 0, "a number above 0")
        check_setting("alarm_against", self.alarm_against, self.alarm_against > 0, "a number above 0")
        if self.half_life != math.inf:
            check_setting("half_life", self.half_life, self.half_life > 0, "a number above 0")
        check_setting(
            "clear_probability", self.clear_probability, 0 <= self.clear_probability <= 1, "a number from 0 to 1"
        )
        fits = 0 <= self.alarm_probability <= self.clear_probability
        check_setting("alarm_probability", self.alarm_probability, fits, "a number from 0 to `clear_probability`")

    @classmethod
    def from_state(cls, state: Facts, decider: Decider, window: float, **settings: Any) -> Evidence:
        """Restore the evidence from :meth:`state`; later results are the same to the last bit.

        Raises:
            InputError: if :meth:`state` cannot return ``state``.
        """
        evidence = cls(decider, window, **settings)
        try:
            evidence._state = _EvidenceState.model_validate(state)
        except ValidationError as error:
            raise InputError(
                f"this is not a state of evidence ({first_problem(error)}): give the unchanged result of state()"
            ) from None
        return evidence

    def state(self) -> Facts:
        """Return everything that later results depend on, as plain data for JSON."""
        return self._state.model_dump()

    def add(self, end: float, score: float, speech: float = 1.0, traits: Traits | None = None) -> Running:
        """Add the score of the window that ends at ``end`` seconds; return the evidence up to there.

        Args:
            speech: weight of the window, from 0 to 1, such as its share of speech; 0 changes
                nothing.
            traits: a window unlike the calibration's recordings (:meth:`Decider.why_unlike`) gets the
                weight 0. None to compare nothing.

        Raises:
            InputError: if the window ends before the last one, or a number is out of its range.
        """
        state = self._state
        check_setting("speech", speech, 0 <= speech <= 1, "a share from 0 to 1")
        if not math.isfinite(end) or (state.end is not None and end < state.end):
            raise InputError(
                f"a window ends at {end} s, but the window before it at {state.end} s: add windows in the order of their ends"
            )
        unbounded = self.decider.calibration([score])  # (1,)
        llr = float(self.decider.bounded(unbounded)[0])
        unlike = self.decider.why_unlike(score, float(unbounded[0]), traits) if traits and speech else Unlike("")
        weight = 0.0 if unlike.reason else speech
        # The whole first window is new, and no older window exists.
        passed = self.window if state.end is None else end - state.end
        fading = 2 ** (-passed / self.half_life)
        state.weighted_llrs = fading * state.weighted_llrs + weight * llr
        state.weight = fading * state.weight + weight
        new_share = min(self.window, passed) / self.window  # windows may overlap
        state.against = max(0.0, state.against + weight * new_share * (self.decider.llr_threshold - llr))
        state.end = end
        mean = state.weighted_llrs / state.weight if state.weight > 0 else 0.0
        probability = float(self.decider.probability(mean))
        state.alarm = self._is_alarm(probability, mean)
        return Running(end, llr, weight, unlike.reason, unlike.similar, mean, probability, state.against, state.alarm)

    def _is_alarm(self, probability: float, mean: float) -> bool:
        state = self._state
        if state.alarm and self.latch:
            return True
        if state.alarm:
            return (
                probability < self.clear_probability or state.against >= self.alarm_against / 2
            )  # so that it does not flicker
        is_whole = state.end is not None and state.end >= self.window * (1 - 1e-9)
        is_likely = probability <= self.alarm_probability or state.against >= self.alarm_against
        return is_whole and is_likely and not self.decider.why_uncertain(mean)
