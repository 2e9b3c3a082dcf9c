"""Read a source in one thread, and judge its windows in another."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any, Literal, NamedTuple, TypeAlias

from numpy.typing import NDArray

from nes2net.apps.listen.channel import Channel, Line
from nes2net.lib.errors import InputError
from nes2net.scoring.decisions.decision import Decider
from nes2net.scoring.decisions.evidence import Evidence
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.stream import Stream

#: What happens if computing is slower than the audio: the source waits, or the oldest windows are skipped.
Keep: TypeAlias = Literal["all", "latest"]
_LOOK = 0.1  # seconds between two looks whether to stop
_FEW = 2  # waiting windows of a channel with which the source has to wait


class Block(NamedTuple):
    """Samples of a source."""

    samples: NDArray
    """(channels, N) in [−1, 1]."""
    time: float | None = None
    """Seconds of the stream at the first sample; None if the samples follow without a hole."""


class Gone(Exception):
    """The source has gone, and may come back."""


@dataclass(frozen=True)
class Judge:
    """A detector, and how it listens.

    Args:
        model, calibration: names for the first line.
        decider: of the calibration; None for scores alone.
        window, hop: length and distance of windows in seconds.
        latch: an alarm lasts until the end.
        keep: None for what suits the source.
        max_behind: seconds of windows that may wait before the oldest are skipped.
    """

    scorer: Scorer
    model: str
    decider: Decider | None = None
    calibration: str | None = None
    window: float | None = None
    hop: float = 1.0
    latch: bool = False
    keep: Keep | None = None
    max_behind: float = 5.0

    def session(self, rate: float, encoding: str, names: Sequence[str], is_live: bool, keep: Keep) -> Session:
        """Begin to listen.

        Args:
            rate: of the samples, in Hz.
            encoding: of the source, for the first line.
            names: of the channels; of a single one that is the mean of all, also one.
            keep: what suits the source.

        Raises:
            InputError: as :meth:`nes2net.Detector.stream`, or if a number is out of its range.
        """
        if not 0 < self.max_behind < math.inf:
            raise InputError(f"`max_behind` is a number above 0, not {self.max_behind}")
        channels = []
        for name in names:
            stream = Stream(self.scorer, rate, window=self.window, hop=self.hop)
            evidence = None
            if self.decider is not None:
                evidence = Evidence(self.decider, stream.window, latch=self.latch)
            channels.append(Channel(name, self.scorer, stream, self.hop, evidence, is_live))
        ready: Line = {
            "event": "ready",
            "model": self.model,
            "window": channels[0].stream.window,
            "hop": self.hop,
            "rate": rate,
            "encoding": encoding,
            "channels": list(names),
            "calibration": self.calibration,
            "keep": self.keep or keep,
            "session": token_urlsafe(16),
        }
        return Session(channels, ready, max(1, int(self.max_behind / self.hop)))


@dataclass
class Session:
    """What goes on when a source comes back."""

    channels: list[Channel]
    ready: Line
    """The first line."""
    most_waiting: int
    """Windows of a channel that may wait before the oldest are skipped."""


@contextmanager
def stopped_by_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM call ``stop`` in this context; a second one acts as before."""
    before: dict[int, Any] = {}

    def handle(*_: object) -> None:
        stop()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


class Listening:
    """Listens to one source until it ends, goes, or :meth:`stop` is called.

    Args:
        blocks: the source; its iterator is used in a thread. It raises :class:`Gone` if it may come
            back.
    """

    def __init__(self, session: Session, blocks: Iterable[Block]) -> None:
        self._channels = session.channels
        self._latest = session.ready["keep"] == "latest"
        self._most_waiting = session.most_waiting
        self._rate = session.ready["rate"]
        self._blocks = blocks
        self._changed = threading.Condition()
        self._is_read = False
        self._is_stopped = False
        self._failure: Exception | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)

    def stop(self) -> None:
        """Take no more of the source; :meth:`lines` then ends. A signal handler may call this."""
        self._is_stopped = True

    def wait(self) -> None:
        """Wait until nothing more is taken, after the source ended or went."""
        self._reader.join()

    def lines(self) -> Iterator[Line]:
        """The lines as they come, with the last ones of each channel.

        Raises:
            Gone: if the source has gone; windows that wait stay in the session.
            InputError: if the source cannot be read, or ten windows in a row cannot be scored; after
                the last lines.
        """
        self._reader.start()
        failure: Exception | None = None
        try:
            yield from self._judged()
            for channel in self._channels:
                channel.end()
            yield from self._judged()
        except Gone:
            raise
        except Exception as error:  # told after the last lines
            failure = error
        finally:
            self.stop()
        for channel in self._channels:
            yield channel.summary()
        if failure := failure or self._failure:
            raise failure

    def _judged(self) -> Iterator[Line]:
        """The lines of all windows until the source has ended and none waits."""
        while True:
            with self._changed:
                while not (self._is_read or self._is_stopped or any(channel.queue for channel in self._channels)):
                    self._changed.wait(_LOOK)
                if isinstance(self._failure, Gone):
                    raise self._failure
                channel = max(self._channels, key=lambda channel: len(channel.queue))
                if not channel.queue:
                    return
                item = channel.queue.popleft()
                self._changed.notify()
            yield from channel.lines(item)

    def _read(self) -> None:
        """Take the source block by block, a second at most at once."""
        try:
            for block in self._blocks:
                step = max(1, round(self._rate))
                for first in range(0, block.samples.shape[1], step):
                    time = block.time if first == 0 else None
                    if not self._take(block.samples[:, first : first + step], time):
                        return
        except Exception as error:  # raised by ``lines``
            self._failure = error
        finally:
            with self._changed:
                self._is_read = True
                self._changed.notify()

    def _take(self, samples: NDArray, time: float | None) -> bool:
        """Give each channel its samples; False if listening was stopped."""
        most = self._most_waiting if self._latest else None
        with self._changed:
            while not self._latest and any(len(channel.queue) >= _FEW for channel in self._channels):
                if self._is_stopped:
                    return False
                self._changed.wait(_LOOK)
            if self._is_stopped:
                return False
            if len(self._channels) == 1:
                self._channels[0].take(samples, time, most)
            else:
                for channel, row in zip(self._channels, samples, strict=True):
                    channel.take(row, time, most)
            self._changed.notify()
        return True
