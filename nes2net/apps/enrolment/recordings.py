"""Measure and embed recordings for enrolment, and check that they are speech of one living person."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.blocks import push_all
from nes2net.data.audio.files import expand_folders
from nes2net.data.audio.read import join_blocks, stream_audio
from nes2net.data.audio.speech import SpeechFrames
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import SPOOF
from nes2net.lib.output.findings import Finding
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.models.speakers import SpeakerEncoder
from nes2net.scoring.decisions.decision import UNUSUAL
from nes2net.scoring.judging import Judge
from nes2net.scoring.measuring import measure_file
from nes2net.scoring.people import EnrolledRecording, Person, cosines_to_others
from nes2net.scoring.waveforms import RecordingToJudge

# Limits: all are assumptions.
_QUIET = -50.0  # dB of full scale
_NARROW = 3000.0  # Hz
_SHORT = 2.0  # s of speech in a recording
_TOO_LITTLE = 10.0  # s of speech in all recordings
_HALF = 2.5  # s; the halves of a recording are compared if they are at least as long


@dataclass
class Examined:
    """A recording to enrol."""

    path: Path
    facts: EnrolledRecording
    embedding: NDArray
    """(D,)."""
    problems: dict[str, str]
    """Kind → what speaks against enrolling it, or an empty text."""

    def findings(self, accept: Collection[str] = ()) -> list[Finding]:
        """List the problems, except of kinds to ``accept``."""
        remedy = "use further or other recordings, or accept them: nes2net enrol add … --accept"
        return [
            Finding(str(self.path), problem, f"{remedy} {kind}", facts={"kind": kind})
            for kind, problem in self.problems.items()
            if problem and kind not in accept
        ]


def examine(
    files: Iterable[str], encoder: SpeakerEncoder, consent: str, mean: str, judge: Judge[Any] | None
) -> list[Examined]:
    """Measure, embed and check each recording in ``files`` and folders.

    Args:
        judge: decides which recordings are fakes; None for no such check.

    Raises:
        InputError: if a recording cannot be read or embedded.
    """
    examined = []
    for path in ProgressDisplay(expand_folders(files), title="embedding", unit="file"):
        frames = SpeechFrames()
        waveform = join_blocks(push_all(stream_audio(path), frames))
        traits = measure_file(path, None)
        speech = traits.duration * frames.share()
        problems: dict[str, str] = {
            "unfit": traits.unfit,
            "clipped": traits.clipping.partition(",")[0],
            "quiet": _below(traits.level, _QUIET, "its level in dBFS"),
            "narrow": _below(traits.bandwidth, _NARROW, "its bandwidth in Hz"),
            "short": _below(speech, _SHORT, "its speech in seconds"),
        }
        if traits.duration >= 2 * _HALF:
            first, second = [encoder.embed(half, SAMPLE_RATE) for half in np.array_split(waveform, 2)]
            problems["two_people"] = _below(float(first @ second), encoder.same_voice, "the cosine of its two halves")
        if judge is not None:
            answer = judge.answer(RecordingToJudge.of(path))
            if answer.to_row().get("decision") in (SPOOF, UNUSUAL, None):  # None if it could not be judged
                problems["fake"] = f"may not be live: {answer.words}"
        embedding = encoder.embed(waveform, SAMPLE_RATE)
        plain_weight = None
        if mean == "plain":
            plain_weight = np.linalg.norm(encoder.compute(waveform)).item()
        facts = EnrolledRecording(
            sha256=hashlib.sha256(waveform.data).hexdigest(),
            seconds=traits.duration,
            speech=speech,
            bandwidth=traits.bandwidth,
            date=date.today().isoformat(),
            consent=consent,
            accepted=[],
            plain_weight=plain_weight,
        )
        examined.append(Examined(path, facts, embedding, problems))
    return examined


def compare(examined: Sequence[Examined], enrolled: Person | None, same_voice: float) -> None:
    """Add the problems of recordings beside each other and those ``enrolled``; state in their facts which were found."""
    known: list[EnrolledRecording] = []
    embeddings = [recording.embedding for recording in examined]
    if enrolled is not None:
        known += enrolled.facts.recordings
        embeddings += [*enrolled.vectors[1:]]
    for recording in examined:
        if recording.facts.sha256 in [facts.sha256 for facts in known]:
            recording.problems["same_audio"] = "it is given twice, or was enrolled before"
        known.append(recording.facts)
    if len(embeddings) > 1:
        for recording, cosine in zip(examined, cosines_to_others(np.array(embeddings)).tolist()):
            recording.problems["unlike"] = _below(cosine, same_voice, "its cosine to the other recordings")
    speech = sum(facts.speech for facts in known)
    examined[-1].problems["too_little"] = _below(speech, _TOO_LITTLE, "the speech of all recordings in seconds")
    for recording in examined:
        recording.facts.accepted.extend(finding.facts["kind"] for finding in recording.findings())


def _below(value: float, least: float, quantity: str) -> str:
    if value < least:
        return f"{quantity} is {value:.3g}, below {least:g}"
    return ""
