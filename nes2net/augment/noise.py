"""Background noise of MUSAN and reverberation by room impulse responses, as in the ASVspoof 5 recipe.

The folders are the user's: MUSAN (Snyder et al., 2015, arXiv 1510.08484, openslr.org/17) and impulse responses, such as
RIRS_NOISES (Ko et al., ICASSP 2017, openslr.org/28). They are looked through once, at the start; of the noises only the
excerpts that are heard are read.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nes2net.audio.crop import head_crop
from nes2net.audio.files import recordings_below
from nes2net.audio.read import count_samples, load_audio, load_excerpt
from nes2net.errors import InputError


class Category(NamedTuple):
    """How noise of one category of MUSAN is mixed in; both ends of a range can be drawn."""

    num_files: tuple[int, int]
    """Files whose mean is the noise."""
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
    """Adds noise of MUSAN to a training utterance, or reverberates it, or leaves it as it is.

    With both folders each is as likely as the other; with one it is always that one; with none nothing is done.

    Args:
        musan: folder of MUSAN, with ``noise``, ``speech`` and ``music`` in it or in its subfolder ``musan``.
        rir: folder of impulse responses, one per file, however deep; see :func:`find_impulse_responses`.
        probability: of an utterance to be changed.

    Raises:
        InputError: a folder or category is missing, too small, or has a file without samples.
    """

    def __init__(
        self, musan: str | Path | None = None, rir: str | Path | None = None, probability: float = 0.5
    ) -> None:
        if not 0 <= probability <= 1:
            raise InputError(f"`noise_probability={probability}` must be a probability from 0 to 1")
        self.probability = probability
        self.noises = None if musan is None else find_noises(musan)
        self.impulse_responses = None if rir is None else find_impulse_responses(rir)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Shape (N,), N ≥ 1, of any float type → the same; ``x`` itself where nothing is done. All draws come from ``rng``.

        Raises:
            InputError: a noise or impulse response cannot be read or used; the message names its file.
        """
        effects = []
        if self.noises:
            effects.append(self._with_background)
        if self.impulse_responses:
            effects.append(self._reverberated)
        if not effects or rng.random() >= self.probability:
            return x
        return effects[rng.integers(len(effects))](x, rng)

    def _with_background(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        name = list(CATEGORIES)[rng.integers(len(CATEGORIES))]
        category, files = CATEGORIES[name], self.noises[name]
        fewest, most = category.num_files
        chosen = rng.choice(len(files), rng.integers(fewest, most + 1), replace=False)
        excerpts = [draw_excerpt(files[i], len(x), rng) for i in chosen]
        return add_noise(x, np.mean(excerpts, axis=0), rng.uniform(*category.snr))

    def _reverberated(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        path = self.impulse_responses[rng.integers(len(self.impulse_responses))]
        return reverberate(x, load_audio(path, channel=0), str(path))


def draw_excerpt(file: NoiseFile, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """``num_samples`` of ``file`` from a place that ``rng`` draws; a shorter file is repeated from its start."""
    spare = file.num_samples - num_samples
    start = int(rng.integers(spare + 1)) if spare > 0 else 0
    return head_crop(load_excerpt(file.path, start, num_samples), num_samples, str(file.path))


def level_db(x: np.ndarray) -> float:
    """The recipe's level, 10·log10(mean(x²) + 10⁻⁴).

    >>> level_db(np.zeros(3))
    -40.0
    """
    return 10 * math.log10(float(np.mean(np.square(x, dtype=np.float64))) + _POWER_FLOOR)


def add_noise(x: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """``x`` plus ``noise``, both (N,), at ``snr`` dB between their levels as :func:`level_db` has them; the type of ``x``.

    The sum is not normalised and may exceed 1.
    """
    gain = 10 ** ((level_db(x) - level_db(noise) - snr) / 20)
    return x + gain * noise.astype(x.dtype, copy=False)


def reverberate(x: np.ndarray, impulse_response: np.ndarray, name: str = "the impulse response") -> np.ndarray:
    """``x`` (N,) through ``impulse_response`` (M,) scaled to unit energy: the first N samples of the convolution; the type of ``x``.

    Raises :class:`InputError` for an impulse response that is silent; ``name`` is what the message calls it.
    """
    from scipy import fft

    h = impulse_response.astype(np.float64)
    energy = float(np.sum(h**2))
    if energy == 0:
        raise InputError(f"{name} is silent and cannot be an impulse response; take it out of its folder")
    h = h[: len(x)] / math.sqrt(energy)  # what comes later than N reaches none of the first N samples
    size = fft.next_fast_len(len(x) + len(h) - 1, real=True)
    y = fft.irfft(fft.rfft(x.astype(np.float64), size) * fft.rfft(h, size), size)
    return y[: len(x)].astype(x.dtype, copy=False)


def find_noises(root: str | Path) -> dict[str, list[NoiseFile]]:
    """The recordings of every category of MUSAN, sorted by their path below ``root``.

    Raises:
        InputError: the folder or a category is missing, has too few files to draw from, or a file has no samples.
    """
    root = _folder(root, "MUSAN", "openslr.org/17: it has noise, speech and music in it")
    if (root / "musan").is_dir():
        root = root / "musan"
    found = {name: recordings_below(root / name) for name in CATEGORIES}
    if missing := [name for name, paths in found.items() if not paths]:
        raise InputError(
            f"MUSAN folder {root} has no audio in {', '.join(missing)}; expected {root}/{missing[0]}/**/*.wav and so on: "
            "unpack the whole corpus (openslr.org/17)"
        )
    for name, paths in found.items():
        most = CATEGORIES[name].num_files[1]
        if len(paths) < most:
            raise InputError(
                f"{root / name} has {len(paths)} audio files, at least {most} are needed: complete the corpus"
            )
    return {name: [NoiseFile(path, _checked_length(path)) for path in paths] for name, paths in found.items()}


def find_impulse_responses(root: str | Path) -> list[Path]:
    """The audio files below ``root``, sorted by their path below it; of a file with several channels the first is used.

    RIRS_NOISES can be given as a whole: what is noise there (``pointsource_noises``, and files with ``_noise_`` in their name, as in
    ``RVB2014_type1_noise_largeroom1_1.wav``) is left out.

    Raises:
        InputError: the folder is missing, has no audio, or a file has no samples.
    """
    root = _folder(root, "impulse response", "for example RIRS_NOISES/simulated_rirs of openslr.org/28")
    paths = [path for path in recordings_below(root) if not _is_noise(path.relative_to(root))]
    if not paths:
        raise InputError(f"impulse response folder {root} has no audio files of impulse responses in it, however deep")
    for path in paths:
        _checked_length(path)
    return paths


def _is_noise(path: Path) -> bool:
    return "pointsource_noises" in path.parts or "_noise_" in path.name


def _folder(root: str | Path, what: str, example: str) -> Path:
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{what} folder {root} not found; give the unpacked corpus ({example})")
    return root


def _checked_length(path: Path) -> int:
    num_samples = count_samples(path)
    if num_samples == 0:
        raise InputError(f"audio file {path} has no samples; take it out of its folder")
    return num_samples
