"""One training run of a recipe: corpus, detector, run folder, resuming, and the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from nes2net.checkpoints.base import base_digest
from nes2net.checkpoints.published_names import unwrap_frontend
from nes2net.checkpoints.state_dict import load_state_dict, read_record
from nes2net.corpora.trial import BONAFIDE, Trial
from nes2net.detector import Detector
from nes2net.detector.recognition import recognise
from nes2net.errors import InputError, counted, shown, worded
from nes2net.frontends.adaptation import adapt as adapt_frontend
from nes2net.frontends.adaptation import check_adaptation
from nes2net.frontends.sizes import check_pretrained
from nes2net.machine.memory import enough_memory
from nes2net.machine.terminal import print_note
from nes2net.published_models import PUBLISHED, RECORD_KEY, START_KEY, start_of
from nes2net.recipes.recipe import Recipe
from nes2net.recipes.train import TrainConfig
from nes2net.registry import create_frontend, frontends, takes_checkpoint
from nes2net.scoring.system_scores import check_system_scores
from nes2net.training.augmentation import augmentation_stream
from nes2net.training.balance import Balance
from nes2net.training.data import (
    Examples,
    check_fills_a_batch,
    check_unseen,
    development_batches,
    eer_methods,
    examples,
    frame_labels,
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
from nes2net.training.optimisation import create_optimizer, parameter_groups
from nes2net.training.resume_file import BASE_FILE, REMEDY, RESUME_FILE, read_resume_file
from nes2net.training.run_folder import check_same_run, run_folder, write_recipe
from nes2net.training.seeding import cuda_algorithms, seed_everything
from nes2net.training.selection import Selection
from nes2net.training.state import RunState, fingerprint
from nes2net.training.teacher import check_teacher, load_teacher
from nes2net.training.tracker import require_library
from nes2net.training.validation import Validator

_ADAPTED_TWICE = "a recipe says how its front-end is adapted with `train.adapt`: leave `model.frontend.adapt` out"


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
    _check_layers(recipe)
    recipe = _without_needless_checkpoint(recipe)
    algorithms = cuda_algorithms(recipe.train.deterministic, recipe.train.cudnn_benchmark)
    with StopRequests() as stop, algorithms:
        train_trials, dev_trials = training_trials(recipe), read_trials(recipe.data, "dev")
        if recipe.data.crop != "pieces" and not recipe.data.balanced:  # of which there may be more
            check_fills_a_batch(len(train_trials), recipe.train)
        check_unseen(recipe.data, train_trials, dev_trials)
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
            labels, dev_labels = frame_labels(recipe, "train", train_trials), frame_labels(recipe, "dev", dev_trials)
            training = examples(recipe.data, train_trials, labels=labels, shown=writes)
            development = Examples(dev_trials, labels=dev_labels)
            if not recipe.validation.whole_utterances:
                development = examples(recipe.data, dev_trials, "development", labels=dev_labels, shown=writes)
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
            data = {
                "training": fingerprint(training.trials, training.labels, loader.batch_sampler.balance),
                "development": fingerprint(development.trials, development.labels),
            }
            objective = _prepare(recipe, detector, accelerator)
            decay = recipe.train.layer_decay
            trained = objective.trained_parameters() if decay == 1 else parameter_groups(detector, decay)
            optimizer = create_optimizer(trained, recipe.train)
            resolutions = recipe.segments.resolutions
            selection = Selection(folder, recipe.train, recipe.validation, list(dev_loaders), resolutions)
            state = RunState(recipe.to_dict(), data, detector, optimizer, selection, accelerator.scaler, stream)
            log, disk = Path(recipe.logs) / recipe.tag, failing_disk_is_temporary(folder, state.num_bytes)
            with disk, Monitor(selection, log, writes, reporter) as monitor:
                rules = eer_methods(recipe.data)
                validator = Validator(
                    objective,
                    dev_loaders,
                    accelerator,
                    monitor,
                    eer_method=next(iter(rules.values())) if len(set(rules.values())) == 1 else "asvspoof",
                    eer_methods={alias: rule for alias, rule in rules.items() if alias is not None},
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
                aliases = [corpus.called for corpus in recipe.data.corpora]
                balance = loader.batch_sampler.balance
                for line in _summary(objective, training, development, balance, aliases, accelerator):
                    monitor.say(line)
                if writes:
                    monitor.left_out([*training.errors, *development.errors])
                if writes and reporter is not None:
                    reporter.started(detector, checkpoint, len(train_trials), len(dev_trials))
                with enough_memory(lambda: batch_too_large(trainer)):
                    _fit(trainer)
    return folder


def _check_layers(recipe: Recipe) -> None:
    """Refuse settings of transformer layers for a front-end without, before the corpus is read.

    Raises:
        InputError: if ``train.adapt`` is wrong, or the front-end has no such layers.
    """
    train, frontend = recipe.train, recipe.model.get("frontend", {})
    settings = {"adapt": train.adapt, "freeze_layers": train.freeze_layers, "layer_decay": train.layer_decay}
    given = [key for key, value in settings.items() if value != TrainConfig.model_fields[key].default]
    if not given:
        return
    if train.adapt is not None:
        check_adaptation(train.adapt, "`train.adapt`")
    options = {"name": frontend} if isinstance(frontend, str) else dict(frontend)
    name, engine, _ = (options.pop(key, None) for key in ("name", "engine", "checkpoint"))
    if train.adapt is not None:
        if options.pop("adapt", None) is not None:
            raise InputError(_ADAPTED_TWICE)
        if engine == "fairseq":
            raise InputError("`train.adapt` does not go with `model.frontend.engine=fairseq`: leave one of them out")
    with torch.device("meta"):
        layers = create_frontend(name, **options).transformer_layers
    if not layers:
        raise InputError(f"front-end '{name}' has no transformer layers: leave `train.{given[0]}` out")


def _begin_writing(recipe: Recipe, state: RunState, monitor: Monitor) -> None:
    """Write what a run begins with, and remove what an interrupted save left behind."""
    folder, detector = state.selection.folder, state.detector
    write_recipe(folder, recipe)
    if detector.frontend.adapted and detector.base is None:  # random weights, which are in no file yet
        detector.save_base(folder / BASE_FILE)
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
        monitor.say(f"{selection.folder} is trained already, {counted(epoch - 1, 'epoch')}")
    elif step:
        monitor.say(f"going on in epoch {epoch}, step {step}")
    elif epoch > 1:
        monitor.say(f"going on after epoch {epoch - 1}")
    if trainer.accelerator.num_processes > 1:
        trainer.stop.agree = partial(signal_of_all, trainer.accelerator)
    trainer.fit()
    monitor.say(selection.table())
    if (of_corpora := selection.corpora_table()) is not None:
        monitor.say(of_corpora)
    if trainer.accelerator.device.type == "cuda":
        monitor.say(f"peak of this GPU's memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
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
    objective = Objective(
        detector, recipe.train, augment.specmix, recipe.seed, latent=augment.latent, segments=recipe.segments
    )
    if recipe.train.compile:  # in place, so that the names of weights stay
        for part in learned:
            part.compile()
    return objective


def _summary(
    objective: Objective,
    training: Examples,
    development: Examples,
    balance: Balance | None,
    aliases: Sequence[str],
    accelerator: Accelerator,
) -> list[str]:
    def numbers(trials: Sequence[Trial]) -> str:
        bonafide = sum(trial.label == BONAFIDE for trial in trials)
        return f"{len(trials)} ({bonafide} bona fide, {len(trials) - bonafide} spoof)"

    def count(found: Examples) -> str:
        what = numbers(found.trials)
        if found.labels is not None:
            what += f", {sum(trial.id in found.labels for trial in found.trials)} with labels of frames"
        return what if found.excerpts is None else f"{what}, pieces of recordings"

    detector = objective.detector
    parts = " + ".join(detector.config[part]["name"] for part in ("frontend", "aggregation", "backend"))
    size, trained = (sum(p.numel() for p in of) for of in (detector.parameters(), objective.trained_parameters()))
    size_in_words = f"{size:,} parameters" + (
        f", {trained:,} of them trained ({100 * trained / size:.3g} %)," if trained < size else ""
    )
    processes = (
        f", {counted(accelerator.num_processes, 'process', 'processes')}" if accelerator.num_processes > 1 else ""
    )
    lines = [f"detector: {parts}, {size_in_words} on {detector.device}{processes}"]
    lines += [f"note: {worded(detector.frontend.note)}"] if detector.frontend.note else []
    if detector.num_zeros:
        read, given = detector.backend.feature_dim, detector.frontend.out_dim
        lines.append(f"note: zeros fill up the hidden states of {given} numbers to the {read} that the back-end reads")
    for title, found in (("training", training), ("development", development)):
        lines.append(f"{title} trials: {count(found)}")
        for alias in aliases:
            if of_corpus := [trial for trial in found.trials if trial.get("corpus") == alias]:
                lines.append(f"  {alias}: {numbers(of_corpus)}")
    if balance is not None:
        lines.append(f"an epoch draws {balance.draws} of the training trials")
    return lines


def _without_needless_checkpoint(recipe: Recipe) -> Recipe:
    """``recipe`` without its pre-training file, if its front-end has no pre-training; a line says so."""
    frontend = recipe.model.get("frontend", {})
    name = frontend if isinstance(frontend, str) else frontend.get("name", "")
    needless = recipe.ssl_checkpoint is not None and not recipe.train.init_from
    if not needless or name not in frontends.names() or takes_checkpoint(name):
        return recipe
    print_note(f"front-end '{name}' has no pre-training, so `ssl_checkpoint` ({recipe.ssl_checkpoint}) is not read")
    return recipe.model_copy(update={"ssl_checkpoint": None})


def _build_detector(recipe: Recipe, folder: Path, resume: dict | None) -> Detector:
    frontend = recipe.model.get("frontend", {})
    if isinstance(frontend, str):
        frontend = {"name": frontend}
    if resume is not None:  # architecture and weights are the run's own
        return _build_again(recipe, folder, resume, frontend)
    check_teacher(recipe)
    if not recipe.ssl_checkpoint and not recipe.train.init_from:
        check_pretrained(frontend.get("name", ""))
    model = with_head(recipe.model, recipe.train.loss)
    if not recipe.train.init_from:
        detector = Detector.from_config(adapted(model, recipe.train.adapt), recipe.ssl_checkpoint)
        if recipe.train.teacher:
            load_teacher(detector, recipe.train.teacher, student_too=recipe.train.student_init == "teacher")
        return detector
    if not Path(recipe.train.init_from).exists():
        raise InputError(
            f"checkpoint {recipe.train.init_from} not found: name the detector to start from with `train.init_from`"
        )
    # The whole model holds the pre-trained weights, and the options if this package wrote it.
    state_dict = load_state_dict(recipe.train.init_from)
    record = read_record(state_dict)
    if recipe.ssl_checkpoint:
        theirs = {key: value for key, value in _frontend_of(record).items() if key != "adapt"}
        model = {**model, "frontend": {**theirs, **frontend}}
    detector = _start_from(recipe.train.init_from, state_dict, record, model, recipe.train.adapt)
    if starts := _starts(state_dict, record, frontend.get("name", "")):
        detector.record[START_KEY] = starts
    return detector


def _build_again(recipe: Recipe, folder: Path, resume: dict, frontend: dict[str, Any]) -> Detector:
    """Build the detector of the run in ``folder`` again, with the base of an adapted one."""
    path, model = folder / RESUME_FILE, resume["model"]
    if "engine" in frontend:
        model = {**model, "frontend": {**model["frontend"], "engine": frontend["engine"]}}
    try:
        detector = Detector.from_config(model)
    except InputError as error:
        raise InputError(f"{path} does not fit this version ({error}): {REMEDY}") from error
    if starts := resume.get(START_KEY):
        detector.record[START_KEY] = starts
    if detector.frontend.adapted:
        if "base" not in resume:
            raise InputError(f"{path} does not fit this run (it does not name its base): {REMEDY}")
        moved = None if recipe.train.init_from else recipe.ssl_checkpoint  # its place may change
        its_file = "the file of `train.init_from`" if recipe.train.init_from else "that file"
        remedy = f"put {its_file} back as it was"
        if moved is not None:
            remedy = "name with `ssl_checkpoint` the file that the run began with"
        detector.load_base(resume["base"], path, moved, remedy)
        detector.float()  # what is not trained may be saved with fewer bits
        if moved is not None:
            detector.base = {**resume["base"], "file": moved}
    return detector


def _starts(state_dict: Mapping[str, Tensor], record: dict[str, Any], frontend: str) -> list[dict[str, Any]]:
    """What is known of the training of a checkpoint that a run starts from.

    A checkpoint of other code may be any of the published models that it fits; those with the
    ``frontend`` of the run, if there are such.
    """
    if "model" in record:
        return [start] if (start := start_of(record)) else []
    fitting = [name for name, misfit in recognise(state_dict).items() if not misfit]
    alike = [name for name in fitting if PUBLISHED[name].frontend == frontend]
    return [{RECORD_KEY: name} for name in alike or fitting]


def _start_from(
    path: str, state_dict: Mapping[str, Tensor], record: dict[str, Any], model: dict[str, Any], adapt: dict | None
) -> Detector:
    """Build the detector that starts from the checkpoint ``path``, and adapt its front-end if it is not adapted yet.

    Raises:
        InputError: if the checkpoint does not fit, or is adapted in another way.
    """
    before = _frontend_of(record).get("adapt")
    if before is not None:  # go on with what was added
        before = check_adaptation(before, f"{path}: adapt").options
        ours = None if adapt is None else check_adaptation(adapt, "`train.adapt`").options
        if ours != before:
            options = ", ".join(f"{key}: {shown(value)}" for key, value in before.items())
            raise InputError(
                f"{path} is adapted by {{{options}}}: set `train.adapt` to that, or merge it first: nes2net merge"
            )
        model = adapted(model, adapt)
    detector = Detector.from_config(model)
    if detector.is_partial(unwrap_frontend(state_dict)):
        detector.load_base(record.get("base"), path, remedy="put its base there, or beside it")
        detector.float()
    detector.load_published(state_dict, path)
    if before is None and adapt is not None:
        adapt_frontend(detector.frontend, check_adaptation(adapt, "`train.adapt`"))
    if detector.frontend.adapted and detector.base is None:
        names, tensors = detector.base_names(), unwrap_frontend(state_dict)
        detector.base = {"digest": base_digest({name: tensors[name] for name in names}), "file": path}
    return detector


def _frontend_of(record: dict[str, Any]) -> dict[str, Any]:
    """Name and options of the front-end in the record of a checkpoint; empty for one of other code."""
    model = record.get("model")
    frontend = model.get("frontend") if isinstance(model, dict) else None
    return frontend if isinstance(frontend, dict) else {}


def adapted(model: dict[str, Any], adapt: dict[str, Any] | None) -> dict[str, Any]:
    """Give the front-end of ``model`` the option ``adapt``, unless it is None.

    Raises:
        InputError: if the front-end has this option already.

    >>> adapted({"frontend": "wavlm_large"}, {"kind": "bitfit"})
    {'frontend': {'name': 'wavlm_large', 'adapt': {'kind': 'bitfit'}}}
    """
    frontend = model.get("frontend", {})
    options = {"name": frontend} if isinstance(frontend, str) else frontend
    if options.get("adapt") is not None:
        raise InputError(_ADAPTED_TWICE)
    return model if adapt is None else {**model, "frontend": {**options, "adapt": adapt}}
