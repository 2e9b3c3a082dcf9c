"""Score a corpus, for `nes2net score`, main.py and experiments.

:func:`score_corpus` reads the trials, adds facts to the record, warns if the detector was trained
on the trials, and decides by a calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.part import Part
from nes2net.data.corpora.trial import Trials
from nes2net.evaluation.origin import uses_in_words
from nes2net.lib.errors import InputError, refuse
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.output.terminal import print_note, print_warnings
from nes2net.lib.process.this_process import is_first
from nes2net.lib.storage.files import AnyPath
from nes2net.scoring.calibrated import CorpusDecisions, check_decider, decide_trials
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.decisions.decision import Decider
from nes2net.scoring.engine import Finished
from nes2net.scoring.judgement import AnyJudgement, Judgement, ScoreFile, as_judgement
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.score_length import CorpusSamples, samples_to_score
from nes2net.scoring.system_scores import Ranges, describe_systems, ranges_of, with_system_scores


class CorpusScores(NamedTuple):
    """The outcome of :func:`score_corpus`."""

    scores: Finished
    """The scoring, with the path of the score file."""
    decisions: CorpusDecisions | None
    """None without a calibration, and in every process but the first."""


def score_corpus(
    scorer: Scorer,
    corpus_part: Part,
    out: AnyPath,
    *,
    checkpoint: AnyPath,
    num_samples: CorpusSamples = "auto",
    judgement: AnyJudgement[Any] = "scores",
    trials: Trials | None = None,
    system_scores: Sequence[AnyPath] = (),
    score_range: Sequence[AnyPath] = (),
    decider: Decider | None = None,
    calibration: AnyPath = "",
    about: Facts | None = None,
    say: bool = True,
    settings: ScoringSettings | None = None,
) -> CorpusScores:
    """Score a part of a corpus into the file ``out``, by :func:`nes2net.scoring.corpus.judge_trials`.

    The record states corpus, checkpoint and published facts. If the detector was trained or
    selected on these trials, the record and a warning say so.

    Args:
        checkpoint: where ``scorer`` was loaded from, for the record.
        num_samples: leading samples; None for all. ``"auto"`` chooses by
            :func:`nes2net.scoring.score_length.samples_to_score` with a note; ``"4sec"`` likewise,
            but never all.
        judgement: a judgement, its name, or a mapping of name and options.
        trials: None for all of ``corpus_part``.
        system_scores: a score file for each fused system, in the order of training.
        score_range: development files whose lowest and highest scores normalise ``system_scores``;
            ``["test"]`` for those of ``system_scores``; empty for the ranges of training.
        decider: writes a table of decisions beside the scores.
        calibration: path of the calibration, for this table.
        about: plain data for the record.
        say: print notes and warnings; False for repeated calls.
        settings: ``num_samples`` replaces its setting of this name.

    Raises:
        InputError: as :func:`nes2net.scoring.corpus.judge_trials`; if trials or scores of other
            systems cannot be read; or if the calibration is of another detector.
        Unfinished: as :func:`nes2net.scoring.corpus.judge_trials`.
    """
    judgement = as_judgement(judgement)
    settings = settings or ScoringSettings()
    _check_settings(judgement, decider, num_samples)
    if judgement.of_whole:
        num_samples = None
    judgement = judgement.fit_to(scorer)
    if trials is None:
        trials = corpus_part.trials
    trials, fusion = _with_other_systems(scorer, trials, system_scores, score_range)
    score_length = samples_to_score(scorer.provenance, num_samples, corpus_part.definition.test_samples)
    num_samples = score_length.num_samples
    notes = [score_length.note]
    # If the calibration belongs to another detector, raise the error now, before hours of scoring.
    if decider is not None:
        notes += check_decider(scorer, decider, num_samples)
    seen = _uses(scorer, corpus_part, trials)
    if say:
        for note in notes:
            print_note(note)
        print_warnings([*seen["seen"], *_warn_of_end(scorer, num_samples)])
    protocol = "full" if num_samples is None else "4sec"
    scores = judge_trials(
        scorer,
        trials,
        out,
        judgement,
        about={
            "corpus": {**corpus_part.facts(), "protocol": protocol},
            "checkpoint": {**scorer.provenance.to_dict(), "path": str(checkpoint)},
            **fusion,
            **seen,
            **(about or {}),
        },
        settings=replace(settings, num_samples=num_samples),
    )
    if decider is None or not is_first():
        return CorpusScores(scores, None)
    basis = {"calibration": str(calibration), "calibration_sha256": decider.calibration.sha256}
    decisions = decide_trials(
        scorer,
        decider,
        trials,
        out,
        num_samples=num_samples,
        num_workers=settings.num_workers,
        facts=basis,
    )
    return CorpusScores(scores, decisions)


def _check_settings(judgement: Judgement[Any], decider: Decider | None, num_samples: CorpusSamples) -> None:
    refuse(
        (
            decider is not None and not judgement.is_score,
            f"`calibration` decides only on scores of recordings, not on {judgement.what}: remove it or `judgement`",
        ),
        (
            judgement.of_whole and num_samples not in ("auto", None),
            f"`num_samples` is {num_samples}, but {judgement.name} are scored only in whole utterances: remove it",
        ),
    )


def _uses(scorer: Scorer, part: Part, trials: Trials) -> Facts:
    facts: FactsDict = {}
    if scorer.provenance.published:
        name, published_model = scorer.provenance.published
        facts["published_model"] = {"name": name, **published_model.facts()}
    facts["scored_trials"] = part.definition.describe_trials(trials, part.split)
    facts["seen"] = uses_in_words(
        scorer.provenance, part.corpus, part.split, part.root or "", trials=facts["scored_trials"]
    )
    return facts


def _warn_of_end(scorer: Scorer, num_samples: int | None) -> list[str]:
    most_samples = scorer.used_samples.most
    if most_samples is None or (num_samples is not None and num_samples <= most_samples):
        return []
    return [f"the detector reads only the beginning of an utterance longer than {most_samples / SAMPLE_RATE:g} s"]


def _with_other_systems(
    scorer: Scorer, trials: Trials, system_scores: Sequence[AnyPath], score_range: Sequence[AnyPath]
) -> tuple[Trials, Facts]:
    if not system_scores:
        message = "`score_range` normalises scores of other systems, and none are given: name their files with `system_scores`"
        refuse((score_range, message))
        return trials, {}
    refuse((not scorer.num_scores, "this detector uses no scores of other systems: remove `system_scores`"))
    files = list(map(ScoreFile.of, system_scores))
    ranges = _score_ranges(score_range, scorer)
    return with_system_scores(trials, files, ranges), {"system_scores": describe_systems(files, ranges)}


def _score_ranges(score_range: Sequence[AnyPath], scorer: Scorer) -> Ranges:
    """Raise InputError if neither ``score_range`` nor the detector gives ranges."""
    if list(score_range) == ["test"]:
        return "test"
    if score_range:
        return ranges_of(score_range)
    if scorer.provenance.score_ranges is None:
        raise InputError(
            "the detector does not state the ranges by which scores of other systems are normalised: name score files of "
            "a development set with `score_range`, or 'test' for the published rule, which uses the scored trials"
        )
    return scorer.provenance.score_ranges
