"""Toy speaker verification (ASV), because min t-DCF judges a detector in front of an ASV system.

The embedding of an utterance is the mean and the standard deviation over time of its MFCCs,
standardised on training speech. The score of a trial is the cosine between the embedding and the
mean embedding of the claimed speaker's enrolment clips. The scores are real but poor, and serve
only to compute the metric.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from .plan import Clip
from .spectral import mfcc

NOTE = """\
The ASV scores in `keys/LA/ASV` come from a toy: cosines of mean and deviation of MFCCs against the mean of a few
enrolment clips per speaker. They are honest scores of a poor verification; a min t-DCF with them is an exercise only."""
NO_NOTE = "There are no ASV scores (one speaker alone allows no nontarget trials), hence no min t-DCF."


def embedding(x: np.ndarray) -> np.ndarray:
    """Compute mean and standard deviation of 30 MFCCs, without the zeroth, of ``x`` (16 kHz): 60 numbers."""
    coefficients = mfcc(x, 31)[1:]
    return np.concatenate([coefficients.mean(axis=1), coefficients.std(axis=1)])


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def score_trials(
    background: np.ndarray, enrolment: dict[str, np.ndarray], clips: list[Clip], embeddings: np.ndarray
) -> list[tuple[str, Clip, str, float]]:
    """Score each human clip as its own speaker and as every other speaker, and each spoof as the speaker it copies.

    Args:
        background: embeddings of training speech, N×60.
        enrolment: speaker → embeddings M×60.
        embeddings: those of ``clips``.

    Returns:
        (claimed speaker, clip, "target", "nontarget" or "spoof", score) of each trial; empty if
        there is only one speaker.
    """
    mean = background.mean(axis=0)
    deviation = background.std(axis=0) + 1e-9
    models = {name: _unit(_unit((e - mean) / deviation).mean(axis=0)) for name, e in enrolment.items()}
    if len(models) < 2:
        return []
    tests = _unit((embeddings - mean) / deviation)
    trials = []
    for clip, test in zip(clips, tests):
        own_speaker = clip.source.speaker
        claims = models if clip.is_human else [own_speaker]
        for claimed in claims:
            key = "target" if claimed == own_speaker else "nontarget"
            if not clip.is_human:
                key = "spoof"
            trials.append((claimed, clip, key, float(models[claimed] @ test)))
    return trials


def by_speaker(speakers: list[str], embeddings: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Group the embeddings by speaker: speaker → embeddings M×60."""
    gathered = defaultdict(list)
    for speaker, row in zip(speakers, embeddings):
        gathered[speaker].append(row)
    return {speaker: np.array(rows) for speaker, rows in gathered.items()}
