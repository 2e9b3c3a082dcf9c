"""Read, augment, crop and batch labelled utterances for training and development.

In reading order: ``TrainingSet`` prepares a ``PreparedTrial``; ``collate`` makes a ``Batch`` of several;
``training_loader`` loads the batches.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torch.utils.data import Dataset

from nes2net.data.audio.cache import AudioCache
from nes2net.data.audio.packed import AnyRecording, fetch, is_there, open_recording, whole_of
from nes2net.data.audio.read import load_audio
from nes2net.data.audio.waveform import head_crop, pad, pre_emphasised, random_crop, random_tiled_crop
from nes2net.data.augment.effect import Effect, InOrder
from nes2net.data.corpora.trial import Trial, Trials
from nes2net.lib.errors import BrokenPart, InputError, Unreachable, concerning
from nes2net.lib.parts.contracts import blame_part, describe_value
from nes2net.lib.process.workers import Loader, stack_shared
from nes2net.lib.web.remote import ChangedFile, Remote, adopt, remote
from nes2net.training.frame_labels import FrameLabels, labels_of_frames, stretch_labels
from nes2net.training.sampling import EpochBatches, seed_of_stream

_RANDOM_CROPS = {"random": random_crop, "random_tiled": random_tiled_crop, "dynamic": random_crop}
#: Name → tensor.
Tensors: TypeAlias = Mapping[str, Tensor]
#: Name of the tensor of an example that holds the labels of its 10-ms frames.
FRAMES = "frames"


class LostFile(InputError):
    """Raised if a file cannot be read at present because its disk fails or is gone."""


def _no_tensors(trial: Trial) -> Tensors:
    return {}


class Examples(NamedTuple):
    """The trials of the training or development set, or the pieces of their recordings.

    ``extra_tensors`` and ``target`` must be picklable, because the workers get them.
    """

    trials: Trials
    #: first sample and number of samples of each piece; None if recordings are not cut into pieces
    excerpts: Sequence[tuple[int, int]] | None = None
    #: one message for each recording that could not be cut, because its length is 0, is unknown, or differs from the
    #: length of its labels
    errors: Sequence[str] = ()
    #: labels of frames; None if the task does not train on frames
    labels: FrameLabels | None = None
    #: function from a trial to the extra tensors of its example, besides waveform and class: name → tensor
    extra_tensors: Callable[[Trial], Tensors] = _no_tensors
    #: function from a trial to the index of its class; None for a trial without a class
    target: Callable[[Trial], int | None] = attrgetter("target")


class PreparedTrial(NamedTuple):
    """One prepared trial."""

    #: (N,) float32; None if the file could not be used
    waveform: Tensor | None
    #: class number
    target: int
    #: message about a file that failed, or is silent
    error: str | None = None
    #: message about a file that cannot be read now, but perhaps later
    lost: str | None = None
    #: extra tensors for the losses, such as labels of frames, by name
    extra_tensors: Mapping[str, Tensor] = {}
    #: index of the trial in the list of trials; −1 if the file could not be used
    trial_index: int = -1


class StepPart(NamedTuple):
    """A part of a training step, or a batch of the development set."""

    #: waveforms B×N, or spectrograms B×T×F that Specmix has mixed
    inputs: Tensor
    #: (B,), class numbers (of two classes, bona fide is 1), or B×K, the share of each class in a mixed sample
    targets: Tensor
    #: extra tensors of the examples, such as labels of frames, B×…, by name
    extra_tensors: Mapping[str, Tensor] = {}
    #: number of the optimisation step, from 0 over all epochs; None in validation
    iteration: int | None = None
    #: seed of latent augmentation; None to leave the embeddings unchanged
    latent_seed: int | None = None

    def to(self, device: torch.device) -> StepPart:
        return tree_map_only(Tensor, lambda tensor: tensor.to(device, non_blocking=True), self)  # type: ignore[no-any-return]


class Batch(NamedTuple):
    """A batch of examples on the CPU, without rows if none of its files could be used."""

    part: StepPart
    #: one message for each file that failed or is silent
    errors: Sequence[str] = ()
    #: one message for each file that cannot be read at present
    lost: Sequence[str] = ()
    #: (B,), indices of the trials in the list of trials
    trial_indices: Sequence[int] = ()


@dataclass(eq=False)
class TrainingSet(Dataset):
    """Labelled trials, read from disk when indexed by ``(epoch, index)``; epochs count from 1.

    A third number in the index is the length of the example in samples.

    The utterance or piece is augmented, then cropped, by a random stream of its own (seed, epoch,
    utterance), so that the example does not depend on the worker or the order of reading (deviation
    8). If the crop is the head and there is no augmentation, only the head is decoded, and damage
    after it causes no error.

    Labels of frames, (T,) int8, follow the waveform: 1 bona fide, 0 spoof, −1 unknown or padding.

    Args:
        examples: trials, with their excerpts and the labels of their frames.
        num_samples: samples of an example; None keeps whole utterances. A shorter piece is padded
            with zeros at the end.
        effects: effects on a waveform, in order.
        part: ``train`` or ``dev``, which have different random streams.
        crop: samples to take of a longer utterance: ``head``, ``random``, ``random_tiled``, or
            ``dynamic``, which is random too.

    Attributes:
        pre_emphasis: coefficient, applied after the augmentation; the caller sets it once the
            detector is built.
    """

    examples: Examples
    num_samples: int | None
    effects: InitVar[Sequence[Effect]] = ()
    _: KW_ONLY
    seed: int = 0
    part: str = "train"
    crop: str = "head"
    cache: AudioCache | None = None
    pre_emphasis: float = 0.0

    def __post_init__(self, effects: Sequence[Effect]) -> None:
        self.trials = self.examples.trials
        self.augmentation = InOrder(effects)
        #: number of leading samples to decode; None for all
        self.samples_to_read = self.num_samples if self.crop == "head" and not self.augmentation else None
        self.remote: Remote = remote()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        adopt(self.remote)  # in a worker that was not forked

    def __len__(self) -> int:
        return len(self.trials)

    @blame_part()
    def __getitem__(self, item: tuple[int, ...]) -> PreparedTrial:
        """Prepare the example of ``item``, which is (epoch, index) or (epoch, index, length).

        If the file fails, the example has a message instead of a waveform. Raises
        :class:`InputError` for a trial without a class.
        """
        epoch, index, *length = item
        trial = self.trials[index]
        target = self.examples.target(trial)
        if target is None:
            raise InputError(
                f"trial '{trial.id}' has no label, which training requires: label it, or remove it from its list"
            )
        try:
            waveform, frames, is_silent = self.prepare(index, epoch, *length)
        except (LostFile, Unreachable, OSError) as error:
            return PreparedTrial(None, target, lost=str(error))
        except (ChangedFile, BrokenPart):  # which are about more than this recording
            raise
        except InputError as error:
            return PreparedTrial(None, target, f"failed: {error}")
        extra_tensors = dict(self.examples.extra_tensors(trial))
        if frames is not None:
            extra_tensors[FRAMES] = torch.from_numpy(frames)
        remark = None
        if is_silent:
            remark = f"silent: utterance '{trial.id}' is digital silence, and used all the same: replace {trial.path}, or remove it"
        return PreparedTrial(torch.from_numpy(waveform), target, remark, extra_tensors=extra_tensors, trial_index=index)

    def prepare(self, index: int, epoch: int, num_samples: int | None = None) -> tuple[NDArray, NDArray | None, bool]:
        """Read, augment, pre-emphasise and crop the trial ``index`` for ``epoch``.

        Args:
            num_samples: samples of the example; None for the data set's ``num_samples``.

        Returns:
            The waveform (num_samples,) float32; the labels of its frames (T,) int8, or None; and
            whether all that was read is 0.

        Raises:
            LostFile: if the file, or a file of noise, cannot be read at present.
            InputError: if the file cannot be used, or does not fit the length of its labels.
        """
        trial = self.trials[index]
        frame_labels = self.examples.labels
        excerpt = None if self.examples.excerpts is None else self.examples.excerpts[index]
        utterance_number = zlib.crc32(os.fsencode(f"{self.part}/{trial.id}"))
        rng = np.random.default_rng(seed_of_stream(self.seed, epoch, utterance_number))
        if num_samples is None:
            num_samples = self.num_samples
        waveform = self._read(trial.recording(), excerpt)
        is_silent = not waveform.any()
        labels = None
        if frame_labels is not None:
            read_whole = self.samples_to_read is None or len(waveform) < self.samples_to_read
            labels = frame_labels.of_samples(trial.id, len(waveform), read_whole)
        try:
            with concerning(f"utterance '{trial.id}':"):
                waveform = self.augmentation(waveform, rng)
        except InputError:
            _check_exist(*self.augmentation.recordings)
            raise
        waveform = pre_emphasised(waveform, self.pre_emphasis)
        if labels is not None:
            labels = stretch_labels(labels, len(waveform))
        if num_samples is not None and excerpt is not None:  # a piece of a recording
            waveform = pad(waveform, num_samples)
            if labels is not None:
                labels = pad(labels + 1, num_samples) - 1  # samples after the end of the piece get the label −1
        elif num_samples is not None:
            if labels is not None and frame_labels is not None:
                sample_indices = frame_labels.crop(labels, self.crop, num_samples, rng, trial.id)
                waveform = waveform[sample_indices]
                labels = labels[sample_indices]
            elif self.crop == "head":
                waveform = head_crop(waveform, num_samples, trial.id)
            else:
                waveform = _RANDOM_CROPS[self.crop](waveform, num_samples, rng, trial.id)
        waveform = np.ascontiguousarray(waveform, dtype=np.float32)
        if labels is None:
            return waveform, None, is_silent
        return waveform, labels_of_frames(labels), is_silent

    def _read(self, path: AnyRecording, excerpt: tuple[int, int] | None) -> NDArray:
        """Decode ``excerpt`` or all to (N,) at 16 kHz; try again if the first failure may have been temporary."""
        try:
            return self._decode(path, excerpt)
        except (InputError, OSError):
            check_readable(path)
        return self._decode(path, excerpt)  # the file can be read now: decode it, or raise the error if it is damaged

    def _decode(self, path: AnyRecording, excerpt: tuple[int, int] | None) -> NDArray:
        start, length = excerpt or (0, self.samples_to_read)
        if self.cache is not None:
            return self.cache.load(path, None if excerpt else length)[start:][:length]
        return load_audio(path, length, start)


def _check_exist(*paths: AnyRecording) -> None:
    for path in paths:
        if not is_there(whole_of(path)):
            raise LostFile(f"{path} is not there any more")


def check_readable(path: AnyRecording) -> None:
    """Raise :class:`LostFile` if ``path`` cannot be read to its end because the disk fails or is gone.

    Raises:
        InputError: if the file lies in a damaged shard.
    """
    try:
        _check_exist(path)
        with open_recording(fetch(path)) as file:
            while file.read(1 << 20):
                pass
    except (OSError, InputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or not cause.strerror:  # pyarrow's error about damage has no strerror
            raise
        raise LostFile(f"{path} cannot be read at present ({cause.strerror}): check the disk or the network") from error


def collate(examples: list[PreparedTrial]) -> Batch:
    """Make a batch of the examples whose files could be used; their extra tensors must have equal shapes."""
    errors = [example.error for example in examples if example.error]
    lost = [example.lost for example in examples if example.lost]
    used = [example for example in examples if example.waveform is not None]
    if not used:
        return Batch(StepPart(torch.zeros(0, 0), torch.zeros(0, dtype=torch.long)), errors, lost)
    for example in used:
        for name, tensor in used[0].extra_tensors.items():
            other = example.extra_tensors.get(name)
            if not isinstance(other, Tensor) or other.shape != tensor.shape:
                raise InputError(
                    f"the extra tensor '{name}' is {describe_value(other)} for one example, and {describe_value(tensor)} for "
                    "another: all examples need tensors of one shape"
                )
    waveforms = stack_shared([example.waveform for example in used])  # type: ignore[misc]  # used ones have a waveform
    targets = stack_shared([torch.tensor(example.target) for example in used])
    names = used[0].extra_tensors
    extra_tensors = {name: stack_shared([example.extra_tensors[name] for example in used]) for name in names}
    return Batch(
        StepPart(waveforms, targets, extra_tensors),
        errors,
        lost,
        [example.trial_index for example in used],
    )


class BatchLoader(Loader):
    """Batches of training examples; call :meth:`begin` before each iteration."""

    dataset: TrainingSet
    batch_sampler: EpochBatches

    def begin(self, epoch: int, start: int = 0) -> None:
        """Let the next iteration run over ``epoch`` from step ``start``."""
        self.batch_sampler.epoch = epoch
        self.batch_sampler.start = start


def training_loader(dataset: TrainingSet, batches: EpochBatches, num_workers: int, pin_memory: bool) -> BatchLoader:
    """Make the loader that reads ``dataset`` in the order of ``batches``.

    With a :class:`LegacyStream`, this process reads, whatever ``num_workers`` is.
    """
    workers = 0 if dataset.augmentation.in_turn else num_workers
    return BatchLoader(dataset, batches, collate, workers, pin_memory=pin_memory, setting="data.num_workers")
