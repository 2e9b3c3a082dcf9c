"""Trials as training examples: read, augment, crop — the same for the same seed, whatever the number of workers."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nes2net.augment import RawBoostParameters, rawboost
from nes2net.data.audio import load_audio
from nes2net.data.crop import head_crop
from nes2net.data.trial import Trial
from nes2net.errors import InputError


class Example(NamedTuple):
    """One prepared trial. ``waveform`` (N,) float32 is None where the file could not be used, and ``error`` says why."""

    index: int
    waveform: Tensor | None
    target: int
    error: str | None = None


class Batch(NamedTuple):
    """``waveforms`` B×N, ``targets`` (B,) with 1 for bona fide, and the errors of the files that were left out."""

    waveforms: Tensor
    targets: Tensor
    errors: list[str]


class TrainingSet(Dataset):
    """Labelled trials, read from disk when asked for as ``(epoch, index)``.

    Every (seed, epoch, utterance) has a random stream of its own, so that an utterance is augmented in the same way whichever worker
    reads it and in whichever order (deviation 8).

    Args:
        algo: RawBoost algorithm, 0 for none.
        part: distinguishes the streams of training and development.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        num_samples: int,
        algo: int = 0,
        parameters: RawBoostParameters | None = None,
        seed: int = 0,
        part: str = "train",
    ) -> None:
        self.trials = trials
        self.num_samples = num_samples
        self.algo = algo
        self.parameters = vars(parameters) if parameters else {}
        self.seed, self.part = seed, part

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, epoch_and_index: tuple[int, int]) -> Example:
        epoch, index = epoch_and_index
        trial = self.trials[index]
        try:
            waveform = load_audio(trial.path)
            if self.algo:
                rng = np.random.default_rng([self.seed, epoch, zlib.crc32(f"{self.part}/{trial.id}".encode())])
                waveform = rawboost(waveform, self.algo, rng, utterance=trial.id, **self.parameters)
            waveform = head_crop(waveform, self.num_samples, trial.id)
        except InputError as error:
            return Example(index, None, trial.target, str(error))
        return Example(index, torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32)), trial.target)


class EpochSampler(Sampler):
    """(epoch, index) pairs of one epoch: shuffled by a stream of (seed, epoch), or in order."""

    def __init__(self, length: int, seed: int, shuffle: bool) -> None:
        self.length, self.seed, self.shuffle = length, seed, shuffle
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = (
            np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
            if self.shuffle
            else range(self.length)
        )
        return ((self.epoch, int(index)) for index in order)


def collate(examples: list[Example]) -> Batch:
    """Stack what could be read; a batch of nothing has zero rows."""
    usable = [e for e in examples if e.waveform is not None]
    waveforms = torch.stack([e.waveform for e in usable]) if usable else torch.zeros(0, 0)
    targets = torch.tensor([e.target for e in usable], dtype=torch.long)
    return Batch(waveforms, targets, [e.error for e in examples if e.error])


def training_loader(
    dataset: TrainingSet, batch_size: int, shuffle: bool, num_workers: int, pin_memory: bool
) -> DataLoader:
    """Batches of ``dataset``; shuffled, the last incomplete batch is dropped, as published. Set ``loader.sampler.epoch`` per epoch."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochSampler(len(dataset), dataset.seed, shuffle),
        drop_last=shuffle,
        collate_fn=collate,
        pin_memory=pin_memory,
        **worker_options(num_workers),
    )


def worker_options(num_workers: int) -> dict[str, Any]:
    """Options of a ``DataLoader`` for at most ``num_workers`` reading processes, and no more than there are processors."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = max(0, min(num_workers, processors))
    return {"num_workers": workers, "persistent_workers": workers > 0, "worker_init_fn": _one_thread}


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
