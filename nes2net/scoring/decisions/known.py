"""Score whether the class of a recording is known, and choose the score below which a class counts as unknown.

A detector that names generators always names one of its classes, even for an unknown generator. A
score of being known is therefore computed: it is higher for recordings of the detector's classes.
Scores of being known are computed in float64. In float32, a posterior would be rounded to 1 if its
logit exceeds the others by about 17 or more, so many recordings would have equal scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, Strict, ValidationError

from nes2net.lib.errors import InputError, check_known, counted, listed
from nes2net.lib.plain_data import read_json_as
from nes2net.metrics.classes import threshold_accepting

LogitScore = Literal["log_odds", "max_logit", "energy", "sme"]
"""A score of being known that is computed from logits (:func:`known_scores`)."""
LOGIT_SCORES: tuple[LogitScore, ...] = ("log_odds", "max_logit", "energy", "sme")
ReferenceScore = Literal["knn", "mahalanobis", "nsd"]
"""A score of being known that compares a recording with training trials (:class:`Reference`)."""
REFERENCE_SCORES: tuple[ReferenceScore, ...] = ("knn", "mahalanobis", "nsd")
_ROWS_AT_ONCE = 1024  # number of trials that are compared at once with all training trials
_LOGITS_AT_ONCE = 1 << 16  # number of trials whose logits are converted to float64 at once
#: Largest number of scores that a :class:`KnownThreshold` keeps.
MOST_SCORES = 1000
_LARGEST_KNOWN = 1 << 20  # largest size in bytes of a file of `nes2net calibrate classes`


def known_scores(logits: ArrayLike, kind: LogitScore = "log_odds", temperature: float = 1.0) -> NDArray:
    """Compute for each trial a score of being known, from its logits z of K classes.

    - ``"log_odds"``: the largest logit minus the logsumexp of the other logits. Sorted by log odds,
      recordings have the same order as by the largest posterior (Hendrycks, Gimpel, ICLR 2017), but
      log odds do not saturate.
    - ``"max_logit"``: the largest logit.
    - ``"energy"``: T·logsumexp(z/T) (Liu et al., NeurIPS 2020).
    - ``"sme"``: T·logsumexp(p/T) of the posteriors p (Klein et al., arXiv 2507.06470; the default
      temperature is an assumption).

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
    if not temperature > 0:
        raise InputError(f"the temperature is above 0, not {temperature}")
    z = checked_logits(logits)
    if kind == "max_logit":
        return z.max(1).astype(np.float64)
    scores = np.empty(len(z))
    for start in range(0, len(z), _LOGITS_AT_ONCE):
        block = slice(start, start + _LOGITS_AT_ONCE)
        scores[block] = _known_score(z[block].astype(np.float64), kind, temperature)
    return scores


def _known_score(z: NDArray, kind: LogitScore, temperature: float) -> NDArray:
    """Compute the score ``kind`` (N,) from logits ``z`` N×K in float64; ``kind`` is not ``"max_logit"``."""
    if kind == "energy":
        return temperature * logsumexp(z / temperature)
    if kind == "sme":
        return temperature * logsumexp(class_posteriors(z) / temperature)
    ascending = np.sort(z, axis=1)
    return ascending[:, -1] - logsumexp(ascending[:, :-1])


def checked_logits(logits: ArrayLike) -> NDArray:
    """Convert ``logits`` to an array N×K, K ≥ 2; floating-point numbers keep their precision.

    Integers become float64.

    Raises:
        InputError: if the shape is not N×K, or if a number is not finite.
    """
    z = np.asarray(logits)
    if not np.issubdtype(z.dtype, np.floating):
        z = z.astype(np.float64)
    if z.ndim != 2 or z.shape[1] < 2:
        raise InputError(f"logits are trials × classes, at least two classes, not of shape {z.shape}")
    if not np.isfinite(z).all():
        raise InputError(
            f"logits of {counted(int((~np.isfinite(z).all(1)).sum()), 'trial')} of {len(z)} are not finite: leave these "
            "trials out or score them again"
        )
    return z


def logsumexp(z: NDArray) -> NDArray:
    """Compute ln Σ_k e^z_k (N,) of ``z`` N×K without overflow, and without SciPy, whose import takes a second."""
    largest = z.max(1)
    return largest + np.log(np.exp(z - largest[:, None]).sum(1))


def class_posteriors(logits: ArrayLike) -> NDArray:
    """Compute the posteriors N×K of ``logits`` N×K: their softmax in float64."""
    z = checked_logits(logits).astype(np.float64)
    return np.exp(z - logsumexp(z)[:, None])


@dataclass(frozen=True, eq=False)
class Reference:
    """Embeddings of training trials; a recording is compared with them to tell whether its class is known.

    Args:
        embeddings: R×E, the inputs of the back-end's last layer.
        classes: (R,), the index of each trial's class.
        logits: R×K, the logits of the training trials; needed for the score ``"nsd"``.

    Raises:
        InputError: if the shapes do not fit each other, or if a number is not finite.
    """

    embeddings: NDArray
    classes: NDArray
    logits: NDArray | None = None

    def __post_init__(self) -> None:
        """Convert the arrays, and check their shapes."""
        object.__setattr__(self, "embeddings", _checked_embeddings(self.embeddings))
        object.__setattr__(self, "classes", np.asarray(self.classes))
        if self.classes.shape != (len(self.embeddings),) or not len(self.embeddings):
            raise InputError(
                f"a reference has a class for each embedding, and at least one: {self.embeddings.shape}, {self.classes.shape}"
            )
        if self.logits is not None and len(self.logits) != len(self.embeddings):
            raise InputError(f"a reference of {len(self.embeddings)} embeddings has {len(self.logits)} rows of logits")

    def scores(
        self, embeddings: ArrayLike, kind: ReferenceScore = "knn", *, k: int = 10, logits: ArrayLike | None = None
    ) -> NDArray:
        """Compute a score of being known for N recordings, from their embeddings x.

        - ``"knn"``: the cosine to the ``k``-th nearest training embedding (Sun et al., ICML 2022;
          the default ``k`` is an assumption).
        - ``"mahalanobis"``: −min_c (x − μ_c)ᵀΣ⁻¹(x − μ_c) over the classes c, where μ_c is the mean
          training embedding of class c. Σ is the covariance of the training embeddings' deviations
          from their class means. All classes share Σ, which is divided by the number of trials (Lee
          et al., NeurIPS 2018).
        - ``"nsd"``: logsumexp(z)·mean_j logsumexp(z_j)·cos(x, x_j) over training trials j, from the
          logits z of the recording and z_j of the trials (arXiv 2406.03240).

        Args:
            embeddings: N×E, the embeddings of the recordings.
            logits: N×K, the logits of the recordings; needed for ``"nsd"``.

        Returns:
            (N,), float64; higher for known classes.

        Raises:
            InputError: if the kind is unknown, if sizes do not fit each other, if there are fewer
                than ``k`` training trials, or if logits are missing.
        """
        check_known([kind], REFERENCE_SCORES, "no score of being known is called")
        x = self._checked_for_reference(embeddings)
        if kind == "knn":
            return self._nearest_embeddings(x, k)[0][:, -1]
        if kind == "mahalanobis":
            return -self._squared_distances(x).min(1)
        if self.logits is None or logits is None:
            raise InputError("the score nsd needs the logits of training trials and of the recordings")
        weights = logsumexp(checked_logits(self.logits).astype(np.float64))
        # The direction is the mean over j of logsumexp(z_j)·x_j/|x_j|.
        direction = (weights[:, None] * _unit_rows(self.embeddings)).mean(0)
        return logsumexp(checked_logits(logits).astype(np.float64)) * (_unit_rows(x) @ direction)

    def nearest_class(self, embeddings: ArrayLike, k: int = 21) -> NDArray:
        """Find for each recording the most frequent class among the ``k`` training embeddings with the highest cosines.

        If several classes are equally frequent, the class with the nearest embedding is taken. The
        default ``k`` = 21 comes from TADA (arXiv 2506.05802).

        Args:
            embeddings: N×E, the embeddings of the recordings.

        Returns:
            (N,), the index of the class of each recording.
        """
        _, neighbours = self._nearest_embeddings(self._checked_for_reference(embeddings), k)
        predicted = []
        # ``classes`` are the classes of the nearest embeddings, the nearest first. Among equally frequent classes,
        # ``max`` takes the first class, which is also the nearest.
        for classes in self.classes[neighbours].tolist():
            predicted.append(max(dict.fromkeys(classes), key=classes.count))
        return np.array(predicted)

    def mahalanobis_class(self, embeddings: ArrayLike) -> NDArray:
        """Find for each recording the class (N,) with the nearest mean, by the distance of ``"mahalanobis"``."""
        return np.unique(self.classes)[self._squared_distances(self._checked_for_reference(embeddings)).argmin(1)]

    def _checked_for_reference(self, embeddings: ArrayLike) -> NDArray:
        """Convert ``embeddings`` N×E to float64; raise InputError if E is not the size of the training embeddings."""
        x = _checked_embeddings(embeddings)
        if x.shape[1] != self.embeddings.shape[1]:
            raise InputError(
                f"embeddings of {x.shape[1]} numbers cannot be compared with a reference of {self.embeddings.shape[1]}: take "
                "both from the same detector, as embeddings `of` its backend"
            )
        return x

    def _nearest_embeddings(self, x: NDArray, k: int) -> tuple[NDArray, NDArray]:
        """Find the ``k`` nearest training embeddings of each row of ``x`` N×E by cosine, the nearest first.

        Returns:
            Cosines N×k, and the indices N×k of the training embeddings.

        Raises:
            InputError: if ``k`` is below 1 or above the number of training trials.
        """
        if not 1 <= k <= len(self.embeddings):
            raise InputError(f"k is a number from 1 to {len(self.embeddings)}, the number of training trials, not {k}")
        training = _unit_rows(self.embeddings)
        all_cosines = []
        all_numbers = []
        for start in range(0, len(x), _ROWS_AT_ONCE):
            cosines = _unit_rows(x[start : start + _ROWS_AT_ONCE]) @ training.T
            numbers = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
            nearest = np.take_along_axis(cosines, numbers, axis=1)
            order = np.argsort(-nearest, axis=1, kind="stable")
            all_cosines.append(np.take_along_axis(nearest, order, axis=1))
            all_numbers.append(np.take_along_axis(numbers, order, axis=1))
        return np.concatenate(all_cosines), np.concatenate(all_numbers)

    def _squared_distances(self, x: NDArray) -> NDArray:
        """Compute the squared Mahalanobis distances N×C of ``x`` N×E to the means of the C classes."""
        names, numbers = np.unique(self.classes, return_inverse=True)
        means = np.stack([self.embeddings[numbers == number].mean(0) for number in range(len(names))])
        centred = self.embeddings - means[numbers]
        precision = np.linalg.pinv(centred.T @ centred / len(centred), hermitian=True)
        distances = []
        for mean in means:
            difference = x - mean
            distances.append(np.einsum("ne,ne->n", difference @ precision, difference))
        return np.stack(distances, axis=1)


def verification_scores(embeddings: ArrayLike, enrolments: Sequence[ArrayLike]) -> NDArray:
    """Compute the cosine between each trial's embedding and the mean of each model's enrolment embeddings.

    Args:
        embeddings: N×E, embeddings of the trials.
        enrolments: for each of M enrolled models, the embeddings R_m×E of the model's examples.

    Returns:
        N×M, float64; the score is higher if trial and model have the same generator.

    Raises:
        InputError: if an array is not finite, or if sizes differ.
    """
    x = _checked_embeddings(embeddings)
    means = np.stack([_checked_embeddings(examples).mean(0) for examples in enrolments])
    if x.shape[1] != means.shape[1]:
        raise InputError(f"trials have embeddings of {x.shape[1]} numbers, enrolled models of {means.shape[1]}")
    return _unit_rows(x) @ _unit_rows(means).T


def _checked_embeddings(embeddings: ArrayLike) -> NDArray:
    """Convert ``embeddings`` to float64, N×E; raise InputError if a number is not finite."""
    x = np.asarray(embeddings, dtype=np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise InputError(f"embeddings are finite numbers, trials × E, not of shape {x.shape}")
    return x


def _unit_rows(x: NDArray) -> NDArray:
    """Scale each row of ``x`` to norm 1; a row of zeros stays zero."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


class KnownThreshold(BaseModel):
    """A threshold for scores of being known, learned from development trials of known classes.

    A checkpoint holds such a threshold, and so does a file of `nes2net calibrate classes`.
    """

    model_config = ConfigDict(frozen=True)

    classes: tuple[str, ...] = ()
    """Names of the classes of the detector; empty in a checkpoint, which states the classes elsewhere."""
    kind: LogitScore
    """Name of the score of being known to which the threshold applies."""
    scores: Annotated[
        tuple[Annotated[FiniteFloat, Strict()], ...],
        Field(min_length=1, max_length=MOST_SCORES),
        AfterValidator(lambda scores: tuple(sorted(scores))),
    ]
    """Scores of development trials of known classes, ascending."""
    equal_errors: FiniteFloat | None = None
    """The score at which two error rates are equal: the share of trials of known classes that are
    rejected, and the share of trials of unknown classes that are accepted. None if no development
    trials of unknown classes were used."""

    @classmethod
    def of_logits(cls, logits: ArrayLike, kind: LogitScore = "log_odds", classes: Sequence[str] = ()) -> KnownThreshold:
        """Learn the threshold from ``logits`` N×K of trials of known classes; keep at most 1,000 quantiles."""
        scores = np.sort(known_scores(logits, kind))
        if len(scores) > MOST_SCORES:
            scores = scores[np.linspace(0, len(scores) - 1, MOST_SCORES).round().astype(int)]
        return cls(classes=tuple(classes), kind=kind, scores=tuple(scores.tolist()))

    @property
    def threshold(self) -> float:
        """The score below which the class of a recording is called unknown.

        The threshold is ``equal_errors``. If ``equal_errors`` is None, the threshold is the score
        that 95 % of known trials reach.
        """
        if self.equal_errors is not None:
            return self.equal_errors
        return threshold_accepting(np.array(self.scores))

    def p_value(self, score: float) -> float:
        """Compute the conformal p-value of a recording: the share of known trials whose score is at most ``score``.

        The recording itself counts as one more known trial, so p is never 0. About a fraction α of
        recordings of known classes has p ≤ α, if the recordings are like the development trials.
        """
        return (1 + int(np.searchsorted(self.scores, score, side="right"))) / (len(self.scores) + 1)

    def to_dict(self) -> dict[str, object]:
        """Return plain data for a checkpoint, from which :meth:`read` restores the threshold.

        ``classes`` are left out, because a checkpoint states the classes elsewhere.
        """
        return self.model_dump(mode="json", exclude={"classes"}, exclude_none=True)

    @classmethod
    def read(cls, facts: object) -> KnownThreshold | None:
        """Restore the threshold from ``facts``, the data of :meth:`to_dict`; None if ``facts`` are other data."""
        try:
            return cls.model_validate(facts)
        except ValidationError:
            return None


def read_known(path: str | Path, classes: Sequence[str]) -> KnownThreshold:
    """Read the file that `nes2net calibrate classes` wrote for a detector with these ``classes``.

    Raises:
        InputError: if the file cannot be read, if `nes2net calibrate classes` did not write it, or
            if its classes are not ``classes``.
    """
    remedy = "give a file of `nes2net calibrate classes`"
    known = read_json_as(KnownThreshold, Path(path), _LARGEST_KNOWN, "a file of known classes", remedy)
    if known.classes != tuple(classes):
        raise InputError(
            f"{path}: is of a detector of {listed(known.classes, 5)}, and this one knows {listed(classes, 5)}: {remedy} for it"
        )
    return known
