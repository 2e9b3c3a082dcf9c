"""Reading audio: any format and rate → 16 kHz mono float32 in [−1, 1]."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nes2net.errors import InputError

if TYPE_CHECKING:
    import soundfile

#: Hz; every detector works at this rate.
SAMPLE_RATE = 16000

# Samples at 16 kHz read on both sides of an excerpt that is resampled: beyond the reach of soxr's filter.
_RESAMPLING_MARGIN = 1024


def load_audio(path: str | Path, *, channel: int | None = None) -> np.ndarray:
    """Read ``path`` as 16 kHz mono float32 (N,): the mean of its channels, or the one named (counted from 0).

    libsndfile is tried first and FFmpeg (PyAV) second: many FLAC files of ASVspoof 2021 open only with the second.

    Raises:
        InputError: the file is missing, empty, holds values that are not finite, has no such channel, or neither decoder reads it.
    """
    path = _existing(path)
    samples, sample_rate = _decode(path)
    if samples.shape[-1] == 0:
        raise InputError(f"audio file {path} has no samples")
    if channel is not None:
        if channel >= len(samples):
            raise InputError(f"audio file {path} has {len(samples)} channel(s), so none with number {channel}")
        samples = samples[channel]
    return _finite(to_mono_16k(samples, sample_rate), path)


def load_excerpt(path: str | Path, start: int, num_samples: int) -> np.ndarray:
    """``load_audio(path)[start : start + num_samples]``, for which only that part of the file is read.

    A file in which libsndfile cannot seek (exactly: Ogg) is read whole. Like a slice, the excerpt ends where the file does.

    Args:
        path: audio file of any rate.
        start, num_samples: in samples at 16 kHz, ≥ 0.

    Raises:
        InputError: the file is missing, the excerpt holds values that are not finite, or no decoder reads it.
    """
    import soundfile

    path = _existing(path)
    try:
        with soundfile.SoundFile(path) as file:
            if file.seekable() and file.format != "OGG":  # after a seek, Ogg gives other samples (libsndfile 1.2)
                return _finite(_read_excerpt(file, start, num_samples), path)
    except (soundfile.LibsndfileError, RuntimeError, OSError):
        pass
    return load_audio(path)[start : start + num_samples]


def load_head(path: str | Path, num_samples: int) -> np.ndarray:
    """``load_audio(path)[:num_samples]`` to the last bit, for which a longer file at 16 kHz is not decoded to its end.

    Damage that comes later is not seen. Files of other rates and of lossy coding are decoded whole: decoders of MP3 and Opus round
    differently when they are asked for less.

    Raises:
        InputError: as :func:`load_audio`, as far as it reads.
    """
    import soundfile

    path = _existing(path)
    try:
        with soundfile.SoundFile(path) as file:
            lossless = file.subtype.startswith("PCM") or file.subtype in ("FLOAT", "DOUBLE")
            if lossless and file.samplerate == SAMPLE_RATE and file.frames > num_samples:
                samples = file.read(num_samples, dtype="float32", always_2d=True)
                if len(samples) == num_samples:
                    return _finite(to_mono_16k(samples.T, SAMPLE_RATE), path)
    except (soundfile.LibsndfileError, RuntimeError, OSError):
        pass
    return load_audio(path)[:num_samples]


def count_samples(path: str | Path) -> int:
    """Length of ``load_audio(path)`` to within a sample, read from the header where libsndfile knows the format.

    Raises:
        InputError: the file is missing or no decoder reads it. A file without samples is 0.
    """
    import soundfile

    path = _existing(path)
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, RuntimeError, OSError):
        return len(load_audio(path))
    return -(-info.frames * SAMPLE_RATE // info.samplerate)


def to_mono_16k(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean of the channels ((N,) or (channels, N)), resampled to 16 kHz by soxr in high quality (librosa's default)."""
    if samples.ndim == 2:
        samples = samples.mean(axis=0, dtype=samples.dtype)
    if samples.ndim != 1:
        raise InputError(f"audio is (samples,) or (channels, samples), not an array of {samples.ndim} axes")
    if sample_rate != SAMPLE_RATE:
        import soxr

        samples = soxr.resample(samples, sample_rate, SAMPLE_RATE, quality="HQ")
    return np.ascontiguousarray(samples, dtype=np.float32)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"audio file {path} not found")
    return path


def _finite(waveform: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(waveform).all():
        raise InputError(f"audio file {path} holds NaN or infinite samples")
    return waveform


def _read_excerpt(file: soundfile.SoundFile, start: int, num_samples: int) -> np.ndarray:
    """The excerpt, read from a position that is a whole sample at both rates."""
    divisor = math.gcd(SAMPLE_RATE, file.samplerate)
    ours, theirs = SAMPLE_RATE // divisor, file.samplerate // divisor  # samples of both rates in the same time
    margin = 0 if ours == theirs else _RESAMPLING_MARGIN
    first = max(0, start - margin) // ours
    last = -(-(start + num_samples + margin) // ours)
    if file.seek(min(first * theirs, file.frames)) == file.frames:
        return np.zeros(0, np.float32)
    samples = file.read((last - first) * theirs, dtype="float32", always_2d=True)
    skipped = start - first * ours
    return to_mono_16k(samples.T, file.samplerate)[skipped : skipped + num_samples]


def _decode(path: Path) -> tuple[np.ndarray, int]:
    """Samples (channels, N) float32 and their rate."""
    import soundfile

    try:
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        return samples.T, sample_rate
    except (soundfile.LibsndfileError, RuntimeError, OSError) as first:
        try:
            return _decode_with_ffmpeg(path)
        except Exception as second:
            raise InputError(
                f"audio file {path} was read by neither libsndfile ({first}) nor FFmpeg ({second})"
            ) from second


def _decode_with_ffmpeg(path: Path) -> tuple[np.ndarray, int]:
    import av

    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise ValueError("no audio stream")
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp")
        blocks = []
        for frame in container.decode(stream):
            blocks += [out.to_ndarray() for out in resampler.resample(frame)]
        blocks += [out.to_ndarray() for out in resampler.resample(None)]
        if not blocks:
            raise ValueError("no audio frames")
        return np.concatenate(blocks, axis=1), stream.rate
