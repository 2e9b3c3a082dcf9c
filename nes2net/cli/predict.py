"""`nes2net predict`: score any audio files, as a table or JSON lines; with --track, along the time of each."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes2net.audio.crop import ASVSPOOF_SAMPLES
from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.cli.entry import INCOMPLETE, add_architecture, add_device, add_dtype, check_at_least, subcommand
from nes2net.errors import InputError, one_line, worded
from nes2net.machine.files import check_writable, replacing, writing
from nes2net.machine.progress import ProgressDisplay
from nes2net.machine.terminal import printable_name, table_line

if TYPE_CHECKING:
    from nes2net.detector import Detector
    from nes2net.scoring.track import Track

MEANING = "higher means more bona fide; it is no probability, so choose a threshold on data of your own"
_OTHER_PLOT = "name another with --plot"


def add(commands: argparse._SubParsersAction) -> None:
    example = "nes2net predict recording.mp3 folder/ --model detector.pth"
    parser = subcommand(commands, "predict", _predict, "Score audio files of any format", example=example)
    parser.epilog = f"The score is the detector's own: {MEANING}. Exit status 1: a file could not be scored."
    parser.resumes = False
    parser.names["score_track"] = "--track"
    add_one = parser.add_argument
    add_one("files", nargs="+", metavar="FILE", help="audio files, or folders, which are searched for audio files")
    add_one("--model", required=True, help="checkpoint (.pth), folder, or name on the Hugging Face hub")
    add_architecture(parser)
    add_one(
        "--samples",
        dest="num_samples",
        type=int,
        metavar="N",
        help="score the first N samples at 16 kHz, repeating shorter files (64600: the '4sec' protocol); "
        "all samples if not given",
    )
    add_one = parser.add_argument_group("scores along a recording").add_argument
    add_one("--track", action="store_true", help="scores along each file, for long recordings")
    add_one(
        "--window", type=float, default=ASVSPOOF_SAMPLES / SAMPLE_RATE, help="seconds of audio for one score of --track"
    )
    add_one("--hop", type=float, default=0.5, help="seconds from one score of --track to the next")
    add_one(
        "--plot",
        metavar="FILE|DIR",
        help="draw the scores of --track over the waveform into a .png, .svg or .pdf (one file) or a folder; "
        "implies --track",
    )
    add_one = parser.add_argument
    add_one("--json", action="store_true", help="print one JSON object a line for each file")
    add_one(
        "--batch-size",
        type=int,
        help="utterances or windows computed at once; 8 on the CPU and 64 on a GPU if not given",
    )
    add_one("--workers", type=int, help="threads that read files; 2 for the CPU and up to 4 for a GPU if not given")
    add_device(parser)
    add_dtype(
        parser,
        "precision: auto is that of the checkpoint; bfloat16, int8 on a CPU and tf32 on a GPU are faster and change scores a little",
    )


def _predict(args: argparse.Namespace) -> int:
    from nes2net.audio.files import with_folders_listed
    from nes2net.detector import Detector

    if args.num_samples is not None and (args.track or args.plot):
        raise InputError("--samples is for one score a file; --track has --window and --hop")
    check_at_least(args, num_samples=1, batch_size=1, workers=1)
    files = with_folders_listed(args.files)
    pictures = _pictures(args.plot, files) if args.plot else {}
    detector = Detector.from_pretrained(args.model, args.device, args.dtype, config=args.config)
    rows = _tracks(detector, files, args, pictures) if args.track or args.plot else _scores(detector, files, args)
    # On a terminal the rows themselves show how far it is.
    rows = iter(ProgressDisplay(rows, title="scoring", unit="file", total=len(files), shown=not sys.stdout.isatty()))
    widths = [max(len(printable_name(file)) for file in files), 10, 10, 0]
    if not args.json:
        print(f"# score: {MEANING}\n{table_line(['file', 'score', 'duration'], widths)}")
    failed = 0
    for row in rows:
        failed += "error" in row
        print(json.dumps(row) if args.json else _lines(row, widths), flush=True)
    if failed:
        print(f"{failed} of {len(files)} files could not be scored", file=sys.stderr)
    return INCOMPLETE if failed else 0


def _scores(detector: Detector, files: list[Path], args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row per file: ``file``, ``score`` and ``duration`` in seconds, or ``file`` and ``error``."""
    from nes2net.scoring.files import score_files

    failures: list[dict[str, Any]] = []

    def failed(path: Path, error: InputError) -> None:
        failures.append({"file": str(path), "error": _reason(path, error)})

    batches = {"batch_size": args.batch_size, "workers": args.workers}
    for scored in score_files(detector, files, args.num_samples, **batches, on_error=failed):
        yield from failures
        failures.clear()
        yield {"file": str(scored.path), "score": scored.score, "duration": scored.num_samples / SAMPLE_RATE}
    yield from failures


def _tracks(
    detector: Detector, files: list[Path], args: argparse.Namespace, pictures: dict[Path, Path]
) -> Iterator[dict[str, Any]]:
    """Yield rows like those of :func:`_scores`; ``score`` is the mean of ``scores`` at ``times``."""
    from nes2net.scoring.track import window_samples

    window_samples(detector, args.window, args.hop)  # raises for wrong flags, so that later errors are those of files
    for path in files:
        try:
            track = detector.score_track(path, window=args.window, hop=args.hop, batch_size=args.batch_size)
        except InputError as error:
            yield {"file": str(path), "error": _reason(path, error)}
            continue
        if picture := pictures.get(path):
            _draw(picture, path, track)
        times, scores = track.times.round(6).tolist(), track.scores.tolist()
        row = {"file": str(path), "score": sum(scores) / len(scores), "duration": track.duration}
        yield {**row, "window": track.window, "times": times, "scores": scores}


def _reason(path: Path, error: InputError) -> str:
    reason, name = str(error), one_line(str(path))
    for start in (f"audio file {name} ", f"{name}: "):
        reason = reason.removeprefix(start)
    return worded(reason)


def _draw(picture: Path, path: Path, track: Track) -> None:
    from nes2net.scoring.track_plot import plot_track

    with writing(picture, _OTHER_PLOT), replacing(picture) as temporary:
        plot_track(temporary, path, track, file_format=picture.suffix[1:])


def _pictures(plot: str, files: list[Path]) -> dict[Path, Path]:
    """Map each file to its picture; raise :class:`InputError` before hours of scoring if pictures cannot be written."""
    pictures = _names_of_pictures(Path(plot), files)
    first = next(iter(pictures.values()))
    with writing(plot, _OTHER_PLOT):
        first.parent.mkdir(parents=True, exist_ok=True)
    check_writable(first, _OTHER_PLOT)
    return pictures


def _names_of_pictures(target: Path, files: list[Path]) -> dict[Path, Path]:
    if target.suffix.lower() in (".png", ".svg", ".pdf") and not target.is_dir():
        if len(files) > 1:
            raise InputError(f"--plot {target} is one picture and there are {len(files)} files: name a folder")
        return {files[0]: target}
    names: dict[str, Path] = {}
    for path in dict.fromkeys(files):
        name, number = f"{path.stem}.png", 1
        while name in names:
            number += 1
            name = f"{path.stem}_{number}.png"
        names[name] = path
    return {path: target / name for name, path in names.items()}


def _lines(row: dict[str, Any], widths: list[int]) -> str:
    """Write ``row`` as lines of the table: one for the file, and one for each score of a track."""
    file = printable_name(row["file"])
    if "error" in row:
        return table_line([file, "–", "–", row["error"]], widths, "lrrl")
    track = list(zip(row.get("times", ()), row.get("scores", ())))
    if len(track) == 1:
        track = []
    about = "mean of the track" if track else ""
    lines = [table_line([file, f"{row['score']:.4f}", f"{row['duration']:.2f} s", about], widths, "lrrl")]
    lines += [table_line([f"at {time:.2f} s", f"{score:.4f}"], widths, "r") for time, score in track]
    return "\n".join(lines)
