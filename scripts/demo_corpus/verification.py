"""Toy automatic speaker verification (ASV), since min t-DCF judges a detector in front of one.

The embedding of an utterance is the mean and standard deviation over time of its MFCCs, standardised on
training speech. The score of a trial is the cosine between it and the mean embedding of the claimed
speaker's enrolment clips. It is a real system with real but poor scores, which serve to compute the
metric and nothing else.
"""

from __future__ import annotations

from collections import defaultdict

import librosa
import numpy as np

from .channel import RATE
from .plan import Clip

NOTE = """\
The ASV scores in `keys/LA/ASV` come from a toy: cosines of mean and deviation of MFCCs against the mean of a few
enrolment clips per speaker. They are honest scores of a poor verification; a min t-DCF with them is an exercise only."""
NO_NOTE = "There are no ASV scores (one speaker alone allows no nontarget trials), hence no min t-DCF."


def embedding(x: np.ndarray) -> np.ndarray:
    """Compute mean and standard deviation of 30 MFCCs (without the zeroth) of ``x`` (16 kHz): 60 numbers."""
    mfcc = librosa.feature.mfcc(y=x, sr=RATE, n_mfcc=31, n_fft=512, hop_length=160, n_mels=40, fmin=100, fmax=3800)[1:]
    return np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)])


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def score_trials(
    background: np.ndarray, enrolment: dict[str, np.ndarray], clips: list[Clip], embeddings: np.ndarray
) -> list[tuple[str, Clip, str, float]]:
    """Make trials (claimed speaker, clip, key, score): each human clip for its own speaker and, as nontarget, each other
    one; each spoof for the speaker it copies. Empty if there is only one speaker.

    ``background``: training embeddings N×60; ``enrolment``: speaker → embeddings M×60; ``embeddings``: of ``clips``.
    """
    mean = background.mean(axis=0)
    deviation = background.std(axis=0) + 1e-9
    models = {name: _unit(_unit((e - mean) / deviation).mean(axis=0)) for name, e in enrolment.items()}
    if len(models) < 2:
        return []
    tests = _unit((embeddings - mean) / deviation)
    trials = []
    for clip, test in zip(clips, tests):
        own = clip.source.speaker
        claims = models if clip.is_human else [own]
        for claimed in claims:
            key = "spoof" if not clip.is_human else "target" if claimed == own else "nontarget"
            trials.append((claimed, clip, key, float(models[claimed] @ test)))
    return trials


def by_speaker(speakers: list[str], embeddings: np.ndarray) -> dict[str, np.ndarray]:
    """Gather embeddings by speaker."""
    gathered = defaultdict(list)
    for speaker, row in zip(speakers, embeddings):
        gathered[speaker].append(row)
    return {speaker: np.array(rows) for speaker, rows in gathered.items()}
