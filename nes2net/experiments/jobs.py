"""The jobs of an experiment: train, average, score, evaluate; and whether each is done, by its own records.

A look at records, times and checksums of small files tells whether a job is done; no detector is
loaded and no recording decoded for it. Where that look finds a difference, the job is done again,
and what it calls (:func:`nes2net.training.run.train`, :func:`nes2net.actions.scoring.score_corpus` …)
compares the contents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from nes2net.actions.scoring import score_corpus
from nes2net.corpora.part import Part
from nes2net.detector import Detector
from nes2net.errors import InputError, counted
from nes2net.evaluation.compare import evaluate_systems
from nes2net.evaluation.page import write_report
from nes2net.experiments.description import Average, EvaluationSet
from nes2net.experiments.missing import Missing, Search, missing_for_training
from nes2net.machine.files import json_text, sha256_of, write_text
from nes2net.machine.plain_data import read_json_as
from nes2net.machine.terminal import printable
from nes2net.published_models import samples_to_score
from nes2net.recipes.recipe import Recipe
from nes2net.registry import corpora
from nes2net.scoring.record import WholeRecord, read_whole_record, recordings_digest
from nes2net.scoring.scorer import check_takes_audio_alone
from nes2net.training.averaging import average_path, average_run
from nes2net.training.run import train
from nes2net.training.run_folder import check_recipe
from nes2net.training.selection import HISTORY_FILE, Row, Selection, best_epochs, read_history
from nes2net.training.validation import passes
from nes2net.version import __version__

_LARGEST_REPORT = 64 << 20  # bytes


@dataclass(frozen=True)
class Machine:
    """How this machine computes: nothing of it determines a result."""

    device: str = "auto"
    batch_size: int | None = None
    """Of scoring."""
    num_workers: int | None = None
    """Of scoring."""
    overwrite: bool = False
    """Score anew over scores of other recordings or of another device."""


@dataclass(frozen=True)
class Run:
    """A training run of the experiment."""

    name: str
    point: str
    """The grid's values as a table names them; empty without a grid."""
    seed: int
    recipe: Recipe
    sets: frozenset[str]
    """Names of the evaluation sets that its detectors are scored on."""

    @property
    def folder(self) -> Path:
        return Path(self.recipe.output) / self.recipe.tag

    def history(self) -> list[Row]:
        path = self.folder / HISTORY_FILE
        return read_history(path) if path.is_file() else []


class Job(ABC):
    """A piece of work with inputs and outputs, which another job may need to be done."""

    run: Run
    needs: Job | None

    @property
    @abstractmethod
    def name(self) -> str:
        """What it does to what, such as ``score seed1 best3 LA``."""

    @abstractmethod
    def is_done(self) -> bool:
        """Whether its outputs are there and made of its inputs as these are now.

        Raises:
            InputError: if the outputs are those of something else, or damaged.
        """

    @abstractmethod
    def do(self, machine: Machine) -> None:
        """Do it, or what is left of it."""

    def missing(self, search: Search) -> list[Missing]:
        """List what it needs and the disk lacks, apart from what other jobs make."""
        return []


@dataclass(frozen=True, eq=False)
class TrainJob(Job):
    """Train a run."""

    run: Run
    needs: None = None

    @property
    def name(self) -> str:
        return f"train {self.run.name}"

    def is_done(self) -> bool:
        """Whether the run folder holds this run, with all its epochs or stopped early."""
        recipe, history = self.run.recipe, self.run.history()
        if not history:
            return False
        check_recipe(self.run.folder, recipe)
        names = passes(recipe.augment, recipe.validation)
        selection = Selection(self.run.folder, recipe.train, recipe.validation, names, recipe.segments.resolutions)
        selection.history = history
        return selection.is_done

    def do(self, machine: Machine) -> None:
        _detector.cache_clear()  # its memory
        train(self.run.recipe, machine.device)

    def missing(self, search: Search) -> list[Missing]:
        return missing_for_training(self.run.recipe, self.run.recipe.name, search)


@dataclass(frozen=True, eq=False)
class AverageJob(Job):
    """Choose the best checkpoints of a run, and average them if they are several."""

    run: Run
    average: Average
    needs: TrainJob

    @property
    def name(self) -> str:
        return f"{'choose' if self.average.best == 1 else 'average'} {self.run.name} {self.average.name}"

    def epochs(self) -> list[int]:
        """The chosen epochs.

        Raises:
            InputError: if the run has not saved as many.
        """
        return best_epochs(self.run.folder, self.average.best, self.average.by)

    def checkpoint(self) -> Path:
        """The file to score.

        Raises:
            InputError: as :meth:`epochs`.
        """
        epochs = self.epochs()
        if len(epochs) == 1:
            return self.run.folder / f"epoch_{epochs[0]}.pth"
        return average_path(self.run.folder, epochs, self.average.mode)

    def is_done(self) -> bool:
        """Whether the average is there and no checkpoint in it is newer."""
        path, epochs = self.checkpoint(), self.epochs()
        if not path.is_file():
            return False
        sources = [self.run.folder / f"epoch_{epoch}.pth" for epoch in epochs]
        return all(source.stat().st_mtime_ns <= path.stat().st_mtime_ns for source in sources)

    def do(self, machine: Machine) -> None:
        """Average; one checkpoint stays as it is."""
        epochs = self.epochs()
        if len(epochs) > 1:
            made = average_run(self.run.folder, epochs, self.average.mode)
            made.path.touch()  # confirmed by checksums, also if a checkpoint was copied since


@dataclass(frozen=True, eq=False)
class ScoreJob(Job):
    """Score an evaluation set with one detector."""

    run: Run
    average: Average
    tested: EvaluationSet
    needs: AverageJob
    out: Path

    @property
    def name(self) -> str:
        return f"score {self.run.name} {self.average.name} {self.tested.title}"

    @property
    def num_samples(self) -> int | None:
        """Samples of an utterance that are scored; None for all."""
        one, record = self.tested, {"recipe": self.run.recipe.to_dict()}
        usual = corpora.get(one.corpus).test_samples
        asked: Any = "auto" if one.samples is None else one.samples
        return samples_to_score(record, asked, usual, one.protocol).num_samples

    @property
    def scores(self) -> Path:
        return self.out / "scores" / self.run.name / self.average.name / f"{self.tested.title}.txt"

    @property
    def part(self) -> Part:
        one = self.tested
        return Part(one.corpus, Path(one.root), one.split, None if one.protocols is None else Path(one.protocols))

    def record(self) -> WholeRecord | None:
        """The record beside the scores; None if there is none."""
        path = self.scores.with_name(f"{self.scores.name}.json")
        return read_whole_record(path) if self.scores.is_file() and path.is_file() else None

    def is_done(self) -> bool:
        """Whether these scores are complete, of this checkpoint, which is not newer, and of these trials."""
        record = self.record()
        if record is None or (record.failures and not self.tested.allow_partial):
            return False
        checkpoint = self.needs.checkpoint()
        return (
            not self._differs(record)
            and checkpoint.stat().st_mtime_ns <= self.scores.stat().st_mtime_ns
            and sha256_of(self.scores) == record.sha256
        )

    def do(self, machine: Machine) -> None:
        one, part, checkpoint = self.tested, self.part, self.needs.checkpoint()
        trials = corpora.get(part.corpus).trials(part.root, part.split, protocols=part.protocols)
        detector = _detector(checkpoint, checkpoint.stat().st_mtime_ns, machine.device)
        check_takes_audio_alone(detector)
        record = self.record()
        result, _ = score_corpus(
            detector,
            part,
            self.scores,
            checkpoint=checkpoint,
            trials=trials,
            num_samples=self.num_samples,
            batch_size=machine.batch_size,
            num_workers=machine.num_workers,
            overwrite=machine.overwrite or (record is not None and self._differs(record, detector)),
            legacy_train_mode=one.legacy_train_mode,
        )
        if result.failures and not one.allow_partial:
            raise InputError(
                f"{len(result.failures):,} of {counted(result.total, 'recording')} of {one.title} without a score, as "
                f"{result.record_path} says; bring them, and the same command goes on, or set `allow_partial: true` for it"
            )
        self.scores.touch()  # confirmed to be of this checkpoint

    def _differs(self, record: WholeRecord, detector: Detector | None = None) -> bool:
        """Whether ``record`` is of another checkpoint or ``detector``, of other trials, or of another part of them."""
        one = self.tested
        of = (record.model_extra or {}).get("checkpoint")
        # The run folder counts too, for its settings are in its name; those above it do not, for it may be a copy.
        named = Path(str(of.get("path"))).parts[-2:] if isinstance(of, dict) else None
        if named != self.needs.checkpoint().parts[-2:]:
            return True
        expected: dict[str, Any] = {"num_samples": self.num_samples, "legacy_train_mode": one.legacy_train_mode}
        if (trials := _digest_of(self.part)) is not None:
            expected["trials"] = trials
        if detector is not None:
            expected["model"] = detector.fingerprint()
        return any(record.run.get(key) != value for key, value in expected.items())

    def missing(self, search: Search) -> list[Missing]:
        one, found = self.tested, search.part(self.part)
        return [m for m in found if not (one.allow_partial and m.spares_some)]


@lru_cache(1)
def _detector(checkpoint: Path, _changed: int, device: str) -> Detector:
    """The detector of the last call, if it is the same."""
    return Detector.from_pretrained(checkpoint, device)


@cache
def _digest_of(part: Part) -> str | None:
    """Digest of the trials of a part; None if they are not on this machine."""
    try:
        return recordings_digest(corpora.get(part.corpus).trials(part.root, part.split, protocols=part.protocols))
    except InputError:
        return None


class Asked(BaseModel):
    """What determines an evaluation besides its inputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    corpus: str
    keys: str
    phase: str
    exclude: dict[str, list[str]] | None
    allow_partial: bool
    num_resamples: int
    nes2net: str = __version__


class Input(BaseModel):
    """A file that an evaluation read."""

    model_config = ConfigDict(strict=True, frozen=True)
    kind: str
    path: str
    sha256: str | None = None
    trials_sha256: str | None = None


class ReportedSystem(BaseModel):
    """The figures of an evaluation, as fractions and normalised costs."""

    model_config = ConfigDict(strict=True, frozen=True)
    num_bonafide: int
    num_spoof: int
    num_expected: int
    eer: float
    interval: tuple[float, float]
    interval_over: str
    min_tdcf: float | None = None
    min_dcf: float | None = None
    left_out: str = ""


class ReportFile(BaseModel):
    """What is read of ``report.json``."""

    model_config = ConfigDict(frozen=True)
    asked: Asked
    inputs: list[Input]
    systems: list[ReportedSystem]


@dataclass(frozen=True, eq=False)
class EvaluateJob(Job):
    """Evaluate a score file."""

    scoring: ScoreJob
    tested: EvaluationSet
    """Trials of which the file holds the scores; another set may leave out others of them."""
    num_resamples: int

    @property
    def run(self) -> Run:  # type: ignore[override]
        return self.scoring.run

    @property
    def needs(self) -> Job:  # type: ignore[override]
        return self.scoring

    @property
    def name(self) -> str:
        return f"evaluate {self.run.name} {self.scoring.average.name} {self.tested.title}"

    @property
    def page(self) -> Path:
        """The report page; the figures are beside it as ``.json``."""
        of = self.scoring
        return of.out / "reports" / of.run.name / of.average.name / f"{self.tested.title}.html"

    def asked(self) -> Asked:
        one = self.tested
        return Asked(
            corpus=one.corpus,
            keys=str(one.key_path),
            phase=one.key_phase,
            exclude=one.exclude,
            allow_partial=one.allow_partial,
            num_resamples=self.num_resamples,
        )

    def read(self) -> ReportFile | None:
        """The figures; None if there are none yet.

        Raises:
            InputError: if the file is damaged.
        """
        path = self.page.with_suffix(".json")
        if not path.is_file():
            return None
        return read_json_as(ReportFile, path, _LARGEST_REPORT, "a report of an experiment", "remove it")

    def is_done(self) -> bool:
        """Whether the same was asked of the same files."""
        report = self.read()
        if report is None or not self.page.is_file() or report.asked != self.asked():
            return False
        files = [one for one in report.inputs if one.sha256 is not None]
        changed = [one for one in files if Path(one.path).is_file() and sha256_of(one.path) != one.sha256]
        own = [one for one in files if one.kind == "scores"]
        return bool(own) and not changed and sha256_of(self.scoring.scores) == own[0].sha256

    def do(self, machine: Machine) -> None:
        one, asked = self.tested, self.asked()
        report = evaluate_systems(
            one.corpus,
            [self.scoring.scores],
            one.key_path,
            one.key_phase,
            allow_partial=one.allow_partial,
            exclude=one.exclude,
            num_resamples=self.num_resamples,
        )
        system = f"{self.run.name} {self.scoring.average.name}"
        report = replace(report, systems=[replace(report.systems[0], system=system)])
        self.page.parent.mkdir(parents=True, exist_ok=True)
        write_report(report, self.page)
        figures: dict[str, Any] = {"asked": asked.model_dump(), **report.to_dict()}
        text = json_text(figures, indent=1, ensure_ascii=False)
        write_text(self.page.with_suffix(".json"), printable(text) + "\n")

    def missing(self, search: Search) -> list[Missing]:
        one = self.tested
        return search.keys(one.corpus, one.key_path, one.key_phase)


def unfinished(jobs: Iterable[Job]) -> list[Job]:
    """The jobs that are not done, and those that need one of them.

    A job whose look fails counts as not done: doing it will say what is wrong.

    Args:
        jobs: each after those that it needs, if these are among them.
    """
    left: list[Job] = []
    for job in jobs:
        try:
            done = job.needs not in left and job.is_done()
        except (InputError, OSError):
            done = False
        if not done:
            left.append(job)
    return left
