"""Score and draw uploaded recordings, a few at once and within limits."""

from __future__ import annotations

import io
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from nes2net.apps.serve.decoding import TooSlow, decode
from nes2net.apps.serve.limits import Limits
from nes2net.apps.serve.observing import Observer, RecordingTimes
from nes2net.data.audio.columns import RANGE, envelope, loudest_of, spectrogram
from nes2net.data.audio.parts import choose
from nes2net.data.audio.read import stream_audio
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.output.times import clock, readable_duration
from nes2net.lib.web.service_health import WHY_NOT, PresentWork
from nes2net.scoring.claimed import decider_on
from nes2net.scoring.judged import Failed, Judged, stretch_rows
from nes2net.scoring.judging import Judge, JudgingSettings
from nes2net.scoring.registry import ALL_MARKS
from nes2net.scoring.track import FrameScores
from nes2net.scoring.waveforms import RecordingToJudge

if TYPE_CHECKING:
    from nes2net.scoring.claimed import AnyDecider, PersonDecider
    from nes2net.scoring.decisions.decision import Decider
    from nes2net.scoring.kernel import Scorer

_OFFERED_FOR = 300.0  # seconds during which a browser can fetch a file for its player
_COLUMNS = 1200  # number of columns of a picture: about its width on the page in pixels
#: Function that shows progress. The function gets the fraction of the work that is done, and the current step in words.
Progress = Callable[[float, str], object]


class Busy(InputError):
    """As many recordings as allowed are waiting already."""

    http_status = 503


class TooLarge(InputError):
    """An upload is larger than allowed."""

    http_status = 413


class Closed(InputError):
    """The server is being stopped, or nobody waits for the answer any more."""

    http_status = 503


@dataclass(frozen=True)
class Picture:
    """Waveform and spectrogram in C columns over time."""

    low: np.ndarray
    """(C,), the lowest samples."""
    high: np.ndarray
    """(C,), the highest samples."""
    spectrogram: bytes
    """PNG in grey, loud is black; from 0 Hz at the bottom to 8 kHz."""


@dataclass(frozen=True)
class ScoredUpload:
    """The answer about an uploaded recording."""

    name: str
    judged: Judged[Any]
    basis: list[str]
    """What a decision rests on, in sentences; empty without a decider."""
    fakes: FrameScores | None = None
    """None if the detector was not trained on segments."""
    picture: Picture | None = None
    token: str = ""
    """Key in :attr:`Desk.player_files`, if any."""

    def row(self) -> dict[str, Any]:
        """Return the row of `nes2net predict --track --json`, and the fake stretches beside a score."""
        row = self.judged.to_row()
        if self.fakes is not None and self.fakes.rule is not None:
            row["segments"] = stretch_rows(self.fakes.stretches)
            row["segment_rule"] = {"resolution_ms": self.fakes.resolution_ms, **self.fakes.rule._asdict()}
        return row


class Desk(PresentWork):
    """Scores recordings within limits, in the threads that call :meth:`score`; a few at once, others wait.

    Args:
        folder: folder for temporary files. After scoring, it keeps only :attr:`player_files`, until
            :meth:`tidy`.
        decider: decides by a calibration; None for raw scores, as without a claim if it decides on claims.
        evidence: as for :class:`JudgingSettings`.
        people: decides on the person whom a request claims; None to refuse claims.

    Raises:
        InputError: if the calibration belongs to another detector, or if the usual windows are too
            short for the detector.
    """

    def __init__(
        self,
        detector: Scorer,
        folder: Path,
        limits: Limits | None = None,
        decider: Decider | None = None,
        observer: Observer | None = None,
        evidence: Sequence[str] = (),
        people: PersonDecider | None = None,
    ) -> None:
        self.detector = detector
        self.folder = folder
        self.decider = decider
        if people is not None and people.claim is not None:
            self.decider = None  # it decides on claims alone
        self.evidence = evidence
        self.people = people
        # Name of a judgement, its settings, and whether a person is claimed → its judge; others are made when they are
        # first asked for.
        self._judges: dict[tuple[str, JudgingSettings | None, bool], Judge[Any]] = {}
        judge = self._judge("scores")
        if people is not None:
            self._judge("scores", people=people)
        #: Notes for the user: what makes decisions uncertain, and which part of a recording is scored if that is
        #: unusual.
        self.notes = [*judge.notes, *judge.doubts]
        self.limits = limits or Limits()
        self._workers = threading.BoundedSemaphore(self.limits.workers)  # one slot for each recording being scored
        self._count_lock = threading.Lock()
        self._closed = threading.Event()
        #: Number of recordings that wait or are being scored.
        self.num_present = 0
        #: Counts and logs the recordings.
        self.observer = observer or Observer("")
        states = self.observer.present
        states.labels("running").set_function(lambda: min(self.num_present, self.limits.workers))
        states.labels("waiting").set_function(lambda: max(0, self.num_present - self.limits.workers))
        #: Token → file for the player, which is removed when a browser has fetched it, or after some minutes.
        self.player_files: dict[str, Path] = {}
        self._offered: dict[Path, float] = {}  # file for a player → reading of the monotonic clock when it was made

    def close(self) -> None:
        """End the scoring of all recordings at its next step."""
        self._closed.set()

    @property
    def max_present(self) -> int:
        return self.limits.workers + self.limits.waiting

    def busy_error(self) -> Busy:
        return Busy(
            f"busy: {pluralise(self.limits.waiting, 'recording is', 'recordings are')} waiting already; try again later"
        )

    def score(
        self,
        source: Path,
        name: str,
        *,
        for_page: bool = False,
        channel: int | None = None,
        judgement: str = "scores",
        marks: bool = False,
        person: str = "",
        progress: Progress = lambda fraction, step: None,
        check: Callable[[], object] = lambda: None,
    ) -> ScoredUpload:
        """Judge the file ``source`` as soon as a worker is free.

        Args:
            for_page: whether to make a picture, and a file for the player.
            channel: counted from 0; None for the mean of all.
            judgement: beside scores, a detector trained on segments also finds fake stretches.
            marks: whether to read marks beside scores.
            person: who is said to speak; empty if nobody is claimed.
            check: called often; an exception from it ends the scoring.

        Raises:
            InputError: if the file is not a recording, is damaged or is too long; if the detector
                cannot make this judgement; or if ``person`` is not enrolled here.
            TooSlow: if scoring takes longer than the time limit.
            Busy: if too many recordings are waiting.
            Closed: if the server is being stopped.
        """
        with self.observer.recording() as times, self._wait_for_turn(times), self.work_folder() as folder:
            check_end = partial(self._check_end, time.monotonic() + self.limits.timeout, check)
            progress(0.0, "decoding")
            judge = self._claiming(person, judgement, marks) if person else self._judge(judgement, marks)
            full_wav = folder / "full.wav"
            player_wav = folder / "player.wav" if for_page else None
            duration, channels = decode(
                choose(source, channel),
                full_wav,
                player_wav,
                num_samples=judge.num_samples,
                longest=self.limits.max_duration,
                check=check_end,
            )
            times.duration = duration
            origin = choose(name, channel)
            # The decoded file is judged, but the answer names the uploaded one.
            recording = RecordingToJudge(origin, full_wav, (channels.beginning, channels), source)
            finds_segments = judge.judgement.is_score and self.detector.trained_on_segments
            num_parts = 2 if finds_segments else 1

            def show(part: int, words: str, seconds: float) -> None:
                check_end()
                progress((part + seconds / duration) / num_parts, words.format(clock(seconds), clock(duration)))

            check_end()
            judged = _judge_or_raise(judge, recording, partial(show, 0, "scored {} of {}"))
            fakes = None
            if finds_segments:
                searched = partial(show, 1, "searched {} of {} for fakes")
                fakes = _judge_or_raise(self._judge("frames"), recording, searched).frames
                searched(duration)
            check_end()
            picture = draw(full_wav, duration) if for_page else None
            token = ""
            if player_wav:
                # Out of the work folder, which is removed now.
                token = token_urlsafe(16)
                offered = player_wav.rename(self.folder / f"{token}.wav")
                self.player_files[token] = offered
                self._offered[offered] = time.monotonic()
            basis = [*judge.decider.describe(), *self.notes] if judge.decider else []
            return ScoredUpload(name, judged, basis, fakes, picture, token)

    def _judge(self, judgement: str, marks: bool = False, people: PersonDecider | None = None) -> Judge[Any]:
        decider: AnyDecider | None = people
        settings = None
        if judgement == "scores":
            decider = people or self.decider
            evidence = [*self.evidence]
            if marks and ALL_MARKS not in evidence:
                evidence.append(ALL_MARKS)
            settings = JudgingSettings(track=True, evidence=tuple(evidence))
        key = (judgement, settings, people is not None)
        if key not in self._judges:
            self._judges[key] = Judge(self.detector, judgement, decider, settings)
        return self._judges[key]

    def _claiming(self, person: str, judgement: str, marks: bool) -> Judge[Any]:
        decider = decider_on(self.people, person, "send another name in the form field person, or none")
        judge = copy(self._judge(judgement, marks, decider))
        judge.decider = decider
        return judge

    def _check_end(self, deadline: float, check_caller: Callable[[], object]) -> None:
        check_caller()
        if self._closed.is_set():
            raise Closed(WHY_NOT["stopping"])
        if time.monotonic() > deadline:
            longest = readable_duration(self.limits.timeout, exact=True)
            raise TooSlow(f"took longer than {longest}, the time limit of a recording here: send a shorter part of it")

    def tidy(self, later: float = 0.0) -> None:
        """Remove player files offered minutes ago; tests move the clock by ``later`` seconds."""
        for path, since in list(self._offered.items()):
            with suppress(OSError):  # Windows cannot remove a file while it is being sent
                if since + _OFFERED_FOR < time.monotonic() + later:
                    self.player_files.pop(path.stem, None)
                    path.unlink(missing_ok=True)
                    del self._offered[path]

    @contextmanager
    def work_folder(self) -> Iterator[Path]:
        folder = Path(mkdtemp(dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _wait_for_turn(self, times: RecordingTimes) -> Iterator[None]:
        """Occupy a worker from ``times.began`` on; raise Busy or Closed at once."""
        with self._count_lock:
            if self.observer.state == "stopping":
                raise Closed(WHY_NOT["stopping"])
            if self.num_present >= self.max_present:
                raise self.busy_error()
            self.num_present += 1
        try:
            with self._workers:
                times.began = time.monotonic()
                yield
        finally:
            with self._count_lock:
                self.num_present -= 1


def _judge_or_raise(judge: Judge[Any], recording: RecordingToJudge, show: Callable[[float], object]) -> Judged[Any]:
    answer = judge.with_watch(lambda recording, duration, hop: nullcontext(show)).answer(recording)
    if isinstance(answer, Failed):
        raise answer.error
    return answer


def safe_suffix(name: str) -> str:
    """Return the suffix, by which FFmpeg recognises the format; "" if it is unusual.

    >>> safe_suffix("talk.m4a"), safe_suffix("a/../b.x y")
    ('.m4a', '')
    """
    suffix = Path(name).suffix
    return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix) else ""


def display_name(name: str | None) -> str:
    """Remove the folders from the file name in a request; ``"recording"`` if nothing is left.

    >>> display_name("C:\\\\talks\\\\a.wav"), display_name("../../etc/passwd"), display_name(None)
    ('a.wav', 'passwd', 'recording')
    """
    return re.split(r"[/\\]", name or "")[-1].strip()[:200] or "recording"


def draw(path: Path, duration: float) -> Picture:
    """Draw a WAV file (16 kHz mono) that lasts ``duration`` seconds."""
    decibels = spectrogram(stream_audio(path), duration, _COLUMNS)[::-1]  # from 8 kHz down to 0 Hz
    low, high = envelope(path, duration, decibels.shape[1])
    grey = np.clip((loudest_of(decibels) - decibels) / RANGE, 0, 1)
    buffer = io.BytesIO()
    Image.fromarray((255 * grey).astype(np.uint8)).save(buffer, "png")
    return Picture(low, high, buffer.getvalue())
