"""Score audio files with a detector, along their time or by their fake stretches, too.

What `nes2net predict` does, for Python too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nes2net.data.audio.files import with_folders_listed
from nes2net.data.audio.read import LongAudio, count_samples
from nes2net.data.audio.remarks import Remark
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.detector import Detector
from nes2net.evaluation.origin import card
from nes2net.lib.errors import InputError, one_line, worded
from nes2net.lib.progress import ProgressDisplay
from nes2net.lib.terminal import printable_name
from nes2net.lib.times import readable_duration
from nes2net.metrics.localisation.segments import Segment
from nes2net.metrics.localisation.stretches import MIN_DURATION, StretchRule, fake_stretches
from nes2net.models.backends.base import NATURE
from nes2net.models.published_models import published_model
from nes2net.scoring.calibrated import calibrated_samples, notes_on, stretch_rule
from nes2net.scoring.decisions.decision import CANNOT_TELL, Decider
from nes2net.scoring.decisions.population import Traits
from nes2net.scoring.files import score_files
from nes2net.scoring.heard import length_of_training
from nes2net.scoring.kernel import check_takes_audio_alone
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.stream import window_samples
from nes2net.scoring.track import LONG_RECORDING, Track, frame_scores, score_track


@dataclass(frozen=True)
class Along:
    """How the windows lie along a recording, which have a score each."""

    window: float | None = None
    """Seconds of audio for one score; None for as many as a single score takes in training."""
    hop: float = 0.5
    """Seconds from one window to the next."""


@dataclass(frozen=True)
class Once:
    """One score for each recording."""

    num_samples: int | Literal["auto"] | None = "auto"
    """How many leading samples to score, repeating shorter recordings; None for all in one piece. ``"auto"`` for the
    number that the calibration or the detector was made with, else for all."""
    along: Along | None = None
    """The windows of ``track``, and of a whole recording of more than two minutes, whose score is their mean unless
    ``num_samples`` is None; None for the usual windows."""
    track: bool = False
    """Whether to give the scores along each recording, too. They stand beside its score and never change it."""
    threshold: float | None = None
    """The score from which on a recording is called bona fide, and below it spoof; None for no such label."""


@dataclass(frozen=True)
class Stretches:
    """The fake stretches of each recording, by a detector that sees segments."""

    resolution_ms: float | None = None
    """Length of a frame; None for the calibration's, or the detector's shortest."""
    threshold: float | None = None
    hysteresis: float | None = None
    min_duration: float = MIN_DURATION
    """The last three as for :meth:`nes2net.metrics.localisation.stretches.StretchRule.of`."""


@dataclass(frozen=True)
class Prediction:
    """What was found of one recording."""

    path: Path
    row: dict[str, Any]
    """Plain data for JSON: ``file``; ``error``, or ``duration`` in seconds, ``method`` and what was asked for. With a
    calibration, the log-likelihood ratio, the probability and the decision stand beside the score."""
    track: Track | None = None
    """Its scores along the time, of windows or of frames, if they were asked for."""
    stretches: list[Segment] = field(default_factory=list)
    """Its fake stretches, if they were asked for."""


@dataclass(frozen=True)
class Predictions:
    """The outcome of :func:`predict`."""

    notes: list[str]
    """How the recordings are scored, a sentence each."""
    meaning: list[str]
    """What the scores are worth, a sentence each: the detector, its training, remarks on both."""
    rows: Iterator[Prediction]
    """One for each recording, in their order; each is computed when it is taken."""


def predict(
    detector: Detector,
    files: Iterable[str | Path],
    way: Once | Stretches | None = None,
    *,
    decider: Decider | None = None,
    calibration: str | Path = "",
    batch_size: int | None = None,
    workers: int | None = None,
) -> Predictions:
    """Score audio files of any format. A file that cannot be scored has a row with the reason.

    Args:
        files: audio files, and folders, which are searched for audio files.
        way: one score for each recording (:class:`Once`, the default), or its fake stretches (:class:`Stretches`).
        decider: says what scores mean.
        calibration: the file that ``decider`` is from, for the rows.
        batch_size: utterances or windows computed at once; None for a number that suits the device.
        workers: threads that read files.

    Raises:
        InputError: if a folder has no audio files; the detector needs more than audio, or sees no segments; a
            number is out of its range; the calibration is not one of this detector's scores; or windows are
            given that no score and no track has.
    """
    check_takes_audio_alone(detector)
    paths, way = with_folders_listed(map(str, files)), way or Once()
    model = published_model(detector.record)
    notes: list[str] = []
    facts: dict[str, Any] = {"published_model": model[0], "licence": model[1].licence} if model else {}
    usual = length_of_training(detector.record) / SAMPLE_RATE
    one = _Recording(detector, decider, batch_size)
    heard: int | None = None  # samples that a score is made of; 0 for windows
    resolution_ms: float | None = None
    about_stretches: list[str] = []
    meaning: list[str] = []
    rows: Iterator[Prediction]
    if isinstance(way, Stretches):
        rule, resolution_ms = stretch_rule(
            detector,
            decider,
            resolution_ms=way.resolution_ms,
            threshold=way.threshold,
            hysteresis=way.hysteresis,
            min_duration=way.min_duration,
        )
        goes_on = f" and goes on up to {rule.threshold + rule.hysteresis:g}" if rule.hysteresis else ""
        if not detector.trained_on_segments:
            about_stretches.append(
                "this detector was trained on whole recordings, not on segments: what it finds in them may mean nothing"
            )
        about_stretches.append(
            f"a fake stretch begins at a score of at most {rule.threshold:g}{goes_on}, and lasts {rule.min_duration:g} s at "
            f"least; frames of {resolution_ms:g} ms"
        )
        rows = map(partial(one.stretches, rule=rule, resolution_ms=resolution_ms), paths)
    else:
        windows = way.along or Along()
        window = usual if windows.window is None else windows.window
        windows = replace(windows, window=window)
        if way.along or way.track:
            window_samples(detector, window, windows.hop)  # raises for wrong numbers, so that later errors are of files
        if way.num_samples == "auto":
            part = calibrated_samples(decider, detector.record)
            heard = part.num_samples
            if part.words:
                notes.append(
                    f"{part.words}; `score_track` scores all of a file along its time, `num_samples=None` in one piece"
                )
        else:
            heard = way.num_samples
        long = None if heard or way.num_samples is None else windows
        if way.along and not way.track and (long is None or not any(map(_is_long, paths))):
            raise InputError(
                "`window` and `hop` would change nothing: no recording is scored along its time; add `track` for scores "
                "along each one, or leave them out"
            )
        if way.threshold is not None:
            meaning.append(f"decision: bona fide from a score of {way.threshold:g} on, the `threshold` that you gave")
        rows = one.once(paths, heard, way, windows, long, workers)
    nature = NATURE[detector.backend.score_rule]
    about = card(detector.record)
    meaning = ([f"detector: {about}"] if about else []) + meaning
    meaning += model[1].notes if model else ()
    meaning.append(f"score: higher means more bona fide; it is {nature}")
    if decider:
        meaning += [
            "llr: natural-log likelihood ratio of bona fide against spoof; above 0, the recording makes bona fide likelier",
            *decider.described(),
            *notes_on(detector, decider, heard, resolution_ms),
        ]
        facts |= {"calibration": str(calibration), "basis": decider.basis()}
    return Predictions([*notes, *about_stretches], meaning, (replace(found, row=found.row | facts) for found in rows))


@dataclass(frozen=True)
class _Recording:
    """Scores one recording after another."""

    detector: Detector
    decider: Decider | None
    batch_size: int | None

    def once(
        self,
        paths: list[Path],
        num_samples: int | None,
        way: Once,
        windows: Along,
        long: Along | None,
        workers: int | None,
    ) -> Iterator[Prediction]:
        """Score each recording once; one of more than two minutes is scored as ``long`` says, unless it is None."""
        unscored: list[tuple[Path, InputError]] = []

        def rows_of_unscored() -> Iterator[Prediction]:
            for path, error in unscored:
                is_long = long and isinstance(error, LongAudio)
                yield self.along(path, windows, way) if is_long else _failed(path, error)
            unscored.clear()

        facts = {"method": "whole"} if num_samples is None else {"method": "beginning", "samples": num_samples}
        most = self.detector.used_samples.most
        scored = score_files(
            self.detector,
            paths,
            num_samples,
            batch_size=self.batch_size,
            workers=workers,
            on_error=lambda path, error: unscored.append((path, error)),
            longest=round(LONG_RECORDING * SAMPLE_RATE) if long else None,
            measurer=Measurer.of(self.detector, self.decider),
        )
        for file in scored:
            yield from rows_of_unscored()
            path = Path(file.path)
            row = {"file": str(file.path), **self._meaning(file.score, file.traits, file.remark, way.threshold)}
            row |= {"duration": file.num_samples / SAMPLE_RATE, "judged": file.judged, **facts}
            if most is not None and min(file.num_samples, num_samples or file.num_samples) > most:
                print(
                    f"{printable_name(path.name)}: the detector reads the first {most / SAMPLE_RATE:g} s alone; "
                    f"{worded('`score_track`')} scores all of it",
                    file=sys.stderr,
                )
                row |= {"method": "beginning", "samples": most}
            if file.remark.text:
                row["remark"] = file.remark.text
            if not way.track:
                yield Prediction(path, row)
                continue
            try:
                track = self._track(path, windows, row["duration"])
            except InputError as error:
                yield _failed(path, error)
                continue
            yield Prediction(path, row | self._facts_of(track, windows, way), track)
        yield from rows_of_unscored()

    def along(self, path: Path, windows: Along, way: Once) -> Prediction:
        """Score a long recording by the mean along its time. Unless its track was asked for, say so before."""
        try:
            duration = count_samples(path) / SAMPLE_RATE
            if not way.track:
                print(
                    f"{printable_name(path.name)} lasts {readable_duration(duration, exact=True)}: its score is "
                    f"the mean over windows of {windows.window:.3g} s, one every {windows.hop:g} s; "
                    + worded("`num_samples=N` scores the beginning alone, `num_samples=None` all of it in one piece"),
                    file=sys.stderr,
                )
            track = self._track(path, windows, duration)
            measurer = Measurer.of(self.detector, self.decider)
            traits = measurer.along(path, track) if measurer else None
        except InputError as error:
            return _failed(path, error)
        row = {"file": str(path), **self._meaning(track.score, traits, track.remark, way.threshold)}
        row |= {"duration": track.duration, "judged": track.judged, "method": "track"}
        if track.remark.text:
            row["remark"] = track.remark.text
        return Prediction(path, row | self._facts_of(track, windows, way), track if way.track else None)

    def _track(self, path: Path, windows: Along, duration: float) -> Track:
        """Score ``path``, of so many seconds, along its time."""
        with _seconds_shown(path, duration) as progress:
            return score_track(
                self.detector,
                path,
                window=windows.window,
                hop=windows.hop,
                batch_size=self.batch_size,
                progress=progress,
            )

    def _facts_of(self, track: Track, windows: Along, way: Once) -> dict[str, Any]:
        """What a row says of a track, with its scores if they were asked for."""
        start, end, lowest = track.lowest
        facts: dict[str, Any] = {
            "window": track.window,
            "hop": windows.hop,
            "windows": len(track),
            "lowest": {"score": lowest, "start": round(start, 6), "end": round(end, 6)},
        }
        if way.track:
            facts |= {"times": track.times.round(6).tolist(), "scores": track.scores.tolist()}
            if self.decider and not track.remark.unfit:
                facts["llrs"] = self.decider.llrs(track.scores).tolist()
                facts["probabilities"] = self.decider.probabilities(track.scores).tolist()
        return facts

    def stretches(self, path: Path, rule: StretchRule, resolution_ms: float) -> Prediction:
        """Find the fake stretches of a recording."""
        try:
            with _seconds_shown(path, count_samples(path) / SAMPLE_RATE) as progress:
                frames = frame_scores(
                    self.detector, path, resolution_ms=resolution_ms, batch_size=self.batch_size, progress=progress
                )
        except InputError as error:
            return _failed(path, error)
        found = fake_stretches(frames.scores, frames.resolution_ms, frames.duration, rule)
        row = {
            "file": str(path),
            "duration": frames.duration,
            "method": "segments",
            "trained_on_segments": self.detector.trained_on_segments,
            "resolution_ms": frames.resolution_ms,
            **({"remark": frames.remark.text} if frames.remark.text else {}),
            **rule._asdict(),
            "segments": [],
        }
        for stretch in found:
            segment = {**stretch._asdict(), "start": round(stretch.start, 6), "end": round(stretch.end, 6)}
            if self.decider and stretch.score is not None and not frames.remark.unfit:
                # Before it is bounded, the ratio is linear in the score: that of the mean score is the mean of ratios.
                segment["llr"] = float(self.decider.llrs([stretch.score])[0])
                segment["probability"] = float(self.decider.probabilities([stretch.score])[0])
            row["segments"].append(segment)
        return Prediction(path, row, frames.track, found)

    def _meaning(self, score: float, traits: Traits | None, remark: Remark, threshold: float | None) -> dict[str, Any]:
        """The score of a recording and, with a calibration or a threshold, what it means."""
        if self.decider:
            return self.decider(score, traits).row()
        if threshold is None:
            return {"score": score}
        if remark.unfit:
            return {"score": score, "threshold": threshold, "decision": CANNOT_TELL, "reason": remark.unfit}
        return {"score": score, "threshold": threshold, "decision": "bonafide" if score >= threshold else "spoof"}


def _is_long(path: Path) -> bool:
    """Whether a recording lasts so long that it is scored along its time; False if it cannot be read."""
    try:
        return count_samples(path) > LONG_RECORDING * SAMPLE_RATE
    except InputError:
        return False


def _failed(path: Path, error: InputError) -> Prediction:
    return Prediction(path, {"file": str(path), "error": reason(path, error)})


def reason(path: Path, error: InputError) -> str:
    """Why ``path`` could not be scored, without its name."""
    text, name = str(error), one_line(str(path))
    for start in (f"audio file {name} ", f"{name}: "):
        text = text.removeprefix(start)
    return worded(text)


@contextmanager
def _seconds_shown(path: Path, duration: float) -> Iterator[Callable[[float], object]]:
    """Show how many of the ``duration`` seconds of ``path`` are scored, as told to the function that this yields."""
    with ProgressDisplay[None](
        title=printable_name(path.name), unit="second", total=round(duration), delay=1
    ) as display:
        yield lambda seconds: display.update(round(seconds) - display.done)
