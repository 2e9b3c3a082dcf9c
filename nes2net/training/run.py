"""One training run from a recipe: corpus, detector, run folder, resume — and then the loop."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader

from nes2net.audio.cache import AudioCache
from nes2net.augment.legacy import LegacyStream
from nes2net.augment.noise import NoiseAugmentation
from nes2net.augment.rawboost import RawBoostParameters
from nes2net.checkpoints.state_dict import load_state_dict, read_record
from nes2net.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.errors import InputError
from nes2net.recipes.recipe import Recipe
from nes2net.registry import corpora
from nes2net.training.augmentation import augmentation_stream
from nes2net.training.dataset import TrainingSet, longest_first, training_loader
from nes2net.training.distributed import (
    all_or_none,
    create_accelerator,
    gathered,
    signal_of_all,
    synchronise_batch_norms,
)
from nes2net.training.interruption import StopRequests, failing_disk_is_temporary
from nes2net.training.loop import Trainer
from nes2net.training.monitor import Monitor, RunReporter
from nes2net.training.objective import Objective
from nes2net.training.optimisation import create_optimizer
from nes2net.training.run_folder import RECIPE_FILE as RECIPE_FILE
from nes2net.training.run_folder import check_same_run, run_folder, write_recipe
from nes2net.training.sampling import EpochBatches
from nes2net.training.seeding import cuda_algorithms, seed_everything
from nes2net.training.selection import Selection
from nes2net.training.state import RunState, fingerprint, read_resume_file
from nes2net.training.validation import Validator, passes

if TYPE_CHECKING:
    from accelerate import Accelerator


def train(
    recipe: Recipe,
    device: str = "auto",
    *,
    deterministic: bool = True,
    benchmark: bool = False,
    reporter: RunReporter | None = None,
) -> Path:
    """Train as ``recipe`` says and return the run folder ``{output}/{tag}``.

    Written there: ``epoch_{n}.pth`` (n from 1) as ``train.keep`` says, ``recipe.yaml``, ``history.json``, ``curves.png``, and
    ``resume.pt`` every so many minutes and after each epoch. The same recipe run again goes on from there: on one CPU in float32 to the
    same weights, bit for bit, as if it had not been interrupted; on one GPU as far as its kernels repeat themselves. Processes that
    ``torchrun`` or ``accelerate launch`` started share each batch, to the weights of one process up to rounding.

    Args:
        deterministic: cuDNN and cuBLAS take algorithms that do. Operations for which PyTorch has no such kernel, as the backward pass of
            its memory-efficient attention, still differ in the last digits.
        benchmark: cuDNN times its algorithms and takes the fastest, which need not be the same the next time.
        reporter: prints the run on standard output in its own lines; what this package says goes to standard error then.

    Raises:
        InputError: something in the recipe or on disk is missing or wrong, the folder holds another run, or the loss is no number.
        Unfinished: SIGTERM came, or the disk is full or fails; what is done is saved.
        KeyboardInterrupt: Ctrl-C, after what is done was saved.
    """
    with StopRequests() as stop, cuda_algorithms(deterministic, benchmark):
        train_trials, dev_trials = _trials(recipe, "train"), _trials(recipe, "dev")
        if len(train_trials) < recipe.train.batch_size:
            raise InputError(
                f"{len(train_trials)} training trials do not fill one batch of {recipe.train.batch_size}: lower the batch size"
            )
        accelerator = create_accelerator(device, recipe.train.precision)
        folder = Path(recipe.output) / recipe.tag
        with run_folder(folder, recipe, writes=accelerator.is_main_process):
            resume = read_resume_file(folder)
            if resume is not None:
                check_same_run(folder, recipe, resume["recipe"])
            # Before a large model is read: looks through the folders of noise.
            stream = augmentation_stream(recipe, accelerator.num_processes)
            loader = _training_loader(recipe, train_trials, accelerator.device, stream, accelerator)
            dev_loaders = _development_loaders(recipe, dev_trials, stream, accelerator)
            seed_everything(recipe.seed)
            detector = _build_detector(recipe, resume).to(accelerator.device)
            data = {"training": fingerprint(train_trials), "development": fingerprint(dev_trials)}
            objective, state = _prepare(recipe, folder, data, detector, len(loader), accelerator, stream)
            writes = accelerator.is_main_process
            disk = failing_disk_is_temporary(folder, state.num_bytes)
            with disk, Monitor(recipe, folder, state.selection, writes, reporter) as monitor:
                validator = Validator(recipe, objective, dev_loaders, accelerator)
                trainer = Trainer(recipe, folder, objective, loader, validator, state, accelerator, monitor, stop)
                checkpoint = recipe.train.init_from if resume is None else None
                if resume is not None:  # after accelerate has placed the optimiser, whose step counters are for the CPU
                    state.load(resume)
                del resume
                _check_processes(folder, state, accelerator)
                with all_or_none(accelerator):
                    if writes:
                        write_recipe(folder, recipe)
                        state.remove_files()
                        if not state.is_done:
                            monitor.open_log(state.progress.epoch)
                for line in _summary(detector, train_trials, dev_trials, accelerator):
                    monitor.say(line)
                monitor.started(detector, checkpoint, len(train_trials), len(dev_trials))
                _fit(trainer)
    return folder


def _check_processes(folder: Path, state: RunState, accelerator: Accelerator) -> None:
    """All processes have read what is in the folder, and know of the same run."""
    known = (state.progress.epoch, state.progress.step, len(state.selection.history), state.data)
    if any(theirs != known for theirs in gathered(accelerator, known)):
        raise InputError(
            f"the processes do not see the same corpus, or the same run in {folder}: put both where all of them can read them"
        )


def _fit(trainer: Trainer) -> None:
    """Train what is left, and say what there was and what there is."""
    state, monitor = trainer.state, trainer.monitor
    epoch, step = state.progress.epoch, state.progress.step
    if state.is_done:
        monitor.say(f"{trainer.folder} is trained already, {epoch - 1} epochs")
    else:
        if epoch > 1 or step:
            monitor.say(f"going on in epoch {epoch}, step {step}" if step else f"going on after epoch {epoch - 1}")
        if trainer.accelerator.num_processes > 1:
            trainer.stop.agree = partial(signal_of_all, trainer.accelerator)
        trainer.fit()
    monitor.table()
    monitor.say(f"checkpoints are in {trainer.folder}")


def _prepare(
    recipe: Recipe,
    folder: Path,
    data: dict[str, dict[str, int]],
    detector: Detector,
    steps: int,
    accelerator: Accelerator,
    stream: LegacyStream | None,
) -> tuple[Objective, RunState]:
    """What is optimised, and what of it has a state."""
    train, scaler = recipe.train, accelerator.scaler
    if train.activation_checkpointing:
        detector.frontend.checkpoint_activations()
    if accelerator.num_processes > 1:
        synchronise_batch_norms(detector, accelerator.device)
    objective = Objective(recipe, detector, steps)
    optimizer = create_optimizer(detector.parameters(), train)
    if train.compile:  # in place: names of weights stay
        for part in (detector.frontend, detector.backend):
            if any(p.requires_grad for p in part.parameters()):
                part.compile()
    return objective, RunState(recipe, data, detector, optimizer, Selection(recipe, folder), scaler, stream)


def _trials(recipe: Recipe, part: str) -> list[Trial]:
    corpus = corpora.get(recipe.data.corpus)
    if recipe.data.root is None:
        raise InputError("where is the corpus? name its folder with `data.root`")
    trials = corpus.trials(recipe.data.root, part, protocols=recipe.data.protocols)
    _check_trials("training" if part == "train" else "development", trials)
    return trials


def _summary(
    detector: Detector, train_trials: list[Trial], dev_trials: list[Trial], accelerator: Accelerator
) -> list[str]:
    def count(trials: list[Trial]) -> str:
        bonafide = sum(t.target for t in trials)
        return f"{len(trials)} ({bonafide} bona fide, {len(trials) - bonafide} spoof)"

    parts = " + ".join(detector.config[part]["name"] for part in ("frontend", "aggregation", "backend"))
    processes = f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
    return [
        f"detector: {parts}, {sum(p.numel() for p in detector.parameters()):,} parameters on {detector.device}{processes}",
        f"training trials: {count(train_trials)}",
        f"development trials: {count(dev_trials)}",
    ]


def _check_trials(part: str, trials: list[Trial]) -> None:
    if {t.target for t in trials} != {0, 1}:
        raise InputError(
            f"the {part} set needs bona fide and spoofed trials, it has {len(trials)} trials of one class or none"
        )
    missing = [t for t in trials if not t.path.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(trials)} audio files of the {part} set are missing, the first of them {missing[0].path}: "
            "complete the corpus or name its folder with `data.root`"
        )


def _build_detector(recipe: Recipe, resume: dict | None) -> Detector:
    frontend = recipe.model.get("frontend", {})
    name = frontend if isinstance(frontend, str) else frontend.get("name")
    if resume is not None:  # neither pre-training file is read again: architecture and weights are those of the run
        model = resume.get("model") or recipe.model
        if not isinstance(frontend, str) and "engine" in frontend:
            model = {**model, "frontend": {**model["frontend"], "engine": frontend["engine"]}}
        return Detector.from_config(model)
    if name == "xlsr_300m" and not recipe.ssl_checkpoint and not recipe.train.init_from:
        raise InputError(
            "refusing to train XLS-R 300M from random weights: name its pre-training file with `ssl_checkpoint`, or take a small "
            "front-end: `model.frontend=wav2vec2_small`"
        )
    if not recipe.train.init_from:
        return Detector.from_config(recipe.model, recipe.ssl_checkpoint)
    # The pre-training file is not read: its weights are in the whole model, its options too where this package wrote it.
    state_dict = load_state_dict(recipe.train.init_from)
    model, theirs = recipe.model, read_record(state_dict).get("model")
    if recipe.ssl_checkpoint and isinstance(theirs, dict) and isinstance(theirs.get("frontend"), dict):
        own = {"name": frontend} if isinstance(frontend, str) else frontend
        model = {**model, "frontend": {**theirs["frontend"], **own}}
    detector = Detector.from_config(model)
    detector.load_published(state_dict, recipe.train.init_from)
    return detector


def training_batches(recipe: Recipe, device: torch.device) -> DataLoader:
    """The training batches of ``recipe``, as in its first epoch."""
    return _training_loader(recipe, _trials(recipe, "train"), device, augmentation_stream(recipe))


def _training_loader(
    recipe: Recipe,
    trials: list[Trial],
    device: torch.device,
    stream: LegacyStream | None,
    accelerator: Accelerator | None = None,
) -> DataLoader:
    """The parts of each step that are this process's; without ``accelerator`` whole batches."""
    data, augment, train = recipe.data, recipe.augment, recipe.train
    recipe.check_noise()
    noise = NoiseAugmentation(augment.musan, augment.rir, augment.noise_probability)
    dataset = _dataset(recipe, trials, "train", augment.algo, data.num_samples, stream, noise=noise, crop=data.crop)
    shared = {}
    if accelerator is not None:
        shared = {
            "rank": accelerator.process_index,
            "world_size": accelerator.num_processes,
            "accumulate": train.accumulate,
        }
    batches = EpochBatches(len(trials), train.batch_size, recipe.seed, True, **shared)
    return training_loader(dataset, batches, data.num_workers, device.type == "cuda")


def _development_loaders(
    recipe: Recipe, trials: list[Trial], stream: LegacyStream | None, accelerator: Accelerator
) -> dict[str, DataLoader]:
    """This process's batches of each pass over the development set; noise and another crop than the head belong to training alone."""
    num_samples, batch_size = recipe.data.num_samples, recipe.train.batch_size
    if recipe.validation.whole_utterances:
        trials, num_samples, batch_size = longest_first(trials), None, 1
    loaders = {}
    for name in passes(recipe):
        algo = recipe.augment.algo if name == "w_aug" else 0
        dataset = _dataset(recipe, trials, "dev", algo, num_samples, stream if algo else None)
        shared = {"rank": accelerator.process_index, "world_size": accelerator.num_processes}
        batches = EpochBatches(len(trials), batch_size, recipe.seed, False, **shared)
        loaders[name] = training_loader(dataset, batches, recipe.data.num_workers, accelerator.device.type == "cuda")
    return loaders


def _dataset(
    recipe: Recipe,
    trials: list[Trial],
    part: str,
    algo: int,
    num_samples: int | None,
    stream: LegacyStream | None,
    **options: object,
) -> TrainingSet:
    parameters = RawBoostParameters.of(**recipe.augment.parameters)
    cache = AudioCache(recipe.data.cache) if recipe.data.cache else None
    return TrainingSet(trials, num_samples, algo, parameters, recipe.seed, part, cache=cache, stream=stream, **options)
