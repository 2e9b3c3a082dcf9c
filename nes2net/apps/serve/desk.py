"""Score and draw uploaded recordings, a few at once and within limits."""

from __future__ import annotations

import io
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import torch
from PIL import Image

from nes2net.apps.serve.decoding import TooSlow, decode
from nes2net.apps.serve.limits import Limits
from nes2net.apps.serve.observing import Observer, RecordingTimes
from nes2net.data.audio.packed import ChannelOf
from nes2net.data.audio.read import stream_audio
from nes2net.data.audio.remarks import remark_of
from nes2net.lib.errors import InputError, counted
from nes2net.lib.times import clock, readable_duration
from nes2net.metrics.localisation.segments import Segment
from nes2net.metrics.localisation.stretches import StretchRule, fake_stretches
from nes2net.scoring.calibrated import calibrated_samples, decide_by_track, decision_windows, notes_on, usual_window
from nes2net.scoring.decisions.along import DecisionAlong, suitable_hop
from nes2net.scoring.kernel import score_or_raise
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.score_length import length_of_training
from nes2net.scoring.stream import window_samples
from nes2net.scoring.track import LONG_RECORDING, Track, frame_scores, score_track
from nes2net.scoring.waveforms import WaveformReader

if TYPE_CHECKING:
    from nes2net.scoring.decisions.decision import Decider, Decision
    from nes2net.scoring.kernel import Scorer

#: The error message for a client that sends a recording while the server is being stopped.
STOPPING = "the server is being stopped"
_OFFERED_FOR = 300.0  # seconds during which a browser can fetch a file for its player
_COLUMNS = 1200  # number of columns of a picture: about its width on the page in pixels
_FFT = 512  # number of samples in each spectrum
_FFT_HOP = 160  # number of samples from one spectrum to the next
_MOST_FRAMES = 24  # largest number of spectra that are averaged for a column; a long column is only sampled
_RANGE = 70.0  # level difference between white and black in dB
_LOUD = -10.0  # lowest level that may be drawn black, in dB; a full-scale sine has 42 dB
#: Function that shows progress. The function gets the fraction of the work that is done, and the current step in words.
Progress = Callable[[float, str], object]


class Busy(InputError):
    """A recording is refused, because as many recordings as allowed are waiting already."""


class TooLarge(InputError):
    """An upload is larger than allowed."""


class Closed(InputError):
    """The server is being stopped, or nobody waits for the answer any more."""


@dataclass(frozen=True)
class Fakes:
    """The fake stretches of a recording, and the rule that found them."""

    stretches: list[Segment]
    resolution_ms: float
    rule: StretchRule

    def facts(self) -> dict[str, Any]:
        """Return the stretches and the rule as plain data, with the keys of `nes2net predict --segments --json`."""
        return {
            "segments": [
                {**stretch._asdict(), "start": round(stretch.start, 6), "end": round(stretch.end, 6)}
                for stretch in self.stretches
            ],
            "segment_rule": {"resolution_ms": self.resolution_ms, **self.rule._asdict()},
        }


@dataclass(frozen=True)
class Meaning:
    """The decision about a recording, and the decider that made it from a calibration."""

    decision: Decision
    decider: Decider


@dataclass(frozen=True)
class Picture:
    """Waveform and spectrogram of a recording, both in C columns over time."""

    low: np.ndarray
    """(C,), the lowest sample of each column."""
    high: np.ndarray
    """(C,), the highest sample of each column."""
    spectrogram: bytes
    """PNG in grey, loud is black; 0 Hz is at the bottom, 8 kHz at the top."""


@dataclass(frozen=True)
class Scored:
    """A recording and its scores."""

    name: str
    score: float
    track: Track
    judged: float
    """Fraction of the recording that was scored, 0 to 1."""
    hop: float
    """Seconds from one score of the track to the next."""
    meaning: Meaning | None = None
    """The decision; None without a calibration."""
    num_samples: int | None = None
    """Number of leading samples that were scored; None for all samples."""
    picture: Picture | None = None
    token: str = ""
    """Key in :attr:`Desk.player_files` of the file for a player; empty if there is no such file."""
    fakes: Fakes | None = None
    """The fake stretches; None if the detector was not trained on segments."""
    remark: str = ""
    """A remark about the scored samples (:mod:`nes2net.data.audio.remarks`); empty if there is nothing to remark."""
    channel: int | None = None
    """Number of the channel that was scored, counted from 0; None for the mean of all channels."""

    def row(self) -> dict[str, Any]:
        """Return the scores as plain data, with the keys of `nes2net predict --track --json`.

        If the detector was trained on segments, the row also has the keys of ``--segments``.
        """
        track = self.track
        start, end, lowest = track.lowest
        row: dict[str, Any] = {"file": self.name}
        if self.channel is not None:
            row["channel"] = self.channel
        row["score"] = self.score
        if self.meaning:
            row |= {**self.meaning.decision.row(), "basis": self.meaning.decider.basis()}
        row |= {"duration": track.duration, "judged": self.judged}
        if self.num_samples is not None:
            row |= {"method": "beginning", "samples": self.num_samples}
        else:
            row["method"] = "track" if self.is_mean else "whole"
        row |= {
            "window": track.window,
            "hop": self.hop,
            "windows": len(track),
            "lowest": {"score": lowest, "start": round(start, 6), "end": round(end, 6)},
        }
        if self.remark:
            row["remark"] = self.remark
        if self.fakes:
            row |= self.fakes.facts()
        return row | {"times": track.times.round(6).tolist(), "scores": track.scores.tolist()}

    @property
    def along(self) -> DecisionAlong | None:
        """The decision, if it was made from many windows along the recording; None otherwise."""
        if self.meaning and isinstance(self.meaning.decision, DecisionAlong):
            return self.meaning.decision
        return None

    @property
    def is_mean(self) -> bool:
        """Whether the score is the mean score of all windows, which `nes2net predict` gives for long recordings."""
        return self.num_samples is None and self.track.duration > LONG_RECORDING


class Desk:
    """Scores recordings within limits; each recording is scored in the thread that calls :meth:`score`.

    Args:
        detector: detector that scores the recordings.
        folder: folder for temporary files. After scoring, this folder keeps only the files in
            :attr:`player_files`. :meth:`withdraw` removes these files at once, and :meth:`tidy`
            removes them some minutes after :meth:`offer`.
        limits: limits for recordings; None for the defaults.
        decider: decides by a calibration; None for raw scores.

    Raises:
        InputError: if the calibration belongs to another detector, or if the usual windows are too
            short for the detector.
    """

    def __init__(
        self, detector: Scorer, folder: Path, limits: Limits | None = None, decider: Decider | None = None
    ) -> None:
        window = usual_window(detector, decider)
        window_samples(detector, window, window)  # raises an error if the windows are too short for the detector
        self.detector = detector
        self.folder = folder
        self.decider = decider
        #: Number of leading samples of a recording that are scored; None for all samples.
        self.num_samples, _ = score_length = calibrated_samples(decider, detector.provenance)
        #: Notes for the user. The notes say what makes decisions uncertain. If an unusual part of a recording is
        #: scored, a note says which part.
        self.notes = [score_length.words] if score_length.words else []
        self.notes += notes_on(detector, decider, self.num_samples) if decider else []
        self.limits = limits or Limits()
        self._workers = threading.BoundedSemaphore(self.limits.workers)  # one slot for each recording being scored
        self._count_lock = threading.Lock()
        self._closed = threading.Event()
        #: Number of recordings that wait or are being scored.
        self.num_present = 0
        #: Whether new recordings are refused, because the server stops as soon as the present recordings are scored.
        self.is_finishing = False
        #: Counts and logs the recordings.
        self.observer = Observer()
        states = self.observer.present
        states.labels("running").set_function(lambda: min(self.num_present, self.limits.workers))
        states.labels("waiting").set_function(lambda: max(0, self.num_present - self.limits.workers))
        #: Token → file for the player. A file is removed when a browser has fetched it, or some minutes after
        #: :meth:`offer`.
        self.player_files: dict[str, Path] = {}
        self._offered_until: dict[str, float] = {}  # token → time at which the offered file is removed

    def close(self) -> None:
        """End the scoring of all recordings; each scoring ends at its next step."""
        self._closed.set()

    def finish(self) -> None:
        """Refuse new recordings from now on; the present recordings are still scored."""
        self.is_finishing = True

    @property
    def most_present(self) -> int:
        """Largest number of recordings that may be present at once."""
        return self.limits.workers + self.limits.waiting

    @property
    def is_full(self) -> bool:
        """Whether a further recording would be refused now."""
        return self.num_present >= self.most_present

    def busy_error(self) -> Busy:
        """Make the error for a recording that is refused because too many recordings wait."""
        return Busy(
            f"busy: {counted(self.limits.waiting, 'recording is', 'recordings are')} waiting already; try again later"
        )

    def score(
        self,
        source: Path,
        name: str,
        *,
        look: bool = False,
        channel: int | None = None,
        progress: Progress = lambda fraction, step: None,
        check: Callable[[], object] = lambda: None,
    ) -> Scored:
        """Score the file ``source`` as soon as a worker is free.

        Args:
            name: name of the recording in the result.
            look: whether to make a picture, too, and a file for the player of the page.
            channel: number of the channel to score, counted from 0; None for the mean of all
                channels.
            progress: called with the progress, see :data:`Progress`.
            check: called often; if it raises an exception, the scoring ends with this exception.

        Raises:
            InputError: if the file is not a recording, is damaged or is too long.
            TooSlow: if scoring takes longer than the time limit.
            Busy: if too many recordings are waiting.
            Closed: if the server is being stopped.
        """
        with self.observer.recording() as times, self._wait_for_turn(times), self.work_folder() as folder:
            check_end = partial(self._check_end, time.monotonic() + self.limits.timeout, check)
            progress(0.0, "decoding")
            full_wav = folder / "full.wav"
            player_wav = folder / "player.wav" if look else None
            duration, channels = decode(
                source if channel is None else ChannelOf(source, channel),
                full_wav,
                player_wav,
                longest=self.limits.max_duration,
                check=check_end,
            )
            times.duration = duration
            finds_segments = self.detector.trained_on_segments

            def show_scoring(seconds: float) -> None:
                check_end()
                share = seconds / duration / (2 if finds_segments else 1)  # the search for fakes fills the other half
                progress(share, f"scored {clock(seconds)} of {clock(duration)}")

            # Score the windows. If the score is not the mean of the windows, score the recording in one piece, too.
            check_end()
            window = usual_window(self.detector, self.decider)
            hop = suitable_hop(duration, window)
            track = score_track(
                self.detector, full_wav, window=window, hop=hop, progress=show_scoring, channels=channels
            )
            score = track.score
            judged = track.judged
            remark = track.remark
            recording = None
            if (
                self.num_samples is not None or duration <= LONG_RECORDING
            ):  # score in one piece, as `nes2net predict` does
                recording = WaveformReader.of(self.detector, self.num_samples).read(full_wav)
                score = score_or_raise(self.detector, torch.from_numpy(recording.waveform)[None])[0]
                judged = recording.judged
                trained_on = length_of_training(self.detector.provenance)
                remark = remark_of(recording.plain, recording.num_samples, channels, trained_on)
            fakes = self._find_fakes(full_wav, duration, check_end, progress) if finds_segments else None
            # Decide by the calibration.
            meaning = None
            if self.decider is not None:
                measurer = Measurer.of(self.detector, self.decider)
                traits = measurer.of_recording(recording, remark) if recording else None
                blocks = stream_audio(full_wav)
                decision: Decision
                if decision_windows(self.detector, self.decider, duration) is not None:
                    remark = track.remark
                    decision = decide_by_track(self.detector, self.decider, score, track, blocks, traits)
                else:
                    decision = self.decider(score, traits or measurer.along(blocks, track))
                meaning = Meaning(decision, self.decider)
            # Make the picture, and keep the file for the player.
            picture = draw(full_wav, check_end) if look else None
            token = ""
            if player_wav:
                token = token_urlsafe(16)
                self.player_files[token] = player_wav.rename(self._player_path(token))
            return Scored(
                name, score, track, judged, hop, meaning, self.num_samples, picture, token, fakes, remark.text, channel
            )

    def _find_fakes(self, path: Path, duration: float, check_end: Callable[[], object], progress: Progress) -> Fakes:
        def show_progress(seconds: float) -> None:
            check_end()
            # Scoring took the first half of the progress bar.
            progress(0.5 + seconds / duration / 2, f"searched {clock(seconds)} of {clock(duration)} for fakes")

        rule = StretchRule.of(self.detector.score_rule)
        frames = frame_scores(self.detector, path, progress=show_progress)
        stretches = fake_stretches(frames.scores, frames.resolution_ms, frames.duration, rule)
        return Fakes(stretches, frames.resolution_ms, rule)

    def _check_end(self, deadline: float, check_caller: Callable[[], object]) -> None:
        """Raise an error if the scoring of a recording has to end: at the ``deadline``, or if the server is stopped."""
        check_caller()
        if self._closed.is_set():
            raise Closed(STOPPING)
        if time.monotonic() > deadline:
            longest = readable_duration(self.limits.timeout, exact=True)
            raise TooSlow(f"took longer than {longest}, the time that one recording is given here")

    def _player_path(self, token: str) -> Path:
        return self.folder / f"{token}.wav"

    def offer(self, tokens: Iterable[str]) -> None:
        """Let the browser fetch the player files of these ``tokens`` during the next minutes."""
        self._offered_until |= dict.fromkeys(tokens, time.monotonic() + _OFFERED_FOR)

    def withdraw(self, tokens: Iterable[str]) -> None:
        """Remove the player files of these ``tokens``."""
        for token in tokens:
            self.player_files.pop(token, None)
            with suppress(OSError):  # Windows cannot remove a file while it is being sent
                self._player_path(token).unlink(missing_ok=True)

    def tidy(self, later: float = 0.0) -> None:
        """Remove player files that were offered minutes ago; tests move the clock forward by ``later`` seconds."""
        for token, until in list(self._offered_until.items()):
            if until < time.monotonic() + later:
                self.withdraw([token])
                self._offered_until.pop(token, None)

    @contextmanager
    def work_folder(self, prefix: str | None = None) -> Iterator[Path]:
        """Make a folder for this context, and remove it with its content afterwards.

        Args:
            prefix: beginning of the name of the folder.
        """
        folder = Path(mkdtemp(dir=self.folder, prefix=prefix))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _wait_for_turn(self, times: RecordingTimes) -> Iterator[None]:
        """Wait until a worker is free, occupy the worker in this context, and store the beginning in ``times.began``.

        Raises:
            Busy: immediately, without waiting, if too many recordings wait.
            Closed: immediately, without waiting, if the server is being stopped.
        """
        with self._count_lock:
            if self.is_finishing:
                raise Closed(STOPPING)
            if self.is_full:
                raise self.busy_error()
            self.num_present += 1
        try:
            with self._workers:
                times.began = time.monotonic()
                yield
        finally:
            with self._count_lock:
                self.num_present -= 1


def safe_suffix(name: str) -> str:
    """Return the suffix of a file, by which FFmpeg recognises the format; return "" for an unusual suffix.

    >>> safe_suffix("talk.m4a"), safe_suffix("a/../b.x y")
    ('.m4a', '')
    """
    suffix = Path(name).suffix
    return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix) else ""


def display_name(name: str | None) -> str:
    """Remove the folders from the file name in a request, to show the name; ``"recording"`` if nothing is left.

    >>> display_name("C:\\\\talks\\\\a.wav"), display_name("../../etc/passwd"), display_name(None)
    ('a.wav', 'passwd', 'recording')
    """
    return re.split(r"[/\\]", name or "")[-1].strip()[:200] or "recording"


def draw(path: Path, check: Callable[[], object]) -> Picture:
    """Draw waveform and spectrogram of a recording.

    Args:
        path: WAV file, 16 kHz mono.
        check: called for every column; if it raises an exception, the drawing ends with this
            exception.
    """
    low = []
    high = []
    spectra = []
    window = np.hanning(_FFT).astype(np.float32)
    # The window of a spectrum also takes samples from before its column, because a column may be shorter than a window.
    before = np.zeros(_FFT - _FFT_HOP, np.float32)
    with soundfile.SoundFile(path) as file:
        samples_a_column = max(_FFT_HOP, -(-file.frames // _COLUMNS))
        while len(samples := file.read(samples_a_column, dtype="float32")):
            check()
            low.append(samples.min())
            high.append(samples.max())
            padded = np.concatenate([before, samples, np.zeros(max(0, _FFT_HOP - len(samples)), np.float32)])
            before = padded[-len(before) :]
            num_frames = min(_MOST_FRAMES, 1 + (len(padded) - _FFT) // _FFT_HOP)
            starts = np.linspace(0, len(padded) - _FFT, num_frames).astype(int)
            frames = padded[starts[:, None] + np.arange(_FFT)] * window
            spectra.append(np.square(np.abs(np.fft.rfft(frames))).mean(0))
    power = np.array(spectra).T[::-1]  # bins × columns, from 8 kHz down to 0 Hz
    decibels = 10 * np.log10(power + 1e-9)
    loudest = max(_LOUD, np.quantile(decibels, 0.999))
    grey = np.clip((loudest - decibels) / _RANGE, 0, 1)
    buffer = io.BytesIO()
    Image.fromarray((255 * grey).astype(np.uint8)).save(buffer, "png")
    return Picture(np.array(low), np.array(high), buffer.getvalue())
