"""One training run of a recipe: build its parts in order, then run the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from nes2net.data.corpora.trial import BONAFIDE, Trial, Trials
from nes2net.detector import Detector
from nes2net.lib.computing.module_size import count_numbers
from nes2net.lib.errors import InputError, join_names, pluralise, with_flag_names
from nes2net.lib.parts.contracts import blame_part
from nes2net.lib.parts.options import part_names
from nes2net.lib.parts.registry import PACKAGES_KEY, packages_of
from nes2net.lib.process.this_process import enough_memory
from nes2net.lib.storage.files import path_below
from nes2net.lib.storage.text_files import reading_once
from nes2net.lib.web.remote import Remote, adopt, remote
from nes2net.models.checkpoints.base import save_base
from nes2net.models.registry import named_parts
from nes2net.training.augmentation import augmentation_stream
from nes2net.training.callback import Callback
from nes2net.training.card import describe_training
from nes2net.training.data import (
    describe_data,
    development_batches,
    list_examples,
    training_batches,
)
from nes2net.training.dataset import BatchLoader, Examples
from nes2net.training.distributed import (
    create_accelerator,
    synchronise_batch_norms,
    write_once,
)
from nes2net.training.interruption import StoppedByCallback, StopRequests, failing_disk_is_temporary
from nes2net.training.loop import Trainer
from nes2net.training.monitor import Monitor
from nes2net.training.objective import Objective
from nes2net.training.optimisation import create_optimizer, parameter_groups
from nes2net.training.own_data import with_own_data
from nes2net.training.recipes.data import SetName
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recorded_step import line_about
from nes2net.training.resume_file import BASE_FILE, RESUME_FILE, ResumeContent, read_resume_file
from nes2net.training.run_folder import check_same_run, run_folder, write_recipe
from nes2net.training.sampling import StepShare
from nes2net.training.seeding import cuda_algorithms, seed_everything
from nes2net.training.selection import Selection
from nes2net.training.start import build_detector, check_parts, without_needless_checkpoint
from nes2net.training.state import RunState, fingerprint
from nes2net.training.task_contract import check_task, packages_of_recipe
from nes2net.training.tasks.task import Task, create_task
from nes2net.training.tracker import require_library
from nes2net.training.trials import check_unseen
from nes2net.training.validation import Validator


@blame_part()
def train(
    recipe: Recipe,
    device: str = "auto",
    *,
    train: Any = None,
    dev: Any = None,
    sample_rate: float | None = None,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Train as ``recipe`` says and return the run folder ``{output}/{tag}``.

    The folder gets ``recipe.yaml``, ``history.json``, ``curves.png``, ``train.log``, the model card
    ``README.md``, ``epoch_{n}.pth`` (n from 1) as ``train.keep`` says, and ``resume.pt``, saved
    every few minutes and after each epoch.

    A second call with the same recipe resumes the run. On one device, the weights equal those of an
    uninterrupted run bit for bit; on a GPU this requires ``train.deterministic``. Processes of
    ``torchrun`` or ``accelerate launch`` share each batch, and the weights equal those of one
    process up to rounding.

    Args:
        train, dev: own data in place of the recipe's corpora: a list or data set of pairs of audio
            (as of :meth:`nes2net.Detector.score`) and label (``"bonafide"``, ``"spoof"``, or 1, 0).
            Each item is read once, and stored beside the run folder unless it is a path.
        sample_rate: in Hz, of samples in ``train`` and ``dev`` that do not state it.
        callbacks: called in the main process; they may stop the run.

    Raises:
        InputError: if something in the recipe or on disk is missing or wrong, if the folder holds
            another run, if the loss is not finite, or if memory runs out. The last save stays
            intact.
        Unfinished: if SIGTERM came, or if the disk is full or fails; the work done is saved. Also
            if the data can no longer be read; the work since the last save is then lost.
        KeyboardInterrupt: if Ctrl-C was pressed; the work done is saved.
    """
    if train is not None or dev is not None:
        recipe = with_own_data(recipe, {"train": train, "dev": dev}, sample_rate)
    require_library(recipe.tracker)
    recipe = without_needless_checkpoint(recipe)
    adopt(Remote(recipe.data.cache_bytes))
    folder = path_below(recipe.output, recipe.tag)
    with StopRequests() as stop:
        try:
            task = create_task(recipe)
            check_parts(recipe)
            with reading_once(), blame_part(task.subject, "trials"):
                train_trials = list(task.trials("train"))
                dev_trials = list(task.trials("dev"))
        except InputError:
            read_resume_file(folder)  # names the package of a part that is not installed any more
            raise
        check_unseen(recipe.data, train_trials, dev_trials)
        # Deterministic algorithms import SymPy, so switch them on only now that all trials are there.
        with cuda_algorithms(recipe.train.deterministic):
            accelerator = create_accelerator(device, recipe.train.precision)
            with run_folder(folder, recipe, accelerator.is_main_process):
                Run(recipe, task, accelerator, folder, stop, callbacks).resume(train_trials, dev_trials)
    return folder


@dataclass
class Run:
    """A run of ``recipe`` in ``folder``; only the main process writes to the folder."""

    recipe: Recipe
    task: Task
    accelerator: Accelerator
    folder: Path
    stop: StopRequests
    callbacks: Sequence[Callback] = ()

    def resume(self, train_trials: list[Trial], dev_trials: list[Trial]) -> None:
        """Build the parts, load their state if the folder holds a save, and train the remaining epochs.

        Raises:
            InputError: as :func:`train`, or if the processes read different corpora or different
                saves.
        """
        recipe = self.recipe
        accelerator = self.accelerator
        is_main = accelerator.is_main_process
        saved_state = read_resume_file(self.folder)
        if saved_state is not None:
            check_same_run(self.folder / RESUME_FILE, recipe, saved_state["recipe"])
        # Build the data first, so that errors such as a missing noise folder show before a large model is read.
        stream = augmentation_stream(recipe, accelerator.num_processes)
        training = self.examples("train", train_trials)
        development = self.examples("dev", dev_trials)
        share = StepShare(accelerator.process_index, accelerator.num_processes, recipe.train.accumulate)
        pin_memory = accelerator.device.type == "cuda"
        train_loader = training_batches(recipe, training, stream, share, pin_memory=pin_memory)
        dev_loaders = development_batches(recipe, development, stream, share, pin_memory=pin_memory)
        loaders = (train_loader, *dev_loaders.values())
        detector = self.detector(saved_state, loaders, {"train": train_trials, "dev": dev_trials})
        objective = self.objective(detector)
        if self.task.subject:
            check_task(self.task, objective, train_loader.dataset)
        groups = parameter_groups(detector, objective.trained_parameters(), recipe.train.layer_decay)
        optimizer = create_optimizer(groups, recipe.train)
        selection = Selection(self.folder, recipe.train, recipe.validation, list(dev_loaders), self.task.measures)
        fingerprints = {
            "training": fingerprint(training, train_loader.batch_sampler.balance),
            "development": fingerprint(development),
        }
        state = RunState(recipe, fingerprints, objective, optimizer, selection, accelerator.scaler, stream)
        state.shards = {address: str(status) for address, status in remote().statuses.items()}
        log_folder = path_below(recipe.logs, recipe.tag)
        disk = failing_disk_is_temporary(self.folder, state.num_bytes)
        with disk, Monitor(selection, log_folder, is_main, self.callbacks) as monitor:
            validator = Validator(objective, dev_loaders, accelerator, monitor, recipe, self.task)
            with blame_part(self.task.subject, "trainer"):
                trainer = self.task.trainer(
                    recipe, objective, train_loader, validator, state, accelerator, monitor, self.stop
                )
            if saved_state is not None:  # load only now that accelerate has moved the optimiser to the device
                with enough_memory(self.too_large_message):
                    state.load(saved_state)
            del saved_state
            # The main process may write to the folder only after all processes have read the same state from the
            # folder.
            start = (state.progress.epoch, state.progress.step, state.data, state.shards)
            if any(process_start != start for process_start in gather_object([start])):
                raise InputError(
                    f"the processes do not see the same corpus, or the same run in {self.folder}: put both where every "
                    "process can read them"
                )
            write_once(accelerator, partial(self.begin_writing, state, monitor))
            for line in self.summary(trainer, training, development):
                monitor.say(line)
            if is_main:
                monitor.report_failed_files([f"failed: {error}" for error in (*training.errors, *development.errors)])
            trainer.tell("start")
            with enough_memory(lambda: out_of_memory_message(trainer)):
                self.fit(trainer)

    def too_large_message(self) -> str:
        return (
            f"the detector does not fit into the memory of {self.accelerator.device}: use a smaller one "
            "(`model.frontend`), or a device with more memory"
        )

    def detector(
        self,
        saved_state: ResumeContent | None,
        loaders: Sequence[BatchLoader],
        trials: Mapping[SetName, list[Trial]],
    ) -> Detector:
        """Build the detector, set its pre-emphasis in the data sets, check the trials, and collect provenance."""
        recipe = self.recipe
        seed_everything(recipe.seed)
        with enough_memory(self.too_large_message):
            detector = build_detector(recipe, self.folder, saved_state, self.task).to(self.accelerator.device)
        for loader in loaders:
            loader.dataset.pre_emphasis = detector.pre_emphasis
        descriptions = []
        for part, part_trials in trials.items():
            self.task.check(detector, part_trials)
            descriptions += describe_data(recipe.data, part, part_trials)
        earlier_devices = [] if saved_state is None else saved_state["devices"]
        training_facts = describe_training(recipe, detector, self.accelerator, earlier_devices)
        packages = packages_of(named_parts(detector.config)) | packages_of_recipe(recipe)
        facts = {PACKAGES_KEY: packages} if packages else {}
        detector.provenance = replace(
            detector.provenance, trials=tuple(descriptions), training=training_facts, facts=facts
        )
        return detector

    def examples(self, part: SetName, trials: list[Trial]) -> Examples:
        """List the examples of ``part``: the ``trials`` or their pieces, with labels if the task needs them."""
        labels = self.task.labels(part, trials)
        examples = Examples(trials, labels=labels)
        if part == "train" or not self.recipe.validation.whole_utterances:
            name = "training" if part == "train" else "development"
            examples = list_examples(self.recipe.data, trials, name, labels=labels)
        return examples._replace(extra_tensors=self.task.extra_tensors, target=self.task.target)

    def objective(self, detector: Detector) -> Objective:
        """Make the training objective of ``detector``.

        ``detector`` is changed in place, by activation checkpointing and batch statistics over all
        processes. What is trained is compiled at the end if the recipe says so.
        """
        if self.recipe.train.activation_checkpointing:
            detector.frontend.checkpoint_activations()
        if self.accelerator.num_processes > 1:
            synchronise_batch_norms(detector, self.accelerator.device)
        modules = (detector.frontend, detector.backend)
        trained_modules = [module for module in modules if any(p.requires_grad for p in module.parameters())]
        with blame_part(self.task.subject, "objective"):
            objective = self.task.objective(detector).to(self.accelerator.device)
        objective.subject = self.task.subject
        if self.recipe.train.compile:  # Module.compile works in place, so that names of weights do not change
            for module in trained_modules:
                module.compile()
        return objective

    def begin_writing(self, state: RunState, monitor: Monitor) -> None:
        """Write the recipe, start the logs, and clean up after an interrupted save, in the main process.

        Random base weights of an adapted front-end are written too (``base.pth``).
        """
        detector = state.detector
        write_recipe(self.folder, self.recipe)
        if detector.frontend.adapted and detector.base is None:  # the frozen weights are random and in no file yet
            save_base(detector, self.folder / BASE_FILE)
        state.selection.remove_files()
        if not state.selection.is_done:
            monitor.open_logs(state.progress.epoch, self.recipe, detector.device)

    def summary(self, trainer: Trainer, training: Examples, development: Examples) -> list[str]:
        """List the first lines of a run: the detector, notes about it, and the numbers of trials."""
        detector = trainer.state.detector
        accelerator = self.accelerator
        names = " + ".join(part_names(detector.config))
        num_trained = count_numbers(trainer.objective.trained_parameters())
        num_parameters = count_numbers(trainer.objective.parameters())
        line = f"detector: {names}, {num_parameters:,} parameters"
        if own_tensors := trainer.objective.own_tensors():
            line += f" with {join_names([*own_tensors], 3)} of the objective"
        if num_trained < num_parameters:
            line += f", {num_trained:,} of them trained ({100 * num_trained / num_parameters:.3g} %),"
        line += f" on {detector.device}"
        if accelerator.num_processes > 1:
            line += f", {pluralise(accelerator.num_processes, 'process', 'processes')}"
        # Add notes about properties of the detector that the user may not expect.
        lines = [line]
        if detector.frontend.note:
            lines.append(
                f"note: {with_flag_names(f'{detector.frontend.note}; `model.frontend.normalize` comes first')}"
            )
        if detector.num_zeros:
            lines.append(
                f"note: zeros fill up the hidden states of {detector.frontend.out_dim} numbers to the "
                f"{detector.backend.feature_dim} that the back-end reads"
            )
        if detector.device.type == "cuda":
            lines.append(line_about(trainer.recorded_step.obstacle))
        # The trials of each set and, if it has several corpora, of each corpus.
        data = self.recipe.data
        for title, data_set, corpora in (
            ("training", training, data.parts("train")),
            ("development", development, data.parts("dev")),
        ):
            line = f"{title} trials: {_counts_by_class(data_set.trials)}"
            if data_set.labels is not None:
                line += (
                    f", {sum(trial.id in data_set.labels.of_trial for trial in data_set.trials)} with labels of frames"
                )
            if data_set.excerpts is not None:
                line += ", pieces of recordings"
            lines.append(line)
            for alias in (corpus.called for corpus in corpora if len(corpora) > 1):
                corpus_trials = [trial for trial in data_set.trials if trial.get("corpus") == alias]
                lines.append(f"  {alias}: {_counts_by_class(corpus_trials)}")
        if (balance := trainer.loader.batch_sampler.balance) is not None:
            lines.append(f"an epoch draws {balance.draws} of the training trials")
        return lines

    def fit(self, trainer: Trainer) -> None:
        selection = trainer.state.selection
        progress = trainer.state.progress
        monitor = trainer.monitor
        if selection.is_done:
            monitor.say(f"{self.folder} is trained already, {pluralise(progress.epoch - 1, 'epoch')}")
        elif progress.step:
            monitor.say(f"resuming in epoch {progress.epoch}, step {progress.step}")
        elif progress.epoch > 1:
            monitor.say(f"resuming after epoch {progress.epoch - 1}")
        if self.accelerator.num_processes > 1:
            # The largest signal number of all processes decides: SIGTERM is 15, SIGINT is 2, and no signal is 0.
            self.stop.agree = lambda signal: max(gather_object([signal]))
        with suppress(StoppedByCallback):
            trainer.fit()
        monitor.say(selection.table())
        if (corpora_table := selection.corpora_table()) is not None:
            monitor.say(corpora_table)
        if self.accelerator.device.type == "cuda":
            monitor.say(f"peak of this GPU's memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
        monitor.say(f"checkpoints are in {self.folder}, TensorBoard's logs in {monitor.log}")


def _counts_by_class(trials: Trials) -> str:
    bonafide = sum(trial.label == BONAFIDE for trial in trials)
    return f"{len(trials)} ({bonafide} bona fide, {len(trials) - bonafide} spoof)"


def out_of_memory_message(trainer: Trainer) -> str:
    """Write the error message for a lack of memory: the batch that was too large, and settings that help.

    The run can resume with a setting that does not change its results; any other needs a new run.
    """
    recipe = trainer.recipe
    progress = trainer.state.progress
    train = trainer.recipe.train
    part_size = -(-train.batch_size // (train.accumulate * trainer.accelerator.num_processes))  # rounded up
    validates = progress.step == trainer.steps_per_epoch
    whole_utterances = recipe.data.num_samples is None or (validates and recipe.validation.whole_utterances)
    stage = "validation" if validates else f"step {progress.step}"
    num_utterances = recipe.validation_batch_size if validates else part_size
    length = str(recipe.data.num_samples)
    if recipe.data.crop == "dynamic" and not validates:
        length = f"up to {recipe.data.chunk_samples[1]}"
    batch = "a whole utterance" if whole_utterances else f"{num_utterances} × {length} samples"
    problem = f"the memory of {trainer.accelerator.device} ran out in epoch {progress.epoch}, {stage}, which computes {batch} at once"
    # The settings in other_results change the results of the run.
    same_results = []
    other_results = []
    keeps_activations = not train.activation_checkpointing and not train.freeze_frontend
    if not trainer.recorded_step.obstacle:
        same_results.append("`train.graph=never`")
    if not validates and keeps_activations and trainer.state.detector.frontend.transformer_layers:
        same_results.append("`train.activation_checkpointing=true`")
    if not validates and part_size >= 4:  # half of the part still has two utterances, as batch statistics need
        other_results.append(f"`train.accumulate={2 * train.accumulate}`")
    if train.precision not in ("bf16", "fp16"):
        other_results.append("`train.precision=bf16`")
    if whole_utterances:
        other_results.append("`validation.whole_utterances=false`")
    elif validates and recipe.validation.batch_size:
        other_results.append("a smaller `validation.batch_size`")
    else:
        other_results.append("a smaller `train.batch_size`")
    is_saved = (trainer.state.selection.folder / RESUME_FILE).is_file()
    state = "the last save is intact" if is_saved else "nothing is saved yet"
    resume = f"resume with {' or '.join(same_results)}, or " if same_results else ""
    return (
        f"{problem}; {state}: {resume}begin another run, with a `comment` of its own and {' or '.join(other_results)}"
    )
