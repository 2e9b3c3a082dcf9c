"""Many files to scores, in their order: threads read ahead, equal lengths share a batch."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch

from nes2net.data.audio.remarks import Channels, Remark, remark_of
from nes2net.lib.errors import InputError
from nes2net.scoring.batches import default_workers
from nes2net.scoring.decisions.population import Traits
from nes2net.scoring.heard import length_of_training
from nes2net.scoring.kernel import (
    Result,
    Scorer,
    check_takes_audio_alone,
    chosen_batch_size,
    score_batch,
)
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.waveforms import Recording, WaveformReader

#: What to do with a file that cannot be scored: "raise", or a function to call with its path and
#: the error.
OnError: TypeAlias = Literal["raise"] | Callable[[Any, InputError], object]

# How many batches' worth of files are read ahead, and in how many of them files of one length are
# searched. The rest are still being read while a batch is computed.
_AHEAD, _LOOKED_AT = 6, 4
# Limits for hours of audio: the most bytes of samples to hold, and the assumed ratio of samples to
# file size for a file that has not been read yet.
_AHEAD_BYTES, _EXPANSION = 1 << 29, 16


class ScoredFile(NamedTuple):
    """A file and its score."""

    path: str | Path
    score: float
    num_samples: int
    """Samples of the whole recording at 16 kHz."""
    judged: float
    """Share of the recording that the detector got."""
    remark: Remark
    """What is remarkable about it."""
    traits: Traits | None = None
    """What was measured of it; None if nothing was."""


def score_files(
    scorer: Scorer,
    paths: Iterable[str | Path],
    num_samples: int | None = None,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    on_error: OnError = "raise",
    longest: int | None = None,
    measurer: Measurer | None = None,
) -> Iterator[ScoredFile]:
    """Score files lazily, in the order of ``paths``, which may be endless.

    Only files that give the detector the same number of samples share a batch, so each score equals
    the one computed alone, to 1e-6.

    Args:
        num_samples: see :class:`~nes2net.scoring.waveforms.WaveformReader`.
        batch_size: largest number of files that are computed at once; None for 8 on a CPU and 64 on
            a GPU.
        workers: threads that read files; None for a number that suits the device.
        on_error: ``"raise"`` raises :class:`InputError`, which names the file, after the scores of
            the files before it. A function is called with the path and the error, and the file is
            skipped.
        longest: samples at 16 kHz; a longer whole recording fails with
            :class:`~nes2net.data.audio.read.LongAudio`, without being read to its end.
        measurer: measures the recordings too, in the reading threads and batches.

    Raises:
        InputError: if an argument is out of its range.
    """
    if isinstance(paths, (str, Path)):
        raise InputError(
            f"score_files takes several paths; for {paths} alone there is score(), or give [{str(paths)!r}]"
        )
    batch_size = chosen_batch_size(scorer, batch_size)
    workers = max(2, default_workers(scorer.computes_on)) if workers is None else workers
    if workers < 1:
        raise InputError(f"`workers` is at least 1, not {workers}")
    if on_error != "raise" and not callable(on_error):
        raise InputError(f"`on_error` is 'raise' or a function of a path and an error, not {on_error!r}")
    check_takes_audio_alone(scorer)
    reader = WaveformReader.of(scorer, num_samples, longest)
    trained_on = length_of_training(scorer.record)

    def read(path: str | Path) -> _Read:
        recording = reader.read(path, channels=Channels(reader.num_samples))
        remark = remark_of(recording.waveform, recording.num_samples, recording.channels, trained_on)
        traits = measurer.measured(recording, remark) if measurer else None
        return recording, traits, remark

    def in_order(paths: Iterator[str | Path]) -> Iterator[ScoredFile]:
        with ThreadPoolExecutor(workers, thread_name_prefix="nes2net-read") as pool:
            waiting: deque[_File] = deque()
            try:
                while True:
                    while len(waiting) < _AHEAD * batch_size and sum(file.size for file in waiting) < _AHEAD_BYTES:
                        try:
                            path = next(paths)
                        except StopIteration:
                            break
                        waiting.append(_File(path, pool.submit(read, path)))
                    if not waiting:
                        return
                    first = waiting[0]
                    if first.result is None:
                        files = list(islice(waiting, _LOOKED_AT * batch_size))
                        _score_with_equal_lengths(scorer, files, batch_size, measurer)
                    waiting.popleft()
                    assert first.result is not None
                    if not isinstance(first.result, InputError):
                        yield ScoredFile(
                            first.path, first.result, first.num_samples, first.judged, first.remark, first.traits
                        )
                    elif callable(on_error):
                        on_error(first.path, first.result)
                    else:
                        raise first.result
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    return in_order(iter(paths))


#: A recording, what was measured of it, and what is remarkable about it.
_Read: TypeAlias = tuple[Recording, Traits | None, Remark]


class _File:
    """A file that is being read.

    It holds its waveform until it has a ``result``: a score or an error.
    """

    def __init__(self, path: str | Path, recording: Future[_Read]) -> None:
        self.path, self._recording = path, recording
        self.result: float | InputError | None = None
        self.traits: Traits | None = None
        self.num_samples = 0
        self.judged = 1.0
        self.remark = Remark()
        try:
            self._guess = _EXPANSION * os.path.getsize(path)
        except (OSError, ValueError, TypeError):
            self._guess = 0  # reading it will give the error

    @property
    def size(self) -> int:
        """Bytes of the samples that it holds; a guess before it has been read."""
        if self.result is not None:
            return 0
        read = self._recording.done() and self._recording.exception() is None
        return self._recording.result()[0].waveform.nbytes if read else self._guess

    def waveform(self) -> np.ndarray | None:
        """Wait for its samples (N,); None if it could not be read: the error is then its result."""
        try:
            recording, self.traits, self.remark = self._recording.result()
            self.num_samples = recording.num_samples
            self.judged = recording.judged
            return recording.waveform
        except InputError as error:
            self._finish(error)
        except Exception as error:  # a decoder can raise anything on a damaged file
            self._finish(InputError(f"{self.path} could not be read ({type(error).__name__}: {error})"))
        return None

    def take(self, result: Result) -> None:
        """Set its result: a score, or the reason why that is missing."""
        self._finish(InputError(f"{self.path}: {result}") if isinstance(result, str) else result)

    def _finish(self, result: float | InputError) -> None:
        self.result = result
        del self._recording  # the samples are not needed any more


def _score_with_equal_lengths(scorer: Scorer, files: list[_File], batch_size: int, measurer: Measurer | None) -> None:
    """Score the first of ``files`` with others of its length, and give each one its result."""
    first = files[0].waveform()
    if first is None:
        return
    batch, waveforms = [files[0]], [first]
    for file in files[1:]:
        if len(batch) == batch_size:
            break
        if file.result is None and (other := file.waveform()) is not None and len(other) == len(first):
            batch.append(file)
            waveforms.append(other)
    stacked = np.stack(waveforms)
    if measurer:
        traits = measurer.with_embeddings([file.traits for file in batch if file.traits], stacked)
        for file, found in zip(batch, traits, strict=True):
            file.traits = found
    for file, result in zip(batch, score_batch(scorer, torch.from_numpy(stacked))):
        file.take(result)
