"""Decide on a whole recording from the scores of windows along it, and say which part stands out.

The mean ratio decides on the whole. A fake part too short to move the mean is found by the
cumulative sum of :class:`~nes2net.scoring.decisions.evidence.Evidence`. How high this sum rises by
chance is simulated with bona fide trials of the calibration as windows.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.remarks import NO_VOICE
from nes2net.lib.errors import check_setting, pluralise
from nes2net.lib.output.sheet import FactsDict
from nes2net.lib.output.times import clock, plain_duration, readable_duration
from nes2net.scoring.decisions.decision import CANNOT_TELL, Decider, Decision, clipping_factor
from nes2net.scoring.decisions.evidence import Evidence, Running
from nes2net.scoring.decisions.population import Traits

if TYPE_CHECKING:
    from nes2net.scoring.track import Track

# The numbers below are assumptions. A stretch of a recording stands out if at most this share of bona fide recordings
# has a stretch with as much evidence against bona fide.
_MAX_P_VALUE = 0.01
#: The score of a window counts only if at least this share of the window is speech.
MIN_SPEECH = 0.25
# A fake part is called found if it stands out in at least this share of simulated recordings.
_MIN_SHARE_FOUND = 0.5
_SIMULATIONS = 2000
# Largest number of windows of a simulated recording. A recording with more windows counts as several recordings of this
# length.
_MAX_WINDOWS = 1000
_LOW_TAIL = 0.025  # share of the calibration's bona fide trials whose ratios are below the usual range
_MAX_LENGTHS = 16  # largest number of distinct lengths of simulated fake parts
_SEED = 0


@dataclass(frozen=True)
class Stretch:
    """The part of a recording with the most evidence against bona fide."""

    start: float
    """Start in seconds."""
    end: float
    """End in seconds."""
    llr: float
    """Mean of the windows' bounded natural-log likelihood ratios."""
    p_value: float
    """Share of simulated bona fide recordings of this length with a stretch of at least as much evidence."""

    @property
    def stands_out(self) -> bool:
        """Whether at most 1 % of bona fide recordings have a stretch with as much evidence."""
        return self.p_value <= _MAX_P_VALUE

    @property
    def words(self) -> str:
        """Say where the stretch is, or that nothing stands out.

        >>> Stretch(12.1, 18.2, -3.0, 1 / 2001).words
        '0:12–0:18 speaks against bona fide, as a part of fewer than 1 % of bona fide recordings of this length does'
        """
        if not self.stands_out:
            return "nothing stands out"
        return (
            f"{clock(self.start, 0)}–{clock(self.end, 0)} speaks against bona fide, as a part of fewer than "
            f"{100 * _MAX_P_VALUE:g} % of bona fide recordings of this length does"
        )


class LowWindows(NamedTuple):
    """Windows with lower ratios than 97.5 % of the calibration's bona fide trials."""

    llr: float
    """The natural-log likelihood ratio below which a window is low."""
    num_windows: int
    """Number of low windows."""
    expected: float
    """Expected number of low windows in a bona fide recording."""
    p_value: float
    """Share of bona fide recordings with at least this number by chance."""

    def words(self, num_windows: int) -> str:
        """Say how many of ``num_windows`` are low, and what may explain them."""
        return (
            f"{self.num_windows} of its {num_windows} windows are lower than nearly all bona fide ones of the "
            f"calibration, where about {self.expected:.0f} are expected by chance: parts of it may be fake, or "
            "its genuine speech differs from the calibration's"
        )


@dataclass(frozen=True)
class DecisionAlong(Decision):
    """A decision by windows; ``llr`` and ``probability`` describe a typical window."""

    rests_on: float = 1.0
    """Share of the recording in windows with speech."""
    windows: int = 1
    """Number of windows with speech."""
    window: float = 0.0
    """Length of the windows in seconds."""
    hop: float = 0.0
    """Seconds from one window's start to the next."""
    in_part: bool = False
    """Whether only the stretch makes it "spoof", and not the mean ratio."""
    stretch: Stretch | None = None
    """The part with the most evidence against bona fide; None if nothing could be simulated."""
    low_windows: LowWindows | None = None
    """None if nothing could be simulated."""
    shortest_found: float | None = None
    """Seconds of the shortest fake part found in at least half of the cases; None if there is none, or
    if nothing could be simulated."""

    @property
    def decided_by(self) -> str:
        """The number that decided, in words; empty without a decision."""
        if self.decision == CANNOT_TELL:
            return ""
        if self.in_part and self.stretch is not None:
            return f"llr {self.stretch.llr:.4f}, the mean of {clock(self.stretch.start)}–{clock(self.stretch.end)}"
        return f"llr {self.llr:.4f}, their mean"

    @property
    def words(self) -> list[str]:
        """Phrases on the deciding windows, the part that stands out, and fake parts that would be missed."""
        number = f" by {self.decided_by}" if self.decided_by else ""
        words = [
            f"decided along {100 * self.rests_on:.0f} % of it ({pluralise(self.windows, 'window')} of {self.window:.3g} s)"
            f"{number}, while the score is that of its first {self.window:.3g} s"
        ]
        if self.stretch is None or self.decision == CANNOT_TELL:
            return words
        if self.decision == "bonafide" or self.stretch.stands_out:
            words.append(self.stretch.words)
        if self.decision == "bonafide":
            if self.low_windows is not None and self.low_windows.num_windows:
                low = self.low_windows
                number = pluralise(low.num_windows, "window is", "windows are")
                words.append(f"{number} low, about {low.expected:.0f} are expected by chance")
            if self.shortest_found is None:
                words.append("a fake part of any length would mostly be missed")
            else:
                words.append(f"a fake part shorter than {plain_duration(self.shortest_found)} would mostly be missed")
        return words

    def row(self) -> FactsDict:
        """Return :meth:`Decision.row`, with the fields of this class under ``along``."""
        row = {**super().row(), "score_of": f"the first {self.window:.3g} s", "decided_by": self.decided_by}
        names = ("rests_on", "windows", "window", "hop", "in_part")
        along: FactsDict = {name: getattr(self, name) for name in names}
        if self.stretch is not None and self.low_windows is not None:
            along["stretch"] = {**asdict(self.stretch), "stands_out": self.stretch.stands_out}
            along["low_windows"] = self.low_windows._asdict()
            along["shortest_found"] = self.shortest_found
        return row | {"along": along}


@dataclass(frozen=True)
class CutoffDecision(Decision):
    """A decision by a threshold of raw scores, without ratio and probability."""

    threshold: float = 0.0
    mean: float | None = None
    """The mean score of windows; None if :attr:`score` decided."""
    along: str = ""
    """The deciding windows in words; empty if :attr:`score` decided."""

    @property
    def words(self) -> list[str]:
        """The sentence on the deciding windows, if any."""
        return [self.along] if self.along else []

    def row(self) -> FactsDict:
        row = super().row() | {"threshold": self.threshold}
        del row["llr"], row["probability"]
        if self.mean is not None:
            row["mean"] = self.mean
        return row


@dataclass(frozen=True)
class Cutoff:
    """Decides by a threshold of raw scores, without a calibration; raises InputError if it is not finite.

    >>> Cutoff(0.5)(0.7).decision
    'bonafide'
    """

    threshold: float
    """Lowest score accepted as bona fide."""

    def __post_init__(self) -> None:
        check_setting("threshold", self.threshold, math.isfinite(self.threshold), "a number")

    def __call__(self, score: float, traits: Traits | None = None) -> CutoffDecision:
        """Decide on a score; "cannot tell" if ``traits`` say that the recording is unfit."""
        decision = "bonafide" if score >= self.threshold else "spoof"
        reason = traits.unfit if traits is not None else ""
        if reason:
            decision = CANNOT_TELL
        return CutoffDecision(score, None, None, decision, reason or None, threshold=self.threshold)

    def along(self, score: float, track: Track, traits: Traits | None) -> CutoffDecision:
        """Decide by the mean of the windows; ``score`` is that of the beginning."""
        words = (
            f"decided by the mean of {pluralise(track, 'window')}, {track.score:.4f}, while the score is that of its "
            f"first {readable_duration(track.window, exact=True)}"
        )
        return replace(self(track.score, traits), score=score, mean=track.score, along=words)

    def describe(self) -> list[str]:
        """Describe the basis of decisions in a line for people."""
        return [f"decision: bona fide from a score of {self.threshold:g} on, the `threshold` that you gave"]


def decide_along(decider: Any, score: float, track: Track, traits: Traits | None = None) -> Decision:
    """Decide on a recording by its ``track``: the scores of windows along it.

    After calibration on genuine recordings only, ``score`` decides, and unusual windows are counted.

    The windows must be as long as scored for the calibration. The first rule that applies decides:

    1. "cannot tell" if the recording is unfit or has no speech, or is unlike the calibration's
       recordings, or if clipping makes it uncertain on which side of the threshold the recording
       lies;
    2. "spoof" if the mean ratio is below the decider's threshold, or if a stretch stands out, and
       the 95 % interval of this ratio does not hold the threshold;
    3. "cannot tell" if such an interval holds the threshold, if there are more low windows than
       chance explains, or if the detector would miss a fake part as long as half the recording in
       most cases;
    4. else "bonafide".

    Args:
        decider: a :class:`Decider`, or another one, whose method ``along`` then decides.
        traits: None to decide without comparing with the calibration's recordings.
    """
    if not isinstance(decider, Decider):
        return decider.along(score, track, traits)  # type: ignore[no-any-return]
    assert track.speech is not None
    starts = track.times - track.window / 2
    has_speech = track.speech >= MIN_SPEECH
    if decider.calibration.genuine:
        decision = decider(score, traits)
        is_unusual = has_speech & ~decider.accepts(track.scores)
        share = float(is_unusual.sum() / max(1, has_speech.sum()))
        return replace(decision, unusual_share=None if decision.reason else share)
    hop = float(track.times[1] - track.times[0]) if len(track) > 1 else track.window
    rests_on = track.share_of(has_speech)
    # First decide by the mean score alone. The decider also compares the recording with the calibration's recordings.
    base = replace(decider(track.score, traits), score=score)
    along = DecisionAlong(**vars(base), rests_on=rests_on, windows=int(has_speech.sum()), window=track.window, hop=hop)
    if traits is not None and traits.unfit:
        return along
    if not has_speech.any():
        return replace(along, llr=None, probability=None, decision=CANNOT_TELL, reason=NO_VOICE)
    running = _add_evidence(decider, track, track.speech, clipping_factor(traits))
    num_windows = max(1, round(rests_on * track.duration / track.window))
    simulated = _Simulations.of(decider, num_windows)
    if simulated is not None:
        llrs = [step.llr for step, speaks in zip(running, has_speech) if speaks]
        along = replace(
            along,
            stretch=_find_stretch(running, starts, simulated),
            low_windows=_count_low_windows(decider, llrs, num_windows),
            shortest_found=simulated.shortest_found and simulated.shortest_found * track.window,
        )
    if base.llr is None:  # a recording that is unlike the calibration's recordings has no ratio
        return along
    return _choose_decision(along, decider, running[-1].mean, traits, simulated)


def _choose_decision(
    along: DecisionAlong, decider: Decider, mean: float, traits: Traits | None, simulated: _Simulations | None
) -> DecisionAlong:
    """Apply the rules of :func:`decide_along`, in their order, to a recording that has a ratio.

    ``mean``: of the windows' bounded ratios, before the factor for clipping.
    """
    factor = clipping_factor(traits)
    llr = factor * mean
    along = replace(along, llr=llr, probability=float(decider.probability(llr)), decision="spoof", reason=None)
    threshold = min(decider.llr_threshold, decider.bound)  # the mean of bounded ratios cannot be above the bound
    is_bonafide = mean >= threshold
    uncertain = decider.why_uncertain(llr)
    low = along.low_windows
    if traits is not None and is_bonafide != (llr >= threshold):
        reason = traits.clipping
    elif not is_bonafide and not uncertain:
        return along
    elif along.stretch is not None and along.stretch.stands_out:
        uncertain_part = decider.why_uncertain(factor * along.stretch.llr)
        if not uncertain_part:
            return replace(along, in_part=is_bonafide)
        reason = uncertain or uncertain_part
    elif uncertain:
        reason = uncertain
    elif low is not None and low.p_value <= _MAX_P_VALUE:
        reason = low.words(along.windows)
    elif simulated is not None and not simulated.finds_half:
        reason = "if half of a recording of this length were fake, this detector would mostly miss it"
    else:
        return replace(along, decision="bonafide")
    return replace(along, decision=CANNOT_TELL, reason=reason)


def _add_evidence(decider: Decider, track: Track, speech: NDArray, factor: float) -> list[Running]:
    """``factor`` is below 1 for a clipped recording."""
    # ``speech`` (K,): the share of each window that is speech.
    evidence = Evidence(decider, track.window, half_life=math.inf)
    ends = track.times + track.window / 2
    running = []
    for end, score, share in zip(ends.tolist(), track.scores.tolist(), speech.tolist()):
        running.append(evidence.add(end, score, factor * share if share >= MIN_SPEECH else 0.0))
    return running


def _find_stretch(running: list[Running], starts: NDArray, simulations: _Simulations) -> Stretch:
    """Find the rise of the cumulative sum from 0 to its highest value; ``starts`` (K,) in seconds."""
    sums = np.array([0.0, *(step.against for step in running)])  # (K + 1,): before each window, and at the end
    last = int(sums[1:].argmax())
    first = int(np.flatnonzero(sums[: last + 1] == 0)[-1])  # the window after the last sum of 0
    llr = float(np.mean([step.llr for step in running[first : last + 1]]))
    return Stretch(float(starts[first]), running[last].end, llr, simulations.p_value(float(sums[last + 1])))


def _count_low_windows(decider: Decider, llrs: list[float], num_independent: int) -> LowWindows:
    """Count windows with lower ratios than 97.5 % of bona fide trials, and compute the count's p-value.

    Whatever the distribution of ratios, the share of windows below the k-th lowest of N ratios has
    a Beta distribution. The count among n windows without overlap is therefore beta-binomial
    (Wilks, "Determination of sample sizes for setting tolerance limits", Annals of Mathematical
    Statistics 12, 1941).

    Args:
        llrs: ratios of the windows with speech, which may overlap.
        num_independent: how many windows without overlap fit into the part with speech.
    """
    from scipy.stats import betabinom  # for a fast start-up: scoring needs no SciPy

    trials = decider.calibration.llrs
    assert trials is not None
    num_trials = len(trials.bonafide)
    rank = max(1, round(_LOW_TAIL * (num_trials + 1)))
    (lowest_usual,) = decider.bounded(trials.bonafide[[rank - 1]]).tolist()  # ratios ascend
    count = int((np.array(llrs) < lowest_usual).sum())
    share = rank / (num_trials + 1)
    num_low = math.floor(count * num_independent / len(llrs))  # number of low windows if windows did not overlap
    p_value = float(betabinom.sf(num_low - 1, num_independent, rank, num_trials + 1 - rank))
    return LowWindows(lowest_usual, count, share * len(llrs), p_value)


class _Simulations(NamedTuple):
    """Results of simulations: how high the cumulative sum rises by chance, and how often a fake part is found."""

    bonafide: NDArray
    """(S,) sorted: the highest sum in each of S bona fide recordings."""
    shortest_found: int | None
    """Windows of the shortest fake part that stands out in most recordings; None if none does."""
    finds_half: bool
    """Whether a fake part of half the length mostly stands out; also true for a single window."""
    repeats: float
    """Length of the real recording, as a multiple of a simulated one; above 1 only if it is very long."""

    @classmethod
    @lru_cache(maxsize=128)
    def of(cls, decider: Decider, num_windows: int) -> _Simulations | None:
        """Simulate bona fide and partly fake recordings from the calibration's trials; None if it holds no ratios."""
        llrs = decider.calibration.llrs
        if llrs is None:
            return None
        largest = decider.calibration.largest_llr
        # Add to each class the trial that speaks most for the other class: otherwise, a high sum could look rare only
        # because the trials are few.
        bonafide = np.append(np.clip(llrs.bonafide, -largest, largest), -largest)
        spoof = np.append(np.clip(llrs.spoof, -largest, largest), largest)
        count = min(num_windows, _MAX_WINDOWS)
        rng = np.random.default_rng(_SEED)
        shape = (count, _SIMULATIONS)  # (K, S)
        # The number that each window of a bona fide recording adds to the sum.
        genuine = decider.llr_threshold - bonafide[rng.integers(len(bonafide), size=shape, dtype=np.int32)]
        highest = np.sort(_highest_sums(genuine))
        usual_limit = highest[math.ceil((1 - _MAX_P_VALUE) * _SIMULATIONS)]
        lengths = np.unique(np.geomspace(1, count, _MAX_LENGTHS).round().astype(int)).tolist()
        is_found = {}
        # For each length, make a part of each simulated recording fake, and count in how many recordings the fake part
        # stands out.
        for length in lengths:
            part_fake = genuine.copy()
            first = rng.integers(count - length + 1)
            drawn = rng.integers(len(spoof), size=(length, _SIMULATIONS), dtype=np.int32)
            part_fake[first : first + length] = decider.llr_threshold - spoof[drawn]
            is_found[length] = (_highest_sums(part_fake) > usual_limit).mean() >= _MIN_SHARE_FOUND
        shortest_found = min((length for length in lengths if is_found[length]), default=None)
        half = min(length for length in lengths if length >= count / 2)
        return cls(highest, shortest_found, count == 1 or is_found[half], num_windows / count)

    def p_value(self, highest_sum: float) -> float:
        """Share of bona fide recordings whose sum reaches ``highest_sum``; in (0, 1]."""
        # The factor lets rounding errors of the sum pass for equality. The real recording counts as one more.
        below = int(np.searchsorted(self.bonafide, highest_sum * (1 - 1e-9), side="left"))
        share = (1 + len(self.bonafide) - below) / (1 + len(self.bonafide))
        # A recording of more windows than were simulated counts as several independent ones.
        return 1 - (1 - share) ** self.repeats


def _highest_sums(steps: NDArray) -> NDArray:
    """Compute the maxima (S,) of S cumulative sums of ``steps`` (K, S); a sum below 0 is set to 0, as
    in :class:`Evidence`.
    """
    against = np.zeros(steps.shape[1])
    highest = np.zeros(steps.shape[1])
    for step in steps:
        against = np.maximum(0, against + step)
        highest = np.maximum(highest, against)
    return highest
