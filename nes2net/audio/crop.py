"""Crop and pad: bringing an utterance to the number of samples that training or a '4sec' protocol asks for."""

from __future__ import annotations

import numpy as np

from nes2net.errors import InputError

#: Samples of training, development and '4sec' scoring on ASVspoof 2019 and 2021.
ASVSPOOF_SAMPLES = 64600
#: Samples of '4sec' scoring on In-the-Wild and of the single-file demo (deviation 3).
IN_THE_WILD_SAMPLES = 64000


#: Which part of an utterance is trained on: its head, or that of :func:`random_crop` or :func:`random_tiled_crop`.
CROPS = ("head", "random", "random_tiled")


def head_crop(waveform: np.ndarray, num_samples: int, utterance: str = "the waveform") -> np.ndarray:
    """The first ``num_samples``; a shorter utterance is repeated whole and then cut.

    Raises :class:`InputError` for an empty utterance, naming it.

    >>> head_crop(np.array([1, 2, 3]), 7)
    array([1, 2, 3, 1, 2, 3, 1])
    """
    length = len(waveform)
    if length == 0:
        raise InputError(f"{utterance} has no samples: nothing to crop or repeat")
    if length >= num_samples:
        return waveform[:num_samples]
    return np.tile(waveform, -(-num_samples // length))[:num_samples]


def random_crop(
    waveform: np.ndarray, num_samples: int, rng: np.random.Generator, utterance: str = "the waveform"
) -> np.ndarray:
    """``num_samples`` from a place of the utterance that ``rng`` draws, each equally likely; a shorter one as in :func:`head_crop`.

    The last possible start is one of them; the published ASVspoof 5 code never draws it (deviation 15).

    >>> random_crop(np.arange(100), 4, np.random.default_rng(0))
    array([82, 83, 84, 85])
    """
    start = int(rng.integers(len(waveform) - num_samples + 1)) if len(waveform) > num_samples else 0
    return head_crop(waveform[start:], num_samples, utterance)


def random_tiled_crop(
    waveform: np.ndarray, num_samples: int, rng: np.random.Generator, utterance: str = "the waveform"
) -> np.ndarray:
    """The crop of the CtrSVDD recipe: one of ``num_samples`` or less is first repeated ⌊``num_samples``/length⌋ + 1 times.

    The start is drawn from all but the last possible one, as published; an utterance of exactly ``num_samples`` comes out rotated.

    >>> random_tiled_crop(np.arange(3), 7, np.random.default_rng(0))
    array([1, 2, 0, 1, 2, 0, 1])
    """
    length = len(waveform)
    if length == 0:
        return head_crop(waveform, num_samples, utterance)  # says what is wrong
    if length <= num_samples:
        waveform = np.tile(waveform, num_samples // length + 1)
    start = int(rng.integers(len(waveform) - num_samples))
    return waveform[start : start + num_samples]
