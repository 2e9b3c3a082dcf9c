"""The judgements that can be evaluated: the score of a recording, the scores of its frames, and rows of numbers.

In reading order: ``EvaluationSettings`` and ``LabelledScores`` go in and out; ``OfRecordings`` is
the base of ``Scores`` and of ``Rows``, which other packages derive from; ``Frames`` are by
themselves.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.corpus import key_digest
from nes2net.data.corpora.trial import BONAFIDE, Trial
from nes2net.evaluation.key import Labels
from nes2net.evaluation.labelled_frames import labelled_frames
from nes2net.evaluation.matching import labelled_trials, system_names
from nes2net.lib.errors import InputError, listed, shown
from nes2net.lib.text_files import checked_float, read_text
from nes2net.scoring import score_file, segment_file
from nes2net.scoring.judgement import Judgement

if TYPE_CHECKING:
    from torch import Tensor

    from nes2net.evaluation.breakdown import Unit
    from nes2net.evaluation.result import Result
    from nes2net.evaluation.transfer import ThresholdSource
    from nes2net.scoring.kernel import Scorer
    from nes2net.scoring.waveforms import WaveformReader

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How scores are evaluated."""

    threshold_source: ThresholdSource | None = None
    """Where thresholds chosen on other trials come from; for scores of recordings."""
    threshold: float | None = None
    """The score at or below which a frame is spoof; for scores of frames."""
    resolution_ms: float | None = None
    """Length of a frame, needed if no record beside the scores of frames states it."""
    allow_partial: bool = False
    """Whether to leave out trials whose scores are missing or unusable."""
    exclude: Mapping[str, Collection[str]] | None = None
    """Field → values of the trials to leave out; None for the trials that the published figures leave out."""
    unknown: str | None = None
    """The score of being known, by which unknown classes are shown one by one; for classes."""
    reference: tuple[Path, Path] | None = None
    """Embeddings of training trials and of the evaluated ones, for further scores of being known; for classes."""
    names: Sequence[str] = ()
    """A name for each file, in their order; those of the files if empty."""
    num_resamples: int = 1000
    """Number of draws of the bootstrap."""
    seed: int = 0
    """Seed of the draws."""
    draw: Unit = "auto"
    """What the bootstrap draws; for scores of recordings."""

    def names_of(self, paths: Sequence[Path]) -> list[str]:
        """The names of the systems whose files are ``paths``.

        Raises:
            InputError: if the names are not as many as the files, or two are the same.
        """
        if not self.names:
            return system_names(paths)
        if len(self.names) != len(paths) or len(set(self.names)) < len(self.names):
            raise InputError(f"`names` has a name of its own for each of {len(paths)} files, not {listed(self.names)}")
        return list(self.names)

    def check_no_classes(self, path: Path) -> None:
        """Raise :class:`InputError` if there are settings of classes, which ``path`` does not hold."""
        if self.unknown is not None or self.reference is not None:
            raise InputError(f"`unknown` and `reference` are for classes, which {path} does not hold: leave them out")


class LabelledScores(NamedTuple):
    """Scores of K systems by class."""

    trials: Sequence[Trial]
    bonafide: NDArray
    """B×K float64."""
    spoof: NDArray
    """S×K float64."""
    unit: str
    """What has a score: ``"trials"``, or frames of a length."""
    facts: dict[str, Any]
    """Facts about the scores, plain data: the length of a frame in ms, or the SHA-256 of the labels."""
    resolution_ms: float | None = None
    """Length of a frame; None for scores of recordings."""


class InLines(Judgement[T]):
    """A judgement whose file is text. Each line begins with the id of an utterance, which has no spaces."""

    def check(self, trials: Sequence[Trial], out: Path) -> None:
        score_file.check_ids(trial.id for trial in trials)


class OfRecordings(InLines[T]):
    """A judgement with one score for each recording; evaluation and calibration use this score."""

    of_recordings = True

    def evaluate(self, labels: Labels, paths: Sequence[Path], settings: EvaluationSettings) -> Result:
        from nes2net.evaluation.evaluate import evaluate_systems  # start-up: a detector scores without evaluating

        settings.check_no_classes(paths[0])
        if settings.threshold is not None or settings.resolution_ms is not None:
            raise InputError(
                "`threshold` and `resolution_ms` are for scores of frames, but these are scores of utterances: "
                "leave them out"
            )
        return evaluate_systems(
            labels.corpus,
            paths,
            labels.keys,
            labels.phase,
            allow_partial=settings.allow_partial,
            exclude=settings.exclude,
            num_resamples=settings.num_resamples,
            seed=settings.seed,
            threshold_source=settings.threshold_source,
            names=settings.names_of(paths),
            draw=settings.draw,
        )

    def labelled(
        self, labels: Labels, paths: Sequence[Path], *, allow_partial: bool = False, resolution_ms: float | None = None
    ) -> LabelledScores:
        if resolution_ms is not None:
            raise InputError(
                "`resolution_ms` is the length of frames, but these are scores of recordings: leave it out"
            )
        key = labels.read()[1]
        trials, scores = labelled_trials(key, list(map(str, paths)), labels.phase, allow_partial=allow_partial)
        is_bonafide = np.array([trial.label == BONAFIDE for trial in trials], dtype=bool)
        return LabelledScores(
            trials, scores[is_bonafide], scores[~is_bonafide], "trials", {"key_sha256": key_digest(key)}
        )


@dataclass(frozen=True)
class Scores(OfRecordings[float]):
    """One score of a recording: a line ``utterance score`` for each (:mod:`nes2net.scoring.score_file`)."""

    name = "scores"
    doing = "scoring"
    done = "scored"
    what = "scores"
    is_score = of_batch = True

    def fitted(self, scorer: Scorer) -> Self:
        from nes2net.models.network import Network  # start-up: files are read without torch

        if isinstance(scorer, Network):
            scorer.check_score()
        return self

    def start(
        self, scorer: Scorer, inputs: list[Tensor], *, stream: str | None = None, rows: int | None = None
    ) -> Callable[[], Sequence[float | str]]:
        from nes2net.scoring.kernel import start  # start-up: files are read without torch

        return start(scorer, *inputs, stream=stream, rows=rows)

    def identity(self) -> dict[str, Any]:
        return {}

    def tell(self, value: float) -> dict[str, Any]:
        return {"score": value}

    def scores(self, path: Path) -> tuple[list[str], NDArray]:
        return score_file.read_scores(path)

    def own_labels(self, path: Path) -> dict[str, str]:
        return score_file.read_own_labels(path)

    def to_json(self, value: float) -> float:
        return float(value)

    def from_json(self, kept: Any) -> float:
        if not isinstance(kept, float) or not math.isfinite(kept):
            raise ValueError(kept)
        return kept

    def read(self, out: Path) -> Iterable[tuple[str, float]]:
        return zip(*score_file.read_scores(out))

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, float]]) -> dict[str, Any]:
        with open(files[0], "w", encoding="utf-8", newline="\n") as file:
            file.writelines(score_file.line(trial.id, score) for trial, score in rows)
        return {}


class Rows(OfRecordings[NDArray]):
    """A row of numbers for each recording: the base of judgements of other packages.

    A file has a header, ``utterance`` and the columns, and a line for each recording, separated by
    tabs. Numbers are read back exactly as the float32 that were written. A recording has no row if
    one of its numbers is not finite.
    """

    doing = "judging"
    done = "judged"
    what = "rows"
    columns: ClassVar[Sequence[str]]
    """Names of the numbers of a row."""

    @abstractmethod
    def compute(self, scorer: Any, waveforms: Tensor) -> Tensor:
        """Rows B×K of ``waveforms`` B×N, 16 kHz, in [−1, 1], on the detector's device.

        Args:
            scorer: the detector, in eval mode; usually a :class:`nes2net.detector.Detector`.
        """

    def score_of(self, rows: NDArray) -> NDArray:
        """Scores (N,) of ``rows`` N×K, higher for bona fide; evaluation and calibration use them.

        Raises:
            InputError: always, unless a judgement overrides this method.
        """
        raise InputError(f"judgement '{self.name}' has no score of a recording: it cannot be evaluated or calibrated")

    def start(
        self, scorer: Scorer, inputs: list[Tensor], *, stream: str | None = None, rows: int | None = None
    ) -> Callable[[], Sequence[NDArray | str]]:
        from nes2net.scoring.kernel import start_rows  # start-up: files are read without torch

        def compute(waveforms: Tensor) -> Tensor:
            return self.compute(scorer, waveforms)

        return start_rows(scorer, f"{self.name} have {{}}", compute, inputs[0], rows=rows)

    def tell(self, value: NDArray) -> dict[str, Any]:
        return dict(zip(self.columns, value.tolist(), strict=True))

    def scores(self, path: Path) -> tuple[list[str], NDArray]:
        ids = []
        rows = []
        for id, row in self.read(path):
            ids.append(id)
            rows.append(row)
        return ids, self.score_of(np.stack(rows)).astype(np.float64)

    def to_json(self, value: NDArray) -> list[float]:
        return value.tolist()

    def from_json(self, kept: Any) -> NDArray:
        return _finite_row(kept, len(self.columns))

    def read(self, out: Path) -> Iterable[tuple[str, NDArray]]:
        header = ["utterance", *self.columns]
        for number, line in enumerate(read_text(out).rstrip("\n").split("\n"), start=1):
            cells = line.split("\t")
            if len(cells) != len(header) or (number == 1 and cells != header):
                raise InputError(
                    f"{out}, line {number}: expected the {len(header)} columns {', '.join(header)} with tabs between them, "
                    f"found {shown(line)}"
                )
            if number > 1:
                yield cells[0], np.array([checked_float(cell, out, number) for cell in cells[1:]], np.float32)

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, NDArray]]) -> dict[str, Any]:
        with open(files[0], "w", encoding="utf-8", newline="\n") as file:
            file.write("\t".join(["utterance", *self.columns]) + "\n")
            for trial, row in rows:
                file.write("\t".join([trial.id, *map(repr, row.tolist())]) + "\n")
        return {}


@dataclass(frozen=True)
class Frames(InLines[NDArray]):
    """The scores of the frames of a recording: a line for each frame (:mod:`nes2net.scoring.segment_file`).

    A recording of up to 30 s is scored in one piece, and a longer one in windows
    (:func:`nes2net.scoring.track.frame_scores`).

    Args:
        resolution_ms: length of a frame; None for the detector's shortest.
    """

    resolution_ms: float | None = None

    name = "frames"
    doing = "scoring"
    done = "scored"
    what = "scores of frames"
    of_whole = of_batch = True

    @classmethod
    def holds(cls, path: Path) -> bool:
        return segment_file.holds_frames(path)

    def fitted(self, scorer: Scorer) -> Self:
        from nes2net.scoring.track import chosen_resolution  # start-up: files are read without torch

        return replace(self, resolution_ms=chosen_resolution(scorer, self.resolution_ms))

    def reader(self, reader: WaveformReader) -> WaveformReader:
        if reader.num_samples is not None or reader.transform is not None or reader.padding != "repeat":
            raise InputError(
                "frames are scored in whole, unchanged utterances: leave out `num_samples`, `padding` and the transform"
            )
        return replace(reader, min_samples=1)  # repeating an utterance would add frames after its end

    def start(
        self, scorer: Any, inputs: list[Tensor], *, stream: str | None = None, rows: int | None = None
    ) -> Callable[[], Sequence[NDArray | str]]:
        from nes2net.scoring.kernel import start_rows  # start-up: files are read without torch
        from nes2net.scoring.track import Grid, frame_scores  # start-up: files are read without torch

        waveforms = inputs[0]
        resolution_ms = self._resolution
        num_samples = waveforms.shape[1]
        if num_samples > Grid.of(scorer).longest:

            def in_windows(waveform: Tensor) -> NDArray | str:
                try:
                    return frame_scores(scorer, waveform.numpy(), SAMPLE_RATE, resolution_ms=resolution_ms).scores
                except InputError as error:
                    return str(error)

            return lambda: list(map(in_windows, waveforms))
        repeats = -(-scorer.min_samples // num_samples)
        if repeats > 1:
            waveforms = waveforms.repeat(1, repeats)[:, : scorer.min_samples]
        most_frames = -(-num_samples // round(resolution_ms * SAMPLE_RATE / 1000))

        def compute(waveforms: Tensor) -> Tensor:
            return scorer.segment_scores(waveforms)[resolution_ms][:, :most_frames]

        return start_rows(scorer, "score is {}", compute, waveforms, rows=rows)

    def evaluate(self, labels: Labels, paths: Sequence[Path], settings: EvaluationSettings) -> Result:
        from nes2net.evaluation.segments import evaluate_segments  # start-up: a detector scores without evaluating

        if len(paths) > 1:
            raise InputError(f"one of {len(paths)} files holds scores of frames: evaluate such a file alone")
        of_frames = f"{paths[0]} holds scores of frames"
        settings.check_no_classes(paths[0])
        if settings.exclude is not None:
            raise InputError(f"`exclude` is for scores of utterances, but {of_frames}: leave it out")
        if settings.threshold_source is not None:
            raise InputError(f"{of_frames}: use `threshold`, and leave out `threshold_from` and `calibration`")
        return evaluate_segments(
            labels.corpus,
            paths[0],
            labels.keys,
            labels.phase,
            resolution_ms=settings.resolution_ms,
            threshold=settings.threshold,
            allow_partial=settings.allow_partial,
            num_resamples=settings.num_resamples,
            seed=settings.seed,
        )

    def labelled(
        self, labels: Labels, paths: Sequence[Path], *, allow_partial: bool = False, resolution_ms: float | None = None
    ) -> LabelledScores:
        if len(paths) > 1:
            raise InputError(f"{paths[0]} holds scores of frames, which are calibrated alone: give one file")
        frames = labelled_frames(
            labels.corpus, paths[0], labels.keys, labels.phase, resolution_ms=resolution_ms, allow_partial=allow_partial
        )
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
        assert self.resolution_ms is not None, "fitted() chooses it"
        return self.resolution_ms

    def identity(self) -> dict[str, Any]:
        return self.options()

    def tell(self, value: NDArray) -> dict[str, Any]:
        return {"resolution_ms": self.resolution_ms, "scores": value.tolist()}

    def rows_are(self, out: Path) -> str:
        return f"utterances in frames of {self.resolution_ms:g} ms"

    def to_json(self, value: NDArray) -> list[float]:
        return value.tolist()

    def from_json(self, kept: Any) -> NDArray:
        return _finite_row(kept)

    def read(self, out: Path) -> Iterable[tuple[str, NDArray]]:
        return ((id, scores.astype(np.float32)) for id, scores in segment_file.read_segment_scores(out).scores.items())

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, NDArray]]) -> dict[str, Any]:
        with open(files[0], "w", encoding="utf-8", newline="\n") as file:
            file.writelines(segment_file.lines(trial.id, scores) for trial, scores in rows)
        return self.options()


def _finite_row(kept: Any, size: int | None = None) -> NDArray:
    """Read a row of ``size`` numbers from a journal; ValueError if it is damaged."""
    row = np.array(kept, np.float32)
    if row.ndim != 1 or not row.size or not np.isfinite(row).all() or size not in (None, row.size):
        raise ValueError(kept)
    return row
