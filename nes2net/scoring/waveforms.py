"""Turn a file, or samples in memory, into a detector's input."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.parts import choose
from nes2net.data.audio.read import AudioFile, LongAudio, count_samples, join_blocks, stream_audio
from nes2net.data.audio.remarks import Channels
from nes2net.data.audio.sources import Audio, recording_of
from nes2net.data.audio.waveform import Padding, head_crop, peak_normalized, pre_emphasised, random_crop
from nes2net.lib.errors import InputError, check_setting
from nes2net.models.frontends.base import UsedSamples
from nes2net.scoring.kernel import Scorer

#: Which ``num_samples`` samples of a longer recording are taken: the first samples, or the samples from a random start.
Crop: TypeAlias = Literal["head", "random"]
#: What is scaled so that its largest absolute sample is 1: nothing, the whole recording, or the part that is taken.
PeakNormalize: TypeAlias = Literal["no", "recording", "cut"]
_CHOICES = {"crop": Crop, "padding": Padding, "peak_normalize": PeakNormalize}


class Transform(Protocol):
    """Changes a whole recording before the cut; is pickled and sent to workers."""

    @property
    def identity(self) -> str:
        """A text, equal for two transforms if and only if they do the same."""

    def __call__(self, waveform: NDArray, id: str) -> NDArray:
        """Change ``waveform`` (N,) to (M,), M ≥ 1, float32 at 16 kHz.

        Args:
            id: of the utterance, to seed random numbers.

        Raises:
            InputError: if this fails; the recording then has no score.
        """


class Recording(NamedTuple):
    """The samples that a detector gets, and facts about the whole recording."""

    waveform: NDArray
    """(N,) float32, 16 kHz."""
    num_samples: int
    """Samples of the whole recording at 16 kHz."""
    judged: float
    """Share that the detector gets."""
    plain: NDArray
    """``waveform`` before pre-emphasis."""
    channels: Channels | None = None
    """Comparison of the channels, if made."""
    whole: NDArray | None = None
    """All samples of the recording before the cut, if kept."""


@dataclass(frozen=True, eq=False)
class RecordingToJudge:
    """A recording to judge: a file, or what was decoded of it."""

    recording: Any
    """What was named, for messages and answers."""
    decoded: AnyRecording | NDArray
    """What is read: the recording, a file of its mean at 16 kHz, or samples (N,) float32."""
    channels: tuple[Channels, Channels] | None = None
    """Channels of the scored part and of the whole, if ``decoded`` is their mean."""
    upload: Path | None = None
    """The original file, if ``recording`` is only its name."""

    def __str__(self) -> str:
        if isinstance(self.recording, AnyRecording):
            return str(self.recording)
        return "the recording"  # a dictionary or an array would fill the screen

    @classmethod
    def of(cls, audio: Audio, sample_rate: float | None = None) -> RecordingToJudge:
        """Make a source of a file, samples, blocks or raw bytes; errors as :func:`recording_of`."""
        channels = Channels()
        recording = recording_of(audio, sample_rate, channels)
        if isinstance(recording, np.ndarray):
            return cls("the recording", recording, (channels, channels))
        return cls(recording, recording)

    @property
    def num_samples(self) -> int:
        """Samples at 16 kHz."""
        return len(self.decoded) if isinstance(self.decoded, np.ndarray) else count_samples(self.decoded)

    def blocks(self) -> tuple[Iterator[NDArray], Channels]:
        """Return blocks (N,), and the comparison of channels, complete after the last block."""
        # ``channels`` were compared when the recording was decoded: of the scored part, and of
        # all.
        channels = self.channels[1] if self.channels else Channels()
        if isinstance(self.decoded, np.ndarray):
            return iter([self.decoded]), channels
        return stream_audio(self.decoded, None if self.channels else channels), channels

    def whole(self) -> RecordingToJudge:
        """Decode the recording once, for several readers."""
        blocks, channels = self.blocks()
        return replace(self, decoded=join_blocks(blocks), channels=self.channels or (channels, channels))


@dataclass(frozen=True)
class WaveformReader:
    """Reads recordings as a detector needs them; holds only settings, so workers can get it.

    Args:
        num_samples: leading samples, filling up shorter recordings ('4sec'); None for all ('full').
        min_samples: length to which whole recordings are filled up.
        used: tells how many leading samples affect scores; others are cut off.
        longest: samples of a whole file; a longer one raises
            :class:`~nes2net.data.audio.read.LongAudio`.
        crop, seed, transform, padding, peak_normalize: as in
            :class:`~nes2net.scoring.corpus.ScoringSettings`; ``seed`` is its ``crop_seed``.
        pre_emphasis: coefficient, applied before the cut.
        audio_track: of files with several, from 0.
        keeps_whole: :meth:`read` also gives :attr:`Recording.whole`.

    Raises:
        InputError: if ``num_samples`` is neither None nor an integer of at least 1, a word is
            unknown, or whole recordings have a ``crop`` other than ``"head"``.
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
    audio_track: int = 0
    keeps_whole: bool = False

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            words = get_args(choices)
            check_setting(name, getattr(self, name), getattr(self, name) in words, " or ".join(map(repr, words)))
        number = self.num_samples
        whole_number = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
        fits = number is None or (whole_number and number >= 1)
        check_setting("num_samples", number, fits, "at least 1, or None for the whole recording")
        if number is None and self.crop != "head":
            raise InputError(f"`crop={self.crop}` only works with `num_samples`: set `num_samples`, or remove `crop`")

    @classmethod
    def of(cls, scorer: Scorer, num_samples: int | None, longest: int | None = None) -> WaveformReader:
        """Build the reader for ``scorer``."""
        return cls(num_samples, scorer.min_samples, scorer.used_samples, longest, pre_emphasis=scorer.pre_emphasis)

    def score_length(self, num_samples: int) -> int:
        """Samples that the detector gets of a recording with ``num_samples``."""
        return self.used(self.num_samples or max(num_samples, self.min_samples))

    def num_judged(self, num_samples: int) -> int | None:
        """Leading samples of a recording with ``num_samples`` that the detector uses; None for all."""
        most = self.used.most
        if most is not None and min(num_samples, self.num_samples or num_samples) > most:
            return most
        return self.num_samples

    def read(self, path: AnyRecording, id: str | None = None, channels: Channels | None = None) -> Recording:
        """Read a recording, and make the detector's input.

        Args:
            id: for the transform; None for the file's name without suffix.
            channels: compares channels before they are averaged.

        Raises:
            InputError: if the file cannot be read or is too long, or the transform fails.
        """
        path = choose(path, track=self.audio_track)
        needs_all = self.keeps_whole or self.transform is not None or self.peak_normalize == "recording"
        with AudioFile(path) as audio:
            if self.num_samples is not None and self.crop == "head" and not needs_all:
                head, length = audio.read_with_length(self.num_samples, channels=channels)
                return self._cut(head, length, str(path), channels)
            waveform, _ = audio.read_with_length(sys.maxsize, longest=self.longest, channels=channels)
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
        recording = self._cut(waveform, len(waveform), str(path), channels)
        if self.keeps_whole:
            recording = recording._replace(whole=waveform)
        return recording

    def read_source(self, source: RecordingToJudge) -> Recording:
        """Read as :meth:`read`, and compare the channels of the part."""
        channels = source.channels[0] if source.channels else Channels(self.num_samples)
        if not isinstance(source.decoded, np.ndarray):
            compared = None if source.channels else channels
            return self.read(source.decoded, channels=compared)._replace(channels=channels)
        num_samples = len(source.decoded)
        if self.num_samples is None and self.longest is not None and num_samples > self.longest:
            raise LongAudio(
                f"has {num_samples:,} samples, more than the {self.longest:,} that are judged in one piece",
                subject=str(source),
            )
        return self._cut(source.decoded, num_samples, str(source), channels)

    def read_audio(self, audio: Audio, sample_rate: float | None) -> Recording:
        """Make the detector's input; arguments and errors as for :func:`recording_of`."""
        return self.read_source(RecordingToJudge.of(audio, sample_rate))

    def _cut(self, waveform: NDArray, num_samples: int, name: str, channels: Channels | None) -> Recording:
        """Make the input from a recording of ``num_samples``, or its first samples; ``name`` seeds a random start."""
        if self.peak_normalize == "recording":
            waveform = peak_normalized(waveform)
        plain = self._crop_or_fill(waveform, name)
        emphasised = plain
        if self.pre_emphasis:
            emphasised = self._crop_or_fill(pre_emphasised(waveform, self.pre_emphasis), name)
        judged = judged_share(num_samples, self.num_samples, self.used.most)
        return Recording(emphasised, num_samples, judged, plain, channels)

    def _crop_or_fill(self, waveform: NDArray, name: str) -> NDArray:
        """Cut or fill up to the score length, normalise, and keep the samples that the detector uses."""
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
    """Share of ``length`` samples within the smallest of ``limits``; None is no limit.

    >>> judged_share(48000, 12000, None), judged_share(8000, 12000)
    (0.25, 1.0)
    """
    return min([1.0, *(limit / length for limit in limits if limit is not None)])
