"""Reading audio files of any format and rate as 16 kHz mono float32.

The recordings may also lie in shards or in memory (:mod:`nes2net.data.audio.packed`).

A file that was cut off or damaged is an error, not a shorter recording.
"""

from __future__ import annotations

import hashlib
import math
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import soundfile

from nes2net.data.audio.blocks import BlocksAt16k, pushed
from nes2net.data.audio.decoders import (
    LIBSNDFILE_ERRORS,
    MP3,
    DamagedAudio,
    check_length,
    check_whole,
    ffmpeg_blocks,
    is_chain,
    libsndfile_blocks,
    open_with_libsndfile,
)
from nes2net.data.audio.frames import FlacHeader, md5_content, read_flac_header
from nes2net.data.audio.packed import AnyRecording, RecordingBytes, fetched, open_recording
from nes2net.data.audio.remarks import Channels
from nes2net.data.audio.waveform import SAMPLE_RATE, check_rate, check_samples, to_mono_16k
from nes2net.lib.errors import InputError
from nes2net.lib.files import check_arrived

# Samples of all channels, over two hours of one channel at 16 kHz. So many are searched for damage
# where only the beginning is wanted.
_SEARCHED_VALUES = 1 << 27
_MOST_VALUES = 1 << 24  # samples of all channels that are read in one piece

#: Samples (channels, N) float32 and their rate in Hz.
_Blocks: TypeAlias = Generator[tuple[np.ndarray, int], None, None]
_T = TypeVar("_T")


class LongAudio(InputError):
    """A recording is longer than its reader takes in one piece."""


class MeasuredAudio(NamedTuple):
    """What a file holds, found by decoding all of it."""

    sample_rate: int
    """Hz."""
    channels: int
    num_samples: int
    """Samples of each channel."""
    second_decoder: bool
    """Whether FFmpeg read the file."""


def load_audio(
    path: AnyRecording, *, channel: int | None = None, longest: int | None = None, channels: Channels | None = None
) -> np.ndarray:
    """Read ``path`` as 16 kHz mono float32 (N,): the mean of its channels, or one of them.

    Channels are counted from 0. A recording of more than ``longest`` samples is not read further
    than these. ``channels`` compares them before they are averaged.

    libsndfile reads it, or FFmpeg (PyAV) if libsndfile cannot: many FLAC files of ASVspoof 2021
    open only with the second. What was decoded is compared with the length that the header states,
    or each page or frame must be complete; docs/data.md says which format has what. Formats in
    which a cut cannot be noticed are refused.

    Raises:
        InputError: if the file is missing, not a regular file, cut off, damaged or empty; if it has
            values that are not finite or far outside [−1, 1], no such channel or an impossible
            rate; if a cut could not be noticed in its format; or if neither decoder reads it.
        LongAudio: if it has more than ``longest`` samples.
    """

    def one_channel(blocks: _Blocks) -> Iterator[tuple[np.ndarray, int]]:
        for samples, rate in blocks:
            if channel is not None and channel >= len(samples):
                raise InputError(
                    f"has {len(samples)} channel(s), so none with number {channel}", subject=f"audio file {path}"
                )
            yield samples if channel is None else samples[channel], rate

    def not_too_long(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        length = 0
        for block in blocks:
            length += len(block)
            if longest is not None and length > longest:
                raise LongAudio(f"is longer than {longest / SAMPLE_RATE:g} s", subject=f"audio file {path}")
            yield block

    def whole(blocks: _Blocks) -> np.ndarray:
        return joined(not_too_long(pushed(one_channel(blocks), BlocksAt16k(f"audio file {path}", channels))))

    return _read(path, whole)[0]


def stream_audio(path: AnyRecording, channels: Channels | None = None) -> Iterator[np.ndarray]:
    """The samples of ``load_audio(path, channels=channels)`` in blocks, so that long recordings take little memory.

    Raises:
        InputError: as :func:`load_audio`; that a file was cut off or damaged may show only after
            its last block.
    """
    return pushed(_spliced(path), BlocksAt16k(f"audio file {path}", channels))


def load_excerpt(path: AnyRecording, start: int, num_samples: int) -> np.ndarray:
    """``load_audio(path)[start : start + num_samples]``, reading only that part of the file.

    A file in which libsndfile cannot seek (or not exactly: Ogg, MP3) is decoded from its beginning.
    Like a slice, the excerpt ends where the file does.

    Args:
        path: audio file of any rate.
        start, num_samples: in samples at 16 kHz, ≥ 0.

    Raises:
        InputError: if the file is missing or cut off, the excerpt holds values that are not finite,
            or no decoder reads it.
    """

    def excerpt(file: soundfile.SoundFile, _: FlacHeader | None) -> np.ndarray | None:
        # libsndfile 1.2 gives other samples after a seek in the last two.
        if not file.seekable() or file.format == "OGG" or file.format in MP3:
            return None
        check_rate(file.samplerate, f"audio file {path}")
        divisor = math.gcd(SAMPLE_RATE, file.samplerate)
        # samples in the same time
        ours = SAMPLE_RATE // divisor
        theirs = file.samplerate // divisor
        # From a position that is a whole sample at both rates, with a margin beyond the reach of soxr's filter.
        margin = 0 if ours == theirs else 1024
        first = max(0, start - margin) // ours
        last = -(-(start + num_samples + margin) // ours)
        position = file.seek(min(first * theirs, file.frames))
        wanted = min((last - first) * theirs, file.frames - position)
        if wanted <= 0:
            return np.zeros(0, np.float32)
        if wanted * file.channels > _MOST_VALUES:
            return None
        samples = file.read(wanted, dtype="float32", always_2d=True)
        if len(samples) != wanted:
            raise DamagedAudio(
                f"{wanted:,} samples from {position:,} on were asked for, {len(samples):,} could be decoded"
            )
        skipped = start - first * ours
        found = to_mono_16k(samples.T, file.samplerate, f"audio file {path}")[skipped : skipped + num_samples]
        check_samples(found, SAMPLE_RATE, f"audio file {path}", start / SAMPLE_RATE)
        return found

    found = _with_libsndfile(path, excerpt)
    return load_head_and_length(path, num_samples, start)[0] if found is None else found


def load_head(path: AnyRecording, num_samples: int) -> np.ndarray:
    """``load_audio(path)[:num_samples]`` to the last bit, if possible without decoding what follows.

    A file that was cut off is noticed; other damage behind the head is not. Lossy coding is decoded
    to the end, because nothing else shows a cut in it.

    Raises:
        InputError: as :func:`load_audio`, as far as it reads.
    """

    def head(file: soundfile.SoundFile, _: FlacHeader | None) -> np.ndarray | None:
        lossless = file.subtype.startswith("PCM") or file.subtype in ("FLOAT", "DOUBLE")
        check_rate(file.samplerate, f"audio file {path}")
        # Samples by which soxr's output lies behind its input, at most.
        delay = 0 if file.samplerate == SAMPLE_RATE else max(1000, file.samplerate // 10)
        wanted = math.ceil(num_samples * file.samplerate / SAMPLE_RATE) + delay
        if not lossless or file.frames <= wanted or wanted * file.channels > _MOST_VALUES:
            return None
        samples = file.read(wanted, dtype="float32", always_2d=True)
        if len(samples) < wanted:
            return None
        found = next(pushed([(samples.T, file.samplerate)], BlocksAt16k(f"audio file {path}")))[:num_samples]
        return found if len(found) == num_samples else None

    found = _with_libsndfile(path, head)
    return load_head_and_length(path, num_samples)[0] if found is None else found


def load_head_and_length(
    path: AnyRecording, num_samples: int, start: int = 0, channels: Channels | None = None
) -> tuple[np.ndarray, int]:
    """``load_audio(path)[start : start + num_samples]`` to the last bit, and the length of the whole.

    ``channels`` compares the channels before they are averaged.

    What lies around the excerpt is decoded as well, because damage anywhere is an error, but not
    kept. Hours of audio are decoded only in part, if the header states the length.

    Raises:
        InputError: as :func:`load_audio`, as far as it reads.
    """

    def excerpt(blocks: _Blocks) -> tuple[np.ndarray, int]:
        pieces: list[np.ndarray] = []
        end = searched = 0

        def counted() -> Iterator[tuple[np.ndarray, int]]:
            nonlocal searched
            for samples, rate in blocks:
                searched += samples.size
                yield samples, rate

        for block in pushed(counted(), BlocksAt16k(f"audio file {path}", channels)):
            piece = block[max(0, start - end) : max(0, start + num_samples - end)]
            # A copy of a part: a view would keep the whole block in memory.
            if len(piece) or not pieces:
                pieces.append(piece if len(piece) == len(block) else piece.copy())
            end += len(block)
            if searched > _SEARCHED_VALUES and end >= start + num_samples:
                if (stated := _stated_samples(path)) is not None:
                    return joined(pieces), stated
                searched = 0
        return joined(pieces), end

    return _read(path, excerpt)[0]


def count_samples(path: AnyRecording) -> int:
    """Length of ``load_audio(path)`` to within a sample, if possible from the header.

    Raises:
        InputError: if the file is missing or cut off, or no decoder reads it. A file without
            samples is 0 long.
    """
    stated = _stated_samples(path)
    if stated is not None:
        return stated
    return _read(path, lambda blocks: sum(map(len, pushed(blocks, BlocksAt16k(f"audio file {path}")))))[0]


def stated_length(path: AnyRecording) -> int | None:
    """Samples at 16 kHz that the header of ``path`` announces, unchecked; None if it announces no length.

    None also for MP3, whose length libsndfile may only guess, and for chains of streams.
    """
    path = fetched(path)
    if is_chain(path):
        return None
    with open_recording(path) as file:
        flac = read_flac_header(file)  # libsndfile does not open every FLAC file of ASVspoof 2021
    if flac is not None:
        return _at_16k(flac.num_samples, max(1, flac.sample_rate)) or None
    try:
        with open_with_libsndfile(path) as info:
            return None if info.format in MP3 else _at_16k(info.frames, info.samplerate) or None
    except (soundfile.LibsndfileError, ValueError):
        return None


def measure_audio(path: AnyRecording) -> MeasuredAudio:
    """Decode ``path`` whole, as :func:`load_audio`, for its length, rate and faults.

    The samples of a FLAC file are compared with the MD5 sum in its header; if they differ, FFmpeg
    reads the file again.

    Raises:
        InputError: as :func:`load_audio`.
    """

    def measure(blocks: _Blocks) -> tuple[int, int, int]:
        first_rate = 0
        channels = 0
        length = 0.0
        for samples, rate in blocks:
            check_rate(rate, f"audio file {path}")
            check_samples(samples, rate, f"audio file {path}", length / (first_rate or rate))
            first_rate = first_rate or rate
            channels = max(channels, len(samples))
            length += samples.shape[1] * first_rate / rate  # links of a chain may have other rates
        if not length:
            raise InputError("has no samples", subject=f"audio file {path}")
        return first_rate, channels, round(length)

    measured, second_decoder = _read(path, measure, verify_md5=True)
    return MeasuredAudio(*measured, second_decoder)


@contextmanager
def _opened(path: AnyRecording) -> Iterator[tuple[Path | RecordingBytes, FlacHeader | None]]:
    """Give ``path`` and the header of a FLAC file, for reading within this context.

    A recording in a shard is read into memory, and is given in place of its address. A file must be
    a regular one, because opening a pipe would wait for ever.

    Raises:
        InputError: if it is not, or is empty, cut off or damaged as far as :func:`check_whole`
            tells, or changes within the context.
    """
    path = fetched(path)
    if isinstance(path, RecordingBytes):
        if not path.content:
            raise _empty(path)
        yield path, check_whole(path)
        return
    try:
        before = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError("not found", subject=f"audio file {path}") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot be opened ({getattr(error, 'strerror', None) or error})", subject=f"audio file {path}"
        ) from None
    if stat.S_ISDIR(before.st_mode):
        raise InputError("is a folder", subject=f"audio file {path}")
    if not stat.S_ISREG(before.st_mode):
        raise InputError("is not a regular file but a pipe or a device", subject=f"audio file {path}")
    if not before.st_size:  # PyAV would write a traceback on standard error
        raise _empty(path)
    yield path, check_whole(path)
    with suppress(OSError):  # a file may be removed once it has been read
        after = path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise InputError(
                "changed while it was read: read it again when it is complete", subject=f"audio file {path}"
            )


def _empty(path: Path | RecordingBytes) -> InputError:
    return InputError("is empty: copy or download it again", subject=f"audio file {path}")


def _with_libsndfile(
    path: AnyRecording, read: Callable[[soundfile.SoundFile, FlacHeader | None], _T | None]
) -> _T | None:
    """``read(file, FLAC header)``; None if libsndfile does not read the file, or not to its end."""
    with _opened(path) as (path, header):
        if is_chain(path):
            return None
        try:
            with open_with_libsndfile(path) as file:
                check_length(file, path, header)
                return read(file, header)
        except InputError:
            raise
        except LIBSNDFILE_ERRORS:
            return None


def _at_16k(num_samples: int, sample_rate: int) -> int:
    """Length at 16 kHz, rounded up."""
    return -(-num_samples * SAMPLE_RATE // sample_rate)


def _stated_samples(path: AnyRecording) -> int | None:
    """Length at 16 kHz that the header of ``path`` states; None if decoding alone tells it."""

    def length(file: soundfile.SoundFile, header: FlacHeader | None) -> int | None:
        mp3 = file.format in MP3 or file.subtype.startswith("MPEG")
        guessed = mp3 or not file.seekable() or (header is not None and not header.num_samples)
        return None if guessed else _at_16k(file.frames, file.samplerate)

    return _with_libsndfile(path, length)


def joined(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """``blocks`` in one array, without holding the samples twice."""
    blocks = iter(blocks)
    first = next(blocks)
    whole = np.zeros(0, np.float32)
    for block in blocks:
        if not len(whole):
            whole.resize(len(first), refcheck=False)
            whole[:] = first
        length = len(whole)
        whole.resize(length + len(block), refcheck=False)
        whole[length:] = block
    return whole if len(whole) else first


def _read(path: AnyRecording, read: Callable[[_Blocks], _T], *, verify_md5: bool = False) -> tuple[_T, bool]:
    """``read`` of the blocks from the decoder that reads the file, and whether that is FFmpeg.

    ``read`` is called again, with the blocks of the next decoder, if one fails.

    Args:
        verify_md5: compare the samples with the MD5 sum of a FLAC file.
    """
    failures: list[Exception] = []
    with _opened(path) as (path, header):
        for blocks in _decoders(path, header, verify_md5):
            try:
                with closing(blocks):
                    return read(blocks), bool(failures)
            except InputError:
                raise
            except Exception as error:  # a decoder can raise anything on a damaged file
                failures.append(error)
    raise _unreadable(path, failures)


def _spliced(path: AnyRecording) -> Iterator[tuple[np.ndarray, int]]:
    """The blocks of a file; if a decoder fails, the next one goes on where it stopped."""
    failures: list[Exception] = []
    given = 0
    with _opened(path) as (path, header):
        for blocks in _decoders(path, header):
            skipped = given
            try:
                with closing(blocks):
                    for samples, rate in blocks:
                        again = min(skipped, samples.shape[1])
                        skipped -= again
                        given += samples.shape[1] - again
                        if again < samples.shape[1]:
                            yield samples[:, again:], rate
                return
            except InputError:
                raise
            except Exception as error:  # as in _read
                failures.append(error)
    raise _unreadable(path, failures)


def _decoders(path: Path | RecordingBytes, header: FlacHeader | None, verify_md5: bool = False) -> Iterator[_Blocks]:
    """The blocks of ``path`` from each decoder that may read it, the best one first."""
    has_md5 = header is not None and header.has_md5 and not is_chain(path)
    first = libsndfile_blocks(path, header)
    yield _with_md5_of(header, first) if header and has_md5 and verify_md5 else first
    yield ffmpeg_blocks(path)
    if header and has_md5:
        # Data behind the last frame may trip the strict decoder. The MD5 sum of all samples
        # outweighs the frames' CRCs.
        yield _with_md5_of(header, ffmpeg_blocks(path, strict=False))


def _with_md5_of(header: FlacHeader, blocks: _Blocks) -> _Blocks:
    """``blocks``; raise :class:`DamagedAudio` after the last one if their MD5 sum differs from the header's."""
    md5 = hashlib.md5(usedforsecurity=False)
    with closing(blocks):
        for samples, rate in blocks:
            md5.update(md5_content(samples, header))
            yield samples, rate
    if md5.digest() != header.md5:
        raise DamagedAudio("the MD5 sum of its samples differs from the one in its header")


def _unreadable(path: AnyRecording, failures: list[Exception]) -> InputError:
    if isinstance(path, (str, Path)):
        check_arrived(path)
    return InputError(
        f"was read by neither libsndfile ({failures[0]}) nor FFmpeg ({failures[1]})", subject=f"audio file {path}"
    )
