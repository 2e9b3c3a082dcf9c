"""Compare new recordings with the recordings of a calibration, to see whether the calibration still holds.

Python programs can do here what `nes2net calibrate drift` does.
:mod:`nes2net.scoring.decisions.usual` has the statistical tests.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.files import with_folders_listed
from nes2net.data.audio.remarks import Remark
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.evaluation.judgements import Scores
from nes2net.evaluation.result import Result
from nes2net.evaluation.tables import Figure, Measure, Row, Table
from nes2net.lib.errors import InputError, counted
from nes2net.lib.progress import ProgressDisplay
from nes2net.metrics import wilson_interval
from nes2net.scoring.calibrated import calibrated_samples, notes_on
from nes2net.scoring.decisions.calibration import LinearCalibration
from nes2net.scoring.decisions.decision import CANNOT_TELL, Decider
from nes2net.scoring.decisions.usual import Comparison, UsualValues, compare, holm, usual_of
from nes2net.scoring.files import JudgedFile, judge_files
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.track import LONG_RECORDING

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
    """When the file was last changed, in UTC."""
    score: float
    decision: str
    """``"bonafide"``, ``"spoof"`` or ``"cannot tell"``, at the default operating point."""
    remark: Remark
    values: dict[str, float]
    """Name of a trait that has a usual range (:class:`UsualValues`), such as ``"llr"`` or ``"level"`` →
    the value of this recording."""

    def row(self) -> dict[str, Any]:
        """Return the recording as plain data for JSON."""
        return {
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
    comparisons: list[Comparison]
    failures: dict[str, str]
    """File → the reason why the file could not be compared."""
    alpha: float
    """Largest probability that at least one test finds drift although there is none."""
    by: By
    """Length of the periods in which recordings are counted."""
    basis: list[str]
    """Lines that describe the calibration, printed above the tables."""
    notes: list[str]
    """Sentences on what makes the decisions uncertain."""

    @property
    def num_needed(self) -> int:
        """The smallest number of recordings with which a test can find drift at ``alpha``."""
        return min(comparison.num_needed for comparison in self.comparisons)

    @property
    def found(self) -> list[Comparison]:
        """The comparisons that found drift; empty if no comparison found drift."""
        return [comparison for comparison in self.comparisons if comparison.adjusted_p <= self.alpha]

    @property
    def too_few(self) -> str:
        """A warning if there are too few recordings for one of the tests to find drift; otherwise empty."""
        number = len(self.recordings)
        start = f"{counted(number, 'recording is', 'recordings are')} too few to show drift"
        if number < self.num_needed:
            return (
                f"{start} at `alpha` {self.alpha:g}: give at least {self.num_needed}, which show it if they are all "
                "outside of one range"
            )
        powerless = [comparison for comparison in self.comparisons if comparison.is_powerless]
        if not powerless:
            return ""
        num_needed = max(comparison.num_needed for comparison in powerless)
        names = ", ".join(comparison.name for comparison in powerless)
        return f"{start} of {names} at `alpha` {self.alpha:g}, even if all are outside: give at least {num_needed}"

    @property
    def shifts(self) -> list[str]:
        """Sentences on the traits that have shifted without drift.

        A trait has shifted if the new recordings lie mostly on one side of the median of the
        calibration's recordings. A shift alone is no drift, because the median also moves if the
        share of spoofed recordings changes.
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
        """Group the recordings by day or by ISO week, in UTC: name of the period → recordings, sorted by time.

        The result is empty if ``by`` is ``"none"``.
        """
        periods: dict[str, list[NewRecording]] = {}
        if self.by == "none":
            return periods
        for recording in sorted(self.recordings, key=lambda recording: recording.modified):
            name = recording.modified.strftime("%Y-%m-%d" if self.by == "day" else "%G-W%V")
            periods.setdefault(name, []).append(recording)
        return periods

    @cached_property
    def result(self) -> Result:
        """All results, ready to be printed or written to files: verdict, tables, facts and notes.

        The JSON also has a row for each recording.
        """
        # Compose the lines that stand above the tables.
        number = len(self.recordings)
        verdict = [f"drift: {comparison.in_words}" for comparison in self.found]
        if not verdict:
            verdict = ["too few to tell" if self.too_few else "no drift was found"]
        cannot_tell = sum(recording.decision == CANNOT_TELL for recording in self.recordings)
        lines = [
            *verdict,
            f"{counted(number, 'recording')}, compared by {counted(len(self.comparisons), 'test')}, which find drift in at "
            f"most {100 * self.alpha:g} % of cases without any",
            f"cannot tell: {cannot_tell} of them ({100 * cannot_tell / number:.1f} %)",
            *self.basis,
        ]
        # Collect facts for the JSON, and make the tables.
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
        caption = "Recordings outside of the ranges that hold 95 % of the calibration's recordings:"
        note = (
            "expected: by chance, with as many recordings as the calibration has; drift from: the smallest share that is "
            "drift"
        )
        tables = [Table("compared", caption, _COMPARED, rows, notes=[note]), self._remarks_table()]
        if self.by != "none":
            tables.append(self._periods_table())
        warnings = list(filter(None, [self.too_few]))
        return Result(
            "Drift",
            header,
            lines,
            tables,
            [*self.notes, *self.shifts],
            warnings,
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
            is_undecided = [recording.decision == CANNOT_TELL for recording in recordings]
            figures = {"number": Figure(len(recordings)), "cannot_tell": Figure(float(np.mean(is_undecided)))}
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
    files: Iterable[str | Path],
    *,
    alpha: float = ALPHA,
    by: By = "day",
    batch_size: int | None = None,
    workers: int | None = None,
) -> Drift:
    """Score and measure new recordings, and compare the new recordings with the recordings of a calibration.

    The number of samples to score is the same as for the calibration. If the calibration was
    learned from whole recordings, a recording of more than two minutes fails. Recordings unfit for
    a decision, such as silence, are also compared, because the calibration was learned from such
    recordings, too. A recording that cannot be scored is listed in :attr:`Drift.failures`.

    Args:
        files: audio files, and folders, which are searched for audio files.
        alpha: largest probability of a false alarm. In a false alarm, at least one test finds drift
            although the new recordings are like the recordings of the calibration.
        by: length of the periods in which recordings are counted; ``"none"`` for no periods.
        batch_size, workers: as for :func:`nes2net.scoring.files.judge_files`.

    Raises:
        InputError: if ``alpha`` is not between 0 and 1; if the calibration belongs to another
            detector, fuses several systems, was learned from frames, or holds nothing to compare
            with; if a folder has no audio files; or if no recording can be compared.
    """
    if not 0 < alpha < 1:
        raise InputError(f"`alpha` lies between 0 and 1, not at {alpha:g}")
    # Choose how much of each recording to score, and read the usual ranges from the calibration.
    decider = Decider(calibration)
    num_samples = calibrated_samples(decider, detector.provenance).num_samples
    notes = notes_on(detector, decider, num_samples)
    all_usual = usual_of(calibration)
    longest = round(LONG_RECORDING * SAMPLE_RATE) if num_samples is None else None
    # Score and measure the recordings.
    paths = list(dict.fromkeys(with_folders_listed(map(str, files))))
    judged = judge_files(
        detector,
        Scores(),
        paths,
        num_samples,
        batch_size=batch_size,
        workers=workers,
        longest=longest,
        measurer=Measurer.of(detector, decider),
    )
    recordings = []
    failures: dict[str, str] = {}
    for file in ProgressDisplay(judged, title="scoring", unit="file", total=len(paths)):
        try:
            recordings.append(_new_recording(file, decider, all_usual))
        except InputError as error:
            failures[str(file.path)] = error.reason
    if not recordings:
        raise InputError(
            f"none of {counted(len(paths), 'file')} could be compared; {paths[0]}: {failures[str(paths[0])]}"
        )
    # Test each trait.
    values = {usual.name: values_of(recordings, usual.name) for usual in all_usual}
    comparisons = compare(all_usual, values, alpha)
    return Drift(recordings, comparisons, failures, alpha, by, decider.described()[2:], notes)


def _new_recording(file: JudgedFile[float], decider: Decider, all_usual: Sequence[UsualValues]) -> NewRecording:
    """Collect the values of a judged file; raise InputError if it could not be scored, or was removed meanwhile."""
    if isinstance(file.result, InputError):
        raise file.result
    path = Path(str(file.path))
    assert file.traits is not None  # `measure_drift` asks for traits
    try:
        modified = datetime.fromtimestamp(os.stat(path).st_mtime, timezone.utc)
    except (OSError, OverflowError, ValueError) as error:
        raise InputError(f"the time of its last change cannot be read ({error})", subject=str(path)) from error
    values = {}
    for usual in all_usual:
        value = usual.value_of(file.result, file.traits)
        if value is not None:
            values[usual.name] = value
    decision = decider(file.result, file.traits).decision
    return NewRecording(path, modified, file.result, decision, file.remark, values)


def values_of(recordings: Sequence[NewRecording], name: str) -> NDArray:
    """Collect the values (n,) of the trait ``name`` from the n ``recordings`` that have this trait."""
    return np.array([recording.values[name] for recording in recordings if name in recording.values])


def _table_row(comparison: Comparison) -> Row:
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
    labels = {"trait": comparison.name, "usual": comparison.usual.in_words, "median before": comparison.median_before}
    return Row({**labels, "median": comparison.median}, figures)
