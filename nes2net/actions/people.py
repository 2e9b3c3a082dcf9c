"""Score claims of enrolled people, and learn to decide on them.

For Python programs, as `nes2net score --person` and `nes2net calibrate person`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.data.audio.files import expand_folders
from nes2net.data.corpora.trial import Trials
from nes2net.evaluation.claims import ClaimEvaluation, Claims
from nes2net.evaluation.judgements import Scores
from nes2net.evaluation.key import Labels
from nes2net.lib.errors import InputError, check_known, join_names, refuse
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.terminal import say_aside
from nes2net.lib.storage.files import AnyPath, json_text
from nes2net.metrics.sasv import SasvWeights
from nes2net.scoring.claim_file import KINDS, read_claim_table
from nes2net.scoring.claimed import PersonDecider
from nes2net.scoring.decisions.calibration import LinearCalibration, ScoredBy
from nes2net.scoring.decisions.person import EQUAL_WEIGHTS, fit_person, sasv_ratio
from nes2net.scoring.decisions.population import Population, Traits
from nes2net.scoring.files import judge_files
from nes2net.scoring.judged import Judged
from nes2net.scoring.judgement import ScoreFile, as_judgement
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.score_length import samples_to_calibrate
from nes2net.scoring.waveforms import RecordingToJudge, WaveformReader


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


def hear(
    detector: Scorer, decider: PersonDecider, recordings: Iterable[Any], num_samples: int | None
) -> Iterator[tuple[Any, float, Traits]]:
    """Yield recordings, scores and traits with voices; name recordings without a voice, and omit them."""
    measurer = Measurer(detector, None, decider.encoder)
    sources = list(recordings)
    answers = judge_files(detector, as_judgement("scores"), sources, num_samples, measurer=measurer)
    for answer in ProgressDisplay(answers, title="scoring", unit="file", total=len(sources)):
        if isinstance(answer, Judged) and answer.traits and answer.traits.voice is not None:
            yield answer.recording, answer.value, answer.traits
        else:
            say_aside(f"{answer.path} is not used: {answer.words}")


def check_claims(trials: Trials, place: AnyPath, decider: PersonDecider) -> None:
    """Check that all trials, listed in ``place``, claim people in the store, and that ``decider`` suits them.

    Raises:
        InputError: if this is not so.
    """
    store = decider.store
    without = [trial.id for trial in trials if trial.claim is None]
    refuse(
        (
            without,
            f"{place}: {join_names(without)} names no claim, but `person` scores claims: use a corpus of claims, such as "
            "asvspoof2019_la_sasv, or add the columns speaker and claim (target, nontarget or spoof), or remove `person`",
        ),
        (decider.name, f"the corpus says who is claimed: give `person` only {store.folder}"),
        (decider.abstain_within, "a score file of claims has no outcomes: remove `abstain_within`"),
    )
    people = {trial.id.partition(":")[0] for trial in trials}
    check_known(sorted(people), store.names(), f"{store.folder}: there is no person")


@dataclass(frozen=True)
class ClaimScoring(Claims):
    """Scores ``cm`` and ``asv`` of claims; their file also has ``sasv`` by the calibration of ``decider``."""

    decider: PersonDecider
    measurer: Measurer

    of_batch = True
    of_claims = True
    columns = KINDS[:2]  # type: ignore[assignment]
    # The detector gives ``cm`` as always.
    fit_to = Scores.fit_to  # type: ignore[assignment]
    start = Scores.start  # type: ignore[assignment]

    def reader(self, reader: WaveformReader) -> WaveformReader:
        return replace(reader, keeps_whole=True)

    def complete(self, value: float, ids: Sequence[str], whole: Any) -> dict[str, NDArray | str]:
        traits = self.measurer.with_voice(Traits(0.0, 0.0, 0.0), RecordingToJudge(ids[0], whole))
        completed: dict[str, NDArray | str] = {}
        for id in ids:
            facts = replace(self.decider, name=id.partition(":")[0], liveness=None)(value, traits).facts
            if facts["code"] == "unusable":
                completed[id] = facts["reason"][0]
            else:
                completed[id] = np.array([value, facts["asv_score"]], np.float32)
        return completed

    def describe(self) -> dict[str, object]:
        return {"name": self.name}

    def options(self) -> dict[str, object]:
        names, models = self.decider.store.models
        people = hashlib.sha256(json_text(names).encode() + models.tobytes()).hexdigest()
        return {**self.decider.basis(), "people": people}

    def read(self, out: Path) -> Iterable[tuple[str, NDArray]]:
        table = read_claim_table(out)
        return zip(table.ids, table.scores[:, :2])

    def lines(self, id: str, value: NDArray) -> str:
        scores = [*value, np.nan]
        if claim := self.decider.claim:
            llr_asv, llr_cm = claim.llrs(value[1:], value[:1])
            scores[2] = sasv_ratio(llr_asv, llr_cm, claim.weights).item()
        return super().lines(id, np.array(scores))


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
    names, models = decider.store.models
    cosines: list[float] = []
    for name in names:
        embeddings = decider.store.read(name).vectors[1:]
        remaining = embeddings.sum(0) - embeddings
        lengths = np.linalg.norm(remaining, axis=1)
        cosines += ((embeddings * remaining).sum(1)[lengths > 0] / lengths[lengths > 0]).tolist()
    num_samples = samples_to_calibrate(detector.provenance).num_samples
    genuine = list(hear(detector, decider, expand_folders([str(others)]), num_samples))
    spoofed = []
    if fakes:
        spoofed = list(hear(detector, decider, expand_folders([str(fakes)]), num_samples))
    rows = []
    for _, score, traits in genuine:
        rows += [(asv, score, 0) for asv in cosines]
        rows += [(asv, score, 1) for asv in models @ traits.voice]
    rows += [((models @ traits.voice).max(), score, 2) for _, score, traits in spoofed]
    is_genuine = np.arange(len(genuine + spoofed)) < len(genuine)
    asv, cm, claims = np.array(rows).reshape(-1, 3).T
    return learn_claims(
        asv,
        cm,
        claims,
        decider,
        weights,
        joint,
        counts=[len(cosines), len(genuine), len(spoofed)],
        population=Population.fit([traits for *_, traits in genuine + spoofed], is_genuine),
        scored_by=ScoredBy(detector.fingerprint(), detector.precision, num_samples, judgement="scores"),
    )


def learn_claims(
    asv: ArrayLike,
    cm: ArrayLike,
    claims: ArrayLike,
    decider: PersonDecider,
    weights: SasvWeights = EQUAL_WEIGHTS,
    joint: bool = True,
    counts: list[int] | None = None,
    **facts: Any,
) -> LinearCalibration:
    """Learn from labelled scores (N,) of claims, as :func:`fit_person`; ``claims`` are numbers.

    Args:
        counts: recordings of each class, if not one for each trial.
        facts: further fields of the calibration.
    """
    fusion, refusal = fit_person(asv, cm, claims, weights, joint)
    identity = str(decider.store.encoder)
    claim = fusion._replace(refusal=refusal, encoder=identity, counts=counts or fusion.counts)
    return LinearCalibration((1.0,), 0.0, 0.5, 0.0, ("detector",), claim=claim, **facts)
