"""Training examples: read, augment and crop trials, whatever the number of workers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from nes2net.audio.cache import AudioCache
from nes2net.audio.crop import head_crop, padded, random_crop, random_tiled_crop
from nes2net.audio.packed import is_there, open_recording, size_of
from nes2net.audio.read import load_audio, load_excerpt, load_head
from nes2net.augment import NoiseAugmentation, RawBoostParameters, rawboost
from nes2net.augment.fir import LowPass
from nes2net.augment.legacy import LegacyStream
from nes2net.augment.speed import change_speed, draw_speed
from nes2net.conditions.augmentation import OneOf
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError
from nes2net.machine.workers import Loader, stacked
from nes2net.training.frame_labels import check_lengths, drawn_start, labels_of_frames, labels_of_samples, stretched
from nes2net.training.sampling import EpochBatches, stream_of_epoch

_RANDOM_CROPS = {"random": random_crop, "random_tiled": random_tiled_crop, "dynamic": random_crop}


class LostFile(InputError):
    """A file cannot be read at present, though nothing says that it is damaged: its disk is gone or fails."""


class Example(NamedTuple):
    """One prepared trial."""

    #: (N,) float32; None if the file could not be used, and then ``error`` or ``lost`` says why
    waveform: Tensor | None
    target: int
    error: str | None = None
    lost: str | None = None
    #: (S,), scores of other systems, if the trial has them
    scores: Tensor | None = None
    #: (T,) int8, labels of its frames of 10 ms, if there are such: 1 bona fide, 0 spoof, −1 unknown
    frame_targets: Tensor | None = None
    #: place of the trial in the list of trials
    place: int = -1


class Batch(NamedTuple):
    """A batch of examples."""

    #: B×N
    waveforms: Tensor
    #: (B,), 1 for bona fide
    targets: Tensor
    #: one for each file that was left out
    errors: list[str]
    #: one for each file that cannot be read at present
    lost: list[str]
    #: B×S, scores of other systems, if the trials have them
    scores: Tensor | None = None
    #: B×T int8, labels of frames of 10 ms, if there are such: 1 bona fide, 0 spoof, −1 unknown
    frame_targets: Tensor | None = None
    #: (B,), places of these trials in the list of trials
    places: Sequence[int] = ()


class TrainingSet(Dataset):
    """Labelled trials, read from disk when indexed by ``(epoch, index)``; epochs count from 1.

    A third number, as in ``(epoch, index, 32000)``, is the length of this example.

    The whole utterance, or the piece of it, gets another speed, background noise or reverberation,
    then RawBoost, then a condition, then a low-pass filter, and is cropped last.
    Every (seed, epoch, utterance) has a random stream of its own, from which these steps draw in
    turn. So an utterance is augmented alike whichever worker reads it, in whatever order
    (deviation 8). If the crop is the head and nothing augments, only the head is decoded; damage
    after the head then does not matter.

    Args:
        num_samples: length of an example; None keeps the length of each utterance.
        algo: RawBoost algorithm, 0 for none.
        part: distinguishes the streams of training and development.
        speed: lowest and highest speed to play at; None leaves it.
        noise: background noise and reverberation.
        conditions: codecs, noise, rooms and the like.
        fir: low-pass filter.
        crop: part of a longer utterance to take, ``head``, ``random`` or ``random_tiled``.
        cache: keeps decoded audio.
        stream: stream that RawBoost draws from in the order of reading (``augment.rng: legacy``),
            instead of those of utterances.
        excerpts: first sample and number of samples of each trial, which is a piece of its
            recording: only this is read, and shorter ones are padded with zeros at the end.
        labels: labels of the frames of 10 ms of each trial, by its id; None if frames have none.
            They are cropped, repeated and padded as the waveform is, and random crops then begin
            with a frame. Zeros behind a piece have no label, nor has a trial that is not there.
        boundary_share: share of the random crops that hold a boundary
            (:func:`nes2net.training.frame_labels.drawn_start`).
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
        speed: Sequence[float] | None = None,
        noise: NoiseAugmentation | None = None,
        conditions: OneOf | None = None,
        fir: LowPass | None = None,
        crop: str = "head",
        cache: AudioCache | None = None,
        stream: LegacyStream | None = None,
        excerpts: Sequence[tuple[int, int]] | None = None,
        labels: Mapping[str, np.ndarray] | None = None,
        boundary_share: float | None = None,
    ) -> None:
        self.trials, self.excerpts = trials, excerpts
        self.labels, self.boundary_share = labels, boundary_share
        self.num_samples = num_samples
        self.algo = algo
        self.parameters = vars(parameters) if parameters else {}
        self.seed, self.part, self.speed = seed, part, speed
        self.noise = noise if noise and (noise.noises or noise.impulse_responses) else None
        self.conditions = conditions
        self.fir, self.crop, self.cache, self.stream = fir, crop, cache, stream
        changed = algo or speed or self.noise or conditions or fir is not None
        head_is_enough = crop == "head" and not changed
        self.samples_to_read = num_samples if head_is_enough else None

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, place: tuple[int, ...]) -> Example:
        epoch, index, *length = place
        trial = self.trials[index]
        target = trial.target
        if target is None:
            raise InputError(f"trial '{trial.id}' has no label: training needs labelled trials")
        try:
            excerpt = self.excerpts[index] if self.excerpts is not None else None
            waveform, frame_targets = self.prepare_labelled(trial, epoch, *length, excerpt=excerpt)
        except (LostFile, OSError) as error:
            return Example(None, target, lost=str(error))
        except InputError as error:
            return Example(None, target, str(error))
        scores = torch.tensor(trial.system_scores) if trial.system_scores else None
        frames = None if frame_targets is None else torch.from_numpy(frame_targets)
        return Example(torch.from_numpy(waveform), target, scores=scores, frame_targets=frames, place=index)

    def prepare(
        self,
        trial: Trial,
        epoch: int,
        num_samples: int | None = None,
        *,
        excerpt: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Prepare ``trial`` for ``epoch``: (num_samples,) float32; see :meth:`prepare_labelled`."""
        return self.prepare_labelled(trial, epoch, num_samples, excerpt=excerpt)[0]

    def prepare_labelled(
        self,
        trial: Trial,
        epoch: int,
        num_samples: int | None = None,
        *,
        excerpt: tuple[int, int] | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Prepare ``trial`` for ``epoch``: (num_samples,) float32, and labels of its frames (T,) int8.

        Args:
            num_samples: length of the example; None for that of all examples.
            excerpt: first sample and number of samples of a piece of the recording.

        Raises:
            LostFile: if the file, or one of noise, cannot be read at present.
            InputError: if the file cannot be used, or its length is not that of its labels.
        """
        utterance = zlib.crc32(f"{self.part}/{trial.id}".encode())
        rng = np.random.default_rng(stream_of_epoch(self.seed, epoch, utterance))
        num_samples = self.num_samples if num_samples is None else num_samples
        waveform = self._read(trial, excerpt)
        labels = None if self.labels is None else self._labels_of(trial, waveform, self.labels.get(trial.id))
        if self.speed:
            waveform = change_speed(waveform, draw_speed(self.speed, rng))
            labels = None if labels is None else stretched(labels, len(waveform))
        if self.noise:
            try:
                waveform = self.noise(waveform, rng)
            except InputError:
                noises = [file.path for files in self.noise.noises.values() for file in files]
                _check_there(*noises, *self.noise.impulse_responses)
                raise
        if self.algo:
            draws, gates = (rng, None) if self.stream is None else (self.stream.rng, self.stream.gates)
            waveform = rawboost(waveform, self.algo, draws, gate_rng=gates, utterance=trial.id, **self.parameters)
        if self.conditions:
            try:
                waveform = self.conditions(waveform, rng)
            except InputError:
                _check_there(*self.conditions.recordings)
                raise
        if self.fir:
            waveform = self.fir(waveform, rng)
        if num_samples is not None:
            if excerpt is not None:
                waveform = padded(waveform, num_samples)
                labels = None if labels is None else padded(labels + 1, num_samples) - 1  # −1 behind the end
            elif labels is not None:
                chosen = self._chosen(labels, num_samples, rng, trial.id)
                waveform, labels = waveform[chosen], labels[chosen]
            elif self.crop == "head":
                waveform = head_crop(waveform, num_samples, trial.id)
            else:
                waveform = _RANDOM_CROPS[self.crop](waveform, num_samples, rng, trial.id)
        waveform = np.ascontiguousarray(waveform, dtype=np.float32)
        return waveform, None if labels is None else labels_of_frames(labels)

    def _labels_of(self, trial: Trial, waveform: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """The label of each sample of ``waveform``, all −1 if the trial has none."""
        if labels is None:
            return np.full(len(waveform), -1, np.int8)
        whole = self.samples_to_read is None or len(waveform) < self.samples_to_read
        check_lengths(len(labels), len(waveform), trial.id, whole)
        return labels_of_samples(labels, len(waveform))

    def _chosen(self, labels: np.ndarray, num_samples: int, rng: np.random.Generator, utterance: str) -> np.ndarray:
        """The places of the samples that a crop takes."""
        places = np.arange(len(labels))
        if self.crop == "random_tiled":
            return random_tiled_crop(places, num_samples, rng, utterance)
        start = 0
        if self.crop != "head":
            start = drawn_start(labels_of_frames(labels), len(labels), num_samples, rng, self.boundary_share)
        return head_crop(places[start:], num_samples, utterance)

    def _read(self, trial: Trial, excerpt: tuple[int, int] | None) -> np.ndarray:
        try:
            return self._decode(trial.audio_path(), excerpt)
        except (InputError, OSError):
            check_readable(trial.audio_path())
        return self._decode(trial.audio_path(), excerpt)  # the trouble may be over; damage is found again

    def _decode(self, path: Path, excerpt: tuple[int, int] | None) -> np.ndarray:
        if excerpt is not None:
            start, length = excerpt
            return load_excerpt(path, start, length) if self.cache is None else self.cache.load(path)[start:][:length]
        if self.cache is not None:
            return self.cache.load(path, self.samples_to_read)
        return load_audio(path) if self.samples_to_read is None else load_head(path, self.samples_to_read)


def _check_there(*paths: Path) -> None:
    """Raise :class:`LostFile` if one of ``paths``, which were files when training began, is none now."""
    for path in paths:
        if not is_there(path):
            raise LostFile(f"{path} is not there any more")


def check_readable(path: Path) -> None:
    """Raise :class:`LostFile` if ``path`` cannot be read to its end, but may be at another time.

    Raises:
        InputError: if it lies in a shard that is damaged.
    """
    try:
        _check_there(path)
        with open_recording(path) as file:
            while file.read(1 << 20):
                pass
    except (OSError, InputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or not cause.strerror:  # pyarrow's, of damage, have only a text
            raise
        raise LostFile(f"{path} cannot be read at present ({cause.strerror})") from error


def longest_first(trials: Sequence[Trial]) -> list[Trial]:
    """Sort ``trials`` by file size, largest first, to read whole utterances one by one.

    The memory for the longest is then known at once. Workers and processes side by side have
    utterances of similar length, and no long one is left for the end.
    """
    return sorted(trials, key=lambda trial: -size_of(trial.audio_path()))


def collate(examples: list[Example]) -> Batch:
    """Stack the usable examples; if there are none, the batch has no rows."""
    waveforms = [e.waveform for e in examples if e.waveform is not None]
    targets = [torch.tensor(e.target) for e in examples if e.waveform is not None]
    scores = [e.scores for e in examples if e.waveform is not None and e.scores is not None]
    frames = [e.frame_targets for e in examples if e.waveform is not None and e.frame_targets is not None]
    return Batch(
        stacked(waveforms) if waveforms else torch.zeros(0, 0),
        stacked(targets) if targets else torch.zeros(0, dtype=torch.long),
        [e.error for e in examples if e.error],
        [e.lost for e in examples if e.lost],
        stacked(scores) if scores else None,
        stacked(frames) if frames else None,
        [e.place for e in examples if e.waveform is not None],
    )


class BatchLoader(Loader):
    """Batches of training examples; call :meth:`begin` before each iteration."""

    dataset: TrainingSet
    batch_sampler: EpochBatches

    def begin(self, epoch: int, start: int = 0) -> None:
        """Let the next iteration be that of ``epoch``, from its step ``start`` on."""
        self.batch_sampler.epoch, self.batch_sampler.start = epoch, start


def training_loader(dataset: TrainingSet, batches: EpochBatches, num_workers: int, pin_memory: bool) -> BatchLoader:
    """Load ``dataset`` in ``batches``.

    A data set with a :class:`LegacyStream` is read in this process, one batch at a time, whatever
    ``num_workers``.
    """
    workers = 0 if dataset.stream is not None else num_workers
    return BatchLoader(dataset, batches, collate, workers, pin_memory=pin_memory, setting="data.num_workers")
