"""Compare new recordings with those of a calibration, to see whether it still holds.

For Python programs, as `nes2net calibrate drift`; the tests are in
:mod:`nes2net.scoring.decisions.usual`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.files import expand_folders
from nes2net.data.audio.remarks import Remark
from nes2net.evaluation.result import Result
from nes2net.evaluation.tables import Figure, Measure, Row, Table
from nes2net.lib.errors import InputError, check_setting, pluralise
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.storage.files import AnyPath
from nes2net.metrics import wilson_interval
from nes2net.scoring.decisions.calibration import LinearCalibration
from nes2net.scoring.decisions.decision import CANNOT_TELL, Decider
from nes2net.scoring.decisions.usual import DriftTest, compare, holm, trait_values, usual_of
from nes2net.scoring.judged import AnyAnswer, Failed
from nes2net.scoring.judging import Judge, JudgingSettings
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.waveforms import RecordingToJudge

#: Length of the periods in which recordings are counted. A recording belongs to the period in which its file was last
#: changed.
By = Literal["day", "week", "none"]
#: Default of ``alpha``: the largest probability that drift is found although there is none.
ALPHA = 0.01

# The columns of figures in the three tables of :attr:`Drift.result`.
_COMPARED = (
    Measure("outside", "outside %", digits=1),
    Measure("expected", "expected %", digits=1),
    Measure("limit", "drift from %", digits=1),
    Measure("p", "p", "p-value"),
    Measure("adjusted_p", "p, Holm", "p-value"),
)
_SHARES = (Measure("number", "recordings", "count"), Measure("share", "share %", digits=1))
_OVER_TIME = (
    Measure("number", "recordings", "count"),
    Measure("llr", "mean llr", "score", digits=3),
    Measure("outside", "llr outside %", digits=1),
    Measure("unusual", "unusual %", digits=1),
    Measure("cannot_tell", "cannot tell %", digits=1),
)


@dataclass(frozen=True)
class NewRecording:
    """A new recording with its score, decision and traits."""

    path: Path
    modified: datetime
    """Last change of the file, in UTC."""
    score: float
    decision: str
    """``"bonafide"``, ``"spoof"`` or ``"cannot tell"``, at the default operating point."""
    remark: Remark
    values: dict[str, float]
    """Trait (:class:`UsualValues`), such as ``"llr"`` or ``"level"`` → value."""

    def row(self) -> dict[str, object]:
        """Return plain data for JSON."""
        return {
            # Users' programs read these keys.
            "file": str(self.path),
            "modified": self.modified.isoformat(timespec="seconds"),
            "score": self.score,
            "decision": self.decision,
            "remark": self.remark.text,
            "remark_kinds": list(self.remark.by_kind),
            **self.values,
        }


@dataclass(frozen=True)
class Drift:
    """The outcome of :func:`measure_drift`."""

    recordings: list[NewRecording]
    comparisons: list[DriftTest]
    failures: dict[str, str]
    """File → reason."""
    alpha: float
    """Probability that any test finds drift if there is none."""
    by: By
    """Period in which recordings are counted."""
    basis: list[str]
    """Sentences about the calibration, printed above the tables."""
    notes: list[str]
    """What makes decisions uncertain."""

    @property
    def num_needed(self) -> int:
        """Smallest number of recordings that can show drift at ``alpha``."""
        return min(comparison.num_needed for comparison in self.comparisons)

    @property
    def found(self) -> list[DriftTest]:
        """Comparisons that found drift, by p-values with Holm's adjustment for the number of tests."""
        return [comparison for comparison in self.comparisons if comparison.adjusted_p <= self.alpha]

    @property
    def too_few(self) -> str:
        """Warns if a test has too few recordings to find drift; else empty."""
        number = len(self.recordings)
        start = f"{pluralise(number, 'recording is', 'recordings are')} too few to show drift"
        if number < self.num_needed:
            return (
                f"{start} at `alpha` {self.alpha:g}: use at least {self.num_needed}, which show it if they are all "
                "outside of one range"
            )
        powerless = [comparison for comparison in self.comparisons if comparison.is_powerless]
        if not powerless:
            return ""
        num_needed = max(comparison.num_needed for comparison in powerless)
        names = ", ".join(comparison.name for comparison in powerless)
        return f"{start} of {names} at `alpha` {self.alpha:g}, even if all are outside: use at least {num_needed}"

    @property
    def shifts(self) -> list[str]:
        """Sentences on traits that mostly lie on one side of the calibration's median, without drift.

        A shift is no drift: a changed share of spoofed recordings moves the median, too.
        """
        shifted = []  # (comparison, shift)
        for comparison in self.comparisons:
            shift = comparison.usual.shift(comparison.values)
            if shift is not None:
                shifted.append((comparison, shift))
        sentences = []
        for (comparison, shift), adjusted_p in zip(shifted, holm([shift.p_value for _, shift in shifted])):
            if adjusted_p <= self.alpha and comparison.adjusted_p > self.alpha:
                sentences.append(
                    f"{comparison.name}: {100 * shift.share:.0f} % of the recordings lie {shift.side} the calibration's "
                    f"median, {comparison.median_before}: a shift within the usual range, or another share of spoofed "
                    "recordings"
                )
        return sentences

    def periods(self) -> dict[str, list[NewRecording]]:
        """Day or ISO week in UTC → recordings by time; empty if ``by`` is ``"none"``."""
        periods: dict[str, list[NewRecording]] = {}
        if self.by == "none":
            return periods
        for recording in sorted(self.recordings, key=lambda recording: recording.modified):
            name = recording.modified.strftime("%Y-%m-%d" if self.by == "day" else "%G-W%V")
            periods.setdefault(name, []).append(recording)
        return periods

    @cached_property
    def result(self) -> Result:
        """Verdict, tables, facts and notes, and in the JSON a row for each recording."""
        number = len(self.recordings)
        verdict = [f"drift: {comparison.in_words}" for comparison in self.found]
        cannot_tell = sum(recording.decision == CANNOT_TELL for recording in self.recordings)
        lines = [
            *(verdict or ["too few to tell" if self.too_few else "no drift was found"]),
            f"{pluralise(number, 'recording')}, compared by {pluralise(self.comparisons, 'test')}, which find drift in at "
            f"most {100 * self.alpha:g} % of cases without any",
            f"cannot tell: {cannot_tell} of them ({100 * cannot_tell / number:.1f} %)",
            *self.basis,
        ]
        # Users' programs read these keys.
        header = {
            "alpha": self.alpha,
            "drift": [comparison.name for comparison in self.found],
            "too_few_for": [comparison.name for comparison in self.comparisons if comparison.is_powerless],
            "num_recordings": number,
            "num_needed": self.num_needed,
            "cannot_tell": cannot_tell / number,
            "failures": self.failures,
        }
        rows = [_table_row(comparison) for comparison in self.comparisons]
        caption = "Recordings outside of the calibration's usual ranges:"
        note = (
            "expected: by chance, with as many recordings as the calibration has; drift from: the smallest share that is "
            "drift"
        )
        tables = [Table("compared", caption, _COMPARED, rows, notes=[note]), self._remarks_table()]
        if self.by != "none":
            tables.append(self._periods_table())
        return Result(
            "Drift",
            header,
            lines,
            tables,
            [*self.notes, *self.shifts],
            list(filter(None, [self.too_few])),
            curves=lambda: {"recordings": [recording.row() for recording in self.recordings]},
        )

    def _remarks_table(self) -> Table:
        counts: Counter[str] = Counter()
        for recording in self.recordings:
            counts.update(list(recording.remark.by_kind))
        rows = []
        for kind, number in counts.most_common():
            figures = {"number": Figure(number), "share": Figure(number / len(self.recordings))}
            rows.append(Row({"remark": kind}, figures))
        return Table("remarks", "Remarks on recordings:" if rows else "No remarks on recordings.", _SHARES, rows)

    def _periods_table(self) -> Table:
        usual = {comparison.name: comparison.usual for comparison in self.comparisons}
        rows = []
        for period, recordings in self.periods().items():
            undecided = sum(recording.decision == CANNOT_TELL for recording in recordings)
            figures = {"number": Figure(len(recordings)), "cannot_tell": Figure(undecided / len(recordings))}
            for name, column in (("llr", "outside"), ("all traits", "unusual")):
                values = values_of(recordings, name)
                if name in usual and len(values):
                    figures[column] = Figure(float(usual[name].is_outside(values).mean()))
            if "llr" in usual:
                figures["llr"] = Figure(float(values_of(recordings, "llr").mean()))
            rows.append(Row({self.by: period}, figures))
        return Table("over time", "By the time at which files were last changed, UTC:", _OVER_TIME, rows)


def measure_drift(
    detector: Scorer,
    calibration: LinearCalibration,
    files: Iterable[AnyPath],
    *,
    alpha: float = ALPHA,
    by: By = "day",
    batch_size: int | None = None,
    workers: int | None = None,
) -> Drift:
    """Score and measure new recordings, and compare them with those of a calibration.

    Scores as many samples as the calibration. If it is of whole recordings, a recording of more
    than two minutes fails. Unfit recordings, such as silence, count. Failures are in :attr:`Drift.failures`.

    Args:
        files: audio files, or folders to search.
        alpha: probability that any test finds drift if there is none.
        by: period of counts.
        batch_size, workers: as for :func:`nes2net.scoring.files.judge_files`.

    Raises:
        InputError: if ``alpha`` is not between 0 and 1; if the calibration is of another detector,
            a fusion, of frames, or holds nothing to compare; if a folder has no audio files; or if
            no recording can be compared.
    """
    check_setting("alpha", alpha, 0 < alpha < 1, "between 0 and 1")
    decider = Decider(calibration)
    judge: Judge[float] = Judge(detector, "scores", decider, JudgingSettings(batch_size=batch_size, workers=workers))
    all_usual = usual_of(calibration)
    paths = list(dict.fromkeys(expand_folders(map(str, files))))
    recordings = []
    failures: dict[str, str] = {}
    for answer in ProgressDisplay(
        judge.answers(map(RecordingToJudge.of, paths)), title="scoring", unit="file", total=len(paths)
    ):
        recording = _to_new_recording(answer, calibration)
        if isinstance(recording, str):
            failures[str(answer.path)] = recording
        else:
            recordings.append(recording)
    if not recordings:
        raise InputError(
            f"none of {pluralise(paths, 'file')} could be compared: name other recordings; {paths[0]}: {failures[str(paths[0])]}"
        )
    comparisons = compare(all_usual, {usual.name: values_of(recordings, usual.name) for usual in all_usual}, alpha)
    basis = decider.describe()
    if not calibration.genuine:
        del basis[:2]  # sentences on decision and probability
    return Drift(recordings, comparisons, failures, alpha, by, basis, judge.doubts)


def _to_new_recording(answer: AnyAnswer[float], calibration: LinearCalibration) -> NewRecording | str:
    """Return a reason if the recording cannot be compared."""
    if isinstance(answer, Failed):
        return answer.error.reason
    if answer.is_mean:
        return "is too long for a calibration of whole recordings"
    assert answer.traits is not None and answer.decision is not None
    try:
        modified = datetime.fromtimestamp(os.stat(answer.path).st_mtime, timezone.utc)
    except (OSError, OverflowError, ValueError) as error:
        return f"the time of its last change cannot be read ({error})"
    return NewRecording(
        answer.path,
        modified,
        answer.value,
        answer.decision.decision,
        answer.remark,
        trait_values(calibration, answer.value, answer.traits),
    )


def values_of(recordings: Sequence[NewRecording], name: str) -> NDArray:
    """Collect the values (n,) of the n recordings that have the trait ``name``, such as ``"level"``."""
    return np.array([recording.values[name] for recording in recordings if name in recording.values])


def _table_row(comparison: DriftTest) -> Row:
    number = len(comparison.values)
    # Drift is found if at least this share of the recordings lies outside of the usual range.
    limit = None if comparison.is_powerless else comparison.fewest / number
    figures = {
        "outside": Figure(comparison.outside, wilson_interval(comparison.outside, number)),
        "expected": Figure(comparison.usual.expected),
        "limit": Figure(limit),
        "p": Figure(comparison.p_value),
        "adjusted_p": Figure(comparison.adjusted_p),
    }
    labels = {
        "trait": comparison.name,
        "usual": comparison.usual.in_words,
        "median before": comparison.median_before,
        "median": comparison.median,
    }
    return Row(labels, figures)
