"""What a listener should know of a recording before its score is believed: silence, clipping, a few milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from nes2net.audio.waveform import SAMPLE_RATE

# Steps of 16 bits up to full scale. What stays below one step would be zeros in such a file.
_STEPS = 32767
# Share of the samples that make a recording silent or constant: a click does not change that.
_NEARLY_ALL = 0.99
# Clipping. The rule is an assumption: it named none of 607 clips of real and synthetic speech, and
# 98 % of them after the loudest 0.3 % of their samples were clipped (91 % after clipping at full
# scale at 44.1 kHz and resampling). At least 0.2 % of the samples, and 10, lie within 1 % of the
# largest one; the next 1 % holds less than 0.3 of that number, as not at the top of a sine; and at
# least a tenth of them have a neighbour like them. Below a level of 1 %, steps look alike.
_AT_TOP, _BELOW_TOP, _SHARE, _FEWEST, _RATIO, _NEIGHBOURS, _QUIET = 0.99, 0.98, 0.002, 10, 0.3, 0.1, 0.01


class Listener:
    """Measures a recording while it is read, for :meth:`remark`; it takes half a megabyte."""

    def __init__(self) -> None:
        self.num_samples, self._sum = 0, 0  # the sum in steps
        self._levels = np.zeros(_STEPS + 1, np.int64)  # how many samples have each absolute value
        self._pairs = np.zeros(_STEPS + 1, np.int64)  # how many neighbours of one sign both reach it

    def heard(self, blocks: Iterable[NDArray]) -> Iterator[NDArray]:
        """Yield ``blocks`` (N,) of a recording in [−1, 1], which are measured."""
        for block in blocks:
            x = (np.clip(block, -1, 1) * _STEPS).astype(np.int64)
            reached = np.minimum(np.abs(x[:-1]), np.abs(x[1:]))
            self.num_samples += len(x)
            self._sum += int(x.sum())
            self._levels += np.bincount(np.abs(x), minlength=_STEPS + 1)
            self._pairs += np.bincount(reached[(x[:-1] > 0) == (x[1:] > 0)], minlength=_STEPS + 1)
            yield block

    def remark(self, trained_on: int, repeated_to: int = 0, length: int | None = None) -> str:
        """What is remarkable about the recording, in words; empty if nothing is.

        Args:
            trained_on: samples that the detector hears at a time in training.
            repeated_to: samples that it gets, if the recording has fewer.
            length: samples of the whole recording, if not all of it was measured.
        """
        remarks, counts = [], self._levels
        if self.num_samples:
            nearly_all, most = _NEARLY_ALL * self.num_samples, int(counts.argmax())
            one_sign = abs(self._sum) >= _NEARLY_ALL * (most - 1) * self.num_samples
            largest = int(np.flatnonzero(counts)[-1])
            top, below = (int(np.ceil(share * largest)) for share in (_AT_TOP, _BELOW_TOP))
            at_top = int(counts[top:].sum())
            if counts[0] >= nearly_all:
                remarks.append("digital silence")
            elif one_sign and counts[max(0, most - 1) : most + 2].sum() >= nearly_all:
                remarks.append("constant: its samples do not change")
            elif (
                largest >= _QUIET * _STEPS
                and at_top >= max(_FEWEST, _SHARE * self.num_samples)
                and counts[below:top].sum() < _RATIO * at_top
                and self._pairs[top:].sum() >= _NEIGHBOURS * at_top
            ):
                remarks.append(f"clipped: {at_top / self.num_samples:.1%} of its samples are at its limit")
        length = self.num_samples if length is None else length
        # An assumption: utterances that training has to repeat more than four times hardly occur in it.
        if length < trained_on / 4:
            lasts = f"lasts {length / SAMPLE_RATE:.2f} s"
            lasts += f", repeated to {repeated_to / SAMPLE_RATE:.2f} s" if repeated_to > length else ""
            remarks.append(f"{lasts}; in training the detector hears {trained_on / SAMPLE_RATE:.2f} s at a time")
        return "; ".join(remarks)


def remark_of(waveform: NDArray, num_samples: int, trained_on: int) -> str:
    """What is remarkable about ``waveform`` (N,), 16 kHz in [−1, 1], as :meth:`Listener.remark`.

    Args:
        num_samples: samples of the whole recording, which was cut or repeated to N.
        trained_on: samples that the detector hears at a time in training.

    >>> remark_of(np.zeros(16000), 16000, 64600), remark_of(np.sin(np.arange(64000)), 64000, 64600)
    ('digital silence; lasts 1.00 s; in training the detector hears 4.04 s at a time', '')
    """
    listener = Listener()
    for _ in listener.heard([waveform[:num_samples]]):
        pass
    return listener.remark(trained_on, len(waveform), num_samples)
