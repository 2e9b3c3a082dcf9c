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
from numpy.typing import NDArray

from nes2net.actions.flags import LearningClaims
from nes2net.data.audio.files import expand_folders
from nes2net.data.corpora.trial import Trials
from nes2net.evaluation.claim_figures import MIN_PEOPLE, coarse_figures
from nes2net.evaluation.claims import ClaimEvaluation, Claims
from nes2net.evaluation.judgements import Scores
from nes2net.evaluation.key import Labels
from nes2net.lib.errors import InputError, check_known, join_names, refuse
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.output.terminal import say_aside
from nes2net.lib.storage.files import AnyPath, json_text
from nes2net.scoring.claim_file import KINDS, read_claim_table
from nes2net.scoring.claimed import PersonDecider
from nes2net.scoring.decisions.calibration import LinearCalibration, ScoredBy
from nes2net.scoring.decisions.claim import SasvFit
from nes2net.scoring.decisions.person import fit_genuine, fit_person, fuse
from nes2net.scoring.decisions.population import Population, Traits
from nes2net.scoring.files import judge_files
from nes2net.scoring.judged import Judged
from nes2net.scoring.judgement import ScoreFile, as_judgement
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.people import cosines_to_others
from nes2net.scoring.score_length import samples_to_calibrate
from nes2net.scoring.waveforms import RecordingToJudge, WaveformReader


def hear(
    detector: Scorer, decider: PersonDecider, folder: AnyPath, num_samples: int | None
) -> Iterator[tuple[float, Traits]]:
    """Yield scores and traits with voices of recordings; name recordings without a voice, and omit them."""
    sources = expand_folders([str(folder)])
    answers = judge_files(
        detector,
        as_judgement("scores"),
        sources,
        num_samples,
        measurer=Measurer(detector, False, decider.encoder),
    )
    for answer in ProgressDisplay(answers, title="scoring", unit="file", total=len(sources)):
        if isinstance(answer, Judged) and answer.traits and answer.traits.voice is not None:
            yield answer.value, answer.traits
        else:
            say_aside(f"{answer.path} is not used: {answer.words}")


def check_claims(trials: Trials, corpus: AnyPath, decider: PersonDecider) -> None:
    """Check that all trials of ``corpus`` claim people in the store, and that ``decider`` suits them.

    Raises:
        InputError: if this is not so.
    """
    store = decider.store
    without = [trial.id for trial in trials if trial.claim is None]
    refuse(
        (
            without,
            f"{corpus}: {join_names(without)} names no claim, but `person` scores claims: use a corpus of claims, such as "
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

    def describe(self) -> Facts:
        return {"name": self.name}

    def options(self) -> Facts:
        names, models = self.decider.store.models
        people = hashlib.sha256(json_text(names).encode() + models.tobytes()).hexdigest()
        return {**self.decider.basis(), "people": people}

    def read(self, out: Path) -> Iterable[tuple[str, NDArray]]:
        table = read_claim_table(out)
        return zip(table.ids, table.scores[:, :2])

    def lines(self, id: str, value: NDArray) -> str:
        scores = [*value, np.nan]
        if (claim := self.decider.claim) and claim.rule != "cascade":
            scores[2] = fuse(claim, value[1:], value[:1]).item()
        return super().lines(id, np.array(scores))


def calibrate_people(
    detector: Scorer,
    decider: PersonDecider,
    others: AnyPath,
    fakes: AnyPath | None,
    learning: LearningClaims,
) -> LinearCalibration:
    """Learn from the people in a store, a folder with recordings of ``others``, and one with ``fakes`` of the people.

    The store has no audio: a target is an enrolled recording, compared with the others of its
    person, with the countermeasure score of each of ``others``. A fake is claimed to be the nearest
    person.

    Raises:
        InputError: if there are fewer than ten recordings, or as :func:`fit_person` or
            :func:`fit_genuine`.
    """
    names, models = decider.store.models
    cosines: list[float] = []
    for name in names:
        embeddings = decider.store.read(name).vectors[1:]
        if len(embeddings) > 1:
            cosines += cosines_to_others(embeddings).tolist()
    num_samples = samples_to_calibrate(detector.provenance).num_samples
    genuine = list(hear(detector, decider, others, num_samples))
    spoofed = []
    if fakes:
        spoofed = list(hear(detector, decider, fakes, num_samples))
    is_genuine = np.arange(len(genuine + spoofed)) < len(genuine)
    facts: FactsDict = {
        "population": Population.fit([traits for _, traits in genuine + spoofed], is_genuine),
        "scored_by": ScoredBy(detector.fingerprint(), detector.precision, num_samples, judgement="scores"),
    }
    if learning.operating_point:
        scores = [score for score, _ in genuine]
        facts["genuine"] = {"scores": scores, "alpha": learning.operating_point, "groups": None, "assured": False}
        facts["trained_on"] = {"basis": "genuine recordings"}
        return _as_calibration(fit_genuine(cosines, scores, learning.operating_point), decider, **facts)
    rows = []
    for score, traits in genuine:
        rows += [(asv, score, 0) for asv in cosines]
        rows += [(asv, score, 1) for asv in models @ traits.voice]
    rows += [((models @ traits.voice).max(), score, 2) for score, traits in spoofed]
    fusion = fit_person(*np.array(rows).T, **learning.settings)
    counts = [len(cosines), len(genuine), len(spoofed)]
    return _as_calibration(fusion._replace(counts=counts), decider, coarse_figures(counts, len(names)), **facts)


def calibrate_claims(
    path: AnyPath, labels: Labels, decider: PersonDecider, learning: LearningClaims
) -> LinearCalibration:
    """Learn from a score file of claims, as :func:`fit_person`.

    Raises:
        InputError: if it does not fit the labels, or has no ``cm`` or ``asv`` scores.
    """
    file = ScoreFile.of(path)
    scores = ClaimEvaluation(labels, [file]).read(file, "").scores
    if not scores.keys() >= {"asv", "cm"}:
        raise InputError(f"{path}: needs scores of both kinds, cm and asv: score again")
    asv, claims, people = scores["asv"]
    settings = learning.settings
    if np.unique(people[claims == 2]).size >= MIN_PEOPLE:
        settings["people"] = people
    fusion = fit_person(asv, scores["cm"].scores, claims, **settings)
    return _as_calibration(fusion, decider, coarse_figures(fusion.counts, len(np.unique(people))))


def _as_calibration(
    fusion: SasvFit, decider: PersonDecider, doubts: Sequence[str] = (), **facts: Any
) -> LinearCalibration:
    claim = fusion._replace(encoder=str(decider.store.encoder), doubts=(*fusion.doubts, *doubts))
    return LinearCalibration((1.0,), 0.0, 0.5, 0.0, ("detector",), claim=claim, **facts)
