"""The one reader of waveforms for scoring: from a file or samples to the detector's input."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from nes2net.data.audio.packed import AnyRecording, RecordingBytes
from nes2net.data.audio.read import load_audio, load_head_and_length, stream_audio
from nes2net.data.audio.remarks import Channels
from nes2net.data.audio.waveform import Padding, fault_of, head_crop, peak_normalized, random_crop, to_mono_16k
from nes2net.lib.errors import InputError
from nes2net.models.frontends.base import UsedSamples
from nes2net.scoring.kernel import Scorer

#: A recording: a file, a file object that is open in binary mode, or samples (N,) or (channels, N).
Audio: TypeAlias = "str | os.PathLike[str] | BinaryIO | np.ndarray | Tensor"
_MOST_CHANNELS = 2  # more rows of an array are taken for a batch
#: Where ``num_samples`` of a longer recording are cut out.
Crop: TypeAlias = Literal["head", "random"]
#: Whose largest sample becomes 1: nothing's, the whole recording's, or that of what is cut out of it.
PeakNormalize: TypeAlias = Literal["no", "recording", "cut"]
_CHOICES = {"crop": Crop, "padding": Padding, "peak_normalize": PeakNormalize}


class Transform(Protocol):
    """A change of whole recordings, made before they are cut; pickled to the processes that read audio."""

    @property
    def identity(self) -> str:
        """What it does, as one text that is equal for two transforms if and only if they do the same."""

    def __call__(self, waveform: np.ndarray, id: str) -> np.ndarray:
        """Change ``waveform`` (N,), 16 kHz float32, to (M,) of the same kind, M ≥ 1.

        Args:
            id: names the utterance, for what is drawn at random.

        Raises:
            InputError: if the recording cannot be changed so; it then has no score.
        """


class Recording(NamedTuple):
    """The samples of a recording that a detector gets."""

    waveform: np.ndarray
    """(N,) float32, 16 kHz."""
    num_samples: int
    """Samples of the whole recording at 16 kHz."""
    judged: float
    """Share of the recording that the detector gets."""
    channels: Channels | None = None
    """Compared its channels, as far as the detector gets them; None if that was not asked for."""


@dataclass(frozen=True)
class WaveformReader:
    """Reads recordings for one detector; small, because it is sent to reading processes.

    Args:
        num_samples: how many leading samples to take, repeated if there are fewer ('4sec'); None
            for the whole recording ('full').
        min_samples: a shorter whole recording is repeated up to this length.
        used: how many leading samples the detector's scores depend on; the others are cut off.
        longest: a whole file of more samples is refused with
            :class:`~nes2net.data.audio.read.LongAudio`; None for no limit.
        crop: ``"random"`` takes ``num_samples`` from a start that is drawn for each recording.
        seed: seed of those starts, which depend only on it and on the name of the recording's file.
        transform: changes the whole recording first.
        padding: what fills up a recording of too few samples, ``"repeat"`` or ``"zeros"``.
        peak_normalize: divides by the largest absolute sample, of the whole ``"recording"`` or of
            the ``"cut"``, filled up; ``"no"`` leaves the level.
    """

    num_samples: int | None
    min_samples: int = 1
    used: UsedSamples = field(default_factory=UsedSamples)
    longest: int | None = None
    crop: Crop = "head"
    seed: int = 0
    transform: Transform | None = None
    padding: Padding = "repeat"
    peak_normalize: PeakNormalize = "no"

    @classmethod
    def of(
        cls,
        scorer: Scorer,
        num_samples: int | None,
        longest: int | None = None,
        crop: Crop = "head",
        seed: int = 0,
        padding: Padding = "repeat",
        peak_normalize: PeakNormalize = "no",
    ) -> WaveformReader:
        """Build the reader for ``scorer``.

        Raises:
            InputError: if ``num_samples`` is neither None nor a whole number of at least 1, or
                a word is unknown, or nothing is cut out of whole recordings.
        """
        asked = {"crop": crop, "padding": padding, "peak_normalize": peak_normalize}
        for name, word in asked.items():
            words = get_args(_CHOICES[name])
            if word not in words:
                raise InputError(f"`{name}` is {' or '.join(map(repr, words))}, not {word!r}")
        whole_number = isinstance(num_samples, (int, np.integer)) and not isinstance(num_samples, bool)
        if num_samples is not None and not (whole_number and num_samples >= 1):
            raise InputError(f"`num_samples` is at least 1, or None for the whole recording, not {num_samples!r}")
        if num_samples is None and crop != "head":
            raise InputError("`crop` is where `num_samples` are cut out: whole recordings have no such place")
        used = scorer.used_samples
        return cls(
            num_samples, scorer.min_samples, used, longest, crop, seed, padding=padding, peak_normalize=peak_normalize
        )

    def heard(self, num_samples: int) -> int:
        """How many samples the detector gets of a recording of ``num_samples``."""
        return self.used(self.num_samples or max(num_samples, self.min_samples))

    def read(self, path: AnyRecording, id: str | None = None, channels: Channels | None = None) -> Recording:
        """Read a file, or a recording in a shard or in memory.

        Args:
            id: id of the utterance, for the transform; the file's name without suffix if not given.
            channels: compares the channels before they are averaged.

        Raises:
            InputError: if the file cannot be read, is too long, or cannot be transformed.
        """
        needs_all = self.transform is not None or self.peak_normalize == "recording"
        if self.num_samples is not None and self.crop == "head" and not needs_all:
            head, length = load_head_and_length(path, self.num_samples, channels=channels)
            return self._cut(head, length, str(path), channels)
        waveform = load_audio(path, longest=self.longest, channels=channels)
        if self.transform is not None:
            waveform = self.transform(waveform, Path(str(path)).stem if id is None else id)
            shape, dtype = waveform.shape, waveform.dtype
            if len(shape) != 1 or not shape[0] or dtype != np.float32 or not np.isfinite(waveform).all():
                raise InputError(
                    f"{self.transform.identity}: it made {dtype} of shape {shape} of it, or numbers that are not finite, "
                    "instead of float32 samples (N,)"
                )
        return self._cut(waveform, len(waveform), str(path), channels)

    def take(self, audio: Audio, sample_rate: float | None, channels: Channels | None = None) -> Recording:
        """Read a file, or take samples in memory; arguments and errors as for :func:`recording_of`."""
        found = recording_of(audio, sample_rate, channels)
        if isinstance(found, np.ndarray):
            return self._cut(found, len(found), "the recording", channels)
        return self.read(found, channels=channels)

    def _cut(self, waveform: np.ndarray, num_samples: int, name: str, channels: Channels | None) -> Recording:
        if self.peak_normalize == "recording":
            waveform = peak_normalized(waveform)
        if self.num_samples is not None and self.crop == "random":
            rng = np.random.default_rng([self.seed, zlib.crc32(Path(name).stem.encode())])
            whole = random_crop(waveform, self.num_samples, rng, name, self.padding)
        else:
            length = self.num_samples or max(len(waveform), self.min_samples)
            whole = head_crop(waveform, length, name, self.padding)
        if self.peak_normalize == "cut":
            whole = peak_normalized(whole)
        # A copy: a view would keep the whole recording in memory.
        judged = judged_share(num_samples, self.num_samples, self.used.most)
        return Recording(whole[: self.used(len(whole))].copy(), num_samples, judged, channels)


def judged_share(length: int, *limits: int | None) -> float:
    """The share of a recording of ``length`` samples that a detector gets, if it gets no more than each of ``limits``.

    >>> judged_share(48000, 12000, None), judged_share(8000, 12000)
    (0.25, 1.0)
    """
    return min([1.0, *(limit / length for limit in limits if limit is not None)])


def recording_of(
    audio: Audio, sample_rate: float | None = None, channels: Channels | None = None
) -> AnyRecording | np.ndarray:
    """A file that can be read, or 16 kHz mono float32 samples (N,) of samples in memory.

    Args:
        audio: a file, a file object that is open in binary mode, which is read from where it stands,
            or floating-point samples (N,) or (channels, N) in [−1, 1], on any device.
        sample_rate: sampling rate in Hz, needed for samples; a file states its own.
        channels: compares the channels of samples in memory.

    Raises:
        InputError: if samples have no ``sample_rate``; if there are none; if they are integers,
            whose range is unknown; if they are far outside [−1, 1], NaN or infinite; if their shape
            is (samples, channels) or a batch; or if a file object is not open in binary mode or is
            at its end.
    """
    if isinstance(audio, (str, Path)):
        return audio
    if isinstance(audio, os.PathLike):
        return Path(audio)
    if isinstance(audio, (list, tuple)):
        raise InputError(
            f"one recording is expected, not a {type(audio).__name__} of {len(audio)}: score_files takes several files, and "
            "score_batch several waveforms"
        )
    if hasattr(audio, "read"):
        name, content = getattr(audio, "name", None), audio.read()
        name = name if isinstance(name, str) else "the file object"
        if not isinstance(content, bytes):
            raise InputError(f"{name} gives {type(content).__name__}, not bytes: open it in binary mode, 'rb'")
        if not content:
            raise InputError(f"{name} has no more bytes from where it stands: seek(0) goes to its beginning")
        return RecordingBytes(name, content)
    samples: Any = audio
    try:
        if isinstance(samples, Tensor):
            samples = samples.detach().cpu()
            samples = (samples.float() if samples.dtype in (torch.bfloat16, torch.float16) else samples).numpy()
        samples = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of unequal length, a sparse tensor
        raise InputError(
            f"the samples are not an array ({error}); floating-point ones, (N,) or (channels, N), are expected"
        ) from error
    if samples.dtype.kind in "iub":
        raise InputError(
            f"the samples are whole numbers ({samples.dtype}); floating-point ones in [-1, 1] are expected: divide by "
            "full scale, 32768 for 16-bit audio"
        )
    if samples.dtype.kind != "f":
        raise InputError(f"the samples are of type {samples.dtype}; floating-point ones in [-1, 1] are expected")
    if samples.ndim == 2 and samples.shape[0] > samples.shape[1] > 0:
        raise InputError(
            f"samples of shape {samples.shape[0]:,} × {samples.shape[1]:,} would be more channels than samples; "
            "(channels, samples) is expected: transpose the array"
        )
    if samples.ndim == 2 and len(samples) > _MOST_CHANNELS:
        raise InputError(
            f"samples of shape {samples.shape[0]:,} × {samples.shape[1]:,} would be one recording of {samples.shape[0]:,} "
            "channels: score_batch takes several waveforms; if it is one recording, give the mean of its channels or "
            "one of them"
        )
    if sample_rate is None:
        raise InputError("the samples do not say their rate: name it in Hz, sample_rate=16000 or another")
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, (int, float, np.number)):
        raise InputError(f"the sample rate must be a number of Hz, not {sample_rate!r}")
    samples = samples.astype(np.float32)
    if fault := fault_of(samples):
        raise InputError(f"the recording {fault}")
    if channels is not None:
        for _ in channels.heard([(samples, round(sample_rate))]):
            pass
    return to_mono_16k(samples, sample_rate, "the recording")


def stream_of(audio: Audio, sample_rate: float | None = None, channels: Channels | None = None) -> Iterable[np.ndarray]:
    """The 16 kHz mono samples of a recording in blocks (N,); arguments and errors as for :func:`recording_of`."""
    found = recording_of(audio, sample_rate, channels)
    return [found] if isinstance(found, np.ndarray) else stream_audio(found, channels)
