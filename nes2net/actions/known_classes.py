"""Learn the score below which a recording has none of a detector's classes.

For Python programs, as `nes2net calibrate classes`.
"""

from __future__ import annotations

from nes2net.evaluation.class_trials import ClassTrials, class_trials
from nes2net.evaluation.key import Labels
from nes2net.lib.errors import InputError
from nes2net.lib.storage.files import AnyPath
from nes2net.metrics import compute_eer
from nes2net.scoring.class_file import read_class_table
from nes2net.scoring.decisions.known import KnownThreshold, LogitScore
from nes2net.scoring.judgement import ScoreFile


def known_classes(
    labels: Labels,
    logits: AnyPath,
    kind: LogitScore = "log_odds",
    *,
    equal_errors: bool = False,
    allow_partial: bool = False,
    class_field: str | None = None,
) -> tuple[KnownThreshold, ClassTrials]:
    """Learn, from labelled logits, the score below which a recording has none of the trained classes.

    Args:
        logits: of development trials, by ``nes2net score --judgement classes``.
        kind: formula of the score.
        equal_errors: choose the threshold at which equal shares of known trials are rejected and of
            unknown trials accepted; by default, 95 % of known trials are accepted.
        allow_partial: omit trials without usable logits.
        class_field: field of the class; None for the recorded one, or ``attack``.

    Returns:
        The threshold, as `nes2net predict` reads it, and the trials with logits.

    Raises:
        InputError: if file or labels cannot be read or do not fit, or no trial has an unknown class
            although ``equal_errors`` is true.
    """
    file = ScoreFile.of(logits)
    table = file.read(read_class_table)
    key = labels.read()
    trials = class_trials(key, file, table, file.path.stem, allow_partial=allow_partial, class_field=class_field)
    learned = KnownThreshold.of_logits(trials.known.logits, kind, table.names)
    if equal_errors:
        if not trials.unknown.names:
            raise InputError(
                f"{file.path}: all trials are of known classes, but the threshold of equal errors also needs trials of "
                "unknown classes: use a phase with generators that training lacks, or remove `equal_errors`"
            )
        _, threshold = compute_eer(trials.known.known_scores[kind], trials.unknown.known_scores[kind], "roc")
        learned = learned.model_copy(update={"equal_errors": threshold})  # decides if it is set
    return learned, trials
