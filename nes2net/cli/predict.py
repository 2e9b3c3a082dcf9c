"""`nes2net predict`: judge audio files, as a whole or over time, and find the fake stretches in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from csv import DictWriter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nes2net.actions.flags import Deciding, EvidenceFlags, Loading, ModelName, Reading
from nes2net.cli.next_commands import command_line
from nes2net.cli.predict_files import FilesBeside
from nes2net.lib.errors import InputError, pluralise, readable_size, with_flag_names
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import print_output, printable_name, say, say_aside, standard_output, table_line
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.shell.command_line import INCOMPLETE
from nes2net.lib.shell.commands import Count, Flag, Folder, Seconds, command_facts, non_defaults
from nes2net.lib.storage.text_files import as_cell

if TYPE_CHECKING:
    from nes2net.actions.prediction import Predictions
    from nes2net.scoring.claimed import AnyDecider
    from nes2net.scoring.judged import AnyAnswer
    from nes2net.scoring.judgement import Judgement

# The columns after the name of the file, in order: heading → width. A table has those of its judgement and its decider.
_WIDTHS = {"score": 10, "duration": 10, "llr": 8, "probability": 11, "decision": 11}
_ONE_RESULT_A_FILE = NotWith("channel=each")


@dataclass(frozen=True)
class TrackFlags(Reading):
    """One score of a recording, and scores along it.

    Args:
        track: also print the scores over the time of each file
        window: seconds of audio for each score of a track
        hop: seconds between scores; by default, by the length
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
    model: ModelName | None = None,
    loading: Loading,
    along: TrackFlags,
    plot: Annotated[str | None, Flag("FILE|DIR"), _ONE_RESULT_A_FILE] = None,
    threshold: Annotated[float | None, NotWith("calibration")] = None,
    deciding: Deciding,
    evidence: Annotated[EvidenceFlags, NotWith("csv")],
    judgement: Annotated[str, Flag("NAME|OPTIONS")] = "scores",
    detector: Annotated[ModelName | None, UsedWith("judgement")] = None,
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
        judgement: frames, classes, or another
        detector: with --judgement: a detector of fakes to ask first
        channel: from 0; each: a row for each
        json_: print a JSON object for each recording
        csv: print a row for each recording, also a failed one
        batch_size: recordings or windows at once (8, or 64 on a GPU)
        workers: threads that read files

    One score of a recording, and scores along it:
        plot: scores along time, as .png, .svg, .pdf or a folder
        threshold: lowest score of bona fide recordings or frames
    """
    from nes2net.actions.prediction import predict as predicted
    from nes2net.data.audio.files import expand_folders
    from nes2net.lib.storage.yaml_text import read_value
    from nes2net.scoring.decisions.along import Cutoff
    from nes2net.scoring.judgement import as_judgement
    from nes2net.scoring.judging import JudgingSettings
    from nes2net.scoring.stream import Along

    # Check the flags and the output paths before a large model is loaded.
    if model is None:
        raise InputError(_no_detector_message())
    chosen_judgement = as_judgement(read_value(judgement, None, "`judgement`"))
    chosen_channel = _parse_channel(channel)
    person = deciding.person_decider()
    decider = None if person else deciding.decider
    rule: AnyDecider | None = person or decider
    if threshold is not None:
        rule = Cutoff(threshold)
    is_scored = chosen_judgement.is_score or (chosen_judgement.of_recordings and rule is not None)
    _check_judgement(chosen_judgement, stretches, csv and not is_scored)
    paths = expand_folders(files)
    beside = FilesBeside(paths, model, threshold, plot, stretches.rttm, stretches.labels, stretches.out)
    calibration = deciding.calibration or ""
    ask = partial(predicted, files=paths, channel=chosen_channel, audio_track=along.audio_track)
    first = None
    if detector is not None:  # the calibration is of this detector, which is asked first
        first_detector = replace(loading, config=None, base=None).scorer(detector)
        of_first = JudgingSettings(batch_size=batch_size, workers=workers)
        first = ask(first_detector, decider=decider, calibration=calibration, settings=of_first)
        decider = None
        rule = None
        calibration = ""
    scorer = loading.scorer(model)
    shows_windows = along.track or (bool(plot) and not chosen_judgement.has_frames)
    settings = JudgingSettings(
        along.requested_samples_of_files(),
        Along(along.window, along.hop),
        shows_windows,
        batch_size,
        workers,
        evidence.requests(),
    )
    predictions = ask(
        scorer,
        judgement=chosen_judgement,
        decider=rule,
        calibration=calibration,
        settings=settings,
        first=first,
    )
    has_llr = decider is not None and not decider.calibration.genuine
    is_shown = {
        "score": is_scored or chosen_judgement.has_frames,
        "duration": True,
        "llr": has_llr,
        "probability": has_llr,
        "decision": is_scored and rule is not None and person is None,
    }
    columns = [name for name in _WIDTHS if is_shown[name]]
    table = _Table(paths, chosen_channel, columns, along.track)
    advice: list[str] = []
    if chosen_judgement.is_score and decider is None and person is None:
        advice = _how_to_get_a_probability(model)
    with beside.writer(scorer, decider) as write:
        failed = _print_answers(predictions, write, table, advice, json_, csv)
    if failed:
        say_aside(f"{failed:,} of {pluralise(predictions.count, 'file')} could not be scored: see their errors")
    return INCOMPLETE if failed else 0


def _print_answers(
    predictions: Predictions,
    write: Callable[[AnyAnswer[Any]], None],
    table: _Table,
    advice: Iterable[str],
    json_: bool,
    csv: bool,
) -> int:
    from nes2net.scoring.judged import Failed

    is_table = not json_ and not csv
    if is_table:
        say(*_comments(predictions.notes), table.head)
    print_answer = _printer(table, json_, csv)
    # Print the rows and write the files. A terminal gets no progress display, because the rows show the progress there.
    failed = 0
    for answer in ProgressDisplay(
        predictions.rows, title="scoring", unit="file", total=predictions.count, shown=not standard_output().isatty()
    ):
        failed += isinstance(answer, Failed)
        write(answer)
        print_answer(answer)
    if is_table:
        say(*_comments(predictions.meaning), *advice)
    return failed


def _check_judgement(judgement: Judgement[Any], stretches: Stretches, csv_without_score: bool) -> None:
    for flag in non_defaults(stretches):
        if not judgement.has_frames:
            raise InputError(f"--{flag} is only for fake stretches: add --judgement frames, or remove it")
    if csv_without_score:
        raise InputError(f"--csv is only for scores and decisions, not for {judgement.what}: use --json")


def _comments(sentences: Iterable[str]) -> list[str]:
    return [f"# {with_flag_names(sentence)}" for sentence in sentences]


def _printer(table: _Table, json_: bool, csv: bool) -> Callable[[AnyAnswer[Any]], None]:
    from nes2net.actions.prediction import COLUMNS, as_columns

    if json_:
        return lambda answer: print_output(json.dumps(answer.to_row()))
    if not csv:
        return lambda answer: print_output("\n".join(table.lines(answer)))
    writer = DictWriter(standard_output(), COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()

    def print_row(answer: AnyAnswer[Any]) -> None:
        writer.writerow({name: as_cell(value) for name, value in as_columns(answer.to_row()).items()})
        standard_output().flush()

    return print_row


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


class _Table:
    def __init__(self, paths: Iterable[Path], channel: object, columns: Sequence[str], shows_windows: bool) -> None:
        longest_name = max(len(printable_name(file)) for file in paths)
        if channel != "mix":
            longest_name += len(_channel_suffix(0))
        self.columns = columns
        self.widths = [longest_name, *(_WIDTHS[name] for name in columns), 0]  # 0 for any width
        self.head = table_line(["file", *columns], self.widths)
        self.shows_windows = shows_windows

    def lines(self, answer: AnyAnswer[Any]) -> Iterator[str]:
        from nes2net.scoring.judged import Failed, names_of

        align = "l" + "r" * len(self.columns) + "l"  # left or right
        names = names_of(answer.recording)
        name = printable_name(names["file"])
        if "channel" in names:
            name += _channel_suffix(names["channel"])
        if isinstance(answer, Failed):
            yield table_line([name, *self._cells({}), answer.words], self.widths, align)
            return
        yield table_line([name, *self._cells(answer.figures), answer.words], self.widths, align)
        for segment in answer.segments:
            times = f"{segment['start']:.2f} to {segment['end']:.2f} s"
            cells = self._cells({**segment, "duration": segment["end"] - segment["start"]})
            yield table_line([times, *cells], self.widths, "r")
        for finding in (*answer.facts.get("marks", ()), *answer.facts.get("evidence", ())):
            yield f"  - {printable_name(finding['finding'])}"
        if not self.shows_windows or answer.track is None or len(answer.track) == 1:
            return
        windows = answer.windows
        numbers = {"score": windows["scores"], "llr": windows.get("llrs"), "probability": windows.get("probabilities")}
        for number, time in enumerate(windows["times"]):
            window = {name: values[number] for name, values in numbers.items() if values is not None}
            yield table_line([f"at {time:.2f} s", *self._cells({"duration": "", **window})], self.widths, "r")

    def _cells(self, figures: Facts) -> list[str]:
        cells = []
        for name in self.columns:
            value = figures.get(name)
            if isinstance(value, float):
                value = f"{value:.2f} s" if name == "duration" else f"{value:.4f}"
            cells.append("–" if value is None else value)
        return cells
