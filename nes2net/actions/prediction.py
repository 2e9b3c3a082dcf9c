"""Judge audio files: scores, windows along files, fake stretches, or any other judgement.

For Python programs, as `nes2net predict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nes2net.data.audio.files import expand_folders
from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.parts import choose
from nes2net.data.audio.read import AudioFile, count_samples
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.evaluation.origin import training_in_words
from nes2net.lib.errors import InputError
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import printable_name, say_aside
from nes2net.lib.output.times import readable_duration
from nes2net.lib.storage.files import AnyPath
from nes2net.scoring.claimed import AnyDecider
from nes2net.scoring.judged import AnyAnswer, Failed
from nes2net.scoring.judgement import AnyJudgement
from nes2net.scoring.judging import Judge, JudgingSettings
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.stream import Along, SecondsDone
from nes2net.scoring.waveforms import RecordingToJudge


@dataclass(frozen=True)
class Predictions:
    """The outcome of :func:`predict`."""

    notes: list[str]
    """Which part of a recording is judged; printed before the rows."""
    meaning: list[str]
    """The detector, and what answers and decisions mean; printed after the rows."""
    rows: Iterator[AnyAnswer[Any]]
    """An answer for each recording or channel, computed when it is requested."""
    count: int
    """Number of rows."""


def predict(
    detector: Scorer,
    files: Iterable[AnyPath],
    judgement: AnyJudgement[Any] = "scores",
    *,
    channel: int | Literal["mix", "each"] = "mix",
    audio_track: int = 0,
    decider: AnyDecider | None = None,
    calibration: AnyPath = "",
    settings: JudgingSettings | None = None,
    first: Predictions | None = None,
) -> Predictions:
    """Judge audio files of any format; rows of failed files state the reason.

    Args:
        files: audio files, or folders to search.
        judgement: as for :class:`nes2net.scoring.judging.Judge`, such as ``"frames"`` for fake
            stretches.
        channel: ``"mix"`` for the mean, a number from 0, or ``"each"`` for a row per channel.
        audio_track: of a file with several, from 0.
        decider: a calibration or threshold; None to decide nothing.
        calibration: path of the calibration, stated in rows.
        first: answers of a detector of fakes about the same files; each row shows them first.

    Raises:
        InputError: if a folder has no audio files; as :class:`Judge`; or if windows are chosen, but
            no recording is scored by windows.
    """
    judge = Judge(detector, judgement, decider, settings, progress_of)
    recordings: list[AnyRecording] = []
    for path in expand_folders(map(str, files)):
        recordings += _recordings_of(choose(path, None, audio_track), channel)
    _check_windows_are_used(judge, recordings)
    described = training_in_words(detector.provenance)
    meaning = [f"detector: {described}"] if described else []
    if detector.provenance.published:
        _, published_model = detector.provenance.published
        meaning += published_model.notes
    meaning += [*judge.meaning, *judge.doubts]
    if calibration:
        judge.facts["calibration"] = str(calibration)
    notes = judge.notes
    if notes and judge.judgement.is_score:
        advice = "`score_track` scores all of a file along its time, `num_samples=None` in one piece"
        notes = [f"{note}; {advice}" for note in notes]
    rows = map(partial(_print_if_partial, judge), judge.answers(map(RecordingToJudge.of, recordings)))
    if first is not None:
        meaning += first.meaning
        rows = map(_attach_first, first.rows, rows)
    return Predictions(notes, meaning, rows, len(recordings))


#: The columns of a table of predictions, in order. A table omits a column for which no row has a value.
COLUMNS = (
    "file",
    "channel",
    "score",
    "duration",
    "llr",
    "probability",
    "decision",
    "reason",
    "p_value",
    "judged",
    "p_genuine",
    "unusual_share",
    "rests_on",
    "stretch_start",
    "stretch_end",
    "shortest_found",
    "score_of",
    "decided_by",
    "remark",
    "error",
)


def as_columns(row: Facts) -> dict[str, Any]:
    """Arrange a row (:meth:`Judged.to_row`) for a table: column → value, without empty columns.

    Of windows along the recording (key ``along``), adds ``rests_on`` and ``shortest_found``; if the evidence of a stretch is
    rare in bona fide recordings, also its ``stretch_start`` and ``stretch_end``.
    """
    along = row.get("along", {})
    columns = {**row, **{name: along.get(name) for name in ("rests_on", "shortest_found")}}
    stretch = along.get("stretch", {})
    if stretch.get("stands_out"):
        columns |= {"stretch_start": stretch["start"], "stretch_end": stretch["end"]}
    cells = {}
    for name in COLUMNS:
        value = columns.get(name)
        if isinstance(value, list):
            value = "; ".join(value)
        if isinstance(value, str):
            value = printable_name(value)  # a program may print the table to a terminal
        if name in row or value is not None:
            cells[name] = value
    return cells


def _recordings_of(path: AnyRecording, channel: int | Literal["mix", "each"]) -> list[AnyRecording]:
    if channel == "mix":
        return [path]
    if channel != "each":
        return [choose(path, channel)]
    with suppress(InputError), AudioFile(path) as audio:  # an error is reported when the file is judged
        samples, _ = next(audio.blocks())  # (channels, N)
        if len(samples) > 1:
            return [choose(path, number) for number in range(len(samples))]
    return [path]


def _check_windows_are_used(judge: Judge[Any], recordings: Iterable[AnyRecording]) -> None:
    has_default_windows = judge.settings.along == Along()
    if has_default_windows or judge.settings.track:
        return
    longest = judge.longest  # longer recordings are scored by windows, unless the user chose a number of samples
    if judge.num_samples is None and longest is not None:
        if any(_is_longer(recording, longest) for recording in recordings):
            return
    raise InputError(
        "`window` and `hop` would change nothing, because no recording is scored along its time: add `track` to score "
        "along the time, or remove them"
    )


def _is_longer(recording: AnyRecording, num_samples: int) -> bool:
    try:
        return count_samples(recording) > num_samples
    except InputError:  # the error is reported when the file is judged
        return False


def _print_if_partial(judge: Judge[Any], answer: AnyAnswer[Any]) -> AnyAnswer[Any]:
    if isinstance(answer, Failed) or answer.shows_track:
        return answer
    name = _display_name(answer.recording)
    if answer.samples is not None and answer.samples != judge.num_samples:
        seconds = answer.samples / SAMPLE_RATE
        say_aside(f"{name}: the detector reads only the first {seconds:g} s; `score_track` scores all of it")
    elif answer.is_mean and answer.track is not None:
        say_aside(
            f"{name} lasts {readable_duration(answer.duration, exact=True)}: its score is the mean over windows of "
            f"{answer.track.window:.3g} s, one every {answer.hop:.3g} s; "
            "`num_samples=N` scores only the beginning, `num_samples=None` all of it in one piece"
        )
    return answer


def _attach_first(first: AnyAnswer[Any], answer: AnyAnswer[Any]) -> AnyAnswer[Any]:
    return answer if isinstance(answer, Failed) else replace(answer, first=first)


def _display_name(source: AnyRecording | RecordingToJudge) -> str:
    return printable_name(Path(str(source)).name)


@contextmanager
def progress_of(source: RecordingToJudge, duration: float, hop: float) -> Iterator[SecondsDone]:
    """Show the progress; yields a function of the seconds that are done. ``hop`` is 0 without windows."""
    advice = f"a `hop` above {hop:.3g} s takes less time" if hop else ""
    with ProgressDisplay[None](
        title=_display_name(source), unit="second", total=round(duration), advice=advice
    ) as display:
        yield lambda seconds: display.update(round(seconds) - display.done)
