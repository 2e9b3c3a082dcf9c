"""Prepare a recording as training would hear it, and draw it: what `nes2net augment` does, for Python too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from nes2net.audio.files import with_folders_listed
from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.augment import NoiseAugmentation, RawBoostParameters
from nes2net.augment.fir import LowPass
from nes2net.augment.rawboost import ALGORITHMS
from nes2net.conditions.augmentation import InOrder
from nes2net.conditions.base import Sources
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError
from nes2net.recipes.augment import AugmentConfig
from nes2net.registry import create_condition
from nes2net.training.augmentation import Augmentation
from nes2net.training.dataset import Examples, TrainingSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_WINDOW = 512  # samples: 32 ms
_SPECTRUM_COLUMNS, _WAVEFORM_COLUMNS = 1500, 2000  # more than these would fall on one pixel
_DYNAMIC_RANGE = 80  # dB


@dataclass(frozen=True)
class Augmentations:
    """What may happen to a recording."""

    algo: int = 0
    """RawBoost algorithm 0 (none) to 11."""
    parameters: RawBoostParameters | None = None
    speed: Sequence[float] | None = None
    """The lowest and the highest speed."""
    musan: str | None = None
    rir: str | None = None
    """Folders of background noise and of room impulse responses."""
    noise_probability: float | None = None
    """Of background noise or reverberation; None for 0.5, and for 0 with ``conditions``."""
    conditions: Sequence[str] = ()
    """Conditions ``NAME:STRENGTH``, one after the other."""
    speech: str | None = None
    """Folder of recordings, for the condition babble."""
    fir: Literal["telephone", "wide"] | None = None
    fir_probability: float = 0.5
    """Low-pass filter of this band, and its probability."""


def augment(
    file: str | Path,
    what: Augmentations,
    *,
    seed: int = 1234,
    epoch: int = 1,
    num_samples: int | None = None,
    crop: Literal["head", "random"] = "head",
) -> np.ndarray:
    """Prepare ``file`` as :class:`nes2net.training.dataset.TrainingSet` does for this seed and epoch; (N,) float32.

    Args:
        file: its name without suffix is the utterance id, which seeds the random stream.
        num_samples: crop to this length; None for all.

    Raises:
        InputError: if there is nothing to do, a number is out of its range, a file cannot be read, or a folder
            changes nothing.
    """
    if what.algo not in ALGORITHMS:
        raise InputError(f"`algo` is 0 (no RawBoost) to {ALGORITHMS[-1]}, not {what.algo}")
    if not (what.algo or what.speed or what.musan or what.rir or what.conditions or what.fir or num_samples):
        raise InputError(
            "nothing to do: choose `algo=1` to 11, `speed`, `conditions` or `fir`, or name a folder with `musan` or "
            "`rir`"
        )
    AugmentConfig(speed=what.speed)  # type: ignore[arg-type]  # checks it
    probability = what.noise_probability
    if probability is None:
        probability = 0.0 if what.conditions else 0.5
    musan, rir = (what.musan, what.rir) if probability or not what.conditions else (None, None)
    if what.speech and not Path(what.speech).is_dir():
        raise InputError(f"`speech`: there is no folder {what.speech}")
    sources = Sources(
        Path(what.musan) if what.musan else None,
        Path(what.rir) if what.rir else None,
        with_folders_listed([what.speech]) if what.speech else (),
    )
    conditions = [create_condition(text, sources) for text in what.conditions]
    for name in ("musan", "rir", "speech"):
        used = any(name in condition.needs for condition in conditions) or (probability and name != "speech")
        if getattr(what, name) and not used:
            raise InputError(
                f"`{name}` changes nothing, because no `conditions` needs it: leave it out"
                + ("" if name == "speech" else ", or give `noise_probability`")
            )
    augmentation = Augmentation(
        what.speed,
        NoiseAugmentation(musan, rir, probability),
        what.algo,
        what.parameters,
        InOrder(conditions) if conditions else None,
        LowPass(what.fir, what.fir_probability) if what.fir else None,
    )
    trial = Trial(Path(file).stem, Path(file))
    return TrainingSet(Examples([trial]), num_samples, augmentation, seed=seed, crop=crop).prepare(0, epoch)[0]


def plot(file: Path, before: np.ndarray, after: np.ndarray, before_title: str, after_title: str) -> None:
    """Draw both waveforms (N,) with their spectrograms below them, on common scales, to the PNG ``file``."""
    from matplotlib.figure import Figure  # for start-up time: training draws nothing

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    spectrograms = [spectrogram_db(waveform) for waveform in (before, after)]
    top = max(s.max() for s in spectrograms)
    for column, (waveform, title) in enumerate(((before, before_title), (after, after_title))):
        _draw_waveform(axes[0, column], waveform)
        image = _draw_spectrogram(axes[1, column], spectrograms[column], waveform, top)
        axes[0, column].set_title(title, fontsize="medium", wrap=True)
    axes[0, 0].set_ylabel("amplitude")
    axes[1, 0].set_ylabel("frequency in kHz")
    figure.colorbar(image, ax=axes[1], label="level in dB of a full-scale sine")
    figure.savefig(file, dpi=120, format="png")


def spectrogram_db(waveform: np.ndarray) -> np.ndarray:
    """Compute the level of ``waveform`` (N,) in dB of a full-scale sine, (frequencies, frames); Hann windows of 32 ms."""
    window = np.hanning(_WINDOW + 1)[:-1]
    padded = np.pad(waveform.astype(np.float64), _WINDOW // 2)
    hop = max(_WINDOW // 4, len(waveform) // _SPECTRUM_COLUMNS)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::hop]
    magnitude = np.abs(np.fft.rfft(frames * window)).T / (window.sum() / 2)
    return 20 * np.log10(np.maximum(magnitude, 1e-6))


def _draw_waveform(axes: Axes, waveform: np.ndarray) -> None:
    """Draw the band between the smallest and the largest sample of each column, whatever the length."""
    starts = np.unique(np.linspace(0, len(waveform), _WAVEFORM_COLUMNS, endpoint=False).astype(int))
    low, high = np.minimum.reduceat(waveform, starts), np.maximum.reduceat(waveform, starts)
    axes.fill_between(starts / SAMPLE_RATE, low, high, linewidth=0.5, edgecolor="C0")
    axes.axhline(0, color="grey", linewidth=0.5)


def _draw_spectrogram(axes: Axes, levels: np.ndarray, waveform: np.ndarray, top: float) -> AxesImage:
    seconds = len(waveform) / SAMPLE_RATE
    axes.set_xlabel("time in s")
    return axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, SAMPLE_RATE / 2000),
        vmin=top - _DYNAMIC_RANGE,
        vmax=top,
        cmap="magma",
        interpolation="nearest",
    )
