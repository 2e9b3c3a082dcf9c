"""Trials as training examples: read, augment, crop — the same for the same seed, whatever the number of workers."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nes2net.audio.cache import AudioCache
from nes2net.audio.crop import CROPS, head_crop, random_crop, random_tiled_crop
from nes2net.audio.read import load_audio, load_head
from nes2net.augment import NoiseAugmentation, RawBoostParameters, rawboost
from nes2net.augment.legacy import LegacyStream
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError
from nes2net.machine.workers import worker_options
from nes2net.training.sampling import EpochBatches, stream_of_epoch

_RANDOM_CROPS = {"random": random_crop, "random_tiled": random_tiled_crop}


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
    """Labelled trials, read from disk when asked for as ``(epoch, index)``; epochs are numbered from 1.

    An utterance is augmented whole, by background noise or reverberation and then by RawBoost, and cropped last. Every (seed, epoch,
    utterance) has a random stream of its own, from which each step draws in turn, so that an utterance is augmented in the same way
    whichever worker reads it and in whichever order (deviation 8). Where only the head is heard and nothing augments it, no more than the
    head is decoded; a file that is damaged after it is then used.

    Args:
        num_samples: None leaves utterances as long as they are.
        algo: RawBoost algorithm, 0 for none.
        part: distinguishes the streams of training and development.
        noise: background noise and reverberation.
        crop: which part of a longer utterance is taken, one of :data:`nes2net.audio.crop.CROPS`.
        cache: where decoded audio is kept.
        stream: what RawBoost draws from instead, in the order in which utterances are asked for (``augment.rng: legacy``).
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
        cache: AudioCache | None = None,
        stream: LegacyStream | None = None,
    ) -> None:
        if crop not in CROPS:
            raise InputError(f"crop is one of {', '.join(CROPS)}, not '{crop}'")
        self.trials = trials
        self.num_samples = num_samples
        self.algo = algo
        self.parameters = vars(parameters) if parameters else {}
        self.seed, self.part = seed, part
        self.noise = noise if noise and (noise.noises or noise.impulse_responses) else None
        self.crop, self.cache, self.stream = crop, cache, stream
        head_is_enough = crop == "head" and not algo and self.noise is None
        self.samples_to_read = num_samples if head_is_enough else None

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
        utterance = zlib.crc32(f"{self.part}/{trial.id}".encode())
        rng = np.random.default_rng(stream_of_epoch(self.seed, epoch, utterance))
        waveform = self._read(trial)
        if self.noise:
            waveform = self.noise(waveform, rng)
        if self.algo:
            draws = {"rng": rng} if self.stream is None else {"rng": self.stream.rng, "gate_rng": self.stream.gates}
            waveform = rawboost(waveform, self.algo, utterance=trial.id, **draws, **self.parameters)
        if self.num_samples is not None:
            if self.crop == "head":
                waveform = head_crop(waveform, self.num_samples, trial.id)
            else:
                waveform = _RANDOM_CROPS[self.crop](waveform, self.num_samples, rng, trial.id)
        return np.ascontiguousarray(waveform, dtype=np.float32)

    def _read(self, trial: Trial) -> np.ndarray:
        if self.cache is not None:
            return self.cache.load(trial.path, self.samples_to_read)
        if self.samples_to_read is not None:
            return load_head(trial.path, self.samples_to_read)
        return load_audio(trial.path)


def longest_first(trials: Sequence[Trial]) -> list[Trial]:
    """``trials`` by falling size of their files, which is about their length: the order for whole utterances one by one.

    What the longest needs of memory is then known at once, workers that read and processes that score side by side have utterances of
    about the same length at any time, and none of them is left with a long one at the end.
    """
    return sorted(trials, key=lambda trial: -trial.path.stat().st_size)


def collate(examples: list[Example]) -> Batch:
    """Stack what could be read; a batch of nothing has zero rows."""
    usable = [e for e in examples if e.waveform is not None]
    waveforms = torch.stack([e.waveform for e in usable]) if usable else torch.zeros(0, 0)
    targets = torch.tensor([e.target for e in usable], dtype=torch.long)
    return Batch(waveforms, targets, [e.error for e in examples if e.error])


def training_loader(dataset: TrainingSet, batches: EpochBatches, num_workers: int, pin_memory: bool) -> DataLoader:
    """``dataset`` in ``batches``. Set ``loader.batch_sampler.epoch`` (and ``start``) before each pass.

    A set that draws from a :class:`LegacyStream` is read in this process, batch by batch and none ahead, whatever ``num_workers``.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        pin_memory=pin_memory,
        **worker_options(0 if dataset.stream is not None else num_workers),
    )
