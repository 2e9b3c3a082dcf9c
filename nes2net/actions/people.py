"""Score claims of enrolled people, and learn to decide on them.

For Python programs, as `nes2net score --person` and `nes2net calibrate person`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.data.audio.files import expand_folders
from nes2net.data.audio.packed import AnyRecording
from nes2net.evaluation.claims import ClaimEvaluation
from nes2net.evaluation.key import Labels
from nes2net.lib.errors import InputError
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.terminal import say_aside
from nes2net.lib.storage.files import AnyPath
from nes2net.metrics.sasv import SasvWeights
from nes2net.scoring.claimed import PersonDecider
from nes2net.scoring.decisions.calibration import LinearCalibration, ScoredBy
from nes2net.scoring.decisions.person import EQUAL_WEIGHTS, fit_person
from nes2net.scoring.decisions.population import Population, Traits
from nes2net.scoring.judged import Judged
from nes2net.scoring.judgement import ScoreFile
from nes2net.scoring.judging import Judge, JudgingSettings
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.score_length import samples_to_calibrate
from nes2net.scoring.waveforms import RecordingToJudge


def read_claim_trials(path: AnyPath, labels: Labels) -> tuple[NDArray, NDArray, NDArray]:
    """Read a score file of claims: ``asv`` and ``cm`` scores (N,), and numbers of claims.

    Raises:
        InputError: if it does not fit the labels, or has no ``cm`` or ``asv`` scores.
    """
    file = ScoreFile.of(path)
    scores = ClaimEvaluation(labels, [file]).read(file, "").scores
    if not scores.keys() >= {"asv", "cm"}:
        raise InputError(f"{path}: needs scores of both kinds, cm and asv: score again")
    return scores["asv"].scores, scores["cm"].scores, scores["asv"].claims


def hear(judge: Judge[float], recordings: Iterable[AnyRecording]) -> Iterator[tuple[Any, float, Traits]]:
    """Yield recordings, scores and traits with voices; name recordings without a voice, and omit them."""
    sources = list(map(RecordingToJudge.of, recordings))
    for answer in ProgressDisplay(judge.answers(sources), title="scoring", unit="file", total=len(sources)):
        if isinstance(answer, Judged) and answer.traits and answer.traits.voice is not None:
            yield answer.recording, answer.value, answer.traits
        else:
            say_aside(f"{answer.path} is not used: {answer.words}")


def calibrate_people(
    detector: Scorer,
    decider: PersonDecider,
    others: AnyPath,
    fakes: AnyPath | None = None,
    weights: SasvWeights = EQUAL_WEIGHTS,
    joint: bool = True,
) -> LinearCalibration:
    """Learn from the people in a store, a folder with recordings of ``others``, and one with ``fakes`` of the people.

    The store has no audio: a target is an enrolled recording, compared with the others of its
    person, with the countermeasure score of each of ``others``. A fake is claimed to be the nearest
    person.

    Raises:
        InputError: if there are fewer than ten recordings, or as :func:`fit_person`.
    """
    num_samples = samples_to_calibrate(detector.provenance).num_samples
    judge: Judge[float] = Judge(detector, "scores", decider, JudgingSettings(num_samples))
    names, models = decider.store.models
    cosines: list[float] = []
    for name in names:
        embeddings = decider.store.read(name).vectors[1:]
        remaining = embeddings.sum(0) - embeddings
        lengths = np.linalg.norm(remaining, axis=1)
        cosines += ((embeddings * remaining).sum(1)[lengths > 0] / lengths[lengths > 0]).tolist()
    genuine = list(hear(judge, expand_folders([str(others)])))
    spoofed = list(hear(judge, expand_folders([str(fakes)] if fakes else [])))
    rows = []
    for _, score, traits in genuine:
        rows += [(asv, score, 0) for asv in cosines]
        rows += [(asv, score, 1) for asv in models @ traits.voice]
    rows += [((models @ traits.voice).max(), score, 2) for _, score, traits in spoofed]
    calibration = learn_claims(*np.array(rows).reshape(-1, 3).T, decider, weights, joint)
    assert calibration.claim is not None
    population = Population.fit(
        [traits for *_, traits in genuine + spoofed], np.arange(len(genuine + spoofed)) < len(genuine)
    )
    return replace(
        calibration,
        population=population,
        scored_by=ScoredBy(detector.fingerprint(), detector.precision, judge.num_samples, judgement="scores"),
        claim=calibration.claim._replace(counts=[len(cosines), len(genuine), len(spoofed)]),
    )


def learn_claims(
    asv: ArrayLike, cm: ArrayLike, claims: ArrayLike, decider: PersonDecider, *settings: Any
) -> LinearCalibration:
    """Learn from labelled scores (N,) of claims, as :func:`fit_person`; ``claims`` are numbers."""
    fusion, refusal = fit_person(asv, cm, claims, *settings)
    claim = fusion._replace(refusal=refusal, encoder=str(decider.store.encoder))
    return LinearCalibration((1.0,), 0.0, 0.5, 0.0, ("detector",), claim=claim)
