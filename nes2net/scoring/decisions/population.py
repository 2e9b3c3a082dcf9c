"""What the recordings of a calibration are like, and whether another recording is like them.

A calibration says what a score means for recordings like its own. One number says how unusual a
recording is: the largest of its distances from the middle of the calibration's recordings. There
are distances by duration, level and bandwidth, in units of the recordings' spread on that side, and
by the embedding of the detector's back-end, measured as in Lee et al., "A simple unified framework
for detecting out-of-distribution samples and adversarial attacks", NeurIPS 2018. The largest
distance becomes a p-value by comparison with the calibration's own recordings: Bates et al.,
"Testing for outliers with conformal p-values", Annals of Statistics 51(1), 2023. For recordings
like the calibration's, about a fraction α have p ≤ α, whatever the distribution of distances.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, Field, GetPydanticSchema
from typing_extensions import TypedDict

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.errors import InputError, counted

#: Names of the scalar traits, in the order of :class:`Traits`.
SCALARS = ("duration", "level", "bandwidth")
#: The level of digital silence in dB.
SILENCE = -120.0
#: Fewest recordings that a population is made of.
FEWEST = 10

# Level: the 95th percentile of the RMS of 20 ms.
_LEVEL_FRAME = 320
_LOUD = 95
# Bandwidth: spectra of 32 ms, mean power, smoothed over some 280 Hz. The floor is a low percentile of
# it; 99 % of the area in dB that stands more than 6 dB above lies below the bandwidth.
_SPECTRUM_FRAME = 512
_SMOOTHED = 9
_FLOOR = 5
_ABOVE_FLOOR = 6.0
_NEARLY_ALL = 0.99
_DEEPEST = 80.0
# Both kinds of frames tile it, so that the sums do not depend on how a recording is cut into blocks.
_CHUNK = 64 * 2560
# The usual range has 95 % of the recordings. A distance of 1 is its edge.
_USUAL = (0.025, 0.975)
# The least that the edge is away from the middle: 10 % of the duration, 1 dB, 250 Hz.
_LEAST = {"duration": math.log(1.1), "level": 1.0, "bandwidth": 250.0}
# Factor and unit for people.
_SHOWN = {"duration": (1, "s"), "level": (1, "dB of full scale"), "bandwidth": (0.001, "kHz")}
_FOLDS = 5
_SEED = 0
_MOST_DIRECTIONS = 32
_LEAST_SPREAD = 0.1  # of distances of embeddings, relative to their middle
_MOST_RECORDINGS = 1_000_000
_WIDEST = 1 << 16
_LARGEST = 1e12


class Traits(NamedTuple):
    """What is measured of a recording."""

    duration: float
    """Seconds that the detector scored."""
    level: float
    """Level of its loud parts in dB of full scale."""
    bandwidth: float
    """Frequency in Hz above which there is next to nothing."""
    embedding: NDArray | None = None
    """(E,): its embedding by the detector's back-end; None if it was not computed."""
    judged: float = 1.0
    """Share of the recording that the detector scored."""
    unfit: str = ""
    """Why no decision can rest on its score, such as silence; empty if one can."""


def measure(waveform: ArrayLike, num_samples: int | None = None) -> Traits:
    """Measure ``waveform`` (N,), 16 kHz in [−1, 1], as far as a detector scores it.

    - Duration is the number of its samples.
    - Level is the 95th percentile of the RMS of 20 ms in dB, 0 for a square wave of full scale, and
      −120 for digital silence.
    - Bandwidth is read off the mean power spectrum in dB, smoothed over 280 Hz. Its floor is its
      5th percentile, at most 80 dB below its maximum. Of the area that stands more than 6 dB above
      the floor, 99 % lies below the bandwidth. A flat spectrum, as of white noise, has 8 kHz, and
      silence 0.

    Args:
        num_samples: leading samples that the detector scores; None for all. A recording that is
            repeated up to that length is measured once: give ``waveform`` as it was before.

    Raises:
        InputError: if there are no samples, or not of one channel.
    """
    waveform = np.asarray(waveform)
    if waveform.ndim != 1:
        raise InputError(f"samples of one channel (N,) are expected, got shape {waveform.shape}")
    return measure_blocks([waveform], num_samples)


def measure_blocks(blocks: Iterable[NDArray], num_samples: int | None = None) -> Traits:
    """Measure a recording that comes in blocks, as of :func:`nes2net.data.audio.read.stream_audio`.

    The result equals :func:`measure` for the whole recording, to the last bit. It takes 10 MB of
    memory, and 15 MB more for each day.

    Raises:
        InputError: if there are no samples.
    """
    num_measured = 0
    levels = list[NDArray]()
    power = np.zeros(_SPECTRUM_FRAME // 2 + 1)
    num_spectra = 0
    for chunk in _chunks(blocks, num_samples):
        num_measured += len(chunk)
        levels.append(np.square(_frames(chunk, min(_LEVEL_FRAME, len(chunk)))).mean(1).astype(np.float32))
        spectra = np.abs(np.fft.rfft(_frames(chunk, _SPECTRUM_FRAME) * _WINDOW)) ** 2
        power = power + spectra.sum(0)
        num_spectra = num_spectra + len(spectra)
    if not num_measured:
        raise InputError("the recording has no samples to measure")
    loud = float(np.percentile(np.concatenate(levels), _LOUD))
    level = SILENCE
    if loud > 0:
        level = max(SILENCE, 10 * math.log10(loud))
    power = power[1:] / num_spectra  # an offset of the samples is not sound
    if not power.max() > 0:
        return Traits(num_measured / SAMPLE_RATE, level, 0.0)
    padded = np.pad(power, _SMOOTHED // 2, mode="edge")
    smooth = np.convolve(padded, np.full(_SMOOTHED, 1 / _SMOOTHED), mode="valid")
    decibels = 10 * np.log10(np.maximum(smooth, smooth.max() * 10 ** (-_DEEPEST / 10)))
    area = np.cumsum(np.maximum(0, decibels - np.percentile(decibels, _FLOOR) - _ABOVE_FLOOR))
    num_bins = np.searchsorted(area, _NEARLY_ALL * area[-1]) + 1
    if area[-1] > 0:
        bandwidth = float(num_bins * SAMPLE_RATE / _SPECTRUM_FRAME)
    else:
        bandwidth = SAMPLE_RATE / 2
    return Traits(num_measured / SAMPLE_RATE, level, bandwidth)


_WINDOW = np.hanning(_SPECTRUM_FRAME + 2)[1:-1]


def _chunks(blocks: Iterable[NDArray], num_samples: int | None) -> Iterable[NDArray]:
    """Cut the first ``num_samples`` of ``blocks`` into pieces of ``_CHUNK`` samples and a rest, float64."""
    pieces = list[NDArray]()
    num_pending = 0
    unread = math.inf if num_samples is None else num_samples
    for block in blocks:
        block = block[: int(min(unread, len(block)))]
        unread -= len(block)
        while len(block):
            piece = block[: _CHUNK - num_pending]
            pieces.append(piece.astype(np.float64))
            num_pending = num_pending + len(piece)
            block = block[len(piece) :]
            if num_pending == _CHUNK:
                yield np.concatenate(pieces)
                pieces = []
                num_pending = 0
        if unread <= 0:
            break
    if num_pending:
        yield np.concatenate(pieces)


def _frames(samples: NDArray, length: int) -> NDArray:
    """Cut samples into frames (T, length) without overlap; less than one is filled up with zeros."""
    if len(samples) < length:
        samples = np.pad(samples, (0, length - len(samples)))
    count = len(samples) // length
    return samples[: count * length].reshape(count, length)


class Typicality(NamedTuple):
    """How far a recording is from a calibration's recordings."""

    p_value: float
    """Share of the calibration's recordings that are as far out, conformal, in (0, 1]."""
    trait: str
    """The trait that is farthest out."""
    reason: str
    """In words: that trait, its value, and the usual range."""


class Spread(NamedTuple):
    """Where 95 % of the values of a trait lie."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: NDArray) -> Spread:
        """Find the 2.5 %, 50 % and 97.5 % quantiles of ``values`` (N,)."""
        return cls(*map(_short, np.quantile(values, (_USUAL[0], 0.5, _USUAL[1]))))

    def distance(self, values: NDArray, smallest_scale: float) -> NDArray:
        """Distance from the middle: 0 there, 1 at the edge of the usual range on that side."""
        above = (values - self.middle) / max(smallest_scale, self.high - self.middle)
        return np.maximum(above, (self.middle - values) / max(smallest_scale, self.middle - self.low))


def as_saved(schema: Any) -> GetPydanticSchema:
    """Give a field the checks and conversions of ``schema`` when Pydantic reads it from a file."""
    return GetPydanticSchema(lambda _, handler: handler(schema))


def _matrix(rows: list[list[float]]) -> NDArray:
    if len(set(map(len, rows))) > 1:
        raise ValueError("rows of one width are expected")
    return np.array(rows)


# Bounds well inside float64, so that squares, quotients and exponentials stay finite.
_Number = Annotated[float, Field(ge=-1e30, le=1e30)]
_Variance = Annotated[float, Field(ge=1e-60, le=1e60)]
_LogSeconds = Annotated[float, Field(ge=-50, le=50)]
_Row = Annotated[list[_Number], Field(min_length=1, max_length=_WIDEST)]
_Distances = Annotated[list[_Number], Field(min_length=1, max_length=_MOST_RECORDINGS), AfterValidator(np.sort)]
_Range = Annotated[tuple[_Number, _Number, _Number], AfterValidator(lambda bounds: Spread(*bounds))]
_LogRange = Annotated[tuple[_LogSeconds, _LogSeconds, _LogSeconds], AfterValidator(lambda bounds: Spread(*bounds))]


class _Ranges(TypedDict):
    duration: _LogRange
    level: _Range
    bandwidth: _Range


@dataclass(frozen=True, eq=False)
class EmbeddingModel:
    """Two normal distributions of embeddings, of bona fide and of spoof, with one covariance.

    The covariance within the classes is kept in its largest R principal directions; in all others
    the variance is the same (probabilistic PCA: Tipping and Bishop, J. R. Statist. Soc. B 61, 1999).
    """

    means: Annotated[
        NDArray, as_saved(Annotated[list[_Row], Field(min_length=1, max_length=2), AfterValidator(_matrix)])
    ]
    """(1 or 2, E): the mean of each class that occurs."""
    directions: Annotated[
        NDArray, as_saved(Annotated[list[_Row], Field(max_length=_MOST_DIRECTIONS), AfterValidator(_matrix)])
    ]
    """(R, E), orthonormal."""
    variances: Annotated[
        NDArray, as_saved(Annotated[list[_Variance], Field(max_length=_MOST_DIRECTIONS), AfterValidator(np.array)])
    ]
    """(R,) along them."""
    residual: _Variance
    """Variance along any other direction."""

    def __post_init__(self) -> None:
        size = self.means.shape[1]
        if len(self.directions) and self.directions.shape[1] != size:
            raise ValueError("means and directions of one width are expected")
        if len(self.directions) != len(self.variances):
            raise ValueError(f"{len(self.variances)} variances of {len(self.directions)} directions")
        object.__setattr__(self, "directions", self.directions.reshape(-1, size))  # an empty list tells no width

    @classmethod
    def fit(cls, embeddings: NDArray, is_bonafide: NDArray) -> EmbeddingModel:
        """Fit to ``embeddings`` (N, E) of recordings whose classes are ``is_bonafide`` (N,)."""
        groups = [embeddings[of_class] for of_class in (is_bonafide, ~is_bonafide) if of_class.any()]
        means = np.stack([group.mean(0) for group in groups])
        centred = np.concatenate([group - mean for group, mean in zip(groups, means)])
        count, size = centred.shape
        freedom = max(1, count - len(groups))
        total = float(np.square(centred).sum()) / freedom
        smallest_variance = 1e-9 * float(np.square(embeddings).mean()) + 1e-30
        rank = min(_MOST_DIRECTIONS, size - 1, freedom // 4)
        directions = np.zeros((0, size))
        variances = np.zeros(0)
        if rank and total > 0:
            from scipy.linalg import eigh  # start-up: scoring needs no SciPy

            smaller = centred @ centred.T if count < size else centred.T @ centred
            last = len(smaller) - 1
            values, vectors = eigh(smaller, subset_by_index=(last - rank + 1, last))
            is_large = values > 1e-10 * values[-1]
            values = values[is_large]
            vectors = vectors[:, is_large]
            variances = values / freedom
            directions = (centred.T @ vectors / np.sqrt(values)).T if count < size else vectors.T
        residual = max(smallest_variance, (total - float(variances.sum())) / (size - len(variances)))
        return cls(means, directions, np.maximum(variances, smallest_variance), residual)

    def rounded(self) -> EmbeddingModel:
        """The model in numbers of 6 digits, as it is saved."""
        return EmbeddingModel(
            _rounded(self.means), _rounded(self.directions), _rounded(self.variances), _short(self.residual)
        )

    def distance(self, embeddings: NDArray) -> NDArray:
        """Root mean square distance of ``embeddings`` (N, E) from the nearer mean, in units of the spread."""
        nearest = np.full(len(embeddings), np.inf)
        for mean in self.means:
            centred = embeddings - mean
            along = centred @ self.directions.T
            off_axes = np.maximum(0, np.square(centred).sum(1) - np.square(along).sum(1))
            nearest = np.minimum(nearest, np.square(along) @ (1 / self.variances) + off_axes / self.residual)
        return np.sqrt(nearest / self.means.shape[1])


@dataclass(frozen=True, eq=False)
class Population:
    """The traits of a calibration's recordings.

    Attributes:
        usual: the usual range of each of :data:`SCALARS`; of durations, in logarithms of seconds.
        distances: (N,) sorted, how far out each recording is by these traits, compared with the
            other four fifths of the recordings.
        embeddings: the model of the embeddings; None without embeddings.
        usual_embedding: the usual range of its distances.
        distances_with_embedding: (N,) sorted, as ``distances``, by all traits and the embedding.
    """

    num_recordings: Annotated[int, Field(ge=1, le=_MOST_RECORDINGS)]
    usual: Annotated[dict[str, Spread], as_saved(_Ranges)]
    distances: Annotated[NDArray, as_saved(_Distances)]
    embeddings: EmbeddingModel | None = None
    usual_embedding: Annotated[Spread, as_saved(_Range)] | None = None
    distances_with_embedding: Annotated[NDArray, as_saved(_Distances)] | None = None

    def __post_init__(self) -> None:
        of_embeddings = (self.usual_embedding, self.distances_with_embedding, self.embeddings)
        if len({value is None for value in of_embeddings}) > 1:
            raise ValueError("embeddings, usual_embedding and distances_with_embedding belong together")
        for distances in (self.distances, self.distances_with_embedding):
            if distances is not None and len(distances) != self.num_recordings:
                raise ValueError(f"{len(distances)} distances of {self.num_recordings} recordings")

    @classmethod
    def fit(cls, traits: Sequence[Traits], is_bonafide: ArrayLike) -> Population:
        """Learn what recordings are like from their traits and their classes.

        Embeddings count if all of ``traits`` have one. The same recordings give the same result.

        Raises:
            InputError: if there are fewer than :data:`FEWEST`, or an embedding is not finite.
        """
        classes = np.asarray(is_bonafide, dtype=bool)
        if len(traits) < FEWEST:
            raise InputError(
                f"{counted(len(traits), 'recording is', 'recordings are')} too few to tell what is usual: give at least {FEWEST}"
            )
        values = _scalars(traits)
        folds = np.random.default_rng(_SEED).permutation(len(traits)) % _FOLDS
        scalar = np.zeros(len(traits))
        for held_out in (folds == fold for fold in range(_FOLDS)):
            spreads = {name: Spread.of(values[name][~held_out]) for name in SCALARS}
            scalar[held_out] = _farthest(spreads, {name: values[name][held_out] for name in SCALARS}).max(0)
        usual = {name: Spread.of(values[name]) for name in SCALARS}
        embedded = []
        for recording in traits:
            if recording.embedding is not None:
                embedded.append(recording.embedding)
        if len(embedded) < len(traits):
            return cls(len(traits), usual, np.sort(_rounded(scalar)))
        embeddings = np.stack(embedded).astype(np.float64)
        if not np.abs(embeddings).max() < _LARGEST:
            raise InputError("an embedding holds a number that is not finite, or above 10¹²: leave that recording out")
        away = np.zeros(len(traits))
        for held_out in (folds == fold for fold in range(_FOLDS)):
            away[held_out] = EmbeddingModel.fit(embeddings[~held_out], classes[~held_out]).distance(
                embeddings[held_out]
            )
        spread = Spread.of(away)
        both = np.maximum(scalar, _embedding_distance(spread, away))
        model = EmbeddingModel.fit(embeddings, classes).rounded()
        return cls(len(traits), usual, np.sort(_rounded(scalar)), model, spread, np.sort(_rounded(both)))

    @property
    def has_embeddings(self) -> bool:
        return self.embeddings is not None

    def typicality(self, traits: Traits) -> Typicality:
        """Compare a recording with the calibration's recordings.

        Its embedding counts if the recording and the calibration have one. Without it, the
        recording is compared by the other traits alone.

        Raises:
            InputError: if its embedding is not as wide as the calibration's.
        """
        away = dict(zip(SCALARS, _farthest(self.usual, _scalars([traits]))[:, 0]))
        distances = self.distances
        if self.embeddings is not None and traits.embedding is not None:
            assert self.usual_embedding is not None and self.distances_with_embedding is not None
            if traits.embedding.shape != (size := self.embeddings.means.shape[1],):
                raise InputError(
                    f"an embedding of {size} numbers is expected, as the calibration's recordings have, not "
                    f"of shape {traits.embedding.shape}: take the detector of the calibration"
                )
            distance = self.embeddings.distance(traits.embedding[None].astype(np.float64))
            away["embedding"] = _embedding_distance(self.usual_embedding, distance)[0]
            distances = self.distances_with_embedding
        trait = max(away, key=lambda name: (away[name], name))
        # Rounded like the distances that it is compared with, so that a recording is as far out as itself.
        at_least = len(distances) - int(np.searchsorted(distances, _short(away[trait])))
        reason = "its embedding is unlike the embeddings of the calibration's recordings"
        if trait != "embedding":
            factor, unit = _SHOWN[trait]
            value = f"{factor * getattr(traits, trait):.1f} {unit}"
            usual = self.usual_ranges()[trait]
            reason = f"its {trait}, {value}, is unusual among the calibration's recordings ({usual})"
        return Typicality((1 + at_least) / (1 + len(distances)), trait, reason)

    def usual_ranges(self) -> dict[str, str]:
        """The range of each scalar trait that 95 % of the recordings have, in words."""
        words = {}
        for name, (low, _, high) in self.usual.items():
            if name == "duration":
                low = math.exp(low)
                high = math.exp(high)
            factor, unit = _SHOWN[name]
            words[name] = f"{factor * low:.1f} to {factor * high:.1f} {unit}"
        return words


def _scalars(traits: Sequence[Traits]) -> dict[str, NDArray]:
    """The scalar traits by name, (N,) each; durations in logarithms of seconds."""
    values = {}
    for name in SCALARS:
        values[name] = np.array([getattr(recording, name) for recording in traits])
    return values | {"duration": np.log(values["duration"])}


def _farthest(usual: dict[str, Spread], values: dict[str, NDArray]) -> NDArray:
    """Distances (3, N) by the scalar traits."""
    return np.stack([usual[name].distance(values[name], _LEAST[name]) for name in SCALARS])


def _embedding_distance(spread: Spread, away: NDArray) -> NDArray:
    """Scale distances from the means of embeddings like distances by other traits; near embeddings are not unusual."""
    return np.maximum(0, away - spread.middle) / max(_LEAST_SPREAD * spread.middle, spread.high - spread.middle, 1e-12)


def _short(value: float) -> float:
    """Round to 6 significant digits, so that files stay small and a loaded number is the saved one."""
    return float(f"{value:.6g}")


def _rounded(values: NDArray) -> NDArray:
    """Round each value as :func:`_short` does."""
    return np.array([_short(value) for value in values.ravel().tolist()]).reshape(values.shape)
