"""Learn a calibration or a fusion from scores or recordings, and apply calibrations to scores.

For Python programs, as `nes2net calibrate`.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from numpy.typing import NDArray

from nes2net.actions.flags import Learning
from nes2net.actions.scoring import score_corpus
from nes2net.data.audio.files import expand_folders
from nes2net.data.corpora.part import Part
from nes2net.data.corpora.protocol import WHOLE, canonical_phase
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial, Trials
from nes2net.data.registry import corpora
from nes2net.detector import Detector
from nes2net.evaluation.judgements import LabelledScores, evaluable
from nes2net.evaluation.key import Labels
from nes2net.evaluation.matching import system_names, unlabelled_scores
from nes2net.evaluation.origin import read_scored_by
from nes2net.lib.computing.devices import own_device
from nes2net.lib.errors import InputError, concerning, join_names, pluralise, refuse
from nes2net.lib.output.terminal import print_note
from nes2net.lib.output.times import utc_now
from nes2net.lib.storage.files import AnyPath, write_text
from nes2net.lib.storage.text_files import as_cell, check_utf8
from nes2net.models.network import Network
from nes2net.scoring.corpus import ScoringSettings
from nes2net.scoring.decisions.calibration import (
    LinearCalibration,
    ScoredBy,
    add_resamples,
    few_trials,
    figures,
    fit,
)
from nes2net.scoring.decisions.decision import CAUSES_OF_INVERSION, NO_RATIOS
from nes2net.scoring.decisions.genuine import GenuineScores, genuine_threshold
from nes2net.scoring.decisions.population import Population
from nes2net.scoring.engine import Finished
from nes2net.scoring.judgement import ScoreFile
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.measuring import draw_trials, forget_traits, measure_trials
from nes2net.scoring.score_file import write_scores
from nes2net.scoring.score_length import RequestedSamples, samples_to_calibrate

#: A list of rows (name, figures): first the scores of each system, then the calibrated scores; see
#: :func:`nes2net.scoring.decisions.calibration.figures`.
Figures = list[tuple[str, dict[str, float]]]


@dataclass(frozen=True)
class Recordings:
    """The scored recordings, and how to measure them for comparisons with new ones."""

    root: AnyPath
    """Folder of the corpus."""
    num_workers: int | None = None
    """Worker processes that read audio; None for a number that suits the machine."""
    model: AnyPath | Scorer | None = None
    """The detector of the scores; None to measure no embeddings."""
    device: str = "auto"
    config: dict[str, object] | str | None = None
    base: AnyPath | None = None
    """``device``, ``config`` and ``base`` as for :meth:`nes2net.Detector.from_pretrained`; only for a path or name."""
    kept: AnyPath = "calibration"
    """Measurements stay in ``{kept}.traits`` and ``{kept}.embeddings.npy``, until
    :func:`nes2net.scoring.measuring.forget_traits`."""


@dataclass(frozen=True)
class Calibrated:
    """The outcome of :func:`calibrate`."""

    calibration: LinearCalibration
    num_bonafide: int
    num_spoof: int
    unit: str
    """What a score is about: ``"trials"``, or frames with their length."""
    rows: Figures
    """Figures without and with calibration."""
    failed: list[str] = field(default_factory=list)
    """Ids of recordings that could not be measured, and of silent genuine ones."""

    @property
    def warning(self) -> str:
        """Warns of few trials, below 20 of each class, if there are figures."""
        return few_trials(self.num_bonafide, self.num_spoof) if self.rows else ""


def calibrate(
    labels: Labels,
    scores: Sequence[AnyPath],
    learning: Learning = Learning(),
    *,
    allow_partial: bool = False,
    resolution_ms: float | None = None,
    recordings: Recordings | None = None,
) -> Calibrated:
    """Learn from labelled scores how to turn scores into log-likelihood ratios, or how to fuse systems.

    The caller saves the calibration.

    Args:
        scores: a score file for each system; scores of frames cannot be fused.
        learning: with an operating point, only a threshold of bona fide trials, over people if
            each has a speaker; with ``keys=""``, all trials are bona fide.
        allow_partial: omit trials without a usable score.
        resolution_ms: ms of a frame, if no record states it.
        recordings: measured, so that unusual recordings can get "cannot tell"; see
            :attr:`Recordings.kept`. None to measure nothing.

    Raises:
        InputError: if scores, keys or recordings cannot be read or do not fit; if higher scores
            mean spoofed without ``allow_inverted``; or as
            :func:`nes2net.scoring.decisions.calibration.fit`.
    """
    corpus = corpora.get(labels.corpus)
    files = list(map(ScoreFile.of, scores))
    judgement = evaluable(files[0])  # scores of recordings, or of frames
    settings = {} if resolution_ms is None else {"resolution_ms": resolution_ms}
    judgement.check_settings(judgement.read_labelled, settings, files[0].path)
    labelled = judgement.read_labelled(labels, files, allow_partial=allow_partial, **settings)
    bonafide = labelled.bonafide
    spoof = labelled.spoof
    digests = [file.sha256 for file in files]
    # The record of a score file says which detector made the scores. A fusion combines the scores of several detectors,
    # so it belongs to no single detector.
    scored_by = read_scored_by(files[0].record) if len(files) == 1 else None
    if scored_by is not None:
        scored_by = replace(scored_by, resolution_ms=labelled.resolution_ms)
    facts: dict[str, object] = {
        "corpus": labels.corpus,
        "phase": labels.phase,
        "num_bonafide": len(bonafide),
        "num_spoof": len(spoof),
        **labelled.facts,
        "date": utc_now(),
        "scores_sha256": digests[0] if len(digests) == 1 else digests,
    }
    systems = system_names([file.path for file in files])
    rows: Figures = []
    if learning.operating_point:
        labelled = labelled._replace(trials=[trial for trial in labelled.trials if trial.label == BONAFIDE])
    else:
        calibration = fit(bonafide, spoof, prior=learning.prior, l2=learning.l2, systems=systems)
        if len(files) == 1:
            calibration = add_resamples(calibration)
        if not learning.allow_inverted:
            _check_not_inverted(calibration, labelled)
        rows = _figures_before_and_after(labels.phase, calibration, bonafide, spoof, corpus.eer_method)
        facts["figures"] = rows[-1][1]
    # Measure the recordings, so that new recordings can be compared with these recordings later.
    population: Population | None = None
    failed: list[str] = []
    if recordings:
        population, failed = _measure_population(
            labels, recordings, labelled.trials, scored_by, files[0].path, learning.operating_point
        )
    if learning.operating_point:
        genuine = _genuine_scores(labelled, learning, failed)
        calibration = LinearCalibration((1.0,) * len(files), 0.0, 0.5, 0.0, tuple(systems), genuine=genuine)
        facts |= {"num_bonafide": len(genuine["scores"]), "num_spoof": 0, "basis": "genuine recordings"}
    calibration = replace(calibration, trained_on=facts, scored_by=scored_by, population=population)
    return Calibrated(calibration, len(bonafide), len(spoof), labelled.unit, rows, failed)


def _genuine_scores(labelled: LabelledScores, learning: Learning, failed: Sequence[str]) -> GenuineScores:
    scored_trials = zip(labelled.bonafide[:, 0].tolist(), labelled.trials)
    rows = sorted((score, trial.id, trial.speaker or "") for score, trial in scored_trials if trial.id not in failed)
    scores, ids, people = zip(*rows)
    genuine: GenuineScores = {
        "scores": list(scores),
        "alpha": learning.operating_point,
        "groups": list(people) if all(people) else None,
        "assured": learning.assured,
    }
    threshold = genuine_threshold(**genuine).threshold
    lowest = ids[: max(3, len(ids) // 100)]
    print_note(f"fakes among the lowest ones would move the threshold: {', '.join(lowest)}")
    if labelled.spoof.size:
        print_note(f"{(labelled.spoof >= threshold).mean():.4%} of the spoofed trials are not below the threshold")
    return genuine


def _check_not_inverted(calibration: LinearCalibration, labelled: LabelledScores) -> None:
    if max(calibration.weights) >= 0:
        return
    weights = ", ".join(f"{system} {weight:.3g}" for system, weight in zip(calibration.systems, calibration.weights))
    raise InputError(
        f"every weight is below 0 ({weights}): among these "
        f"{len(labelled.bonafide)} bona fide and {len(labelled.spoof)} spoofed {labelled.unit}, higher scores mean "
        f"spoofed. Either {CAUSES_OF_INVERSION}: correct them, use another detector, or pass `allow_inverted=True`"
    )


class FromRecordings(NamedTuple):
    """The outcome of :func:`calibrate_recordings`."""

    calibrated: Calibrated
    """The calibration."""
    scores: Finished
    """The scoring, with the path of the score file."""


def calibrate_recordings(
    detector: Scorer,
    bonafide: AnyPath,
    spoof: AnyPath | None,
    save: AnyPath,
    learning: Learning = Learning(),
    *,
    checkpoint: AnyPath = "",
    num_samples: RequestedSamples = "auto",
    audio_track: int = 0,
    speakers: AnyPath | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
) -> FromRecordings:
    """Score the recordings of two folders, and learn log-likelihood ratios from the scores.

    Writes ``{save}.recordings.csv``, a list for the corpus ``generic``, and ``{save}.scores.txt``;
    an interrupted call resumes. Recordings that cannot be scored do not count. The others are
    measured and embedded, so that unusual ones can get "cannot tell".

    Args:
        bonafide, spoof: folders, or single recordings; no ``spoof`` with an operating point.
        save: the calibration to write.
        checkpoint: where ``detector`` was loaded from, for the record.
        num_samples: leading samples; ``"auto"`` for a window that suits the detector. None for all:
            much longer recordings then get no decision.
        audio_track: of files with several, from 0.
        speakers: a list for the corpus ``generic`` with the speaker of each recording.
        batch_size, num_workers: as for :class:`nes2net.scoring.corpus.ScoringSettings`.

    Raises:
        InputError: as :func:`calibrate`; if a folder has no recordings, both share one, one lacks
            its speaker, or a file cannot be read or written.
        Unfinished: if a worker was killed or hangs; finished work is kept.
    """
    recordings = Path(f"{save}.recordings.csv")
    scores = Path(f"{save}.scores.txt")
    people = _write_generic_list(recordings, bonafide, spoof, audio_track, speakers)
    if learning.operating_point:
        # Before scoring: no more recordings and people can count.
        genuine_threshold(range(len(people)), learning.operating_point, people if speakers else None, learning.assured)
    score_length = samples_to_calibrate(detector.provenance, num_samples)
    print_note(score_length.note)
    scored = score_corpus(
        detector,
        Part("generic", recordings, WHOLE),
        scores,
        checkpoint=checkpoint,
        num_samples=score_length.num_samples,
        settings=ScoringSettings(
            batch_size=batch_size,
            num_workers=num_workers,
            overwrite="others",
            later_passes=isinstance(detector, Network),  # for embeddings
        ),
    ).scores
    # Learn the calibration from the scores.
    calibrated = calibrate(
        Labels("generic", recordings, WHOLE),
        [scores],
        learning,
        allow_partial=bool(scored.failures),
        recordings=Recordings(recordings, num_workers, detector, kept=save),
    )
    genuine = calibrated.calibration.genuine
    if genuine and (uncounted := sorted(set(people).difference(genuine["groups"] or people))):
        print_note(f"no recording counts of {pluralise(uncounted, 'person', 'people')}: {join_names(uncounted)}")
    calibrated.calibration.save(save)
    forget_traits(save)
    return FromRecordings(replace(calibrated, unit="recordings"), scored)


def _write_generic_list(
    path: Path, bonafide: AnyPath, spoof: AnyPath | None, audio_track: int, speakers: AnyPath | None
) -> list[str]:
    """Return who speaks in each recording; empty names without ``speakers``."""
    speaker_of_path: dict[str, str] = {}
    if speakers is not None:
        for trial in corpora.get("generic").trials(speakers):
            speaker_of_path[os.path.realpath(trial.audio_path())] = trial.speaker or ""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("path", "label", "id", "audio_track", "speaker"))
    # A spreadsheet would take a cell that begins with "=" for a formula. No cell here begins with
    # "=": paths are absolute, ids begin with the label, and as_cell() writes speakers.
    label_of_path: dict[str, str] = {}
    shared_paths = []
    people = []
    without_speaker = []
    for label, folder in ((BONAFIDE, bonafide), (SPOOF, spoof)):
        if folder is None:
            continue
        top = Path(folder) if Path(folder).is_dir() else Path(folder).parent
        files = expand_folders([str(folder)])
        check_utf8(map(str, files))
        for file in files:
            real_path = os.path.realpath(file)
            if label_of_path.setdefault(real_path, label) != label:
                shared_paths.append(real_path)
            speaker = speaker_of_path.get(real_path, "")
            people.append(speaker)
            if not speaker:
                without_speaker.append(str(file))
            id = f"{label}/{file.relative_to(top)}"
            rows.writerow((file.absolute(), label, id, audio_track, as_cell(speaker)))
    refuse(
        (
            shared_paths,  # a recording in both folders would have two labels
            f"{pluralise(shared_paths, 'recording is', 'recordings are')} in both {bonafide} and {spoof}: "
            f"{join_names(sorted(shared_paths))}; keep each in only one folder",
        ),
        (
            speakers is not None and without_speaker,
            f"{speakers}: has no speaker of {pluralise(without_speaker, 'recording')}: {join_names(without_speaker)}; "
            "add their paths and speakers",
        ),
    )
    write_text(path, text.getvalue())
    return people


def _measure_population(
    labels: Labels,
    recordings: Recordings,
    scored: Trials,
    scored_by: ScoredBy | None,
    scores: Path,
    omits_unfit: object,
) -> tuple[Population, list[str]]:
    """Return the population, and the ids of trials that could not be measured, or are omitted as unfit.

    Raises InputError if a trial has no recording, or if ``recordings.model`` is not, or cannot be
    shown to be, the detector of the scores.
    """
    is_bonafide = {trial.id: trial.label == BONAFIDE for trial in scored}
    with_audio = _find_recordings(labels, recordings.root, list(is_bonafide))
    detector = _detector_of_scores(recordings, scored_by, scores)
    traits, failures = measure_trials(
        draw_trials(with_audio),
        recordings.kept,
        scored_by.num_samples if scored_by else None,
        scorer=detector,
        embed=detector is not None,
        num_workers=recordings.num_workers,
    )
    if omits_unfit:
        failures |= {id: measured.unfit for id, measured in traits.items() if measured.unfit}
    traits = {id: measured for id, measured in traits.items() if id not in failures}
    return Population.fit(list(traits.values()), [is_bonafide[id] for id in traits]), list(failures)


def _find_recordings(labels: Labels, root: AnyPath, ids: Sequence[str]) -> list[Trial]:
    corpus = corpora.get(labels.corpus)
    phase = canonical_phase(labels.phase)
    split = phase if phase in corpus.accepted_splits else corpus.splits[-1]  # phase "progress" lies in split "eval"
    protocols = None
    # The labels may lie in another folder than the audio.
    if str(labels.keys) != str(root) and Path(labels.keys).is_dir():
        protocols = labels.keys
    trials = corpus.trials(root, split, protocols=protocols)
    with_audio = {trial.id: trial for trial in trials if trial.path is not None}
    if missing := [id for id in ids if id not in with_audio]:
        raise InputError(
            f"{root}: has no recordings of {len(missing):,} of the {pluralise(ids, 'trial')} of these "
            f"scores: {join_names(missing)}; name the folder of {labels.corpus} with `root`"
        )
    return [with_audio[id] for id in ids]


def _detector_of_scores(recordings: Recordings, scored_by: ScoredBy | None, scores: Path) -> Scorer | None:
    model = recordings.model
    if not model:
        return None
    if not isinstance(model, (str, Path)):
        return model
    if scored_by is None:
        raise InputError(
            f"{scores}: no record of these scores is beside it, so nothing tells whether `model` made them: score "
            "again with nes2net score, or remove `model`"
        )
    # In the precision in which the scores were computed.
    detector = Detector.from_pretrained(
        model, own_device(recordings.device), scored_by.precision, recordings.config, recordings.base
    )
    if (fingerprint := detector.fingerprint()) != scored_by.fingerprint:
        raise InputError(
            f"{model} is not the detector that made {scores} (fingerprint {fingerprint[:12]}, not "
            f"{scored_by.fingerprint[:12]}): name the detector that made these scores"
        )
    return detector


def apply_calibration(
    calibration: LinearCalibration,
    scores: Sequence[AnyPath],
    out: AnyPath,
    *,
    allow_partial: bool = False,
) -> list[str]:
    """Calibrate ``scores`` into the score file ``out``; return notes on what could not be checked.

    Args:
        scores: a score file for each system, in the order of learning.
        allow_partial: omit trials without a usable score.

    Raises:
        InputError: if the scores are of another detector or number of systems, or a file cannot be
            read or written.
    """
    refuse((calibration.genuine, NO_RATIOS))
    if len(scores) != len(calibration.weights):
        raise InputError(
            f"the calibration needs scores of {pluralise(calibration.weights, 'system')} "
            f"({', '.join(calibration.systems)}), but {pluralise(scores, 'score file')} came: use one file for "
            "each system, in this order"
        )
    notes = []
    # If there is a single score file with a record, check that the calibration's detector made the scores.
    files = list(map(ScoreFile.of, scores))
    path = files[0].path
    if len(scores) > 1:
        notes.append(
            "a fusion does not say whose scores it was learned from: check that these are of the same detectors"
        )
    elif scored_by := read_scored_by(files[0].record):
        with concerning(f"{path}:"):
            notes += calibration.check_fits(scored_by, "give the scores of the calibration's detector")
        notes += filter(None, [calibration.warning_on_length(scored_by.num_samples)])
    else:
        notes.append(
            f"no record of these scores is beside {path}, so nothing tells whether the calibration's detector made them; "
            "nes2net score writes a record"
        )
    ids, values = unlabelled_scores(files, allow_partial=allow_partial)
    write_scores(out, ids, calibration(values))
    return notes


def _figures_before_and_after(
    phase: str, calibration: LinearCalibration, bonafide: NDArray, spoof: NDArray, eer_method: str
) -> Figures:
    """Compute figures of K systems, then calibrated or fused, from scores (B, K) and (S, K)."""
    outcome = "calibrated" if len(calibration.systems) == 1 else "fused"
    scores = [
        *zip(calibration.systems, bonafide.T, spoof.T),
        (outcome, calibration(bonafide), calibration(spoof)),
    ]
    return [(f"{phase} {name}", figures(of_bonafide, of_spoof, eer_method)) for name, of_bonafide, of_spoof in scores]
