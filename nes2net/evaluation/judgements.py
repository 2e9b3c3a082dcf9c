"""The judgements that can be evaluated: the score of a recording, the scores of its frames, and rows of numbers.

In reading order: ``LabelledScores``, from which a calibration is learned; ``Evaluable``;
``OfRecordings``, the base of ``Scores`` and of ``Rows``, from which other packages derive
judgements; ``Frames``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import BONAFIDE, Trial, Trials
from nes2net.evaluation.key import Labels
from nes2net.evaluation.labelled_frames import labelled_frames
from nes2net.evaluation.matching import labelled_trials, unlabelled_scores
from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.parts.contracts import PartCheck, blame_part
from nes2net.metrics.localisation.stretches import MIN_DURATION, StretchRule
from nes2net.scoring import score_file, segment_file
from nes2net.scoring.class_file import ClassTable, read_class_table
from nes2net.scoring.decisions.decision import Decider
from nes2net.scoring.judgement import Judgement, ScoreFile
from nes2net.scoring.registry import judgements
from nes2net.scoring.score_file import ScoreTable

if TYPE_CHECKING:
    from torch import Tensor

    from nes2net.evaluation.evaluation import Evaluation
    from nes2net.scoring.claimed import AnyDecider
    from nes2net.scoring.kernel import Scorer
    from nes2net.scoring.track import FrameScores
    from nes2net.scoring.waveforms import WaveformReader

T = TypeVar("T")


class LabelledScores(NamedTuple):
    """Scores of K systems on the same trials or frames, from which a calibration is learned."""

    trials: Trials
    """The trials whose recordings or frames have scores."""
    bonafide: NDArray
    """B×K float64."""
    spoof: NDArray
    """S×K float64."""
    unit: str
    """What has a score: ``"trials"``, or ``"frames of 20 ms"``."""
    facts: FactsDict
    """For the file of the calibration: SHA-256 of the labels, or length of a frame in ms."""
    resolution_ms: float | None = None
    """Length of a frame in ms; None for scores of recordings."""


class Evaluable(Judgement[T]):
    """A judgement whose files can be evaluated against labels."""

    @abstractmethod
    def evaluation(self) -> type[Evaluation[Any]]:
        """Return the class that evaluates a file for each system; its fields are the settings."""

    def read_labelled(
        self, labels: Labels, files: Sequence[ScoreFile], *, allow_partial: bool = False
    ) -> LabelledScores:
        """Read scores of both classes from which a calibration is learned; subclasses may add keywords.

        Args:
            files: a file for each system.
            allow_partial: omit trials with missing or unusable scores instead of raising.

        Raises:
            InputError: if files or labels cannot be read or do not fit, or no calibration can be
                learned from this judgement.
        """
        raise InputError(
            f"{files[0].path}: holds {self.what}, from which no calibration is learned: use a file of scores"
        )

    def check_settings(self, function: Callable[..., object], names: Iterable[str], path: Path) -> None:
        """Check that the settings ``names`` are parameters of ``function``.

        Raises:
            InputError: if a setting has no effect on the judgement of the file ``path``.
        """
        for name in names:
            if name not in signature(function).parameters:
                raise InputError(f"`{name}` has no effect on {self.what}, which {path} holds: remove it")


def evaluable(file: ScoreFile) -> Evaluable[Any]:
    """Return the judgement of a file.

    Raises:
        InputError: if it cannot be evaluated.
    """
    if not isinstance(file.judgement, Evaluable):
        raise InputError(f"{file.path}: holds {file.judgement.what}, which cannot be evaluated: use a file of scores")
    return file.judgement


class InLines(Evaluable[T]):
    """A judgement whose file is text. Lines begin with the id of an utterance, without spaces."""

    def check(self, trials: Trials, out: Path) -> None:
        score_file.check_ids(trial.id for trial in trials)

    @property
    def header(self) -> str:
        """The line before the first utterance, if any."""
        return ""

    @abstractmethod
    def lines(self, id: str, value: T) -> str:
        """Write the lines of an utterance."""

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, T]]) -> FactsDict:
        with open(files[0], "w", encoding="utf-8", newline="\n") as file:
            file.write(self.header)
            file.writelines(self.lines(trial.id, value) for trial, value in rows)
        return {}


class OfRecordings(InLines[T]):
    """A judgement with one score for each recording; evaluation and calibration use this score."""

    of_recordings = True

    def evaluation(self) -> type[Evaluation[Any]]:
        from nes2net.evaluation.evaluate import SystemEvaluation  # quick start-up: scoring does not need this module

        return SystemEvaluation

    def read_labelled(
        self, labels: Labels, files: Sequence[ScoreFile], *, allow_partial: bool = False
    ) -> LabelledScores:
        if not labels.keys:
            ids, scores = unlabelled_scores(files, allow_partial=allow_partial)
            return LabelledScores([Trial(id, label=BONAFIDE) for id in ids], scores, scores[:0], "trials", {})
        key = labels.read({})
        labelled = labelled_trials(key.trials, files, labels.phase, allow_partial=allow_partial)
        return LabelledScores(*labelled, "trials", {"key_sha256": key.digest})


@dataclass(frozen=True)
class Scores(OfRecordings[float]):
    """The judgement ``scores``: one score for each recording.

    A file has lines ``utterance score`` (:mod:`nes2net.scoring.score_file`).
    """

    name = "scores"
    doing = "scoring"
    done = "scored"
    what = "scores"
    is_score = of_batch = True

    def fit_to(self, scorer: Scorer) -> Self:
        """Check that ``scorer`` gives scores, and return this judgement.

        Raises:
            InputError: if the logits of ``scorer`` give no score.
        """
        from nes2net.models.network import Network  # quick start-up: reading files needs no torch

        if isinstance(scorer, Network):
            scorer.check_score()
        return self

    def start(
        self, scorer: Scorer, inputs: list[Tensor], *, stream: str | None = None, rows: int | None = None
    ) -> Callable[[], Sequence[float | str]]:
        from nes2net.scoring.kernel import start  # quick start-up: reading files needs no torch

        return start(scorer, *inputs, stream=stream, rows=rows)

    def identity(self) -> Facts:
        return {}

    def tell(self, value: float) -> Facts:
        return {"score": value}

    def in_words(self, told: Facts) -> str:
        return ""

    def meaning(self, scorer: Scorer) -> list[str]:
        return [_nature_of(scorer)]

    def scores(self, path: Path) -> ScoreTable:
        return score_file.read_score_table(path)

    def to_json(self, value: float) -> float:
        return float(value)

    def from_json(self, value: Any) -> float:
        """Check a score; raise ValueError if the entry of the journal is damaged."""
        if not isinstance(value, float) or not math.isfinite(value):
            raise ValueError(value)
        return value

    def read(self, out: Path) -> Iterable[tuple[str, float]]:
        return zip(*score_file.read_scores(out))

    def lines(self, id: str, value: float) -> str:
        return score_file.line(id, value)


class Rows(OfRecordings[NDArray]):
    """A judgement with a row of numbers for each recording; other packages derive their judgements from this class.

    A file is a table with tabs: ``utterance`` and the columns, then a line for each recording,
    exact in float32. A recording fails if its row has a number that is not finite.
    """

    doing = "judging"
    done = "judged"
    what = "rows"
    columns: Sequence[str]
    """One name for each number of a row."""

    def fit_to(self, scorer: Scorer) -> Self:
        """Return this judgement; check one of another package on two recordings, once per detector.

        Raises:
            BrokenPart: if the judgement breaks its contract.
        """
        if not judgements.is_built_in(self.name):
            from nes2net.models.contract_checks import check_computing  # quick start-up: this imports torch

            check_computing(judgements.subject(self.name), self, scorer)
        return self

    @abstractmethod
    def compute(self, scorer: Any, waveforms: Tensor) -> Tensor:
        """Compute the rows B×K for ``waveforms`` B×N, 16 kHz, in [−1, 1], on the detector's device.

        Args:
            scorer: in eval mode; usually a :class:`nes2net.detector.Detector`.
        """

    def score_of(self, rows: NDArray) -> NDArray:
        """Compute scores (N,) from ``rows`` N×K, higher for bona fide, for evaluation and calibration.

        Raises:
            InputError: always, unless a judgement overrides this method.
        """
        raise InputError(
            f"judgement '{self.name}' gives no score of a recording, so it cannot be evaluated or calibrated: use another"
        )

    def start(
        self, scorer: Scorer, inputs: list[Tensor], *, stream: str | None = None, rows: int | None = None
    ) -> Callable[[], Sequence[NDArray | str]]:
        from nes2net.scoring.kernel import start_rows  # quick start-up: reading files needs no torch

        what = f"rows of {self.subject or self.name} have {{}}"
        return start_rows(scorer, what, partial(self.checked_rows, scorer), *inputs, rows=rows)

    def checked_rows(self, scorer: Scorer, *inputs: Tensor) -> Tensor:
        """Call :meth:`compute`; raise :class:`BrokenPart` unless it returns B×K."""
        with blame_part(judgements.subject(self.name), "compute"):
            computed = self.compute(scorer, *inputs)
        shape = (len(inputs[0]), len(self.columns))
        why = " (a row for each recording and a column for each of 'columns')"
        PartCheck(judgements.subject(self.name)).shape("compute", computed, shape, why)
        return computed

    def decide_by(self, scorer: Scorer, decider: AnyDecider | None) -> Self:
        """Return the fitted judgement; raise InputError if ``decider`` is given, but :meth:`score_of` makes no scores."""
        judgement = super().decide_by(scorer, decider)
        if decider is not None:
            judgement.score_of(np.zeros((1, len(judgement.columns)), np.float32))
        return judgement

    def score_of_value(self, value: NDArray) -> float:
        return float(self.score_of(value[None])[0])

    def tell(self, value: NDArray) -> Facts:
        return dict(zip(self.columns, value.tolist(), strict=True))

    def scores(self, path: Path) -> ScoreTable:
        """Read a file of rows as the scores (N,) of :meth:`score_of`.

        Raises:
            InputError: if it is malformed, or the judgement has no scores.
        """
        table = self.table(path)
        return ScoreTable(table.ids, self.score_of(table.logits).astype(np.float64))

    def table(self, path: Path) -> ClassTable:
        """Read a file of rows.

        Raises:
            InputError: if the file is malformed, or has other columns than :attr:`columns`.
        """
        return read_class_table(path, self.columns)

    def to_json(self, value: NDArray) -> list[float]:
        return value.tolist()

    def from_json(self, value: Any) -> NDArray:
        """Read a row; raise ValueError if the entry of the journal is damaged."""
        return _finite_row(value, len(self.columns))

    def read(self, out: Path) -> Iterable[tuple[str, NDArray]]:
        table = self.table(out)
        return zip(table.ids, table.logits)

    @property
    def header(self) -> str:
        """The names of the columns."""
        return "\t".join(["utterance", *self.columns]) + "\n"

    def lines(self, id: str, value: NDArray) -> str:
        return "\t".join([id, *(f"{number:.9g}" for number in value.tolist())]) + "\n"


@dataclass(frozen=True)
class Frames(InLines[NDArray]):
    """The judgement ``frames``: a score for each frame of a recording.

    A file has a line for each frame (:mod:`nes2net.scoring.segment_file`). Recordings over 30 s are
    scored in windows (:func:`nes2net.scoring.track.frame_scores`). The options after
    ``resolution_ms`` change no score: they find fake stretches, see
    :meth:`nes2net.metrics.localisation.stretches.StretchRule.of`.

    Args:
        resolution_ms: length of a frame in ms; None for the length in the calibration or, without
            one, for the shortest frames of the detector.
        threshold: a fake stretch begins at a score of at most this value.
    """

    resolution_ms: float | None = None
    threshold: float | None = None
    hysteresis: float | None = None
    min_duration: float = MIN_DURATION

    name = "frames"
    doing = "scoring"
    done = "scored"
    what = "scores of frames"
    of_whole = of_batch = has_frames = True

    def fit_to(self, scorer: Scorer) -> Self:
        """Return this judgement; fill in the shortest frames of ``scorer`` if it has no length.

        Raises:
            InputError: if it does not score frames of the given length.
        """
        from nes2net.scoring.track import choose_resolution  # quick start-up: reading files needs no torch

        return replace(self, resolution_ms=choose_resolution(scorer, self.resolution_ms))

    def decide_by(self, scorer: Scorer, decider: AnyDecider | None) -> Self:
        """Return this judgement with its rule for fake stretches, at the threshold of ``decider``.

        Raises:
            InputError: if there are two thresholds, or none and ``scorer`` was not trained on
                segments; if a number is out of range; or if the calibration is of frames of another
                length, or has no score at its operating point.
        """
        threshold = self.threshold
        resolution_ms = self.resolution_ms
        if decider is not None:
            if threshold is not None:
                other = "the operating point of `calibration`" if isinstance(decider, Decider) else "`threshold`"
                raise InputError(
                    f"the threshold is given twice, by the judgement ({threshold:g}) and by {other}: remove one"
                )
            threshold = decider.threshold
        if isinstance(decider, Decider):
            if resolution_ms is None:
                resolution_ms = decider.calibration.resolution_ms
            if threshold is None:
                raise InputError(
                    f"the operating point {decider.point.name} is at no score of this calibration: use another "
                    "`operating_point`"
                )
        judgement = replace(self, resolution_ms=resolution_ms).fit_to(scorer)
        # Only detectors that were trained on segments have a default threshold for scores of frames.
        if threshold is None and not scorer.trained_on_segments:
            raise InputError(
                "this detector was trained on whole recordings, so the scores of its frames have no default threshold: "
                "add a `threshold` or a `calibration` of frame scores, use a detector that was trained on segments, or "
                "score along the time with `score_track`"
            )
        rule = StretchRule.of(scorer.score_rule, threshold, self.hysteresis, self.min_duration)
        return replace(judgement, **rule._asdict())

    def frames(self, value: NDArray, duration: float) -> FrameScores:
        from nes2net.scoring.track import FrameScores  # quick start-up: reading files needs no torch

        return FrameScores(value, self._resolution, duration, rule=self._rule)

    def reader(self, reader: WaveformReader) -> WaveformReader:
        """Return a reader that does not repeat short utterances.

        Raises:
            InputError: if ``reader`` crops, pads or transforms utterances.
        """
        if reader.num_samples is not None or reader.transform is not None or reader.padding != "repeat":
            raise InputError(
                "frames are scored in whole, unchanged utterances: remove `num_samples`, `padding` and the transform"
            )
        return replace(reader, min_samples=1)  # repeating an utterance would add frames after its end

    def start(
        self, scorer: Any, inputs: list[Tensor], *, stream: str | None = None, rows: int | None = None
    ) -> Callable[[], Sequence[NDArray | str]]:
        """Start to score the frames of a batch; see :func:`nes2net.scoring.kernel.start_rows`.

        Waveforms longer than a window are scored one by one, by the returned function. Only the
        waveforms of ``inputs`` are used, and no ``stream``.
        """
        from nes2net.scoring.kernel import start_rows  # quick start-up: reading files needs no torch
        from nes2net.scoring.track import WindowGrid, frame_scores  # quick start-up: reading files needs no torch

        waveforms = inputs[0]
        resolution_ms = self._resolution
        num_samples = waveforms.shape[1]
        if num_samples > WindowGrid.of(scorer).longest:

            def score_in_windows(waveform: Tensor) -> NDArray | str:
                try:
                    samples = waveform.numpy()
                    frames = frame_scores(scorer, samples, SAMPLE_RATE, resolution_ms=resolution_ms, is_emphasised=True)
                    return frames.scores
                except InputError as error:
                    return str(error)

            return lambda: list(map(score_in_windows, waveforms))
        # Repeat waveforms that are too short for the detector; frames of the repetitions are dropped.
        repeats = -(-scorer.min_samples // num_samples)
        if repeats > 1:
            waveforms = waveforms.repeat(1, repeats)[:, : scorer.min_samples]
        most_frames = -(-num_samples // round(resolution_ms * SAMPLE_RATE / 1000))

        def compute(waveforms: Tensor) -> Tensor:
            return scorer.segment_scores(waveforms)[resolution_ms][:, :most_frames]

        return start_rows(scorer, "score is {}", compute, waveforms, rows=rows)

    def evaluation(self) -> type[Evaluation[Any]]:
        from nes2net.evaluation.segments import SegmentEvaluation  # quick start-up: scoring does not need this module

        return SegmentEvaluation

    def read_labelled(
        self,
        labels: Labels,
        files: Sequence[ScoreFile],
        *,
        allow_partial: bool = False,
        resolution_ms: float | None = None,
    ) -> LabelledScores:
        if len(files) > 1:
            raise InputError(f"{files[0].path} holds scores of frames, which cannot be fused: use only one file")
        key = labels.read({})
        frames = labelled_frames(key, files[0], resolution_ms=resolution_ms, allow_partial=allow_partial)
        return LabelledScores(
            frames.trials,
            frames.bonafide[:, None],
            frames.spoof[:, None],
            f"frames of {frames.resolution_ms} ms",
            {"resolution_ms": frames.resolution_ms},
            float(frames.resolution_ms),
        )

    @property
    def _resolution(self) -> float:
        """Length of a frame in ms, chosen by :meth:`fit_to`."""
        assert self.resolution_ms is not None, "fit_to() chooses it"
        return self.resolution_ms

    @property
    def _rule(self) -> StretchRule:
        assert self.threshold is not None and self.hysteresis is not None, "decide_by() chooses them"
        return StretchRule(self.threshold, self.hysteresis, self.min_duration)

    def options(self) -> FactsDict:
        """Return the length of a frame, without the rule, on which no score depends."""
        return {"resolution_ms": self.resolution_ms}

    def identity(self) -> Facts:
        return self.options()

    def tell(self, value: NDArray) -> Facts:
        return {**self.options(), **self._rule._asdict(), "scores": value.tolist()}

    def meaning(self, scorer: Scorer) -> list[str]:
        rule = self._rule
        continues = f" and continues up to {rule.threshold + rule.hysteresis:g}" if rule.hysteresis else ""
        sentences = [
            f"a fake stretch begins at a score of at most {rule.threshold:g}{continues}, and lasts at least "
            f"{rule.min_duration:g} s; frames of {self.resolution_ms:g} ms",
            _nature_of(scorer),
        ]
        if not scorer.trained_on_segments:
            untrained = (
                "this detector was trained on whole recordings, not on segments: what it finds in them may mean nothing"
            )
            sentences.insert(0, untrained)
        return sentences

    def rows_are(self, out: Path) -> str:
        return f"utterances in frames of {self.resolution_ms:g} ms"

    def to_json(self, value: NDArray) -> list[float]:
        return value.tolist()

    def from_json(self, value: Any) -> NDArray:
        """Read scores of frames; raise ValueError if the entry of the journal is damaged."""
        return _finite_row(value)

    def read(self, out: Path) -> Iterable[tuple[str, NDArray]]:
        return ((id, scores.astype(np.float32)) for id, scores in segment_file.read_segment_scores(out).items())

    def lines(self, id: str, value: NDArray) -> str:
        return segment_file.lines(id, value)

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, NDArray]]) -> FactsDict:
        return super().write(files, count, rows) | self.options()


def _nature_of(scorer: Scorer) -> str:
    from nes2net.models.backends.base import NATURE  # quick start-up: reading files needs no torch

    return f"score: higher means more bona fide; it is {NATURE[scorer.score_rule]}"


def _finite_row(value: Any, size: int | None = None) -> NDArray:
    """Convert ``size`` (None: 1 or more) finite numbers to float32; raise ValueError for others."""
    row = np.array(value, np.float32)
    if row.ndim != 1 or not row.size or not np.isfinite(row).all() or size not in (None, row.size):
        raise ValueError(value)
    return row
