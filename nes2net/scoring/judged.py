"""The answer about a recording: what a detector says of it, or why it could not be judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from nes2net.data.audio.packed import AnyRecording, ChannelOf, all_channels
from nes2net.data.audio.remarks import Remark
from nes2net.lib.errors import InputError, counted, worded
from nes2net.metrics.localisation.segments import Segment
from nes2net.scoring.decisions.along import DecisionAlong
from nes2net.scoring.decisions.decision import CANNOT_TELL, Decider, Decision
from nes2net.scoring.decisions.population import Traits
from nes2net.scoring.judgement import Judgement
from nes2net.scoring.track import FrameScores, Track

T = TypeVar("T")

_NEARLY_ALL = 0.995  # from this share on, the words do not state which share of a recording was judged


@dataclass(frozen=True)
class Failed:
    """A recording that could not be judged."""

    recording: AnyRecording
    error: InputError

    @property
    def path(self) -> Path:
        """The file of the recording."""
        return Path(str(all_channels(self.recording)))

    @property
    def words(self) -> str:
        """The reason."""
        return worded(self.error.reason)

    def to_row(self) -> dict[str, Any]:
        """Return plain data for JSON: the file, and the reason as ``error``."""
        return {**_names(self.recording), "error": self.words}


@dataclass(frozen=True)
class Judged(Generic[T]):
    """What a detector says of a recording: the value of a judgement, its meaning, and on how much it rests."""

    recording: AnyRecording
    judgement: Judgement[T]
    value: T
    duration: float
    """Length of the whole recording in seconds."""
    judged: float = 1.0
    """Share of the recording on which the value rests."""
    remark: Remark = field(default_factory=Remark)
    """Remarks about the recording, such as silence or clipping."""
    samples: int | None = None
    """Number of leading samples that were judged; None for all."""
    traits: Traits | None = None
    """Traits of the judged part; None if the recording was not measured."""
    decision: Decision | None = None
    """The decision on the recording; None without a calibration or threshold, or if there is no score."""
    decider: Decider | None = None
    """Turns scores into ratios, by a calibration; None without a calibration."""
    track: Track | None = None
    """The scores of windows, if they were asked for, or if :attr:`is_mean`."""
    hop: float = 0.0
    """Seconds from one window of :attr:`track` to the next."""
    is_mean: bool = False
    """Whether the value is the mean score of the windows along a long recording."""
    shows_track: bool = False
    """Whether the scores of the windows were asked for."""
    first: Judged[float] | Failed | None = None
    """What a detector of fakes says of the same recording; None if none was asked first."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Facts about detector and calibration, plain data for :meth:`to_row`."""

    @property
    def path(self) -> Path:
        """The file of the recording."""
        return Path(str(all_channels(self.recording)))

    @cached_property
    def told(self) -> dict[str, Any]:
        """The value as plain data, as the judgement tells it; with the judgement's remark, if it has one."""
        return self.judgement.tell(self.value)

    @property
    def remarks(self) -> str:
        """The remarks of the judgement and of the recording in words; empty if there are none."""
        return worded("; ".join(filter(None, [self.told.get("remark"), self.remark.text])))

    @cached_property
    def frames(self) -> FrameScores | None:
        """The scores of frames and the fake stretches in them; None if the judgement does not score frames."""
        return self.judgement.frames(self.value, self.duration)

    @property
    def along(self) -> DecisionAlong | None:
        """The decision, if windows along the recording made it by a calibration; None otherwise."""
        return self.decision if isinstance(self.decision, DecisionAlong) else None

    @property
    def method(self) -> str:
        """What was judged: ``"whole"``, ``"beginning"``, or ``"track"`` for the mean of windows."""
        if self.is_mean:
            return "track"
        return "whole" if self.samples is None else "beginning"

    def to_row(self) -> dict[str, Any]:
        """Return the answer as plain data for JSON, the same for every judgement.

        The row has the facts that the judgement tells, the decision, ``duration`` in seconds,
        ``method``, and the windows or fake stretches if there are any.
        """
        row = {**_names(self.recording), "judgement": self.judgement.name, **self.told}
        row.pop("remark", None)
        if self.decision is not None:
            row |= self.decision.row()
        row |= {"duration": self.duration, "judged": self.judged, "method": self.method}
        if self.samples is not None:
            row["samples"] = self.samples
        if self.remarks:
            row["remark"] = self.remarks
        if self.frames is not None:
            row["segments"] = self._segments(self.frames)
        if self.track is not None:
            row |= self._windows(self.track)
        if self.first is not None:
            row["first"] = self.first.to_row()
        return {**row, **self.facts}

    def _segments(self, frames: FrameScores) -> list[dict[str, Any]]:
        segments = rows_of(frames.stretches)
        if self.decider is not None and not self.remark.unfit:
            for segment in segments:
                # The unbounded ratio is linear in the score, so it is the mean of the frames' ratios.
                segment["llr"] = float(self.decider.llrs([segment["score"]])[0])
                segment["probability"] = float(self.decider.probabilities([segment["score"]])[0])
        return segments

    def _windows(self, track: Track) -> dict[str, Any]:
        start, end, lowest = track.lowest
        facts: dict[str, Any] = {
            "window": track.window,
            "hop": self.hop,
            "windows": len(track),
            "lowest": {"score": lowest, "start": round(start, 6), "end": round(end, 6)},
        }
        if self.shows_track:
            facts |= {"times": track.times.round(6).tolist(), "scores": track.scores.tolist()}
            if self.decider is not None and self.decision is not None and self.decision.llr is not None:
                facts["llrs"] = self.decider.llrs(track.scores).tolist()
                facts["probabilities"] = self.decider.probabilities(track.scores).tolist()
        return facts

    @property
    def words(self) -> str:
        """The answer in words, as the last column of a table: value, remarks, reason, and what decided."""
        value_words = self.judgement.in_words(self.told)
        if self.frames is not None:
            number = len(self.frames.stretches)
            value_words = counted(number, "fake stretch", "fake stretches") if number else "no fake stretch"
        words = [self._first_words, value_words, self.remarks]
        decision_words: list[str] = []
        if self.decision is not None:
            reason = worded(self.decision.reason or "")
            words.append("" if reason in self.remarks else reason)
            decision_words = self.decision.words
        words += decision_words
        if not decision_words and self.judged < _NEARLY_ALL:
            words.append(f"{100 * self.judged:.2g} % of it was judged")
        if self.track is not None and len(self.track) > 1:
            windows = f"{counted(len(self.track), 'window')} of {self.track.window:.3g} s"
            words.append(
                f"the score is the mean of {windows}" if self.is_mean else f"{windows} were scored along it, too"
            )
        return "; ".join(filter(None, words))

    @property
    def _first_words(self) -> str:
        if self.first is None:
            return ""
        row = self.first.to_row()
        decision = row.get("decision") or row.get("error") or f"score {row['score']:.4f}"
        words = f"the detector says first: {decision}"
        if decision in ("bonafide", CANNOT_TELL):
            words += ", so the name of a class means nothing"
        return words


def rows_of(stretches: Iterable[Segment]) -> list[dict[str, Any]]:
    """Turn fake stretches into plain data, with times to the microsecond."""
    return [
        {**stretch._asdict(), "start": round(stretch.start, 6), "end": round(stretch.end, 6)} for stretch in stretches
    ]


def _names(recording: AnyRecording) -> dict[str, Any]:
    names: dict[str, Any] = {"file": str(all_channels(recording))}
    if isinstance(recording, ChannelOf):
        names["channel"] = recording.channel
    return names
