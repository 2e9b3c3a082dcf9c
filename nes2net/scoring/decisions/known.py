"""Score whether the class of a recording is known, and choose the score below which it counts as unknown.

A detector of generators always names one of its classes, even for an unknown generator. Scores of
being known are higher for its classes. They are computed in float64, because float32 rounds many
posteriors to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, Strict, ValidationError

from nes2net.lib.errors import InputError, check_known, check_setting, join_names, pluralise
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.plain_data import read_json_as
from nes2net.metrics.classes import threshold_accepting_95

LogitScore = Literal["log_odds", "max_logit", "energy", "sme"]
"""Scores computed from logits (:func:`known_scores`)."""
LOGIT_SCORES: tuple[LogitScore, ...] = get_args(LogitScore)
ReferenceScore = Literal["knn", "mahalanobis", "nsd"]
"""Scores that compare with training trials (:class:`Reference`)."""
REFERENCE_SCORES: tuple[ReferenceScore, ...] = get_args(ReferenceScore)
_ROWS_AT_ONCE = 1024  # number of trials that are compared at once with all training trials
_LOGITS_AT_ONCE = 1 << 16  # number of trials whose logits are converted to float64 at once
#: Largest number of scores that a :class:`KnownThreshold` keeps.
MAX_SCORES = 1000
_MAX_FILE_BYTES = 1 << 20  # largest size in bytes of a file of `nes2net calibrate classes`


def known_scores(logits: ArrayLike, kind: LogitScore = "log_odds", temperature: float = 1.0) -> NDArray:
    """Compute scores of being known from logits z of K classes.

    - ``"log_odds"``: the largest logit minus the logsumexp of the others; orders recordings like
      the largest posterior (Hendrycks, Gimpel, ICLR 2017), but does not saturate.
    - ``"max_logit"``: the largest logit.
    - ``"energy"``: T·logsumexp(z/T) (Liu et al., NeurIPS 2020).
    - ``"sme"``: T·logsumexp(p/T) of the posteriors p (Klein et al., arXiv 2507.06470; the default T
      is an assumption).

    Args:
        logits: N×K, K ≥ 2.
        temperature: T, above 0; used by ``"energy"`` and ``"sme"``.

    Returns:
        (N,), float64; higher for known classes.

    Raises:
        InputError: if the kind is unknown, if the temperature is not positive, or if the logits are
            not N×K finite numbers.

    >>> known_scores([[4.0, 0.0, 0.0], [1.0, 0.5, 0.0]]).round(4).tolist()
    [3.3069, 0.0259]
    """
    check_known([kind], LOGIT_SCORES, "no score of being known is called")
    check_setting("temperature", temperature, temperature > 0, "above 0")
    z = check_logits(logits)
    if kind == "max_logit":
        return z.max(1).astype(np.float64)
    scores = np.empty(len(z))
    for start in range(0, len(z), _LOGITS_AT_ONCE):
        block = slice(start, start + _LOGITS_AT_ONCE)
        scores[block] = _known_score(z[block].astype(np.float64), kind, temperature)
    return scores


def _known_score(z: NDArray, kind: LogitScore, temperature: float) -> NDArray:
    # Of logits ``z`` (N, K), scores (N,): higher if the class is more likely a known one.
    if kind == "energy":
        return temperature * logsumexp(z / temperature)
    if kind == "sme":
        return temperature * logsumexp(class_posteriors(z) / temperature)
    ascending = np.sort(z, axis=1)
    return ascending[:, -1] - logsumexp(ascending[:, :-1])


def check_logits(logits: ArrayLike) -> NDArray:
    """Convert ``logits`` to an array N×K, K ≥ 2; integers become float64, floats keep their precision.

    Raises:
        InputError: if the shape is not N×K, or if a number is not finite.
    """
    z = np.asarray(logits)
    if not np.issubdtype(z.dtype, np.floating):
        z = z.astype(np.float64)
    if z.ndim != 2 or z.shape[1] < 2:
        raise InputError(f"logits must have the shape (trials, classes), with at least two classes, not {z.shape}")
    if not np.isfinite(z).all():
        raise InputError(
            f"logits of {pluralise(int((~np.isfinite(z).all(1)).sum()), 'trial')} of {len(z)} are not finite: remove these "
            "trials, or score them again"
        )
    return z


def logsumexp(z: NDArray) -> NDArray:
    """Compute ln Σ_k e^z_k (N,) of ``z`` N×K without overflow and without SciPy, which takes a second to import."""
    largest = z.max(1)
    return largest + np.log(np.exp(z - largest[:, None]).sum(1))


def class_posteriors(logits: ArrayLike) -> NDArray:
    """Compute the softmax N×K of ``logits`` in float64."""
    z = check_logits(logits).astype(np.float64)
    return np.exp(z - logsumexp(z)[:, None])


@dataclass(frozen=True, eq=False)
class Reference:
    """Embeddings of training trials, with which recordings are compared.

    Args:
        embeddings: R×E, the inputs of the back-end's last layer.
        classes: (R,), indices of the classes.
        logits: R×K; needed for ``"nsd"``.

    Raises:
        InputError: if the shapes do not fit each other, or if a number is not finite.
    """

    embeddings: NDArray
    classes: NDArray
    logits: NDArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "embeddings", _check_embeddings(self.embeddings))
        object.__setattr__(self, "classes", np.asarray(self.classes))
        if self.classes.shape != (len(self.embeddings),) or not len(self.embeddings):
            raise InputError(
                f"a reference needs at least one embedding, and one class for each, not embeddings of shape "
                f"{self.embeddings.shape} and classes of shape {self.classes.shape}"
            )
        if self.logits is not None and len(self.logits) != len(self.embeddings):
            raise InputError(
                f"a reference of {len(self.embeddings)} embeddings has {len(self.logits)} rows of logits: give one row for each"
            )

    def scores(
        self, embeddings: ArrayLike, kind: ReferenceScore = "knn", *, k: int = 10, logits: ArrayLike | None = None
    ) -> NDArray:
        """Compute scores of being known from embeddings x.

        - ``"knn"``: cosine to the ``k``-th nearest training embedding (Sun et al., ICML 2022; the
          default ``k`` is an assumption).
        - ``"mahalanobis"``: −min_c (x − μ_c)ᵀΣ⁻¹(x − μ_c), with the mean μ_c of each class c and
          the covariance Σ of deviations from the class means, divided by the number of trials (Lee
          et al., NeurIPS 2018).
        - ``"nsd"``: logsumexp(z)·mean_j logsumexp(z_j)·cos(x, x_j) over training trials j, with
          logits z (arXiv 2406.03240).

        Args:
            embeddings: N×E.
            logits: N×K; needed for ``"nsd"``.

        Returns:
            (N,), float64; higher for known classes.

        Raises:
            InputError: if the kind is unknown, sizes differ, fewer than ``k`` training trials
                exist, or logits are missing.
        """
        check_known([kind], REFERENCE_SCORES, "no score of being known is called")
        x = _check_embeddings(embeddings)
        if x.shape[1] != self.embeddings.shape[1]:
            raise InputError(
                f"embeddings of {x.shape[1]} numbers cannot be compared with a reference of {self.embeddings.shape[1]}: use "
                "both from the same detector, as embeddings `of` its backend"
            )
        if kind == "knn":
            size = len(self.embeddings)
            check_setting("k", k, 1 <= k <= size, f"a number from 1 to {size}, the number of training trials")
            training = _unit_rows(self.embeddings)
            blocks = []
            for start in range(0, len(x), _ROWS_AT_ONCE):
                cosines = _unit_rows(x[start : start + _ROWS_AT_ONCE]) @ training.T
                blocks.append(np.partition(cosines, size - k, axis=1)[:, size - k])
            return np.concatenate(blocks)
        if kind == "mahalanobis":
            return -self._squared_distances(x)
        if self.logits is None or logits is None:
            raise InputError(
                "the score nsd needs the logits of the training trials and of the recordings: give both, or use knn"
            )
        weights = logsumexp(check_logits(self.logits).astype(np.float64))
        # The direction is the mean over j of logsumexp(z_j)·x_j/|x_j|.
        direction = (weights[:, None] * _unit_rows(self.embeddings)).mean(0)
        return logsumexp(check_logits(logits).astype(np.float64)) * (_unit_rows(x) @ direction)

    def _squared_distances(self, x: NDArray) -> NDArray:
        """Compute the squared Mahalanobis distance (N,) of each of ``x`` N×E to the nearest mean of a class."""
        classes, class_indices = np.unique(self.classes, return_inverse=True)
        means = np.stack([self.embeddings[class_indices == index].mean(0) for index in range(len(classes))])
        centred = self.embeddings - means[class_indices]
        precision = np.linalg.pinv(centred.T @ centred / len(centred), hermitian=True)
        distances = []
        for mean in means:
            difference = x - mean
            distances.append(np.einsum("ne,ne->n", difference @ precision, difference))
        return np.min(distances, axis=0)


def ascending_quantiles(scores: NDArray, largest: int) -> NDArray:
    """Sort ``scores`` (N,), and keep at most ``largest``, evenly spaced."""
    kept = np.linspace(0, len(scores) - 1, min(len(scores), largest)).round().astype(np.int64)
    return np.sort(scores)[kept]


def verification_scores(embeddings: ArrayLike, enrolments: Sequence[ArrayLike]) -> NDArray:
    """Compute the cosines N×M, float64, between trials and the mean enrolment embeddings of models.

    Args:
        embeddings: N×E.
        enrolments: for each of M models, R_m×E.

    Raises:
        InputError: if an array is not finite, or if sizes differ.
    """
    x = _check_embeddings(embeddings)
    means = np.stack([_check_embeddings(examples).mean(0) for examples in enrolments])
    if x.shape[1] != means.shape[1]:
        raise InputError(
            f"trials have embeddings of {x.shape[1]} numbers, enrolled models of {means.shape[1]}: use the same detector for both"
        )
    return _unit_rows(x) @ _unit_rows(means).T


def _check_embeddings(embeddings: ArrayLike) -> NDArray:
    x = np.asarray(embeddings, dtype=np.float64)
    if x.ndim != 2:
        raise InputError(f"embeddings must be an array of shape (trials, E), not {x.shape}")
    if not np.isfinite(x).all():
        raise InputError("embeddings contain NaN or infinite numbers: remove these trials, or embed them again")
    return x


def _unit_rows(x: NDArray) -> NDArray:
    """Scale each row to norm 1; a row of zeros stays zero."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


class KnownThreshold(BaseModel):
    """A threshold for scores of being known, learned from development trials of known classes.

    It is saved in a checkpoint, or in a file of `nes2net calibrate classes`.
    """

    model_config = ConfigDict(frozen=True)

    classes: tuple[str, ...] = ()
    """Names of the classes; empty in a checkpoint, which states them elsewhere."""
    kind: LogitScore
    """The score to which the threshold applies."""
    scores: Annotated[
        tuple[Annotated[FiniteFloat, Strict()], ...],
        Field(min_length=1, max_length=MAX_SCORES),
        AfterValidator(lambda scores: tuple(sorted(scores))),
    ]
    """Ascending scores of development trials of known classes."""
    equal_errors: FiniteFloat | None = None
    """Score at which equal shares of known trials are rejected and of unknown trials accepted; None
    without unknown trials."""

    @classmethod
    def of_logits(cls, logits: ArrayLike, kind: LogitScore = "log_odds", classes: Sequence[str] = ()) -> KnownThreshold:
        """Learn from ``logits`` N×K of known classes; keep at most 1,000 quantiles."""
        scores = ascending_quantiles(known_scores(logits, kind), MAX_SCORES)
        return cls(classes=tuple(classes), kind=kind, scores=tuple(scores.tolist()))

    @property
    def threshold(self) -> float:
        """Score below which a class is unknown: ``equal_errors``, else the score that 95 % of known trials reach."""
        if self.equal_errors is not None:
            return self.equal_errors
        return threshold_accepting_95(np.array(self.scores))

    def p_value(self, score: float) -> float:
        """Compute the conformal p-value: the share of known trials whose score is at most ``score``.

        The recording counts as one more trial, so p > 0. Of recordings like the development trials,
        about a fraction α has p ≤ α.
        """
        return (1 + int(np.searchsorted(self.scores, score, side="right"))) / (len(self.scores) + 1)

    def to_dict(self) -> Facts:
        """Return plain data for a checkpoint, without ``classes``, which it states elsewhere."""
        return self.model_dump(mode="json", exclude={"classes"}, exclude_none=True)

    @classmethod
    def read(cls, facts: object) -> KnownThreshold | None:
        """Restore the threshold from :meth:`to_dict`; None for other data."""
        try:
            return cls.model_validate(facts)
        except ValidationError:
            return None


def read_known(path: AnyPath, classes: Sequence[str]) -> KnownThreshold:
    """Read a file of `nes2net calibrate classes` for a detector with these ``classes``.

    Raises:
        InputError: if it is not such a file, or has other classes.
    """
    remedy = "give a file of `nes2net calibrate classes`"
    known = read_json_as(KnownThreshold, Path(path), _MAX_FILE_BYTES, "a file of known classes", remedy)
    if known.classes != tuple(classes):
        raise InputError(
            f"{path}: is of a detector with the classes {join_names(known.classes, 5)}, but this one has "
            f"{join_names(classes, 5)}: {remedy} for it"
        )
    return known
