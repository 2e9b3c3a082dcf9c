"""Reading audio: any format and rate → 16 kHz mono float32 in [−1, 1]; a file that was cut off is an error, not a shorter one."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nes2net.audio.ffmpeg import ffmpeg_blocks
from nes2net.audio.integrity import DamagedAudio, FlacDigest, FlacHeader, missing_audio, read_flac_header
from nes2net.audio.libsndfile import LIBSNDFILE_ERRORS, check_length, libsndfile_blocks
from nes2net.audio.ogg import ogg_fault
from nes2net.errors import InputError

if TYPE_CHECKING:
    import soundfile

#: Hz; every detector works at this rate.
SAMPLE_RATE = 16000

# Samples at 16 kHz read on both sides of an excerpt that is resampled: beyond the reach of soxr's filter.
_RESAMPLING_MARGIN = 1024
# libsndfile 1.2 gives other samples after a seek in these.
_INEXACT_SEEK = frozenset({"OGG", "MP3", "MPEG"})
# Hz; outside lies no recording, but what a damaged header can say, and resampling would make gigabytes of.
_RATES = (1000, 1_000_000)
# Sample values beyond this are no loud recording but integers in floating-point numbers.
_LOUDEST = 16.0
_BLOCK = 1 << 18  # samples read at a time where a file is not read whole


class DecodedAudio(NamedTuple):
    """Samples (channels, N) float32 at the file's own rate in Hz, and whether it was FFmpeg that read them."""

    samples: np.ndarray
    sample_rate: int
    second_decoder: bool


def load_audio(path: str | Path, *, channel: int | None = None) -> np.ndarray:
    """Read ``path`` as 16 kHz mono float32 (N,): the mean of its channels, or the one named (counted from 0).

    libsndfile is tried first and FFmpeg (PyAV) second: many FLAC files of ASVspoof 2021 open only with the second. What was decoded is
    held against what the header says: length (WAV, AIFF, AU, CAF, SPHERE, FLAC, MP4, MP3 where it says one), checksums (FLAC, Ogg)
    and rate (FLAC). Formats that carry no length (Ogg, AAC and MP3 streams) are as long as they are.

    Raises:
        InputError: the file is missing or no regular file, cut off, damaged, empty, holds values that are not finite or far outside
            [−1, 1], has no such channel or an impossible rate, or neither decoder reads it.
    """
    path = _existing(path)
    samples, sample_rate, _ = decode_audio(path)
    if channel is not None:
        if channel >= len(samples):
            raise InputError(f"audio file {path} has {len(samples)} channel(s), so none with number {channel}")
        samples = samples[channel]
    return _finite(to_mono_16k(samples, sample_rate, f"audio file {path}"), path)


def stream_audio(path: str | Path) -> Iterator[np.ndarray]:
    """The blocks of ``load_audio(path)``, read one after the other, so that hours of audio take no more memory than minutes.

    Raises :class:`InputError` as :func:`load_audio` does; that a file was cut off may show only after its last block.
    """
    path = _existing(path)
    header = _header(path)
    read = found = 0
    resampler, rate = None, SAMPLE_RATE
    for samples, rate in _decoded_blocks(path, header):
        if resampler is None and rate != SAMPLE_RATE:
            import soxr

            _check_rate(rate, f"audio file {path}")
            resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        block = _mean_of_channels(samples)
        read += len(block)
        if resampler is not None:
            block = resampler.resample_chunk(block)
        found += len(block)
        if len(block):
            yield _finite(np.ascontiguousarray(block, np.float32), path)
    if resampler is not None:
        tail = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        tail = np.pad(tail, (0, max(0, _resampled_length(read, rate) - found - len(tail))))
        found += len(tail)
        if len(tail):
            yield _finite(tail, path)
    if not found:
        raise InputError(f"audio file {path} has no samples")


def load_excerpt(path: str | Path, start: int, num_samples: int) -> np.ndarray:
    """``load_audio(path)[start : start + num_samples]``, for which only that part of the file is read.

    A file in which libsndfile cannot seek (exactly: Ogg, MP3) is read whole. Like a slice, the excerpt ends where the file does.

    Args:
        path: audio file of any rate.
        start, num_samples: in samples at 16 kHz, ≥ 0.

    Raises:
        InputError: the file is missing or cut off, the excerpt holds values that are not finite, or no decoder reads it.
    """
    import soundfile

    path = _existing(path)
    _header(path)
    try:
        with soundfile.SoundFile(path) as file:
            check_length(file, path)
            if file.seekable() and file.format not in _INEXACT_SEEK:
                return _finite(_read_excerpt(file, start, num_samples), path)
    except InputError:
        raise
    except LIBSNDFILE_ERRORS:
        pass
    return load_audio(path)[start : start + num_samples]


def load_head(path: str | Path, num_samples: int) -> np.ndarray:
    """``load_audio(path)[:num_samples]`` to the last bit, for which a longer file at 16 kHz is not decoded to its end.

    That a file is cut off is seen; other damage that comes later is not. Files of other rates and of lossy coding are decoded whole:
    decoders of MP3 and Opus round differently when they are asked for less.

    Raises:
        InputError: as :func:`load_audio`, as far as it reads.
    """
    import soundfile

    path = _existing(path)
    _header(path)
    try:
        with soundfile.SoundFile(path) as file:
            check_length(file, path)
            lossless = file.subtype.startswith("PCM") or file.subtype in ("FLOAT", "DOUBLE")
            if lossless and file.samplerate == SAMPLE_RATE and file.frames > num_samples:
                samples = file.read(num_samples, dtype="float32", always_2d=True)
                if len(samples) == num_samples:
                    return _finite(to_mono_16k(samples.T, SAMPLE_RATE, f"audio file {path}"), path)
    except InputError:
        raise
    except LIBSNDFILE_ERRORS:
        pass
    return load_audio(path)[:num_samples]


def count_samples(path: str | Path) -> int:
    """Length of ``load_audio(path)`` to within a sample, read from the header where libsndfile knows the format.

    Raises:
        InputError: the file is missing or cut off, or no decoder reads it. A file without samples is 0.
    """
    import soundfile

    path = _existing(path)
    header = _header(path)
    try:
        with soundfile.SoundFile(path) as file:
            check_length(file, path)
            frames, rate = file.frames, file.samplerate
            mp3 = file.format in ("MP3", "MPEG") or file.subtype.startswith("MPEG")
            guessed = mp3 or not file.seekable() or (header is not None and not header.num_samples)
    except LIBSNDFILE_ERRORS:
        guessed = True
    return len(load_audio(path)) if guessed else -(-frames * SAMPLE_RATE // rate)


def to_mono_16k(samples: np.ndarray, sample_rate: float, what: str = "audio") -> np.ndarray:
    """Mean of the channels ((N,) or (channels, N)), resampled to 16 kHz as ``librosa.load`` does: by soxr in high quality, with
    a last sample of 0 where soxr gives one less than the length asks for.

    Raises :class:`InputError`, naming ``what``, for other shapes, no samples, and rates below 1 kHz or above 1 MHz.
    """
    samples = _mean_of_channels(samples)
    _check_rate(sample_rate, what)
    if sample_rate != SAMPLE_RATE and len(samples):
        import soxr

        length = _resampled_length(len(samples), sample_rate)
        samples = soxr.resample(samples, sample_rate, SAMPLE_RATE, quality="HQ")[:length]
        samples = np.pad(samples, (0, length - len(samples)))
    if not len(samples):
        raise InputError(f"{what} has no samples")
    return np.ascontiguousarray(samples, dtype=np.float32)


def decode_audio(path: str | Path) -> DecodedAudio:
    """Decode ``path`` whole, as it is. :class:`InputError` if it is missing, empty, cut off, damaged, or neither decoder reads it."""

    path = _existing(path)
    header = _header(path)
    try:
        samples, sample_rate = _join(libsndfile_blocks(path, header, -1))
        second = False
    except InputError:
        raise
    except LIBSNDFILE_ERRORS as error:
        samples, sample_rate = _ffmpeg_whole(path, header, error)
        second = True
    if not samples.shape[1]:
        raise InputError(f"audio file {path} has no samples")
    return DecodedAudio(samples, sample_rate, second)


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
        raise InputError(f"audio file {path} is no regular file but a pipe or a device")
    if not status.st_size:  # PyAV would write a traceback on standard error
        raise InputError(f"audio file {path} is empty: copy or download it again")
    return path


def _header(path: Path) -> FlacHeader | None:
    """The header of a FLAC file; :class:`InputError` for a file that contradicts its own header."""
    try:
        with open(path, "rb") as file:
            if cut := missing_audio(file):
                raise InputError(
                    f"audio file {path} is cut off: its header announces {cut[0]:,} {cut[2]}, {cut[1]:,} are there"
                )
            if fault := ogg_fault(file):
                raise InputError(f"audio file {path} {fault}")
            header = read_flac_header(file)
    except OSError as error:
        raise InputError(f"audio file {path} cannot be opened ({error.strerror})") from None
    if header and header.first_frame_rate not in (None, header.sample_rate):
        raise InputError(
            f"audio file {path} is damaged: its header says {header.sample_rate} Hz, its first frame {header.first_frame_rate} Hz"
        )
    return header


def _check_rate(sample_rate: float, what: str) -> None:
    if not _RATES[0] <= sample_rate <= _RATES[1]:  # also catches NaN
        raise InputError(
            f"{what} is said to have {sample_rate:g} samples a second; {_RATES[0]:,} to {_RATES[1]:,} Hz are accepted"
        )


def _resampled_length(num_samples: int, sample_rate: float) -> int:
    """At 16 kHz, in librosa's arithmetic."""
    return math.ceil(num_samples * (SAMPLE_RATE / sample_rate))


def _mean_of_channels(samples: np.ndarray) -> np.ndarray:
    if samples.ndim == 2:
        samples = samples.mean(axis=0, dtype=samples.dtype) if len(samples) != 1 else samples[0]
    if samples.ndim != 1:
        raise InputError(f"audio is (samples,) or (channels, samples), not an array of {samples.ndim} axes")
    return samples


def _finite(waveform: np.ndarray, path: Path) -> np.ndarray:
    if fault := fault_of(waveform):
        raise InputError(f"audio file {path} {fault}")
    return waveform


def fault_of(samples: np.ndarray) -> str | None:
    """What keeps ``samples`` from being audio in [−1, 1], to follow the name of the recording; None for those that are."""
    if not samples.size:
        return None
    loudest = max(samples.max(), -samples.min())
    if not np.isfinite(loudest):
        return "holds NaN or infinite samples"
    if loudest > _LOUDEST:
        return f"has samples that reach {loudest:g}; values in [-1, 1] are expected: divide by full scale, 32768 for 16-bit audio"
    return None


def _read_excerpt(file: soundfile.SoundFile, start: int, num_samples: int) -> np.ndarray:
    """The excerpt, read from a position that is a whole sample at both rates."""
    divisor = math.gcd(SAMPLE_RATE, file.samplerate)
    ours, theirs = SAMPLE_RATE // divisor, file.samplerate // divisor  # samples of both rates in the same time
    margin = 0 if ours == theirs else _RESAMPLING_MARGIN
    first = max(0, start - margin) // ours
    last = -(-(start + num_samples + margin) // ours)
    position = file.seek(min(first * theirs, file.frames))
    wanted = min((last - first) * theirs, file.frames - position)
    if wanted <= 0:
        return np.zeros(0, np.float32)
    samples = file.read(wanted, dtype="float32", always_2d=True)
    if len(samples) != wanted:
        raise DamagedAudio(
            f"{wanted:,} samples from number {position:,} on were to be read, {len(samples):,} are there"
        )
    skipped = start - first * ours
    return to_mono_16k(samples.T, file.samplerate, f"audio file {file.name}")[skipped : skipped + num_samples]


def _join(blocks: Iterable[tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
    arrays, rate = [], SAMPLE_RATE
    for samples, rate in blocks:  # noqa: B007 the rate of the last block is the file's
        arrays.append(samples)
    return (arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1) if arrays else np.zeros((1, 0))), rate


def _decoded_blocks(path: Path, header: FlacHeader | None) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks (channels, N) and their rate, by the decoder that reads the file."""

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
    with closing(ffmpeg_blocks(path, None)) as blocks:
        try:
            for samples, rate in blocks:
                dropped = min(given, samples.shape[1])
                given -= dropped
                if dropped < samples.shape[1]:
                    yield samples[:, dropped:], rate
        except InputError:
            raise
        except Exception as second:
            raise _unreadable(path, first, second) from second


def _ffmpeg_whole(path: Path, header: FlacHeader | None, first: Exception) -> tuple[np.ndarray, int]:
    """Everything, by FFmpeg; ``first`` is why libsndfile failed."""
    try:
        try:
            return _join(ffmpeg_blocks(path, header))
        except Exception:
            if header is None or not header.has_md5:
                raise
            # What follows the last frame may trip the strict decoder; the checksum of everything outweighs that of the frames.
            samples, rate = _join(ffmpeg_blocks(path, header, strict=False))
            md5 = FlacDigest(header.bits)
            md5.update(samples.T)
            if md5.digest() != header.md5:
                raise
            return samples, rate
    except Exception as second:
        raise _unreadable(path, first, second) from second


def _unreadable(path: Path, first: Exception, second: Exception) -> InputError:
    return InputError(f"audio file {path} was read by neither libsndfile ({first}) nor FFmpeg ({second})")
