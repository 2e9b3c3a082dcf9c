"""Judge many files in order: threads read files ahead, and files of equal length share a batch."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from io import IOBase
from itertools import islice
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch

from nes2net.data.audio.packed import whole_of
from nes2net.data.audio.remarks import Remark, remark_of
from nes2net.data.audio.sources import Audio
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.errors import InputError, check_setting, short_repr
from nes2net.lib.parts.contracts import check_rows
from nes2net.scoring.batches import default_workers
from nes2net.scoring.decisions.population import Traits
from nes2net.scoring.judged import AnyAnswer, Failed, Judged
from nes2net.scoring.judgement import Judgement
from nes2net.scoring.kernel import Scorer, check_takes_audio_alone, choose_batch_size, scoring_mode
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.score_length import length_of_training
from nes2net.scoring.waveforms import Recording, RecordingToJudge, WaveformReader

T = TypeVar("T")

# Files for _AHEAD batches are read ahead; a batch takes only files of the first _LOOKED_AT batches, so that others are
# still read while it is computed.
_AHEAD = 6
_LOOKED_AT = 4
# Limits for long recordings.
_AHEAD_BYTES = 1 << 29  # largest number of bytes of samples that are held in memory
_EXPANSION = 16  # bytes of samples that are assumed for each byte of an unread file


def judge_files(
    scorer: Scorer,
    judgement: Judgement[T],
    sources: Iterable[Audio | RecordingToJudge],
    num_samples: int | None = None,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    longest: int | None = None,
    measurer: Measurer | None = None,
) -> Iterator[AnyAnswer[T]]:
    """Judge recordings, and yield the results in the same order.

    ``sources`` may be endless: they are taken only as results are taken. Only files that give the
    detector equally many samples share a batch, so each value is within 1e-6 of the value for the
    file alone.

    Args:
        num_samples: leading samples to judge; None for whole recordings.
        longest: samples at 16 kHz; a longer whole recording fails with
            :class:`~nes2net.data.audio.read.LongAudio`, without being read to its end.

    Raises:
        InputError: if an argument is out of its range, or ``scorer`` cannot make this judgement.
    """
    if isinstance(sources, (str, Path, bytes, IOBase)):
        shown_source = short_repr(sources)
        raise InputError(
            f"score_files requires several paths, not only {shown_source}: use score() for one recording, or give [{shown_source}]"
        )
    batch_size = choose_batch_size(scorer, batch_size)
    if workers is None:
        workers = max(2, default_workers(scorer.computes_on))
    check_setting("workers", workers, workers >= 1, "at least 1")
    check_takes_audio_alone(scorer)
    reader = judgement.reader(WaveformReader.of(scorer, num_samples, longest))
    trained_on = length_of_training(scorer.provenance)
    batches = _Batches(scorer, judgement.fit_to(scorer), reader, trained_on, batch_size, measurer)
    return _judge_in_order(batches, iter(sources), workers)


def _judge_in_order(
    batches: _Batches[T], sources: Iterator[Audio | RecordingToJudge], workers: int
) -> Iterator[AnyAnswer[T]]:
    # Threads read ``waiting``, in the order of ``sources``; a file leaves it when its result is yielded, even if an
    # earlier file's batch has judged it.
    most_waiting = _AHEAD * batches.batch_size
    with ThreadPoolExecutor(workers, thread_name_prefix="nes2net-read") as pool:
        waiting: deque[_File[T]] = deque()
        try:
            while True:
                while len(waiting) < most_waiting and sum(file.size for file in waiting) < _AHEAD_BYTES:
                    try:
                        recording = next(sources)
                    except StopIteration:
                        break
                    source = recording
                    if not isinstance(source, RecordingToJudge):
                        source = RecordingToJudge(recording, "")  # for its name; a thread decodes the recording
                    waiting.append(_File(source, pool.submit(copy_context().run, batches.read, recording)))
                if not waiting:
                    return
                # Judge the first file, unless an earlier file's batch contained this file.
                if waiting[0].judged is None:
                    batches.judge(list(islice(waiting, _LOOKED_AT * batches.batch_size)))
                judged = waiting.popleft().judged
                assert judged is not None  # :meth:`_Batches.judge` always judges the first file
                yield judged
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _ReadFile(NamedTuple):
    """A recording with its remarks and traits."""

    recording: Recording
    remark: Remark
    traits: Traits | None


class _File(Generic[T]):
    """A file that a thread reads, and that then waits to be judged.

    Holds the samples until :attr:`judged` is set.
    """

    def __init__(self, source: RecordingToJudge, reading: Future[_ReadFile]) -> None:
        self.source = source
        self.judged: AnyAnswer[T] | None = None  # None until then
        self._reading = reading
        try:
            self._estimated_bytes = _EXPANSION * os.path.getsize(whole_of(source.recording))
        except (OSError, ValueError, TypeError):
            self._estimated_bytes = 0  # the thread that reads the file will report the error

    @property
    def size(self) -> int:
        """Bytes of the held samples; an estimate before the file is read."""
        if self.judged is not None:
            return 0
        if self._reading.done() and self._reading.exception() is None:
            return self._reading.result().recording.waveform.nbytes
        return self._estimated_bytes

    def read(self) -> _ReadFile | None:
        """Wait until the file is read; if reading fails, store the error as the result, and return None."""
        try:
            return self._reading.result()
        except InputError as error:
            failure = error
        except Exception as error:  # a decoder can raise any error on a damaged file
            failure = InputError(f"could not be read ({type(error).__name__}: {error})", subject=str(self.source))
            failure.__cause__ = error
        self.finish(Failed(self.source.recording, failure))
        return None

    def finish(self, judged: AnyAnswer[T]) -> None:
        """Store the result, and free the memory of the samples."""
        self.judged = judged
        del self._reading  # the reading task holds the samples


@dataclass(frozen=True)
class _Batches(Generic[T]):
    """Judges files of equal length as one batch."""

    scorer: Scorer
    judgement: Judgement[T]
    reader: WaveformReader
    trained_on: int
    """Training crop in samples."""
    batch_size: int
    measurer: Measurer | None

    def read(self, source: Audio | RecordingToJudge) -> _ReadFile:
        """Read and measure a recording, in a thread."""
        if not isinstance(source, RecordingToJudge):
            source = RecordingToJudge.of(source)
        if self.measurer and self.measurer.encoder:
            source = source.whole()
        recording = self.reader.read_source(source)
        remark = remark_of(recording.plain, recording.num_samples, recording.channels, self.trained_on)
        traits = None
        if self.measurer:
            traits = self.measurer.with_voice(self.measurer.measure(recording, remark), source)
        return _ReadFile(recording, remark, traits)

    def judge(self, files: list[_File[T]]) -> None:
        """Judge the first file with others of its length; store their results."""
        first = files[0].read()
        if first is None:  # if the file could not be read, its result is the error
            return
        batch = [(files[0], first)]
        for file in files[1:]:
            if len(batch) == self.batch_size:
                break
            read_file = file.read() if file.judged is None else None
            if read_file is not None and len(read_file.recording.waveform) == len(first.recording.waveform):
                batch.append((file, read_file))
        waveforms = np.stack([read.recording.waveform for _, read in batch])
        traits = [read.traits for _, read in batch]
        if self.measurer:
            traits = list(
                self.measurer.with_embeddings([measured for measured in traits if measured], waveforms)
            )  # no trait is None then
        with scoring_mode(self.scorer):
            values = self.judgement.start(self.scorer, [torch.from_numpy(waveforms)])()
        check_rows(values, len(batch), "the judgement")
        for (file, read), measured, value in zip(batch, traits, values):
            if isinstance(value, str):
                file.finish(Failed(file.source.recording, InputError(value, subject=f"{file.source}:")))
                continue
            recording = read.recording
            judged = Judged(
                file.source.recording,
                self.judgement,
                value,
                recording.num_samples / SAMPLE_RATE,
                recording.judged,
                read.remark,
                self.reader.num_judged(recording.num_samples),
                measured,
            )
            file.finish(judged)
