"""`nes2net predict`: judge audio files, as a whole or over time, and find the fake stretches in them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from csv import DictWriter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nes2net.actions.flags import Deciding, Loading, Reading, ScorerName
from nes2net.cli.next_commands import command_line
from nes2net.cli.predict_files import FilesBeside
from nes2net.lib.errors import InputError, pluralise, readable_size, with_flag_names
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.terminal import printable_name, say, table_line
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.shell.command_line import INCOMPLETE
from nes2net.lib.shell.commands import Count, Flag, Folder, Seconds, command_facts, non_defaults
from nes2net.lib.storage.text_files import as_cell

if TYPE_CHECKING:
    from nes2net.scoring.judged import Failed, Judged

# The columns after the name of the file, in order: heading → width. A table has those of its judgement and its decider.
_WIDTHS = {"score": 10, "duration": 10, "llr": 8, "probability": 11, "decision": 11}
_ONE_RESULT_A_FILE = NotWith("channel=each")


@dataclass(frozen=True)
class TrackFlags(Reading):
    """One score of a recording, and scores along it.

    Args:
        track: also print the scores over the time of each file
        window: seconds of audio for each score of a track
        hop: seconds between scores; if not given, by the recording's length
    """

    track: bool = False
    window: Seconds | None = None
    hop: Seconds | None = None


@dataclass(frozen=True)
class Stretches:
    """Fake stretches, with --judgement frames.

    Args:
        rttm: write all segments as RTTM
        labels: write labels for an editor beside each file
        out: folder for the files of --labels
    """

    rttm: Annotated[str | None, Flag("FILE|DIR"), _ONE_RESULT_A_FILE] = None
    labels: Annotated[Literal["audacity"] | None, _ONE_RESULT_A_FILE] = None
    out: Annotated[Folder | None, UsedWith("labels")] = None


@command_facts(
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
    along: TrackFlags,
    plot: Annotated[str | None, Flag("FILE|DIR"), _ONE_RESULT_A_FILE] = None,
    threshold: Annotated[float | None, NotWith("calibration")] = None,
    deciding: Deciding,
    judgement: Annotated[str, Flag("NAME|OPTIONS")] = "scores",
    detector: Annotated[ScorerName | None, UsedWith("judgement")] = None,
    channel: Annotated[str, Flag("N|mix|each")] = "mix",
    stretches: Stretches,
    json_: bool = False,
    csv: Annotated[bool, NotWith("json_")] = False,
    batch_size: Count | None = None,
    workers: Count | None = None,
) -> int:
    """Score audio files of any format.

    Example:
        nes2net predict recording.mp3 folder/ --model AASIST

    Args:
        files: audio files, or folders of them
        judgement: frames for fake stretches, classes, or another
        detector: with --judgement: a detector of fakes to ask first
        channel: one channel, from 0; each: a row for each channel
        json_: print a JSON object for each recording
        csv: print a row for each recording, also a failed one
        batch_size: recordings or windows at once (8, or 64 on a GPU)
        workers: threads that read files

    One score of a recording, and scores along it:
        plot: draw the scores along time: a .png, .svg, .pdf or a folder
        threshold: lowest score of bona fide; frames: where a fake stretch begins
    """
    from nes2net.actions.prediction import COLUMNS, as_columns
    from nes2net.actions.prediction import predict as predicted
    from nes2net.data.audio.files import expand_folders
    from nes2net.lib.storage.yaml_text import read_value
    from nes2net.scoring.decisions.along import Cutoff
    from nes2net.scoring.judged import Failed
    from nes2net.scoring.judgement import as_judgement
    from nes2net.scoring.judging import JudgingSettings
    from nes2net.scoring.stream import Along

    # Check the flags and the output paths before a large model is loaded.
    if model is None:
        raise InputError(_no_detector_message())
    chosen_judgement = as_judgement(read_value(judgement, None, "`judgement`"))
    for flag in non_defaults(stretches):
        if not chosen_judgement.has_frames:
            raise InputError(f"--{flag} is only for fake stretches: add --judgement frames, or remove it")
    chosen_channel = _parse_channel(channel)
    decider = deciding.decider()
    cutoff = None if threshold is None else Cutoff(threshold)
    is_scored = chosen_judgement.is_score or (chosen_judgement.of_recordings and bool(decider or cutoff))
    if csv and not is_scored:
        raise InputError(f"--csv is only for scores and decisions, not for {chosen_judgement.what}: use --json")
    paths = expand_folders(files)
    beside = FilesBeside(paths, model, threshold, plot, stretches.rttm, stretches.labels, stretches.out)
    shows_windows = along.track or (bool(plot) and not chosen_judgement.has_frames)
    settings = JudgingSettings(
        along.requested_samples_of_files(), Along(along.window, along.hop), shows_windows, batch_size, workers
    )
    calibration = deciding.calibration or ""
    first = None
    if detector is not None:  # the calibration is of this detector, which is asked first
        first_detector = replace(loading, config=None, base=None).scorer(detector)
        of_first = JudgingSettings(batch_size=batch_size, workers=workers)
        first = predicted(
            first_detector,
            paths,
            channel=chosen_channel,
            audio_track=along.audio_track,
            decider=decider,
            calibration=calibration,
            settings=of_first,
        )
        decider = None
        calibration = ""
    scorer = loading.scorer(model)
    predictions = predicted(
        scorer,
        paths,
        chosen_judgement,
        channel=chosen_channel,
        audio_track=along.audio_track,
        decider=decider or cutoff,
        calibration=calibration,
        settings=settings,
        first=first,
    )
    columns = _columns_of(
        has_score=is_scored or chosen_judgement.has_frames,
        has_llr=decider is not None,
        has_decision=is_scored and bool(decider or cutoff),
    )
    longest_name = max(len(printable_name(file)) for file in paths)
    if chosen_channel != "mix":
        longest_name += len(_channel_suffix(0))
    widths = [longest_name, *(_WIDTHS[name] for name in columns), 0]  # 0 for any width
    csv_table = None
    if csv:
        csv_table = DictWriter(sys.stdout, COLUMNS, restval="", lineterminator="\n")
        csv_table.writeheader()
    elif not json_:
        say(*(f"# {with_flag_names(note)}" for note in predictions.notes), table_line(["file", *columns], widths))
    # Print the rows and write the files. A terminal gets no progress display, because the rows show the progress there.
    failed = 0
    with beside.writer(scorer, decider) as write:
        for answer in ProgressDisplay(
            predictions.rows, title="scoring", unit="file", total=predictions.count, shown=not sys.stdout.isatty()
        ):
            failed += isinstance(answer, Failed)
            write(answer)
            if csv_table is not None:
                csv_table.writerow({name: as_cell(value) for name, value in as_columns(answer.to_row()).items()})
                sys.stdout.flush()
            elif json_:
                print(json.dumps(answer.to_row()), flush=True)
            else:
                print(*_table_lines(answer, columns, widths, along.track), sep="\n", flush=True)
        if not json_ and not csv:
            advice = _how_to_get_a_probability(model) if chosen_judgement.is_score and decider is None else []
            say(*(f"# {with_flag_names(sentence)}" for sentence in predictions.meaning), *advice)
    if failed:
        say(
            f"{failed:,} of {pluralise(predictions.count, 'file')} could not be scored: see their errors",
            file=sys.stderr,
        )
    return INCOMPLETE if failed else 0


def _columns_of(*, has_score: bool, has_llr: bool, has_decision: bool) -> list[str]:
    is_shown = {
        "score": has_score,
        "duration": True,
        "llr": has_llr,
        "probability": has_llr,
        "decision": has_decision,
    }
    return [name for name in _WIDTHS if is_shown[name]]


def _parse_channel(channel: str) -> int | Literal["mix", "each"]:
    """Raise InputError for a value of --channel other than a number, ``mix`` or ``each``."""
    if channel == "mix":
        return "mix"
    if channel == "each":
        return "each"
    if not re.fullmatch("[0-9]{1,3}", channel):
        raise InputError(f"`channel` must be the number of a channel, from 0, or 'mix' or 'each', not '{channel}'")
    return int(channel)


def _channel_suffix(channel: int) -> str:
    return f" [{channel}]"


def _name_in_table(row: Mapping[str, Any]) -> str:
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


def _table_lines(
    answer: Judged[Any] | Failed, columns: Sequence[str], widths: Sequence[int], shows_windows: bool
) -> Iterator[str]:
    row = answer.to_row()
    align = "l" + "r" * len(columns) + "l"  # left or right
    yield table_line([_name_in_table(row), *_cells(row, columns), answer.words], widths, align)
    for segment in row.get("segments", ()):
        times = f"{segment['start']:.2f} to {segment['end']:.2f} s"
        yield table_line(
            [times, *_cells({**segment, "duration": segment["end"] - segment["start"]}, columns)], widths, "r"
        )
    if not shows_windows or row.get("windows", 1) == 1:
        return
    numbers = {"score": row["scores"], "llr": row.get("llrs"), "probability": row.get("probabilities")}
    for number, time in enumerate(row["times"]):
        window = {name: values[number] for name, values in numbers.items() if values is not None}
        yield table_line([f"at {time:.2f} s", *_cells({"duration": "", **window}, columns)], widths, "r")


def _cells(row: Mapping[str, Any], columns: Iterable[str]) -> list[str]:
    cells = []
    for name in columns:
        value = row.get(name)
        if isinstance(value, float):
            value = f"{value:.2f} s" if name == "duration" else f"{value:.4f}"
        cells.append("–" if value is None else value)
    return cells
