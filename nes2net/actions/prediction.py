"""Score audio files with a detector, also along their time or by their fake stretches.

The work of `nes2net predict`, which Python programs can call, too.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nes2net.data.audio.files import with_folders_listed
from nes2net.data.audio.packed import AnyRecording, ChannelOf, all_channels
from nes2net.data.audio.read import LongAudio, count_channels, count_samples, stream_audio
from nes2net.data.audio.remarks import Remark
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.evaluation.judgements import Scores
from nes2net.evaluation.origin import card
from nes2net.lib.errors import InputError, counted, worded
from nes2net.lib.progress import ProgressDisplay
from nes2net.lib.terminal import printable_name
from nes2net.lib.times import readable_duration
from nes2net.metrics.localisation.segments import Segment
from nes2net.metrics.localisation.stretches import MIN_DURATION, StretchRule, fake_stretches
from nes2net.models.backends.base import NATURE
from nes2net.scoring.calibrated import (
    TrackWindows,
    calibrated_samples,
    decide_by_track,
    decision_windows,
    notes_on,
    stretch_rule,
    usual_window,
)
from nes2net.scoring.decisions.along import suitable_hop
from nes2net.scoring.decisions.decision import CANNOT_TELL, Decider
from nes2net.scoring.decisions.population import Traits
from nes2net.scoring.files import JudgedFile, judge_files
from nes2net.scoring.judgement import Judgement
from nes2net.scoring.kernel import Scorer, check_takes_audio_alone
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.score_length import samples_to_score
from nes2net.scoring.stream import window_samples
from nes2net.scoring.track import LONG_RECORDING, Track, frame_scores, score_track


@dataclass(frozen=True)
class Prediction:
    """The result for one recording."""

    recording: AnyRecording
    """The recording, or one channel of it."""
    row: dict[str, Any]
    """Plain data for JSON: ``file``; then ``error``, or ``duration`` in seconds, ``method`` and the
    answer to the question. With a calibration, the log-likelihood ratio, the probability and the
    decision stand beside the score."""
    track: Track | None = None
    """Scores along the time, of windows or of frames, if the question asks for them."""
    stretches: list[Segment] = field(default_factory=list)
    """Fake stretches, if the question asks for them."""
    words: str = ""
    """How the decision along the recording came about, or the answer of another judgement, in words."""

    @property
    def path(self) -> Path:
        """The file of the recording."""
        return Path(str(all_channels(self.recording)))


@dataclass(frozen=True)
class Predictions:
    """The outcome of :func:`predict`."""

    notes: list[str]
    """How the recordings are scored, a sentence each."""
    meaning: list[str]
    """The meaning of the scores, a sentence each: the detector, its training, remarks on both."""
    rows: Iterator[Prediction]
    """A result for each recording or channel, in order; each is computed when it is taken from the
    iterator."""
    count: int
    """Number of the rows."""


@dataclass(frozen=True)
class Asking:
    """The detector that answers a question, with settings of the computation."""

    detector: Scorer
    decider: Decider | None = None
    """Decides on scores by a calibration; None without a calibration."""
    batch_size: int | None = None
    workers: int | None = None
    """Number of threads that read files."""

    @property
    def score_nature(self) -> str:
        """One sentence that explains the detector's score."""
        return f"score: higher means more bona fide; it is {NATURE[self.detector.score_rule]}"


class Answer(NamedTuple):
    """The results of a question for :func:`predict`, and facts to check the calibration."""

    rows: Iterator[Prediction]
    notes: list[str]
    meaning: list[str]
    num_samples: int | None = None
    """Leading samples that are scored; None for all, 0 for windows along a recording."""
    resolution_ms: float | None = None
    """Length in ms of the frames that are scored; None if recordings are scored."""


class Question(ABC):
    """The kind of answer that is wanted for each recording."""

    @abstractmethod
    def answer(self, asking: Asking, recordings: list[AnyRecording]) -> Answer:
        """Answer the question for ``recordings``; a row is computed when it is taken.

        Raises:
            InputError: if the detector cannot answer the question.
        """


@dataclass(frozen=True)
class Along:
    """The windows along a recording, each of which has a score."""

    window: float | None = None
    """Length of a window in seconds; None for that of the calibration's scores, or of the training crops."""
    hop: float | None = None
    """Distance of windows in seconds; None for half a window in recordings of up to two minutes, and for a
    whole one in longer ones."""

    def suited(self, duration: float) -> TrackWindows:
        """The windows for a recording of ``duration`` seconds, if ``window`` is given."""
        assert self.window is not None
        hop = self.hop
        if hop is None:
            hop = suitable_hop(duration, self.window)
        return TrackWindows(self.window, hop)


@dataclass(frozen=True)
class Once(Question):
    """One score for each recording."""

    num_samples: int | Literal["auto"] | None = "auto"
    """Number of leading samples to score, repeating shorter recordings; None for all in one piece.
    ``"auto"`` takes the number of the calibration or of the detector's training, or else all."""
    along: Along | None = None
    """The windows of ``track``, and of recordings longer than two minutes that are scored whole, by
    the mean of their windows, with ``num_samples`` ``"auto"``. None for the usual windows."""
    track: bool = False
    """Whether to give the scores along each recording, too. They do not change the score of the
    recording."""
    threshold: float | None = None
    """The lowest score at which the decision is bona fide, not spoof; None for no decision."""

    def answer(self, asking: Asking, recordings: list[AnyRecording]) -> Answer:
        detector = asking.detector
        windows = self.along or Along()
        window = windows.window
        if window is None:
            window = usual_window(detector, asking.decider)
        windows = replace(windows, window=window)
        if self.along or self.track:
            window_samples(detector, *windows.suited(0))  # raises for wrong numbers before any file is read
        notes = []
        if self.num_samples == "auto":
            score_length = calibrated_samples(asking.decider, detector.provenance)
            num_samples = score_length.num_samples
            if score_length.words:
                notes.append(
                    f"{score_length.words}; `score_track` scores all of a file along its time, `num_samples=None` in one piece"
                )
        else:
            num_samples = self.num_samples
        means_along = self.num_samples is not None and num_samples is None
        if self.along and not self.track and not (means_along and any(map(_is_long, recordings))):
            raise InputError(
                "`window` and `hop` would change nothing: no recording is scored along its time; add `track` for scores "
                "along each one, or leave them out"
            )
        meaning = []
        if self.threshold is not None:
            meaning.append(f"decision: bona fide from a score of {self.threshold:g} on, the `threshold` that you gave")
        scoring = _Scoring(asking, self, windows, num_samples, means_along)
        return Answer(scoring.rows(recordings), notes, [*meaning, asking.score_nature], num_samples)


@dataclass(frozen=True)
class Stretches(Question):
    """The fake stretches of each recording, by a detector that scores segments."""

    resolution_ms: float | None = None
    """Length of a frame in ms; None for that of the calibration, or the shortest of the
    detector."""
    threshold: float | None = None
    hysteresis: float | None = None
    min_duration: float = MIN_DURATION
    """Threshold, hysteresis and shortest duration as for
    :meth:`nes2net.metrics.localisation.stretches.StretchRule.of`."""

    def answer(self, asking: Asking, recordings: list[AnyRecording]) -> Answer:
        detector = asking.detector
        rule, resolution_ms = stretch_rule(
            detector,
            asking.decider,
            resolution_ms=self.resolution_ms,
            threshold=self.threshold,
            hysteresis=self.hysteresis,
            min_duration=self.min_duration,
        )
        notes = []
        if not detector.trained_on_segments:
            notes.append(
                "this detector was trained on whole recordings, not on segments: what it finds in them may mean nothing"
            )
        goes_on = ""
        if rule.hysteresis:
            goes_on = f" and goes on up to {rule.threshold + rule.hysteresis:g}"
        notes.append(
            f"a fake stretch begins at a score of at most {rule.threshold:g}{goes_on}, and lasts {rule.min_duration:g} s at "
            f"least; frames of {resolution_ms:g} ms"
        )
        rows = (_stretches(asking, recording, rule, resolution_ms) for recording in recordings)
        return Answer(rows, notes, [asking.score_nature], resolution_ms=resolution_ms)


@dataclass(frozen=True)
class Judged(Question):
    """A judgement of each recording, shown by :meth:`~nes2net.scoring.judgement.Judgement.tell`."""

    judgement: Judgement[Any]
    num_samples: int | Literal["auto"] | None = "auto"
    """As for :class:`Once`; a long recording is judged in one piece."""

    def answer(self, asking: Asking, recordings: list[AnyRecording]) -> Answer:
        if asking.decider is not None:
            raise InputError(f"`calibration` decides on scores, not on {self.judgement.name}: leave it out")
        asked_samples = self.num_samples
        if self.judgement.of_whole:
            asked_samples = None
        score_length = samples_to_score(asking.detector.provenance, asked_samples)
        judgement = self.judgement.fitted(asking.detector)
        judged = judge_files(
            asking.detector,
            judgement,
            recordings,
            score_length.num_samples,
            batch_size=asking.batch_size,
            workers=asking.workers,
        )
        notes = []
        if score_length.words:
            notes.append(score_length.words)
        return Answer(_rows_of(judgement, judged, score_length.num_samples), notes, judgement.meaning())


def _rows_of(
    judgement: Judgement[Any], judged: Iterator[JudgedFile[Any]], num_samples: int | None
) -> Iterator[Prediction]:
    """The results for ``judged`` files, as rows and in words."""
    for file in judged:
        source = file.path
        if isinstance(file.result, InputError):
            yield _failed(source, file.result)
            continue
        told = judgement.tell(file.result)
        row = {**_names(source), "judgement": judgement.name, **told}
        remark = "; ".join(filter(None, [row.pop("remark", ""), file.remark.text]))
        if remark:
            row["remark"] = remark
        yield Prediction(source, row | _extent(file, num_samples), words=judgement.in_words(told))


def predict(
    detector: Scorer,
    files: Iterable[str | Path],
    question: Question | None = None,
    *,
    channel: int | Literal["mix", "each"] = "mix",
    decider: Decider | None = None,
    calibration: str | Path = "",
    batch_size: int | None = None,
    workers: int | None = None,
) -> Predictions:
    """Judge audio files of any format. If a file cannot be judged, its row states the reason.

    Args:
        files: audio files, and folders, which are searched for audio files.
        question: one score for each recording (:class:`Once`, the default), its fake stretches (:class:`Stretches`),
            or any judgement (:class:`Judged`).
        channel: what is judged of a recording with several channels: their mean, one of them (counted
            from 0), or ``"each"``, with a row for each channel.
        decider: decides on the scores; None for no decisions.
        calibration: the file of the calibration in ``decider``, for the rows.
        batch_size: number of utterances or windows that are computed at once; None for a number
            that suits the device.
        workers: number of threads that read files.

    Raises:
        InputError: if a folder has no audio files; if the detector needs more than audio, or does
            not score segments although stretches are asked for; if a number is out of its range; if
            the calibration was learned from scores of another detector; or if windows are given,
            but no recording is scored along its time.
    """
    check_takes_audio_alone(detector)
    recordings: list[AnyRecording] = []
    for path in with_folders_listed(map(str, files)):
        recordings += _channels_of(path, channel)
    answer = (question or Once()).answer(Asking(detector, decider, batch_size, workers), recordings)
    model = detector.provenance.published
    described = card(detector.provenance)
    facts: dict[str, Any] = {}
    meaning = [f"detector: {described}"] if described else []
    if model:
        facts |= {"published_model": model[0], "licence": model[1].licence}
        meaning += model[1].notes
    meaning += answer.meaning
    if decider:
        meaning += [
            "llr: natural-log likelihood ratio of bona fide against spoof; above 0, the recording makes bona fide likelier",
            *decider.described(),
            *notes_on(detector, decider, answer.num_samples, answer.resolution_ms),
        ]
        facts |= {"calibration": str(calibration), "basis": decider.basis()}
    rows = (replace(prediction, row=prediction.row | facts) for prediction in answer.rows)
    return Predictions(answer.notes, meaning, rows, len(recordings))


#: Columns of a table of rows, of those that any row has.
COLUMNS = (
    *("file", "channel", "score", "duration", "llr", "probability", "decision", "reason", "p_value", "judged"),
    *("rests_on", "stretch_start", "stretch_end", "shortest_found", "remark", "error"),
)


def as_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a row for the columns of a table, with those of the decision along the recording."""
    along = row.get("along", {})
    columns = {**row, **{name: along.get(name) for name in ("rests_on", "shortest_found")}}
    stretch = along.get("stretch", {})
    if stretch.get("stands_out"):
        columns |= {"stretch_start": stretch["start"], "stretch_end": stretch["end"]}
    return {name: columns[name] for name in COLUMNS if name in row or columns.get(name) is not None}


def _channels_of(path: Path, channel: int | Literal["mix", "each"]) -> list[AnyRecording]:
    """What is judged of a file: the mean of its channels, one of them, or each."""
    if channel == "mix":
        return [path]
    if channel == "each":
        try:
            count = count_channels(path)
        except InputError:  # reported when the file is judged
            return [path]
        if count == 1:
            return [path]
        return [ChannelOf(path, number) for number in range(count)]
    return [ChannelOf(path, channel)]


def _names(source: AnyRecording) -> dict[str, Any]:
    """The facts of a row that say which recording, and which channel, it is about."""
    names: dict[str, Any] = {"file": str(all_channels(source))}
    if isinstance(source, ChannelOf):
        names["channel"] = source.channel
    return names


def _shown(source: AnyRecording) -> str:
    """The name of a recording for people, without its folders."""
    return printable_name(Path(str(source)).name)


def _extent(file: JudgedFile[Any], num_samples: int | None) -> dict[str, Any]:
    """The facts of a row about the length of a recording and the judged part."""
    extent = {"duration": file.num_samples / SAMPLE_RATE, "judged": file.judged}
    if num_samples is None:
        return {**extent, "method": "whole"}
    return {**extent, "method": "beginning", "samples": num_samples}


@dataclass(frozen=True)
class _Scoring:
    """Scores one recording after another, for :class:`Once`."""

    asking: Asking
    question: Once
    windows: Along
    num_samples: int | None
    means_along: bool
    """Whether a recording of more than two minutes is scored by the mean along its time."""

    def rows(self, recordings: list[AnyRecording]) -> Iterator[Prediction]:
        """The results for ``recordings``, in order."""
        asking = self.asking
        longest_whole = None
        if self.means_along:
            longest_whole = round(LONG_RECORDING * SAMPLE_RATE)
        judged = judge_files(
            asking.detector,
            Scores(),
            recordings,
            self.num_samples,
            batch_size=asking.batch_size,
            workers=asking.workers,
            longest=longest_whole,
            measurer=Measurer.of(asking.detector, asking.decider) if asking.decider else None,
        )
        for file in judged:
            source = file.path
            try:
                if isinstance(file.result, LongAudio) and self.means_along:
                    yield self._mean(source)
                elif isinstance(file.result, InputError):
                    yield _failed(source, file.result)
                else:
                    yield self._score(source, file, file.result)
            except InputError as error:
                yield _failed(source, error)

    def _score(self, source: AnyRecording, file: JudgedFile[float], score: float) -> Prediction:
        """The row of a recording that has a score; the decision is made along the recording."""
        row = {**_names(source), "score": score}
        extent = _extent(file, self.num_samples)
        duration = extent["duration"]
        most_samples = self.asking.detector.used_samples.most
        if most_samples is not None and min(file.num_samples, self.num_samples or file.num_samples) > most_samples:
            print(
                f"{_shown(source)}: the detector reads the first {most_samples / SAMPLE_RATE:g} s alone; "
                f"{worded('`score_track`')} scores all of it",
                file=sys.stderr,
            )
            extent |= {"method": "beginning", "samples": most_samples}
        decider = self.asking.decider
        windows = None
        if decider:
            windows = decision_windows(self.asking.detector, decider, duration)
        elif self.question.threshold is not None and extent["judged"] < 1:
            windows = self.windows.suited(duration)
        track = None
        remark = file.remark
        words = ""
        if windows is not None:
            track = self._track(source, duration, *windows)
            remark = track.remark
            along, words = self._decided_along(source, score, track, file.traits)
            row |= along
        else:
            row |= self._decided(score, file.traits, remark)
        row |= extent
        if remark.text:
            row["remark"] = remark.text
        if not self.question.track:
            return Prediction(source, row, words=words)
        shown = self.windows.suited(duration)
        if track is None or windows != shown:
            track = self._track(source, duration, *shown)
        return Prediction(source, row | self._facts_of(track, shown.hop), track, words=words)

    def _mean(self, source: AnyRecording) -> Prediction:
        """Score a long recording by the mean along its time; unless its track is shown, note this first."""
        duration = count_samples(source) / SAMPLE_RATE
        window, hop = self.windows.suited(duration)
        if not self.question.track:
            print(
                f"{_shown(source)} lasts {readable_duration(duration, exact=True)}: its score is "
                f"the mean over windows of {window:.3g} s, one every {hop:.3g} s; "
                + worded("`num_samples=N` scores the beginning alone, `num_samples=None` all of it in one piece"),
                file=sys.stderr,
            )
        track = self._track(source, duration, window, hop)
        traits = None
        if self.asking.decider:
            traits = Measurer.of(self.asking.detector, self.asking.decider).along(stream_audio(source), track)
        row = {**_names(source), "score": track.score, **self._decided(track.score, traits, track.remark)}
        row |= {"duration": track.duration, "judged": track.judged, "method": "track"}
        if track.remark.text:
            row["remark"] = track.remark.text
        return Prediction(source, row | self._facts_of(track, hop), track if self.question.track else None)

    def _track(self, source: AnyRecording, duration: float, window: float, hop: float) -> Track:
        """Score ``source`` along its time, with a display of ``duration`` seconds."""
        with _seconds_shown(source, duration) as progress:
            return score_track(
                self.asking.detector,
                source,
                window=window,
                hop=hop,
                batch_size=self.asking.batch_size,
                progress=progress,
            )

    def _facts_of(self, track: Track, hop: float) -> dict[str, Any]:
        """The facts of a row about a track, with all its scores if the question asks for them."""
        start, end, lowest = track.lowest
        facts: dict[str, Any] = {
            "window": track.window,
            "hop": hop,
            "windows": len(track),
            "lowest": {"score": lowest, "start": round(start, 6), "end": round(end, 6)},
        }
        if self.question.track:
            facts |= {"times": track.times.round(6).tolist(), "scores": track.scores.tolist()}
            decider = self.asking.decider
            if decider and not track.remark.unfit:
                facts["llrs"] = decider.llrs(track.scores).tolist()
                facts["probabilities"] = decider.probabilities(track.scores).tolist()
        return facts

    def _decided_along(
        self, source: AnyRecording, score: float, track: Track, beginning: Traits | None
    ) -> tuple[dict[str, Any], str]:
        """The decision by the windows of a ``track``: facts of a row, and words about it."""
        decider = self.asking.decider
        if decider is None:
            row = {**self._decided(track.score, None, track.remark), "mean": track.score}
            return row, f"decided by the mean of {counted(len(track), 'window')}, {track.score:.4f}"
        decision = decide_by_track(self.asking.detector, decider, score, track, stream_audio(source), beginning)
        return decision.row(), "; ".join(decision.words)

    def _decided(self, score: float, traits: Traits | None, remark: Remark) -> dict[str, Any]:
        """The decision on a ``score``, by a calibration or a threshold; empty without both."""
        threshold = self.question.threshold
        if self.asking.decider:
            return self.asking.decider(score, traits).row()
        if threshold is None:
            return {}
        if remark.unfit:
            return {"threshold": threshold, "decision": CANNOT_TELL, "reason": remark.unfit}
        return {"threshold": threshold, "decision": "bonafide" if score >= threshold else "spoof"}


def _stretches(asking: Asking, source: AnyRecording, rule: StretchRule, resolution_ms: float) -> Prediction:
    """Find the fake stretches of a recording."""
    detector = asking.detector
    decider = asking.decider
    try:
        with _seconds_shown(source, count_samples(source) / SAMPLE_RATE) as progress:
            frames = frame_scores(
                detector, source, resolution_ms=resolution_ms, batch_size=asking.batch_size, progress=progress
            )
    except InputError as error:
        return _failed(source, error)
    stretches = fake_stretches(frames.scores, frames.resolution_ms, frames.duration, rule)
    remark_of_row = {}
    if frames.remark.text:
        remark_of_row = {"remark": frames.remark.text}
    row = {
        **_names(source),
        "duration": frames.duration,
        "method": "segments",
        "trained_on_segments": detector.trained_on_segments,
        "resolution_ms": frames.resolution_ms,
        **remark_of_row,
        **rule._asdict(),
        "segments": [],
    }
    for stretch in stretches:
        segment = {**stretch._asdict(), "start": round(stretch.start, 6), "end": round(stretch.end, 6)}
        if decider and stretch.score is not None and not frames.remark.unfit:
            # An unbounded ratio is linear in the score, so the ratio of the mean score is the mean of the frames' ratios.
            segment["llr"] = float(decider.llrs([stretch.score])[0])
            segment["probability"] = float(decider.probabilities([stretch.score])[0])
        row["segments"].append(segment)
    return Prediction(source, row, frames.track, stretches)


def _is_long(source: AnyRecording) -> bool:
    """Whether a recording is so long that it is scored along its time; False if it cannot be read."""
    try:
        return count_samples(source) > LONG_RECORDING * SAMPLE_RATE
    except InputError:
        return False


def _failed(source: AnyRecording, error: InputError) -> Prediction:
    return Prediction(source, {**_names(source), "error": worded(error.problem)})


@contextmanager
def _seconds_shown(source: AnyRecording, duration: float) -> Iterator[Callable[[float], object]]:
    """Show the progress of scoring ``source``; yields a function that takes the seconds scored so far."""
    with ProgressDisplay[None](title=_shown(source), unit="second", total=round(duration), delay=1) as display:
        yield lambda seconds: display.update(round(seconds) - display.done)
