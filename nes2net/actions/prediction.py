"""Score audio files with a detector: whole files, windows along files, or the fake stretches in files.

Python programs can do here what `nes2net predict` does.
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
from nes2net.evaluation.origin import training_in_words
from nes2net.lib.errors import InputError, counted, worded
from nes2net.lib.files import AnyPath
from nes2net.lib.progress import ProgressDisplay
from nes2net.lib.terminal import printable_name, say
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
from nes2net.scoring.score_length import RequestedSamples, samples_to_score
from nes2net.scoring.stream import window_samples
from nes2net.scoring.track import LONG_RECORDING, Track, frame_scores, score_track


@dataclass(frozen=True)
class Prediction:
    """The result for one recording."""

    recording: AnyRecording
    """The recording, or one channel of the recording."""
    row: dict[str, Any]
    """Plain data for JSON. The row always has the key ``file``. If the recording could not be
    judged, the key ``error`` states the reason. Otherwise, the row has ``duration`` in seconds,
    ``method`` (which part was judged, and how) and the answer to the question. With a calibration,
    the row also has the log-likelihood ratio, the probability and the decision."""
    track: Track | None = None
    """The scores of windows or of frames along the recording, if the question asks for these scores."""
    stretches: list[Segment] = field(default_factory=list)
    """The fake stretches, if the question asks for fake stretches."""
    words: str = ""
    """Why the windows along the recording led to the decision; or, for a judgement that is not a
    score, its value in words. Empty in all other cases."""

    @property
    def path(self) -> Path:
        """The file of the recording."""
        return Path(str(all_channels(self.recording)))


@dataclass(frozen=True)
class Predictions:
    """The outcome of :func:`predict`."""

    notes: list[str]
    """Sentences that say how the recordings are scored."""
    meaning: list[str]
    """Sentences on the detector, and on the meaning of the scores and decisions."""
    rows: Iterator[Prediction]
    """A result for each recording or channel, in order. The iterator computes a result only when
    the caller takes the result."""
    count: int
    """Number of rows."""


@dataclass(frozen=True)
class Asking:
    """The detector, the decider and the settings with which a :class:`Question` is answered."""

    detector: Scorer
    decider: Decider | None = None
    """Decides on scores by a calibration; None without a calibration."""
    batch_size: int | None = None
    """Number of utterances or windows that are computed at once; None for a number that suits the device."""
    workers: int | None = None
    """Number of threads that read files; None for a number that suits the device."""

    @property
    def score_nature(self) -> str:
        """One sentence that explains the detector's score."""
        return f"score: higher means more bona fide; it is {NATURE[self.detector.score_rule]}"


class Answer(NamedTuple):
    """The answer to a :class:`Question`: the results, sentences about the results, and how much was scored."""

    rows: Iterator[Prediction]
    """A result for each recording, in order."""
    notes: list[str]
    """Sentences that say how the recordings are scored."""
    meaning: list[str]
    """Sentences on the meaning of the results."""
    num_samples: int | None = None
    """Number of leading samples that are scored; None if all samples are scored, 0 if only windows
    along a recording are scored."""
    resolution_ms: float | None = None
    """Length in ms of the frames that are scored; None if recordings are scored."""


class Question(ABC):
    """A question to :func:`predict`: what to find out about each recording.

    Examples are one score for each recording (:class:`Once`), the fake stretches of each recording
    (:class:`Stretches`), and another judgement of each recording (:class:`Judged`).
    """

    @abstractmethod
    def answer(self, asking: Asking, recordings: list[AnyRecording]) -> Answer:
        """Answer this question for ``recordings``.

        A row of :attr:`Answer.rows` is computed only when the caller takes the row.

        Args:
            asking: the detector, and the settings for computing.

        Raises:
            InputError: if the detector cannot answer the question.
        """


@dataclass(frozen=True)
class Along:
    """Length and distance of the windows along a recording; each window has a score."""

    window: float | None = None
    """Length of a window in seconds. None for the length that was scored for the calibration;
    without a calibration, None stands for the length of the training crops."""
    hop: float | None = None
    """Seconds from the start of a window to the start of the next window. None for half a window in
    a recording of up to two minutes, and for a whole window in a longer recording."""

    def suited(self, duration: float) -> TrackWindows:
        """Choose the windows for a recording of ``duration`` seconds.

        If :attr:`hop` is None, a hop is chosen that suits the duration.

        :attr:`window` must be set.
        """
        assert self.window is not None
        hop = suitable_hop(duration, self.window) if self.hop is None else self.hop
        return TrackWindows(self.window, hop)


@dataclass(frozen=True)
class Once(Question):
    """One score for each recording."""

    num_samples: RequestedSamples = "auto"
    """Number of leading samples to score; shorter recordings are repeated. None to score whole
    recordings in one piece. ``"auto"`` takes the number from the calibration or from the detector's
    training; if there is no such number, whole recordings are scored, and a recording of more than
    two minutes gets the mean score of its windows."""
    along: Along | None = None
    """The windows for ``track``, and for recordings that get the mean score of their windows. None
    to take the length of the windows from the calibration or from training."""
    track: bool = False
    """Whether the result also has the scores of windows along each recording. The scores of windows
    do not change the score of the recording."""
    threshold: float | None = None
    """The lowest score at which the decision is bona fide, not spoof. None for no decision by a threshold."""

    def answer(self, asking: Asking, recordings: list[AnyRecording]) -> Answer:
        """Score each recording once, and decide on the score; see :meth:`Question.answer`.

        Raises:
            InputError: if :attr:`along` is set, but no recording is scored by windows; or if the
                windows do not suit the detector.
        """
        detector = asking.detector
        windows = self.along or Along()
        if windows.window is None:
            windows = replace(windows, window=usual_window(detector, asking.decider))
        # Choose the windows along recordings.
        if self.along or self.track:
            window_samples(detector, *windows.suited(0))  # wrong numbers raise an error before any file is read
        notes = []
        # Choose how much of each recording is scored in one piece.
        if self.num_samples == "auto":
            score_length = calibrated_samples(asking.decider, detector.provenance)
            num_samples = score_length.num_samples
            if score_length.words:
                notes.append(
                    f"{score_length.words}; `score_track` scores all of a file along its time, `num_samples=None` in one piece"
                )
        else:
            num_samples = self.num_samples
        # Whether a recording of more than two minutes gets the mean score of its windows.
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
    """The fake stretches of each recording, found by a detector that scores segments."""

    resolution_ms: float | None = None
    """Length of a frame in ms. None for the length in the calibration; without a calibration, None
    stands for the shortest frames that the detector scores."""
    threshold: float | None = None
    hysteresis: float | None = None
    min_duration: float = MIN_DURATION
    """``threshold``, ``hysteresis`` and ``min_duration`` have the same meaning as the arguments of
    :meth:`nes2net.metrics.localisation.stretches.StretchRule.of`."""

    def answer(self, asking: Asking, recordings: list[AnyRecording]) -> Answer:
        """Find the fake stretches of each recording; see :meth:`Question.answer`."""
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
        goes_on = f" and goes on up to {rule.threshold + rule.hysteresis:g}" if rule.hysteresis else ""
        notes.append(
            f"a fake stretch begins at a score of at most {rule.threshold:g}{goes_on}, and lasts {rule.min_duration:g} s at "
            f"least; frames of {resolution_ms:g} ms"
        )
        rows = (_predict_stretches(asking, recording, rule, resolution_ms) for recording in recordings)
        return Answer(rows, notes, [asking.score_nature], resolution_ms=resolution_ms)


@dataclass(frozen=True)
class Judged(Question):
    """A judgement of each recording other than a score, such as the probabilities of classes.

    The row has the values that :meth:`~nes2net.scoring.judgement.Judgement.tell` returns.
    """

    judgement: Judgement[Any]
    num_samples: RequestedSamples = "auto"
    """Number of leading samples to judge, as in :class:`Once`, but a long recording is judged in one piece."""
    first: Predictions | None = None
    """What a detector of fakes says of the same recordings, which is told first."""

    def answer(self, asking: Asking, recordings: list[AnyRecording]) -> Answer:
        """Judge each recording; see :meth:`Question.answer`. If a calibration is given, raise :class:`InputError`."""
        if asking.decider is not None:
            raise InputError(f"`calibration` decides on scores, not on {self.judgement.name}: leave it out")
        asked_samples = None if self.judgement.of_whole else self.num_samples
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
        notes = [score_length.words] if score_length.words else []
        rows = _judged_predictions(judgement, judged, score_length.num_samples)
        if self.first is None:
            return Answer(rows, notes, judgement.meaning())
        return Answer(map(_with_first, self.first.rows, rows), notes, [*judgement.meaning(), *self.first.meaning])


def _judged_predictions(
    judgement: Judgement[Any], judged: Iterator[JudgedFile[Any]], num_samples: int | None
) -> Iterator[Prediction]:
    for file in judged:
        source = file.path
        if isinstance(file.result, InputError):
            yield _failed_prediction(source, file.result)
            continue
        facts = judgement.tell(file.result)
        row = {**_identity_facts(source), "judgement": judgement.name, **facts}
        remark = "; ".join(filter(None, [row.pop("remark", ""), file.remark.text]))
        if remark:
            row["remark"] = worded(remark)
        yield Prediction(source, row | _extent_facts(file, num_samples), words=judgement.in_words(facts))


def _with_first(first: Prediction, judged: Prediction) -> Prediction:
    decision = first.row.get("decision") or first.row.get("error") or f"score {first.row['score']:.4f}"
    words = f"the detector says first: {decision}"
    if decision in ("bonafide", CANNOT_TELL):
        words += ", so the name of a class means nothing"
    return replace(judged, row=judged.row | {"first": first.row}, words=f"{words}; {judged.words}")


def predict(
    detector: Scorer,
    files: Iterable[AnyPath],
    question: Question | None = None,
    *,
    channel: int | Literal["mix", "each"] = "mix",
    decider: Decider | None = None,
    calibration: AnyPath = "",
    batch_size: int | None = None,
    workers: int | None = None,
) -> Predictions:
    """Judge audio files of any format. If a file cannot be judged, its row states the reason.

    Args:
        files: audio files, and folders, which are searched for audio files.
        question: what to find out about each recording: one score (:class:`Once`, the default), the
            fake stretches (:class:`Stretches`), or any other judgement (:class:`Judged`).
        channel: what is judged in a recording with several channels. ``"mix"`` is the mean of the
            channels. A number chooses a single channel, counted from 0. With ``"each"``, every
            channel is judged and has its own row.
        decider: decides on the scores; None to decide by the threshold of the question, or not to
            decide if the question has no threshold.
        calibration: path of the file of the calibration in ``decider``; the rows state this path.
        batch_size: number of utterances or windows that are computed at once; None for a number
            that suits the device.
        workers: number of threads that read files; None for a number that suits the device.

    Raises:
        InputError: if a folder has no audio files; if the detector needs more than audio; if
            stretches are asked for, but the detector does not score segments; if a number is out of
            its range; if the calibration was learned from scores of another detector; or if the
            question sets windows (:attr:`Once.along`), but no recording is scored by windows.
    """
    check_takes_audio_alone(detector)
    recordings: list[AnyRecording] = []
    for path in with_folders_listed(map(str, files)):
        recordings += _recordings_of(path, channel)
    # Begin the answer; each recording is judged later, when the caller takes its row.
    answer = (question or Once()).answer(Asking(detector, decider, batch_size, workers), recordings)
    # Collect the facts that are added to every row, and the sentences that explain the rows.
    model = detector.provenance.published
    described = training_in_words(detector.provenance)
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


#: The columns of a table of predictions, in order. A table leaves out a column for which no row has a value.
COLUMNS = (
    *("file", "channel", "score", "duration", "llr", "probability", "decision", "reason", "p_value", "judged"),
    *("rests_on", "stretch_start", "stretch_end", "shortest_found", "score_of", "decided_by", "remark", "error"),
)


def as_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """Arrange the row of a :class:`Prediction` for a table: column → value. Columns without a value are left out.

    If windows along the recording made the decision, the row also has the columns ``rests_on`` and
    ``shortest_found``. The columns ``stretch_start`` and ``stretch_end`` say where the stretch with
    the most evidence against bona fide lies. These columns are present only if bona fide recordings
    rarely have a stretch with as much evidence.
    """
    along = row.get("along", {})
    columns = {**row, **{name: along.get(name) for name in ("rests_on", "shortest_found")}}
    stretch = along.get("stretch", {})
    if stretch.get("stands_out"):
        columns |= {"stretch_start": stretch["start"], "stretch_end": stretch["end"]}
    return {name: columns[name] for name in COLUMNS if name in row or columns.get(name) is not None}


def _recordings_of(path: Path, channel: int | Literal["mix", "each"]) -> list[AnyRecording]:
    if channel == "mix":
        return [path]
    if channel == "each":
        try:
            count = count_channels(path)
        except InputError:  # the error is reported when the file is judged
            return [path]
        if count == 1:
            return [path]
        return [ChannelOf(path, number) for number in range(count)]
    return [ChannelOf(path, channel)]


def _identity_facts(source: AnyRecording) -> dict[str, Any]:
    names: dict[str, Any] = {"file": str(all_channels(source))}
    if isinstance(source, ChannelOf):
        names["channel"] = source.channel
    return names


def _remark_facts(remark: Remark) -> dict[str, str]:
    return {"remark": worded(remark.text)} if remark.text else {}


def _display_name(source: AnyRecording) -> str:
    return printable_name(Path(str(source)).name)


def _extent_facts(file: JudgedFile[Any], num_samples: int | None) -> dict[str, Any]:
    extent = {"duration": file.num_samples / SAMPLE_RATE, "judged": file.judged}
    if num_samples is None:
        return {**extent, "method": "whole"}
    return {**extent, "method": "beginning", "samples": num_samples}


@dataclass(frozen=True)
class _Scoring:
    """Scores recordings one after another, and decides on the scores, as the question :class:`Once` asks."""

    asking: Asking
    question: Once
    windows: Along
    """The windows along a recording."""
    num_samples: int | None
    """Number of leading samples to score; None for all."""
    means_along: bool
    """Whether a recording of more than two minutes gets the mean score of its windows."""

    def rows(self, recordings: list[AnyRecording]) -> Iterator[Prediction]:
        asking = self.asking
        longest_whole = round(LONG_RECORDING * SAMPLE_RATE) if self.means_along else None
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
                    yield self._predict_by_mean(source)
                elif isinstance(file.result, InputError):
                    yield _failed_prediction(source, file.result)
                else:
                    yield self._predict_scored(source, file, file.result)
            except InputError as error:
                yield _failed_prediction(source, error)

    def _predict_scored(self, source: AnyRecording, file: JudgedFile[float], score: float) -> Prediction:
        """Decide on a recording that has a ``score``.

        Windows along the recording are scored in two cases: if ``score`` is the score of the
        beginning only, but the decision is on the whole recording; or if the question asks for the
        scores of windows. If the detector reads only the beginning of the recording, a note on
        standard error says so.
        """
        row = {**_identity_facts(source), "score": score}
        extent = _extent_facts(file, self.num_samples)
        duration = extent["duration"]
        most_samples = self.asking.detector.used_samples.most
        # Print a note if the detector reads only a part of the samples.
        if most_samples is not None and min(file.num_samples, self.num_samples or file.num_samples) > most_samples:
            say(
                f"{_display_name(source)}: the detector reads the first {most_samples / SAMPLE_RATE:g} s alone; "
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
        # Decide by windows along the recording if the decision needs them, otherwise by the score.
        if windows is not None:
            track = self._score_along(source, duration, *windows)
            remark = track.remark
            along, words = self._decide_by_track(source, score, track, file.traits)
            row |= along
        else:
            row |= self._decide(score, file.traits, remark)
        row |= {**extent, **_remark_facts(remark)}
        if not self.question.track:
            return Prediction(source, row, words=words)
        # The question asks for the scores of windows. If the decision already needed windows of the same length and
        # hop, reuse their scores; otherwise score the windows now.
        shown = self.windows.suited(duration)
        if track is None or windows != shown:
            track = self._score_along(source, duration, *shown)
        return Prediction(source, row | self._track_facts(track, shown.hop, row), track, words=words)

    def _predict_by_mean(self, source: AnyRecording) -> Prediction:
        duration = count_samples(source) / SAMPLE_RATE
        window, hop = self.windows.suited(duration)
        if not self.question.track:
            say(
                f"{_display_name(source)} lasts {readable_duration(duration, exact=True)}: its score is "
                f"the mean over windows of {window:.3g} s, one every {hop:.3g} s; "
                + worded("`num_samples=N` scores the beginning alone, `num_samples=None` all of it in one piece"),
                file=sys.stderr,
            )
        track = self._score_along(source, duration, window, hop)
        traits = None
        if self.asking.decider:
            traits = Measurer.of(self.asking.detector, self.asking.decider).along(stream_audio(source), track)
        row = {
            **_identity_facts(source),
            "score": track.score,
            **self._decide(track.score, traits, track.remark),
        }
        row |= {"duration": track.duration, "judged": track.judged, "method": "track", **_remark_facts(track.remark)}
        return Prediction(source, row | self._track_facts(track, hop, row), track if self.question.track else None)

    def _score_along(self, source: AnyRecording, duration: float, window: float, hop: float) -> Track:
        with _progress_in_seconds(source, duration, f"a `hop` above {hop:.3g} s takes less") as progress:
            return score_track(
                self.asking.detector,
                source,
                window=window,
                hop=hop,
                batch_size=self.asking.batch_size,
                progress=progress,
            )

    def _track_facts(self, track: Track, hop: float, row: Mapping[str, Any]) -> dict[str, Any]:
        """Collect the facts of a row about ``track``, the scores of windows along a recording.

        The scores of all windows are included only if the question asks for these scores, and their
        ratios only if the ``row`` of the recording has a ratio. ``hop`` is the distance of the
        windows in seconds.
        """
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
            if decider and row.get("llr") is not None:
                facts["llrs"] = decider.llrs(track.scores).tolist()
                facts["probabilities"] = decider.probabilities(track.scores).tolist()
        return facts

    def _decide_by_track(
        self, source: AnyRecording, score: float, track: Track, beginning: Traits | None
    ) -> tuple[dict[str, Any], str]:
        """Decide by the scores of windows; return facts for a row, and the reason in words.

        ``beginning`` has the traits of the scored beginning; None without a calibration.
        """
        decider = self.asking.decider
        if decider is None:
            row = {**self._decide(track.score, None, track.remark), "mean": track.score}
            of_beginning = f"while the score is that of its first {readable_duration(track.window, exact=True)}"
            return row, f"decided by the mean of {counted(len(track), 'window')}, {track.score:.4f}, {of_beginning}"
        decision = decide_by_track(self.asking.detector, decider, score, track, stream_audio(source), beginning)
        return decision.row(), "; ".join(decision.words)

    def _decide(self, score: float, traits: Traits | None, remark: Remark) -> dict[str, Any]:
        """Decide on a ``score`` by the calibration, or else by the threshold; return the decision as facts for a row.

        Without a calibration and without a threshold, the result is empty. If the threshold
        decides, the decision on an unfit recording is "cannot tell".

        Args:
            traits: traits of the recording, for the calibration; None if no traits were measured.
            remark: says whether the recording is unfit for a decision.
        """
        threshold = self.question.threshold
        if self.asking.decider:
            return self.asking.decider(score, traits).row()
        if threshold is None:
            return {}
        if remark.unfit:
            return {"threshold": threshold, "decision": CANNOT_TELL, "reason": worded(remark.unfit)}
        return {"threshold": threshold, "decision": "bonafide" if score >= threshold else "spoof"}


def _predict_stretches(asking: Asking, source: AnyRecording, rule: StretchRule, resolution_ms: float) -> Prediction:
    """Find the fake stretches of a recording; with a calibration, with ratio and probability unless it is unfit."""
    detector = asking.detector
    decider = asking.decider
    try:
        with _progress_in_seconds(source, count_samples(source) / SAMPLE_RATE) as progress:
            frames = frame_scores(
                detector, source, resolution_ms=resolution_ms, batch_size=asking.batch_size, progress=progress
            )
    except InputError as error:
        return _failed_prediction(source, error)
    stretches = fake_stretches(frames.scores, frames.resolution_ms, frames.duration, rule)
    row = {
        **_identity_facts(source),
        "duration": frames.duration,
        "method": "segments",
        "trained_on_segments": detector.trained_on_segments,
        "resolution_ms": frames.resolution_ms,
        **_remark_facts(frames.remark),
        **rule._asdict(),
        "segments": [],
    }
    for stretch in stretches:
        segment = {**stretch._asdict(), "start": round(stretch.start, 6), "end": round(stretch.end, 6)}
        if decider and stretch.score is not None and not frames.remark.unfit:
            # Without a bound, the ratio is linear in the score, so the ratio of the mean score is the mean of the
            # frames' ratios.
            segment["llr"] = float(decider.llrs([stretch.score])[0])
            segment["probability"] = float(decider.probabilities([stretch.score])[0])
        row["segments"].append(segment)
    return Prediction(source, row, frames.track, stretches)


def _is_long(source: AnyRecording) -> bool:
    try:
        return count_samples(source) > LONG_RECORDING * SAMPLE_RATE
    except InputError:
        return False


def _failed_prediction(source: AnyRecording, error: InputError) -> Prediction:
    return Prediction(source, {**_identity_facts(source), "error": worded(error.reason)})


@contextmanager
def _progress_in_seconds(
    source: AnyRecording, duration: float, advice: str = ""
) -> Iterator[Callable[[float], object]]:
    """Show the progress of scoring ``source``; yield a function that takes the seconds scored so far.

    Args:
        duration: length of the recording in seconds.
        advice: hint on how to finish sooner, printed beside the estimated time; empty for no hint.
    """
    with ProgressDisplay[None](
        title=_display_name(source), unit="second", total=round(duration), advice=advice, delay=1
    ) as display:
        yield lambda seconds: display.update(round(seconds) - display.done)
