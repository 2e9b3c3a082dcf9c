"""Judge audio files with a detector: scores, windows along files, fake stretches, or any other judgement.

Python programs can do here what `nes2net predict` does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nes2net.data.audio.files import with_folders_listed
from nes2net.data.audio.packed import AnyRecording, ChannelOf
from nes2net.data.audio.read import count_channels, count_samples
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.evaluation.origin import training_in_words
from nes2net.lib.errors import InputError, worded
from nes2net.lib.files import AnyPath
from nes2net.lib.progress import ProgressDisplay
from nes2net.lib.terminal import printable_name, say
from nes2net.lib.times import readable_duration
from nes2net.scoring.decisions.along import Cutoff
from nes2net.scoring.decisions.decision import Decider
from nes2net.scoring.judged import Failed, Judged
from nes2net.scoring.judgement import Judgement
from nes2net.scoring.judging import Judge, JudgingSettings
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.stream import Along
from nes2net.scoring.waveforms import Source


@dataclass(frozen=True)
class Predictions:
    """The outcome of :func:`predict`."""

    notes: list[str]
    """Sentences that say how the recordings are judged."""
    meaning: list[str]
    """Sentences on the detector, and on the meaning of the answers and decisions."""
    rows: Iterator[Judged[Any] | Failed]
    """An answer for each recording or channel, in order. The iterator computes an answer only when
    the caller takes it."""
    count: int
    """Number of rows."""


def predict(
    detector: Scorer,
    files: Iterable[AnyPath],
    judgement: str | Mapping[str, Any] | Judgement[Any] = "scores",
    *,
    channel: int | Literal["mix", "each"] = "mix",
    decider: Decider | Cutoff | None = None,
    calibration: AnyPath = "",
    settings: JudgingSettings | None = None,
    first: Predictions | None = None,
) -> Predictions:
    """Judge audio files of any format. If a file cannot be judged, its row states the reason.

    Args:
        files: audio files, and folders, which are searched for audio files.
        judgement: what to find out about each recording, as for :class:`nes2net.scoring.judging.Judge`:
            one score, ``"frames"`` for fake stretches, ``"classes"``, or another one.
        channel: what is judged in a recording with several channels. ``"mix"`` is the mean of the
            channels. A number chooses a single channel, counted from 0. With ``"each"``, every
            channel is judged and has its own row.
        decider: decides on scores, by a calibration or a threshold; None to decide nothing.
        calibration: path of the file of the calibration in ``decider``; the rows state this path.
        first: what a detector of fakes says of the same recordings, which is told first.

    Raises:
        InputError: if a folder has no audio files; for the reasons of :class:`Judge`; or if the
            settings choose windows, but no recording is scored by windows.
    """
    judge = Judge(detector, judgement, decider, settings, progress_of)
    recordings: list[AnyRecording] = []
    for path in with_folders_listed(map(str, files)):
        recordings += _recordings_of(path, channel)
    _check_windows_are_used(judge, recordings)
    described = training_in_words(detector.provenance)
    meaning = [f"detector: {described}"] if described else []
    if model := detector.provenance.published:
        meaning += model[1].notes
    meaning += [*judge.meaning, *judge.doubts]
    if calibration:
        judge.facts["calibration"] = str(calibration)
    notes = judge.notes
    if notes and judge.judgement.is_score:
        advice = "`score_track` scores all of a file along its time, `num_samples=None` in one piece"
        notes = [f"{note}; {advice}" for note in notes]
    rows = map(partial(_said, judge), judge.answers(map(Source.of, recordings)))
    if first is not None:
        meaning += first.meaning
        rows = map(_with_first, first.rows, rows)
    return Predictions(notes, meaning, rows, len(recordings))


#: The columns of a table of predictions, in order. A table leaves out a column for which no row has a value.
COLUMNS = (
    *("file", "channel", "score", "duration", "llr", "probability", "decision", "reason", "p_value", "judged"),
    *("rests_on", "stretch_start", "stretch_end", "shortest_found", "score_of", "decided_by", "remark", "error"),
)


def as_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """Arrange the row of an answer for a table: column → value. Columns without a value are left out.

    If windows along the recording made the decision, the row also has the columns ``rests_on`` and
    ``shortest_found``. The columns ``stretch_start`` and ``stretch_end`` say where the stretch with
    the most evidence against bona fide lies. These columns are present only if bona fide recordings
    rarely have a stretch with as much evidence.
    """
    along = row.get("along", {})
    columns = {**row, **{name: along.get(name) for name in ("rests_on", "shortest_found")}}
    stretch = along.get("stretch", {})
    if stretch.get("stands_out"):
        columns |= {"stretch_start": stretch["start"], "stretch_end": stretch["end"]}
    return {name: columns[name] for name in COLUMNS if name in row or columns.get(name) is not None}


def _recordings_of(path: Path, channel: int | Literal["mix", "each"]) -> list[AnyRecording]:
    if channel == "mix":
        return [path]
    if channel == "each":
        try:
            count = count_channels(path)
        except InputError:  # the error is reported when the file is judged
            return [path]
        if count == 1:
            return [path]
        return [ChannelOf(path, number) for number in range(count)]
    return [ChannelOf(path, channel)]


def _check_windows_are_used(judge: Judge[Any], recordings: Iterable[AnyRecording]) -> None:
    if judge.settings.along == Along() or judge.settings.track:
        return
    longest = judge.longest
    if judge.num_samples is None and longest is not None:
        if any(_is_longer(recording, longest) for recording in recordings):
            return
    raise InputError(
        "`window` and `hop` would change nothing: no recording is scored along its time; add `track` for scores along each "
        "one, or leave them out"
    )


def _is_longer(recording: AnyRecording, longest: int) -> bool:
    try:
        return count_samples(recording) > longest
    except InputError:
        return False


def _said(judge: Judge[Any], answer: Judged[Any] | Failed) -> Judged[Any] | Failed:
    """Say on standard error how to judge all of a recording, if the detector reads only a part, or a mean was judged."""
    if isinstance(answer, Failed) or answer.shows_track:
        return answer
    name = _display_name(answer.recording)
    if answer.samples is not None and answer.samples != judge.num_samples:
        seconds = answer.samples / SAMPLE_RATE
        say(
            f"{name}: the detector reads the first {seconds:g} s alone; {worded('`score_track`')} scores all of it",
            file=sys.stderr,
        )
    elif answer.is_mean and answer.track is not None:
        say(
            f"{name} lasts {readable_duration(answer.duration, exact=True)}: its score is the mean over windows of "
            f"{answer.track.window:.3g} s, one every {answer.hop:.3g} s; "
            + worded("`num_samples=N` scores the beginning alone, `num_samples=None` all of it in one piece"),
            file=sys.stderr,
        )
    return answer


def _with_first(first: Judged[Any] | Failed, answer: Judged[Any] | Failed) -> Judged[Any] | Failed:
    return answer if isinstance(answer, Failed) else replace(answer, first=first)


def _display_name(source: AnyRecording | Source) -> str:
    return printable_name(Path(str(source)).name)


@contextmanager
def progress_of(source: Source, duration: float, hop: float) -> Iterator[Callable[[float], object]]:
    """Show the progress of judging ``source`` in seconds."""
    advice = f"a `hop` above {hop:.3g} s takes less" if hop else ""
    with ProgressDisplay[None](
        title=_display_name(source), unit="second", total=round(duration), advice=advice, delay=1
    ) as display:
        yield lambda seconds: display.update(round(seconds) - display.done)
