"""Examine a recording for its report: its file, decision, and windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nes2net.actions.prediction import progress_of
from nes2net.data.audio.decoders import open_with_ffmpeg, open_with_libsndfile
from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.parts import choose
from nes2net.data.audio.read import AudioFile, MeasuredAudio, stream_audio
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.storage.files import sha256_of
from nes2net.models.published_results import PublishedRow, published_rows
from nes2net.scoring.claimed import AnyDecider
from nes2net.scoring.decisions.population import Traits, measure_blocks
from nes2net.scoring.judged import Failed, Judged
from nes2net.scoring.judging import Judge, JudgingSettings
from nes2net.scoring.track import FrameScores
from nes2net.scoring.waveforms import RecordingToJudge


class ExaminedFile(NamedTuple):
    """The file of a recording, and facts about the file."""

    path: Path
    sha256: str
    size: int
    """Bytes."""
    coding: str
    """Container and codec, as the decoder names them."""
    measured: MeasuredAudio
    channel: int | None
    """The examined channel, counted from 0; None for the mean of all channels."""

    @classmethod
    def of(cls, path: Path, channel: int | None = None) -> ExaminedFile:
        """Collect the facts about an audio file; all of it is decoded to find damage.

        Raises:
            InputError: if the file is missing, damaged, or not audio, or has no such channel.
        """
        with AudioFile(path) as audio:
            measured = audio.measure()
            if measured.second_decoder:
                with open_with_ffmpeg(audio) as container:
                    codec = container.streams.audio[0].codec_context.codec
                    coding = f"{container.format.long_name}, {codec.long_name}"
            else:
                with open_with_libsndfile(audio) as info:
                    coding = f"{info.format_info}, {info.subtype_info}"
        if channel is not None and channel >= measured.channels:
            raise InputError(
                f"has {pluralise(measured.channels, 'channel')}, counted from 0, so there is no channel {channel}: choose a "
                f"`channel` below {measured.channels}, or remove it for the mean of all",
                subject=f"audio file {path}",
            )
        return cls(path, sha256_of(path), path.stat().st_size, coding, measured, channel)

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.measured.num_samples / self.measured.sample_rate

    @property
    def recording(self) -> AnyRecording:
        """The examined recording: the file, or one channel of it."""
        return choose(self.path, self.channel)


@dataclass(frozen=True)
class Examination:
    """What a detector says of a recording, and facts about both."""

    file: ExaminedFile
    traits: Traits
    """Such as level and bandwidth."""
    judged: Judged[float]
    """The decision and the scores of the windows, as `nes2net predict --track` gives them."""
    judge: Judge[float]
    """Says what makes the decision uncertain."""
    detector: Detector
    fingerprint: str
    published: list[PublishedRow]
    """Published figures of the detector."""
    fakes: FrameScores | None
    """None if the detector was not trained on segments."""


def examine(
    file: ExaminedFile,
    detector: Detector,
    decider: AnyDecider | None,
    batch_size: int | None,
    evidence: Sequence[str],
) -> Examination:
    """Score the windows of a recording, and collect the facts for its report.

    Args:
        decider: None for scores only.
        batch_size, evidence: as for :class:`nes2net.scoring.judging.JudgingSettings`.

    Raises:
        InputError: if the detector cannot score the recording, or the calibration belongs to
            another detector.
    """
    settings = JudgingSettings(track=True, batch_size=batch_size, evidence=evidence)
    judge: Judge[float] = Judge(
        detector,
        "scores",
        decider,
        settings,
        lambda source, duration, _: progress_of(source, duration, 0.0),  # `report` has no flag for the hop to advise
    )
    fakes = None
    if detector.trained_on_segments:
        frames_judge: Judge[Any] = Judge(
            detector, "frames", settings=JudgingSettings(batch_size=batch_size), watch=progress_of
        )
        fakes = _judge_or_raise(frames_judge, file).frames
    published = detector.provenance.published
    rows = [row for row in published_rows() if published is not None and published[0] in row.models]
    return Examination(
        file,
        measure_blocks(stream_audio(file.recording)),
        _judge_or_raise(judge, file),
        judge,
        detector,
        detector.fingerprint(),
        rows,
        fakes,
    )


def _judge_or_raise(judge: Judge[Any], file: ExaminedFile) -> Judged[Any]:
    answer = judge.answer(RecordingToJudge.of(file.recording))
    if isinstance(answer, Failed):
        raise InputError(answer.words, subject=f"audio file {file.path}")
    return answer
