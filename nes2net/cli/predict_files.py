"""Write the files of `nes2net predict` for each recording: pictures, RTTM, and labels for editors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes2net.lib.errors import InputError
from nes2net.lib.output.terminal import say_written
from nes2net.lib.storage.files import writing
from nes2net.lib.storage.outputs import PICTURES, check_output_paths, output_names

if TYPE_CHECKING:
    from nes2net.metrics.localisation.segments import SegmentsByUtterance
    from nes2net.scoring.decisions.decision import Decider
    from nes2net.scoring.judged import AnyAnswer, Judged
    from nes2net.scoring.kernel import Scorer


def is_one_file(target: Path, suffixes: Sequence[str]) -> bool:
    """Whether the value of a flag is the path of one file, and not of a folder for several files.

    The value is a file if it ends in one of ``suffixes``, and no folder has this path.
    """
    return target.suffix.lower() in suffixes and not target.is_dir()


def _targets(files: Sequence[Path], target: str | None, suffixes: Sequence[str], ending: str) -> dict[Path, Path]:
    """Without ``target``, the result is empty."""
    if not target:
        return {}
    if is_one_file(Path(target), suffixes):
        return dict.fromkeys(files, Path(target))
    return {path: Path(target, name) for path, name in output_names(files, ending).items()}


class FilesBeside:
    """Chooses, checks and writes the files of the flags --plot, --rttm and --labels.

    The constructor checks the paths and makes folders, so that no error comes after hours of scoring.

    Args:
        files: the recordings.
        model: name of the detector, for the pictures.
        threshold: the threshold that pictures of raw scores show, if any.
        plot: a file for the picture of the only recording, or a folder for all pictures.
        rttm: a file for the segments of all recordings, or a folder with a file for each.
        labels: format of the label files.
        out: folder for the label files; None to write each beside its recording.

    Raises:
        InputError: if a file cannot be written, or if ``plot`` is one file for several recordings.
    """

    def __init__(
        self,
        files: Sequence[Path],
        model: str,
        threshold: float | None,
        plot: str | None,
        rttm: str | None,
        labels: str | None,
        out: str | None,
    ) -> None:
        self.model = Path(model).name
        self.threshold = threshold
        if plot and is_one_file(Path(plot), PICTURES) and len(files) > 1:
            raise InputError(f"--plot {plot} is one picture, but there are {len(files)} recordings: name a folder")
        # Path of a recording → path of its picture, its RTTM file, which may be one for all, and its label file.
        self.pictures = _targets(files, plot, PICTURES, ".png")
        self.rttms = _targets(files, rttm, (".rttm",), ".rttm")
        self.labels: dict[Path, Path] = {}
        if labels and out:
            self.labels = _targets(files, out, (), ".labels.txt")
        elif labels:
            for folder in dict.fromkeys(path.parent for path in files):
                inside = [path for path in files if path.parent == folder]
                self.labels |= _targets(inside, str(folder), (), ".labels.txt")
        #: Path of a recording → its name in RTTM files.
        self.names = {path: Path(name).stem for path, name in output_names(files, ".rttm").items()}
        self.written: list[Path] = []
        self.one_rttm = Path(rttm) if rttm and is_one_file(Path(rttm), (".rttm",)) else None
        check_output_paths(self.pictures.values(), "name another with --plot")
        check_output_paths(self.rttms.values(), "name another file or folder with --rttm")
        # The check also makes missing folders, but none for a recording in a missing folder, such as a mistyped path.
        check_output_paths((to for path, to in self.labels.items() if path.parent.is_dir()), "name a folder with --out")

    @contextmanager
    def writer(self, detector: Scorer, decider: Decider | None) -> Iterator[Callable[[AnyAnswer[Any]], None]]:
        """Yield a function that writes the files of one recording; call it as soon as a recording is judged.

        An RTTM file of all recordings is written at the end, even after an interruption. Then the
        paths of all written files are printed.

        Args:
            detector: its ``score_rule`` decides the smallest range of the score axis.
            decider: calibration and threshold for pictures; None for raw scores.
        """
        from nes2net.metrics.localisation.label_files import write_audacity
        from nes2net.metrics.localisation.stretches import with_bonafide
        from nes2net.scoring.judged import Failed

        all_segments: SegmentsByUtterance = {}

        def write(answer: AnyAnswer[Any]) -> None:
            if isinstance(answer, Failed):
                return
            if answer.path in self.pictures:
                self._draw(answer, detector, decider)
            if answer.frames is None:
                return
            stretches = answer.frames.stretches
            segments = {self.names[answer.path]: with_bonafide(stretches, answer.duration)}
            if self.one_rttm:
                all_segments.update(segments)
            elif self.rttms:
                self._write_rttm(self.rttms[answer.path], segments)
            if answer.path in self.labels:
                with writing(self.labels[answer.path], "name a folder with --out"):
                    write_audacity(self.labels[answer.path], stretches)
                self.written.append(self.labels[answer.path])

        try:
            yield write
        finally:
            if self.one_rttm and all_segments:
                self._write_rttm(self.one_rttm, all_segments)
            for path in self.written:
                say_written(path, beside_data=True)

    def _write_rttm(self, target: Path, segments: SegmentsByUtterance) -> None:
        from nes2net.metrics.localisation.label_files import write_rttm

        with writing(target, "name another file or folder with --rttm"):
            write_rttm(target, segments)
        self.written.append(target)

    def _draw(self, answer: Judged[Any], detector: Scorer, decider: Decider | None) -> None:
        from nes2net.metrics.localisation.segments import Segment
        from nes2net.scoring.track import min_axis_span
        from nes2net.scoring.track_plot import plot_track

        picture = self.pictures[answer.path]
        draw = partial(plot_track, picture, answer.recording, model=self.model)
        with writing(picture, "name another with --plot"):
            if answer.frames is not None:
                draw(
                    answer.frames.track,
                    threshold=answer.frames.rule and answer.frames.rule.threshold,
                    stretches=answer.frames.stretches,
                    smallest_span=min_axis_span(detector.score_rule),
                )
            elif (track := answer.track) is not None and decider is not None and decider.calibration.genuine:
                draw(track, threshold=decider.threshold)
            elif track is not None and decider is not None:
                usual = decider.usual_scores  # of most bona fide recordings of the calibration
                stretch = answer.decision_by_windows.stretch if answer.decision_by_windows else None
                stretches = None
                if stretch is not None and stretch.stands_out:
                    stretches = [Segment("spoof", stretch.start, stretch.end)]
                draw(
                    replace(track, scores=decider.llrs(track.scores).astype("float32")),
                    threshold=decider.llr_threshold,
                    scale="log-likelihood ratio",
                    usual=None if usual is None else tuple(decider.llrs(usual)),
                    stretches=stretches,
                    shaded="stands out" if stretches else "",
                )
            elif track is not None:
                draw(track, threshold=self.threshold)
        self.written.append(picture)
