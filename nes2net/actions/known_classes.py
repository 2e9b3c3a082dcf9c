"""Learn the score below which a recording belongs to none of the classes that a detector knows.

Python programs can do here what `nes2net calibrate classes` does.
"""

from __future__ import annotations

from nes2net.evaluation.class_trials import ClassTrials, class_trials
from nes2net.evaluation.key import Labels
from nes2net.lib.errors import InputError
from nes2net.lib.files import AnyPath
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
    """Learn, from the logits of labelled trials, the score below which a recording has none of the known classes.

    A known class is a class that the detector was trained to tell from others.

    Args:
        labels: labels of the trials.
        logits: the file with the logits of development trials, written by ``nes2net score
            --judgement classes``.
        kind: the formula that computes the score from the logits.
        equal_errors: choose the threshold at which two shares are equal: the share of trials of
            known classes that are rejected, and the share of trials of unknown classes that are
            accepted. By default, 95 % of the trials of known classes are accepted.
        allow_partial: leave out trials without usable logits.
        class_field: field of a trial that names its class; None for the field in the record beside
            the file, or else ``attack``.

    Returns:
        The learned threshold, as the content of the file that `nes2net predict` reads, and the
        trials with their logits.

    Raises:
        InputError: if the file or the labels cannot be read or do not fit each other, or if
            ``equal_errors`` is true and no trial has an unknown class.
    """
    file = ScoreFile.of(logits)
    table = file.read(read_class_table)
    key = labels.read()
    trials = class_trials(key, file, table, file.path.stem, allow_partial=allow_partial, class_field=class_field)
    learned = KnownThreshold.of_logits(trials.known.logits, kind, table.names)
    if equal_errors:
        if not trials.unknown.names:
            raise InputError(
                f"{file.path}: all trials are of known classes, and the threshold of equal errors needs some of unknown ones: "
                "give a phase with generators that training lacks, or no `equal_errors`"
            )
        _, threshold = compute_eer(trials.known.known_scores[kind], trials.unknown.known_scores[kind], "roc")
        learned = learned.model_copy(update={"equal_errors": threshold})
    return learned, trials
