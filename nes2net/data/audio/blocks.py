"""Process a recording that arrives in blocks, by stages, each one step such as a filter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

from nes2net.data.audio.remarks import Channels
from nes2net.data.audio.waveform import (
    SAMPLE_RATE,
    SOXR_QUALITY,
    check_rate,
    check_samples,
    mean_of_channels,
    pre_emphasised,
)
from nes2net.lib.errors import InputError

_Item = TypeVar("_Item", contravariant=True)
_Result = TypeVar("_Result", covariant=True)


class Stage(Protocol[_Item, _Result]):
    """A step of processing that takes pieces of a recording as they arrive, and returns results."""

    def push(self, item: _Item, /) -> Iterable[_Result]:
        """Take the next piece; return the results that it completes."""

    def finish(self) -> Iterable[_Result]:
        """Return the last results, at the end of the recording."""


def push_all(items: Iterable[_Item], stage: Stage[_Item, _Result]) -> Iterator[_Result]:
    """Push all ``items`` into ``stage``, then finish it; yield all results."""
    for item in items:
        yield from stage.push(item)
    yield from stage.finish()


def pre_emphasise(blocks: Iterable[NDArray], coefficient: float) -> Iterator[NDArray]:
    """Apply :func:`nes2net.data.audio.waveform.pre_emphasised` to a recording in ``blocks`` (N,).

    >>> [block.tolist() for block in pre_emphasise([np.array([1.0, 2.0]), np.array([4.0])], 0.5)]
    [[1.0, 1.5], [3.0]]
    """
    before: NDArray = np.zeros(0)  # (1,): the last sample of the blocks so far; empty at the start
    for block in blocks:
        if coefficient == 0 or not len(block):
            yield block
            continue
        joined = np.concatenate([before.astype(block.dtype), block])
        yield pre_emphasised(joined, coefficient)[len(before) :]
        before = block[-1:].copy()


class BlocksAt16k:
    """A :class:`Stage` that averages channels and resamples to 16 kHz, block by block.

    Equals ``librosa.load``: soxr resamples in high quality, and a sample of 0 is appended if soxr
    returns one less than expected.

    Args:
        subject: the beginning of error messages.
        channels: if given, is reset, then compares the channels before they are averaged.
        start: time of the first sample in the recording, in seconds, for messages.
    """

    def __init__(self, subject: str = "audio", channels: Channels | None = None, start: float = 0.0) -> None:
        self._subject = subject
        self._channels = channels
        self._seconds = start  # with the duration of all blocks so far
        self._rate: float = SAMPLE_RATE
        self._resampler: soxr.ResampleStream | None = None
        self._num_read = 0  # samples pushed at ``_rate`` since the rate last changed
        self._num_returned = 0  # samples at 16 kHz that were returned since the rate last changed
        if channels is not None:
            channels.reset()

    def push(self, block: tuple[NDArray, float]) -> list[NDArray]:
        """Take samples (channels, N) or (N,) and their rate in Hz; return blocks (M,) at 16 kHz.

        If the rate changes, the following samples are resampled separately.

        Raises:
            InputError: if the rate is impossible, if the samples have another shape, or if a sample
                is not audio (:func:`nes2net.data.audio.waveform.check_samples`).
        """
        samples, rate = block
        blocks: list[NDArray] = []
        # If the rate changes, finish the resampler of the old rate.
        if rate != self._rate:
            check_rate(rate, self._subject)
            if self._num_read:
                blocks = self.finish()
            self._rate = rate
        check_samples(samples, rate, self._subject, self._seconds)
        mono = mean_of_channels(samples)
        if not len(mono):
            return blocks
        if self._channels is not None:
            self._channels.push(samples, rate)
        self._num_read += len(mono)
        self._seconds += len(mono) / rate
        if rate != SAMPLE_RATE:
            if self._resampler is None:
                self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality=SOXR_QUALITY)
            mono = self._resampler.resample_chunk(mono)
        self._num_returned += len(mono)
        if len(mono):
            blocks.append(np.ascontiguousarray(mono, np.float32))
        return blocks

    def finish(self) -> list[NDArray]:
        """Return the samples that the resampler held back.

        Raises:
            InputError: if no samples were pushed.
        """
        if not self._num_read:
            raise InputError("has no samples: replace or remove it", subject=self._subject)
        blocks = []
        if self._resampler is not None:
            # soxr now returns the last samples. If soxr returns fewer samples than expected, zeros are appended.
            num_resampled = math.ceil(self._num_read * (SAMPLE_RATE / self._rate))  # librosa's floating-point formula
            missing = num_resampled - self._num_returned
            tail = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)[:missing]
            if missing > 0:
                blocks.append(np.pad(tail, (0, missing - len(tail))))
        self._resampler = None
        self._num_read = 0
        self._num_returned = 0
        return blocks
