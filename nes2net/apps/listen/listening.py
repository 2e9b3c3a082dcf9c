"""Read a source of live audio in one thread, and score its windows in another thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from secrets import token_urlsafe
from typing import NamedTuple

from numpy.typing import NDArray

from nes2net.apps.listen.channel import Channel, Line, Tally
from nes2net.apps.listen.settings import Keep, LiveWindows
from nes2net.data.audio.speech import SPEECH_RULE
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.scoring.claimed import PersonDecider, decider_on
from nes2net.scoring.decisions.decision import Decider
from nes2net.scoring.decisions.evidence import Evidence
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.stream import Stream

#: Longest wait for the reading thread when a program ends: Python would abort while it computes; one that only waits
#: for audio does no harm.
MAX_WAIT = 1.0
_LOOK = 0.1  # seconds from one check for a stop to the next
_MAX_UNSCORED = 2  # the source waits while a channel has this many unscored windows


class AudioBlock(NamedTuple):
    samples: NDArray
    """(channels, N) in [−1, 1]."""
    time: float | None = None
    """Seconds in the stream at the first sample; None if the samples follow without a gap."""


class Gone(Exception):
    """The connection to the source is lost; the source may connect again."""


@dataclass(frozen=True)
class LiveJudge(LiveWindows):
    """A detector, and the settings with which it judges live audio.

    Args:
        model: name of the detector, for the first line of a session.
        decider: a calibration with an operating point, for probabilities and alarms, or of genuine
            recordings; or the judge of a claimed person.
        calibration: its name, for the first line.
        window: None for the length of the detector's training crops.
        keep: None for the default of the source.
    """

    scorer: Scorer
    model: str
    decider: Decider | PersonDecider | None = None
    calibration: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        # Raises an error now if the windows do not suit the detector.
        Stream(self.scorer, SAMPLE_RATE, window=self.window, hop=self.hop)

    def claiming(self, person: str) -> LiveJudge:
        """Return the judge of a call that claims ``person``; empty for the person of the server, if any.

        Raises:
            InputError: if nobody of this name is enrolled, or neither call nor server names a person.
        """
        needs_name = isinstance(self.decider, PersonDecider) and not self.decider.name
        if not person and not needs_name:
            return self
        return replace(self, decider=decider_on(self.decider, person, "send the name of an enrolled person in `start`"))

    def session(
        self,
        rate: float,
        encoding: str,
        names: Sequence[str],
        is_live: bool,
        keep: Keep,
        earlier: Sequence[Tally] = (),
    ) -> Session:
        """Make a channel for each name, and the first line.

        Args:
            rate: sample rate of the source in Hz.
            names: a single name for the mean of all channels.
            is_live: whether the audio arrives as it is spoken.
            keep: used if :attr:`keep` of the judge is None.
            earlier: tallies of these channels before a restart.

        Raises:
            InputError: for the reasons in :meth:`nes2net.Detector.stream`, or if ``earlier`` is damaged.
        """
        channels = []
        for name, tally in zip_longest(names, earlier):
            stream = Stream(self.scorer, rate, window=self.window, hop=self.hop)
            evidence = None
            if isinstance(self.decider, Decider) and not self.decider.calibration.genuine:
                evidence = Evidence.from_state(
                    (tally and tally.evidence) or {}, self.decider, stream.window, latch=self.latch
                )
            channels.append(
                Channel(name, self.scorer, stream, self.hop, evidence, self.decider, is_live, self.vad, tally)
            )
        claim: Line = {"person": "", "meaning": []}
        if isinstance(self.decider, PersonDecider):
            claim = {"person": self.decider.name, "meaning": self.decider.describe()}
        # Clients read these keys; the digest of a saved call has them too.
        ready = {
            "event": "ready",
            "model": self.model,
            "window": channels[0].stream.window,
            "hop": self.hop,
            "rate": rate,
            "encoding": encoding,
            "channels": list(names),
            "calibration": self.calibration,
            "keep": self.keep or keep,
            "speech": None if self.vad == "none" else SPEECH_RULE,
            "session": token_urlsafe(16),
            **claim,
        }
        return Session(channels, ready, max(1, int(self.max_behind / self.hop)))


@dataclass
class Session:
    """Channels and settings of a source, which can resume after a lost connection."""

    channels: list[Channel]
    ready: Line
    """The first line; ``session`` in it is the token by which a client resumes."""
    max_waiting: int
    """Windows per channel that may wait before old ones are skipped, if ``keep`` is ``"latest"``."""


class Listening:
    """Listens to one source until it ends, its connection is lost, or :meth:`stop` is called.

    Args:
        blocks: iterated over in a separate thread; raises :class:`Gone` if the connection is lost.
    """

    def __init__(self, session: Session, blocks: Iterable[AudioBlock]) -> None:
        self._channels = session.channels
        self._max_waiting = session.max_waiting if session.ready["keep"] == "latest" else None  # None: none are skipped
        self._rate = session.ready["rate"]
        self._blocks = blocks
        self._changed = threading.Condition()  # guards the channels; wakes threads that wait for them or a value below
        self._is_read = False  # whether the source has ended
        self._is_stopped = False
        self._failure: Exception | None = None  # an error of the reading thread, for `lines` to raise
        self._reader = threading.Thread(target=self._read, daemon=True)

    def stop(self) -> None:
        """Stop reading; :meth:`lines` ends after the waiting windows. Signal handlers may call this."""
        # Without the lock: a signal handler may interrupt the thread that holds it.
        self._is_stopped = True

    def tallies(self) -> list[Tally]:
        """Copy the tallies, to save them for a restart."""
        with self._changed:
            return [channel.tally() for channel in self._channels]

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the reading thread, if any, has ended and changes no channel any more."""
        if self._reader.ident is not None:
            self._reader.join(seconds)

    def lines(self) -> Iterator[Line]:
        """Yield lines about windows as they are scored, then summaries of channels.

        Raises:
            Gone: if the connection is lost. Waiting windows stay in the session, without summaries.
            InputError: after the summaries, if the source cannot be read, or if ten windows in a
                row cannot be scored.
        """
        self._reader.start()
        failure = None
        try:
            yield from self._judge_waiting()
            for channel in self._channels:
                channel.end()
            yield from self._judge_waiting()
        except Gone:
            raise
        except Exception as error:  # raised below, after the summaries
            failure = error
        finally:
            self.stop()
        for channel in self._channels:
            yield channel.summary()
        if failure := failure or self._failure:
            raise failure

    def _judge_waiting(self) -> Iterator[Line]:
        """Judge the windows that wait, longest queue first, until the source has ended and nothing waits."""
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
            yield from channel.judge(item)

    def _read(self) -> None:
        """Read the source to its end, in a thread; store an error for :meth:`lines` to raise."""
        try:
            for block in self._blocks:
                step = max(1, round(self._rate))  # at most a second at once
                for first in range(0, block.samples.shape[1], step):
                    time = block.time if first == 0 else None
                    if not self._take(block.samples[:, first : first + step], time):
                        return
        except Exception as error:  # `lines` raises this error in the other thread
            self._failure = error
        finally:
            with self._changed:
                self._is_read = True
                self._changed.notify()

    def _take(self, samples: NDArray, time: float | None) -> bool:
        """Give samples (channels, N) to the channels; return False if listening was stopped.

        If windows may not be skipped, first wait until no channel has too many. A single
        :class:`Channel` judges the mean of all channels.
        """
        with self._changed:
            while self._max_waiting is None and any(len(channel.queue) >= _MAX_UNSCORED for channel in self._channels):
                if self._is_stopped:
                    return False
                self._changed.wait(_LOOK)
            if self._is_stopped:
                return False
            if len(self._channels) == 1:
                self._channels[0].take(samples, time, self._max_waiting)
            else:
                for channel, row in zip(self._channels, samples, strict=True):
                    channel.take(row, time, self._max_waiting)
            self._changed.notify()
        return True
