"""`nes2net predict`: score audio files, as a whole or over time, or find the fake stretches in them."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from csv import DictWriter
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from nes2net.actions.flags import Deciding, Length, Loading, ScorerName
from nes2net.cli.next_commands import command_line
from nes2net.cli.predict_files import FilesBeside
from nes2net.lib.command_line import INCOMPLETE
from nes2net.lib.commands import Count, Flag, Folder, called
from nes2net.lib.conditions import NotWith, UsedWith
from nes2net.lib.errors import InputError, counted, readable_size, worded
from nes2net.lib.progress import ProgressDisplay
from nes2net.lib.terminal import printable_name, say, table_line, written_said_last
from nes2net.lib.text_files import as_cell

# The columns after the name of the file, as heading → width. The three tables are for scores, fake
# stretches and other judgements.
_SCORES = {"score": 10, "duration": 10}
_SEGMENTS = {"start": 10, "end": 10, "score": 10}
_JUDGED = {"duration": 10}
# Further columns that a calibration adds, and the column that a decision adds.
_MEANT = {"llr": 8, "probability": 11}
_DECIDED = {"decision": 11}
# If at least this share of a recording was judged, its line in the table does not state the share.
_NEARLY_ALL = 0.995


_ONE_RESULT_A_FILE = NotWith("channel=each")


@dataclass(frozen=True)
class WithoutSegments(Length):
    """One score of a recording, and scores along it.

    Args:
        track: also print the scores over the time of each file
        window: seconds of audio for each score of a track
        hop: seconds between scores; if not given, by the recording's length
    """

    track: Annotated[bool, NotWith("judgement")] = False
    window: Annotated[float | None, NotWith("judgement")] = None
    hop: Annotated[float | None, NotWith("judgement")] = None


@dataclass(frozen=True)
class WithSegments:
    """Fake stretches, by a detector that sees segments.

    Args:
        resolution_ms: frames of this length; the shortest if not given
        hysteresis: a fake stretch continues up to X above --threshold
        min_duration: shortest stretch and gap; 0.1 if not given
        rttm: write all segments as RTTM
        labels: write labels for an editor beside each file
        out: folder for the files of --labels
    """

    resolution_ms: Annotated[float | None, Flag("MS")] = None
    hysteresis: float | None = None
    min_duration: Annotated[float | None, Flag("S")] = None
    rttm: Annotated[str | None, Flag("FILE|DIR"), _ONE_RESULT_A_FILE] = None
    labels: Annotated[Literal["audacity"] | None, _ONE_RESULT_A_FILE] = None
    out: Annotated[Folder | None, UsedWith("labels")] = None


@called(
    about="A higher score means more bona fide. With a calibration, a decision is made on the whole recording. "
    "Exit status 1 means that a file could not be scored.",
    resumes=False,
    names={"score_track": "--track", "num_samples=None": "--samples full"},
)
def predict(
    files: Annotated[Sequence[str], Flag("FILE")],
    *,
    model: ScorerName | None = None,
    loading: Loading,
    along: Annotated[WithoutSegments, NotWith("segments")],
    plot: Annotated[str | None, Flag("FILE|DIR"), _ONE_RESULT_A_FILE, NotWith("judgement")] = None,
    threshold: Annotated[float | None, NotWith("calibration", "judgement")] = None,
    deciding: Deciding,
    judgement: Annotated[str | None, Flag("NAME|OPTIONS"), NotWith("segments")] = None,
    detector: Annotated[ScorerName | None, UsedWith("judgement")] = None,
    channel: Annotated[str, Flag("N|mix|each")] = "mix",
    segments: bool = False,
    stretches: Annotated[WithSegments, UsedWith("segments")],
    json_: bool = False,
    csv: Annotated[bool, NotWith("json_", "segments", "judgement")] = False,
    batch_size: Count | None = None,
    workers: Count | None = None,
) -> int:
    """Score audio files of any format.

    Example:
        nes2net predict recording.mp3 folder/ --model AASIST

    Args:
        files: audio files, or folders of them
        judgement: another result than a score, e.g. classes
        detector: with --judgement: a detector of fakes to ask first
        channel: one channel, from 0; each: a row for each channel
        json_: print a JSON object for each recording
        csv: print a row for each recording, also a failed one
        batch_size: recordings or windows at once (8, or 64 on a GPU)
        workers: threads that read files

    One score of a recording, and scores along it:
        plot: draw the track: a .png, .svg, .pdf or a folder
        threshold: lowest score of bona fide; --segments: where a fake stretch begins

    Fake stretches, by a detector that sees segments:
        segments: print fake stretches instead of a score
    """
    from nes2net.actions.prediction import COLUMNS, Along, Judged, Once, Question, Stretches, as_columns
    from nes2net.actions.prediction import predict as predicted
    from nes2net.data.audio.files import with_folders_listed
    from nes2net.lib.yaml_text import read_value
    from nes2net.metrics.localisation.stretches import MIN_DURATION
    from nes2net.scoring.judgement import as_judgement

    # Check the flags, and choose what to ask about each recording: a judgement, fake stretches, or scores.
    if model is None:
        raise InputError(_no_detector_message())
    question: Question
    if judgement is not None:
        question = Judged(as_judgement(read_value(judgement, None, "`judgement`")), along.of_files())
    elif segments:
        shortest = stretches.min_duration if stretches.min_duration is not None else MIN_DURATION
        question = Stretches(stretches.resolution_ms, threshold, stretches.hysteresis, shortest)
    else:
        windows = Along(along.window, along.hop)
        chosen_windows = windows if windows != Along() else None
        question = Once(along.of_files(), chosen_windows, along.track or bool(plot), threshold)
    if threshold is not None and not math.isfinite(threshold):
        raise InputError(f"--threshold is a number, not {threshold}")
    chosen_channel = _parse_channel(channel)
    paths = with_folders_listed(files)
    # Check the output paths before a large model is loaded.
    beside = FilesBeside(paths, model, threshold, plot, stretches.rttm, stretches.labels, stretches.out)
    decider = deciding.decider()
    settings: dict[str, Any] = {
        "channel": chosen_channel,
        "decider": decider,
        "calibration": deciding.calibration or "",
        "batch_size": batch_size,
        "workers": workers,
    }
    if detector is not None and isinstance(question, Judged):
        first = replace(loading, config=None, base=None).scorer(detector)
        question = replace(question, first=predicted(first, paths, **settings))
        settings["decider"] = None
    scorer = loading.scorer(model)
    predictions = predicted(scorer, paths, question, **settings)
    # Choose the columns of the table, and print its head.
    columns = _SEGMENTS if segments else _SCORES
    if decider:
        columns = columns | _MEANT
    if judgement is not None:
        columns = _JUDGED
    elif not segments and (decider or threshold is not None):
        columns = columns | _DECIDED
    longest_name = max(len(printable_name(file)) for file in paths)
    if chosen_channel != "mix":
        longest_name += len(_channel_suffix(0))
    widths = [longest_name, *columns.values(), 0]
    table = None
    if csv:
        table = DictWriter(sys.stdout, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
    elif not json_:
        say(*(f"# {worded(note)}" for note in predictions.notes), table_line(["file", *columns], widths))
    # Print the rows and write the files. A terminal gets no progress display, because the rows show the progress there.
    shown = not sys.stdout.isatty()
    failed = 0
    with written_said_last(), beside.writer(scorer, decider) as write:
        for prediction in ProgressDisplay(
            predictions.rows, title="scoring", unit="file", total=predictions.count, shown=shown
        ):
            failed += "error" in prediction.row
            write(prediction)
            if table is not None:
                table.writerow({name: as_cell(value) for name, value in as_columns(prediction.row).items()})
                sys.stdout.flush()
                continue
            if json_:
                line = json.dumps(prediction.row)
            elif judgement is not None and prediction.words:
                line = _judged_line(prediction.row, prediction.words, widths)
            else:
                line = _table_lines(prediction.row, prediction.words, widths, along.track)
            print(line, flush=True)
        if not json_ and not csv:
            advice = [] if decider or segments or judgement else _how_to_get_a_probability(model)
            say(*(f"# {worded(sentence)}" for sentence in predictions.meaning), *advice)
    if failed:
        say(f"{failed:,} of {counted(predictions.count, 'file')} could not be scored", file=sys.stderr)
    return INCOMPLETE if failed else 0


def _parse_channel(channel: str) -> int | Literal["mix", "each"]:
    """Read the value of --channel: the number of a channel, ``mix`` or ``each``.

    Raises:
        InputError: if the value is not a number, ``mix`` or ``each``.
    """
    if channel == "mix":
        return "mix"
    if channel == "each":
        return "each"
    if not re.fullmatch("[0-9]{1,3}", channel):
        raise InputError(f"`channel` is the number of a channel, counted from 0, 'mix' or 'each', not '{channel}'")
    return int(channel)


def _channel_suffix(channel: int) -> str:
    return f" [{channel}]"


def _name_in_table(row: dict[str, Any]) -> str:
    name = printable_name(row["file"])
    return name + _channel_suffix(row["channel"]) if "channel" in row else name


def _how_to_get_a_probability(model: str) -> list[str]:
    command = command_line(["calibrate", "recordings", "REAL", "FAKE", "--model", model, "--save", "c.json"])
    return [
        "# a probability needs recordings of your own of both classes; then add --calibration c.json:",
        f"#   {command}",
    ]


def _no_detector_message() -> str:
    from nes2net.models.catalogue import list_models

    uses: dict[str, list[str]] = {}
    for model in list_models():
        uses.setdefault(model.good_for, []).append(f"{model.name} ({readable_size(model.size)})")
    names = "; ".join(f"{', '.join(models)}: {use}" for use, models in uses.items())
    return f"name a detector with `model`: a file, or a name that is fetched once – {names}. 'nes2net models' says more"


def _judged_line(row: dict[str, Any], words: str, widths: list[int]) -> str:
    remarks = "; ".join(filter(None, [words, row.get("remark")]))
    return table_line([_name_in_table(row), f"{row['duration']:.2f} s", remarks], widths, "lrl")


def _table_lines(row: dict[str, Any], words: str, widths: list[int], show_windows: bool) -> str:
    """Write the lines of the table for one recording.

    A scored recording has one line. A recording that was searched for fake stretches has a line for
    each stretch, or one line with "no fake stretch". A failed recording has a line with the reason.

    Args:
        row: facts of the recording; the object that --json prints.
        words: why the windows along the recording led to the decision; may be empty, see
            :attr:`nes2net.actions.prediction.Prediction.words`.
        widths: widths of the columns.
        show_windows: add a line for each window of a scored recording.
    """
    # Write the line of a recording that failed or has no fake stretch.
    file = _name_in_table(row)
    align = "l" + "r" * (len(widths) - 2) + "l"
    stretches = row.get("segments")
    note = row.get("error")
    if note is None and stretches == []:
        note = "; ".join(filter(None, [f"no fake stretch in {row['duration']:.2f} s", row.get("remark")]))
    if note is not None:
        return table_line([file, *(["–"] * (len(widths) - 2)), note], widths, align)
    # Write a line for each fake stretch.
    if stretches:
        cells = []
        remark = row.get("remark", "")
        for stretch in stretches:
            times = [f"{stretch[key]:.2f} s" for key in ("start", "end")]
            figures = [f"{stretch[key]:.4f}" for key in ("score", "llr", "probability") if key in stretch]
            cells.append([file, *times, *figures, remark])
            remark = ""  # only the first line has the remark
        return "\n".join(table_line(line, widths, "lr") for line in cells)
    # Write the line of a recording with a score.
    remarks = [row["remark"]] if "remark" in row else []
    if "reason" in row and row["reason"] not in row.get("remark", ""):
        remarks.append(row["reason"])
    if words:
        remarks.append(words)
    elif row["judged"] < _NEARLY_ALL:
        remarks.append(f"{100 * row['judged']:.2g} % of it was judged")
    if row.get("windows", 1) > 1:
        pattern = "the score is the mean of {}" if row["method"] == "track" else "{} were scored along it, too"
        remarks.append(pattern.format(f"{counted(row['windows'], 'window')} of {row['window']:.3g} s"))
    meaning = ["–" if row[key] is None else f"{row[key]:.4f}" for key in _MEANT if key in row]
    meaning += [row[key] for key in _DECIDED if key in row]
    lines = [
        table_line(
            [file, f"{row['score']:.4f}", f"{row['duration']:.2f} s", *meaning, "; ".join(remarks)], widths, align
        )
    ]
    # Write a line for each window of the recording.
    if row.get("windows", 1) > 1 and show_windows:
        for number, (time, score) in enumerate(zip(row["times"], row["scores"])):
            meaning = [f"{row[key][number]:.4f}" for key in ("llrs", "probabilities") if key in row]
            no_duration = [""] if meaning else []
            lines.append(table_line([f"at {time:.2f} s", f"{score:.4f}", *no_duration, *meaning], widths, "r"))
    return "\n".join(lines)
