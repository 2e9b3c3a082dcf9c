"""Augment a recording as training does, and draw the waveforms before and after (`nes2net augment`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.columns import spectrogram
from nes2net.data.audio.files import expand_folders
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError, refuse
from nes2net.lib.storage.files import AnyPath
from nes2net.training.augmentation import effects_of
from nes2net.training.dataset import Examples, TrainingSet
from nes2net.training.recipes.augment import AugmentConfig

_COLUMNS = 1500  # about as many as the picture has pixels


def augment(
    file: AnyPath,
    settings: AugmentConfig,
    *,
    speech: str | None = None,
    seed: int = 1234,
    epoch: int = 1,
) -> NDArray:
    """Augment ``file`` as :class:`nes2net.training.dataset.TrainingSet` does in ``epoch``: (N,) float32.

    Args:
        file: a recording, whose name without suffix seeds the stream.
        settings: unlike in training, all conditions are applied, one after another.
        speech: folder of recordings, for babble.

    Raises:
        InputError: if the settings ask for no augmentation, if a file cannot be read, or if no
            effect uses a given folder.
    """
    if speech and not Path(speech).is_dir():
        raise InputError(f"`sources.speech` names {speech}, which is not a folder: name a folder of recordings")
    effects = effects_of(settings, expand_folders([speech]) if speech else (), every=True)
    refuse(
        (
            speech and not any("speech" in effect.needs for effect in effects),
            "`sources.speech` changes nothing, because no `augment.conditions` needs it: remove it",
        ),
        (
            not effects,
            "nothing to do: choose `augment.algo=1` to 11, `augment.speed`, `augment.conditions` or `augment.fir`, or "
            "name a folder with `augment.musan` or `augment.rir`",
        ),
    )
    trial = Trial(Path(file).stem, Path(file))
    return TrainingSet(Examples([trial]), None, effects, seed=seed).prepare(0, epoch)[0]


def plot(file: Path, before: NDArray, after: NDArray, before_title: str, after_title: str) -> None:
    """Draw waveforms (N,) and spectrograms ``before`` and ``after`` an augmentation to the PNG ``file``.

    The waveforms share a scale of amplitude, the spectrograms a scale of level.
    """
    from nes2net.lib.output.pictures import Figure  # imported late: other programs start faster

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    spectrograms = [spectrogram([wave], len(wave) / SAMPLE_RATE, _COLUMNS) for wave in (before, after)]
    top = max(levels.max() for levels in spectrograms)
    titles = (before_title, after_title)
    for waveform_axis, spectrogram_axis, waveform, levels, title in zip(
        axes[0], axes[1], (before, after), spectrograms, titles
    ):
        waveform_axis.plot(np.arange(len(waveform)) / SAMPLE_RATE, waveform, linewidth=0.5)
        waveform_axis.axhline(0, color="grey", linewidth=0.5)
        waveform_axis.set_title(title, fontsize="medium", wrap=True)
        spectrogram_axis.set_xlabel("time in s")
        image = spectrogram_axis.imshow(
            levels,
            origin="lower",
            aspect="auto",
            extent=(0, len(waveform) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000),
            vmin=top - 80,  # dB
            vmax=top,
            cmap="magma",
            interpolation="nearest",
        )
    axes[0, 0].set_ylabel("amplitude")
    axes[1, 0].set_ylabel("frequency in kHz")
    figure.colorbar(image, ax=axes[1], label="level in dB of a full-scale sine")
    figure.savefig(file, dpi=120, format="png")
