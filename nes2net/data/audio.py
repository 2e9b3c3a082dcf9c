"""Reading audio: any format and rate → 16 kHz mono float32 in [−1, 1]."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nes2net.errors import InputError

#: Hz; every detector works at this rate.
SAMPLE_RATE = 16000


def load_audio(path: str | Path) -> np.ndarray:
    """Read ``path`` as 16 kHz mono float32 (N,).

    libsndfile is tried first and FFmpeg (PyAV) second: many FLAC files of ASVspoof 2021 open only with the second.

    Raises:
        InputError: the file is missing, empty, holds values that are not finite, or neither decoder reads it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"audio file {path} not found")
    samples, sample_rate = _decode(path)
    if samples.shape[-1] == 0:
        raise InputError(f"audio file {path} has no samples")
    waveform = to_mono_16k(samples, sample_rate)
    if not np.isfinite(waveform).all():
        raise InputError(f"audio file {path} holds NaN or infinite samples")
    return waveform


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
