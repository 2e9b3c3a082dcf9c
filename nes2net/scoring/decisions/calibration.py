"""Calibration and fusion: logistic regression from scores of systems to log-likelihood ratios.

Brümmer and van Leeuwen, "On calibration of language recognition scores", Odyssey 2006; Brümmer et
al., "Fusion of heterogeneous speaker recognition systems in the STBU submission", IEEE TASLP 15(7),
2007. ASVspoof 5 calibrates and fuses in the same way.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, ConfigDict, Field, FiniteFloat, RootModel

from nes2net.data.audio.waveform import MAX_CROP_SAMPLES, SAMPLE_RATE
from nes2net.lib.errors import InputError, check_setting, pluralise, refuse
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.terminal import printable
from nes2net.lib.storage.files import AnyPath, Unchanged, json_text, write_output
from nes2net.lib.storage.plain_data import NotNegative, Value, read_json_as
from nes2net.metrics import (
    compute_act_dcf,
    compute_cllr,
    compute_eer,
    compute_min_cllr,
    compute_min_dcf,
    wilson_interval,
)
from nes2net.metrics.intervals import Interval
from nes2net.scoring.decisions.claim import SasvFit
from nes2net.scoring.decisions.genuine import GenuineScores, GenuineThreshold, genuine_threshold
from nes2net.scoring.decisions.known import ascending_quantiles
from nes2net.scoring.decisions.population import Population, as_saved, round_values

_MIN_TRIALS = 20  # with fewer trials of a class, weights and error rates are worth little
_GRADIENT_TOLERANCE = 1e-12  # the solver stops at this slope of the loss
_FLAT_GRADIENT = 1e-6  # if rounding stops the solver early, a slope of at most this counts as the minimum
_MAX_STEPS = 500  # largest number of steps of the solver
# The deviation of a system's scores must exceed _MIN_SPREAD, and _MIN_RELATIVE_SPREAD times their mean: otherwise,
# rounding leaves too few digits.
_MIN_RELATIVE_SPREAD = 1e-13
_MIN_SPREAD = 1e-25
_MAX_LLR = 1e6  # largest absolute value of a log-likelihood ratio
_MAX_BYTES = 64 << 20  # largest size of a calibration file; a million trials take 20 MB
_MAX_SYSTEMS = 1000  # largest number of systems whose scores one calibration fuses
# Of a class with more than a million trials, a million ratios are kept, evenly spaced in order, which changes the share
# below any ratio by at most a millionth. A file may hold up to _MAX_READ_TRIALS.
_MAX_SAVED_TRIALS = 1_000_000
_MAX_READ_TRIALS = 2_500_000
_RESAMPLES = 500  # number of bootstrap resamples of the trials
_MAX_DRAWN_TRIALS = 5000  # trials of a class
_SEED = 0


_Llr = Annotated[FiniteFloat, Field(ge=-_MAX_LLR, le=_MAX_LLR)]
_Resamples = Annotated[list[tuple[Value, Value]], Field(min_length=1), AfterValidator(np.array)]
_Sorted = Annotated[list[_Llr], Field(min_length=1, max_length=_MAX_READ_TRIALS), AfterValidator(np.sort)]


class Llrs(NamedTuple):
    """Ascending natural-log likelihood ratios of the trials of a calibration.

    Of more than a million trials of a class, such as frames, a million quantiles are kept.
    """

    bonafide: Annotated[NDArray, as_saved(_Sorted)]
    """(B,) float64."""
    spoof: Annotated[NDArray, as_saved(_Sorted)]
    """(S,) float64."""


@dataclass(frozen=True)
class ScoredBy:
    """The detector whose scores trained a calibration, and what it scored."""

    fingerprint: Annotated[str, Field(min_length=1, max_length=200)]
    """See :meth:`nes2net.Detector.fingerprint`."""
    precision: Annotated[str, Field(max_length=50)]
    """Precision of the detector."""
    num_samples: Annotated[int, Field(ge=1, le=MAX_CROP_SAMPLES)] | None
    """Leading samples that were scored; None for whole recordings."""
    resolution_ms: Annotated[FiniteFloat, Field(gt=0, lt=1e6)] | None = None
    """Length of the scored frames in ms; None for recordings."""
    judgement: Annotated[str, Field(max_length=200)] | None = None
    """Name of the judgement that gave the scores; None if unknown."""


@dataclass(frozen=True)
class LinearCalibration:
    """Turns scores into natural-log likelihood ratios of bona fide against spoof.

    A ratio is ``scores · weights + offset``. :func:`fit` learns it for K systems: calibration for
    K = 1, fusion for K > 1. A single system with a positive weight keeps its EER and minimum costs.
    ``systems`` names them in order; ``trained_on`` has further facts, such as corpus and date, as
    plain data. A calibration on ``genuine`` recordings only gives no ratios. With a ``claim``, it
    also decides on claimed people.

    ``llrs`` are the ratios of the trials. ``scored_by`` identifies the detector; None for a fusion,
    or scores without a record. ``population`` has the recordings' traits, if measured.
    ``resamples`` (R, 2) has a slope and a shift for each bootstrap resample, whose calibration
    gives the ratio slope · llr + shift; None for a fusion, and without :func:`add_resamples`.
    ``sha256`` is the digest of the loaded file.
    """

    weights: Annotated[tuple[Value, ...], Field(min_length=1, max_length=_MAX_SYSTEMS)]
    offset: Value
    prior: Annotated[FiniteFloat, Field(gt=0, lt=1)]
    l2: NotNegative
    systems: Annotated[tuple[str, ...], Field(max_length=_MAX_SYSTEMS)]
    trained_on: dict[str, object] = field(default_factory=dict)
    scored_by: ScoredBy | None = None
    claim: SasvFit | None = None
    llrs: Llrs | None = field(default=None, repr=False, compare=False)
    population: Population | None = field(default=None, repr=False, compare=False)
    genuine: GenuineScores | None = field(default=None, repr=False, compare=False)
    resamples: Annotated[NDArray, as_saved(_Resamples)] | None = field(default=None, repr=False, compare=False)
    sha256: str = field(default="", repr=False, compare=False)

    @cached_property
    def rule(self) -> GenuineThreshold | None:
        """The threshold of genuine recordings only, if any."""
        return self.genuine and genuine_threshold(**self.genuine)

    def interval(self, llr: float) -> Interval:
        """Compute the 95 % interval of a ratio: percentiles over the resamples, if there are any."""
        ratios = [llr] if self.resamples is None else self.resamples @ (llr, 1.0)  # (R,)
        low, high = np.quantile(ratios, (0.025, 0.975)).tolist()
        return low, high

    @property
    def largest_llr(self) -> float:
        """Largest ratio that the trials support: ln(1 + number of trials of the smaller class).

        An assumption: after n trials without an error, their expected rate is 1/(n + 2) (Laplace),
        odds of n + 1 to 1. Infinite if the ratios are unknown.
        """
        if self.llrs is None:
            return math.inf
        return math.log1p(min(len(self.llrs.bonafide), len(self.llrs.spoof)))

    @property
    def resolution_ms(self) -> float | None:
        """Length in ms of the frames that trained the calibration; None for recordings."""
        if self.scored_by is not None:
            return self.scored_by.resolution_ms
        # If there is no record of the scores, the user may have stated the length of the frames in ``trained_on``.
        value = self.trained_on.get("resolution_ms")
        return float(value) if isinstance(value, (int, float)) and 0 < value < 1e6 else None

    def __call__(self, scores: ArrayLike) -> NDArray:
        """Compute log-likelihood ratios (N,) from scores (N, K), or (N,) if K = 1.

        Raises:
            InputError: if the number of systems is not K, a score is not finite, or the absolute
                value of a ratio is above 1,000,000.
        """
        scores = _score_matrix(scores, "")
        if scores.shape[1] != len(self.weights):
            raise InputError(
                f"this calibration needs scores of {pluralise(self.weights, 'system')} ({', '.join(self.systems)}), "
                f"got {scores.shape[1]}: give scores of exactly these systems"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            calibrated = scores @ np.array(self.weights) + self.offset  # (N,)
        if bad := int((~(np.abs(calibrated) <= _MAX_LLR)).sum()):
            raise InputError(
                f"{bad} of {len(scores)} log-likelihood ratios are beyond ±{_MAX_LLR:,.0f}, so this calibration does not "
                "fit these scores: calibrate scores of the same detector"
            )
        return calibrated

    def check_fits(self, scored_by: ScoredBy, remedy: str) -> list[str]:
        """Check that scores are of the detector and unit (recordings, or frames) of this calibration.

        Args:
            scored_by: the scores to calibrate; :meth:`warning_on_length` compares ``num_samples``.
            remedy: advice in the message about another detector.

        Returns:
            A note if the detector could not be checked, or its precision differs; else empty.

        Raises:
            InputError: if another detector made the scores, or their unit or length of frames
                differs.
        """
        if not math.isclose(self.resolution_ms or 0, scored_by.resolution_ms or 0):
            unit_remedy = "remove `resolution_ms`"
            if scored_by.resolution_ms is None:
                unit_remedy = (
                    "make a calibration from a score file of recordings, or look for fake stretches with `nes2net predict "
                    "--judgement frames`"
                )
            elif self.resolution_ms is None:
                unit_remedy = "make a calibration from a score file that `nes2net score … --judgement frames` wrote"
            raise InputError(
                f"the calibration was learned from scores of {_scored_unit(self.resolution_ms)}, not of "
                f"{_scored_unit(scored_by.resolution_ms)}: {unit_remedy}"
            )
        if self.scored_by is None:
            return [
                "the calibration does not say which detector's scores it was learned from, so this detector cannot be "
                "checked"
            ]
        names = (self.scored_by.judgement, scored_by.judgement)
        if None not in names and names[0] != names[1]:
            raise InputError(
                f"the calibration was learned from the judgement {names[0]}, not from {names[1]}: set `judgement` "
                f"to {names[0]}, or calibrate on {names[1]}"
            )
        fingerprint = self.scored_by.fingerprint
        precision = self.scored_by.precision
        if fingerprint != scored_by.fingerprint:
            raise InputError(
                f"the calibration does not belong to this detector: it was learned from scores of {fingerprint[:12]} "
                f"({precision}), this is {scored_by.fingerprint[:12]} ({scored_by.precision}): {remedy}, or calibrate the "
                "scores of this detector"
            )
        if precision != scored_by.precision:
            return [
                f"the calibration was learned from scores in {precision}; scores in {scored_by.precision} differ a little"
            ]
        return []

    def warning_on_length(self, num_samples: int | None) -> str:
        """Warn if another part of recordings is scored than for the calibration; else empty.

        Args:
            num_samples: leading samples scored now; None for all, 0 for windows.
        """
        if self.scored_by is None or self.scored_by.num_samples == num_samples:
            return ""
        return (
            f"the calibration was learned from scores of {scored_part(self.scored_by.num_samples)}, not of "
            f"{scored_part(num_samples)}, so its decisions are less certain"
        )

    def save(self, path: AnyPath) -> None:
        """Write :meth:`text` to a file, from which :func:`load` restores every bit.

        Raises:
            InputError: if the file cannot be written.
        """
        write_output(path, self.text())

    def text(self) -> str:
        """Write the calibration as JSON, a field a line, long fields last."""
        plain = {
            "format": "nes2net linear calibration",
            **asdict(self),
            "systems": [printable(name) for name in self.systems],  # file names need not be UTF-8
            "llrs": self.llrs and self.llrs._asdict(),
            "claim": self.claim and self.claim._asdict(),
        }
        del plain["sha256"]
        return f"{_json_lines(plain)}\n"


def _scored_unit(resolution_ms: float | None) -> str:
    return "recordings" if resolution_ms is None else f"frames of {resolution_ms:g} ms"


def scored_part(num_samples: int | None) -> str:
    """Say which part of recordings is scored: the leading samples; None for all, 0 for windows."""
    if num_samples is None:
        return "whole recordings"
    if num_samples == 0:
        return "windows along a recording"
    return f"the first {num_samples / SAMPLE_RATE:.3g} s"


def _json_lines(value: Any, indent: str = "") -> str:
    """Write a dictionary with one key a line, other values on one line."""
    if not isinstance(value, dict) or not value:
        return json_text(value.tolist() if isinstance(value, np.ndarray) else value)
    deeper = indent + " "
    rows = [f"{deeper}{json_text(str(key))}: {_json_lines(item, deeper)}" for key, item in value.items()]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"


@dataclass(frozen=True, kw_only=True)
class _SavedCalibration(LinearCalibration):
    """A calibration, and the format of its file."""

    format: Literal["nes2net linear calibration"]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.systems):
            raise ValueError(f"{len(self.weights)} weights of {len(self.systems)} systems")


class _CalibrationFile(RootModel[_SavedCalibration]):
    """The content of a calibration file; values of a wrong type are errors."""

    model_config = ConfigDict(strict=True)


def load(path: AnyPath, claims: bool = False) -> LinearCalibration:
    """Read a file that :meth:`LinearCalibration.save` wrote.

    Args:
        claims: whether it may decide on claims of people alone, so that it gives no ratios of scores.

    Raises:
        InputError: if the file cannot be read or is not such a calibration.
    """
    remedy = "give the path of a file that `nes2net calibrate` saved"
    file = Unchanged(path)
    saved = read_json_as(_CalibrationFile, path, _MAX_BYTES, "a calibration", remedy).root
    facts = {**vars(saved), "sha256": file.digests()[path]}
    del facts["format"]
    calibration = LinearCalibration(**facts)
    if calibration.claim and not calibration.genuine and not claims:
        raise InputError(
            f"{path}: decides on claims of people alone: use it with nes2net predict --person, or make another one with "
            "nes2net calibrate fit"
        )
    return calibration


def fit(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    prior: float = 0.5,
    l2: float = 1e-4,
    systems: Sequence[str] | None = None,
) -> LinearCalibration:
    """Learn weights and offset that turn scores of K systems into log-likelihood ratios.

    They minimise the logistic loss
    ``P · mean ln(1 + e^−(b + logit P)) + (1 − P) · mean ln(1 + e^(s + logit P))`` of calibrated
    bona fide scores b and spoofed scores s (for P = ½ proportional to Cllr), plus ``l2 / 2`` times
    the sum of squared weights of standardised scores, divided by the number of trials. The sum is
    convex; Newton steps with a trust region find its minimum.

    Args:
        bonafide, spoof: scores, shapes (B, K) and (S, K), or (B,) and (S,) of one system.
        prior: P, the prior of bona fide, costs included: 0.5 for Cllr, 0.655 for the DCF of
            ASVspoof 5 (0.95 · 1 against 0.05 · 10).
        l2: weight of the penalty. It keeps weights finite if the classes can be separated, and
            splits the weight equally between equal systems. Otherwise the default hardly changes
            weights.
        systems: their names.

    Raises:
        InputError: if a class is empty, a score is not finite, a system gives all trials the same
            score, the numbers of systems differ, a setting is out of range, ``l2`` is 0 although
            the classes can be separated, or no minimum was found.

    >>> calibration = fit([2.0, 1.0, 0.5, -0.5], [-2.0, -1.0, 0.0, 0.7])
    >>> calibration([0.0, 1.0]).round(2)
    array([-0.17,  1.21])
    """
    bonafide = _score_matrix(bonafide, "bona fide ")
    spoof = _score_matrix(spoof, "spoof ")
    if bonafide.shape[1] != spoof.shape[1]:
        raise InputError(
            f"bona fide scores are of {pluralise(bonafide.shape[1], 'system')}, spoof scores of {spoof.shape[1]}: give "
            "scores of the same systems for both classes"
        )
    names = tuple(systems or (f"system {i + 1}" for i in range(spoof.shape[1])))
    check_setting("prior", prior, 0 < prior < 1, "between 0 and 1")
    check_setting("l2", l2, l2 >= 0, "at least 0")
    if len(names) != spoof.shape[1]:
        raise InputError(
            f"{pluralise(spoof.shape[1], 'system has', 'systems have')} scores, but "
            f"{pluralise(names, 'name is', 'names are')} given: name each system once"
        )
    scores = np.concatenate((bonafide, spoof))
    centre, scale = _centre_and_scale(scores, names)
    parameters, problem = _fit_logistic_regression((scores - centre) / scale, len(bonafide), prior, l2)
    weights = parameters[:-1] / scale  # undo the standardisation of the scores
    calibration = LinearCalibration(tuple(weights.tolist()), float(parameters[-1] - weights @ centre), prior, l2, names)
    llrs = Llrs(*(ascending_quantiles(calibration(scores), _MAX_SAVED_TRIALS) for scores in (bonafide, spoof)))
    refuse(
        (
            l2 == 0 and separates(llrs),
            "the classes are separated without error, so the best weights are infinite; "
            "use more or harder trials, or `l2` > 0",
        ),
        (problem, f"no best weights were found ({problem}); use more trials, fewer systems, or a larger `l2`"),
    )
    return replace(calibration, llrs=llrs)


def _centre_and_scale(scores: NDArray, names: Sequence[str]) -> tuple[NDArray, NDArray]:
    """Means and deviations (K,) of ``scores`` (N, K); raise InputError if one cannot be scaled."""
    constant = [name for name, low, high in zip(names, scores.min(0), scores.max(0)) if low == high]
    if constant:
        raise InputError(f"{', '.join(constant)}: all trials have the same score; remove this system")
    with np.errstate(over="ignore", invalid="ignore"):  # overflow gives infinity, which is refused below
        centre = scores.mean(0)
        scale = scores.std(0)
        usable = np.isfinite(scale) & (scale > np.maximum(_MIN_RELATIVE_SPREAD * np.abs(centre), _MIN_SPREAD))
    if not usable.all():
        raise InputError(
            f"{', '.join(itertools.compress(names, ~usable))}: the scores are too large or too close together to "
            "calibrate; scale or shift them, or remove this system"
        )
    return centre, scale


def add_resamples(calibration: LinearCalibration) -> LinearCalibration:
    """Add :attr:`LinearCalibration.resamples` to a ``calibration`` of one system by :func:`fit`.

    Trials are drawn with replacement within each class, the same in every run. Of 10,000 trials of
    a class or more, only every n-th ratio is used, which widens intervals.
    """
    assert calibration.llrs is not None
    rng = np.random.default_rng(_SEED)
    classes = [ordered[:: max(1, len(ordered) // _MAX_DRAWN_TRIALS)] for ordered in calibration.llrs]
    resamples = [(1.0, 0.0)]  # the trials themselves
    for _ in ProgressDisplay(range(_RESAMPLES), title="bootstrap", unit="draw"):
        draw = [rng.choice(class_llrs, len(class_llrs)) for class_llrs in classes]
        with suppress(InputError):  # of equal or separated trials
            refitted = fit(*draw, prior=calibration.prior, l2=calibration.l2)
            resamples.append((refitted.weights[0], refitted.offset))
    return replace(calibration, resamples=round_values(np.array(resamples)))


def separates(llrs: Llrs | None) -> bool:
    """Whether every bona fide ratio is at least every spoofed ratio, so that only ``l2`` limits the weights."""
    # The second comparison is false if all ratios are equal, because equal ratios separate nothing.
    return llrs is not None and llrs.bonafide[0] >= llrs.spoof[-1] and llrs.bonafide[-1] > llrs.spoof[0]


def how_sure(num_bonafide: int, num_spoof: int) -> str:
    """Say how certain error rates on so many trials are, and how many would bound them better.

    It considers the smaller class. Without an error in n trials, Wilson's 95 % interval ends at
    z² / (n + z²), z = 1.96.

    >>> how_sure(40, 400)
    '40 bona fide trials: if none of them is wrong, up to 9 % of others may still be (95 % interval); 73 of each class \
bound that to 5 %, 381 to 1 %'
    """
    number, kind = min((num_bonafide, "bona fide"), (num_spoof, "spoofed"))
    _, high = wilson_interval(0.0, number)
    return (
        f"{number} {kind} trials: if none of them is wrong, up to {100 * high:.0f} % of others may still be (95 % "
        "interval); 73 of each class bound that to 5 %, 381 to 1 %"
    )


def few_trials(num_bonafide: int, num_spoof: int) -> str:
    """Warn that so few trials are uncertain; empty from 20 trials of each class on.

    >>> few_trials(2, 400)[:59]
    'there are only 2 bona fide trials: if none of them is wrong'
    """
    if min(num_bonafide, num_spoof) >= _MIN_TRIALS:
        return ""
    return f"there are only {how_sure(num_bonafide, num_spoof)}. What is computed from so few is worth little"


def figures(bonafide: ArrayLike, spoof: ArrayLike, eer_method: str = "asvspoof") -> dict[str, float]:
    """Compute the EER, DCFs and Cllrs of a calibration.

    ``eer`` by ``eer_method`` of :func:`nes2net.metrics.compute_eer`; ``min_dcf`` and ``act_dcf`` of
    ASVspoof 5, track 1; ``min_cllr`` and ``cllr`` in bits. ``act_dcf`` and ``cllr`` require
    natural-log likelihood ratios.
    """
    return {
        "eer": compute_eer(bonafide, spoof, eer_method)[0],
        "min_dcf": compute_min_dcf(bonafide, spoof),
        "act_dcf": compute_act_dcf(bonafide, spoof),
        "min_cllr": compute_min_cllr(bonafide, spoof),
        "cllr": compute_cllr(bonafide, spoof),
    }


def _fit_logistic_regression(standardised: NDArray, num_bonafide: int, prior: float, l2: float) -> tuple[NDArray, str]:
    """Minimise the loss of :func:`fit` for ``standardised`` (N, K), bona fide first.

    Returns weights and offset (K + 1,), and why the minimum was not found; empty if it was.
    """
    from scipy.optimize import minimize  # for a fast start-up: scoring needs no SciPy
    from scipy.special import expit  # for a fast start-up: scoring needs no SciPy

    x = np.column_stack((standardised, np.ones(len(standardised))))  # the last column belongs to the offset
    num_spoof = len(x) - num_bonafide
    # (N,): the weight of each trial in the loss, and −1 for bona fide, 1 for spoof.
    share = np.repeat((prior / num_bonafide, (1 - prior) / num_spoof), (num_bonafide, num_spoof))
    sign = np.repeat((-1.0, 1.0), (num_bonafide, num_spoof))
    penalty = np.append(np.full(x.shape[1] - 1, l2 / len(x)), 0.0)
    log_odds = math.log(prior / (1 - prior))

    def loss(p: NDArray) -> tuple[float, NDArray]:
        # Return the loss and its gradient (K + 1,).
        margin = sign * (x @ p + log_odds)
        value = share @ np.logaddexp(0, margin) + penalty @ p**2 / 2
        return value, (share * sign * expit(margin)) @ x + penalty * p

    def curvature(p: NDArray) -> NDArray:
        margin = x @ p + log_odds
        # The second derivatives, (K + 1)×(K + 1).
        return (x * (share * expit(margin) * expit(-margin))[:, None]).T @ x + np.diag(penalty)

    start = np.zeros(x.shape[1])
    solution = minimize(
        loss,
        start,
        jac=True,
        hess=curvature,
        method="trust-exact",
        options={"gtol": _GRADIENT_TOLERANCE, "maxiter": _MAX_STEPS},
    )
    # Rounding may stop the solver just before it reaches its tolerance, so a slope near 0 also counts as the minimum.
    at_minimum = solution.success or np.abs(solution.jac).max() <= _FLAT_GRADIENT
    return solution.x, "" if at_minimum else str(solution.message)


def _score_matrix(scores: ArrayLike, kind: str) -> NDArray:
    """Convert ``scores`` to (N, K); raise InputError if one is not finite.

    ``kind`` is the class for messages, such as ``"spoof "``, or empty.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim == 1:
        scores = scores[:, None]
    if scores.ndim != 2:
        raise InputError(f"{kind}scores must have shape (N,) or (N, systems), got {scores.shape}")
    if scores.size == 0:
        raise InputError(f"there are no {kind}scores; calibration needs trials of both classes")
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise InputError(f"{bad} of {scores.size} {kind}scores are NaN or infinite; remove these trials")
    return scores
