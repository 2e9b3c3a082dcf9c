"""Calibration and fusion of scores: linear logistic regression from scores of one or more systems to log-likelihood ratios.

Brümmer and van Leeuwen, "On calibration of language recognition scores", Odyssey 2006; Brümmer et al., "Fusion of heterogeneous
speaker recognition systems in the STBU submission", IEEE TASLP 15(7), 2007; the calibration and fusion of ASVspoof 5.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net import metrics
from nes2net.errors import InputError
from nes2net.machine.files import write_text

_FORMAT = "nes2net linear calibration"
# A slope of the loss that is as good as none: the weights are right to about as many digits.
_FLAT = 1e-6
_MOST_STEPS = 500


@dataclass(frozen=True)
class LinearCalibration:
    """``scores · weights + offset``: natural-log likelihood ratios of bona fide against spoof, from K systems (K = 1: calibration).

    Made by :func:`fit`. ``systems`` names the systems in the order of the weights; ``trained_on`` is whatever is worth keeping of
    the training, ready for JSON. A strictly positive weight of a single system changes neither EER nor any minimum cost.
    """

    weights: tuple[float, ...]
    offset: float
    prior: float
    l2: float
    systems: tuple[str, ...]
    trained_on: dict[str, Any] = field(default_factory=dict)

    def __call__(self, scores: ArrayLike) -> NDArray:
        """Log-likelihood ratios, shape (N,), of ``scores``, shape (N, K), or (N,) of one system.

        Raises :class:`InputError` for another number of systems, NaN or infinite scores.
        """
        scores = _matrix(scores, "")
        if scores.shape[1] != len(self.weights):
            raise InputError(
                f"this calibration is of {len(self.weights)} systems ({', '.join(self.systems)}), got {scores.shape[1]}"
            )
        return scores @ np.array(self.weights) + self.offset

    def save(self, path: str | Path) -> None:
        """Write all of it as JSON; :func:`load` reads it back to the last bit. :class:`InputError` if it cannot be written."""
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)
        write_text(path, f"{text}\n")


def load(path: str | Path) -> LinearCalibration:
    """What :meth:`LinearCalibration.save` wrote. Raises :class:`InputError` if ``path`` is not that."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if values["format"] != _FORMAT:
            raise ValueError(values["format"])
        return LinearCalibration(
            weights=tuple(_finite(weight) for weight in values["weights"]),
            offset=_finite(values["offset"]),
            prior=_finite(values["prior"]),
            l2=_finite(values["l2"]),
            systems=tuple(map(str, values["systems"])),
            trained_on=dict(values["trained_on"]),
        )
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give a file that calibrate or fuse saved"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: no parameters of a calibration; give a file that calibrate or fuse saved") from error


def fit(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    prior: float = 0.5,
    l2: float = 1e-6,
    systems: Sequence[str] | None = None,
) -> LinearCalibration:
    """The weights and offset that make the scores of K systems the best log-likelihood ratios.

    Minimises the prior-weighted logistic loss ``P · mean ln(1 + e^−(b + logit P)) + (1 − P) · mean ln(1 + e^(s + logit P))``
    of the calibrated scores b and s, which for P = ½ is Cllr but for the unit, plus ``l2 / 2`` times the squared weights of
    the scores in units of their standard deviation. It is convex; the minimum is found by Newton steps with a trust region.

    Args:
        bonafide, spoof: Scores, shapes (B, K) and (S, K), or (B,) and (S,) of one system.
        prior: P, the prior of bona fide at which the calibration is to be best, the costs included: 0.5 for Cllr, 0.655 for
            the DCF of ASVspoof 5 (0.95 · 1 against 0.05 · 10).
        l2: The default is far too weak to change weights that the data determine. It decides where they do not: if the
            classes can be separated without error the best weights are infinite, and if two systems give the same scores any
            split of their weight is as good; with it the weights are finite, and the split is equal.
        systems: Names of the systems; ``system 1`` and so on when not given.

    Raises:
        InputError: A class is empty, a score is NaN or infinite, a system scores all trials alike, shapes differ, a setting
            is out of range, ``l2`` is 0 and the classes can be separated, or no minimum was found.

    >>> calibration = fit([2.0, 1.0, 0.5, -0.5], [-2.0, -1.0, 0.0, 0.7])
    >>> calibration([0.0, 1.0]).round(2)
    array([-0.17,  1.21])
    """
    bonafide, spoof = _matrix(bonafide, "bona fide "), _matrix(spoof, "spoof ")
    if bonafide.shape[1] != spoof.shape[1]:
        raise InputError(
            f"scores of {bonafide.shape[1]} systems for bona fide, but of {spoof.shape[1]} for spoofed trials"
        )
    names = tuple(systems) if systems is not None else tuple(f"system {i + 1}" for i in range(spoof.shape[1]))
    _check_settings(prior, l2, names, spoof.shape[1])
    scores = np.concatenate((bonafide, spoof))
    constant = [name for name, low, high in zip(names, scores.min(0), scores.max(0)) if low == high]
    if constant:
        raise InputError(f"{', '.join(constant)}: all trials have the same score, which says nothing; leave it out")
    centre, scale = scores.mean(0), scores.std(0)
    parameters, problem = _minimise((scores - centre) / scale, len(bonafide), prior, l2)
    weights = parameters[:-1] / scale
    calibration = LinearCalibration(tuple(weights.tolist()), float(parameters[-1] - weights @ centre), prior, l2, names)
    if l2 == 0 and separates(calibration, bonafide, spoof):
        raise InputError(
            "the classes are separated without error, so the best weights are infinite; take more or harder trials, or `l2` > 0"
        )
    if problem:
        raise InputError(f"no best weights were found ({problem}); take more trials, fewer systems, or a larger `l2`")
    return calibration


def separates(calibration: LinearCalibration, bonafide: ArrayLike, spoof: ArrayLike) -> bool:
    """Whether no bona fide trial is below a spoofed one: the size of the weights then rests on ``l2`` alone."""
    above, below = calibration(bonafide), calibration(spoof)
    return bool(above.min() >= below.max() and above.max() > below.min())


def figures(bonafide: ArrayLike, spoof: ArrayLike, eer_method: str = "asvspoof") -> dict[str, float]:
    """What calibration is judged by: ``eer``, ``min_dcf``, ``act_dcf`` (of ASVspoof 5), ``cllr`` and ``min_cllr`` in bits.

    ``eer_method`` is the rule of the EER, as of :func:`nes2net.metrics.compute_eer`.
    """
    return {
        "eer": metrics.compute_eer(bonafide, spoof, eer_method)[0],
        "min_dcf": metrics.compute_min_dcf(bonafide, spoof),
        "act_dcf": metrics.compute_act_dcf(bonafide, spoof),
        "min_cllr": metrics.compute_min_cllr(bonafide, spoof),
        "cllr": metrics.compute_cllr(bonafide, spoof),
    }


def _minimise(x: NDArray, num_bonafide: int, prior: float, l2: float) -> tuple[NDArray, str]:
    """Weights and, last, the offset, and why they are not the minimum, empty if they are.

    ``x`` holds the scores, bona fide first, in standard units, shape (N, K).
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    x = np.column_stack((x, np.ones(len(x))))
    num_spoof = len(x) - num_bonafide
    share = np.repeat((prior / num_bonafide, (1 - prior) / num_spoof), (num_bonafide, num_spoof))
    sign = np.repeat((-1.0, 1.0), (num_bonafide, num_spoof))
    penalty = np.append(np.full(x.shape[1] - 1, l2), 0.0)
    log_odds = math.log(prior / (1 - prior))

    def loss(p: NDArray) -> tuple[float, NDArray]:
        margin = sign * (x @ p + log_odds)
        value = share @ np.logaddexp(0, margin) + penalty @ p**2 / 2
        return value, (share * sign * expit(margin)) @ x + penalty * p

    def curvature(p: NDArray) -> NDArray:
        margin = x @ p + log_odds
        return (x * (share * expit(margin) * expit(-margin))[:, None]).T @ x + np.diag(penalty)

    start = np.zeros(x.shape[1])
    found = minimize(
        loss, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-9, "maxiter": _MOST_STEPS}
    )
    # Steps may end at the precision of the numbers, just before the solver's own mark.
    at_minimum = found.success or np.abs(found.jac).max() <= _FLAT
    return found.x, "" if at_minimum else str(found.message)


def _matrix(scores: ArrayLike, what: str) -> NDArray:
    """``scores`` with one column per system, float64."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim == 1:
        scores = scores[:, None]
    if scores.ndim != 2:
        raise InputError(f"{what}scores must have shape (N,) or (N, systems), got {scores.shape}")
    if scores.size == 0:
        raise InputError(f"there are no {what}scores; calibration needs trials of both classes")
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise InputError(f"{bad} of {scores.size} {what}scores are NaN or infinite; leave these trials out")
    return scores


def _check_settings(prior: float, l2: float, names: tuple[str, ...], num_systems: int) -> None:
    if not 0 < prior < 1:
        raise InputError(f"`prior` must lie between 0 and 1, got {prior}")
    if not 0 <= l2 < math.inf:
        raise InputError(f"`l2` must be 0 or more, got {l2}")
    if len(names) != num_systems:
        raise InputError(f"{num_systems} systems have scores, but {len(names)} names are given")


def _finite(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return float(value)
