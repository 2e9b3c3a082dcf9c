"""The answer about a recording, or why it could not be judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from nes2net.data.audio.packed import AnyRecording, whole_of
from nes2net.data.audio.parts import PartOf
from nes2net.data.audio.remarks import Remark
from nes2net.lib.errors import InputError, pluralise, with_flag_names
from nes2net.lib.output.sheet import Facts, FactsDict
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

    recording: Any
    error: InputError

    @property
    def path(self) -> Path:
        """The file of the recording."""
        return Path(str(whole_of(self.recording)))

    @property
    def words(self) -> str:
        """The reason."""
        return with_flag_names(self.error.reason)

    def to_row(self) -> FactsDict:
        """Return the file, and the reason as ``error``, for JSON."""
        return {**names_of(self.recording), "error": self.words}


@dataclass(frozen=True)
class Judged(Generic[T]):
    """What a detector says of a recording, its meaning, and on how much it rests."""

    recording: Any
    judgement: Judgement[T]
    value: T
    duration: float
    """Seconds of the whole recording."""
    judged: float = 1.0
    """Share of the recording that was judged."""
    remark: Remark = field(default_factory=Remark)
    """Such as silence or clipping."""
    samples: int | None = None
    """Leading samples that were judged; None for all."""
    traits: Traits | None = None
    """Traits of the judged part, if measured."""
    decision: Decision | None = None
    """None without calibration, threshold or score."""
    decider: Decider | None = None
    """Turns scores into ratios; None without a calibration."""
    track: Track | None = None
    """Scores of windows, if asked for or :attr:`is_mean`."""
    hop: float = 0.0
    """Seconds between windows of :attr:`track`."""
    is_mean: bool = False
    """The value is the mean score of windows."""
    shows_track: bool = False
    """The scores of windows were asked for."""
    first: Judged[float] | Failed | None = None
    """Answer of a detector of fakes that was asked first."""
    facts: Facts = field(default_factory=dict)
    """Facts about detector and calibration for :meth:`to_row`."""

    @property
    def path(self) -> Path:
        """The file of the recording."""
        return Path(str(whole_of(self.recording)))

    @cached_property
    def told(self) -> Facts:
        """The value as plain data, with the judgement's remark."""
        return self.judgement.tell(self.value)

    @property
    def remarks(self) -> str:
        """Remarks of judgement and recording in words."""
        return with_flag_names("; ".join(filter(None, [str(self.told.get("remark", "")), self.remark.text])))

    @cached_property
    def frames(self) -> FrameScores | None:
        """Frame scores and fake stretches, if the judgement scores frames."""
        return self.judgement.frames(self.value, self.duration)

    @property
    def decision_by_windows(self) -> DecisionAlong | None:
        """The decision, if a calibration made it from scores of windows."""
        return self.decision if isinstance(self.decision, DecisionAlong) else None

    @property
    def method(self) -> str:
        """``"whole"``, ``"beginning"``, or ``"track"`` for the mean of windows."""
        if self.is_mean:
            return "track"
        return "whole" if self.samples is None else "beginning"

    def to_row(self) -> FactsDict:
        """Return the answer for JSON: told facts, decision, ``duration`` in seconds, ``method``,
        windows or fake stretches.
        """
        row = {**names_of(self.recording), "judgement": self.judgement.name, **self.figures}
        row |= {"judged": self.judged, "method": self.method}
        if self.samples is not None:
            row["samples"] = self.samples
        if self.remarks:
            row["remark"] = self.remarks
        if self.frames is not None:
            row["segments"] = self.segments
        if self.track is not None:
            start, end, lowest = self.track.lowest
            row |= {"window": self.track.window, "hop": self.hop, "windows": len(self.track)}
            row["lowest"] = {"score": lowest, "start": round(start, 6), "end": round(end, 6)}
            row |= self.windows
        if self.first is not None:
            row["first"] = self.first.to_row()
        return {**row, **self.facts}

    @property
    def figures(self) -> Facts:
        """Facts of value and decision without remarks, and ``duration``."""
        figures = dict(self.told)
        figures.pop("remark", None)
        if self.decision is not None:
            figures |= self.decision.row()
        return figures | {"duration": self.duration}

    @property
    def segments(self) -> list[FactsDict]:
        """The fake stretches, with ratios by a calibration."""
        segments = stretch_rows(self.frames.stretches if self.frames is not None else ())
        if self.decider is not None and not self.remark.unfit:
            for segment in segments:
                # The unbounded ratio is linear in the score, so it is the mean of the frames' ratios.
                llrs = self.decider.llrs([segment["score"]])
                segment["llr"] = float(llrs[0])
                segment["probability"] = float(self.decider.probability(llrs)[0])
        return segments

    @property
    def windows(self) -> dict[str, list[float]]:
        """``times``, ``scores``, ``llrs`` and ``probabilities`` of windows, if asked for."""
        if self.track is None or not self.shows_track:
            return {}
        windows = {"times": self.track.times.round(6).tolist(), "scores": self.track.scores.tolist()}
        if self.decider is not None and self.decision is not None and self.decision.llr is not None:
            llrs = self.decider.llrs(self.track.scores)
            windows |= {"llrs": llrs.tolist(), "probabilities": self.decider.probability(llrs).tolist()}
        return windows

    @property
    def words(self) -> str:
        """Value, remarks, reason, and what decided, in words."""
        value_words = self.judgement.in_words(self.told)
        if self.frames is not None:
            number = len(self.frames.stretches)
            value_words = pluralise(number, "fake stretch", "fake stretches") if number else "no fake stretch"
        words = [self._first_words, value_words, self.remarks]
        decision_words: list[str] = []
        if self.decision is not None:
            reason = with_flag_names(self.decision.reason or "")
            words.append("" if reason in self.remarks else reason)
            decision_words = self.decision.words
        words += decision_words
        if not decision_words and self.judged < _NEARLY_ALL:
            words.append(f"{100 * self.judged:.2g} % of it was judged")
        if self.track is not None and len(self.track) > 1:
            windows = f"{pluralise(self.track, 'window')} of {self.track.window:.3g} s"
            words.append(
                f"the score is the mean of {windows}" if self.is_mean else f"{windows} were scored along it, too"
            )
        return "; ".join(filter(None, words))

    @property
    def _first_words(self) -> str:
        if self.first is None:
            return ""
        if isinstance(self.first, Failed):
            decision = self.first.words
        elif self.first.decision is not None:
            decision = self.first.decision.decision
        else:
            decision = f"score {self.first.value:.4f}"
        words = f"the detector says first: {decision}"
        if decision in ("bonafide", CANNOT_TELL):
            words += ", so ignore the name of the class"
        return words


#: The answer about a recording.
AnyAnswer: TypeAlias = Judged[T] | Failed


def stretch_rows(stretches: Iterable[Segment]) -> list[FactsDict]:
    """Turn stretches into plain data, in seconds to the microsecond."""
    return [
        {**stretch._asdict(), "start": round(stretch.start, 6), "end": round(stretch.end, 6)} for stretch in stretches
    ]


def names_of(recording: AnyRecording) -> Facts:
    """Return the ``file``, and the ``channel`` if one was chosen."""
    names: FactsDict = {"file": str(whole_of(recording))}
    if isinstance(recording, PartOf) and recording.part.channel is not None:
        names["channel"] = recording.part.channel
    return names
