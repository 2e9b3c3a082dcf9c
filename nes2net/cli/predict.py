"""`nes2net predict`: score any audio files, as a table or JSON lines; with --track, along the time of each.

With --segments their fake stretches are printed instead.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nes2net.cli.calibrated import add_calibration, decider_of
from nes2net.cli.entry import INCOMPLETE, add_architecture, add_device, add_dtype, check_at_least, subcommand
from nes2net.cli.predict_files import FilesBeside
from nes2net.errors import InputError, counted, worded
from nes2net.machine.progress import ProgressDisplay
from nes2net.machine.terminal import printable_name, table_line, written_said_last

if TYPE_CHECKING:
    from nes2net.actions.prediction import Along, Once, Stretches

#: Columns and their widths after the file's name, and those beside them with a calibration.
_SCORES, _SEGMENTS = {"score": 10, "duration": 10}, {"start": 10, "end": 10, "score": 10}
_DECIDED = {False: {"llr": 8, "probability": 11, "decision": 11}, True: {"llr": 8, "probability": 11}}
_OF_SEGMENTS = {
    "resolution_ms": "--resolution",
    "hysteresis": "--hysteresis",
    "min_duration": "--min-duration",
    "rttm": "--rttm",
    "labels": "--labels",
    "out": "--out",
}
_NOT_OF_SEGMENTS = {
    "track": "--track",
    "whole": "--whole",
    "num_samples": "--samples",
    "window": "--window",
    "hop": "--hop",
}


def add(commands: argparse._SubParsersAction) -> None:
    example = "nes2net predict recording.mp3 folder/ --model detector.pth"
    parser = subcommand(commands, "predict", _predict, "Score audio files of any format", example=example)
    parser.epilog = (
        "The score is the detector's own: higher means more bona fide; it is not calibrated, so choose a "
        "threshold on data of your own. A recording longer than two minutes is "
        "scored along its time, and its score is the mean. Exit status 1: a file could not be scored."
    )
    parser.resumes = False
    parser.names |= {"score_track": "--track", "num_samples=None": "--whole"}
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
        "if not given, the number of a published detector whose authors always score as many, else that of training if it "
        "is not about 4 s, else all samples",
    )
    add_one = parser.add_argument_group("scores along a recording").add_argument
    add_one(
        "--whole",
        action="store_true",
        help="score a recording of any length in one piece; much memory for minutes of it",
    )
    add_one("--track", action="store_true", help="print the scores along each file, also of short ones")
    add_one(
        "--window",
        type=float,
        help="seconds of audio for one score of a track; 4.04, or what a single score takes, if not given",
    )
    add_one(
        "--hop",
        type=float,
        default=0.5,
        help="seconds from one score of a track to the next; with 4, there are an eighth as many to compute",
    )
    add_one(
        "--plot",
        metavar="FILE|DIR",
        help="draw the scores of --track above the waveform into a .png, .svg or .pdf (one file) or a folder; "
        "implies --track, unless --segments draws its frames and fake stretches",
    )
    add_one(
        "--threshold",
        type=float,
        metavar="X",
        help="draw this threshold, and shade both sides of it, in --plot; for --segments, the score at which fake stretches "
        "begin, 0 for logits, 0.5 for probabilities and cosines if not given",
    )
    add_calibration(
        parser,
        "say what scores mean, by what `nes2net calibrate … --save FILE` wrote for this detector: log-likelihood ratio, "
        "probability and decision; --plot then draws the ratios and the threshold of --operating-point",
    )
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
    from nes2net.actions.prediction import predict
    from nes2net.audio.files import with_folders_listed
    from nes2net.detector import Detector

    _check_flags(args)
    files = with_folders_listed(args.files)
    beside = FilesBeside(args, files)  # tries the places before a large model is loaded
    decider = decider_of(args)
    detector = Detector.from_pretrained(args.model, args.device, args.dtype, config=args.config, base=args.base)
    found = predict(
        detector,
        files,
        _way(args),
        decider=decider,
        calibration=args.calibration or "",
        batch_size=args.batch_size,
        workers=args.workers,
    )
    columns = (_SEGMENTS if args.segments else _SCORES) | (_DECIDED[args.segments] if decider else {})
    widths = [max(len(printable_name(file)) for file in files), *columns.values(), 0]
    if not args.json:
        print("\n".join([*(f"# {worded(note)}" for note in found.notes), table_line(["file", *columns], widths)]))
    # On a terminal the rows themselves show how far it is.
    rows = iter(
        ProgressDisplay(found.rows, title="scoring", unit="file", total=len(files), shown=not sys.stdout.isatty())
    )
    failed = 0
    with written_said_last(), beside.written(detector, decider) as write:
        for one in rows:
            failed += "error" in one.row
            write(one)
            if args.json:
                print(json.dumps(one.row), flush=True)
            elif args.segments:
                print(_lines_of_stretches(one.row, widths), flush=True)
            else:
                print(_lines(one.row, widths, args.track), flush=True)
    if failed:
        print(f"{failed:,} of {counted(len(files), 'file')} could not be scored", file=sys.stderr)
    return INCOMPLETE if failed else 0


def _way(args: argparse.Namespace) -> Once | Along | Stretches:
    """What the flags ask for of each recording."""
    from nes2net.actions.prediction import Along, Once, Stretches
    from nes2net.localisation.stretches import MIN_DURATION

    if args.segments:
        shortest = MIN_DURATION if args.min_duration is None else args.min_duration
        return Stretches(args.resolution_ms, args.threshold, args.hysteresis, shortest)
    along = Along(args.window, args.hop)
    if args.track or args.plot:
        return along
    return Once(None if args.whole else "auto" if args.num_samples is None else args.num_samples, along)


def _check_flags(args: argparse.Namespace) -> None:
    """Raise if flags do not go together."""
    if args.segments:
        for name, flag in _NOT_OF_SEGMENTS.items():
            if getattr(args, name) != args.parser.get_default(name):
                raise InputError(f"--segments scores the frames of a whole recording: leave out {flag}")
        if args.out and not args.labels:
            raise InputError("--out is for the files of --labels: add --labels audacity, or leave it out")
    else:
        for name, flag in _OF_SEGMENTS.items():
            if getattr(args, name) is not None:
                raise InputError(f"{flag} is for fake stretches: add --segments, or leave it out")
        tracked = args.track or args.plot
        if args.num_samples is not None and tracked:
            raise InputError("--samples is for one score a file; --track has --window and --hop")
        if args.whole and (tracked or args.num_samples is not None):
            raise InputError("--whole scores a file in one piece: leave out --samples, --track and --plot")
    if args.threshold is not None:
        if not (args.plot or args.segments):
            raise InputError("--threshold is drawn by --plot: name a picture with --plot FILE, or leave it out")
        if not math.isfinite(args.threshold):
            raise InputError(f"--threshold is a number, not {args.threshold}")
        if args.calibration:
            raise InputError("--threshold is that of --operating-point, with --calibration: leave it out")
    check_at_least(args, num_samples=1, batch_size=1, workers=1)


def _clock(seconds: float) -> str:
    """Write a place in a recording.

    >>> _clock(3725.2), _clock(65), _clock(5.25)
    ('1:02:05', '1:05', '5.25 s')
    """
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _lines(row: dict[str, Any], widths: list[int], windows: bool) -> str:
    """Write ``row`` as lines of the table: one for the file and, if wanted, one for each of its windows."""
    file, align = printable_name(row["file"]), "l" + "r" * (len(widths) - 2) + "l"
    if "error" in row:
        return table_line([file, *(["–"] * (len(widths) - 2)), row["error"]], widths, align)
    about = [row[key] for key in ("remark", "reason") if key in row]
    if row.get("windows", 1) > 1:
        lowest = row["lowest"]
        stretch = f"{_clock(lowest['start'])}–{_clock(lowest['end'])}"
        mean = f"mean of {counted(row['windows'], 'window')}; the lowest, {lowest['score']:.4f}, at {stretch}"
        about.append(mean)
    meaning = [f"{row['llr']:.4f}", f"{row['probability']:.4f}", row["decision"]] if "llr" in row else []
    lines = [
        table_line([file, f"{row['score']:.4f}", f"{row['duration']:.2f} s", *meaning, "; ".join(about)], widths, align)
    ]
    if row.get("windows", 1) > 1 and windows:
        for number, (time, score) in enumerate(zip(row["times"], row["scores"])):
            more = [f"{row[key][number]:.4f}" for key in ("llrs", "probabilities") if key in row]
            lines.append(table_line([f"at {time:.2f} s", f"{score:.4f}", *([""] if more else []), *more], widths, "r"))
    return "\n".join(lines)


def _lines_of_stretches(row: dict[str, Any], widths: Sequence[int]) -> str:
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
