"""`nes2net predict`: score any audio files, as a table or JSON lines; with --track, along the time of each.

With --segments their fake stretches are printed instead, see :mod:`nes2net.cli.predict_segments`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes2net.audio.crop import ASVSPOOF_SAMPLES
from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.cli.entry import INCOMPLETE, add_architecture, add_device, add_dtype, check_at_least, subcommand
from nes2net.cli.predict_files import pictures_for, reason, seconds_shown
from nes2net.cli.predict_segments import Stretches, add_flags, check_flags, lines_of_stretches
from nes2net.errors import InputError
from nes2net.machine.files import replacing, writing
from nes2net.machine.progress import ProgressDisplay
from nes2net.machine.terminal import printable_name, say_written, table_line

if TYPE_CHECKING:
    from nes2net.decisions.calibration import LinearCalibration
    from nes2net.detector import Detector
    from nes2net.scoring.track import Track

_MEANING = "higher means more bona fide; it is {}, so choose a threshold on data of your own"
_CALIBRATED = "natural-log likelihood ratio of bona fide against spoof: above 0, the recording makes bona fide likelier"
_BEGINNING = (
    "scored: only the first {:.2f} s of each file, as the detector's authors do; --track scores all of a file along its "
    "time, --whole in one piece"
)


def add(commands: argparse._SubParsersAction) -> None:
    example = "nes2net predict recording.mp3 folder/ --model detector.pth"
    parser = subcommand(commands, "predict", _predict, "Score audio files of any format", example=example)
    parser.epilog = (
        f"The score is the detector's own: {_MEANING.format('not calibrated')}. A recording longer than two minutes is "
        "scored along its time, and its score is the mean. Exit status 1: a file could not be scored."
    )
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
        "if not given, the number of a published detector whose authors always score as many, else all samples",
    )
    add_one = parser.add_argument_group("scores along a recording").add_argument
    add_one(
        "--whole",
        action="store_true",
        help="score a recording of any length in one piece; much memory for minutes of it",
    )
    add_one("--track", action="store_true", help="print the scores along each file, also of short ones")
    add_one(
        "--window", type=float, default=ASVSPOOF_SAMPLES / SAMPLE_RATE, help="seconds of audio for one score of a track"
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
    add_one(
        "--calibration",
        metavar="FILE",
        help="turn scores into log-likelihood ratios, by what `nes2net calibrate … --save FILE` wrote for this "
        "detector; --plot then draws the threshold 0",
    )
    add_flags(parser)
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
    from nes2net.backends.base import NATURE
    from nes2net.detector import Detector
    from nes2net.published_models import published_model, samples_to_score
    from nes2net.scoring.scorer import check_takes_audio_alone

    check_flags(args)
    tracked = args.track or (bool(args.plot) and not args.segments)
    if args.num_samples is not None and tracked:
        raise InputError("--samples is for one score a file; --track has --window and --hop")
    if args.whole and (tracked or args.num_samples is not None):
        raise InputError("--whole scores a file in one piece: leave out --samples, --track and --plot")
    if args.threshold is not None and not (args.plot or args.segments):
        raise InputError("--threshold is drawn by --plot: name a picture with --plot FILE, or leave it out")
    if args.threshold is not None and not math.isfinite(args.threshold):
        raise InputError(f"--threshold is a number, not {args.threshold}")
    check_at_least(args, num_samples=1, batch_size=1, workers=1)
    files = with_folders_listed(args.files)
    pictures = pictures_for(Path(args.plot), files) if args.plot else {}
    calibration = _calibration(args.calibration) if args.calibration else None
    detector = Detector.from_pretrained(args.model, args.device, args.dtype, config=args.config, base=args.base)
    check_takes_audio_alone(detector)
    model = published_model(detector.record)
    note = f"# detector: {model[0]}; licence of its weights: {model[1].licence}\n" if model else ""
    if args.num_samples is None and not (args.whole or tracked or args.segments):
        args.num_samples = samples_to_score(detector.record)
        if args.num_samples is not None:
            note += f"# {_BEGINNING.format(args.num_samples / SAMPLE_RATE)}\n"
    facts = {"published_model": model[0], "licence": model[1].licence} if model else {}
    widths = [max(len(printable_name(file)) for file in files), 10, 10, *([10] if args.segments else []), 0]
    if args.segments:
        stretches = Stretches(detector, files, args, pictures)
        rows, head = stretches.rows(), stretches.header(widths)
        lines = partial(lines_of_stretches, widths=widths)
    else:
        rows = (_tracks if tracked else _scores)(detector, files, args, calibration, pictures)
        head = table_line(["file", "score", "duration"], widths)
        lines = partial(_lines, widths=widths, windows=args.track)
    # On a terminal the rows themselves show how far it is.
    rows = iter(ProgressDisplay(rows, title="scoring", unit="file", total=len(files), shown=not sys.stdout.isatty()))
    if not args.json:
        own = _MEANING.format(NATURE[detector.backend.score_rule])
        meaning = f"{_CALIBRATED}, by {printable_name(args.calibration)}" if calibration else own
        print(f"{note}# score: {meaning}\n{head}")
    failed = 0
    for row in rows:
        if calibration is not None and "score" in row:
            row["calibration"] = args.calibration
        failed += "error" in row
        row |= facts
        print(json.dumps(row) if args.json else lines(row), flush=True)
    if failed:
        print(f"{failed} of {len(files)} files could not be scored", file=sys.stderr)
    return INCOMPLETE if failed else 0


def _scores(
    detector: Detector,
    files: list[Path],
    args: argparse.Namespace,
    calibration: LinearCalibration | None,
    _pictures: dict[Path, Path],
) -> Iterator[dict[str, Any]]:
    """Yield a row per file.

    It has ``file``, ``score``, ``duration`` in seconds and ``method``, or ``file`` and ``error``. A
    long recording has the row of :func:`_track_row`.
    """
    from nes2net.audio.read import LongAudio
    from nes2net.scoring.files import score_files
    from nes2net.scoring.track import LONG_RECORDING

    unscored: list[tuple[Path, InputError]] = []

    def rows_of_unscored() -> Iterator[dict[str, Any]]:
        for path, error in unscored:
            if isinstance(error, LongAudio):
                yield _track_row(detector, path, args, calibration)
            else:
                yield {"file": str(path), "error": reason(path, error)}
        unscored.clear()

    facts = {"method": "whole"} if args.num_samples is None else {"method": "beginning", "samples": args.num_samples}
    longest = None if args.whole or args.num_samples else round(LONG_RECORDING * SAMPLE_RATE)
    most = detector.used_samples.most
    scored = score_files(
        detector,
        files,
        args.num_samples,
        batch_size=args.batch_size,
        workers=args.workers,
        on_error=lambda path, error: unscored.append((path, error)),
        longest=longest,
    )
    for path, score, num_samples in scored:
        yield from rows_of_unscored()
        score = score if calibration is None else float(calibration([score])[0])
        row = {"file": str(path), "score": score, "duration": num_samples / SAMPLE_RATE, **facts}
        if most is not None and min(num_samples, args.num_samples or num_samples) > most:
            name, seconds = printable_name(Path(path).name), f"{most / SAMPLE_RATE:g}"
            print(f"{name}: the detector reads the first {seconds} s alone; --track scores all of it", file=sys.stderr)
            row |= {"method": "beginning", "samples": most}
        yield row
    yield from rows_of_unscored()


def _tracks(
    detector: Detector,
    files: list[Path],
    args: argparse.Namespace,
    calibration: LinearCalibration | None,
    pictures: dict[Path, Path],
) -> Iterator[dict[str, Any]]:
    from nes2net.scoring.track import window_samples

    window_samples(detector, args.window, args.hop)  # raises for wrong flags, so that later errors are those of files
    return (_track_row(detector, path, args, calibration, pictures.get(path)) for path in files)


def _track_row(
    detector: Detector,
    path: Path,
    args: argparse.Namespace,
    calibration: LinearCalibration | None,
    picture: Path | None = None,
) -> dict[str, Any]:
    """Score ``path`` along its time: a row like those of :func:`_scores`, with the facts of the track.

    ``score`` is the mean. With --track or --plot the row has all ``scores`` at ``times`` too.
    """
    try:
        track = _score_track(detector, path, args)
    except InputError as error:
        return {"file": str(path), "error": reason(path, error)}
    if calibration is not None:
        track = replace(track, scores=calibration(track.scores).astype("float32"))
    if picture is not None:
        _draw(picture, path, track, args)
    start, end, lowest = track.lowest
    row = {"file": str(path), "score": track.score, "duration": track.duration, "method": "track"}
    row |= {"window": track.window, "hop": args.hop, "windows": len(track)}
    row |= {"lowest": {"score": lowest, "start": round(start, 6), "end": round(end, 6)}}
    if args.track or args.plot:
        row |= {"times": track.times.round(6).tolist(), "scores": track.scores.tolist()}
    return row


def _score_track(detector: Detector, path: Path, args: argparse.Namespace) -> Track:
    """Score a file in windows; say so before, unless that was asked for."""
    from nes2net.audio.read import count_samples
    from nes2net.scoring.track import score_track

    duration = count_samples(path) / SAMPLE_RATE
    if not (args.track or args.plot):
        print(
            f"{printable_name(path.name)} lasts {_in_words(duration)}: its score is the mean over windows of "
            f"{args.window:.3g} s, one every {args.hop:g} s; --samples N scores the beginning alone, --whole all of it in one piece",
            file=sys.stderr,
        )
    with seconds_shown(path, duration) as progress:
        return score_track(
            detector, path, window=args.window, hop=args.hop, batch_size=args.batch_size, progress=progress
        )


def _in_words(seconds: float) -> str:
    """Say how long a recording is.

    >>> _in_words(125), _in_words(3725)
    ('2 min 5 s', '1 h 2 min')
    """
    if seconds < 3600:
        return "{} min {} s".format(*divmod(round(seconds), 60))
    return "{} h {} min".format(*divmod(round(seconds / 60), 60))


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


def _calibration(path: str) -> LinearCalibration:
    from nes2net.decisions.calibration import load

    calibration = load(path)
    if len(calibration.weights) > 1:
        raise InputError(
            f"{path}: fuses {len(calibration.weights)} systems, and predict has the scores of one: name a calibration "
            "that `nes2net calibrate … --save FILE` wrote"
        )
    return calibration


def _draw(picture: Path, path: Path, track: Track, args: argparse.Namespace) -> None:
    from nes2net.scoring.track_plot import plot_track

    scale, threshold = ("log-likelihood ratio", 0.0) if args.calibration else ("score", None)
    threshold = threshold if args.threshold is None else args.threshold
    model, file_format = Path(args.model).name, picture.suffix[1:]
    with writing(picture, "name another with --plot"), replacing(picture) as temporary:
        plot_track(temporary, path, track, file_format, model=model, threshold=threshold, scale=scale)
    say_written(picture, beside_data=True)


def _lines(row: dict[str, Any], widths: list[int], windows: bool) -> str:
    """Write ``row`` as lines of the table: one for the file and, if wanted, one for each of its windows."""
    file = printable_name(row["file"])
    if "error" in row:
        return table_line([file, "–", "–", row["error"]], widths, "lrrl")
    about = ""
    if row.get("windows", 1) > 1:
        lowest = row["lowest"]
        stretch = f"{_clock(lowest['start'])}–{_clock(lowest['end'])}"
        about = f"mean of {row['windows']:,} windows; the lowest, {lowest['score']:.4f}, at {stretch}"
    lines = [table_line([file, f"{row['score']:.4f}", f"{row['duration']:.2f} s", about], widths, "lrrl")]
    if about and windows:
        track = zip(row["times"], row["scores"])
        lines += [table_line([f"at {time:.2f} s", f"{score:.4f}"], widths, "r") for time, score in track]
    return "\n".join(lines)
