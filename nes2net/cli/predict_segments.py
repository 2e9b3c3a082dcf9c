"""`nes2net predict --segments`: the fake stretches of recordings as a table, JSON lines, label files and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes2net.cli.predict_files import check_places, is_one_file, named_alike, reason, seconds_shown
from nes2net.errors import InputError
from nes2net.machine.files import replacing, writing
from nes2net.machine.terminal import printable_name, say_written, table_line

if TYPE_CHECKING:
    from nes2net.decisions.decision import Decider
    from nes2net.detector import Detector
    from nes2net.localisation.segments import Segment
    from nes2net.scoring.frame_scores import FrameScores

_UNTRAINED = "this detector was trained on whole recordings, not on segments: what it finds in them may mean nothing"
_OURS = {
    "resolution_ms": "--resolution",
    "hysteresis": "--hysteresis",
    "min_duration": "--min-duration",
    "rttm": "--rttm",
    "labels": "--labels",
    "out": "--out",
}
_THEIRS = {
    "track": "--track",
    "whole": "--whole",
    "num_samples": "--samples",
    "window": "--window",
    "hop": "--hop",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of fake stretches to those of `nes2net predict`."""
    add_one = parser.add_argument_group("fake stretches, by a detector that sees segments").add_argument
    add_one("--segments", action="store_true", help="print the fake stretches of each file instead of a score")
    add_one(
        "--resolution",
        dest="resolution_ms",
        type=float,
        metavar="MS",
        help="length of a frame, if the detector scores several; the shortest if not given",
    )
    add_one(
        "--hysteresis",
        type=float,
        metavar="X",
        help="a fake stretch begins at a score of at most --threshold and goes on while scores are at most X higher; 1 for "
        "logits, 0.1 for probabilities and cosines if not given",
    )
    add_one(
        "--min-duration",
        type=float,
        metavar="S",
        help="seconds: shorter gaps between fake stretches are filled, then shorter stretches are dropped; 0.1 "
        "if not given",
    )
    add_one(
        "--rttm",
        metavar="FILE|DIR",
        help="write all segments as RTTM: of all files into one .rttm, or of each into a folder",
    )
    add_one(
        "--labels",
        choices=["audacity"],
        help="write the fake stretches of each file as labels for an editor: NAME.labels.txt beside the file",
    )
    add_one("--out", metavar="DIR", help="folder for the files of --labels")


def check_flags(args: argparse.Namespace) -> None:
    """Raise :class:`InputError` for flags that do not go with --segments, or only with it."""
    if not args.segments:
        for name, flag in _OURS.items():
            if getattr(args, name) is not None:
                raise InputError(f"{flag} is for fake stretches: add --segments, or leave it out")
        return
    for name, flag in _THEIRS.items():
        if getattr(args, name) != args.parser.get_default(name):
            raise InputError(f"--segments scores the frames of a whole recording: leave out {flag}")
    if args.out and not args.labels:
        raise InputError("--out is for the files of --labels: add --labels audacity, or leave it out")


class Stretches:
    """Finds the fake stretches of ``files`` and writes what was asked for beside the table.

    Raises:
        InputError: as :func:`nes2net.scoring.calibrated.stretch_rule`, or if a place to write to is wrong.
    """

    def __init__(
        self,
        detector: Detector,
        files: Sequence[Path],
        args: argparse.Namespace,
        pictures: dict[Path, Path],
        decider: Decider | None = None,
    ) -> None:
        from nes2net.localisation.stretches import MIN_DURATION
        from nes2net.scoring.calibrated import stretch_rule

        self.detector, self.files, self.args, self.pictures = detector, files, args, pictures
        self.decider = decider
        self.rule, self.resolution_ms = stretch_rule(
            detector,
            decider,
            resolution_ms=args.resolution_ms,
            threshold=args.threshold,
            hysteresis=args.hysteresis,
            min_duration=MIN_DURATION if args.min_duration is None else args.min_duration,
        )
        self.names = {path: Path(name).stem for path, name in named_alike(files, ".rttm").items()}
        self.one_rttm = args.rttm is not None and is_one_file(Path(args.rttm), (".rttm",))
        self.rttms = self._rttms()
        self.labels = self._labels()

    def _rttms(self) -> dict[Path, Path]:
        if self.args.rttm is None:
            return {}
        target = Path(self.args.rttm)
        places = {path: target if self.one_rttm else target / f"{name}.rttm" for path, name in self.names.items()}
        check_places(places.values(), "name another file or folder with --rttm")
        return places

    def _labels(self) -> dict[Path, Path]:
        if self.args.labels is None:
            return {}
        if self.args.out is not None:
            places = {path: Path(self.args.out) / f"{name}.labels.txt" for path, name in self.names.items()}
        else:
            folders = dict.fromkeys(path.parent for path in self.files)
            inside = {folder: [path for path in self.files if path.parent == folder] for folder in folders}
            places = {
                path: path.with_name(name)
                for files in inside.values()
                for path, name in named_alike(files, ".labels.txt").items()
            }
        check_places((place for path, place in places.items() if path.parent.is_dir()), "name a folder with --out")
        return places

    @property
    def widths(self) -> list[int]:
        """Widths of the columns after the file's name; the last one is for a note."""
        return [10, 10, 10, *([8, 11] if self.decider else []), 0]

    def header(self, widths: Sequence[int]) -> str:
        """The lines above the table."""
        rule = self.rule
        goes_on = f" and goes on up to {rule.threshold + rule.hysteresis:g}" if rule.hysteresis else ""
        columns = ["file", "start", "end", "score", *(["llr", "probability"] if self.decider else [])]
        note = "" if self.detector.trained_on_segments else f"# {_UNTRAINED}\n"
        return (
            f"{note}# a fake stretch begins at a score of at most {rule.threshold:g}{goes_on}, and lasts {rule.min_duration:g} s at "
            f"least; frames of {self.resolution_ms:g} ms\n{table_line(columns, widths)}"
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row per file: ``file``, ``duration``, ``segments`` and how they were found, or ``error``."""
        found: dict[str, list[Segment]] = {}
        try:
            for path in self.files:
                try:
                    yield self._row(path, found)
                except InputError as error:
                    yield {"file": str(path), "error": reason(path, error)}
        finally:  # also of an interrupted run, which would lose hours of work
            if found and self.one_rttm:
                self._write_rttm(Path(self.args.rttm), found)

    def _row(self, path: Path, found: dict[str, list[Segment]]) -> dict[str, Any]:
        from nes2net.audio.read import SAMPLE_RATE, count_samples
        from nes2net.localisation.stretches import fake_stretches, with_bonafide
        from nes2net.scoring.frame_scores import frame_scores

        with seconds_shown(path, count_samples(path) / SAMPLE_RATE) as progress:
            frames = frame_scores(
                self.detector,
                path,
                resolution_ms=self.resolution_ms,
                batch_size=self.args.batch_size,
                progress=progress,
            )
        stretches = fake_stretches(frames.scores, frames.resolution_ms, frames.duration, self.rule)
        found[self.names[path]] = with_bonafide(stretches, frames.duration)
        self._write(path, frames, stretches, found[self.names[path]])
        return {
            "file": str(path),
            "duration": frames.duration,
            "method": "segments",
            "trained_on_segments": self.detector.trained_on_segments,
            "resolution_ms": frames.resolution_ms,
            **({"remark": frames.remark} if frames.remark else {}),
            **self.rule._asdict(),
            "segments": [
                {
                    **stretch._asdict(),
                    "start": round(stretch.start, 6),
                    "end": round(stretch.end, 6),
                    **self._meaning(stretch),
                }
                for stretch in stretches
            ],
        }

    def _meaning(self, stretch: Segment) -> dict[str, float]:
        """With a calibration, the mean log-likelihood ratio of its frames and the probability at that ratio."""
        if self.decider is None or stretch.score is None:
            return {}
        score = [stretch.score]  # the ratio is linear in the score, so that of the mean is the mean of the ratios
        return {"llr": float(self.decider.llrs(score)[0]), "probability": float(self.decider.probabilities(score)[0])}

    def _write(self, path: Path, frames: FrameScores, stretches: list[Segment], segments: list[Segment]) -> None:
        if path in self.pictures:
            self._draw(self.pictures[path], path, frames, stretches)
        if path in self.rttms and not self.one_rttm:
            self._write_rttm(self.rttms[path], {self.names[path]: segments})
        if path in self.labels:
            from nes2net.localisation.audacity import write_audacity

            with writing(self.labels[path], "name a folder with --out"):
                write_audacity(self.labels[path], stretches)
            say_written(self.labels[path], beside_data=True)

    def _write_rttm(self, place: Path, segments: dict[str, list[Segment]]) -> None:
        from nes2net.localisation.rttm import write_rttm

        with writing(place, "name another file or folder with --rttm"):
            write_rttm(place, segments)
        say_written(place, beside_data=True)

    def _draw(self, picture: Path, path: Path, frames: FrameScores, stretches: list[Segment]) -> None:
        from nes2net.scoring.track import least_span
        from nes2net.scoring.track_plot import plot_track

        with writing(picture, "name another with --plot"), replacing(picture) as temporary:
            plot_track(
                temporary,
                path,
                frames.track,
                picture.suffix[1:],
                model=Path(self.args.model).name,
                threshold=self.rule.threshold,
                stretches=stretches,
                least=least_span(self.detector.score_rule),
            )
        say_written(picture, beside_data=True)


def lines_of_stretches(row: dict[str, Any], widths: Sequence[int]) -> str:
    """Write ``row`` as lines of the table: one for each stretch, or one that says that there is none."""
    file, align = printable_name(row["file"]), "l" + "r" * (len(widths) - 2) + "l"
    remark = row.get("remark", "")
    if "error" in row or not row["segments"]:
        note = row.get("error") or "; ".join(filter(None, [f"no fake stretch in {row['duration']:.2f} s", remark]))
        return table_line([file, *(["–"] * (len(widths) - 2)), note], widths, align)
    return "\n".join(
        table_line(
            [
                file,
                *(f"{found[key]:.2f} s" for key in ("start", "end")),
                *(f"{found[key]:.4f}" for key in ("score", "llr", "probability") if key in found),
                remark if number == 0 else "",
            ],
            widths,
            "lr",
        )
        for number, found in enumerate(row["segments"])
    )
