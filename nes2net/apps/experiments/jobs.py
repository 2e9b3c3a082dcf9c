"""The jobs of an experiment: train, score, evaluate; and whether each is done, by its own records.

A look at records, times and checksums of small files tells whether a job is done; no detector is
loaded and no recording decoded for it. Where that look finds a difference, the job calls its actions
(:func:`nes2net.training.run.train`, :func:`nes2net.actions.scoring.score_corpus` …), which compare the
contents and go on from what is finished.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nes2net.actions.scoring import score_corpus
from nes2net.apps.experiments.description import Average, EvaluationSet
from nes2net.apps.experiments.missing import Search, missing_for_training
from nes2net.apps.experiments.result import METRICS, Measured
from nes2net.data.corpora.trial import Part
from nes2net.detector import Detector
from nes2net.evaluation.evaluate import evaluate_systems
from nes2net.evaluation.page import write_result
from nes2net.lib.claims import differing
from nes2net.lib.errors import InputError, counted
from nes2net.lib.files import make_folder, sha256_of
from nes2net.lib.findings import Finding
from nes2net.lib.plain_data import read_json_as
from nes2net.models.provenance import Provenance
from nes2net.models.registry import corpora
from nes2net.scoring.corpus import ScoringSettings
from nes2net.scoring.kernel import check_takes_audio_alone
from nes2net.scoring.record import WholeRecord, read_whole_record, record_path, recordings_digest
from nes2net.scoring.score_length import samples_to_score
from nes2net.training.averaging import average_path, average_run
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.run import train
from nes2net.training.run_folder import check_recipe
from nes2net.training.selection import HISTORY_FILE, Row, Selection, best_epochs, read_history
from nes2net.training.tasks.task import create_task
from nes2net.training.validation import passes
from nes2net.version import __version__


@dataclass(frozen=True)
class Machine:
    """How this machine computes: nothing of it determines a result.

    ``batch_size`` and ``num_workers`` hold for scoring. ``overwrite`` scores anew over scores of
    other recordings or of another device.
    """

    device: str = "auto"
    batch_size: int | None = None
    num_workers: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Run:
    """A training run of the experiment.

    ``point`` has the grid's values as a table names them and is empty without a grid. ``sets`` names
    the evaluation sets that the run's detectors are scored on.
    """

    name: str
    point: str
    seed: int
    recipe: Recipe
    sets: frozenset[str]

    @property
    def folder(self) -> Path:
        return Path(self.recipe.output) / self.recipe.tag

    def history(self) -> list[Row]:
        path = self.folder / HISTORY_FILE
        return read_history(path) if path.is_file() else []


@dataclass(frozen=True, eq=False)
class Job(ABC):
    """A piece of work with inputs and outputs, which needs another job to be done before it.

    ``name`` says what it does to what, such as ``score seed1 best3 LA``.
    """

    name: str
    run: Run
    needs: Job | None

    @abstractmethod
    def is_done(self) -> bool:
        """Whether its outputs are there and made of its inputs as these are now.

        Raises:
            InputError: if the outputs belong to something else, or are damaged.
        """

    @abstractmethod
    def do(self, machine: Machine) -> None:
        """Do it, or what is left of it."""

    @abstractmethod
    def missing(self, search: Search) -> list[Finding]:
        """List what it needs and the disk lacks, apart from what other jobs make."""


class TrainJob(Job):
    """Train a run."""

    def is_done(self) -> bool:
        """Whether the run folder holds this run, with all its epochs or stopped early."""
        recipe = self.run.recipe
        history = self.run.history()
        if not history:
            return False
        check_recipe(self.run.folder, recipe)
        names = passes(recipe.augment, recipe.validation)
        selection = Selection(self.run.folder, recipe.train, recipe.validation, names, create_task(recipe).measures)
        selection.history = history
        return selection.is_done

    def do(self, machine: Machine) -> None:
        _detector.cache_clear()  # its memory
        train(self.run.recipe, machine.device)

    def missing(self, search: Search) -> list[Finding]:
        return missing_for_training(self.run.recipe, self.run.recipe.name, search)


@dataclass(frozen=True, eq=False)
class ScoreJob(Job):
    """Score an evaluation set with the best checkpoint of a run, or with an average of several, into ``scores``."""

    average: Average
    tested: EvaluationSet
    scores: Path

    @property
    def part(self) -> Part:
        one = self.tested
        return Part(one.corpus, Path(one.root), one.split, None if one.protocols is None else Path(one.protocols))

    def checkpoints(self) -> list[Path]:
        """The chosen checkpoints; the last path is the file to score, which is their average if they are several.

        Raises:
            InputError: if the run has not saved as many.
        """
        folder = self.run.folder
        average = self.average
        epochs = best_epochs(folder, average.best, average.by)
        files = [folder / f"epoch_{epoch}.pth" for epoch in epochs]
        return files if len(files) == 1 else [*files, average_path(folder, epochs, average.mode)]

    def record(self) -> WholeRecord | None:
        """The record beside the scores; None without a record."""
        path = record_path(self.scores)
        return read_whole_record(path) if self.scores.is_file() and path.is_file() else None

    def is_done(self) -> bool:
        """Whether these scores are complete, of these trials and of these checkpoints, none of which is newer."""
        record = self.record()
        if record is None or (record.failures and not self.tested.allow_partial) or self._differs(record):
            return False
        scored = self.scores.stat().st_mtime_ns
        older = all(path.stat().st_mtime_ns <= scored for path in self.checkpoints())
        return older and sha256_of(self.scores) == record.sha256

    def do(self, machine: Machine) -> None:
        one = self.tested
        average = self.average
        record = self.record()
        *several, checkpoint = self.checkpoints()
        if several:
            average_run(self.run.folder, best_epochs(self.run.folder, average.best, average.by), average.mode)
        detector = _detector(checkpoint, checkpoint.stat().st_mtime_ns, machine.device)
        check_takes_audio_alone(detector)
        result, _ = score_corpus(
            detector,
            self.part,
            self.scores,
            checkpoint=checkpoint,
            num_samples=self._num_samples(),
            settings=ScoringSettings(
                batch_size=machine.batch_size,
                num_workers=machine.num_workers,
                overwrite=machine.overwrite or (record is not None and self._differs(record, detector)),
                legacy_train_mode=one.legacy_train_mode,
            ),
        )
        if result.failures and not one.allow_partial:
            raise InputError(
                f"{len(result.failures):,} of {counted(result.total, 'recording')} of {one.title} without a score, as "
                f"{result.record_path} says; bring them, and the same command goes on, or set `allow_partial: true` for it"
            )
        self.scores.touch()  # confirmed to be of these checkpoints

    def _num_samples(self) -> int | None:
        """Samples of an utterance that are scored; None for all."""
        tested = self.tested
        provenance = Provenance(recipe=self.run.recipe.to_dict())
        asked: Any = "auto" if tested.samples is None else tested.samples
        usual = corpora.get(tested.corpus).test_samples
        return samples_to_score(provenance, asked, usual, tested.protocol).num_samples

    def _differs(self, record: WholeRecord, detector: Detector | None = None) -> bool:
        """Whether ``record`` is of another checkpoint or ``detector``, of other trials, or of another part of them."""
        of = (record.model_extra or {}).get("checkpoint")
        # The run folder counts too, for its settings are in its name; those above it do not, for it may be a copy.
        named = Path(str(of.get("path"))).parts[-2:] if isinstance(of, dict) else None
        expected: dict[str, Any] = {
            "num_samples": self._num_samples(),
            "legacy_train_mode": self.tested.legacy_train_mode,
        }
        if digest := _digest_of(self.part):
            expected["trials"] = digest
        if detector:
            expected["model"] = detector.fingerprint()
        return bool(differing(record.run, record.run | expected)) or named != self.checkpoints()[-1].parts[-2:]

    def missing(self, search: Search) -> list[Finding]:
        return [m for m in search.part(self.part) if not (self.tested.allow_partial and m.spares_some)]


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


class ReportFile(BaseModel):
    """What is read of ``report.json``: what was asked, which files were read, and the figures."""

    asked: dict[str, Any]
    inputs: list[dict[str, str]]
    measured: Measured


@dataclass(frozen=True, eq=False)
class EvaluateJob(Job):
    """Evaluate a score file into ``page``, and beside it the figures as ``.json``.

    ``tested`` may leave out other trials than the set that was scored.
    """

    needs: ScoreJob
    tested: EvaluationSet
    num_resamples: int
    page: Path

    def asked(self) -> dict[str, Any]:
        """What determines the evaluation besides its inputs."""
        one = self.tested
        return {
            **one.model_dump(include={"corpus", "exclude", "allow_partial"}),
            "keys": str(one.key_path),
            "phase": one.key_phase,
            "num_resamples": self.num_resamples,
            "nes2net": __version__,
        }

    def read(self) -> ReportFile | None:
        """The figures; None if they are not there yet.

        Raises:
            InputError: if the file is damaged.
        """
        path = self.page.with_suffix(".json")
        if not path.is_file():
            return None
        return read_json_as(ReportFile, path, 64 << 20, "a report of an experiment", "remove it")

    def is_done(self) -> bool:
        """Whether the same was asked of the same files."""
        report = self.read()
        if report is None or not self.page.is_file() or report.asked != self.asked():
            return False
        files = [one for one in report.inputs if "sha256" in one]
        changed = any(Path(one["path"]).is_file() and sha256_of(one["path"]) != one["sha256"] for one in files)
        own = [one["sha256"] for one in files if one["kind"] == "scores"]
        return not changed and own == [sha256_of(self.needs.scores)]

    def do(self, machine: Machine) -> None:
        one = self.tested
        scoring = self.needs
        result = evaluate_systems(
            one.corpus,
            [scoring.scores],
            one.key_path,
            one.key_phase,
            allow_partial=one.allow_partial,
            exclude=one.exclude,
            num_resamples=self.num_resamples,
            names=[f"{self.run.name} {scoring.average.name}"],
        )
        row = result.tables[0].rows[0]
        interval = row["eer"].interval
        assert interval is not None
        (facts,) = result.header["systems"]
        metrics = {name: row[name].value for name in METRICS}
        record = scoring.record()
        trials = None if record is None else record.run.get("trials")
        measured = Measured(
            run=self.run.name,
            seed=self.run.seed,
            metrics={name: value for name, value in metrics.items() if value is not None},
            interval=interval,
            interval_over=facts["interval_over"],
            num_bonafide=int(row.value("num_bonafide")),
            num_spoof=int(row.value("num_spoof")),
            left_out=facts["left_out"],
            trials=trials if isinstance(trials, str) else None,
            key=next((entry["trials_sha256"] for entry in result.header["inputs"] if "trials_sha256" in entry), None),
            page=self.page.relative_to(self.page.parents[3]).as_posix(),  # from the experiment's folder
        )
        make_folder(self.page.parent)
        header = {"asked": self.asked(), "measured": asdict(measured), **result.header}
        write_result(replace(result, header=header), self.page, self.page.with_suffix(".json"))

    def missing(self, search: Search) -> list[Finding]:
        one = self.tested
        return search.keys(one.corpus, one.key_path, one.key_phase)


def unfinished(jobs: Iterable[Job]) -> list[Job]:
    """The jobs that are not done, and the jobs that need one of them.

    A job that cannot be checked counts as not done; doing it will say what is wrong.

    Args:
        jobs: each after the jobs that it needs, if these are among them.
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
