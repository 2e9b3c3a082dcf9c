"""Evaluate score files against a key. Python programs can do here what `nes2net evaluate` does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nes2net.evaluation.judgements import EvaluationSettings
from nes2net.evaluation.key import Labels
from nes2net.evaluation.page import write_result
from nes2net.evaluation.result import Result
from nes2net.lib.errors import InputError
from nes2net.lib.files import AnyPath, check_writable, write_output
from nes2net.lib.outputs import check_picture
from nes2net.scoring.judgement import ScoreFile


def evaluate(labels: Labels, scores: Sequence[AnyPath], settings: EvaluationSettings | None = None) -> Result:
    """Evaluate files of scores or other judgements against ``labels``; several files are compared on the same trials.

    Args:
        scores: files with a score for each recording; or a single file of frame scores; or files
            with results of another kind, such as class logits.
        settings: settings of the evaluation; None for the defaults.

    Raises:
        InputError: if files or labels cannot be read or do not fit each other, or if a setting has
            no effect on files of this kind.
    """
    files = list(map(ScoreFile.of, scores))
    # Files with scores of recordings can be compared with each other. If a file has results of another kind, such as
    # frame scores, this kind decides how to evaluate, and the evaluation refuses files of any other kind.
    judgement = next((file.judgement for file in files if not file.judgement.of_recordings), files[0].judgement)
    settings = settings or EvaluationSettings()
    if settings.draw != "auto" and not judgement.of_recordings:
        raise InputError(f"`draw` is for scores of recordings, not for {judgement.what}: leave it out")
    return judgement.evaluate(labels, files, settings)


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

    def check(
        self,
        scores: Sequence[AnyPath],
        further_scores: Iterable[AnyPath] = (),
        calibrations: Iterable[AnyPath] = (),
    ) -> None:
        """Check, before a long evaluation, that the files can be written and are not inputs.

        Args:
            scores: the files to evaluate.
            further_scores: further score files that the evaluation reads.
            calibrations: files of calibrations that the evaluation reads.

        Raises:
            InputError: if a file cannot be written, or is also read by the evaluation.
        """
        role_of = {os.path.realpath(path): "one of the score files" for path in (*scores, *further_scores)}
        role_of |= {os.path.realpath(path): "a calibration that is read" for path in calibrations}
        if self.plot is not None:
            check_picture(self.plot)
        for path in self.files:
            if os.path.realpath(path) in role_of:
                raise InputError(f"{path} is {role_of[os.path.realpath(path)]}; name another file to write")
            check_writable(path, stream=True)

    def write(self, result: Result) -> list[str]:
        """Write ``result`` to the files. A file is written completely or not at all.

        Returns:
            Further files that were written beside the page, for tables that are too large for the page.

        Raises:
            InputError: if a file cannot be written, or if there is no plot of such results.
        """
        files_beside = write_result(result, self.html, self.json, self.latex, self.markdown, write_output)
        if self.plot is not None:
            if result.draw is None:
                raise InputError("`plot` draws scores of recordings of both classes, and here are none: leave it out")
            result.draw(self.plot)
        return files_beside
