"""Measure traits of recordings, and tell whether a recording is like those of a calibration.

A calibration is valid for recordings like its own. Each trait has a distance from their median: for
duration, level and bandwidth in units of their spread above or below the median; for the back-end's
embedding as in Lee et al., "A simple unified framework for detecting out-of-distribution samples
and adversarial attacks", NeurIPS 2018.

The largest distance becomes a p-value among the calibration's recordings: Bates et al., "Testing
for outliers with conformal p-values", Annals of Statistics 51(1), 2023. For recordings like these,
about a fraction α has p ≤ α, whatever the distribution of distances.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, Field, GetPydanticSchema
from typing_extensions import TypedDict

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.storage.plain_data import Value

#: Names of the scalar traits, in the order of :class:`Traits`.
SCALARS = ("duration", "level", "bandwidth")
#: The level of digital silence in dB.
SILENCE = -120.0
#: Smallest number of recordings from which a population can be learned.
MIN_REFERENCE = 10

# The level is the 95th percentile of the RMS of frames of 20 ms.
_LEVEL_FRAME = 320  # samples
_LOUD = 95  # percentile
# The bandwidth is defined at :func:`measure`.
_SPECTRUM_FRAME = 512  # samples, 32 ms
_SMOOTHED = 9  # number of bands of 31.25 Hz; together, they cover some 280 Hz
_FLOOR = 5  # percentile of the smoothed spectrum that is taken as its floor
_ABOVE_FLOOR = 6.0  # dB above the floor; only the area above this level counts
_NEARLY_ALL = 0.99  # share of this area that lies at frequencies below the bandwidth
_DEEPEST = 80.0  # dB; the floor is at most this far below the maximum
# Samples measured at once: a multiple of both frame lengths, so that frames do not depend on the blocks.
_CHUNK = 64 * 2560
# Quantiles at the edges of the usual range, which have the distance 1 from the median.
_USUAL = (0.025, 0.975)
# Smallest difference between the median and an edge of the usual range: 10 % of the duration, 1 dB of the level, 250 Hz
# of the bandwidth.
_MIN_SPREADS = {"duration": math.log(1.1), "level": 1.0, "bandwidth": 250.0}
#: For each trait: the factor that converts a value to the unit that people read, and the name of this unit.
SHOWN = {"duration": (1, "s"), "level": (1, "dBFS"), "bandwidth": (0.001, "kHz")}
#: Hz; a recording with a lower bandwidth went through a telephone.
TELEPHONE = 4300.0
_FOLDS = 5  # number of folds of the cross-validation
_SEED = 0
_MAX_DIRECTIONS = 32  # largest number of principal directions of the embeddings
_MIN_SPREAD = 0.1  # smallest spread of embedding distances, as a multiple of their median
_MAX_RECORDINGS = 1_000_000
_WIDEST = 1 << 16  # largest size of an embedding
_MAX_EMBEDDING = 1e12  # largest absolute value of a number in an embedding


class Traits(NamedTuple):
    """The measured traits of a recording."""

    duration: float
    """Seconds of the scored part, or of the recording if windows were scored; infinite for a stream."""
    level: float
    """Level of the loud parts in dB of full scale."""
    bandwidth: float
    """Hz above which there is next to no sound."""
    embedding: NDArray | None = None
    """(E,), of the detector's back-end."""
    judged: float = 1.0
    """Share that the detector scored."""
    unfit: str = ""
    """Why no decision is possible, such as silence; else empty."""
    clipping: str = ""
    """The share of clipped samples in words; empty without clipping."""
    in_windows: bool = False
    """Windows were scored, so the duration is not compared."""
    voice: NDArray | None = None
    """(D,), of a speaker encoder and the whole recording; None if not measured, or without speech."""
    sha256: str = ""
    """Of the samples that gave ``voice``."""


def measure(waveform: ArrayLike, num_samples: int | None = None) -> Traits:
    """Measure the traits of the scored part of ``waveform`` (N,), 16 kHz in [−1, 1].

    - Duration: seconds of the scored part.
    - Level: 95th percentile of the RMS of 20-ms frames in dB; 0 for a square wave of full scale,
      −120 for digital silence.
    - Bandwidth: the floor of the mean power spectrum in dB, smoothed over 280 Hz, is its 5th
      percentile, but at most 80 dB below its maximum. Of the area between the spectrum and a line
      6 dB above the floor, 99 % lies below the bandwidth: 8 kHz for a flat spectrum, 0 for silence.

    Args:
        num_samples: leading samples that are scored; None for all. ``waveform`` must not have the
            repetitions that fill up short recordings.

    Raises:
        InputError: if there are no samples, or more than one channel.
    """
    waveform = np.asarray(waveform)
    if waveform.ndim != 1:
        raise InputError(
            f"expected samples of one channel, shape (N,), got shape {waveform.shape}: give the mean of the channels"
        )
    return measure_blocks([waveform[:num_samples]])


def measure_blocks(blocks: Iterable[NDArray]) -> Traits:
    """Measure a recording in blocks (:func:`nes2net.data.audio.read.stream_audio`), equal to
    :func:`measure` to the last bit.

    Takes 10 MB of memory, plus 15 MB a day of audio. Other traits than duration, level and
    bandwidth keep their defaults.

    Raises:
        InputError: if there are no samples.
    """
    num_measured = 0
    levels = list[NDArray]()
    power = np.zeros(_SPECTRUM_FRAME // 2 + 1)
    num_spectra = 0
    # All chunks but the last are whole numbers of frames of both lengths.
    for chunk in _equal_chunks(blocks):
        num_measured += len(chunk)
        levels.append(np.square(_cut_into_frames(chunk, min(_LEVEL_FRAME, len(chunk)))).mean(1).astype(np.float32))
        spectra = np.abs(np.fft.rfft(_cut_into_frames(chunk, _SPECTRUM_FRAME) * _WINDOW)) ** 2
        power = power + spectra.sum(0)  # (257,)
        num_spectra = num_spectra + len(spectra)
    if not num_measured:
        raise InputError("the recording has no samples to measure: remove it")
    loud = float(np.percentile(np.concatenate(levels), _LOUD))
    level = max(SILENCE, 10 * math.log10(loud)) if loud > 0 else SILENCE
    # The first band is left out, because a constant offset of the samples is not sound.
    return Traits(num_measured / SAMPLE_RATE, level, _bandwidth(power[1:] / num_spectra))


def _bandwidth(mean_power: NDArray) -> float:
    """Compute the bandwidth in Hz, as in :func:`measure`, from the mean power (256,) in bands of 31.25 Hz."""
    if not mean_power.max() > 0:
        return 0.0
    padded = np.pad(mean_power, _SMOOTHED // 2, mode="edge")
    smooth = np.convolve(padded, np.full(_SMOOTHED, 1 / _SMOOTHED), mode="valid")
    decibels = 10 * np.log10(np.maximum(smooth, smooth.max() * 10 ** (-_DEEPEST / 10)))
    area = np.cumsum(np.maximum(0, decibels - np.percentile(decibels, _FLOOR) - _ABOVE_FLOOR))
    if area[-1] <= 0:  # a flat spectrum
        return SAMPLE_RATE / 2
    num_bands = np.searchsorted(area, _NEARLY_ALL * area[-1]) + 1
    return float(num_bands * SAMPLE_RATE / _SPECTRUM_FRAME)


_WINDOW = np.hanning(_SPECTRUM_FRAME + 2)[1:-1]


def _equal_chunks(blocks: Iterable[NDArray]) -> Iterable[NDArray]:
    """Cut a recording into float64 chunks of ``_CHUNK`` samples; the last may be shorter."""
    held = np.zeros(0)
    for block in blocks:
        for start in range(0, len(block), _CHUNK):
            held = np.concatenate((held, block[start : start + _CHUNK]))
            if len(held) >= _CHUNK:
                yield held[:_CHUNK]
                held = held[_CHUNK:]
    if len(held):
        yield held


def _cut_into_frames(samples: NDArray, length: int) -> NDArray:
    """Cut samples (N,) into whole frames (T, length); a shorter recording is one frame, filled up with zeros."""
    if len(samples) < length:
        samples = np.pad(samples, (0, length - len(samples)))
    count = len(samples) // length
    return samples[: count * length].reshape(count, length)


class Typicality(NamedTuple):
    """How usual a recording is among a calibration's recordings."""

    p_value: float
    """Conformal, in (0, 1]: the share of the calibration's recordings that are at least as unusual."""
    trait: str
    """The most unusual trait."""
    reason: str
    """This trait, its value and usual range in words."""
    similar: str
    """The recordings that the calibration lacks, such as ``"with such a level"``."""


class Spread(NamedTuple):
    """Median of a trait, and the range of 95 % of its values."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: NDArray) -> Spread:
        """Find the quantiles 2.5 %, 50 % and 97.5 % of ``values`` (N,), rounded as in a file."""
        return cls(*map(_round_number, np.quantile(values, (_USUAL[0], 0.5, _USUAL[1]))))

    def distance(self, values: NDArray, smallest_scale: float) -> NDArray:
        """Compute distances (N,) from the median: 1 at both edges, which count as at least
        ``smallest_scale`` from it.
        """
        above = (values - self.middle) / max(smallest_scale, self.high - self.middle)
        return np.maximum(above, (self.middle - values) / max(smallest_scale, self.middle - self.low))


def as_saved(schema: Any) -> GetPydanticSchema:
    """In ``Annotated``: let Pydantic read the field from a file as ``schema``, such as a list for an array."""
    return GetPydanticSchema(lambda _, handler: handler(schema))


def _rows_as_array(rows: list[list[float]]) -> NDArray:
    """Raise ValueError, which Pydantic reports, if rows differ in length."""
    if len(set(map(len, rows))) > 1:
        raise ValueError("rows differ in length: expected rows of one length")
    return np.array(rows)


# The following bounds lie well inside the range of float64, so that squares, quotients and exponentials stay finite.
_Variance = Annotated[float, Field(ge=1e-60, le=1e60)]
_LogSeconds = Annotated[float, Field(ge=-50, le=50)]
_Row = Annotated[list[Value], Field(min_length=1, max_length=_WIDEST)]
_Distances = Annotated[list[Value], Field(min_length=1, max_length=_MAX_RECORDINGS), AfterValidator(np.sort)]
_Range = Annotated[tuple[Value, Value, Value], AfterValidator(lambda bounds: Spread(*bounds))]
_LogRange = Annotated[tuple[_LogSeconds, _LogSeconds, _LogSeconds], AfterValidator(lambda bounds: Spread(*bounds))]


class _Ranges(TypedDict):
    duration: _LogRange
    level: _Range
    bandwidth: _Range


@dataclass(frozen=True, eq=False)
class EmbeddingModel:
    """Normal distributions of bona fide and spoofed embeddings, with one covariance.

    A variance in each of R principal directions, and a common one in all others (probabilistic PCA:
    Tipping and Bishop, J. R. Statist. Soc. B 61, 1999).
    """

    means: Annotated[
        NDArray, as_saved(Annotated[list[_Row], Field(min_length=1, max_length=2), AfterValidator(_rows_as_array)])
    ]
    """(1 or 2, E): the mean of each class with recordings."""
    directions: Annotated[
        NDArray, as_saved(Annotated[list[_Row], Field(max_length=_MAX_DIRECTIONS), AfterValidator(_rows_as_array)])
    ]
    """(R, E), orthonormal: the principal directions."""
    variances: Annotated[
        NDArray, as_saved(Annotated[list[_Variance], Field(max_length=_MAX_DIRECTIONS), AfterValidator(np.array)])
    ]
    """(R,): variances along them."""
    residual: _Variance
    """Variance at right angles to them."""

    def __post_init__(self) -> None:
        size = self.means.shape[1]
        if len(self.directions) and self.directions.shape[1] != size:
            raise ValueError(f"directions have {self.directions.shape[1]} numbers: expected {size}, as means have")
        if len(self.directions) != len(self.variances):
            raise ValueError(
                f"expected a variance for each of {len(self.directions)} directions, found {len(self.variances)}"
            )
        # An empty list in a file becomes an array of shape (0,), but the shape (0, E) is needed.
        object.__setattr__(self, "directions", self.directions.reshape(-1, size))

    @classmethod
    def fit(cls, embeddings: NDArray, is_bonafide: NDArray) -> EmbeddingModel:
        """Fit to ``embeddings`` (N, E); ``is_bonafide`` (N,)."""
        groups = [embeddings[of_class] for of_class in (is_bonafide, ~is_bonafide) if of_class.any()]
        means = np.stack([group.mean(0) for group in groups])
        centred = np.concatenate([group - mean for group, mean in zip(groups, means)])  # (N, E), in another order
        count, size = centred.shape
        freedom = max(1, count - len(groups))  # degrees of freedom of the covariance
        total = float(np.square(centred).sum()) / freedom
        smallest_variance = 1e-9 * float(np.square(embeddings).mean()) + 1e-30
        rank = min(_MAX_DIRECTIONS, size - 1, freedom // 4)  # an assumption
        directions = np.zeros((0, size))
        variances = np.zeros(0)
        if rank and total > 0:
            from scipy.linalg import eigh  # for a fast start-up: scoring needs no SciPy

            # The N×N matrix and the E×E matrix of products have the same nonzero eigenvalues; the smaller matrix is
            # faster.
            smaller = centred @ centred.T if count < size else centred.T @ centred
            last = len(smaller) - 1
            values, vectors = eigh(smaller, subset_by_index=(last - rank + 1, last))  # eigenvalues ascend
            is_large = values > 1e-10 * values[-1]  # others are rounding errors
            values = values[is_large]
            vectors = vectors[:, is_large]
            variances = values / freedom
            directions = (centred.T @ vectors / np.sqrt(values)).T if count < size else vectors.T  # (R, E)
        residual = max(smallest_variance, (total - float(variances.sum())) / (size - len(variances)))
        return cls(means, directions, np.maximum(variances, smallest_variance), residual)

    def round(self) -> EmbeddingModel:
        """Round to 6 significant digits, as in a file."""
        return EmbeddingModel(
            round_values(self.means),
            round_values(self.directions),
            round_values(self.variances),
            _round_number(self.residual),
        )

    def distance(self, embeddings: NDArray) -> NDArray:
        """Compute distances (N,) of ``embeddings`` (N, E) from the nearer mean: RMS of the E
        coordinates in standard deviations.
        """
        nearest = np.full(len(embeddings), np.inf)  # (N,), the squared distance without the factor 1 / E
        for mean in self.means:
            centred = embeddings - mean
            along = centred @ self.directions.T  # (N, R)
            off_axes = np.maximum(0, np.square(centred).sum(1) - np.square(along).sum(1))  # (N,), squared
            nearest = np.minimum(nearest, np.square(along) @ (1 / self.variances) + off_axes / self.residual)
        return np.sqrt(nearest / self.means.shape[1])

    def distance_of(self, embedding: NDArray) -> float:
        """Compute :meth:`distance` of one embedding (E,)."""
        return float(self.distance(embedding[None].astype(np.float64))[0])


@dataclass(frozen=True, eq=False)
class Population:
    """Usual ranges of traits of a calibration's recordings.

    Attributes:
        usual: range of each of :data:`SCALARS`; durations are logarithms of seconds.
        distances: (N,) sorted: each recording's largest distance of a scalar trait from the median,
            cross-validated: learned from the other four fifths of the recordings.
        usual_embedding: range of the embeddings' distances from the nearer mean.
        distances_with_embedding: (N,) sorted: the same with the embedding as a further trait.
        durations: shortest and longest scored part in seconds; None if the file lacks them.
    """

    num_recordings: Annotated[int, Field(ge=1, le=_MAX_RECORDINGS)]
    usual: Annotated[dict[str, Spread], as_saved(_Ranges)]
    distances: Annotated[NDArray, as_saved(_Distances)]
    embeddings: EmbeddingModel | None = None
    usual_embedding: Annotated[Spread, as_saved(_Range)] | None = None
    distances_with_embedding: Annotated[NDArray, as_saved(_Distances)] | None = None
    durations: tuple[Value, Value] | None = None

    def __post_init__(self) -> None:
        of_embeddings = (self.usual_embedding, self.distances_with_embedding, self.embeddings)
        if len({value is None for value in of_embeddings}) > 1:
            raise ValueError(
                "embeddings, usual_embedding and distances_with_embedding must all be there, or all be missing"
            )
        for distances in (self.distances, self.distances_with_embedding):
            if distances is not None and len(distances) != self.num_recordings:
                raise ValueError(
                    f"expected a distance for each of {self.num_recordings} recordings, found {len(distances)}"
                )

    @classmethod
    def fit(cls, traits: Sequence[Traits], is_bonafide: ArrayLike) -> Population:
        """Learn the usual ranges from N recordings; ``is_bonafide`` (N,).

        Embeddings are used if all recordings have one. Cross-validation is random, but the same for
        the same recordings.

        Raises:
            InputError: if there are fewer than :data:`MIN_REFERENCE` recordings, or an embedding is not
                finite.
        """
        classes = np.asarray(is_bonafide, dtype=bool)
        if len(traits) < MIN_REFERENCE:
            raise InputError(
                f"{pluralise(traits, 'recording is', 'recordings are')} too few to tell what is usual: give at least {MIN_REFERENCE}"
            )
        values = _scalar_values(traits)
        # The largest distance of a scalar trait, for each recording.
        scalar = _cross_validate(
            len(traits),
            lambda held_out: _scalar_distances(_spreads(values[:, ~held_out]), values[:, held_out]).max(0),
        )
        seconds = [recording.duration for recording in traits]
        durations = _round_number(min(seconds)), _round_number(max(seconds))
        population = cls(len(traits), _spreads(values), np.sort(round_values(scalar)), durations=durations)
        embedded = [recording.embedding for recording in traits if recording.embedding is not None]
        if len(embedded) < len(traits):
            return population
        embeddings = np.stack(embedded).astype(np.float64)
        if not np.abs(embeddings).max() < _MAX_EMBEDDING:
            raise InputError(
                "an embedding holds a number that is not finite, or above 10¹²: remove that recording, or embed it again"
            )
        # The distance of each embedding from the nearer mean of a model.
        from_mean = _cross_validate(
            len(traits),
            lambda held_out: EmbeddingModel.fit(embeddings[~held_out], classes[~held_out]).distance(
                embeddings[held_out]
            ),
        )
        spread = Spread.of(from_mean)
        both = np.maximum(scalar, _embedding_distance(spread, from_mean))
        return replace(
            population,
            embeddings=EmbeddingModel.fit(embeddings, classes).round(),
            usual_embedding=spread,
            distances_with_embedding=np.sort(round_values(both)),
        )

    @property
    def has_embeddings(self) -> bool:
        """Whether recordings are compared by embeddings, too."""
        return self.embeddings is not None

    def typicality(self, traits: Traits) -> Typicality:
        """Compute how unusual a recording is among the calibration's.

        Embeddings are compared if both sides have them. For windows, the duration is not compared,
        and the p-value is a little too large.

        Raises:
            InputError: if the embedding has another size than the calibration's.
        """
        distance_of_trait = dict(zip(SCALARS, _scalar_distances(self.usual, _scalar_values([traits]))[:, 0]))
        if traits.in_windows:
            del distance_of_trait["duration"]
        distances = self.distances  # the same measure for the calibration's recordings
        if self.embeddings is not None and traits.embedding is not None:
            assert self.usual_embedding is not None and self.distances_with_embedding is not None
            if traits.embedding.shape != (size := self.embeddings.means.shape[1],):
                raise InputError(
                    f"expected an embedding of {size} numbers, as the calibration's recordings have, not "
                    f"one of shape {traits.embedding.shape}: use the detector of the calibration"
                )
            distance = self.embeddings.distance_of(traits.embedding)
            distance_of_trait["embedding"] = _embedding_distance(self.usual_embedding, np.array(distance))
            distances = self.distances_with_embedding
        trait = max(distance_of_trait, key=lambda name: (distance_of_trait[name], name))
        # The distance is rounded like the saved distances, so that a recording of the calibration gets exactly the
        # saved distance.
        at_least = len(distances) - int(np.searchsorted(distances, _round_number(distance_of_trait[trait])))
        reason = "its embedding is unlike the embeddings of the calibration's recordings"
        if trait != "embedding":
            factor, unit = SHOWN[trait]
            value = f"{factor * getattr(traits, trait):.1f} {unit}"
            usual = self.usual_ranges()[trait]
            reason = f"its {trait}, {value}, is unusual among the calibration's recordings ({usual})"
        p_value = (1 + at_least) / (1 + len(distances))
        return Typicality(p_value, trait, reason, self._similar(traits, distance_of_trait))

    def _similar(self, traits: Traits, distance_of_trait: Mapping[str, float]) -> str:
        # A person can look for recordings with a level or a bandwidth, but not for those with an embedding.
        unusual = {name: distance for name, distance in distance_of_trait.items() if name in SCALARS and distance > 1}
        if not unusual:
            return "like this one"
        trait = max(unusual, key=unusual.__getitem__)
        if trait == "bandwidth" and traits.bandwidth <= TELEPHONE < self.usual[trait].low:
            return "with the bandwidth of telephone calls"
        return f"with such a {trait}"

    def edges(self) -> dict[str, Spread]:
        """Trait → lower edge, median and upper edge, in the units of :class:`Traits`.

        ``embedding`` is the distance from the nearer mean.
        """
        edges = {
            name: Spread(min(low, middle - _MIN_SPREADS[name]), middle, max(high, middle + _MIN_SPREADS[name]))
            for name, (low, middle, high) in self.usual.items()
        }
        edges["duration"] = Spread(*map(math.exp, edges["duration"]))
        if self.usual_embedding is not None:
            _, middle, high = self.usual_embedding
            edges["embedding"] = Spread(0.0, middle, max(high, (1 + _MIN_SPREAD) * middle))
        return edges

    def usual_ranges(self) -> dict[str, str]:
        """Scalar trait → range of 95 % of the recordings, in words."""
        words = {}
        for name, (low, _, high) in self.usual.items():
            if name == "duration":  # its spread is in logarithms
                low = math.exp(low)
                high = math.exp(high)
            factor, unit = SHOWN[name]
            words[name] = f"{factor * low:.1f} to {factor * high:.1f} {unit}"
        return words


def _cross_validate(count: int, distances_of: Callable[[NDArray], NDArray]) -> NDArray:
    """Distances (``count``,) of recordings from what is learned without them.

    ``distances_of`` maps the recordings held out, (``count``,) bool, to their distances.
    """
    folds = np.random.default_rng(_SEED).permutation(count) % _FOLDS
    distances = np.zeros(count)
    for held_out in (folds == fold for fold in range(_FOLDS)):
        distances[held_out] = distances_of(held_out)
    return distances


def _scalar_values(traits: Sequence[Traits]) -> NDArray:
    """Values of :data:`SCALARS` (3, N); durations in logarithms of seconds."""
    return np.array([(math.log(measured.duration), measured.level, measured.bandwidth) for measured in traits]).T


def _spreads(values: NDArray) -> dict[str, Spread]:
    # Trait → its spread, from ``values`` (3, N) in the order of :data:`SCALARS`.
    return {name: Spread.of(row) for name, row in zip(SCALARS, values)}


def _scalar_distances(usual: dict[str, Spread], values: NDArray) -> NDArray:
    """Distances (3, N) of ``values`` (3, N) from the medians of :data:`SCALARS`."""
    return np.stack([usual[name].distance(row, _MIN_SPREADS[name]) for name, row in zip(SCALARS, values)])


def _embedding_distance(spread: Spread, from_mean: NDArray) -> NDArray:
    """Scale distances (N,): 0 up to the median of ``spread``, 1 at its upper edge."""
    smallest_scale = max(_MIN_SPREAD * spread.middle, 1e-12)  # 1e-12: never divide by 0
    return spread._replace(low=-math.inf).distance(from_mean, smallest_scale)


def _round_number(value: float) -> float:
    """Round to 6 significant digits, so that loaded numbers equal the saved ones."""
    return float(f"{value:.6g}")


def round_values(values: NDArray) -> NDArray:
    return np.array([_round_number(value) for value in values.ravel().tolist()]).reshape(values.shape)
