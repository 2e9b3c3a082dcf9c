"""Read audio files of any format and rate as 16 kHz mono float32.

A recording may also lie in a shard or in memory (:mod:`nes2net.data.audio.packed`). A file that was
cut off or damaged raises an error, instead of being read as a shorter recording.
"""

from __future__ import annotations

import hashlib
import io
import math
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple, TypeVar

import numpy as np
import soundfile

from nes2net.data.audio.blocks import BlocksAt16k, push_all
from nes2net.data.audio.decoders import (
    LIBSNDFILE_ERRORS,
    MP3,
    Blocks,
    DamagedAudio,
    check_length,
    check_whole,
    ffmpeg_blocks,
    is_chain,
    libsndfile_blocks,
    open_with_libsndfile,
)
from nes2net.data.audio.frames import FlacHeader, md5_content, read_flac_header
from nes2net.data.audio.packed import AnyRecording, audio_error, fetch, not_found, open_recording, part_of
from nes2net.data.audio.parts import TOLERANCE, ChannelOf, Fetched, PartOf, RecordingBytes
from nes2net.data.audio.remarks import Channels
from nes2net.data.audio.waveform import SAMPLE_RATE, as_16_bits, check_rate, check_samples, to_mono_16k
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.files import check_arrived

# If only a part is needed, this many samples of all channels are still searched for damage: two hours of one channel
# at 16 kHz.
_SEARCHED_VALUES = 1 << 27
_MAX_VALUES = 1 << 24  # most samples to read in one piece, counted over all channels
_SUBTYPES = {"int16": "PCM_16", "float32": "FLOAT"}

_T = TypeVar("_T")


class NotAudio(InputError):
    """No decoder can read a file."""


class LongAudio(InputError):
    """A recording is longer than the caller accepts."""


class MeasuredAudio(NamedTuple):
    """Rate, channels and length of a recording, measured by decoding all of it."""

    sample_rate: int
    """In Hz."""
    channels: int
    num_samples: int
    """Samples of each channel."""
    second_decoder: bool
    """Whether FFmpeg read the file: Opus, or because libsndfile could not."""


def load_audio(path: AnyRecording, *, longest: int | None = None, channels: Channels | None = None) -> np.ndarray:
    """Read ``path`` as 16 kHz mono float32 (N,): the mean of its channels, or one channel.

    FFmpeg (PyAV) reads Opus, and what libsndfile cannot: many FLAC files of ASVspoof 2021. The
    decoded length must be the stated one, and each page or frame complete (docs/data.md).

    Args:
        path: also a part or channel (:mod:`nes2net.data.audio.parts`).
        longest: the most samples at 16 kHz that are accepted.
        channels: if given, compares the channels before they are averaged.

    Raises:
        InputError: if the file is missing, not a regular file, cut off, damaged or empty; if a
            sample is not finite or far outside [−1, 1]; if there is no such channel or part; if the
            rate is impossible; if a cut could not be noticed in this format; or if neither decoder reads
            the file.
        LongAudio: if the recording has more than ``longest`` samples.
    """

    def check_longest(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        length = 0
        for block in blocks:
            length += len(block)
            if longest is not None and length > longest:
                raise LongAudio(f"is longer than {longest / SAMPLE_RATE:g} s", subject=f"audio file {path}")
            yield block

    def read_all(blocks: Blocks) -> np.ndarray:
        return join_blocks(check_longest(push_all(blocks, BlocksAt16k(f"audio file {path}", channels))))

    return _read_with_fallback(path, read_all)[0]


def stream_audio(path: AnyRecording, channels: Channels | None = None) -> Iterator[np.ndarray]:
    """Yield ``load_audio(path, channels=channels)`` in blocks (N,), to save memory.

    Raises:
        InputError: as :func:`load_audio`; a cut or damage may be noticed only after the last block.
    """
    return push_all(_blocks_with_fallback(path), BlocksAt16k(f"audio file {path}", channels))


def load_excerpt(path: AnyRecording, start: int, num_samples: int) -> np.ndarray:
    """Return ``load_audio(path)[start : start + num_samples]``, but read only this part of the file.

    Formats in which libsndfile cannot seek exactly, such as Ogg and MP3, are decoded from the
    start.

    Args:
        start, num_samples: in samples at 16 kHz, ≥ 0.

    Raises:
        InputError: if the file is missing or cut off, if a sample of the excerpt is not finite, or
            if no decoder reads the file.
    """

    def read_excerpt(file: soundfile.SoundFile, _: FlacHeader | None) -> np.ndarray | None:
        if not _seeks_exactly(file):
            return None
        check_rate(file.samplerate, f"audio file {path}")
        divisor = math.gcd(SAMPLE_RATE, file.samplerate)
        # A step is the shortest time that is a whole number of samples at 16 kHz and at the rate of the file.
        step_at_16k = SAMPLE_RATE // divisor
        step_in_file = file.samplerate // divisor
        # The part to read begins and ends at whole steps, with a margin on either side, in samples at 16 kHz, that is
        # longer than soxr's filter.
        margin = 0 if file.samplerate == SAMPLE_RATE else 1024
        first_step = max(0, start - margin) // step_at_16k
        last_step = -(-(start + num_samples + margin) // step_at_16k)
        position = file.seek(min(first_step * step_in_file, file.frames))
        num_frames = min((last_step - first_step) * step_in_file, file.frames - position)
        if num_frames <= 0:
            return np.zeros(0, np.float32)
        if num_frames * file.channels > _MAX_VALUES:
            return None
        samples = file.read(num_frames, dtype="float32", always_2d=True)
        if len(samples) != num_frames:
            raise DamagedAudio(
                f"of {num_frames:,} samples from sample {position:,} on, only {len(samples):,} could be decoded"
            )
        skipped = start - first_step * step_at_16k
        resampled = to_mono_16k(samples.T, file.samplerate, f"audio file {path}")
        waveform = resampled[skipped : skipped + num_samples]
        check_samples(waveform, SAMPLE_RATE, f"audio file {path}", start / SAMPLE_RATE)
        return waveform

    # If read_excerpt returns None, the whole recording is decoded.
    waveform = _with_libsndfile(path, read_excerpt)
    return load_head_and_length(path, num_samples, start)[0] if waveform is None else waveform


def load_head(path: AnyRecording, num_samples: int) -> np.ndarray:
    """Return ``load_audio(path)[:num_samples]``; if possible, do not decode the rest of the file.

    A cut is noticed anywhere, other damage only in the first ``num_samples``. Lossy files are
    decoded to the end, because only that shows a cut.

    Raises:
        InputError: as :func:`load_audio`, for the part that is decoded.
    """

    def read_head(file: soundfile.SoundFile, _: FlacHeader | None) -> np.ndarray | None:
        is_lossless = file.subtype.startswith("PCM") or file.subtype in ("FLOAT", "DOUBLE")
        check_rate(file.samplerate, f"audio file {path}")
        num_frames = math.ceil(num_samples * file.samplerate / SAMPLE_RATE)
        if file.samplerate != SAMPLE_RATE:
            num_frames += max(1000, file.samplerate // 10)  # most samples that soxr holds back
        if not is_lossless or file.frames <= num_frames or num_frames * file.channels > _MAX_VALUES:
            return None
        samples = file.read(num_frames, dtype="float32", always_2d=True)
        if len(samples) < num_frames:
            return None
        first_block = next(push_all([(samples.T, file.samplerate)], BlocksAt16k(f"audio file {path}")))
        if len(first_block) < num_samples:
            return None
        return first_block[:num_samples]

    # If read_head returns None, the whole recording is decoded.
    waveform = _with_libsndfile(path, read_head)
    return load_head_and_length(path, num_samples)[0] if waveform is None else waveform


def load_head_and_length(
    path: AnyRecording, num_samples: int, start: int = 0, channels: Channels | None = None
) -> tuple[np.ndarray, int]:
    """Return ``load_audio(path)[start : start + num_samples]`` and the length of the recording.

    The rest is decoded to find damage. If the length is stated, decoding stops after 2²⁷ samples of
    all channels together, or at the end of the excerpt.

    Args:
        num_samples, start: in samples at 16 kHz, ≥ 0.
        channels: if given, compares the channels before they are averaged.

    Raises:
        InputError: as :func:`load_audio`, for the part that is decoded.
    """

    def read_excerpt(blocks: Blocks) -> tuple[np.ndarray, int]:
        pieces: list[np.ndarray] = []
        end = num_searched = 0

        def count_values() -> Iterator[tuple[np.ndarray, int]]:
            nonlocal num_searched
            for samples, rate in blocks:
                num_searched += samples.size
                yield samples, rate

        for block in push_all(count_values(), BlocksAt16k(f"audio file {path}", channels)):
            piece = block[max(0, start - end) : max(0, start + num_samples - end)]
            if len(piece) < len(block):
                piece = piece.copy()  # a view would keep the block in memory
            if len(piece) or not pieces:
                pieces.append(piece)
            end += len(block)
            # Stop if the excerpt is complete and enough audio was searched for damage.
            if num_searched > _SEARCHED_VALUES and end >= start + num_samples:
                length = _checked_length(cut_out(path))
                if length is not None:
                    return join_blocks(pieces), length
                num_searched = 0  # go on, because only decoding shows the length
        return join_blocks(pieces), end

    return _read_with_fallback(path, read_excerpt)[0]


def count_samples(path: AnyRecording) -> int:
    """Count the samples of a recording at 16 kHz, to within one sample.

    A length in the header is returned without decoding, even if it is 0.

    Raises:
        InputError: if the file is missing or cut off, or if no decoder reads the file.
    """
    length = _checked_length(cut_out(path))
    return load_head_and_length(path, 0)[1] if length is None else length


def stated_length(path: AnyRecording) -> int | None:
    """Read the length in samples at 16 kHz from the unchecked header.

    None if unknown, and for MP3, whose length libsndfile may only guess, Opus and chains.
    """
    part = part_of(path)
    path = fetch(path)
    if is_chain(path):
        return None
    with open_recording(path) as file:
        flac = read_flac_header(file)  # libsndfile cannot open every FLAC file of ASVspoof 2021
    if flac is not None:
        return _samples_at_16k(flac.num_samples, max(1, flac.sample_rate), part) or None
    try:
        with open_with_libsndfile(path) as info:
            return None if info.format in MP3 else _samples_at_16k(info.frames, info.samplerate, part) or None
    except (soundfile.LibsndfileError, ValueError):
        return None


def measure_audio(path: AnyRecording) -> MeasuredAudio:
    """Decode all of ``path`` to find faults; by FFmpeg again if an MD5 sum is wrong.

    Raises:
        InputError: as :func:`load_audio`.
    """

    def measure(blocks: Blocks) -> tuple[int, int, int]:
        first_rate = 0
        channels = 0
        length = 0.0
        for samples, rate in blocks:
            check_rate(rate, f"audio file {path}")
            check_samples(samples, rate, f"audio file {path}", length / (first_rate or rate))
            first_rate = first_rate or rate
            channels = max(channels, len(samples))
            length += samples.shape[1] * first_rate / rate  # rates may differ between the links of a chain
        if not length:
            raise audio_error(path, "has no samples")
        return first_rate, channels, round(length)

    measured, second_decoder = _read_with_fallback(path, measure, verify_md5=True)
    return MeasuredAudio(*measured, second_decoder)


def cut_out(recording: AnyRecording) -> Fetched:
    """Fetch a recording; of a part, write the samples to an AU file in memory, without loss.

    Only the part is decoded, if libsndfile can seek in the format; it must fit into memory.

    Raises:
        InputError: as :func:`load_audio`, for a part.
    """
    part = part_of(recording)
    if part is None:
        return fetch(recording)
    channel = part.part.channel

    def write(samples: np.ndarray, rate: int) -> Fetched:
        if channel is not None:
            samples = _channel(samples, part.recording, channel)
        content = io.BytesIO()
        samples = as_16_bits(samples.T)
        soundfile.write(content, samples, rate, _SUBTYPES[samples.dtype.name], format="AU")
        return RecordingBytes(str(part), content.getvalue(), ".au")

    def read_part(file: soundfile.SoundFile, _: FlacHeader | None) -> Fetched | None:
        if not _seeks_exactly(file):
            return None
        first, last = part.bounds(file.frames, file.samplerate)
        if last - first == file.frames and channel is None:
            return fetch(recording)
        file.seek(first)
        samples = file.read(last - first, dtype="float32", always_2d=True)
        if len(samples) < last - first:
            return None
        return write(samples.T, file.samplerate)

    def cut_blocks(blocks: Blocks) -> Fetched:
        pieces = []
        position = 0
        for samples, rate in blocks:
            first, last = part.samples(rate)
            end = last + round(TOLERANCE * rate)  # the part may be all of a recording that is a little longer
            pieces.append(samples[:, max(0, first - position) : max(0, end - position)].copy())
            position += samples.shape[1]
        first, last = part.bounds(position, rate)
        return write(np.concatenate(pieces, axis=1)[:, : last - first], rate)

    # If read_part returns None, the whole recording is decoded.
    return _with_libsndfile(part.recording, read_part) or _read_with_fallback(part.recording, cut_blocks)[0]


@contextmanager
def _check_while_reading(path: AnyRecording) -> Iterator[tuple[Fetched, FlacHeader | None]]:
    """Check a recording; yield it as :func:`cut_out` returns it, and its FLAC header if any."""
    path = cut_out(path)
    before = None
    fault = ""
    if isinstance(path, RecordingBytes):
        is_empty = not path.content
    else:
        try:
            before = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise not_found(path) from None
        except (OSError, ValueError) as error:
            raise audio_error(
                path, f"cannot be opened ({getattr(error, 'strerror', None) or error}): check its path and permissions"
            ) from None
        fault = _FAULTS_OF_KINDS.get(stat.S_IFMT(before.st_mode), "is not a regular file but a pipe or a device")
        is_empty = not before.st_size
    if is_empty and not fault:  # for an empty file, PyAV would print a traceback
        fault = "is empty: copy or download it again"
    if fault:
        raise audio_error(path, fault)
    yield path, check_whole(path)
    if before is None or isinstance(path, RecordingBytes):
        return
    # The file must not have changed while the caller read the file.
    with suppress(OSError):  # removing the file after reading is no error
        after = path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise audio_error(path, "changed while it was read: read it again when it is complete")


_FAULTS_OF_KINDS = {stat.S_IFREG: "", stat.S_IFDIR: "is a folder"}


def _with_libsndfile(
    path: AnyRecording, read: Callable[[soundfile.SoundFile, FlacHeader | None], _T | None]
) -> _T | None:
    """Return ``read(file, FLAC header)``, or None if libsndfile cannot read the whole recording.

    None also for a chain of streams and a :class:`ChannelOf`.
    """
    if isinstance(path, ChannelOf):
        return None
    with _check_while_reading(path) as (recording, header):
        if is_chain(recording):
            return None
        try:
            with open_with_libsndfile(recording) as file:
                check_length(file, recording, header)
                return read(file, header)
        except InputError:
            raise
        except LIBSNDFILE_ERRORS:
            return None


def _seeks_exactly(file: soundfile.SoundFile) -> bool:
    # After a seek in Ogg and MP3, libsndfile 1.2 decodes slightly different samples than without the seek.
    return file.seekable() and file.format not in (*MP3, "OGG")


def _samples_at_16k(num_samples: int, sample_rate: int, part: PartOf | None = None) -> int:
    if part is not None and num_samples:
        first, last = part.bounds(num_samples, sample_rate)
        num_samples = last - first
    return -(-num_samples * SAMPLE_RATE // sample_rate)


def _checked_length(path: AnyRecording) -> int | None:
    def length_at_16k(file: soundfile.SoundFile, header: FlacHeader | None) -> int | None:
        is_mp3 = file.format in MP3 or file.subtype.startswith("MPEG")
        if is_mp3 or not file.seekable() or (header is not None and not header.num_samples):
            return None  # libsndfile would guess the length
        return _samples_at_16k(file.frames, file.samplerate)

    return _with_libsndfile(path, length_at_16k)


def join_blocks(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Join ``blocks`` (N,) into an array that grows, so that no sample is in memory twice."""
    blocks = iter(blocks)
    first = next(blocks)
    waveform = np.zeros(0, np.float32)
    for block in blocks:
        if not len(waveform):
            # refcheck=False, because no other array uses this memory.
            waveform.resize(len(first), refcheck=False)
            waveform[:] = first
        length = len(waveform)
        waveform.resize(length + len(block), refcheck=False)
        waveform[length:] = block
    return waveform if len(waveform) else first


def _read_with_fallback(
    path: AnyRecording, read: Callable[[Blocks], _T], *, verify_md5: bool = False
) -> tuple[_T, bool]:
    """Call ``read`` with the blocks of one decoder after another, until it succeeds.

    Returns:
        The result of ``read``, and whether FFmpeg was used.
    """
    failures: list[Exception] = []
    with _check_while_reading(path) as (source, header):
        for blocks in _blocks_by_decoder(source, header, verify_md5):
            with _attempt(failures), closing(_choose_channel(path, blocks)) as chosen:
                return read(chosen), bool(failures)
    raise _unreadable_error(source, failures)


def _blocks_with_fallback(path: AnyRecording) -> Iterator[tuple[np.ndarray, int]]:
    """Yield blocks; if a decoder fails, the next continues at the same sample."""
    failures: list[Exception] = []
    num_yielded = 0
    with _check_while_reading(path) as (source, header):
        for blocks in _blocks_by_decoder(source, header):
            num_repeated = num_yielded  # samples to skip, because an earlier decoder has yielded them
            with _attempt(failures), closing(_choose_channel(path, blocks)) as chosen:
                for samples, rate in chosen:
                    skipped = min(num_repeated, samples.shape[1])
                    num_repeated -= skipped
                    num_yielded += samples.shape[1] - skipped
                    if skipped < samples.shape[1]:
                        yield samples[:, skipped:], rate
                return
            if num_yielded and header is None:  # only lossless decoders agree on every sample
                raise audio_error(path, f"is damaged ({failures[-1]}): copy or download it again") from failures[-1]
    raise _unreadable_error(source, failures)


@contextmanager
def _attempt(failures: list[Exception]) -> Iterator[None]:
    """Collect an error other than :class:`InputError`: a decoder can raise anything on a damaged file."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        failures.append(error)


def _choose_channel(path: AnyRecording, blocks: Blocks) -> Blocks:
    with closing(blocks):
        for samples, rate in blocks:
            if isinstance(path, ChannelOf):
                samples = _channel(samples, path.recording, path.channel)
            yield samples, rate


def _channel(samples: np.ndarray, recording: AnyRecording, channel: int) -> np.ndarray:
    if not 0 <= channel < len(samples):
        raise audio_error(
            recording,
            f"has {pluralise(len(samples), 'channel')}, counted from 0, so there is no channel {channel}: choose another",
        )
    return samples[channel : channel + 1]


def count_channels(path: AnyRecording) -> int:
    """Decode the beginning of a recording, and count its channels.

    Raises:
        InputError: as :func:`load_audio`, for the part that is decoded.
    """
    return _read_with_fallback(path, lambda blocks: len(next(blocks)[0]))[0]  # a block is (channels, N)


def _blocks_by_decoder(path: Fetched, header: FlacHeader | None, verify_md5: bool = False) -> Iterator[Blocks]:
    """Yield the blocks of ``path`` (a generator) once for each decoder, in order of preference.

    A FLAC file with an MD5 sum is tried twice by FFmpeg: with checks of CRCs, then without.
    """
    blocks = libsndfile_blocks(path, header)
    if verify_md5 and header and _has_md5_of_file(path, header):
        blocks = _with_md5_of(header, blocks)
    yield blocks
    yield ffmpeg_blocks(path)
    if header and _has_md5_of_file(path, header):
        # If other data come after the last frame, FFmpeg may report a wrong CRC. The last attempt ignores CRCs, but
        # requires the right MD5 sum of all samples.
        yield _with_md5_of(header, ffmpeg_blocks(path, strict=False))


def _has_md5_of_file(path: Fetched, header: FlacHeader) -> bool:
    """Return False for a chain, where the MD5 sum covers only one stream."""
    return header.has_md5 and not is_chain(path)


def _with_md5_of(header: FlacHeader, blocks: Blocks) -> Blocks:
    """Yield ``blocks``; raise DamagedAudio at the end if their MD5 sum is not the header's."""
    md5 = hashlib.md5(usedforsecurity=False)
    with closing(blocks):
        for samples, rate in blocks:
            md5.update(md5_content(samples, header))
            yield samples, rate
    if md5.digest() != header.md5:
        raise DamagedAudio("the MD5 sum of its samples differs from the one in its header")


def _unreadable_error(path: AnyRecording, failures: list[Exception]) -> InputError:
    start = None
    if isinstance(path, RecordingBytes):
        start = path.content
    check_arrived(str(path), start)
    problem = f"was read by neither libsndfile ({failures[0]}) nor FFmpeg ({failures[1]})"
    return NotAudio(problem, subject=f"audio file {path}", remedy="copy or download it again, or convert it to WAV")
