"""Background noise of MUSAN and room impulse responses, as in the ASVspoof 5 recipe.

The user provides the folders: MUSAN (Snyder et al., 2015, arXiv 1510.08484, openslr.org/17) and
impulse responses, such as RIRS_NOISES (Ko et al., ICASSP 2017, openslr.org/28). They are listed
once, at the start. Only those excerpts of the noises that are used are read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nes2net.audio.files import recordings_below
from nes2net.audio.waveform import head_crop
from nes2net.errors import InputError


class Category(NamedTuple):
    """How noise of one category of MUSAN is mixed in; ranges include both ends."""

    num_files: tuple[int, int]
    """How many files are averaged to make the noise."""
    snr: tuple[float, float]
    """Signal-to-noise ratio in dB."""


CATEGORIES = {
    "noise": Category((1, 1), (0, 15)),
    "speech": Category((3, 8), (13, 20)),
    "music": Category((1, 1), (5, 25)),
}

_POWER_FLOOR = 1e-4  # keeps the published level of silence finite, at −40 dB


class NoiseFile(NamedTuple):
    """A recording and its length in samples at 16 kHz."""

    path: Path
    num_samples: int


class NoiseAugmentation:
    """Add noise of MUSAN to a training utterance, or reverberate it, or leave it unchanged.

    If both folders are given, noise and reverberation are equally likely.

    Args:
        musan: folder of MUSAN, with ``noise``, ``speech`` and ``music`` in it or in its subfolder
            ``musan``; None for no noise.
        rir: folder of impulse responses, see :func:`find_impulse_responses`; None for no
            reverberation.
        probability: that an utterance is changed.
        aligned: reverberate without the delay of the direct sound, so that labels of frames stay
            true (:func:`reverberate`).

    Raises:
        InputError: if a folder or category is missing or too small, or a file has no samples.
    """

    def __init__(
        self,
        musan: str | Path | None = None,
        rir: str | Path | None = None,
        probability: float = 0.5,
        *,
        aligned: bool = False,
    ) -> None:
        if not 0 <= probability <= 1:
            raise InputError(f"`noise_probability={probability}` must be a probability from 0 to 1")
        self.probability, self.aligned = probability, aligned
        self.noises = {} if musan is None else find_noises(musan)
        self.impulse_responses = [] if rir is None else find_impulse_responses(rir)

    def __bool__(self) -> bool:
        """Whether there is anything to add."""
        return bool(self.noises or self.impulse_responses)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Augment ``x``, shape (N,) with N ≥ 1, of any float type; all draws come from ``rng``.

        Returns:
            An array of the same shape and type; ``x`` itself if it is left unchanged.

        Raises:
            InputError: if a noise or impulse response cannot be used; the message names its file.
        """
        from nes2net.audio.read import load_audio  # start-up: `nes2net.augment` is imported for --help

        effects = ["noise"] * bool(self.noises) + ["reverberation"] * bool(self.impulse_responses)
        if not effects or rng.random() >= self.probability:
            return x
        if effects[rng.integers(len(effects))] == "reverberation":
            path = self.impulse_responses[rng.integers(len(self.impulse_responses))]
            return reverberate(x, load_audio(path, channel=0), str(path), aligned=self.aligned)
        category = list(CATEGORIES)[rng.integers(len(CATEGORIES))]
        noise = draw_noise(self.noises[category], category, len(x), rng)
        return add_noise(x, noise, rng.uniform(*CATEGORIES[category].snr))


def draw_noise(files: Sequence[NoiseFile], category: str, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Average excerpts (``num_samples``,) of as many of ``files`` as noise of this ``category`` is made of."""
    fewest, most = CATEGORIES[category].num_files
    chosen = rng.choice(len(files), rng.integers(fewest, most + 1), replace=False)
    return np.mean([draw_excerpt(files[i], num_samples, rng) for i in chosen], axis=0)


def draw_excerpt(file: NoiseFile, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Read ``num_samples`` of ``file`` from a random place; a shorter file is repeated."""
    from nes2net.audio.read import load_excerpt  # start-up: `nes2net.augment` is imported for --help

    spare = file.num_samples - num_samples
    start = int(rng.integers(spare + 1)) if spare > 0 else 0
    return head_crop(load_excerpt(file.path, start, num_samples), num_samples, str(file.path))


def level_db(x: np.ndarray) -> float:
    """Level of ``x`` in dB as the ASVspoof 5 recipe defines it, 10·log10(mean(x²) + 10⁻⁴).

    >>> level_db(np.zeros(3))
    -40.0
    """
    return 10 * math.log10(float(np.mean(np.square(x, dtype=np.float64))) + _POWER_FLOOR)


def add_noise(x: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Add ``noise`` to ``x``, both (N,), at a signal-to-noise ratio of ``snr`` dB.

    The ratio is the difference of their levels (:func:`level_db`).

    The result has the type of ``x``. It is not normalised and may exceed 1.
    """
    gain = 10 ** ((level_db(x) - level_db(noise) - snr) / 20)
    return x + gain * noise.astype(x.dtype, copy=False)


def reverberate(
    x: np.ndarray, impulse_response: np.ndarray, name: str = "the impulse response", *, aligned: bool = False
) -> np.ndarray:
    """Convolve ``x`` (N,) with ``impulse_response`` (M,), scaled to unit energy.

    The result is the first N samples of the convolution, in the type of ``x``.

    Args:
        name: of the impulse response, for the message.
        aligned: leave out as many samples as lie before the peak of the impulse response, its
            direct sound, as Kaldi's ``wav-reverberate --shift-output`` does. Otherwise the result is
            late by the way of the sound, 3 ms for each metre.

    Raises:
        InputError: if the impulse response is silent.
    """
    from scipy import fft  # start-up: `nes2net.augment` is imported for --help

    h = impulse_response.astype(np.float64)
    energy = float(np.sum(h**2))
    if energy == 0:
        raise InputError(f"{name} is silent and cannot be an impulse response; take it out of its folder")
    h = h[: len(x)] / math.sqrt(energy)  # later samples have no effect on the first N samples
    size = fft.next_fast_len(len(x) + len(h) - 1, real=True)
    y = fft.irfft(fft.rfft(x.astype(np.float64), size) * fft.rfft(h, size), size)
    first = int(np.abs(h).argmax()) if aligned else 0
    return y[first : first + len(x)].astype(x.dtype, copy=False)


def find_noises(root: str | Path) -> dict[str, list[NoiseFile]]:
    """Find the recordings of each category of MUSAN, sorted by their path below ``root``.

    Raises:
        InputError: if the folder or a category is missing or has too few files, or a file has no
            samples.
    """
    root = _folder(root, "MUSAN", "openslr.org/17: it has noise, speech and music in it")
    if (root / "musan").is_dir():
        root = root / "musan"
    found = {name: recordings_below(root / name) for name in CATEGORIES}
    if missing := [name for name, paths in found.items() if not paths]:
        raise InputError(
            f"MUSAN folder {root} has no audio in {', '.join(missing)}; expected {root}/{missing[0]}/**/*.wav "
            "and so on: unpack the whole corpus (openslr.org/17)"
        )
    for name, paths in found.items():
        most = CATEGORIES[name].num_files[1]
        if len(paths) < most:
            raise InputError(
                f"{root / name} has {len(paths)} audio files, at least {most} are needed: complete the corpus"
            )
    return {name: [NoiseFile(path, _checked_length(path)) for path in paths] for name, paths in found.items()}


def find_impulse_responses(root: str | Path) -> list[Path]:
    """Find the audio files at any depth below ``root``, sorted by their path.

    The whole of RIRS_NOISES can be given: its noises are left out. They are the files in
    ``pointsource_noises`` and those with ``_noise_`` in their name, such as
    ``RVB2014_type1_noise_largeroom1_1.wav``. Of a file with several channels the first one is used.

    Raises:
        InputError: if the folder is missing or has no audio, or a file has no samples.
    """
    root = _folder(root, "impulse response", "for example RIRS_NOISES/simulated_rirs of openslr.org/28")
    paths = [
        path
        for path in recordings_below(root)
        if "pointsource_noises" not in path.relative_to(root).parts and "_noise_" not in path.name
    ]
    if not paths:
        raise InputError(
            f"impulse response folder {root} has no audio files of impulse responses, not even in subfolders"
        )
    for path in paths:
        _checked_length(path)
    return paths


def _folder(root: str | Path, what: str, example: str) -> Path:
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{what} folder {root} not found; give the unpacked corpus ({example})")
    return root


def _checked_length(path: Path) -> int:
    from nes2net.audio.read import count_samples  # start-up: `nes2net.augment` is imported for --help

    num_samples = count_samples(path)
    if num_samples == 0:
        raise InputError(f"audio file {path} has no samples; take it out of its folder")
    return num_samples
