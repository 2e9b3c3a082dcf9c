"""One training run of a recipe: corpus, detector, run folder, resuming, and the loop."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from accelerate import Accelerator

from nes2net.checkpoints.state_dict import load_state_dict, read_record
from nes2net.corpora.trial import BONAFIDE
from nes2net.detector import Detector
from nes2net.errors import InputError
from nes2net.machine.memory import enough_memory
from nes2net.recipes.recipe import Recipe
from nes2net.registry import corpora
from nes2net.scoring.system_scores import check_system_scores
from nes2net.training.augmentation import augmentation_stream
from nes2net.training.data import (
    Examples,
    check_fills_a_batch,
    development_batches,
    examples,
    read_trials,
    score_ranges,
    training_batches,
    training_trials,
)
from nes2net.training.distributed import (
    create_accelerator,
    gathered,
    signal_of_all,
    synchronise_batch_norms,
    write_once,
)
from nes2net.training.interruption import StopRequests, failing_disk_is_temporary
from nes2net.training.logistic import LogisticTrainer
from nes2net.training.loop import Trainer
from nes2net.training.memory import batch_too_large, detector_too_large
from nes2net.training.monitor import Monitor, RunReporter
from nes2net.training.objective import Objective, with_head
from nes2net.training.optimisation import create_optimizer
from nes2net.training.resume_file import REMEDY, RESUME_FILE, read_resume_file
from nes2net.training.run_folder import check_same_run, run_folder, write_recipe
from nes2net.training.seeding import cuda_algorithms, seed_everything
from nes2net.training.selection import Selection
from nes2net.training.state import RunState, fingerprint
from nes2net.training.teacher import check_teacher, load_teacher
from nes2net.training.tracker import require_library
from nes2net.training.validation import Validator


def train(
    recipe: Recipe,
    device: str = "auto",
    *,
    reporter: RunReporter | None = None,
) -> Path:
    """Train as ``recipe`` says and return the run folder ``{output}/{tag}``.

    The folder gets ``epoch_{n}.pth`` (n from 1) as ``train.keep`` says, ``recipe.yaml``,
    ``history.json``, ``curves.png``, ``train.log``, and ``resume.pt`` every few minutes and after
    each epoch.

    Calling this again with the same recipe resumes the run. On one device the weights are then, bit
    for bit, those of an uninterrupted run; of a GPU ``train.deterministic`` asks this. Processes
    started by ``torchrun`` or ``accelerate launch`` share each batch and reach the weights of a
    single process up to rounding.

    Args:
        reporter: prints the run on standard output in lines of its own; this package's own messages
            then go to standard error.

    Raises:
        InputError: if something in the recipe or on disk is missing or wrong, the folder holds
            another run, the loss is not finite, or memory runs out; the last save is intact.
        Unfinished: if SIGTERM came, or the disk is full or fails; the work done is saved. Also if
            the data cannot be read any more; the work done since the last save is lost.
        KeyboardInterrupt: if Ctrl-C was pressed; the work done is saved.
    """
    require_library(recipe.tracker)
    algorithms = cuda_algorithms(recipe.train.deterministic, recipe.train.cudnn_benchmark)
    with StopRequests() as stop, algorithms:
        train_trials, dev_trials = training_trials(recipe), read_trials(recipe.data, "dev")
        if recipe.data.crop != "pieces":  # of which there may be more
            check_fills_a_batch(len(train_trials), recipe.train)
        classes = {trial.target for trial in train_trials}  # one-class distillation trains on bona fide speech alone
        known = [trial.path for trial in dev_trials if trial.target in classes]
        if set(known) <= {trial.path for trial in train_trials}:
            which = "" if len(classes) == 2 else "bona fide "
            raise InputError(
                f"all {len(known)} {which}development trials are training trials too, so they would choose the epoch that "
                "knows them best: in a list of your own, fill a column 'split' with train and dev; or name another list "
                "or folder with `data.root`"
            )
        accelerator = create_accelerator(device, recipe.train.precision)
        folder, writes = Path(recipe.output) / recipe.tag, accelerator.is_main_process
        with run_folder(folder, recipe, writes):
            resume = read_resume_file(folder)
            if resume is not None:
                check_same_run(folder / RESUME_FILE, recipe, resume["recipe"])
            # The data first: wrong folders of noise are found before a large model is read.
            stream = augmentation_stream(recipe, accelerator.num_processes)
            rank, world_size = accelerator.process_index, accelerator.num_processes
            pin_memory = accelerator.device.type == "cuda"
            training = examples(recipe.data, train_trials, shown=writes)
            development = Examples(dev_trials)
            if not recipe.validation.whole_utterances:
                development = examples(recipe.data, dev_trials, "development", shown=writes)
            loader = training_batches(
                recipe,
                training,
                stream,
                rank=rank,
                world_size=world_size,
                accumulate=recipe.train.accumulate,
                pin_memory=pin_memory,
            )
            dev_loaders = development_batches(
                recipe, development, stream, rank=rank, world_size=world_size, pin_memory=pin_memory
            )
            seed_everything(recipe.seed)
            with enough_memory(lambda: detector_too_large(accelerator.device)):
                detector = _build_detector(recipe, folder, resume).to(accelerator.device)
            for trials in (train_trials, dev_trials):
                check_system_scores(trials, detector.num_scores)
            if detector.num_scores:  # scoring needs them
                detector.record["score_ranges"] = score_ranges(recipe.data)
            data = {"training": fingerprint(training.trials), "development": fingerprint(development.trials)}
            objective = _prepare(recipe, detector, accelerator)
            optimizer = create_optimizer(objective.trained_parameters(), recipe.train)
            selection = Selection(folder, recipe.train, recipe.validation, list(dev_loaders))
            state = RunState(recipe.to_dict(), data, detector, optimizer, selection, accelerator.scaler, stream)
            log, disk = Path(recipe.logs) / recipe.tag, failing_disk_is_temporary(folder, state.num_bytes)
            with disk, Monitor(selection, log, writes, reporter) as monitor:
                rule = corpora.get(recipe.data.dev_corpus or recipe.data.corpus).eer_method
                validator = Validator(
                    objective,
                    dev_loaders,
                    accelerator,
                    monitor,
                    eer_method=rule,
                    seed=recipe.seed,
                    mode=recipe.validation.mode,
                )
                kind = LogisticTrainer if recipe.train.optimizer == "logistic" else Trainer
                trainer = kind(recipe, objective, loader, validator, state, accelerator, monitor, stop)
                checkpoint = recipe.train.init_from if resume is None else None
                if resume is not None:  # after accelerate has moved the optimiser
                    with enough_memory(lambda: detector_too_large(accelerator.device)):
                        state.load(resume)
                del resume
                _check_processes(state, accelerator)
                write_once(accelerator, partial(_begin_writing, recipe, state, monitor))
                for line in _summary(objective, training, development, accelerator):
                    monitor.say(line)
                if writes:
                    monitor.left_out([*training.errors, *development.errors])
                if writes and reporter is not None:
                    reporter.started(detector, checkpoint, len(train_trials), len(dev_trials))
                with enough_memory(lambda: batch_too_large(trainer)):
                    _fit(trainer)
    return folder


def _begin_writing(recipe: Recipe, state: RunState, monitor: Monitor) -> None:
    """Write what a run begins with, and remove what an interrupted save left behind."""
    write_recipe(state.selection.folder, recipe)
    state.remove_files()
    if not state.selection.is_done:
        monitor.open_logs(state.progress.epoch, recipe, state.detector.device)


def _check_processes(state: RunState, accelerator: Accelerator) -> None:
    """Wait for all processes to read the folder, and refuse different runs or corpora."""
    known = (state.progress.epoch, state.progress.step, state.data)
    if any(theirs != known for theirs in gathered(accelerator, known)):
        raise InputError(
            f"the processes do not see the same corpus, or the same run in {state.selection.folder}: put both where "
            "every process can read them"
        )


def _fit(trainer: Trainer) -> None:
    """Train the remaining epochs, and report where the run begins and ends."""
    selection, monitor = trainer.state.selection, trainer.monitor
    epoch, step = trainer.state.progress.epoch, trainer.state.progress.step
    if selection.is_done:
        monitor.say(f"{selection.folder} is trained already, {epoch - 1} epochs")
    elif step:
        monitor.say(f"going on in epoch {epoch}, step {step}")
    elif epoch > 1:
        monitor.say(f"going on after epoch {epoch - 1}")
    if trainer.accelerator.num_processes > 1:
        trainer.stop.agree = partial(signal_of_all, trainer.accelerator)
    trainer.fit()
    monitor.say(selection.table())
    monitor.say(f"checkpoints are in {selection.folder}, logs for TensorBoard in {monitor.log}")


def _prepare(recipe: Recipe, detector: Detector, accelerator: Accelerator) -> Objective:
    """Make the objective of ``detector``, after what the recipe changes in its layers."""
    if recipe.train.activation_checkpointing:
        detector.frontend.checkpoint_activations()
    if accelerator.num_processes > 1:
        synchronise_batch_norms(detector, accelerator.device)
    learned = [
        part for part in (detector.frontend, detector.backend) if any(p.requires_grad for p in part.parameters())
    ]
    augment = recipe.augment
    objective = Objective(detector, recipe.train, augment.specmix, recipe.seed, latent=augment.latent)
    if recipe.train.compile:  # in place, so that the names of weights stay
        for part in learned:
            part.compile()
    return objective


def _summary(objective: Objective, training: Examples, development: Examples, accelerator: Accelerator) -> list[str]:
    def count(found: Examples) -> str:
        bonafide, number = sum(t.label == BONAFIDE for t in found.trials), len(found.trials)
        what = f"{number} ({bonafide} bona fide, {number - bonafide} spoof)"
        return what if found.excerpts is None else f"{what}, pieces of recordings"

    detector = objective.detector
    parts = " + ".join(detector.config[part]["name"] for part in ("frontend", "aggregation", "backend"))
    size, trained = (sum(p.numel() for p in of) for of in (detector.parameters(), objective.trained_parameters()))
    size_in_words = f"{size:,} parameters" + (f", {trained:,} of them trained," if trained < size else "")
    processes = f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
    return [
        f"detector: {parts}, {size_in_words} on {detector.device}{processes}",
        f"training trials: {count(training)}",
        f"development trials: {count(development)}",
    ]


def _build_detector(recipe: Recipe, folder: Path, resume: dict | None) -> Detector:
    frontend = recipe.model.get("frontend", {})
    if isinstance(frontend, str):
        frontend = {"name": frontend}
    if resume is not None:  # architecture and weights are the run's own
        model = resume["model"]
        if "engine" in frontend:
            model = {**model, "frontend": {**model["frontend"], "engine": frontend["engine"]}}
        try:
            return Detector.from_config(model)
        except InputError as error:
            raise InputError(f"{folder / RESUME_FILE} does not fit this version ({error}): {REMEDY}") from error
    check_teacher(recipe)
    if frontend.get("name") == "xlsr_300m" and not recipe.ssl_checkpoint and not recipe.train.init_from:
        raise InputError(
            "refusing to train XLS-R 300M from random weights: name its pre-training file with `ssl_checkpoint`, or "
            "take a small front-end: `model.frontend=wav2vec2_small`"
        )
    model = with_head(recipe.model, recipe.train.loss)
    if not recipe.train.init_from:
        detector = Detector.from_config(model, recipe.ssl_checkpoint)
        if recipe.train.teacher:
            load_teacher(detector, recipe.train.teacher, student_too=recipe.train.student_init == "teacher")
        return detector
    if not Path(recipe.train.init_from).exists():
        raise InputError(
            f"checkpoint {recipe.train.init_from} not found: name the detector to start from with `train.init_from`"
        )
    # The whole model holds the pre-trained weights, and the options if this package wrote it.
    state_dict = load_state_dict(recipe.train.init_from)
    theirs = read_record(state_dict).get("model")
    if recipe.ssl_checkpoint and isinstance(theirs, dict) and isinstance(theirs.get("frontend"), dict):
        model = {**model, "frontend": {**theirs["frontend"], **frontend}}
    detector = Detector.from_config(model)
    detector.load_published(state_dict, recipe.train.init_from)
    return detector
