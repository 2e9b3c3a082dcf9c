"""Measure and embed recordings for enrolment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import date

from numpy.typing import NDArray

from nes2net.data.audio.blocks import push_all
from nes2net.data.audio.files import expand_folders
from nes2net.data.audio.read import join_blocks, stream_audio
from nes2net.data.audio.speech import SpeechFrames
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.models.speakers import SpeakerEncoder
from nes2net.scoring.decisions.population import measure
from nes2net.scoring.people import EnrolledRecording


def examine(files: Iterable[str], encoder: SpeakerEncoder, consent: str) -> Iterator[tuple[EnrolledRecording, NDArray]]:
    """Yield facts and embedding (D,) of each recording in ``files`` and folders.

    Raises:
        InputError: if a recording cannot be read or embedded.
    """
    for path in expand_folders(files):
        frames = SpeechFrames()
        waveform = join_blocks(push_all(stream_audio(path), frames))
        traits = measure(waveform)
        recording = EnrolledRecording(
            sha256=hashlib.sha256(waveform.data).hexdigest(),
            seconds=traits.duration,
            speech=traits.duration * frames.share(),
            bandwidth=traits.bandwidth,
            date=date.today().isoformat(),
            consent=consent,
        )
        yield recording, encoder.embed(waveform, SAMPLE_RATE)
