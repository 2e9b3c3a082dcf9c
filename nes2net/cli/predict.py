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

from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.cli.calibrated import add_calibration, decider_of
from nes2net.cli.entry import INCOMPLETE, add_architecture, add_device, add_dtype, check_at_least, subcommand
from nes2net.cli.predict_files import pictures_for, reason, seconds_shown
from nes2net.cli.predict_segments import Stretches, add_flags, check_flags, lines_of_stretches
from nes2net.errors import InputError, counted, worded
from nes2net.machine.files import replacing, writing
from nes2net.machine.progress import ProgressDisplay
from nes2net.machine.terminal import printable_name, say_written, table_line, written_said_last

if TYPE_CHECKING:
    from nes2net.decisions.decision import Decider
    from nes2net.decisions.population import Traits
    from nes2net.detector import Detector
    from nes2net.scoring.track import Track

_MEANING = "higher means more bona fide; it is {}, so choose a threshold on data of your own"
_BEGINNING = "{}; --track scores all of a file along its time, --whole in one piece"
_LLR = "llr: natural-log likelihood ratio of bona fide against spoof; above 0, the recording makes bona fide likelier"
#: Columns and their widths after the file's name.
_RAW = {"score": 10, "duration": 10}
_DECIDED = {**_RAW, "llr": 8, "probability": 11, "decision": 11}


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
    from nes2net.published_models import length_of_training, published_model
    from nes2net.scoring.calibrated import calibrated_samples, notes_on
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
    if args.threshold is not None and args.calibration:
        raise InputError("--threshold is that of --operating-point, with --calibration: leave it out")
    check_at_least(args, num_samples=1, batch_size=1, workers=1)
    files = with_folders_listed(args.files)
    pictures = pictures_for(Path(args.plot), files) if args.plot else {}
    decider = decider_of(args)
    detector = Detector.from_pretrained(args.model, args.device, args.dtype, config=args.config, base=args.base)
    check_takes_audio_alone(detector)
    args.window = length_of_training(detector.record) / SAMPLE_RATE if args.window is None else args.window
    stretches = Stretches(detector, files, args, pictures, decider) if args.segments else None
    model = published_model(detector.record)
    notes = [f"detector: {model[0]}; licence of its weights: {model[1].licence}"] if model else []
    if args.num_samples is None and not (args.whole or tracked or args.segments):
        part = calibrated_samples(decider, detector.record)
        args.num_samples = part.num_samples
        notes += [_BEGINNING.format(part.words)] if part.words else []
    notes.append(f"score: {_MEANING.format(NATURE[detector.backend.score_rule])}")
    facts: dict[str, Any] = {"published_model": model[0], "licence": model[1].licence} if model else {}
    if decider:
        heard = 0 if tracked else args.num_samples
        resolution_ms = stretches.resolution_ms if stretches else None
        notes += [_LLR, *decider.described(), *notes_on(detector, decider, heard, resolution_ms)]
        facts |= {"calibration": args.calibration, "basis": decider.basis()}
    widths = [max(len(printable_name(file)) for file in files)]
    if stretches:
        widths += stretches.widths
        rows, head = stretches.rows(), stretches.header(widths)
        lines = partial(lines_of_stretches, widths=widths)
    else:
        columns = _DECIDED if decider else _RAW
        widths += [*columns.values(), 0]
        rows = (_tracks if tracked else _scores)(detector, files, args, decider, pictures)
        head = table_line(["file", *columns], widths)
        lines = partial(_lines, widths=widths, windows=args.track)
    # On a terminal the rows themselves show how far it is.
    rows = iter(ProgressDisplay(rows, title="scoring", unit="file", total=len(files), shown=not sys.stdout.isatty()))
    if not args.json:
        print("\n".join([*(f"# {worded(note)}" for note in notes), head]))
    failed = 0
    with written_said_last():
        for row in rows:
            failed += "error" in row
            row |= facts
            print(json.dumps(row) if args.json else lines(row), flush=True)
    if failed:
        print(f"{failed:,} of {counted(len(files), 'file')} could not be scored", file=sys.stderr)
    return INCOMPLETE if failed else 0


def _scores(
    detector: Detector,
    files: list[Path],
    args: argparse.Namespace,
    decider: Decider | None,
    _pictures: dict[Path, Path],
) -> Iterator[dict[str, Any]]:
    """Yield a row per file.

    It has ``file``, ``score``, ``duration`` in seconds, ``method`` and, if there is one, a ``remark``,
    or ``file`` and ``error``. A long recording has the row of :func:`_track_row`.
    """
    from nes2net.audio.read import LongAudio
    from nes2net.scoring.files import score_files
    from nes2net.scoring.track import LONG_RECORDING
    from nes2net.scoring.traits import Measurer

    unscored: list[tuple[Path, InputError]] = []

    def rows_of_unscored() -> Iterator[dict[str, Any]]:
        for path, error in unscored:
            if isinstance(error, LongAudio):
                yield _track_row(detector, path, args, decider)
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
        measurer=Measurer.of(detector, decider),
    )
    for path, score, num_samples, traits, remark in scored:
        yield from rows_of_unscored()
        row = {"file": str(path), **_meaning(score, decider, traits), "duration": num_samples / SAMPLE_RATE, **facts}
        if most is not None and min(num_samples, args.num_samples or num_samples) > most:
            name, seconds = printable_name(Path(path).name), f"{most / SAMPLE_RATE:g}"
            print(f"{name}: the detector reads the first {seconds} s alone; --track scores all of it", file=sys.stderr)
            row |= {"method": "beginning", "samples": most}
        yield row | ({"remark": remark} if remark else {})
    yield from rows_of_unscored()


def _tracks(
    detector: Detector,
    files: list[Path],
    args: argparse.Namespace,
    decider: Decider | None,
    pictures: dict[Path, Path],
) -> Iterator[dict[str, Any]]:
    from nes2net.scoring.track import window_samples

    window_samples(detector, args.window, args.hop)  # raises for wrong flags, so that later errors are those of files
    return (_track_row(detector, path, args, decider, pictures.get(path)) for path in files)


def _track_row(
    detector: Detector,
    path: Path,
    args: argparse.Namespace,
    decider: Decider | None,
    picture: Path | None = None,
) -> dict[str, Any]:
    """Score ``path`` along its time: a row like those of :func:`_scores`, with the facts of the track.

    ``score`` is the mean. With --track or --plot the row has all ``scores`` at ``times`` too.
    """
    from nes2net.scoring.traits import Measurer

    try:
        track = _score_track(detector, path, args)
        measurer = Measurer.of(detector, decider)
        traits = measurer.along(path, track.window) if measurer else None
    except InputError as error:
        return {"file": str(path), "error": reason(path, error)}
    if picture is not None:
        _draw(picture, path, track, args, decider)
    start, end, lowest = track.lowest
    row = {"file": str(path), **_meaning(track.score, decider, traits), "duration": track.duration, "method": "track"}
    row |= {"window": track.window, "hop": args.hop, "windows": len(track)}
    row |= {"lowest": {"score": lowest, "start": round(start, 6), "end": round(end, 6)}}
    row |= {"remark": track.remark} if track.remark else {}
    if args.track or args.plot:
        row |= {"times": track.times.round(6).tolist(), "scores": track.scores.tolist()}
        if decider:
            row["llrs"] = decider.llrs(track.scores).tolist()
            row["probabilities"] = decider.probabilities(track.scores).tolist()
    return row


def _meaning(score: float, decider: Decider | None, traits: Traits | None) -> dict[str, Any]:
    """The score of a recording and, with a calibration, what it means."""
    return decider(score, traits).row() if decider else {"score": score}


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


def _draw(picture: Path, path: Path, track: Track, args: argparse.Namespace, decider: Decider | None) -> None:
    from nes2net.scoring.track_plot import plot_track

    scale, threshold = ("log-likelihood ratio", decider.llr_threshold) if decider else ("score", args.threshold)
    if decider:
        track = replace(track, scores=decider.llrs(track.scores).astype("float32"))
    model, file_format = Path(args.model).name, picture.suffix[1:]
    with writing(picture, "name another with --plot"), replacing(picture) as temporary:
        plot_track(temporary, path, track, file_format, model=model, threshold=threshold, scale=scale)
    say_written(picture, beside_data=True)


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
