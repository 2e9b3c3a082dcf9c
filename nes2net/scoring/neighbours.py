"""Name the nearest of known recordings, by cosines of the inputs of the back-end's last layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from pydantic import FiniteFloat

from nes2net.data.audio.files import expand_folders
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.lib.errors import InputError, as_input_error
from nes2net.lib.output.findings import Finding
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.terminal import printable
from nes2net.lib.storage.files import AnyPath, write_output
from nes2net.lib.storage.plain_data import StrictModel, Value, read_json_as
from nes2net.scoring.decisions.calibration import ScoredBy
from nes2net.scoring.decisions.genuine import genuine_threshold
from nes2net.scoring.decisions.known import Reference, verification_scores
from nes2net.scoring.score_length import samples_to_calibrate
from nes2net.scoring.waveforms import RecordingToJudge

_NEAREST = 5  # recordings that are named; an assumption
_UNLIKE = "5%"  # share of recordings like the known ones that are called unlike them; an assumption
_MAX_BYTES = 1 << 28
_REMEDY = "give a file that `nes2net calibrate neighbours` saved"


class _NeighboursFile(StrictModel):
    scored_by: ScoredBy
    threshold: FiniteFloat
    """Cosine to the fifth-nearest recording, below which a recording is unlike all."""
    recordings: list[tuple[str, str, list[Value]]]
    """Path, label and embedding (E,)."""


class Neighbours:
    """Finds the nearest recordings in a file of :func:`learn_neighbours`.

    Raises:
        InputError: if the file cannot be read, or is of another detector.
    """

    def __init__(self, detector: Any, argument: str) -> None:
        self.detector = detector
        self.saved = read_json_as(_NeighboursFile, argument, _MAX_BYTES, "a file of neighbours", _REMEDY)
        if self.saved.scored_by.fingerprint != detector.fingerprint():
            raise InputError(f"{argument}: holds embeddings of another detector; {_REMEDY} with this one")
        with as_input_error(f"{argument}: not embeddings of one size", ValueError, remedy=_REMEDY):
            self.embeddings = np.stack([[embedding] for *_, embedding in self.saved.recordings])  # R×1×E

    def __call__(self, recording: RecordingToJudge) -> list[Finding]:
        num_samples = self.saved.scored_by.num_samples
        embedding = self.detector.embed(recording.decoded, SAMPLE_RATE, num_samples, of="backend")
        (cosines,) = verification_scores([embedding], [*self.embeddings]).tolist()  # (R,)
        findings = []
        nearest = sorted(zip(cosines, self.saved.recordings), reverse=True)[:_NEAREST]
        for cosine, (path, label, _) in nearest:
            distance = max(0.0, 1 - cosine)  # rounding may take the cosine above 1
            facts = {"neighbour": path, "label": label, "distance": distance}
            findings.append(Finding(path, f"{label}, cosine distance {distance:.4f}", facts=facts))
        if cosine < self.saved.threshold:
            problem = f"{_UNLIKE} of recordings like the known ones are as far from them"
            findings.append(Finding("unlike all", problem, facts={"unlike": True}))
        return findings


def learn_neighbours(detector: Any, folders: Iterable[str], save: AnyPath) -> None:
    """Write embeddings of the recordings in a folder of bona fide and perhaps one of spoofed ones.

    Raises:
        InputError: if a recording cannot be embedded, or if there are fewer than 19.
    """
    num_samples = samples_to_calibrate(detector.provenance).num_samples
    recordings = []
    for label, folder in zip((BONAFIDE, SPOOF), folders):
        for path in ProgressDisplay(expand_folders([folder]), title="embedding", unit="file"):
            embedding = detector.embed(path, num_samples=num_samples, of="backend")
            recordings.append((printable(path), label, embedding.tolist()))
    _, labels, embeddings = zip(*recordings)
    # The nearest of each is the recording itself.
    nearest = min(_NEAREST, len(labels) - 1) + 1
    cosines = Reference(np.array(embeddings), np.array(labels)).scores(embeddings, k=nearest)
    saved = _NeighboursFile(
        scored_by=ScoredBy(detector.fingerprint(), detector.precision, num_samples),
        threshold=genuine_threshold(cosines, _UNLIKE).threshold,
        recordings=recordings,
    )
    write_output(save, saved.model_dump_json())
