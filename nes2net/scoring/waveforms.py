"""Read waveforms for scoring: turn a file, or samples in memory, into the input of a detector."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias, get_args

import numpy as np

from nes2net.data.audio.packed import AnyRecording, ChannelOf
from nes2net.data.audio.read import LongAudio, count_samples, load_audio, load_head_and_length, stream_audio
from nes2net.data.audio.remarks import Channels
from nes2net.data.audio.sources import Audio, recording_of
from nes2net.data.audio.waveform import Padding, head_crop, peak_normalized, pre_emphasised, random_crop
from nes2net.lib.errors import InputError
from nes2net.models.frontends.base import UsedSamples
from nes2net.scoring.kernel import Scorer

#: Which ``num_samples`` samples of a longer recording are taken: the first samples, or the samples from a random start.
Crop: TypeAlias = Literal["head", "random"]
#: What is scaled so that its largest absolute sample is 1: nothing, the whole recording, or the part that is taken.
PeakNormalize: TypeAlias = Literal["no", "recording", "cut"]
_CHOICES = {"crop": Crop, "padding": Padding, "peak_normalize": PeakNormalize}


class Transform(Protocol):
    """Changes a whole recording before it is cut. A transform is pickled and sent to the workers."""

    @property
    def identity(self) -> str:
        """A text that is equal for two transforms if and only if they make the same change."""

    def __call__(self, waveform: np.ndarray, id: str) -> np.ndarray:
        """Return the changed ``waveform``: (N,) becomes (M,), M ≥ 1, both float32 at 16 kHz.

        Args:
            id: id of the utterance, which the transform may use to seed random numbers.

        Raises:
            InputError: if the recording cannot be changed; the recording then has no score.
        """


class Recording(NamedTuple):
    """The samples of a recording that a detector gets, and facts about the whole recording."""

    waveform: np.ndarray
    """(N,) float32, 16 kHz: the input of the detector."""
    num_samples: int
    """Length of the whole recording in samples at 16 kHz."""
    judged: float
    """Share of the recording that the detector gets."""
    plain: np.ndarray
    """The samples of ``waveform`` before pre-emphasis; ``waveform`` itself if the detector has no pre-emphasis."""
    channels: Channels | None = None
    """The comparison of the recording's channels; None if the channels were not compared."""


@dataclass(frozen=True, eq=False)
class Source:
    """A recording to judge: a file, or what was decoded of it before."""

    recording: AnyRecording
    """The recording, for messages and answers."""
    decoded: AnyRecording | np.ndarray
    """What is read: the recording itself, a file of its mean at 16 kHz, or these samples (N,) float32."""
    channels: tuple[Channels, Channels] | None = None
    """The comparisons of the channels in the scored part and in the whole recording, if ``decoded`` has only their mean."""

    def __str__(self) -> str:
        return str(self.recording)

    @classmethod
    def of(cls, audio: Audio, sample_rate: float | None = None) -> Source:
        """Make a source of a file, samples, blocks or raw bytes; the errors are those of :func:`recording_of`."""
        channels = Channels()
        recording = recording_of(audio, sample_rate, channels)
        if isinstance(recording, np.ndarray):
            return cls("the recording", recording, (channels, channels))
        return cls(recording, recording)

    @property
    def num_samples(self) -> int:
        """Length of the recording in samples at 16 kHz."""
        return len(self.decoded) if isinstance(self.decoded, np.ndarray) else count_samples(self.decoded)

    def blocks(self) -> tuple[Iterator[np.ndarray], Channels]:
        """Return the blocks (N,), and the comparison of the channels, complete when all blocks are taken."""
        channels = self.channels[1] if self.channels else Channels()
        if isinstance(self.decoded, np.ndarray):
            return iter([self.decoded]), channels
        return stream_audio(self.decoded, None if self.channels else channels), channels


@dataclass(frozen=True)
class WaveformReader:
    """Reads recordings in the form that a detector needs. A reader holds only settings, so it can be sent to workers.

    Args:
        num_samples: number of leading samples to take; a shorter recording is filled up ('4sec').
            None for the whole recording ('full').
        min_samples: length in samples to which a shorter recording is filled up, if whole
            recordings are taken.
        used: a function that tells how many leading samples affect the detector's scores; further
            samples are cut off.
        longest: largest number of samples of a file that is read as a whole; a longer file is
            refused with :class:`~nes2net.data.audio.read.LongAudio`. None for no limit.
        crop: ``"head"`` takes the first samples; ``"random"`` takes ``num_samples`` samples from a
            start that is drawn for each recording.
        seed: seed of the random starts; a start depends only on this seed and on the name of the
            file.
        transform: a change of the whole recording, which is made first; None for no change.
        padding: how a short recording is filled up: by repetition (``"repeat"``) or with zeros
            (``"zeros"``).
        peak_normalize: ``"recording"`` divides the samples by the largest absolute sample of the
            whole recording. ``"cut"`` divides by the largest absolute sample of the part that is
            taken, after this part is filled up. ``"no"`` keeps the level.
        pre_emphasis: coefficient of the pre-emphasis, which is applied before the cut.
        channel: number of the channel to take, counted from 0; None for the mean of all channels.
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
    pre_emphasis: float = 0.0
    channel: int | None = None

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
        """Build the reader for the detector ``scorer``; the settings are described at the class.

        Raises:
            InputError: if ``num_samples`` is neither None nor a whole number of at least 1; if
                ``crop``, ``padding`` or ``peak_normalize`` is an unknown word; or if whole
                recordings are read, but ``crop`` is not ``"head"``.
        """
        choices = {"crop": crop, "padding": padding, "peak_normalize": peak_normalize}
        for name, word in choices.items():
            words = get_args(_CHOICES[name])
            if word not in words:
                raise InputError(f"`{name}` is {' or '.join(map(repr, words))}, not {word!r}")
        whole_number = isinstance(num_samples, (int, np.integer)) and not isinstance(num_samples, bool)
        if num_samples is not None and not (whole_number and num_samples >= 1):
            raise InputError(f"`num_samples` is at least 1, or None for the whole recording, not {num_samples!r}")
        if num_samples is None and crop != "head":
            raise InputError("`crop` is where `num_samples` are cut out: whole recordings have no such place")
        return cls(
            num_samples,
            scorer.min_samples,
            scorer.used_samples,
            longest,
            crop,
            seed,
            padding=padding,
            peak_normalize=peak_normalize,
            pre_emphasis=scorer.pre_emphasis,
        )

    def score_length(self, num_samples: int) -> int:
        """Compute how many samples the detector gets from a recording with ``num_samples`` samples."""
        return self.used(self.num_samples or max(num_samples, self.min_samples))

    def num_judged(self, num_samples: int) -> int | None:
        """Return how many leading samples of a recording with ``num_samples`` the detector uses; None for all."""
        most = self.used.most
        if most is not None and min(num_samples, self.num_samples or num_samples) > most:
            return most
        return self.num_samples

    def read(self, path: AnyRecording, id: str | None = None, channels: Channels | None = None) -> Recording:
        """Read a recording from a file, a shard or memory, and make the input of the detector.

        Args:
            id: id of the utterance, for the transform; None for the file's name without suffix.
            channels: an object that compares the channels before the channels are averaged; None
                for no comparison.

        Raises:
            InputError: if the file cannot be read or is too long, or if the transform fails.
        """
        if self.channel is not None and not isinstance(path, ChannelOf):
            path = ChannelOf(path, self.channel)
        # Read only the first samples, unless all samples are needed.
        needs_all = self.transform is not None or self.peak_normalize == "recording"
        if self.num_samples is not None and self.crop == "head" and not needs_all:
            head, length = load_head_and_length(path, self.num_samples, channels=channels)
            return self._cut(head, length, str(path), channels)
        waveform = load_audio(path, longest=self.longest, channels=channels)
        if self.transform is not None:
            if id is None:
                id = Path(str(path)).stem
            waveform = self.transform(waveform, id)
            is_waveform = waveform.ndim == 1 and len(waveform) > 0 and waveform.dtype == np.float32
            if not is_waveform or not np.isfinite(waveform).all():
                result = "NaN or infinity" if is_waveform else f"{waveform.dtype} of shape {waveform.shape}"
                raise InputError(
                    f"{self.transform.identity} returned {result} for {path}; expected float32 of shape (N,)"
                )
        return self._cut(waveform, len(waveform), str(path), channels)

    def read_source(self, source: Source) -> Recording:
        """Read a recording as :meth:`read`, and compare the channels of the part that is taken."""
        channels = source.channels[0] if source.channels else Channels(self.num_samples)
        if not isinstance(source.decoded, np.ndarray):
            compared = None if source.channels else channels
            return self.read(source.decoded, channels=compared)._replace(channels=channels)
        num_samples = len(source.decoded)
        if self.num_samples is None and self.longest is not None and num_samples > self.longest:
            raise LongAudio(f"has {num_samples:,} samples, more than {self.longest:,}", subject=str(source))
        return self._cut(source.decoded, num_samples, str(source), channels)

    def take(self, audio: Audio, sample_rate: float | None, channels: Channels | None = None) -> Recording:
        """Make the detector's input from a file or samples; arguments and errors are as for :func:`recording_of`."""
        recording = recording_of(audio, sample_rate, channels)
        if isinstance(recording, np.ndarray):
            return self._cut(recording, len(recording), "the recording", channels)
        return self.read(recording, channels=channels)

    def _cut(self, waveform: np.ndarray, num_samples: int, name: str, channels: Channels | None) -> Recording:
        """Make the input of the detector from ``waveform``, a whole recording or the first samples of a recording.

        Args:
            num_samples: number of samples of the whole recording.
            name: name of the recording, for messages and as the seed of a random start.
        """
        if self.peak_normalize == "recording":
            waveform = peak_normalized(waveform)
        plain = self._filled(waveform, name)
        emphasised = plain
        if self.pre_emphasis:
            emphasised = self._filled(pre_emphasised(waveform, self.pre_emphasis), name)
        judged = judged_share(num_samples, self.num_samples, self.used.most)
        return Recording(emphasised, num_samples, judged, plain, channels)

    def _filled(self, waveform: np.ndarray, name: str) -> np.ndarray:
        """Crop or fill up ``waveform`` to the samples that the detector uses; the arguments are as for :meth:`_cut`."""
        if self.num_samples is not None and self.crop == "random":
            rng = np.random.default_rng([self.seed, zlib.crc32(Path(name).stem.encode())])
            filled = random_crop(waveform, self.num_samples, rng, name, self.padding)
        else:
            length = self.num_samples or max(len(waveform), self.min_samples)
            filled = head_crop(waveform, length, name, self.padding)
        if self.peak_normalize == "cut":
            filled = peak_normalized(filled)
        # Return a copy, because a view would keep the whole recording in memory.
        return filled[: self.used(len(filled))].copy()


def judged_share(length: int, *limits: int | None) -> float:
    """Compute the share of a recording with ``length`` samples that a detector gets.

    Each of ``limits`` is a largest number of samples that the detector gets, or None for no limit.
    The detector gets as many samples as the smallest limit allows.

    >>> judged_share(48000, 12000, None), judged_share(8000, 12000)
    (0.25, 1.0)
    """
    return min([1.0, *(limit / length for limit in limits if limit is not None)])
