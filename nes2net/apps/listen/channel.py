"""Judge one channel of live audio: score its windows, add up the evidence, report results as lines."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from nes2net.apps.listen.settings import Vad
from nes2net.data.audio.remarks import remark_of
from nes2net.data.audio.speech import speech_share
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.errors import InputError, with_flag_names
from nes2net.lib.storage.plain_data import Natural, Seconds, StrictModel
from nes2net.scoring.claimed import PersonDecider
from nes2net.scoring.decisions.along import MIN_SPEECH
from nes2net.scoring.decisions.decision import UNUSUAL, Decider
from nes2net.scoring.decisions.evidence import Evidence
from nes2net.scoring.decisions.population import Traits, measure
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.score_length import length_of_training
from nes2net.scoring.stream import Gap, Scored, Skipped, Stream, TimedWindow
from nes2net.scoring.waveforms import WaveformReader

#: A message about a channel, which can be written as a line of JSON. Its key ``event`` says what happened: ``"score"``
#: (a window), ``"gap"``, ``"skipped"``, ``"silence"``, ``"alarm"``, ``"clear"``, ``"unjudged"``, or ``"end"``;
#: docs/listen.md lists the keys of each.
Line: TypeAlias = dict[str, Any]
#: Seconds after which a line says that a channel is not judged.
MAX_UNJUDGED = 10.0
_MAX_FAILED = 10  # listening ends if so many windows in a row cannot be scored
_MAX_TIMES = 1000  # computing times and lags are kept for at most this many windows, the latest


class Tally(StrictModel):
    """What later evidence and the summary of a channel depend on, as plain data."""

    num_scored: Natural = 0
    num_skipped: Natural = 0
    num_failed: Natural = 0
    num_weighed: Natural = 0  # windows that were added to the evidence, also with the weight 0
    num_speaking: Natural = 0  # windows with a weight above 0, or decided among genuine recordings
    num_alarms: Natural = 0  # windows during an alarm
    num_unusual: Natural = 0  # windows that are unusual among genuine recordings
    lowest: Scored | None = None
    # State of the evidence or of a claim, as in the line about the latest window.
    last: dict[str, Any] = Field(default_factory=dict)
    judged_until: Seconds = 0.0  # end of the latest window in the stream
    now: Seconds = 0.0  # end of the stream so far
    evidence: dict[str, object] | None = None  # of Evidence.state; None without a calibration
    # Sums over the windows that count for a claim: of score, level, bandwidth, and embedding of the voice (D,).
    claim: list[FiniteFloat] | None = None


@dataclass
class Channel:
    """Judges the audio of one speaker.

    One thread may call :meth:`take`, which queues windows, and another :meth:`judge`, which scores
    them. A thread must hold a lock while it calls :meth:`take` or removes an item from :attr:`queue`.

    Args:
        evidence: adds up the evidence by a calibration, if it gives ratios.
        decider: the calibration, or the judge of a claimed person, if any.
        is_live: whether the audio arrives as it is spoken; only then, lag and delay are measured.
        hop, vad: as for :class:`LiveWindows`.
        earlier: tally before a restart, whose time continues.
    """

    name: str
    scorer: Scorer
    stream: Stream
    hop: float
    evidence: Evidence | None
    decider: Decider | PersonDecider | None
    is_live: bool
    vad: Vad
    earlier: Tally | None = None

    def __post_init__(self) -> None:
        self._tally = (self.earlier or Tally()).model_copy()
        self.stream.piece_start = self._tally.now
        self._embedding: NDArray | None = None  # embedding of the latest embedded window
        self._embedded_until = 0.0  # end of this window
        self._began: float | None = None  # reading of the monotonic clock when the stream began
        self._failed_in_row = 0
        self._is_silent = False  # whether the latest window had too little speech
        # Time of the line that says that the channel is not judged; infinity once said, None if the latest window was
        # judged.
        self._warn_from: float | None = None
        self._computing: deque[float] = deque(maxlen=_MAX_TIMES)  # seconds to judge each window
        self._lags: deque[float] = deque(maxlen=_MAX_TIMES)  # seconds from the arrival of each window to its line

    def take(self, samples: np.ndarray, start_time: float | None, max_waiting: int | None) -> None:
        """Put the windows that are now complete into :attr:`queue`.

        Args:
            samples: (N,) or (channels, N), at the rate of the stream.
            start_time: see ``time`` in :meth:`nes2net.scoring.stream.Stream.push`.
            max_waiting: if more windows wait, all but the newest are skipped; None to skip none.

        Raises:
            InputError: as :meth:`nes2net.scoring.stream.Stream.push`.
        """
        if self._began is None and self.earlier is not None:  # the time since the restart is a gap
            self.queue.append(Gap(self.earlier.judged_until, start_time or self.stream.now))
        self.stream.take(samples, start_time)
        if self._began is None:
            self._began = time.monotonic() - self.stream.now
        if max_waiting is not None:
            self._tally.num_skipped += self.stream.skip(max_waiting)

    @property
    def queue(self) -> deque[TimedWindow | Gap | Skipped]:
        """The windows that wait to be scored, and between them gaps and skipped windows."""
        return self.stream.waiting

    def judge(self, item: TimedWindow | Gap | Skipped) -> list[Line]:
        """Judge ``item`` from the front of the queue; return the lines about it.

        A gap, or skipped windows, have one line. A window without speech may be skipped unscored;
        one that cannot be scored has an ``error``. More lines follow if silence begins, or if an
        alarm begins or ends.

        Raises:
            InputError: if ten windows in a row cannot be scored.
        """
        if not isinstance(item, TimedWindow):
            return [{"event": type(item).__name__.lower(), **item._asdict(), "channel": self.name}]
        began = time.perf_counter()
        self._tally.judged_until = item.end
        span = {"channel": self.name, "start": item.start, "end": item.end}
        line: Line = {"event": "score", **span, "score": None}
        # The following calls add their facts to `line`.
        weight = self._weigh(item.samples, line)
        lines = [line]
        if weight == 0 and not self._is_silent:
            lines.append({"event": "silence", **span})
        self._is_silent = weight == 0
        if self._is_silent and self.vad == "skip":
            self._tally.num_skipped += 1
        elif not self._score(item, line):
            return lines
        if self.evidence is not None:
            lines += self._add_evidence(self.evidence, line, weight, item.samples)
        elif isinstance(self.decider, PersonDecider) and weight:
            line |= self._decide_claim(self.decider, line["score"], item.samples)
        elif isinstance(self.decider, Decider) and weight:
            decision = self.decider(line["score"], self._traits(self.decider, line, item.samples))
            line |= decision.row()
            self._tally.num_speaking += decision.p_genuine is not None
            self._tally.num_unusual += decision.decision == UNUSUAL
        lines += self._warn_if_unjudged(line)
        self._computing.append(time.perf_counter() - began)
        if self.is_live and self._began is not None:
            line["lag"] = time.monotonic() - item.arrived
            line["late"] = item.arrived - self._began - item.end
            self._lags.append(line["lag"])
        return lines

    def _weigh(self, samples: NDArray, line: Line) -> float:
        """Return the weight of a window (N,) by :data:`Vad`; add its share of speech to ``line``, or why it is 0."""
        if self.vad == "none":
            return 1.0
        weight = line["speech"] = speech_share(samples)
        if weight >= MIN_SPEECH:
            return weight
        trained_on = length_of_training(self.scorer.provenance)
        unfit = remark_of(samples, len(samples), None, trained_on, has_speech=weight > 0).unfit
        line["reason"] = unfit or f"speech in only {100 * weight:.0f} % of it"
        return 0.0

    def _score(self, window: TimedWindow, line: Line) -> bool:
        """Add the score, or the ``error``, to ``line``; return whether there is a score.

        Raises InputError at the tenth failure in a row.
        """
        try:
            (scored,) = self.stream.score([window])
        except InputError as error:
            self._tally.num_failed += 1
            self._failed_in_row += 1
            if self._failed_in_row == _MAX_FAILED:
                error.concern(f"{_MAX_FAILED} windows in a row cannot be scored:")
                raise
            line["error"] = str(error)
            return False
        self._failed_in_row = 0
        tally = self._tally
        tally.num_scored += 1
        if tally.lowest is None or scored.score < tally.lowest.score:
            tally.lowest = scored
        line["score"] = scored.score
        return True

    def _add_evidence(self, evidence: Evidence, line: Line, weight: float, samples: np.ndarray) -> list[Line]:
        """Add a window (N,) to ``evidence`` and ``line``; return a line if an alarm begins or ends.

        A window of ``weight`` 0, or unlike the calibration's recordings, changes no evidence; its
        line has None for ``llr`` and ``probability``.
        """
        # A window without a score has the weight 0.
        traits = self._traits(evidence.decider, line, samples) if weight else None
        running = evidence.add(line["end"], line["score"] or 0.0, weight, traits)
        tally = self._tally
        was_alarm = tally.last.get("alarm", False)
        tally.num_weighed += 1
        tally.num_speaking += running.weight > 0
        tally.num_alarms += running.alarm
        # The state of the evidence after this window, for its line, the summary and a restart.
        tally.last = {"probability": None, "mean": None, "against": running.against, "alarm": running.alarm}
        if tally.num_speaking:
            tally.last |= {"probability": running.probability, "mean": running.mean}
        line |= {"llr": running.llr, **tally.last}
        if not running.weight:
            line |= {"llr": None, "probability": None}
        if running.unusual:
            message = (
                f"windows {running.similar} are unlike the calibration's recordings, so they do not count: calibrate "
                "on such windows, too"
            )
            line |= {"unusual": running.unusual, "message": message}
        if running.alarm == was_alarm:
            return []
        event = {
            "event": "clear",
            "channel": self.name,
            "time": line["end"],
            "probability": running.probability,
            "against": running.against,
        }
        if running.alarm:
            event["event"] = "alarm"
            event["because"] = "probability" if running.probability <= evidence.alarm_probability else "against"
        return [event]

    def _decide_claim(self, decider: PersonDecider, score: float, samples: NDArray) -> Line:
        """Decide by the means of the windows so far, of which one is (N,); say why this one does not count."""
        traits = measure(samples)
        try:
            voice = decider.encoder.embed(samples, SAMPLE_RATE)
        except InputError as error:
            return {"reason": error.reason}
        tally = self._tally
        tally.num_speaking += 1
        tally.claim = np.add(tally.claim or 0.0, [score, traits.level, traits.bandwidth, *voice]).tolist()
        score, level, bandwidth, *mean_voice = np.divide(tally.claim, tally.num_speaking).tolist()
        voice = np.divide(mean_voice, np.linalg.norm(mean_voice))
        decision = decider(score, Traits(math.inf, level, bandwidth, in_windows=True, voice=voice))
        tally.last = {"decision": "; ".join(decision.words), "claim": decision.facts}
        return tally.last

    def _traits(self, decider: Decider, line: Line, samples: np.ndarray) -> Traits:
        """Share an embedding between overlapping windows, because it takes as long as a score."""
        traits = measure(samples)._replace(embedding=self._embedding, duration=math.inf, in_windows=True)
        if line["start"] >= self._embedded_until and not decider.why_too_long(traits):
            waveform = WaveformReader.of(self.scorer, None).read_audio(samples, SAMPLE_RATE).waveform
            (traits,) = Measurer.of(self.scorer, decider).with_embeddings([traits], waveform[None])
            self._embedding = traits.embedding
            self._embedded_until = line["end"]
        return traits

    def _warn_if_unjudged(self, line: Line) -> list[Line]:
        reason = line.get("unusual") or line.get("reason")
        if not reason:
            self._warn_from = None
            return []
        if self._warn_from is None:
            # A call that is unusual from its first speech on is reported at once, anything else after MAX_UNJUDGED
            # seconds.
            self._warn_from = line["start"]
            if "unusual" not in line or self._tally.num_speaking:
                self._warn_from += MAX_UNJUDGED
        if line["end"] < self._warn_from:
            return []
        self._warn_from = math.inf
        message = line.get("message", f"not judged for {MAX_UNJUDGED:g} s")
        return [
            {
                "event": "unjudged",
                "channel": self.name,
                "start": line["start"],
                "end": line["end"],
                "message": message,
                "reason": reason,
            }
        ]

    def end(self) -> None:
        """End the stream, whose last windows are then in the queue."""
        self.stream.end()

    def tally(self) -> Tally:
        """Copy the tally, to continue after a restart; requires the lock of :meth:`take`."""
        evidence = self.evidence and self.evidence.state()
        return self._tally.model_copy(update={"now": self.stream.now, "evidence": evidence})

    def summary(self) -> Line:
        """Return the line ``end``."""
        tally = self._tally
        # Users' programs read these keys: docs/listen.md.
        summary: Line = {
            "event": "end",
            "channel": self.name,
            "seconds": self.stream.now,
            "windows": tally.num_scored,
            "skipped": tally.num_skipped,
            "failed": tally.num_failed,
            "lowest": tally.lowest and tally.lowest._asdict(),
            "filled": self.stream.filled,
            "remark": with_flag_names(self.stream.remark.text),
            "compute": _summary_of_times(self._computing),
            "lag": _summary_of_times(self._lags),
        }
        if self.evidence is not None:
            summary |= {"probability": None, "mean": None, **tally.last}
            summary["alarm_share"] = tally.num_alarms / max(1, tally.num_weighed)
        elif isinstance(self.decider, Decider):
            summary["unusual_share"] = tally.num_unusual / max(1, tally.num_speaking)
        else:
            summary |= tally.last
        if self._computing:
            summary["real_time_factor"] = float(np.mean(self._computing)) / self.hop
        return summary


def _summary_of_times(seconds: deque[float]) -> Line | None:
    if not seconds:
        return None
    median, p95, maximum = np.quantile(seconds, [0.5, 0.95, 1.0]).tolist()
    return {"median": median, "p95": p95, "max": maximum}
