"""Add up the evidence in the scores of a stream's windows, and decide when to raise an alarm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field, FiniteFloat, ValidationError

from nes2net.lib.errors import InputError
from nes2net.lib.plain_data import StrictModel, first_problem
from nes2net.scoring.decisions.decision import Decider
from nes2net.scoring.decisions.population import Traits


class Running(NamedTuple):
    """The evidence in a stream up to the end of a window."""

    end: float
    """End of the window in the stream, in seconds."""
    llr: float
    """Bounded natural-log likelihood ratio of this window, bona fide against spoof."""
    weight: float
    """Weight with which this window was added; 0 if it has no speech or is unlike the calibration's recordings."""
    unusual: str
    """Why the window is unlike the calibration's recordings; empty if it is not, or was not compared."""
    mean: float
    """Mean ratio of the windows so far, in which older windows count less than newer windows."""
    probability: float
    """Probability of bona fide at this mean and the decider's prior."""
    against: float
    """Cumulative sum of the evidence against bona fide; never negative. The sum rises after a
    change to spoofed speech."""
    alarm: bool
    """Whether an alarm is on at the end of the window: the stream is taken for spoofed."""


class _State(StrictModel):
    """Everything that :class:`Evidence` remembers of the windows so far."""

    weighted_llrs: FiniteFloat = 0.0
    """Sum of the windows' ratios, each with its weight."""
    weight: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Sum of the weights."""
    end: FiniteFloat | None = None
    """End of the last window in seconds."""
    against: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    alarm: bool = False


class Evidence:
    """Adds up the evidence in the scores of a stream's windows, one window after another, and raises an alarm.

    Let ℓ be the log-likelihood ratio of a window. The mean of the windows' ratios describes a
    typical window. In the mean, the weight of a window is halved after each half-life. Overlapping
    windows do not make this mean more certain. A cumulative sum detects a change in the middle of a
    stream (CUSUM; Page, "Continuous inspection schemes", Biometrika 41, 1954). Each window adds (θ
    − ℓ)·u·w to this sum. Here θ is the decider's threshold, u is the share of the window that does
    not overlap the window before, and w is the weight ``speech`` of :meth:`add`. The sum never
    falls below 0.

    An alarm begins when the probability is at most ``alarm_probability``, or when the sum is at
    least ``alarm_against``, unless the 95 % interval of the mean ratio holds the threshold. The
    alarm lasts while the probability is below ``clear_probability``,
    or while the sum is at least half of ``alarm_against``. The default limits are assumptions:
    measure how many false alarms per hour the limits give on your audio.

    Args:
        decider: turns scores into log-likelihood ratios; these ratios are bounded, so that a single
            window cannot decide alone.
        window: length of a window in seconds. There is no alarm before the end of the first whole
            window.
        half_life: seconds after which the weight of a window is halved; infinite for a mean with
            equal weights.
        alarm_probability, clear_probability, alarm_against: limits at which an alarm begins and
            ends.
        latch: whether an alarm lasts until the end of the stream.

    Raises:
        InputError: if a number is out of its range.

    >>> from nes2net.scoring.decisions import fit
    >>> evidence = Evidence(Decider(fit([2.0, 1.0, 0.5, -0.5], [-2.0, -1.0, 0.0, 0.7])), window=4.0)
    >>> [evidence.add(end, -2.0).alarm for end in (4.0, 8.0, 12.0, 16.0, 20.0)]
    [False, False, False, False, True]
    """

    def __init__(
        self,
        decider: Decider,
        window: float,
        *,
        half_life: float = 10.0,
        alarm_probability: float = 0.1,
        clear_probability: float = 0.3,
        alarm_against: float = 7.0,
        latch: bool = False,
    ) -> None:
        for name, seconds in (("window", window), ("alarm_against", alarm_against)):
            if not 0 < seconds < math.inf:
                raise InputError(f"`{name}` is a number above 0, not {seconds}")
        if not half_life > 0:
            raise InputError(f"`half_life` is a number above 0, not {half_life}")
        if not 0 <= alarm_probability <= clear_probability <= 1:
            raise InputError(
                "0 ≤ `alarm_probability` ≤ `clear_probability` ≤ 1 is expected, found "
                f"{alarm_probability} and {clear_probability}"
            )
        self.decider = decider
        self.window = window
        self.half_life = half_life
        self.alarm_probability = alarm_probability
        self.clear_probability = clear_probability
        self.alarm_against = alarm_against
        self.latch = latch
        self._state = _State()

    @classmethod
    def from_state(cls, state: Mapping[str, Any], decider: Decider, window: float, **settings: Any) -> Evidence:
        """Restore the evidence from the data of :meth:`state`; results for later windows are the same to the last bit.

        Args:
            state: the plain data of :meth:`state`.
            decider, window, settings: the arguments with which the earlier :class:`Evidence` was
                made.

        Raises:
            InputError: if ``state`` is not data that :meth:`state` can return.
        """
        evidence = cls(decider, window, **settings)
        try:
            evidence._state = _State.model_validate(state)
        except ValidationError as error:
            raise InputError(
                f"this is no state of evidence ({first_problem(error)}): give what `state()` gave"
            ) from None
        return evidence

    def state(self) -> dict[str, Any]:
        """Return everything on which the results of the next windows depend, as plain data for JSON."""
        return self._state.model_dump()

    def add(self, end: float, score: float, speech: float = 1.0, traits: Traits | None = None) -> Running:
        """Add the score of the window that ends at ``end`` seconds of the stream; return the evidence up to there.

        Args:
            speech: the weight of the window, from 0 to 1, such as its share of speech. A window
                without speech changes neither mean nor sum.
            traits: the traits of the window. A window that is unlike the calibration's recordings
                (:meth:`Decider.unlike`) has the weight 0, too. None to compare nothing.

        Raises:
            InputError: if the window ends before the last added window, or if a number is out of
                its range.
        """
        state = self._state
        if not 0 <= speech <= 1:
            raise InputError(f"`speech` is a share from 0 to 1, not {speech}")
        if not math.isfinite(end) or (state.end is not None and end < state.end):
            raise InputError(f"windows are added in their order: one ends at {end} s, the one before at {state.end} s")
        unusual = self.decider.unlike(score, traits)[0] if traits and speech else ""
        weight = 0.0 if unusual else speech
        llr = float(self.decider.llrs([score])[0])
        # The whole first window is new, and no older window exists.
        passed = self.window if state.end is None else end - state.end
        fading = 2 ** (-passed / self.half_life)
        state.weighted_llrs = fading * state.weighted_llrs + weight * llr
        state.weight = fading * state.weight + weight
        new_share = min(self.window, passed) / self.window
        state.against = max(0.0, state.against + weight * new_share * (self.decider.llr_threshold - llr))
        state.end = end
        mean = state.weighted_llrs / state.weight if state.weight > 0 else 0.0
        probability = float(self.decider.probability(mean))
        state.alarm = self._is_alarm(probability, mean)
        return Running(end, llr, weight, unusual, mean, probability, state.against, state.alarm)

    def _is_alarm(self, probability: float, mean: float) -> bool:
        """Whether there is an alarm after the last added window."""
        state = self._state
        if state.alarm and self.latch:
            return True
        if state.alarm:
            return probability < self.clear_probability or state.against >= self.alarm_against / 2
        is_whole = state.end is not None and state.end >= self.window * (1 - 1e-9)
        is_likely = probability <= self.alarm_probability or state.against >= self.alarm_against
        return is_whole and is_likely and not self.decider.uncertain(mean)
