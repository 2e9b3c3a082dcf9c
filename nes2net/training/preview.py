"""Augment a recording as training does, and draw the waveforms before and after (`nes2net augment`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.columns import RANGE
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
    from nes2net.scoring.track_plot import draw_spectrogram  # imported late, as above

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    for (amplitudes, levels), waveform, title in zip(axes.T, (before, after), (before_title, after_title)):
        seconds = len(waveform) / SAMPLE_RATE
        amplitudes.plot(np.linspace(0, seconds, len(waveform), endpoint=False), waveform, linewidth=0.5)
        amplitudes.set_title(title, fontsize="medium", wrap=True)
        amplitudes.set_ylabel("amplitude")
        draw_spectrogram(levels, [waveform], (0, seconds), _COLUMNS)
        levels.set_xlabel("time in s")
    images = [levels.images[0] for levels in axes[1]]
    loudest = max(image.get_clim()[1] for image in images)
    for image in images:
        image.set_clim(loudest - RANGE, loudest)
    figure.savefig(file, dpi=120, format="png")
