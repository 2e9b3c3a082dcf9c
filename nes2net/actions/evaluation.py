"""Evaluate score files against a key, for Python programs, as `nes2net evaluate`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from nes2net.evaluation.judgements import evaluable
from nes2net.evaluation.key import Labels
from nes2net.evaluation.result import Result
from nes2net.lib.output.progress import Work
from nes2net.lib.storage.files import AnyPath
from nes2net.scoring.judgement import ScoreFile


def evaluate(
    corpus: str,
    scores: AnyPath | Sequence[AnyPath | ScoreFile],
    keys: AnyPath = ".",
    phase: str = "eval",
    *,
    metrics: Collection[str] = (),
    **settings: Any,
) -> Result:
    """Evaluate files of judgements against labels; several are compared on the same trials.

    Args:
        corpus: a name of :data:`nes2net.data.registry.corpora`.
        scores: score files; a single file of frame scores; or files of another kind, such as class
            logits. Higher scores are more bona fide.
        keys: file or folder of the labels, as ``keys`` of the corpus accepts it.
        phase: a phase or split of the corpus; ``"eval"`` if it has none. Your own corpus also has
            ``"all"``.
        metrics: slow figures to compute besides the usual ones, such as
            ``"one_against_rest_eer"``.
        settings: fields of the judgement's evaluation, such as
            :class:`~nes2net.evaluation.evaluate.SystemEvaluation`.

    Raises:
        InputError: if files or labels cannot be read or do not fit, or a setting has no effect.
    """
    if isinstance(scores, AnyPath):
        scores = [scores]
    files = list(map(ScoreFile.of, scores))
    # Only files with scores of recordings can be compared. Any other kind chooses the evaluator, which then refuses
    # other kinds.
    judgements = list(map(evaluable, files))
    judgement = next((judgement for judgement in judgements if not judgement.of_recordings), judgements[0])
    evaluation = judgement.evaluation()
    judgement.check_settings(evaluation, settings, files[0].path)
    with Work("evaluating scores"):
        return evaluation(Labels(corpus, keys, phase), files, metrics=metrics, **settings).run()
