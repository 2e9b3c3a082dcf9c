"""Evaluate score files against a key: what `nes2net evaluate` does, for Python too."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nes2net.evaluation.evaluate import evaluate_systems
from nes2net.evaluation.key import Labels
from nes2net.evaluation.page import write_result
from nes2net.evaluation.result import Result
from nes2net.evaluation.segments import evaluate_segments
from nes2net.evaluation.transfer import ThresholdSource
from nes2net.lib.errors import InputError
from nes2net.lib.files import check_writable
from nes2net.scoring.segment_file import holds_frames


def evaluate(
    labels: Labels,
    scores: Sequence[str | Path],
    *,
    threshold: ThresholdSource | float | None = None,
    resolution_ms: float | None = None,
    allow_partial: bool = False,
    exclude: Mapping[str, Collection[str]] | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Result:
    """Evaluate score files of recordings, compared on the same trials, or a single score file of frames.

    Args:
        threshold: where thresholds chosen on other trials come from; for scores of frames, the score at or below which
            a frame is spoof.
        resolution_ms: length of a frame, if no record beside scores of frames states it.
        allow_partial: leave out trials whose scores are missing or unusable.
        exclude: field → values of the trials to leave out; None for the trials that the published figures leave out.
        num_resamples, seed: draws of the bootstrap, and their seed.

    Raises:
        InputError: as :func:`nes2net.evaluation.evaluate.evaluate_systems` and
            :func:`nes2net.evaluation.segments.evaluate_segments`, or if arguments do not go together.
    """
    if any(map(holds_frames, scores)):
        if len(scores) > 1:
            raise InputError(f"one of {len(scores)} files holds scores of frames: evaluate such a file alone")
        of_frames = f"{scores[0]} holds scores of frames"
        if exclude is not None:
            raise InputError(f"`exclude` is for scores of utterances, but {of_frames}: leave it out")
        if isinstance(threshold, ThresholdSource):
            raise InputError(f"{of_frames}: its threshold is `threshold`; leave out `threshold_from` and `calibration`")
        return evaluate_segments(
            labels.corpus,
            scores[0],
            labels.keys,
            labels.phase,
            resolution_ms=resolution_ms,
            threshold=threshold,
            allow_partial=allow_partial,
            num_resamples=num_resamples,
            seed=seed,
        )
    if isinstance(threshold, (int, float)) or resolution_ms is not None:
        raise InputError(
            "`threshold` and `resolution_ms` are for scores of frames, but these are scores of utterances: leave them "
            "out"
        )
    return evaluate_systems(
        labels.corpus,
        scores,
        labels.keys,
        labels.phase,
        allow_partial=allow_partial,
        exclude=exclude,
        num_resamples=num_resamples,
        seed=seed,
        threshold_source=threshold,
    )


@dataclass(frozen=True)
class Pages:
    """The files that hold what was found."""

    html: str | Path | None = None
    """A page with tables and plots."""
    json: str | Path | None = None
    """All figures, and hashes of the inputs."""
    latex: str | Path | None = None
    markdown: str | Path | None = None
    """The tables of the page; those in LaTeX are for the package booktabs."""

    @property
    def files(self) -> list[str | Path]:
        return [path for path in (self.html, self.json, self.latex, self.markdown) if path is not None]

    def check(
        self, scores: Sequence[str | Path], others: Iterable[str | Path] = (), calibrations: Iterable[str | Path] = ()
    ) -> None:
        """Check the files before anything long begins.

        Args:
            scores: the files to evaluate.
            others: further score files that are read.

        Raises:
            InputError: if a file cannot be written or is also read.
        """
        read = {os.path.realpath(path): "one of the score files" for path in (*scores, *others)}
        read |= {os.path.realpath(path): "a calibration that is read" for path in calibrations}
        for path in self.files:
            if os.path.realpath(path) in read:
                raise InputError(f"{path} is {read[os.path.realpath(path)]}; name another file to write")
            check_writable(path, stream=True)

    def write(self, result: Result) -> None:
        """Write ``result``; each file is whole or not there.

        Raises:
            InputError: if a file cannot be written.
        """
        write_result(result, self.html, self.json, self.latex, self.markdown)
