"""Score audio while it arrives: cut the audio into windows, batch the windows, and score each window.

A recording in a file is scored in the same way (:func:`nes2net.scoring.track.score_track`); its
blocks are pushed while the file is read.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from nes2net.data.audio.blocks import BlocksAt16k
from nes2net.data.audio.remarks import Channels, Listener, Remark
from nes2net.data.audio.sources import checked_rate, samples_of
from nes2net.data.audio.waveform import SAMPLE_RATE, check_rate, check_samples, pre_emphasised
from nes2net.lib.errors import InputError
from nes2net.scoring.kernel import Scorer, check_takes_audio_alone, chosen_batch_size, score_or_raise
from nes2net.scoring.score_length import length_of_training

#: Length in seconds of the longest hole in a stream that is filled with zeros. A longer hole breaks the stream.
LONGEST_FILLED = 0.1


class Window(NamedTuple):
    """A piece of a recording that is scored at once."""

    start: int
    """Number of the window's first sample in the recording."""
    samples: np.ndarray
    """(N,) float32."""
    is_last: bool
    """Whether the recording ends with this window."""


class HeldSamples:
    """The latest samples of a recording that arrives: from sample number ``first`` to the sample before ``end``."""

    def __init__(self) -> None:
        """Begin without samples."""
        self.first = 0
        self.end = 0
        self._blocks: list[np.ndarray] = []

    def append(self, block: np.ndarray) -> None:
        """Add the next samples (N,) of the recording."""
        self._blocks.append(block)
        self.end += len(block)
        if len(self._blocks) > _MOST_BLOCKS:
            self._blocks = [np.concatenate(self._blocks)]

    def cut(self, start: int, length: int) -> np.ndarray:
        """Return the ``length`` samples that begin at sample number ``start``, as a view of the held samples."""
        if len(self._blocks) > 1:
            self._blocks = [np.concatenate(self._blocks)]
        return self._blocks[0][start - self.first : start - self.first + length]

    def drop(self, first: int) -> None:
        """Forget the samples before number ``first``."""
        if first > self.first:
            # Keep a copy, because a view would keep all samples in memory.
            self._blocks = [self.cut(first, self.end - first).copy()]
            self.first = first


_MOST_BLOCKS = 64  # if more blocks than this are held, they are joined in one array


class SlidingWindows:
    """Cuts a recording into windows of ``length`` samples while it arrives; a window begins every ``hop`` samples.

    The last window ends with the recording. If a recording is shorter than a window, the whole
    recording is one window. At most the samples of two windows and the pushed block are held in
    memory. The class is a :class:`nes2net.data.audio.blocks.Stage`.

    >>> windows = SlidingWindows(4, 3)
    >>> [(w.start, "".join(w.samples)) for w in (*windows.push(np.array(list("abcdefghi"))), *windows.finish())]
    [(0, 'abcd'), (3, 'defg'), (5, 'fghi')]
    """

    def __init__(self, length: int, hop: int) -> None:
        """Begin a recording; ``length`` and ``hop`` are in samples."""
        self._length = length
        self._hop = hop
        self._held = HeldSamples()
        self._start = 0  # number of the first sample of the next window

    def push(self, block: np.ndarray) -> Iterator[Window]:
        """Take the next samples (N,); yield the windows that are now complete."""
        samples = self._held
        samples.append(block)
        is_complete = self._start + self._length <= samples.end
        while self._start + self._length <= samples.end:
            window = Window(self._start, samples.cut(self._start, self._length), False)
            self._start += self._hop
            yield window
        # Keep the last ``length`` samples, even those before ``self._start``, because the recording may end here. The
        # last window then consists of these samples.
        if is_complete or samples.end - samples.first >= 2 * self._length:
            samples.drop(min(self._start, samples.end - self._length))

    @property
    def is_short(self) -> bool:
        """Whether less than a window was pushed so far."""
        return self._held.end < self._length

    def finish(self) -> Iterator[Window]:
        """Yield the last window, unless a window that ends with the recording was yielded already."""
        end = self._held.end
        if self._start == 0:
            yield Window(0, self._held.cut(0, end), True)
        elif self._start - self._hop + self._length < end:
            yield Window(end - self._length, self._held.cut(end - self._length, self._length), True)


class Batches:
    """Puts arriving windows of equal length into batches; a :class:`nes2net.data.audio.blocks.Stage`.

    Args:
        size: largest number of windows in a batch.
    """

    def __init__(self, size: int) -> None:
        """Begin with an empty queue of windows."""
        self._size = size
        self._waiting: list[Window] = []

    def push(self, window: Window) -> Iterator[list[Window]]:
        """Take the next window; yield the batches that are now complete.

        A batch that waits is also complete if the next window has a different length.
        """
        if self._waiting and len(self._waiting[0].samples) != len(window.samples):
            yield from self.finish()
        self._waiting.append(window)
        if len(self._waiting) == self._size:
            yield from self.finish()

    def finish(self) -> Iterator[list[Window]]:
        """Yield the waiting windows as a last batch, if there are any."""
        batch = self._waiting
        self._waiting = []
        if batch:
            yield batch


class WaitingBatch(NamedTuple):
    """Windows of a stream that wait to be scored together."""

    piece_start: float
    """Start of the piece of which the windows are cut, in seconds of the stream."""
    windows: list[Window]

    @property
    def start(self) -> float:
        """Start of the first window in the stream, in seconds."""
        return self.piece_start + self.windows[0].start / SAMPLE_RATE

    @property
    def end(self) -> float:
        """End of the last window in the stream, in seconds."""
        last = self.windows[-1]
        return self.piece_start + (last.start + len(last.samples)) / SAMPLE_RATE


class Scored(NamedTuple):
    """The score of a window; higher means more bona fide."""

    start: float
    """Start of the window in the stream, in seconds."""
    end: float
    """End of the window in the stream, in seconds."""
    score: float
    """The score of the window."""


class Stream:
    """Scores audio while it arrives, for :meth:`nes2net.Detector.stream`.

    A stream must be used by one thread only; several streams may share a detector. There is one
    exception: a thread may cut windows by :meth:`take` and :meth:`end`, while another thread scores
    them by :meth:`score`.

    Args:
        scorer: the detector.
        sample_rate: rate of the pushed samples in Hz.
        window: length of a window in seconds; None for the length of the detector's training crops.
        hop: seconds from the start of a window to the start of the next window.
        batch_size: number of windows that are computed at once; a window waits until its batch is
            complete. None for 8 on a CPU and 64 on a GPU.
        channels: the comparison of the recording's channels, if the channels are averaged before
            samples are pushed. None to compare the channels of the pushed samples.
        progress: function that is called after each batch, with the end of its last window in
            seconds.

    Raises:
        InputError: if the window is too short for the detector, or if another number is out of its
            range.
    """

    def __init__(
        self,
        scorer: Scorer,
        sample_rate: float,
        *,
        window: float | None = None,
        hop: float = 0.5,
        batch_size: int | None = 1,
        channels: Channels | None = None,
        progress: Callable[[float], object] | None = None,
    ) -> None:
        """Check the numbers, and begin the stream at 0 s."""
        check_takes_audio_alone(scorer)
        self._scorer = scorer
        self._rate = checked_rate(sample_rate)
        check_rate(self._rate, "the stream")
        self._trained_on = length_of_training(scorer.provenance)
        seconds = self._trained_on / SAMPLE_RATE if window is None else window
        self._length, self._hop = window_samples(scorer, seconds, hop)
        self._batch_size = chosen_batch_size(scorer, batch_size)
        self._progress = progress
        self.filled = 0.0
        """Seconds of short holes that were filled with zeros."""
        self._listener = Listener(channels)
        self._at_16k = BlocksAt16k("the stream", None if channels else self._listener.channels)
        self.waiting: deque[WaitingBatch] = deque()
        """Batches that are not scored yet."""
        self._scored: list[Scored] = []  # scores that no call has returned yet
        self._is_finished = False
        self._begin_piece(0.0)

    def push(self, samples: Any, time: float | None = None) -> list[Scored]:
        """Take the next samples; return the scores of the batches that are now complete.

        Args:
            samples: floating-point numbers (N,) or (channels, N) in [−1, 1], on any device; N may
                be 0.
            time: time of the first sample in the stream, in seconds; None if the samples follow
                without a hole. A hole of up to 0.1 s is filled with zeros. A longer hole breaks the
                stream: no window contains such a hole, and new windows begin after the hole.

        Raises:
            InputError: if the samples are not audio in [−1, 1] (the message states the time), or
                ``time`` goes back by more than 0.1 s; the samples are then not taken. An error
                is also raised if a score is not finite, or if a window does not fit into memory.
                The batch of this window then has no scores, and the next call returns the scores of
                the other batches.
        """
        self.take(samples, time)
        return self._scores()

    def take(self, samples: Any, time: float | None = None) -> None:
        """Take the next samples like :meth:`push`, but only queue the complete batches in :attr:`waiting`.

        The errors are those of :meth:`push`; a finished stream raises :class:`InputError`, too.
        """
        block = samples_of(samples)
        if self._is_finished:
            raise InputError("the stream is finished: begin another one")
        if not block.size:
            return
        start = self.now if time is None else float(time)
        check_samples(block, self._rate, "the stream", start)
        self._go_to(start)
        self._take(block)

    def finish(self) -> list[Scored]:
        """End the stream; return the last scores.

        The last window ends with the last sample. The samples since the beginning, or since the
        last long hole, may be fewer than a window has. They are then scored like a short recording
        by :meth:`nes2net.Detector.score`. Without samples there are no scores.

        Raises:
            InputError: as :meth:`push`; a second call returns the scores of the batches after the
                failed batch.
        """
        self.end()
        return self._scores()

    def end(self) -> None:
        """End the stream like :meth:`finish`, but only queue the last batches in :attr:`waiting`."""
        if not self._is_finished and self._num_samples:
            self._end_piece(scores_short=True)
        self._is_finished = True

    def score(self, batch: WaitingBatch) -> list[Scored]:
        """Score a batch that was in :attr:`waiting`.

        Raises:
            InputError: if a score is not finite, or if the batch does not fit into memory.
        """
        waveforms = np.stack([pre_emphasised(window.samples, self._scorer.pre_emphasis) for window in batch.windows])
        if waveforms.shape[1] < self._scorer.min_samples:  # a single short window is repeated, as in score()
            waveforms = np.resize(waveforms, (1, self._scorer.min_samples))
        scores = score_or_raise(self._scorer, torch.from_numpy(waveforms))
        scored = []
        for window, score in zip(batch.windows, scores, strict=True):
            first = batch.piece_start + window.start / SAMPLE_RATE
            end = batch.piece_start + (window.start + len(window.samples)) / SAMPLE_RATE
            scored.append(Scored(first, end, score))
        return scored

    @property
    def remark(self) -> Remark:
        """Remarks about the audio that was pushed so far."""
        return self._listener.remark(self._trained_on, self._scorer.min_samples)

    @property
    def window(self) -> float:
        """Length of a window in seconds."""
        return self._length / SAMPLE_RATE

    @property
    def now(self) -> float:
        """End of the pushed samples in the stream, in seconds."""
        return self.piece_start + self._num_samples / self._rate

    def _begin_piece(self, start: float) -> None:
        """Begin a new piece of the stream at ``start`` seconds. Windows do not span two pieces."""
        self.piece_start = start
        """Start of the current piece, in seconds of the stream; after a long hole, another piece begins."""
        self._num_samples = 0  # number of samples of the piece so far, at the rate of the stream
        self._windows = SlidingWindows(self._length, self._hop)
        self._batching = Batches(self._batch_size)

    def _go_to(self, time: float) -> None:
        """Fill a short hole before the samples at ``time`` seconds, or begin a new piece after a long hole.

        Raises:
            InputError: if ``time`` is not finite, or goes back by more than 0.1 s.
        """
        if not math.isfinite(time):
            raise InputError(f"`time` is a number of seconds, not {time}")
        if not self._num_samples:
            self.piece_start = time
            return
        missing = round((time - self.now) * self._rate)
        most_filled = round(LONGEST_FILLED * self._rate)
        if missing < -most_filled:
            raise InputError(f"`time` goes back to {time:.3f} s, behind which {self.now:.3f} s were pushed already")
        if missing > most_filled:
            self._end_piece(scores_short=False)
            self._begin_piece(time)
        elif missing > 0:
            self.filled += missing / self._rate
            self._take(np.zeros(missing, np.float32))

    def _take(self, samples: np.ndarray) -> None:
        """Resample ``samples``, (N,) or (channels, N) at the rate of the stream, and cut the result into windows."""
        self._num_samples += samples.shape[-1]
        for block in self._at_16k.push((samples, self._rate)):
            self._take_at_16k(block)

    def _take_at_16k(self, block: np.ndarray) -> None:
        """Measure a block (N,) of 16 kHz for remarks, and cut the block into windows."""
        self._listener.push(block)
        self._take_windows(self._windows.push(block))

    def _take_windows(self, windows: Iterable[Window]) -> None:
        """Put ``windows`` into batches, and queue the complete batches in :attr:`waiting`."""
        for window in windows:
            self.waiting.extend(WaitingBatch(self.piece_start, batch) for batch in self._batching.push(window))

    def _end_piece(self, scores_short: bool) -> None:
        """Cut the rest of the piece into windows, and queue all batches of the piece in :attr:`waiting`.

        Args:
            scores_short: whether a piece that is shorter than a window is scored, too.
        """
        for block in self._at_16k.finish():
            self._take_at_16k(block)
        if scores_short or not self._windows.is_short:
            self._take_windows(self._windows.finish())
        self.waiting.extend(WaitingBatch(self.piece_start, batch) for batch in self._batching.finish())

    def _scores(self) -> list[Scored]:
        """Score the waiting batches; return all scores that were not returned yet."""
        while self.waiting:
            batch = self.waiting.popleft()
            self._scored += self.score(batch)
            if self._progress is not None:
                self._progress(batch.end)
        scored = self._scored
        self._scored = []
        return scored


def window_samples(scorer: Scorer, window: float, hop: float) -> tuple[int, int]:
    """Convert ``window`` and ``hop`` from seconds to samples.

    If ``scorer`` reads only the first part of such a window, the window is shortened to this part.
    The hop must then be no longer than this part.

    Returns:
        The length of a window and the hop from window to window, in samples.

    Raises:
        InputError: if ``window`` or ``hop`` is not positive, if the window is too short for
            ``scorer``, or if there would be gaps between the parts that ``scorer`` reads.
    """
    for name, seconds in (("window", window), ("hop", hop)):
        if not 0.5 / SAMPLE_RATE < seconds < float("inf"):
            raise InputError(f"the {name} must be a positive number of seconds, not {seconds}")
    length = round(window * SAMPLE_RATE)
    step = round(hop * SAMPLE_RATE)
    if length < scorer.min_samples:
        shortest = scorer.min_samples / SAMPLE_RATE
        raise InputError(f"a window of {window:g} s is too short for this detector, which needs {shortest:.4g} s")
    if (most_samples := scorer.used_samples.most) is not None and length > most_samples:
        if step > most_samples:
            raise InputError(
                f"a window of {window:g} s is too long for this detector, which reads its first {most_samples / SAMPLE_RATE:g} s: "
                "take a shorter `window`, or a shorter `hop`"
            )
        length = most_samples
    return length, step
