"""Evaluate score files against a key. Python programs can do here what `nes2net evaluate` does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from nes2net.evaluation.judgements import evaluable
from nes2net.evaluation.key import Labels
from nes2net.evaluation.page import write_result
from nes2net.evaluation.result import Result
from nes2net.lib.errors import InputError
from nes2net.lib.files import AnyPath, check_writable, write_output
from nes2net.lib.outputs import check_files_differ, check_picture


def evaluate(labels: Labels, scores: Sequence[AnyPath], *, metrics: Collection[str] = (), **settings: Any) -> Result:
    """Evaluate files of scores or other judgements against ``labels``; several files are compared on the same trials.

    Args:
        scores: files with a score for each recording; or a single file of frame scores; or files
            with results of another kind, such as class logits.
        metrics: names of figures that are computed only if they are named, because computing them
            takes long.
        settings: settings of the judgement: keyword parameters of its evaluator, such as
            :func:`~nes2net.evaluation.evaluate.evaluate_systems`.

    Raises:
        InputError: if files or labels cannot be read or do not fit each other, or if a setting has
            no effect on files of this kind.
    """
    paths = list(map(Path, scores))
    # Files with scores of recordings can be compared with each other. If a file has results of another kind, such as
    # frame scores, this kind decides how to evaluate, and the evaluation refuses files of any other kind.
    judgements = list(map(evaluable, paths))
    judgement = next((judgement for judgement in judgements if not judgement.of_recordings), judgements[0])
    evaluator = judgement.evaluator()
    judgement.check_settings(evaluator, settings, paths[0])
    if "metrics" in signature(evaluator).parameters:
        settings["metrics"] = metrics
    return evaluator(labels.corpus, paths, labels.keys, labels.phase, **settings)


@dataclass(frozen=True)
class Pages:
    """Paths of the files to which the result of an evaluation is written; None for a file that is not to be written."""

    html: AnyPath | None = None
    """A page with tables and plots."""
    json: AnyPath | None = None
    """A JSON file with all figures, and with hashes of the inputs."""
    latex: AnyPath | None = None
    markdown: AnyPath | None = None
    """The tables of the page, in LaTeX (for the package booktabs) and in Markdown."""
    plot: AnyPath | None = None
    """DET curves and histograms of the scores: a .svg, .pdf or .png."""

    @property
    def files(self) -> list[AnyPath]:
        """The paths of the files to write: all paths that are not None."""
        paths = (self.html, self.json, self.latex, self.markdown, self.plot)
        return [path for path in paths if path is not None]

    def check(self, read: Iterable[AnyPath]) -> None:
        """Check, before a long evaluation, that the files can be written, and are not among the files that are ``read``.

        Raises:
            InputError: if a file cannot be written, is also read by the evaluation, or is named twice.
        """
        check_files_differ(read, self.files)
        if self.plot is not None:
            check_picture(self.plot)
        for path in self.files:
            check_writable(path, stream=True)

    def write(self, result: Result) -> None:
        """Write ``result`` to the files. A file is written completely or not at all.

        Raises:
            InputError: if a file cannot be written, or if there is no plot of such results.
        """
        write_result(result, self.html, self.json, self.latex, self.markdown, write_output)
        if self.plot is not None:
            if result.draw is None:
                raise InputError("`plot` draws scores of recordings of both classes, and here are none: leave it out")
            result.draw(self.plot)
