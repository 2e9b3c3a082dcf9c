"""Reading audio files of any format and rate as 16 kHz mono float32.

A file that was cut off or damaged is an error, not a shorter recording.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import soundfile
import soxr

from nes2net.audio.ffmpeg import ffmpeg_blocks
from nes2net.audio.flac import FlacHeader, has_md5_of, read_flac_header
from nes2net.audio.integrity import DamagedAudio, check_whole
from nes2net.audio.libsndfile import LIBSNDFILE_ERRORS, MP3, check_length, libsndfile_blocks
from nes2net.audio.waveform import (
    SAMPLE_RATE,
    check_rate,
    fault_of,
    mean_of_channels,
    resampled_length,
    to_mono_16k,
)
from nes2net.errors import InputError

# Samples at 16 kHz read on both sides of an excerpt that is resampled: beyond the reach of soxr's
# filter.
_RESAMPLING_MARGIN = 1024
# libsndfile 1.2 gives other samples after a seek in these.
_INEXACT_SEEK = frozenset({"OGG", *MP3})
_BLOCK = 1 << 18  # samples read at a time where a file is not read whole

_T = TypeVar("_T")


class DecodedAudio(NamedTuple):
    """Samples (channels, N) float32 at the file's own rate in Hz, and whether FFmpeg read them."""

    samples: np.ndarray
    sample_rate: int
    second_decoder: bool


def load_audio(path: str | Path, *, channel: int | None = None) -> np.ndarray:
    """Read ``path`` as 16 kHz mono float32 (N,): the mean of its channels, or one of them.

    Channels are counted from 0.

    libsndfile reads it, or FFmpeg (PyAV) if libsndfile cannot: many FLAC files of ASVspoof 2021
    open only with the second. The samples are compared with what the header states: the length
    (WAV, AIFF, AU, CAF, W64, SPHERE, FLAC, MP4, MP3 with a Xing header), the checksums of frames
    and pages (FLAC, Ogg) and the rate (FLAC). A stream without a length (Ogg, AAC, other MP3) is
    read to its end.

    Raises:
        InputError: if the file is missing, not a regular file, cut off, damaged or empty; if it has
            values that are not finite or far outside [−1, 1], no such channel or an impossible
            rate; or if neither decoder reads it.
    """
    samples, sample_rate, _ = decode_audio(path)
    if channel is not None:
        if channel >= len(samples):
            raise InputError(f"audio file {path} has {len(samples)} channel(s), so none with number {channel}")
        samples = samples[channel]
    return _finite(to_mono_16k(samples, sample_rate, f"audio file {path}"), path)


def stream_audio(path: str | Path) -> Iterator[np.ndarray]:
    """The samples of ``load_audio(path)`` in blocks, so that long recordings take little memory.

    Raises:
        InputError: as :func:`load_audio`; that a file was cut off may show only after its last
            block.
    """
    path = _existing(path)
    header = check_whole(path)
    read = found = 0
    resampler, rate = None, SAMPLE_RATE
    for samples, rate in _decoded_blocks(path, header):
        if resampler is None and rate != SAMPLE_RATE:
            check_rate(rate, f"audio file {path}")
            resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        block = mean_of_channels(samples)
        read += len(block)
        if resampler is not None:
            block = resampler.resample_chunk(block)
        found += len(block)
        if len(block):
            yield _finite(np.ascontiguousarray(block, np.float32), path)
    if resampler is not None:
        tail = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        tail = np.pad(tail, (0, max(0, resampled_length(read, rate) - found - len(tail))))
        found += len(tail)
        if len(tail):
            yield _finite(tail, path)
    if not found:
        raise InputError(f"audio file {path} has no samples")


def load_excerpt(path: str | Path, start: int, num_samples: int) -> np.ndarray:
    """``load_audio(path)[start : start + num_samples]``, reading only that part of the file.

    A file in which libsndfile cannot seek (or not exactly: Ogg, MP3) is read whole. Like a slice,
    the excerpt ends where the file does.

    Args:
        path: audio file of any rate.
        start, num_samples: in samples at 16 kHz, ≥ 0.

    Raises:
        InputError: if the file is missing or cut off, the excerpt holds values that are not finite,
            or no decoder reads it.
    """

    def excerpt(file: soundfile.SoundFile, _: FlacHeader | None) -> np.ndarray | None:
        if not file.seekable() or file.format in _INEXACT_SEEK:
            return None
        return _finite(_read_excerpt(file, start, num_samples), path)

    found = _with_libsndfile(path, excerpt)
    return load_audio(path)[start : start + num_samples] if found is None else found


def load_head(path: str | Path, num_samples: int) -> np.ndarray:
    """``load_audio(path)[:num_samples]`` to the last bit, without decoding what follows.

    A file that was cut off is noticed; other damage behind the head is not. Files of other rates
    and of lossy coding are decoded whole: decoders of MP3 and Opus round differently when they are
    asked for less.

    Raises:
        InputError: as :func:`load_audio`, as far as it reads.
    """

    def head(file: soundfile.SoundFile, _: FlacHeader | None) -> np.ndarray | None:
        lossless = file.subtype.startswith("PCM") or file.subtype in ("FLOAT", "DOUBLE")
        if not lossless or file.samplerate != SAMPLE_RATE or file.frames <= num_samples:
            return None
        samples = file.read(num_samples, dtype="float32", always_2d=True)
        if len(samples) != num_samples:
            return None
        return _finite(to_mono_16k(samples.T, SAMPLE_RATE, f"audio file {path}"), path)

    found = _with_libsndfile(path, head)
    return load_audio(path)[:num_samples] if found is None else found


def count_samples(path: str | Path) -> int:
    """Length of ``load_audio(path)`` to within a sample, if possible from the header.

    Raises:
        InputError: if the file is missing or cut off, or no decoder reads it. A file without
            samples is 0 long.
    """

    def length(file: soundfile.SoundFile, header: FlacHeader | None) -> int | None:
        mp3 = file.format in MP3 or file.subtype.startswith("MPEG")
        guessed = mp3 or not file.seekable() or (header is not None and not header.num_samples)
        return None if guessed else _at_16k(file.frames, file.samplerate)

    found = _with_libsndfile(path, length)
    return len(load_audio(path)) if found is None else found


def stated_length(path: str | Path) -> int | None:
    """Samples at 16 kHz that the header of ``path`` announces, unchecked; None if it does not.

    None also for MP3, whose length libsndfile may only guess.
    """
    with open(path, "rb") as file:
        flac = read_flac_header(file)  # libsndfile does not open every FLAC file of ASVspoof 2021
    if flac is not None:
        return _at_16k(flac.num_samples, flac.sample_rate) or None
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        return None
    return None if info.format in MP3 else _at_16k(info.frames, info.samplerate) or None


def decode_audio(path: str | Path, *, verify_md5: bool = False) -> DecodedAudio:
    """Decode ``path`` whole, at its own rate and with all its channels.

    Args:
        verify_md5: compare the samples of a FLAC file with the MD5 sum in its header; if they
            differ, FFmpeg reads the file again.

    Raises:
        InputError: if the file is missing, empty, cut off or damaged, or neither decoder reads it.
    """
    path = _existing(path)
    header = check_whole(path)
    try:
        decoded = DecodedAudio(*_join(libsndfile_blocks(path, header, -1)), second_decoder=False)
        if verify_md5 and header and header.has_md5 and not has_md5_of(decoded.samples, header):
            raise DamagedAudio("the MD5 sum of its samples is not that of its header")
    except InputError:
        raise
    except LIBSNDFILE_ERRORS as error:
        decoded = DecodedAudio(*_ffmpeg_whole(path, header, error), second_decoder=True)
    if not decoded.samples.shape[1]:
        raise InputError(f"audio file {path} has no samples")
    return decoded


def _existing(path: str | Path) -> Path:
    """``path``, if it is a regular file that is not empty: opening a pipe would wait for ever."""
    path = Path(path)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"audio file {path} not found") from None
    except (OSError, ValueError) as error:
        raise InputError(f"audio file {path} cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"audio file {path} is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"audio file {path} is not a regular file but a pipe or a device")
    if not status.st_size:  # PyAV would write a traceback on standard error
        raise InputError(f"audio file {path} is empty: copy or download it again")
    return path


def _with_libsndfile(
    path: str | Path, read: Callable[[soundfile.SoundFile, FlacHeader | None], _T | None]
) -> _T | None:
    """``read(file, FLAC header)``; None if libsndfile does not read the file, or not to its end."""
    path = _existing(path)
    header = check_whole(path)
    try:
        with soundfile.SoundFile(path) as file:
            check_length(file, path, header)
            return read(file, header)
    except InputError:
        raise
    except LIBSNDFILE_ERRORS:
        return None


def _finite(waveform: np.ndarray, path: str | Path) -> np.ndarray:
    if fault := fault_of(waveform):
        raise InputError(f"audio file {path} {fault}")
    return waveform


def _at_16k(num_samples: int, sample_rate: int) -> int:
    """Length at 16 kHz, rounded up."""
    return -(-num_samples * SAMPLE_RATE // sample_rate)


def _read_excerpt(file: soundfile.SoundFile, start: int, num_samples: int) -> np.ndarray:
    """The excerpt, read from a position that is a whole sample at both rates."""
    divisor = math.gcd(SAMPLE_RATE, file.samplerate)
    ours, theirs = SAMPLE_RATE // divisor, file.samplerate // divisor  # samples in the same time
    margin = 0 if ours == theirs else _RESAMPLING_MARGIN
    first = max(0, start - margin) // ours
    last = -(-(start + num_samples + margin) // ours)
    position = file.seek(min(first * theirs, file.frames))
    wanted = min((last - first) * theirs, file.frames - position)
    if wanted <= 0:
        return np.zeros(0, np.float32)
    samples = file.read(wanted, dtype="float32", always_2d=True)
    if len(samples) != wanted:
        raise DamagedAudio(f"{wanted:,} samples from {position:,} on were asked for, {len(samples):,} could be decoded")
    skipped = start - first * ours
    return to_mono_16k(samples.T, file.samplerate, f"audio file {file.name}")[skipped : skipped + num_samples]


def _join(blocks: Iterable[tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
    arrays, rates = zip(*blocks)
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1), rates[-1]


def _decoded_blocks(path: Path, header: FlacHeader | None) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks (channels, N) and their rate, from the decoder that reads the file."""
    given = 0
    try:
        for samples, rate in libsndfile_blocks(path, header, _BLOCK):
            given += samples.shape[1]
            yield samples, rate
        return
    except InputError:
        raise
    except LIBSNDFILE_ERRORS as error:
        first = error
    if header is not None:  # whole, for its checksums
        samples, rate = _ffmpeg_whole(path, header, first)
        yield samples[:, given:], rate
        return
    with closing(ffmpeg_blocks(path)) as blocks:
        try:
            for samples, rate in blocks:
                dropped = min(given, samples.shape[1])
                given -= dropped
                if dropped < samples.shape[1]:
                    yield samples[:, dropped:], rate
        except Exception as second:
            raise _unreadable(path, first, second) from second


def _ffmpeg_whole(path: Path, header: FlacHeader | None, first: Exception) -> tuple[np.ndarray, int]:
    """All samples and their rate, by FFmpeg; ``first`` is the reason why libsndfile failed."""
    try:
        try:
            return _join(ffmpeg_blocks(path))
        except Exception:
            if header is None or not header.has_md5:
                raise
            # Data behind the last frame may trip the strict decoder. The MD5 sum of all samples
            # outweighs the frames' CRCs.
            samples, rate = _join(ffmpeg_blocks(path, strict=False))
            if not has_md5_of(samples, header):
                raise
            return samples, rate
    except Exception as second:
        raise _unreadable(path, first, second) from second


def _unreadable(path: Path, first: Exception, second: Exception) -> InputError:
    return InputError(f"audio file {path} was read by neither libsndfile ({first}) nor FFmpeg ({second})")
