"""The jobs of an experiment. A job trains, scores or evaluates, and can tell whether it is done.

This is decided from records, timestamps and checksums of small files, without loading a detector.
The work is done by the functions behind the commands, which check files and resume earlier work.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

from pydantic import BaseModel

from nes2net.actions.evaluation import evaluate
from nes2net.actions.scoring import score_corpus
from nes2net.apps.experiments.description import Average, EvaluationSet, metric_names
from nes2net.apps.experiments.missing import Search, missing_for_training
from nes2net.apps.experiments.result import SetResult
from nes2net.apps.experiments.settings import Machine
from nes2net.data.corpora.part import Part
from nes2net.data.registry import corpora
from nes2net.detector import Detector
from nes2net.evaluation.page import Pages
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.output.findings import Finding
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.storage.claims import Claim
from nes2net.lib.storage.files import is_absent, make_folder, path_below, sha256_of
from nes2net.lib.storage.plain_data import read_json_as
from nes2net.models.provenance import Provenance
from nes2net.scoring.corpus import ScoringSettings
from nes2net.scoring.kernel import check_takes_audio_alone
from nes2net.scoring.record import Record, read_whole_record, record_path, recordings_digest
from nes2net.scoring.score_length import CorpusSamples, samples_to_score
from nes2net.training.averaging import average, average_path
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.run import train
from nes2net.training.run_folder import check_recipe
from nes2net.training.selection import HISTORY_FILE, Selection, best_epochs, read_history
from nes2net.training.tasks.task import create_task
from nes2net.training.validation import passes
from nes2net.version import __version__


@dataclass(frozen=True)
class ExperimentRun:
    """A training run of the experiment.

    - ``name``: part of the names of files and jobs, such as ``lr1e-06_seed1``.
    - ``point``: the values at this point of the grid in words, such as ``lr 1e-06``; may be empty.
    - ``sets``: titles of the evaluation sets to score.
    """

    name: str
    point: str
    seed: int
    recipe: Recipe
    sets: frozenset[str]

    @property
    def folder(self) -> Path:
        return path_below(self.recipe.output, self.recipe.tag)


@dataclass(frozen=True, eq=False)
class Job(ABC):
    """A piece of work, to be done after the job ``needs``.

    ``name`` is action and subject, such as ``score seed1 best3 LA``.
    """

    name: str
    run: ExperimentRun
    needs: Job | None

    @abstractmethod
    def is_done(self) -> bool:
        """Whether the outputs exist, and were made from the present inputs.

        Raises:
            InputError: if the outputs belong to another job, or are damaged.
        """

    @abstractmethod
    def do(self, machine: Machine) -> None:
        """Do or resume the job."""

    @abstractmethod
    def missing(self, search: Search) -> list[Finding]:
        """List the missing inputs, except outputs of other jobs."""


class TrainJob(Job):
    def is_done(self) -> bool:
        """Whether all epochs are done, or the training has stopped early.

        Raises:
            InputError: if the run folder holds another run.
        """
        recipe = self.run.recipe
        path = self.run.folder / HISTORY_FILE
        if is_absent(path):
            return False
        check_recipe(self.run.folder, recipe)
        # The same selection as in training decides whether patience has ended the run.
        names = passes(recipe.augment, recipe.validation)
        selection = Selection(self.run.folder, recipe.train, recipe.validation, names, create_task(recipe).measures)
        selection.history = read_history(path)
        return selection.is_done

    def do(self, machine: Machine) -> None:
        _load_detector.cache_clear()  # forget the detector of the last scoring, to free its memory
        train(self.run.recipe, machine.device)

    def missing(self, search: Search) -> list[Finding]:
        return missing_for_training(self.run.recipe, self.run.recipe.name, search)


@dataclass(frozen=True, eq=False)
class ScoreJob(Job):
    """Scores an evaluation set by the best checkpoint of a run, or an average of the best."""

    average: Average
    tested: EvaluationSet
    scores: Path

    @property
    def part(self) -> Part:
        tested = self.tested
        return Part(tested.corpus, tested.root, tested.split, tested.protocols)

    def _epochs(self) -> list[int]:
        return best_epochs(self.run.folder, self.average.best, self.average.by)

    def checkpoints(self) -> list[Path]:
        """Return the best checkpoints, then their average, if any; the last path is scored.

        Raises:
            InputError: if the run has fewer saved epochs than ``average.best``.
        """
        epochs = self._epochs()
        files = [self.run.folder / f"epoch_{epoch}.pth" for epoch in epochs]
        if len(files) > 1:
            files.append(average_path(self.run.folder, epochs, self.average.mode))
        return files

    def record(self) -> Record | None:
        """Read the record beside the scores; None without scores or record."""
        path = record_path(self.scores)
        if not self.scores.is_file() or is_absent(path):
            return None
        return read_whole_record(path)

    def is_done(self) -> bool:
        """Whether the scores are complete, newer than the checkpoints, and of the same trials."""
        record = self.record()
        if record is None or (record.failures and not self.tested.allow_partial):
            return False
        checkpoints = self.checkpoints()
        if self._record_differs(record, checkpoints[-1]):
            return False
        scored_at = self.scores.stat().st_mtime_ns
        if any(path.stat().st_mtime_ns > scored_at for path in checkpoints):
            return False
        return sha256_of(self.scores) == record.sha256

    def do(self, machine: Machine) -> None:
        tested = self.tested
        record = self.record()
        *averaged, checkpoint = self.checkpoints()
        if averaged:
            average(self.run.folder, self._epochs(), self.average.mode)
        # The last detector is cached; its time tells whether the file was replaced.
        detector = _load_detector(checkpoint, checkpoint.stat().st_mtime_ns, machine.device)
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
                overwrite=machine.overwrite
                or (record is not None and self._record_differs(record, checkpoint, detector)),
                legacy_train_mode=tested.legacy_train_mode,
            ),
        )
        if result.failures and not tested.allow_partial:
            raise InputError(
                f"{len(result.failures):,} of {pluralise(result.total, 'recording')} of {tested.title} failed, see "
                f"{result.record_path}: add or repair them and run the same command again, or set `allow_partial: true` for "
                f"{tested.title} in the file of the experiment"
            )
        # The scores must be newer than the checkpoints, even if nothing had to be scored.
        os.utime(self.scores, follow_symlinks=False)

    def _num_samples(self) -> int | None:
        tested = self.tested
        provenance = Provenance(recipe=self.run.recipe.to_dict())
        protocols: dict[str | None, CorpusSamples] = {None: "auto", "4sec": "4sec", "full": None}
        requested = tested.samples or protocols[tested.protocol]
        return samples_to_score(provenance, requested, corpora.get(tested.corpus).test_samples).num_samples

    def _record_differs(self, record: Record, checkpoint: Path, detector: Detector | None = None) -> bool:
        # Compare only the last two parts of the path: the name of the run folder identifies the settings, but a run
        # folder may have been moved.
        if Path(record.text("checkpoint", "path")).parts[-2:] != checkpoint.parts[-2:]:
            return True
        expected = {
            "num_samples": self._num_samples(),
            "legacy_train_mode": self.tested.legacy_train_mode,
            "trials": _trials_digest(self.part) or record.run.get("trials"),
        }
        if detector:
            expected["model"] = detector.fingerprint()
        return not Claim(self.scores, record.run | expected, record.run).is_same  # compares wanted and recorded facts

    def missing(self, search: Search) -> list[Finding]:
        """List missing files; with `allow_partial`, only if nothing can be scored without them."""
        spares = self.tested.allow_partial
        return [finding for finding in search.part(self.part) if not (spares and finding.spares_some)]


@lru_cache(1)
def _load_detector(checkpoint: Path, _changed: int, device: str) -> Detector:
    """Cache the last detector until ``_changed``, the checkpoint's timestamp, differs."""
    return Detector.from_pretrained(checkpoint, device)


@cache  # the corpus does not change meanwhile
def _trials_digest(corpus_part: Part) -> str | None:
    try:
        return recordings_digest(replace(corpus_part).trials)  # of a copy: the cache keeps no trials
    except InputError:  # the corpus is not on this machine any more
        return None


class _InputFile(BaseModel):
    kind: str
    path: str
    sha256: str | None = None


class ReportFile(BaseModel):
    """The settings, input files and figures in a report's JSON file."""

    asked: dict[str, object]
    """As :meth:`EvaluateJob.settings`."""
    inputs: list[_InputFile]
    """The files that were read."""
    measured: SetResult


@dataclass(frozen=True, eq=False)
class EvaluateJob(Job):
    """Evaluates a score file: writes the report ``page``, and a ``.json`` file beside it.

    Several evaluations may share the scores of ``needs`` with different labels and excluded trials,
    so ``needs.tested`` may differ from ``tested``.
    """

    needs: ScoreJob
    tested: EvaluationSet
    num_resamples: int
    page: Path

    def settings(self) -> dict[str, object]:
        """Return what, together with the input files, determines the figures."""
        tested = self.tested
        return {
            **tested.model_dump(include={"corpus", "exclude", "allow_partial"}),
            "keys": str(tested.key_path),
            "phase": tested.key_phase,
            "num_resamples": self.num_resamples,
            "metrics": metric_names(),
            "nes2net": __version__,
        }

    def read(self) -> ReportFile | None:
        """Read the report's JSON file, if there is one.

        Raises:
            InputError: if the file is damaged.
        """
        path = self.page.with_suffix(".json")
        if is_absent(path):
            return None
        # Of at most 64 MiB.
        return read_json_as(ReportFile, path, 64 << 20, "a report of an experiment", "remove it")

    def is_done(self) -> bool:
        """Whether the report has the present settings, and its input files have not changed since.

        Except for the score file, input files may be missing by now.
        """
        report = self.read()
        if report is None or not Claim(self.page, self.settings(), report.asked, self.page.is_file()).is_done:
            return False
        files = [file for file in report.inputs if file.sha256 is not None]
        for file in files:
            path = Path(file.path)
            if path.is_file() and sha256_of(path) != file.sha256:
                return False
        scores = [file.sha256 for file in files if file.kind == "scores"]
        return scores == [sha256_of(self.needs.scores)]

    def do(self, machine: Machine) -> None:
        tested = self.tested
        scoring = self.needs
        result = evaluate(
            tested.corpus,
            [scoring.scores],
            tested.key_path,
            tested.key_phase,
            allow_partial=tested.allow_partial,
            exclude=tested.exclude,
            num_resamples=self.num_resamples,
            names=[f"{self.run.name} {scoring.average.name}"],
        )
        row = result.tables[0].rows[0]
        interval = row["eer"].interval
        assert interval is not None  # an EER is always computed with its interval
        (facts,) = result.header["systems"]
        record = scoring.record()
        measured = SetResult(
            run=self.run.name,
            seed=self.run.seed,
            metrics={name: value for name in metric_names() if (value := row[name].value) is not None},
            interval=interval,
            interval_over=facts["interval_over"],
            num_bonafide=int(row.value("num_bonafide")),
            num_spoof=int(row.value("num_spoof")),
            left_out=facts["left_out"],
            trials=str(record.run.get("trials")) if record else None,
            key=result.header["inputs"][-1]["trials_sha256"],  # the key is the last input
            page=self.page.relative_to(self.page.parents[3]).as_posix(),  # the page is OUT/reports/RUN/AVERAGE/SET.html
            notices=tuple(notice for notice in result.notices if notice != facts["partial"]),
        )
        make_folder(self.page.parent)
        header = {"asked": self.settings(), "measured": asdict(measured), **result.header}
        Pages(self.page, self.page.with_suffix(".json")).write(replace(result, header=header))

    def missing(self, search: Search) -> list[Finding]:
        return search.keys(self.tested.corpus, self.tested.key_path, self.tested.key_phase)


def select_unfinished(jobs: Iterable[Job]) -> list[Job]:
    """Select jobs that are not done, need such a job, or whose check raises an error.

    Each job must come after the job that it needs.
    """
    unfinished_jobs = []
    for job in ProgressDisplay(jobs, title="looking for finished work", unit="job"):
        try:
            is_done = job.needs not in unfinished_jobs and job.is_done()
        except (InputError, OSError):
            is_done = False
        if not is_done:
            unfinished_jobs.append(job)
    return unfinished_jobs
