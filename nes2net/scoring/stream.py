"""Score audio while it arrives: cut it into windows, batch them, and score them.

A file is scored in the same way, block by block (:func:`nes2net.scoring.track.score_track`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from nes2net.data.audio.blocks import BlocksAt16k
from nes2net.data.audio.remarks import Channels, Listener, Remark
from nes2net.data.audio.sources import parse_rate, samples_of
from nes2net.data.audio.waveform import SAMPLE_RATE, check_rate, check_samples, pre_emphasised
from nes2net.lib.errors import InputError, check_setting
from nes2net.scoring.kernel import Scorer, check_takes_audio_alone, choose_batch_size, score_or_raise
from nes2net.scoring.score_length import length_of_training

#: Length in seconds of the longest hole in a stream that is filled with zeros. A longer hole breaks the stream into
#: pieces.
MAX_FILLED = 0.1
#: Is called with the seconds that are done.
SecondsDone: TypeAlias = Callable[[float], object]


class Along(NamedTuple):
    """Length and distance of windows in seconds."""

    window: float | None = None
    """None for the length scored for the calibration, else of training crops."""
    hop: float | None = None
    """From one start to the next; None for half a window up to two minutes, beyond for a whole one."""

    def fit_to_duration(self, duration: float) -> tuple[float, float]:
        """Return window and hop for ``duration`` seconds; :attr:`window` must be set."""
        assert self.window is not None
        usual_hop = self.window / 2 if duration <= 120 else self.window
        return self.window, usual_hop if self.hop is None else self.hop


class Window(NamedTuple):
    """Samples that are scored together."""

    start: int
    """Number of the first sample in the recording."""
    samples: NDArray
    """(N,) float32."""
    is_last: bool
    """Whether the recording ends here."""


class TimedWindow(NamedTuple):
    """A window of a stream that waits to be scored."""

    start: float
    """Start in seconds."""
    end: float
    """End in seconds."""
    samples: NDArray
    """(N,) float32."""
    arrived: float
    """Reading of the monotonic clock when the last sample was pushed."""


AnyWindow = TypeVar("AnyWindow", Window, TimedWindow)


class Skipped(NamedTuple):
    """Windows that were not scored, because computing was too slow."""

    start: float
    """Start in seconds."""
    end: float
    """End in seconds."""
    windows: int
    """Number of windows."""


class HeldSamples:
    """The latest samples of a recording, from number ``first`` to before ``end``."""

    def __init__(self) -> None:
        self.first = 0  # number of the first held sample
        self.end = 0  # number of the sample after the last
        self._blocks: list[NDArray] = []  # adjacent, without gaps

    def append(self, block: NDArray) -> None:
        """Add the next samples (N,)."""
        self._blocks.append(block)
        self.end += len(block)
        if len(self._blocks) > _MAX_BLOCKS:
            self._blocks = [np.concatenate(self._blocks)]

    def cut(self, start: int, length: int) -> NDArray:
        """Return samples from number ``start`` on as a view."""
        if len(self._blocks) > 1:
            self._blocks = [np.concatenate(self._blocks)]
        return self._blocks[0][start - self.first : start - self.first + length]  # start ≥ first

    def drop(self, first: int) -> None:
        """Free the samples before number ``first``."""
        if first > self.first:
            # Copy the samples that stay, because a view would keep all samples in memory.
            self._blocks = [self.cut(first, self.end - first).copy()]
            self.first = first


_MAX_BLOCKS = 64  # if more blocks are held, they are joined to one array


class SlidingWindows:
    """Cuts a recording, while it arrives, into windows of ``length`` samples every ``hop`` samples.

    The last window ends with the recording; a short recording is one window. Holds at most two
    windows and the pushed block. A :class:`nes2net.data.audio.blocks.Stage`.

    >>> windows = SlidingWindows(4, 3)
    >>> [(w.start, "".join(w.samples)) for w in (*windows.push(np.array(list("abcdefghi"))), *windows.finish())]
    [(0, 'abcd'), (3, 'defg'), (5, 'fghi')]
    """

    def __init__(self, length: int, hop: int) -> None:
        self._length = length
        self._hop = hop
        self._held = HeldSamples()
        self._start = 0  # number of the first sample of the next window

    def push(self, block: NDArray) -> Iterator[Window]:
        """Take the next samples (N,); yield complete windows."""
        samples = self._held
        samples.append(block)
        is_complete = self._start + self._length <= samples.end
        while self._start + self._length <= samples.end:
            window = Window(self._start, samples.cut(self._start, self._length), False)
            self._start += self._hop
            yield window
        # Keep the last ``length`` samples, including samples before ``self._start``: if no more samples arrive, they
        # are the last window.
        if is_complete or samples.end - samples.first >= 2 * self._length:
            samples.drop(min(self._start, samples.end - self._length))

    @property
    def is_short(self) -> bool:
        """Whether the recording so far is shorter than a window."""
        return self._held.end < self._length

    def finish(self) -> Iterator[Window]:
        """End the recording; yield its last window."""
        end = self._held.end
        if self._start == 0:
            yield Window(0, self._held.cut(0, end), True)
        elif self._start - self._hop + self._length < end:
            yield Window(end - self._length, self._held.cut(end - self._length, self._length), True)


class Batches(Generic[AnyWindow]):
    """Collects windows of equal length in batches; a :class:`nes2net.data.audio.blocks.Stage`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: list[AnyWindow] = []  # windows of equal length

    def push(self, window: AnyWindow) -> Iterator[list[AnyWindow]]:
        """Take a window; yield complete batches: full, or before a window of another length."""
        if self._waiting and len(self._waiting[0].samples) != len(window.samples):
            yield from self.finish()
        self._waiting.append(window)
        if len(self._waiting) == self._size:
            yield from self.finish()

    def finish(self) -> Iterator[list[AnyWindow]]:
        """Yield the waiting windows."""
        batch = self._waiting
        self._waiting = []
        if batch:
            yield batch


class Gap(NamedTuple):
    """A hole in a stream, in no window."""

    start: float
    """Seconds at which pushed samples end."""
    end: float
    """Seconds of the first sample behind it."""


class Scored(NamedTuple):
    """A window of a stream with its score."""

    start: float
    """Start in seconds."""
    end: float
    """End in seconds."""
    score: float
    """Higher means more bona fide."""


class Stream:
    """Scores audio while it arrives, for :meth:`nes2net.Detector.stream`.

    Only one thread may use a stream, except that another may :meth:`score` windows of :meth:`take`
    and :meth:`end`. Streams may share a detector.

    Args:
        sample_rate: Hz.
        window: seconds; None for the length of training crops.
        hop: seconds between starts of windows.
        batch_size: windows scored at once, for which earlier ones wait; None for 8 on a CPU and 64
            on a GPU.
        channels: compares channels, if the caller pushes their mean; None to compare pushed
            channels.
        progress: called after each batch with its end in seconds.
        score: scores windows B×N, and raises InputError if one is missing; None for the detector's.

    Raises:
        InputError: if the window is too short for the detector, or a number is out of its range.
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
        progress: SecondsDone | None = None,
        score: Callable[[torch.Tensor], list[float]] | None = None,
    ) -> None:
        check_takes_audio_alone(scorer)
        if score is None:
            scorer.check_score()
        self._scorer = scorer
        self._score = score or partial(score_or_raise, scorer)
        self._rate = parse_rate(sample_rate)
        check_rate(self._rate, "the stream")
        self._trained_on = length_of_training(scorer.provenance)
        seconds = self._trained_on / SAMPLE_RATE if window is None else window
        self._length, self._hop = window_samples(scorer, seconds, hop)
        self._batching: Batches[TimedWindow] = Batches(choose_batch_size(scorer, batch_size))
        self._progress = progress
        self.filled = 0.0
        """Seconds of short holes that were filled with zeros."""
        self._listener = Listener(channels)
        self._at_16k = BlocksAt16k("the stream", None if channels else self._listener.channels)
        self.waiting: deque[TimedWindow | Gap | Skipped] = deque()
        """Windows to score, and gaps and skipped windows between them."""
        self._scored: list[Scored] = []  # scores that no call has returned so far
        self._is_finished = False
        self._begin_piece(0.0)

    def push(self, samples: Any, time: float | None = None) -> list[Scored]:
        """Take the next samples; return the scores of complete batches.

        Args:
            samples: floating-point numbers (N,) or (channels, N) in [−1, 1], N ≥ 0, on any device.
            time: seconds of the first sample; None if no hole precedes. Up to 0.1 s is filled with
                zeros; behind a longer hole new windows begin.

        Raises:
            InputError: if samples are not audio in [−1, 1], or ``time`` goes back by more than
                0.1 s; they are then not taken. Also if a score is not finite, or a window does not
                fit into memory; that batch has no scores, and the next call returns those of
                others.
        """
        self.take(samples, time)
        return self._score_waiting()

    def take(self, samples: Any, time: float | None = None) -> None:
        """Take samples like :meth:`push`, but only queue windows in :attr:`waiting`.

        Errors are those of :meth:`push`; a finished stream raises :class:`InputError`.
        """
        block = samples_of(samples)
        if self._is_finished:
            raise InputError("the stream is finished: begin another one")
        if not block.size:
            return
        start = self.now if time is None else float(time)
        check_samples(block, self._rate, "the stream", start)
        self._advance_to(start)
        self._push_samples(block)

    def skip(self, max_waiting: int) -> int:
        """Skip all but the newest window if more than ``max_waiting`` wait; return how many.

        :attr:`waiting` has one :class:`Skipped` for them and earlier ones.
        """
        windows = [item for item in self.waiting if isinstance(item, TimedWindow)]
        if len(windows) <= max_waiting:
            return 0
        newest = windows.pop()
        before = [item for item in self.waiting if isinstance(item, Skipped)]
        number = len(windows) + sum(item.windows for item in before)
        skipped = Skipped((before or windows)[0].start, windows[-1].end, number)
        gaps = [item for item in self.waiting if isinstance(item, Gap)]
        self.waiting.clear()
        self.waiting.extend([*gaps, skipped, newest])
        return len(windows)

    def finish(self) -> list[Scored]:
        """End the stream; return the scores of its last windows.

        The last window ends with the last sample. A stream, or its part behind a long hole, that is
        shorter than a window is scored like a short recording (:meth:`nes2net.Detector.score`). A
        stream without samples has no scores.

        Raises:
            InputError: as :meth:`push`; a second call returns the scores of later batches.
        """
        self.end()
        return self._score_waiting()

    def end(self) -> None:
        """End like :meth:`finish`, but only queue the last windows in :attr:`waiting`."""
        if not self._is_finished and self._num_samples:
            self._end_piece(scores_short=True)
        self._is_finished = True

    def score(self, batch: Sequence[TimedWindow]) -> list[Scored]:
        """Score windows of equal length taken from :attr:`waiting`.

        Raises:
            InputError: if a score is not finite, or the batch does not fit into memory.
        """
        waveforms = np.stack([pre_emphasised(window.samples, self._scorer.pre_emphasis) for window in batch])
        if waveforms.shape[1] < self._scorer.min_samples:  # a single short window is repeated, as in Detector.score()
            waveforms = np.resize(waveforms, (1, self._scorer.min_samples))
        scores = self._score(torch.from_numpy(waveforms))
        return [Scored(window.start, window.end, score) for window, score in zip(batch, scores, strict=True)]

    @property
    def remark(self) -> Remark:
        """Remarks so far, such as silence or clipping."""
        return self._listener.remark(self._trained_on, self._scorer.min_samples)

    @property
    def window(self) -> float:
        """Seconds of a window."""
        return self._length / SAMPLE_RATE

    @property
    def now(self) -> float:
        """Seconds up to which samples were pushed."""
        return self.piece_start + self._num_samples / self._rate

    def _begin_piece(self, start: float) -> None:
        """Begin a piece of the stream at ``start`` seconds, after a long hole; no window spans two pieces."""
        self.piece_start = start
        """Seconds at which the piece begins: 0, or the end of a long hole."""
        self._num_samples = 0  # samples pushed in this piece, at the rate of the stream
        self._windows = SlidingWindows(self._length, self._hop)

    def _advance_to(self, time: float) -> None:
        """Fill a short hole with zeros, or begin a new piece; raise InputError if ``time`` goes back
        by more than 0.1 s.
        """
        check_setting("time", time, math.isfinite(time), "a number of seconds")
        if not self._num_samples:
            self.piece_start = time
            return
        missing = round((time - self.now) * self._rate)
        most_filled = round(MAX_FILLED * self._rate)
        if missing < -most_filled:
            raise InputError(
                f"`time` is {time:.3f} s, but samples up to {self.now:.3f} s were pushed already: give increasing times"
            )
        if missing > most_filled:
            self._end_piece(scores_short=False)
            self.waiting.append(Gap(self.now, time))
            self._begin_piece(time)
        elif missing > 0:
            self.filled += missing / self._rate
            self._push_samples(np.zeros(missing, np.float32))

    def _push_samples(self, samples: NDArray) -> None:
        self._num_samples += samples.shape[-1]  # (N,) or (channels, N)
        for block in self._at_16k.push((samples, self._rate)):
            self._measure_and_cut(block)

    def _measure_and_cut(self, block: NDArray) -> None:
        self._listener.push(block)
        self._queue_windows(self._windows.push(block))

    def _queue_windows(self, windows: Iterable[Window]) -> None:
        for window in windows:
            start = self.piece_start + window.start / SAMPLE_RATE
            end = self.piece_start + (window.start + len(window.samples)) / SAMPLE_RATE
            self.waiting.append(TimedWindow(start, end, window.samples, monotonic()))

    def _end_piece(self, scores_short: bool) -> None:
        for block in self._at_16k.finish():
            self._measure_and_cut(block)
        if scores_short or not self._windows.is_short:
            self._queue_windows(self._windows.finish())

    def _score_waiting(self) -> list[Scored]:
        # Score complete batches; return their scores, and those that a failed call left over.
        while self.waiting:
            item = self.waiting.popleft()
            self._score_batches(self._batching.push(item) if isinstance(item, TimedWindow) else self._batching.finish())
        if self._is_finished:
            self._score_batches(self._batching.finish())
        # _score_batches() has appended to this list.
        scored = self._scored
        self._scored = []
        return scored

    def _score_batches(self, batches: Iterable[list[TimedWindow]]) -> None:
        for batch in list(batches):  # a generator must end, to keep its window, even if score() raises
            self._scored += self.score(batch)
            if self._progress is not None:
                self._progress(batch[-1].end)


def window_samples(scorer: Scorer, window: float, hop: float) -> tuple[int, int]:
    """Convert ``window`` and ``hop`` from seconds to samples, and check them.

    A window is cut to the first samples that ``scorer`` reads.

    Raises:
        InputError: if one is not positive, the window is too short for ``scorer``, or there would
            be gaps between the cut windows.
    """
    for name, seconds in (("window", window), ("hop", hop)):
        check_setting(name, seconds, seconds > 0.5 / SAMPLE_RATE, "a positive number of seconds")
    length = round(window * SAMPLE_RATE)
    step = round(hop * SAMPLE_RATE)
    if length < scorer.min_samples:
        shortest = scorer.min_samples / SAMPLE_RATE
        raise InputError(
            f"a window of {window:g} s is too short for this detector, which needs {shortest:.4g} s: use a longer `window`"
        )
    if (most_samples := scorer.used_samples.most) is not None and length > most_samples:
        if step > most_samples:
            raise InputError(
                f"a window of {window:g} s is too long for this detector, which reads its first {most_samples / SAMPLE_RATE:g} s: "
                "use a shorter `window`, or a shorter `hop`"
            )
        length = most_samples
    return length, step
