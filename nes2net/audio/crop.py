"""Crop and pad utterances to the number of samples of training or of a '4sec' protocol."""

from __future__ import annotations

import numpy as np

from nes2net.errors import InputError

#: Samples in training, development and '4sec' scoring on ASVspoof 2019 and 2021.
ASVSPOOF_SAMPLES = 64600
#: Samples in '4sec' scoring on In-the-Wild and in the single-file demo (deviation 3).
IN_THE_WILD_SAMPLES = 64000
#: Samples to which a recording may be repeated, at most: ten minutes. Files from outside may ask for more.
LONGEST_CUT = 600 * 16000


def pieces(length: int, num_samples: int, min_piece: int) -> list[tuple[int, int]]:
    """Cut ``length`` samples into consecutive pieces of ``num_samples``: (first sample, samples).

    A last piece of fewer than ``min_piece`` samples is dropped, unless it is the only one (Wang and
    Yamagishi, Odyssey 2022).

    >>> pieces(10, 4, 2), pieces(9, 4, 2), pieces(1, 4, 2), pieces(0, 4, 2)
    ([(0, 4), (4, 4), (8, 2)], [(0, 4), (4, 4)], [(0, 1)], [])
    """
    cut = [(start, min(num_samples, length - start)) for start in range(0, length, num_samples)]
    return cut[:-1] if len(cut) > 1 and cut[-1][1] < min_piece else cut


def padded(waveform: np.ndarray, num_samples: int) -> np.ndarray:
    """The first ``num_samples``; zeros follow a shorter utterance.

    >>> padded(np.array([1, 2, 3]), 5), padded(np.array([1, 2, 3]), 2)
    (array([1, 2, 3, 0, 0]), array([1, 2]))
    """
    return np.pad(waveform[:num_samples], (0, max(0, num_samples - len(waveform))))


def head_crop(waveform: np.ndarray, num_samples: int, utterance: str = "the waveform") -> np.ndarray:
    """The first ``num_samples``; a shorter utterance is repeated and then cut.

    :class:`InputError`, naming the ``utterance``, if it is empty, or would be repeated to more than
    ten minutes.

    >>> head_crop(np.array([1, 2, 3]), 7)
    array([1, 2, 3, 1, 2, 3, 1])
    """
    length = len(waveform)
    if length == 0:
        raise InputError(f"{utterance} has no samples: nothing to crop or repeat")
    if length >= num_samples:
        return waveform[:num_samples]
    if num_samples > LONGEST_CUT:
        raise InputError(f"{utterance} would be repeated to {num_samples:,} samples; at most {LONGEST_CUT:,} are made")
    return np.tile(waveform, -(-num_samples // length))[:num_samples]


def random_crop(
    waveform: np.ndarray, num_samples: int, rng: np.random.Generator, utterance: str = "the waveform"
) -> np.ndarray:
    """``num_samples`` from a start that ``rng`` draws, all equally likely.

    The last possible start is included; the published ASVspoof 5 code never draws it (deviation
    15). A shorter utterance is treated as in :func:`head_crop`.

    >>> random_crop(np.arange(100), 4, np.random.default_rng(0))
    array([82, 83, 84, 85])
    """
    start = int(rng.integers(len(waveform) - num_samples + 1)) if len(waveform) > num_samples else 0
    return head_crop(waveform[start:], num_samples, utterance)


def random_tiled_crop(
    waveform: np.ndarray, num_samples: int, rng: np.random.Generator, utterance: str = "the waveform"
) -> np.ndarray:
    """The crop of the CtrSVDD recipe: ``num_samples`` from a start that ``rng`` draws.

    An utterance of ``num_samples`` or less is first repeated ⌊``num_samples``/length⌋ + 1 times. As
    published, the last possible start is never drawn, and an utterance of exactly ``num_samples``
    comes out rotated.

    >>> random_tiled_crop(np.arange(3), 7, np.random.default_rng(0))
    array([1, 2, 0, 1, 2, 0, 1])
    """
    length = len(waveform)
    if length == 0:
        return head_crop(waveform, num_samples, utterance)  # raises the error
    if length <= num_samples:
        waveform = np.tile(waveform, num_samples // length + 1)
    start = int(rng.integers(len(waveform) - num_samples))
    return waveform[start : start + num_samples]
