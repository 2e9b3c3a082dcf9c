"""Judge recordings: the one way from a recording to an answer.

Commands, pages and Python programs use :func:`judge_recording` for one recording, :class:`Judge`
for many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

import torch

from nes2net.data.audio.read import LongAudio
from nes2net.data.audio.sources import Audio
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import BONAFIDE
from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.parts.contracts import check_rows
from nes2net.scoring.calibrated import check_decider, choose_num_samples, default_window
from nes2net.scoring.claimed import AnyDecider, PersonDecider
from nes2net.scoring.decisions.along import decide_along
from nes2net.scoring.decisions.decision import USUAL, Decider
from nes2net.scoring.decisions.population import Traits
from nes2net.scoring.files import judge_files
from nes2net.scoring.judged import AnyAnswer, Failed, Judged
from nes2net.scoring.judgement import AnyJudgement, Judgement, as_judgement
from nes2net.scoring.kernel import Scorer, check_takes_audio_alone, scores_segments, scoring_mode, values_or_raise
from nes2net.scoring.marks import Mark, evidence_readers
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.registry import evidence
from nes2net.scoring.score_length import RequestedSamples, ScoreLength
from nes2net.scoring.stream import Along, SecondsDone, Stream, window_samples
from nes2net.scoring.track import LONG_RECORDING, Track, WindowGrid, frame_scores, score_track
from nes2net.scoring.waveforms import RecordingToJudge

T = TypeVar("T")
_LLR = "llr: natural-log likelihood ratio of bona fide against spoof; above 0, the recording makes bona fide likelier"
_CONTRADICTION = "note: the score says bona fide, the mark says AI: the mark is the stronger evidence if it is real; see its false alarms"
#: ``watch(source, duration, hop)`` makes a context around a long recording, in seconds (hop 0 for
#: frames). It yields a function, called with the seconds judged so far, or None.
Watch: TypeAlias = Callable[[RecordingToJudge, float, float], AbstractContextManager[SecondsDone | None]]


@dataclass(frozen=True)
class JudgingSettings:
    """How much of recordings is judged, and how many at once."""

    num_samples: RequestedSamples = "auto"
    """Leading samples, repeating shorter recordings; None for all in one piece. ``"auto"``: as for the
    calibration or in training, else all, and beyond two minutes the mean score of windows."""
    along: Along = field(default_factory=Along)
    """The windows along a recording."""
    track: bool = False
    """Also return the scores of windows."""
    batch_size: int | None = None
    """Recordings or windows computed at once; None to suit the device."""
    workers: int | None = None
    """Threads that read files; None to suit the device."""
    evidence: Sequence[str] = ()
    """Evidence beside the answers: requests of :func:`nes2net.scoring.marks.evidence_readers`."""


class Judge(Generic[T]):
    """Judges recordings with a detector, a judgement and a decider.

    Args:
        judgement: a judgement, its name, or a mapping of name and options.
        decider: a calibration or threshold; None for no decisions.
        watch: shows the progress of long recordings.

    Raises:
        InputError: if the detector cannot judge so from audio alone, ``decider`` does not fit it or
            the judgement, or a number is out of its range.
    """

    def __init__(
        self,
        detector: Scorer,
        judgement: AnyJudgement[T] = "scores",
        decider: AnyDecider | None = None,
        settings: JudgingSettings | None = None,
        watch: Watch | None = None,
    ) -> None:
        check_takes_audio_alone(detector)
        self.detector = detector
        self.decider = decider
        self.settings = settings or JudgingSettings()
        self.watch = watch or (lambda source, duration, hop: nullcontext())
        self.judgement: Judgement[T] = as_judgement(judgement).decide_by(detector, decider)
        calibrated = decider.liveness if isinstance(decider, PersonDecider) else decider
        self._calibrated = calibrated if isinstance(calibrated, Decider) else None
        resolution_ms = self.judgement.options().get("resolution_ms")
        self._resolution_ms = resolution_ms if isinstance(resolution_ms, (int, float)) else None
        self._is_scored = self.judgement.is_score or (decider is not None and self.judgement.of_recordings)
        along = self.settings.along
        self._windows = along._replace(window=along.window or default_window(detector, self._calibrated))
        if along != Along() or self.settings.track:
            if not self._is_scored:
                raise InputError(
                    f"`track`, `window` and `hop` only work with scores along a recording, not with {self.judgement.name}: remove them"
                )
            window_samples(detector, *self._windows.fit_to_duration(0))  # raises an error for wrong numbers
        self._measurer = Measurer.of(detector, decider) if decider is not None and self._is_scored else None
        score_length = ScoreLength(None)
        if self.judgement.of_whole and self.settings.num_samples not in ("auto", None):
            raise InputError(f"{self.judgement.name} always need whole recordings: remove `num_samples`")
        if not self.judgement.of_whole:
            score_length = choose_num_samples(self._calibrated, detector.provenance, self.settings.num_samples)
        #: Number of leading samples that are judged; None for all.
        self.num_samples = score_length.num_samples
        #: Sentences that say how much of each recording is judged.
        self.notes = [score_length.words] if score_length.words else []
        self._explain_answers()
        self._evidence = evidence_readers(detector, self.settings.evidence)

    def _explain_answers(self) -> None:
        # Part of the constructor: sets the attributes that explain answers.
        detector = self.detector
        #: Sentences that say what makes the decisions uncertain.
        self.doubts: list[str] = []
        #: Sentences that explain the answers.
        self.meaning = self.judgement.meaning(detector)
        #: Facts for each answer, as plain data.
        self.facts: FactsDict = {"trained_on_segments": detector.trained_on_segments}
        if model := detector.provenance.published:
            self.facts |= {"published_model": model[0], "licence": model[1].licence}
        if self.decider is not None and (self._is_scored or self._calibrated):
            if isinstance(self.decider, Decider) and not self.decider.calibration.genuine:
                self.meaning.append(_LLR)
            self.meaning += self.decider.describe()
        if isinstance(self.decider, PersonDecider):
            self.facts["detector"] = detector.fingerprint()
        if self._calibrated is not None:
            self.doubts = check_decider(
                detector, self._calibrated, self.num_samples, self._resolution_ms, self.judgement.name
            )
        if isinstance(self.decider, Decider):
            self.facts["basis"] = self.decider.basis()

    @property
    def longest(self) -> int | None:
        """Samples of the longest recording judged in one piece; None without limit."""
        if self.judgement.has_frames and scores_segments(self.detector):
            return WindowGrid.of(self.detector).longest
        if self.judgement.is_score and self.settings.num_samples is not None:  # None: whole, whatever the length
            return round(LONG_RECORDING * SAMPLE_RATE)
        return None

    def with_watch(self, watch: Watch) -> Judge[T]:
        """Copy with another ``watch``, for a single recording."""
        judge = copy(self)
        judge.watch = watch
        return judge

    def answers(self, sources: Iterable[RecordingToJudge]) -> Iterator[AnyAnswer[T]]:
        """Yield an answer for each recording, computed when it is taken."""
        sources = list(sources)
        judged_files = judge_files(
            self.detector,
            self.judgement,
            sources,
            self.num_samples,
            batch_size=self.settings.batch_size,
            workers=self.settings.workers,
            longest=self.longest,
            measurer=self._measurer,
        )
        for source, judged in zip(sources, judged_files):
            try:
                if isinstance(judged, Judged):
                    answer = self._decide(source, judged)
                elif isinstance(judged.error, LongAudio):
                    answer = self._judge_long(source, judged)
                else:
                    yield judged
                    continue
                decider = self.decider if isinstance(self.decider, Decider) else None
                yield replace(answer, decider=decider, facts={**self.facts, **self._read_evidence(source, answer)})
            except InputError as error:
                yield Failed(judged.recording, error)

    def _read_evidence(self, source: RecordingToJudge, answer: Judged[T]) -> Facts:
        rows: FactsDict = {}
        for name, read in self._evidence:
            findings = rows.setdefault("evidence", [])
            try:
                with evidence.guard(name, "its reader"):
                    for finding in read(source):
                        key = "evidence"
                        if isinstance(finding, Mark):
                            key = "marks"
                        rows.setdefault(key, []).append({"finding": str(finding), **finding.facts})
            except InputError as error:  # the answer stays
                findings.append({"finding": f"{name}: {error.reason}"})
        claims = [mark.get("claim") for mark in rows.get("marks", ())]
        if "ai" in claims and answer.decision is not None and answer.decision.decision in (BONAFIDE, USUAL):
            rows["evidence"].append({"finding": _CONTRADICTION})
        return rows

    def answer(self, source: RecordingToJudge) -> AnyAnswer[T]:
        """Judge one recording."""
        return next(self.answers([source]))

    def _decide(self, source: RecordingToJudge, judged: Judged[T]) -> Judged[T]:
        if not self._is_scored:
            return judged
        score = self.judgement.score_of_value(judged.value)
        windows = self._deciding_windows(judged)
        track = None
        if windows is not None and self.decider is not None:
            track = self._score_along(source, judged.duration, windows)
            traits = self._measure_along(source, track, judged)
            decision = decide_along(self.decider, score, track, traits)
            judged = replace(judged, remark=track.remark, decision=decision)
        elif self.decider is not None:
            judged = replace(judged, decision=self.decider(score, judged.traits))
        if not self.settings.track:
            return judged
        # If the decision already needed windows of the same length and hop, use their scores.
        shown = self._windows.fit_to_duration(judged.duration)
        if track is None or windows != shown:
            track = self._score_along(source, judged.duration, shown)
        return replace(judged, track=track, hop=shown[1], shows_track=True)

    def _deciding_windows(self, judged: Judged[T]) -> tuple[float, float] | None:
        """Window and hop that decide; None if the score alone decides."""
        if self.decider is None:
            return None
        if self._calibrated is None:
            return self._windows.fit_to_duration(judged.duration) if judged.judged < 1 else None
        num_samples = choose_num_samples(self._calibrated, self.detector.provenance).num_samples
        if num_samples is None or judged.duration <= num_samples / SAMPLE_RATE:
            return None
        return Along(num_samples / SAMPLE_RATE).fit_to_duration(judged.duration)

    def _judge_long(self, source: RecordingToJudge, failed: Failed) -> Judged[Any]:
        duration = source.num_samples / SAMPLE_RATE
        if not self._is_scored:
            return self._judge_frames_of_long(source, duration, failed)
        windows = self._windows.fit_to_duration(duration)
        track = self._score_along(source, duration, windows)
        judged: Judged[Any] = Judged(
            failed.recording,
            self.judgement,
            track.score,
            track.duration,
            track.judged,
            track.remark,
            track=track,
            hop=windows[1],  # after the window's length
            is_mean=True,
            shows_track=self.settings.track,
        )
        if self.decider is None:
            return judged
        traits = self._measure_along(source, track, None)
        return replace(judged, traits=traits, decision=self.decider(track.score, traits))

    def _judge_frames_of_long(self, source: RecordingToJudge, duration: float, failed: Failed) -> Judged[Any]:
        # Of the judgements without a score, only scores of frames fail with LongAudio.
        blocks, channels = source.blocks()
        with self.watch(source, duration, 0.0) as progress:
            frames = frame_scores(
                self.detector,
                blocks,
                SAMPLE_RATE,
                resolution_ms=self._resolution_ms,
                batch_size=self.settings.batch_size,
                progress=progress,
                channels=channels,
            )
        return Judged(failed.recording, self.judgement, frames.scores, frames.duration, remark=frames.remark)

    def _measure_along(self, source: RecordingToJudge, track: Track, judged: Judged[T] | None) -> Traits:
        assert self._measurer is not None
        blocks, _ = source.blocks()
        if judged is None:
            return self._measurer.with_voice(self._measurer.along(blocks, track), source)
        return self._measurer.along(blocks, track, judged.traits)

    def _score_along(self, source: RecordingToJudge, duration: float, windows: tuple[float, float]) -> Track:
        window, hop = windows
        blocks, channels = source.blocks()
        with self.watch(source, duration, hop) as progress:
            stream = Stream(
                self.detector,
                SAMPLE_RATE,
                window=window,
                hop=hop,
                batch_size=self.settings.batch_size,
                progress=progress,
                channels=channels,
                score=self._score_windows,
            )
            return score_track(stream, blocks, SAMPLE_RATE)

    def _score_windows(self, waveforms: torch.Tensor) -> list[float]:
        waveforms = waveforms[:, : self.detector.used_samples(waveforms.shape[1])]  # B×N
        with scoring_mode(self.detector):
            values = self.judgement.start(self.detector, [waveforms])()
        check_rows(values, len(waveforms), "the judgement")
        return list(map(self.judgement.score_of_value, values_or_raise(values)))


def judge_recording(
    detector: Scorer,
    recording: Audio | RecordingToJudge,
    decider: AnyDecider | None = None,
    judgement: AnyJudgement[T] = "scores",
    *,
    sample_rate: float | None = None,
    settings: JudgingSettings | None = None,
) -> AnyAnswer[T]:
    """Judge one recording: remarks, traits, value, windows, decision and words.

    Args:
        recording, sample_rate: as for :meth:`nes2net.Detector.score`.
        decider, judgement, settings: as for :class:`Judge`, which also names the errors.
    """
    if not isinstance(recording, RecordingToJudge):
        recording = RecordingToJudge.of(recording, sample_rate)
    return Judge(detector, judgement, decider, settings).answer(recording)
