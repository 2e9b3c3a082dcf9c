"""Score the same trials under many conditions, write the score files to a folder, and evaluate them.

``OUT/scores/clean.txt`` and the file of each condition are ordinary score files, which are resumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import numpy as np

from nes2net.actions.scoring import score_corpus
from nes2net.apps.robustness.attacked import AttackedScores, plan_attacks, prepare_attacks
from nes2net.apps.robustness.condition import UnderCondition
from nes2net.apps.robustness.robustness import CLEAN, EER_OF_CLEAN, evaluate_robustness, find_threshold, trials_in_words
from nes2net.apps.robustness.settings import Suite
from nes2net.data.augment import Sources
from nes2net.data.augment.conditions import default_conditions, expand_strengths
from nes2net.data.corpora.part import Part
from nes2net.data.corpora.trial import BONAFIDE, Trial, stratified_subset
from nes2net.evaluation.key import Labels
from nes2net.evaluation.matching import check_classes
from nes2net.evaluation.result import Result
from nes2net.lib.errors import InputError, one_line, pluralise
from nes2net.lib.process.this_process import process_count, usable_processors
from nes2net.lib.storage.files import AnyPath, path_below, writing_folder
from nes2net.scoring.corpus import ScoringSettings
from nes2net.scoring.decisions import Decider, OperatingPoint
from nes2net.scoring.engine import NothingDone
from nes2net.scoring.kernel import Scorer, check_takes_audio_alone

# Largest number of recordings that are mixed to make babble, the noise of many talkers.
_MAX_TALKERS = 200
# Number of trials for the default attacks.
_DEFAULT_TRIALS = 200


@dataclass(frozen=True)
class RobustnessPlan:
    part: Part
    phase: str
    trials: list[Trial]
    """With labels and paths of recordings."""
    num_available: int
    """Trials of the phase, of which ``trials`` may be a subset."""
    conditions: dict[str, UnderCondition]
    """By name, without attacks."""
    notes: list[str]
    """What readers must know of the trials."""
    left_out: dict[str, str]
    """Condition → why it cannot be applied, such as a missing library."""
    seed: int
    attacks: list[AttackedScores]

    def words(self) -> list[str]:
        names = [*self.conditions, *(attack.condition for attack in self.attacks)]
        numbers = trials_in_words((trial.label for trial in self.trials), self.num_available, len(names))
        return [
            f"{self.part.corpus}, phase {self.phase}: {numbers}:",
            *(f"  {name}" for name in names),
            *(f"not possible here: {name}: {reason}" for name, reason in self.left_out.items()),
        ]


def plan(part: Part, suite: Suite) -> RobustnessPlan:
    """Choose the trials and conditions of a robustness run.

    Trials that the published figures of the corpus exclude are omitted. Babble is mixed from up to
    200 bona fide trials of the whole phase, even if the run is a subset. Attacks are fitted on
    trials of the split for them, or on those that are not scored, or, without such, on the scored.

    Raises:
        InputError: if the corpus, the keys, the phase or a condition is unknown or cannot be read;
            if a condition is not possible here; or if no trial of the phase has audio.
    """
    seed = suite.seed
    phase = part.split if suite.phase is None else suite.phase
    labelled, notes = _labelled_trials(part, suite, phase)
    num_trials = suite.num_trials
    if "default" in suite.attack:
        num_trials = num_trials or _DEFAULT_TRIALS
    trials = labelled if num_trials is None else stratified_subset(labelled, num_trials, seed)
    speech = [trial.recording() for trial in labelled if trial.label == BONAFIDE]
    if len(speech) > _MAX_TALKERS:
        indices = np.random.default_rng(seed).choice(len(speech), _MAX_TALKERS, replace=False)
        speech = [speech[index] for index in sorted(indices.tolist())]
    sources = Sources(suite.musan, suite.rir, tuple(speech))
    names = _expand(suite.conditions or ())
    left_out: dict[str, str] = {}
    if suite.conditions is None and not suite.attack:
        names, left_out = default_conditions(sources)
    passed = {"then": _expand(suite.attack_then), "through": _expand(suite.attack_through)}
    names += chain.from_iterable(passed.values())
    # What is impossible raises an error here, not after hours of scoring.
    conditions = {name: UnderCondition.of(name, sources, seed) for name in names}
    to_fit_on = labelled
    if suite.attack_split:
        to_fit_on, _ = _labelled_trials(replace(part, split=suite.attack_split), suite, suite.attack_split)
    scored = {trial.id for trial in trials}
    of_side = [trial for trial in to_fit_on if suite.attack_side in (trial.label, "both")]
    unscored = [trial for trial in of_side if trial.id not in scored]
    attacks = plan_attacks(suite, passed, conditions, unscored or of_side)
    return RobustnessPlan(part, phase, trials, len(labelled), conditions, notes, left_out, seed, attacks)


def _labelled_trials(part: Part, suite: Suite, phase: str) -> tuple[list[Trial], list[str]]:
    """List the evaluated trials with their audio, and what readers must know of them."""
    key = Labels(part.corpus, suite.keys or part.root or ".", phase).read()
    listed = {trial.id: trial for trial in replace(part).trials}  # of a copy: the plan keeps only its own trials
    labelled = [trial.with_audio_of(listed[trial.id]) for trial in key.evaluated_trials if trial.id in listed]
    if not labelled or any(trial.label is None for trial in labelled):
        subject = "not every trial" if labelled else "no trial"
        raise InputError(
            f"{subject} of {part.definition.title}, {part.split}, has a label of phase '{phase}': name the folder of the labels with "
            "`keys`, or another `phase`"
        )
    return labelled, key.notes()


def _expand(texts: Iterable[str]) -> list[str]:
    return list(chain.from_iterable(map(expand_strengths, texts)))


def run(
    scorer: Scorer,
    plan: RobustnessPlan,
    out: AnyPath,
    *,
    checkpoint: AnyPath,
    num_samples: int | None,
    settings: ScoringSettings,
    attack_from: Mapping[str, Scorer] = MappingProxyType({}),
    rule: Decider | OperatingPoint = EER_OF_CLEAN,
    num_resamples: int = 1000,
) -> Result:
    """Score the trials of ``plan``, clean and under each condition, and evaluate the scores.

    Score files go to ``out/scores``. If no trial can be scored under a condition, it is listed as
    failed. For other arguments see :func:`nes2net.actions.scoring.score_corpus` and
    :func:`nes2net.apps.robustness.robustness.evaluate_robustness`.

    Args:
        settings: without a number of workers, one per processor reads and changes audio, at most 8.
        attack_from: other detectors that attacks are made on, by their names in the plan.

    Raises:
        InputError: if ``out`` has scores of another run, or another run is writing there; if a file
            cannot be written; if the trials lack a class, or are too few for the operating point;
            if the clean trials cannot be scored, or no condition has scores; or if the run was
            started by ``torchrun``.
    """
    check_takes_audio_alone(scorer)
    if process_count() > 1:
        raise InputError(
            "a robustness run is one process: start it without torchrun, and choose `num_workers` for more workers"
        )
    out = Path(out)
    if settings.num_workers is None:
        settings = replace(settings, num_workers=min(8, usable_processors()))
    is_bonafide = np.array([trial.label == BONAFIDE for trial in plan.trials], dtype=bool)
    check_classes(is_bonafide, pluralise(plan.trials, "trial"), "choose more trials, or another phase")
    # Raises before hours of scoring if there will be no threshold, which depends only on numbers of trials, not on
    # scores.
    find_threshold((np.zeros(is_bonafide.sum()), np.zeros((~is_bonafide).sum())), rule)
    attacks, notes = prepare_attacks(plan.attacks, scorer, attack_from, plan.trials, num_samples)
    with writing_folder(out):
        folder = path_below(out, "scores")
        names = (CLEAN, *plan.conditions, *attacks)
        paths = {name: folder / f"{re.sub('[:/]', '_', name)}.txt" for name in names}
        failed = dict(plan.left_out)
        for number, (name, path) in enumerate(paths.items(), 1):
            title = f"condition {number} of {len(paths)}, {name}"
            if name in attacks:
                attacks[name] = attacks[name].fitted(out)
            try:
                score_corpus(
                    scorer,
                    plan.part,
                    path,
                    checkpoint=checkpoint,
                    trials=plan.trials,
                    num_samples=num_samples,
                    judgement=attacks.get(name, "scores"),
                    about={"condition": name.removeprefix(CLEAN)},
                    say=number == 1,
                    settings=replace(settings, transform=plan.conditions.get(name), title=title),
                )
            except NothingDone as error:  # other errors, such as a full disk, are not failures of the condition
                if name == CLEAN:
                    raise
                failed[name] = one_line(str(error))
        score_files = {name: path for name, path in paths.items() if name not in failed}
        if len(score_files) == 1:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            raise InputError(
                f"no condition has scores, so nothing can be compared: correct this and run again ({reasons})"
            )
        return evaluate_robustness(
            plan.part.corpus,
            plan.phase,
            plan.trials,
            score_files,
            rule=rule,
            num_resamples=num_resamples,
            seed=plan.seed,
            failed=failed,
            num_available=plan.num_available,
            notes=[*plan.notes, *notes],
            attacks=attacks,
        )
