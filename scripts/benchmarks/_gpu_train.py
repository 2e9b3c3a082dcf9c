"""Training steps of the project's trainer: precisions, batches, CUDA graphs, kernels, memory; and an epoch.

The published step is measured with the settings of its program, `cudnn.deterministic`, and freely.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, get_args
from unittest import mock

import torch
from _epoch import ALGORITHM, Epoch, PublishedProgram, Slice, labelled, measure_trainer, median_epoch
from _gpu import Run, Stage, configuration
from _harness import in_turn, recordings, repeated, thread_clock
from _launches import count_step
from _published import PublishedDetector, PublishedTraining
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from nes2net.lib.computing.devices import float32_products
from nes2net.lib.process.this_process import usable_processors
from nes2net.models.quantisation import emulation_note
from nes2net.training.dataset import Batch, StepPart
from nes2net.training.distributed import SCORING_PRECISIONS, create_accelerator
from nes2net.training.loop import Trainer
from nes2net.training.monitor import Monitor
from nes2net.training.optimisation import create_optimizer
from nes2net.training.recipes.recipe import recipe_from_dict
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.run import Run as TrainingRun
from nes2net.training.seeding import cuda_algorithms
from nes2net.training.selection import Selection
from nes2net.training.state import RunState
from nes2net.training.tasks.task import create_task

SECTION = "training step"
PROFILE = "profile of a training step"
EPOCH = "epoch"
REFERENCE = "published way"
FREE_REFERENCE = "published way, free"
#: Steps after the first one until a CUDA graph is recorded, and one that replays it.
WARM_STEPS = 3
#: Precisions that a recipe can name.
RECIPE_PRECISIONS = get_args(TrainConfig.model_fields["precision"].annotation)


def precisions(stage: Stage) -> list[str]:
    """List the precisions in which ``stage`` can train."""
    return [name for name in RECIPE_PRECISIONS if stage.cuda or name in ("fp32", "bf16")]


def batch_size(stage: Stage) -> int:
    """Utterances of a training step."""
    return 2 if stage.small else 12


def measure(stage: Stage) -> None:
    """Measure each kind of step against the published step; then profile some, and measure an epoch."""
    model = PublishedDetector(stage.load(stage.published(), "float32"))
    published = {}
    for name, deterministic in ((REFERENCE, True), (FREE_REFERENCE, False)):
        published[name] = published_steps(stage, PublishedTraining(model), batch_size(stage), deterministic)
    for name, options in modes(stage).items():
        needs = 60 if "compiled" in name else 12
        stage.attempt(SECTION, name, partial(mode, stage, published, name, **options), needs)
    del published, model
    if stage.cuda:
        profile_kinds(stage)
    stage.attempt(EPOCH, EPOCH, partial(epochs, stage), 120)


def modes(stage: Stage) -> dict[str, dict[str, Any]]:
    """Name the kinds of steps, with their options for :func:`mode`."""
    kinds: dict[str, dict[str, Any]] = {name: {"precision": name} for name in precisions(stage)}
    kinds["bf16, no graph"] = {"precision": "bf16", "graph": "never"}
    if stage.small:
        return {name: kinds[name] for name in ("bf16", "bf16, no graph")}
    if stage.cuda:
        kinds["tf32, no graph"] = {"precision": "tf32", "graph": "never"}
    for name in ("bf16", "fp32"):
        kinds[f"{name}, activation checkpointing"] = {"precision": name, "activation_checkpointing": True}
    kinds["bf16, cuDNN times its algorithms"] = {"precision": "bf16", "deterministic": False}
    for factor in (2, 4, 8):
        batch = factor * batch_size(stage)
        kinds[f"bf16, batch {batch}"] = {"precision": "bf16", "batch": batch}
        kinds[f"bf16, batch {batch}, no graph"] = {"precision": "bf16", "batch": batch, "graph": "never"}
    kinds["bf16, compiled"] = {"precision": "bf16", "compile": True}
    return kinds


def published_steps(stage: Stage, training: PublishedTraining, batch: int, deterministic: bool = True) -> Run:
    """Make a run of published steps of one batch, on the device and in the precision of its model."""
    training.model.train()
    waveforms, targets, *_ = training_batch(stage, batch).part
    waveforms = waveforms.to(training.weights)
    targets = targets.to(training.weights.device)

    def run(count: int) -> float:
        with cudnn_algorithms(deterministic):
            for _ in range(count):
                loss = training.step(waveforms, targets)
        return loss

    return run


def mode(
    stage: Stage,
    published: Mapping[str, Run],
    name: str,
    *,
    deterministic: bool = True,
    batch: int | None = None,
    **options: Any,
) -> None:
    """Measure steps of one kind and the published steps in turn.

    Args:
        published: the published step, by the name of its settings.
    """
    batch = batch or batch_size(stage)
    with TemporaryDirectory() as folder:
        trainer = make_trainer(stage, stage.published(), Path(folder), batch=batch, **options)
        run = steps_of(stage, trainer, batch, deterministic)
        run(1)  # makes Adam's averages
        gibibytes = stage.memory(partial(run, WARM_STEPS))  # in which a CUDA graph is recorded
        seconds = stage.race(SECTION, {**published, name: run}, 1.0, 3)
        if len(seconds) <= len(published):  # a run has failed, which has a row
            return
        speed = batch / seconds[name]
        columns: dict[str, Any] = {"utterances/s": speed, "ms": 1e3 * seconds[name]}
        for reference in published:
            columns[f"× {reference.removesuffix(' way')}"] = speed * seconds[reference] / batch_size(stage)
        columns["GiB added"] = gibibytes  # to weights and Adam's averages
        stage.add(SECTION, name, batch=batch, **columns, loss=last_loss(trainer))


def steps_of(stage: Stage, trainer: Trainer, batch: int, deterministic: bool) -> Run:
    """Make a run of training steps of one batch."""
    step_batch = training_batch(stage, batch)
    steps = iter(range(10**9))

    def run(count: int) -> None:
        with as_in_a_run(trainer, deterministic):
            for _ in range(count):
                trainer.train_step([step_batch], 1, next(steps), False)

    return run


def profile_kinds(stage: Stage) -> None:
    """Profile steps of each precision, of deterministic and of free algorithms, of each batch."""
    for precision, deterministic, factor in itertools.product(("bf16", "tf32"), (True, False), (1, 4)):
        batch = factor * batch_size(stage)
        name = f"{precision}, {'deterministic' if deterministic else 'free'}, batch {batch}"
        stage.attempt(PROFILE, name, partial(profile_step, stage, name, precision, deterministic, batch), 8)
        if stage.small:
            return


def profile_step(stage: Stage, name: str, precision: str, deterministic: bool, batch: int) -> None:
    """Compare the time of a step with that of its kernels, and count launches, casts and waits of a step without a graph."""
    with TemporaryDirectory() as folder:
        trainer = make_trainer(stage, stage.published(), Path(folder), precision=precision, batch=batch)
        run = steps_of(stage, trainer, batch, deterministic)
        with mock.patch.object(trainer, "recorded_step", trainer.change_weights):
            run(1)  # makes Adam's averages
            with as_in_a_run(trainer, deterministic), counted_waits() as num_waits:
                launches = count_step(trainer, [training_batch(stage, batch)], 1, num_waits)
        run(WARM_STEPS)
        milliseconds = 1e3 * stage.race(PROFILE, {name: run}, 0.5, 3)[name]
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            run(1)
            stage.synchronise()
    kernels = [event for event in profiler.key_averages() if event.device_type == DeviceType.CUDA]
    kernels.sort(key=lambda kernel: kernel.self_device_time_total, reverse=True)
    of_kernels = sum(kernel.self_device_time_total for kernel in kernels) / 1e3
    columns = {"ms": milliseconds, "ms of kernels": of_kernels, "kernels / wall": of_kernels / milliseconds}
    counts = {"launches": launches.total(*launches.counts), "casts": launches.casts("forward", "backward")}
    stage.add(PROFILE, name, **columns, **counts, waits=launches.waits.total())
    for kernel in kernels[:10]:
        row = {"ms": kernel.self_device_time_total / 1e3, "calls": kernel.count}
        stage.add(f"kernels of a training step, {name}", kernel.key[:80].replace("|", "/"), **row)


@contextmanager
def counted_waits() -> Iterator[Callable[[], int]]:
    """Within this context, the function that is yielded counts the waits for the GPU so far, as PyTorch warns of them."""
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield lambda: sum("synchronizing" in str(warning.message) for warning in caught_warnings)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def epochs(stage: Stage) -> None:
    """Measure epochs with as many workers as there are processors, at most eight."""
    workers = 0 if stage.small else min(8, usable_processors())
    measure_epochs(stage, batch_size(stage), 4 if stage.small else 40, workers)


def measure_epochs(stage: Stage, batch: int, num_steps: int, workers: int, rounds: int = 1) -> None:
    """Measure slices of an epoch with real files, and extrapolate: the published program and the project's trainer.

    They run in turn (A B A B …), and the figures are medians over the ``rounds``. The development
    set of the slice has half as many utterances as its training set.
    """
    algorithms = {REFERENCE: True, FREE_REFERENCE: False} if stage.cuda else {REFERENCE: True}
    clock = time.perf_counter if stage.cuda else thread_clock()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = labelled(recordings(folder, batch * num_steps // 2))
        trials = Slice(repeated(files, 2), files, files[: len(files) // 2], clock)
        runs = {}
        for name, deterministic in algorithms.items():
            runs[name] = partial(published_epoch, stage, trials, batch, workers, deterministic)
        for name, train, validation in epoch_kinds(stage, batch):
            data = {"num_samples": stage.num_samples, "num_workers": workers}
            sections = {"data": data, "augment": {"algo": ALGORITHM}, "validation": validation}
            runs[name] = partial(own_epoch, stage, trials, folder, batch=batch, sections=sections, **train)
        epochs_of = in_turn(runs, rounds, lambda run: run())
    measured = {name: median_epoch(epochs) for name, epochs in epochs_of.items()}
    for name, epoch in measured.items():
        columns = epoch.columns()
        for reference in algorithms:
            columns[f"× {reference.removesuffix(' way')}"] = measured[reference].seconds / epoch.seconds
        stage.add(EPOCH, name, **columns, note=epoch.note)


def published_epoch(stage: Stage, trials: Slice, batch: int, workers: int, deterministic: bool) -> Epoch:
    """Measure an epoch of the published program, and free its memory."""
    model = PublishedDetector(stage.load(stage.published(), "float32"))
    program = PublishedProgram(PublishedTraining(model), stage.num_samples, batch, workers, stage.device)
    with cudnn_algorithms(deterministic):
        epoch = program.measure(trials)
    del model, program
    stage.release()
    return epoch


def own_epoch(stage: Stage, trials: Slice, folder: Path, **settings: Any) -> Epoch:
    """Measure an epoch of the project's trainer with these ``settings`` of :func:`make_trainer`, and free its memory."""
    trainer = make_trainer(stage, stage.published(), folder, **settings)
    with as_in_a_run(trainer):
        epoch = measure_trainer(trainer, trials)
    del trainer
    stage.release()
    return epoch


def epoch_kinds(stage: Stage, batch: int) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name the kinds of epochs, with their sections `train` and `validation`.

    There are none in bf16 if the CPU emulates it, unless the models are tiny.
    """
    yield "fp32", {"precision": "fp32"}, {}
    if emulation_note("bfloat16", stage.device) and not stage.small:
        return
    yield "bf16, validation in fp32", {"precision": "bf16"}, {"precision": "fp32"}
    yield "bf16", {"precision": "bf16"}, {}
    yield f"bf16, validation in batches of {4 * batch}", {"precision": "bf16"}, {"batch_size": 4 * batch}


@contextmanager
def as_in_a_run(trainer: Trainer, deterministic: bool = True) -> Iterator[None]:
    """Set what `train` sets around the steps of an epoch; at the end, read the result of the last step."""
    precision = SCORING_PRECISIONS[trainer.recipe.train.precision]
    with cuda_algorithms(deterministic), cudnn_algorithms(deterministic), float32_products(precision):
        yield
        trainer.read_result()


def cudnn_algorithms(deterministic: bool) -> AbstractContextManager[None]:
    """Set what the published program sets: cuDNN's deterministic algorithms, or the fastest ones, which cuDNN times."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=not deterministic, deterministic=deterministic)


def last_loss(trainer: Trainer) -> float:
    """The mean loss of the steps so far."""
    progress = trainer.state.progress
    return progress.loss_sum / max(1, progress.utterances)


def make_trainer(
    stage: Stage,
    checkpoint: Path,
    folder: Path,
    *,
    precision: str,
    batch: int,
    model: dict[str, Any] | None = None,
    sections: Mapping[str, Any] | None = None,
    **train: Any,
) -> Trainer:
    """Make the trainer of a run that starts from ``checkpoint``, without a corpus.

    Args:
        folder: the run folder.
        model: architecture of the checkpoint; None for XLS-R 300M and Nes2Net-X.
        sections: further sections of a recipe.
        train: further keys of a recipe's section `train`.
    """
    settings = {"batch_size": batch, "precision": precision, "epochs": 1, "lr": 1e-6, **train}
    folders = {"output": str(folder), "logs": str(folder / "logs")}
    values = {"model": model or configuration(small=stage.small), "augment": {"algo": 0}, "train": settings, **folders}
    recipe = recipe_from_dict({**values, **(sections or {})})
    accelerator = create_accelerator(str(stage.device), precision)
    detector = stage.load(checkpoint, "float32")
    stop: Any = SimpleNamespace(requested=0)
    objective = TrainingRun(recipe, create_task(recipe), accelerator, folder, stop).objective(detector)
    optimizer = create_optimizer(detector.parameters(), recipe.train)
    selection = Selection(folder, recipe.train, recipe.validation, [])
    data: Any = {name: {"trials": 1000 * batch, "digest": ""} for name in ("training", "development")}
    state = RunState(recipe, data, objective, optimizer, selection, accelerator.scaler)
    loader: Any = SimpleNamespace(batch_sampler=range(1000))  # the trainer asks the loader only for the number of steps
    validator: Any = None
    monitor = Monitor(selection, folder / "logs", shown=False)
    trainer = Trainer(recipe, objective, loader, validator, state, accelerator, monitor, stop)
    objective.begin_training(1)
    return trainer


def training_batch(stage: Stage, batch: int, seed: int = 0) -> Batch:
    """Make a batch of noise with alternating labels, as the loader gives it."""
    waveforms = stage.noise(batch, seed=seed)
    targets = torch.arange(batch) % 2
    if stage.cuda:
        waveforms = waveforms.pin_memory()
        targets = targets.pin_memory()
    return Batch(StepPart(waveforms, targets))
