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

from nes2net.augment import NoiseAugmentation, RawBoostParameters, rawboost
from nes2net.data.audio import load_audio
from nes2net.data.crop import CROPS, head_crop, random_crop
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

    An utterance is augmented whole, by background noise or reverberation and then by RawBoost, and cropped last. Every (seed, epoch,
    utterance) has a random stream of its own, from which each step draws in turn, so that an utterance is augmented in the same way
    whichever worker reads it and in whichever order (deviation 8).

    Args:
        num_samples: None leaves utterances as long as they are.
        algo: RawBoost algorithm, 0 for none.
        part: distinguishes the streams of training and development.
        noise: background noise and reverberation.
        crop: which part of a longer utterance is taken, ``head`` or ``random``.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        num_samples: int | None,
        algo: int = 0,
        parameters: RawBoostParameters | None = None,
        seed: int = 0,
        part: str = "train",
        *,
        noise: NoiseAugmentation | None = None,
        crop: str = "head",
    ) -> None:
        if crop not in CROPS:
            raise InputError(f"crop is one of {', '.join(CROPS)}, not '{crop}'")
        self.trials = trials
        self.num_samples = num_samples
        self.algo = algo
        self.parameters = vars(parameters) if parameters else {}
        self.seed, self.part = seed, part
        self.noise, self.crop = noise, crop

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, epoch_and_index: tuple[int, int]) -> Example:
        epoch, index = epoch_and_index
        trial = self.trials[index]
        try:
            waveform = self.prepare(trial, epoch)
        except InputError as error:
            return Example(index, None, trial.target, str(error))
        return Example(index, torch.from_numpy(waveform), trial.target)

    def prepare(self, trial: Trial, epoch: int) -> np.ndarray:
        """What training hears of ``trial`` in ``epoch``: (num_samples,) float32. An unusable file raises :class:`InputError`."""
        rng = np.random.default_rng([self.seed, epoch, zlib.crc32(f"{self.part}/{trial.id}".encode())])
        waveform = load_audio(trial.path)
        if self.noise:
            waveform = self.noise(waveform, rng)
        if self.algo:
            waveform = rawboost(waveform, self.algo, rng, utterance=trial.id, **self.parameters)
        if self.num_samples is not None:
            if self.crop == "random":
                waveform = random_crop(waveform, self.num_samples, rng, trial.id)
            else:
                waveform = head_crop(waveform, self.num_samples, trial.id)
        return np.ascontiguousarray(waveform, dtype=np.float32)


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
    # A generator of its own, so that starting workers draws nothing from the global one, which initialises and drops out.
    generator = torch.Generator().manual_seed(0)
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "worker_init_fn": _one_thread,
        "generator": generator,
    }


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
