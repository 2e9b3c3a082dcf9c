"""Calibration and fusion: logistic regression from scores of systems to log-likelihood ratios.

Brümmer and van Leeuwen, "On calibration of language recognition scores", Odyssey 2006; Brümmer et
al., "Fusion of heterogeneous speaker recognition systems in the STBU submission", IEEE TASLP 15(7),
2007. ASVspoof 5 calibrates and fuses in the same way.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, ConfigDict, Field, FiniteFloat, RootModel

from nes2net.data.audio.waveform import LONGEST_CUT, SAMPLE_RATE
from nes2net.lib.errors import InputError, counted
from nes2net.lib.files import json_text, write_output
from nes2net.lib.plain_data import read_json_as
from nes2net.lib.terminal import printable
from nes2net.metrics import (
    compute_act_dcf,
    compute_cllr,
    compute_eer,
    compute_min_cllr,
    compute_min_dcf,
    wilson_interval,
)
from nes2net.scoring.decisions.population import Population, as_saved

_FEWEST = 20  # trials of a class; with fewer, weights and figures are worth little
# Slopes of the loss: the solver's aim, and what still counts as zero if rounding ends its steps.
_STEEPEST = 1e-12
_FLAT = 1e-6
_MOST_STEPS = 500
# Standard deviations of scores, relative to their mean and absolute, that leave digits to work with.
_NARROWEST = 1e-13
_SMALLEST = 1e-25
# Limits of weights and offsets, and of log-likelihood ratios. Files from outside may hold any
# number.
_LARGEST_WEIGHT = 1e30
_LARGEST_LLR = 1e6
_MOST_BYTES = 64 << 20  # of a calibration file; a million trials take 20 MB
_MOST_SYSTEMS = 1000
# If a class has more trials, so many are kept, evenly spaced among the sorted ones, which is exact
# for shares of a millionth. A file may hold some more.
_MOST_KEPT = 1_000_000
_MOST_READ = 2_500_000


_Weight = Annotated[FiniteFloat, Field(ge=-_LARGEST_WEIGHT, le=_LARGEST_WEIGHT)]
_Llr = Annotated[FiniteFloat, Field(ge=-_LARGEST_LLR, le=_LARGEST_LLR)]
_Sorted = Annotated[list[_Llr], Field(min_length=1, max_length=_MOST_READ), AfterValidator(np.sort)]


class Llrs(NamedTuple):
    """Natural-log likelihood ratios of a calibration's own trials, each class sorted.

    If a class has more than a million trials, such as frames, a million quantiles are kept.
    """

    bonafide: Annotated[NDArray, as_saved(_Sorted)]
    """(B,) float64."""
    spoof: Annotated[NDArray, as_saved(_Sorted)]
    """(S,) float64."""


@dataclass(frozen=True)
class ScoredBy:
    """The detector whose scores a calibration was learned from, and the part of each recording that it scored."""

    fingerprint: Annotated[str, Field(min_length=1, max_length=200)]
    """Fingerprint of the detector, see :meth:`nes2net.Detector.fingerprint`."""
    precision: Annotated[str, Field(max_length=50)]
    """Precision in which it computed."""
    num_samples: Annotated[int, Field(ge=1, le=LONGEST_CUT)] | None
    """Leading samples that it scored of each recording; None for whole recordings."""
    resolution_ms: Annotated[FiniteFloat, Field(gt=0, lt=1e6)] | None = None
    """Length of the frames that it scored; None for scores of recordings."""


@dataclass(frozen=True)
class LinearCalibration:
    """Natural-log likelihood ratios of bona fide against spoof: ``scores · weights + offset``.

    Made by :func:`fit` from K systems: K = 1 is calibration, K > 1 is fusion. ``systems`` names
    them in the order of the weights, and ``trained_on`` is a record of the training for JSON. With
    a single system and a positive weight, neither the EER nor any minimum cost changes.

    ``llrs`` are the ratios of its own trials. ``scored_by`` is None for a fusion, or if the scores
    have no record; ``population`` is None if the recordings were not measured.
    """

    weights: Annotated[tuple[_Weight, ...], Field(min_length=1, max_length=_MOST_SYSTEMS)]
    offset: _Weight
    prior: Annotated[FiniteFloat, Field(gt=0, lt=1)]
    l2: Annotated[FiniteFloat, Field(ge=0)]
    systems: Annotated[tuple[str, ...], Field(max_length=_MOST_SYSTEMS)]
    trained_on: dict[str, Any] = field(default_factory=dict)
    llrs: Llrs | None = field(default=None, repr=False, compare=False)
    scored_by: ScoredBy | None = None
    population: Population | None = field(default=None, repr=False, compare=False)

    @property
    def largest_llr(self) -> float:
        """The log-likelihood ratio that its own trials can support: ln(1 + trials of the smaller class).

        An assumption. After n trials without an error the expected rate of errors is 1/(n + 2)
        (Laplace), which are odds of n + 1 to 1; nothing supports higher ones. It is infinite if the
        file does not hold its trials.
        """
        if self.llrs is None:
            return math.inf
        return math.log1p(min(len(self.llrs.bonafide), len(self.llrs.spoof)))

    @property
    def resolution_ms(self) -> float | None:
        """Length of the frames that it was learned from; None for recordings."""
        if self.scored_by is not None:
            return self.scored_by.resolution_ms
        value = self.trained_on.get("resolution_ms")  # frames whose scores have no record
        return float(value) if isinstance(value, (int, float)) and 0 < value < 1e6 else None

    def __call__(self, scores: ArrayLike) -> NDArray:
        """Compute log-likelihood ratios, shape (N,), from scores, shape (N, K), or (N,) if K = 1.

        Raises:
            InputError: if the number of systems is not K, a score is NaN or infinite, or a ratio is
                beyond ±1,000,000.
        """
        scores = _matrix(scores, "")
        if scores.shape[1] != len(self.weights):
            raise InputError(
                f"this calibration needs scores of {counted(len(self.weights), 'system')} ({', '.join(self.systems)}), "
                f"got {scores.shape[1]}"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            calibrated = scores @ np.array(self.weights) + self.offset
        if bad := int((~(np.abs(calibrated) <= _LARGEST_LLR)).sum()):
            raise InputError(
                f"{bad} of {len(scores)} log-likelihood ratios are beyond ±{_LARGEST_LLR:,.0f}, so this calibration does not "
                "fit these scores: calibrate scores of the same detector"
            )
        return calibrated

    def check_made_of(self, scores: ScoredBy, remedy: str) -> list[str]:
        """Check that the calibration was learned from scores like ``scores``: same detector, same unit.

        Args:
            scores: what is to be calibrated; ``num_samples`` is not compared, see :meth:`unlike`.
            remedy: what else to do if another detector made the scores.

        Returns:
            Notes about what could not be checked; empty if everything was.

        Raises:
            InputError: if it was learned from another detector's scores, or from scores of
                recordings and not of frames, or the other way round. Frames need a calibration that
                states their length.
        """
        own_resolution = self.resolution_ms
        score_resolution = scores.resolution_ms
        if score_resolution is None and own_resolution is not None:
            raise InputError(
                f"the calibration was learned from scores of frames of {own_resolution:g} ms, not of recordings: make one from a "
                "score file of recordings, or look for fake stretches with `nes2net predict --segments`"
            )
        if score_resolution is not None and own_resolution is None:
            raise InputError(
                "the calibration was learned from scores of recordings, not of their frames: make one from a score "
                "file that `nes2net "
                "score … --segments` wrote"
            )
        if (
            score_resolution is not None
            and own_resolution is not None
            and not math.isclose(score_resolution, own_resolution)
        ):
            raise InputError(
                f"the calibration was learned from scores of frames of {own_resolution:g} ms, not of {score_resolution:g} ms: leave out "
                "`resolution_ms`"
            )
        if self.scored_by is None:
            return [
                "the calibration does not say which detector's scores it was learned from, so this detector cannot be "
                "checked"
            ]
        fingerprint = self.scored_by.fingerprint
        precision = self.scored_by.precision
        if fingerprint != scores.fingerprint:
            raise InputError(
                f"the calibration does not belong to this detector: it was learned from scores of {fingerprint[:12]} "
                f"in {precision}, but this is {scores.fingerprint[:12]} in {scores.precision}, another detector or "
                f"another precision: {remedy}, or calibrate the scores of this one"
            )
        if precision != scores.precision:
            return [
                f"the calibration was learned from scores in {precision}; scores in {scores.precision} differ a little"
            ]
        return []

    def unlike(self, num_samples: int | None) -> str:
        """Say that the calibration was learned on another part of recordings than is scored; empty if not.

        Args:
            num_samples: leading samples that are scored, None for all; 0 for windows along a recording.
        """
        if self.scored_by is None or self.scored_by.num_samples == num_samples:
            return ""
        return (
            f"the calibration was learned from scores of {_scored_part(self.scored_by.num_samples)}, not of "
            f"{_scored_part(num_samples)}, so its decisions are less certain"
        )

    def save(self, path: str | Path) -> None:
        """Write the calibration as JSON, from which :func:`load` restores every bit.

        Each field has a line of its own, the long ones at the end.

        Raises:
            InputError: if the file cannot be written.
        """
        plain = {
            "format": "nes2net linear calibration",
            "weights": self.weights,
            "offset": self.offset,
            "prior": self.prior,
            "l2": self.l2,
            "systems": [printable(name) for name in self.systems],  # file names need not be UTF-8
            "trained_on": self.trained_on,
            "scored_by": None,
            "llrs": None,
            "population": None,
        }
        if self.scored_by:
            plain["scored_by"] = asdict(self.scored_by)
        if self.llrs:
            plain["llrs"] = self.llrs._asdict()
        if self.population:
            plain["population"] = asdict(self.population)
        write_output(path, f"{_lines(plain)}\n")


def _scored_part(num_samples: int | None) -> str:
    if num_samples is None:
        return "whole recordings"
    if num_samples == 0:
        return "windows along a recording"
    return f"the first {num_samples / SAMPLE_RATE:.4g} s"


def _lines(value: Any, indent: str = "") -> str:
    """Write plain data as JSON: a mapping with a line for each key, everything else on one line."""
    if not isinstance(value, dict) or not value:
        return json_text(value.tolist() if isinstance(value, np.ndarray) else value, ensure_ascii=False)
    deeper = indent + " "
    rows = []
    for key, item in value.items():
        rows.append(f"{deeper}{json_text(str(key), ensure_ascii=False)}: {_lines(item, deeper)}")
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"


@dataclass(frozen=True, kw_only=True)
class _Saved(LinearCalibration):
    """What a calibration file holds."""

    format: Literal["nes2net linear calibration"]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.systems):
            raise ValueError(f"{len(self.weights)} weights of {len(self.systems)} systems")


class _File(RootModel[_Saved]):
    model_config = ConfigDict(strict=True)


def load(path: str | Path) -> LinearCalibration:
    """Read what :meth:`LinearCalibration.save` wrote.

    Raises:
        InputError: if the file cannot be read or is not a calibration.
    """
    remedy = "give the path of a file that calibrate or fuse saved"
    saved = read_json_as(_File, path, _MOST_BYTES, "a calibration", remedy).root
    return LinearCalibration(**{name: value for name, value in vars(saved).items() if name != "format"})


def fit(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    prior: float = 0.5,
    l2: float = 1e-4,
    systems: Sequence[str] | None = None,
) -> LinearCalibration:
    """Find the weights and the offset that turn scores of K systems into log-likelihood ratios.

    They minimise the prior-weighted logistic loss ``P · mean ln(1 + e^−(b + logit P)) + (1 − P) ·
    mean ln(1 + e^(s + logit P))`` of the calibrated scores b and s, plus ``l2 / 2`` times the
    squared weights for scores in units of their standard deviation, over the number of trials. For P = ½ the first part is
    Cllr in another unit. The loss is convex, and Newton steps with a trust region find its minimum.

    Args:
        bonafide, spoof: Scores, shapes (B, K) and (S, K), or (B,) and (S,) of one system.
        prior: P, the prior of bona fide that the calibration is made for, costs included: 0.5 for
            Cllr, 0.655 for the DCF of ASVspoof 5 (0.95 · 1 against 0.05 · 10).
        l2: The default hardly changes weights that the data determine: by 0.003 % with 24,844 trials
            and an EER of 0.43 %, by 0.4 % with 24,500 trials of which two are errors. It matters in
            two cases. If the classes can be separated without error, it keeps the weights finite. If
            two systems give the same scores, it splits their weight equally.
        systems: Names of the systems; ``system 1`` and so on if not given.

    Raises:
        InputError: if a class is empty, a score is NaN or infinite, a system gives all trials the
            same score, shapes differ, a setting is out of range, ``l2`` is 0 and the classes can be
            separated, or no minimum was found.

    >>> calibration = fit([2.0, 1.0, 0.5, -0.5], [-2.0, -1.0, 0.0, 0.7])
    >>> calibration([0.0, 1.0]).round(2)
    array([-0.17,  1.21])
    """
    bonafide = _matrix(bonafide, "bona fide ")
    spoof = _matrix(spoof, "spoof ")
    if bonafide.shape[1] != spoof.shape[1]:
        raise InputError(
            f"scores of {bonafide.shape[1]} systems for bona fide, but of {spoof.shape[1]} for spoofed trials"
        )
    if systems is not None:
        names = tuple(systems)
    else:
        names = tuple(f"system {i + 1}" for i in range(spoof.shape[1]))
    if not 0 < prior < 1:
        raise InputError(f"`prior` must lie between 0 and 1, got {prior}")
    if not 0 <= l2 < math.inf:
        raise InputError(f"`l2` must be 0 or more, got {l2}")
    if len(names) != spoof.shape[1]:
        raise InputError(
            f"{counted(spoof.shape[1], 'system has', 'systems have')} scores, but "
            f"{counted(len(names), 'name is', 'names are')} given"
        )
    scores = np.concatenate((bonafide, spoof))
    constant = []
    for name, low, high in zip(names, scores.min(0), scores.max(0)):
        if low == high:
            constant.append(name)
    if constant:
        raise InputError(f"{', '.join(constant)}: all trials have the same score; leave this system out")
    with np.errstate(over="ignore", invalid="ignore"):
        centre = scores.mean(0)
        scale = scores.std(0)
        usable = np.isfinite(scale) & (scale > np.maximum(_NARROWEST * np.abs(centre), _SMALLEST))
    if not usable.all():
        raise InputError(
            f"{', '.join(itertools.compress(names, ~usable))}: the scores are too large or too close together to "
            "calibrate; scale or shift them, or leave this system out"
        )
    parameters, problem = _minimise((scores - centre) / scale, len(bonafide), prior, l2)
    weights = parameters[:-1] / scale
    calibration = LinearCalibration(tuple(weights.tolist()), float(parameters[-1] - weights @ centre), prior, l2, names)
    if l2 == 0 and separates(calibration, bonafide, spoof):
        raise InputError(
            "the classes are separated without error, so the best weights are infinite; "
            "take more or harder trials, or `l2` > 0"
        )
    if problem:
        raise InputError(f"no best weights were found ({problem}); take more trials, fewer systems, or a larger `l2`")
    llrs = [np.sort(calibration(scores)) for scores in (bonafide, spoof)]
    for number, ordered in enumerate(llrs):
        if len(ordered) > _MOST_KEPT:  # the first and the last are kept
            llrs[number] = ordered[np.linspace(0, len(ordered) - 1, _MOST_KEPT).round().astype(np.int64)]
    return replace(calibration, llrs=Llrs(*llrs))


def separates(calibration: LinearCalibration, bonafide: ArrayLike, spoof: ArrayLike) -> bool:
    """Say whether the classes are separated; only ``l2`` then limits the size of the weights.

    Separated means that every bona fide trial lies at or above every spoofed trial.
    """
    above = calibration(bonafide)
    below = calibration(spoof)
    return bool(above.min() >= below.max() and above.max() > below.min())


def how_sure(num_bonafide: int, num_spoof: int) -> str:
    """Say what error rates of so many trials are worth, and how many are worth more.

    With n trials and no error, Wilson's interval of 95 % of the rate ends at z² / (n + z²), z = 1.96.

    >>> how_sure(40, 400)
    '40 bona fide trials: if none of them is wrong, up to 9 % of others may still be (95 % interval); 73 of each class \
bound that to 5 %, 381 to 1 %'
    """
    number, kind = min((num_bonafide, "bona fide"), (num_spoof, "spoofed"))
    _, high = wilson_interval(0.0, number)
    return (
        f"{number} {kind} trials: if none of them is wrong, up to {100 * high:.0f} % of others may still be (95 % "
        f"interval); {_needed(0.05)} of each class bound that to 5 %, {_needed(0.01)} to 1 %"
    )


def _needed(rate: float) -> int:
    """The fewest trials whose interval of 95 % ends at ``rate`` or below it if none of them is wrong."""
    return next(number for number in itertools.count(1) if wilson_interval(0.0, number)[1] <= rate)


def few_trials(num_bonafide: int, num_spoof: int) -> str:
    """Say what a calibration of so few trials is worth; empty if each class has 20 or more.

    >>> few_trials(2, 400)[:59]
    'there are only 2 bona fide trials: if none of them is wrong'
    """
    if min(num_bonafide, num_spoof) >= _FEWEST:
        return ""
    return f"there are only {how_sure(num_bonafide, num_spoof)}. Weights and figures are worth little"


def figures(bonafide: ArrayLike, spoof: ArrayLike, eer_method: str = "asvspoof") -> dict[str, float]:
    """Compute the figures that a calibration is judged by.

    These are ``eer`` by the rule ``eer_method`` of :func:`nes2net.metrics.compute_eer`, ``min_dcf``
    and ``act_dcf`` of ASVspoof 5, track 1, and ``min_cllr`` and ``cllr`` in bits.
    """
    return {
        "eer": compute_eer(bonafide, spoof, eer_method)[0],
        "min_dcf": compute_min_dcf(bonafide, spoof),
        "act_dcf": compute_act_dcf(bonafide, spoof),
        "min_cllr": compute_min_cllr(bonafide, spoof),
        "cllr": compute_cllr(bonafide, spoof),
    }


def _minimise(x: NDArray, num_bonafide: int, prior: float, l2: float) -> tuple[NDArray, str]:
    """Find the weights and, as the last element, the offset.

    ``x``, shape (N, K), holds the scores in units of their standard deviation, bona fide first. The
    text says why the minimum was not found; it is empty if it was.
    """
    from scipy.optimize import minimize  # start-up: scoring needs no SciPy
    from scipy.special import expit  # start-up, as above

    x = np.column_stack((x, np.ones(len(x))))
    num_spoof = len(x) - num_bonafide
    share = np.repeat((prior / num_bonafide, (1 - prior) / num_spoof), (num_bonafide, num_spoof))
    sign = np.repeat((-1.0, 1.0), (num_bonafide, num_spoof))
    penalty = np.append(np.full(x.shape[1] - 1, l2 / len(x)), 0.0)
    log_odds = math.log(prior / (1 - prior))

    def loss(p: NDArray) -> tuple[float, NDArray]:
        margin = sign * (x @ p + log_odds)
        value = share @ np.logaddexp(0, margin) + penalty @ p**2 / 2
        return value, (share * sign * expit(margin)) @ x + penalty * p

    def curvature(p: NDArray) -> NDArray:
        margin = x @ p + log_odds
        return (x * (share * expit(margin) * expit(-margin))[:, None]).T @ x + np.diag(penalty)

    start = np.zeros(x.shape[1])
    solution = minimize(
        loss, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": _STEEPEST, "maxiter": _MOST_STEPS}
    )
    # Steps may end at the precision of the numbers, just before the solver's tolerance.
    at_minimum = solution.success or np.abs(solution.jac).max() <= _FLAT
    return solution.x, "" if at_minimum else str(solution.message)


def _matrix(scores: ArrayLike, kind: str) -> NDArray:
    """Convert ``scores`` to float64 with one column per system."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim == 1:
        scores = scores[:, None]
    if scores.ndim != 2:
        raise InputError(f"{kind}scores must have shape (N,) or (N, systems), got {scores.shape}")
    if scores.size == 0:
        raise InputError(f"there are no {kind}scores; calibration needs trials of both classes")
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise InputError(f"{bad} of {scores.size} {kind}scores are NaN or infinite; leave these trials out")
    return scores
