"""Read audio files of any format and rate as 16 kHz mono float32.

A recording may also lie in a shard or in memory (:mod:`nes2net.data.audio.packed`). A file that was
cut off or damaged raises an error, instead of being read as a shorter recording.
"""

from __future__ import annotations

import hashlib
import math
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray

from nes2net.data.audio.blocks import BlocksAt16k, push_all
from nes2net.data.audio.decoders import (
    LIBSNDFILE_ERRORS,
    MP3,
    Blocks,
    DamagedAudio,
    OpenAudio,
    ffmpeg_blocks,
    libsndfile_blocks,
    open_with_libsndfile,
)
from nes2net.data.audio.frames import FlacHeader, md5_content
from nes2net.data.audio.packed import AnyRecording, fetch, not_found, open_recording
from nes2net.data.audio.parts import TOLERANCE, PartOf, RecordingBytes, choose
from nes2net.data.audio.remarks import Channels
from nes2net.data.audio.waveform import SAMPLE_RATE, check_rate, check_samples
from nes2net.lib.errors import InputError, concerning, pluralise
from nes2net.lib.storage.files import check_arrived

# If only a part is needed, this many samples at 16 kHz, two hours, are still searched for damage.
_SEARCHED_SAMPLES = 1 << 27
_MAX_VALUES = 1 << 24  # most samples to read in one piece, counted over all channels
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


def load_audio(path: AnyRecording, num_samples: int | None = None, start: int = 0) -> NDArray:
    """Read a recording or an excerpt by :meth:`AudioFile.read`; arguments and errors as there."""
    with AudioFile(path) as audio:
        return audio.read(num_samples, start)


def stream_audio(path: AnyRecording, channels: Channels | None = None) -> Iterator[NDArray]:
    """Yield ``load_audio(path, channels=channels)`` in blocks (N,), to save memory.

    Raises:
        InputError: as :meth:`AudioFile.read`; a cut or damage may be noticed only after the last
            block.
    """
    with AudioFile(path) as audio:
        yield from audio.blocks_at_16k(channels)


def count_samples(path: AnyRecording) -> int:
    """Count the samples of a recording at 16 kHz, to within one sample.

    A length in the header is returned without decoding, even if it is 0.

    Raises:
        InputError: if the file is missing or cut off, or if no decoder reads the file.
    """
    with AudioFile(path) as audio:
        length = audio.stated_length()
        return audio.read_with_length(0)[1] if length is None else length


class AudioFile(OpenAudio):
    """A recording whose file is opened once, for one reading: ``with AudioFile(path) as audio``.

    FFmpeg (PyAV) reads Opus, and what libsndfile cannot: many FLAC files of ASVspoof 2021. The
    decoded length must be the stated one, and each page or frame complete (docs/data.md).

    Args:
        recording: also a part of a recording (:mod:`nes2net.data.audio.parts`).

    Raises:
        InputError: if the file is missing, empty or not a regular file. Each method that decodes
            raises it if the file is cut off, damaged or empty; if a sample is not finite or far
            outside [−1, 1]; if there is no such channel, track or part; if the rate is impossible;
            if a cut could not be noticed in this format; or if neither decoder reads the file.
    """

    def __init__(self, recording: AnyRecording) -> None:
        self._part = recording if isinstance(recording, PartOf) else PartOf(recording)
        self._part_subject = f"audio file {recording}"  # for messages about samples
        self._source = fetch(recording)
        self._failures: list[Exception] = []  # of the decoders
        subject = f"audio file {self._source}"
        try:
            with concerning(subject):
                self._check_kind()
            file = open_recording(self._source)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise not_found(str(self._source)) from error
        except InputError:
            raise
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"cannot be opened ({reason}): check its path and permissions", subject=subject) from None
        super().__init__(subject, file, self._part.part.track)

    def _check_kind(self) -> None:
        if isinstance(self._source, RecordingBytes):
            is_empty = not self._source.content
        else:
            self._status = self._source.stat()
            kind = stat.S_IFMT(self._status.st_mode)
            is_empty = not self._status.st_size
            if kind != stat.S_IFREG:
                raise InputError(
                    "is a folder" if kind == stat.S_IFDIR else "is not a regular file but a pipe or a device"
                )
        if is_empty:  # for an empty file, PyAV would print a traceback
            raise InputError("is empty: copy or download it again")

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Close the file; it must not have changed while the caller read it."""
        self.file.close()
        if error is None and isinstance(self._source, Path):
            with suppress(OSError):  # removing the file after reading is no error
                status = self._source.stat()
                if (status.st_size, status.st_mtime_ns) != (self._status.st_size, self._status.st_mtime_ns):
                    raise InputError(
                        "changed while it was read: read it again when it is complete", subject=self.subject
                    )

    def read(self, num_samples: int | None = None, start: int = 0) -> NDArray:
        """Read the recording, or ``num_samples`` from ``start`` on, as 16 kHz mono float32 (N,).

        The samples are the mean of the channels, or one channel. Of an excerpt, a cut of the file is
        noticed, other damage only in the excerpt. Formats in which libsndfile cannot seek exactly,
        such as Ogg and MP3, are decoded as a whole, because only that shows a cut.

        Args:
            start, num_samples: in samples at 16 kHz, ≥ 0; None for all samples.
        """
        if num_samples is None:
            return self.read_with_length(sys.maxsize, start)[0]

        def read_excerpt(file: soundfile.SoundFile, first: int, last: int) -> NDArray | None:
            rate = file.samplerate
            check_rate(rate, self._part_subject)
            if not _seeks_exactly(file):
                return None
            divisor = math.gcd(SAMPLE_RATE, rate)
            # A step is the shortest time that is a whole number of samples at 16 kHz and at the rate of the file.
            step_at_16k = SAMPLE_RATE // divisor
            step_in_file = rate // divisor
            # The part to read begins and ends at whole steps, with a margin on either side, in samples at 16 kHz, for
            # the most that soxr holds back.
            margin = 0 if rate == SAMPLE_RATE else SAMPLE_RATE * max(1000, rate // 10) // rate
            first_step = max(0, start - margin) // step_at_16k
            last_step = -(-(start + num_samples + margin) // step_at_16k)
            position = min(first + first_step * step_in_file, last)
            block = self._read_frames(file, position, min(first + last_step * step_in_file, last))
            if block is None:
                return None
            skipped = start - first_step * step_at_16k
            stage = BlocksAt16k(self._part_subject, start=(position - first) / rate)
            resampled = join_blocks(push_all([block], stage))
            return resampled[skipped : skipped + num_samples]

        waveform = self._with_libsndfile(read_excerpt)
        return self.read_with_length(num_samples, start)[0] if waveform is None else waveform

    def read_with_length(
        self, num_samples: int, start: int = 0, *, longest: int | None = None, channels: Channels | None = None
    ) -> tuple[NDArray, int]:
        """Return :meth:`read` and the length of the recording.

        The rest is decoded to find damage. If the length is stated, decoding stops after two hours, or
        at the end of the excerpt.

        Args:
            num_samples, start: in samples at 16 kHz, ≥ 0.
            longest: the most samples at 16 kHz that are accepted.
            channels: if given, compares the channels before they are averaged.

        Raises:
            LongAudio: if the recording has more than ``longest`` samples.
        """
        length = 0

        def pieces() -> Iterator[NDArray]:
            nonlocal length
            search_end = max(start + num_samples, _SEARCHED_SAMPLES)
            for block in self.blocks_at_16k(channels):
                piece = block[max(0, start - length) : max(0, start + num_samples - length)]
                if len(piece) < len(block):
                    piece = piece.copy()  # a view would keep the block in memory
                yield piece
                length += len(block)
                if longest is not None and length > longest:
                    raise LongAudio(f"is longer than {longest / SAMPLE_RATE:g} s", subject=self._part_subject)
                # Stop if the excerpt is complete and enough audio was searched for damage.
                if length > search_end:
                    with AudioFile(self._part) as again:  # libsndfile may be reading this file
                        stated = again.stated_length()
                    if stated is not None:
                        length = stated
                        return
                    search_end = sys.maxsize  # because only decoding shows the length

        return join_blocks(pieces()), length

    def stated_length(self) -> int | None:
        """Read the length in samples at 16 kHz from the header of the checked file.

        None if unknown, and for MP3, whose length libsndfile may only guess, Opus and chains.
        """

        def length_at_16k(file: soundfile.SoundFile, first: int, last: int) -> int | None:
            is_mp3 = file.format in MP3 or file.subtype.startswith("MPEG")
            return _at_16k(last - first, file.samplerate) if file.seekable() and not is_mp3 else None

        flac = self.header
        if flac is None:
            return self._with_libsndfile(length_at_16k)
        # libsndfile cannot open every FLAC file of ASVspoof 2021.
        if self.is_chain or flac.exceeded or not flac.num_samples:
            return None
        first, last = self._part.bounds(flac.num_samples, flac.sample_rate)
        return _at_16k(last - first, flac.sample_rate)

    def is_whole(self) -> bool:
        """Whether all of the file is read, as the header shows."""
        part = self._part.part
        chooses = part.channel is not None or part.track > 0
        return not chooses and bool(self._with_libsndfile(lambda file, first, last: last - first == file.frames))

    def measure(self) -> MeasuredAudio:
        """Decode all of the recording to find faults; by FFmpeg again if an MD5 sum is wrong."""
        first_rate = 0
        channels = 0
        length = 0.0
        for samples, rate in self.blocks(verify_md5=True):
            check_rate(rate, self._part_subject)
            check_samples(samples, rate, self._part_subject, length / (first_rate or rate))
            first_rate = first_rate or rate
            channels = max(channels, len(samples))
            length += samples.shape[1] * first_rate / rate  # rates may differ between the links of a chain
        if not length:
            raise InputError("has no samples", subject=self._part_subject)
        return MeasuredAudio(first_rate, channels, round(length), bool(self._failures))

    def blocks(self, *, verify_md5: bool = False) -> Iterator[tuple[NDArray, int]]:
        """Yield (block, rate in Hz); a block is (channels, N).

        If a decoder fails, the next one continues at the same sample.
        """
        num_yielded = 0
        for blocks in self._attempts(verify_md5):
            num_repeated = num_yielded  # samples to skip, because an earlier decoder has yielded them
            try:
                with closing(blocks):
                    for samples, rate in blocks:
                        skipped = min(num_repeated, samples.shape[1])
                        num_repeated -= skipped
                        num_yielded += samples.shape[1] - skipped
                        if skipped < samples.shape[1]:
                            yield samples[:, skipped:], rate
                return
            except InputError:
                raise
            except Exception as error:  # a decoder can raise anything on a damaged file
                self._failures.append(error)
                if num_yielded and self.header is None:  # only lossless decoders agree on every sample
                    raise InputError(
                        f"is damaged ({error}): copy or download it again", subject=self.subject
                    ) from error
        start = self._source.content if isinstance(self._source, RecordingBytes) else None
        check_arrived(str(self._source), start)
        problem = f"was read by neither libsndfile ({self._failures[0]}) nor FFmpeg ({self._failures[1]})"
        raise NotAudio(problem, subject=self.subject, remedy="copy or download it again, or convert it to WAV")

    def blocks_at_16k(self, channels: Channels | None = None) -> Iterator[NDArray]:
        """Yield ``read(channels=channels)`` in blocks (N,)."""
        return push_all(self.blocks(), BlocksAt16k(self._part_subject, channels))

    def _attempts(self, verify_md5: bool = False) -> Iterator[Blocks]:
        """Yield the blocks of the part (a generator) once for each decoder, in order of preference.

        A FLAC file with an MD5 sum is tried twice by FFmpeg: with checks of CRCs, then without.
        """
        header = self.header
        if header is not None and (not header.has_md5 or self.is_chain):  # in a chain, the sum covers only one stream
            header = None
        if self._part.part.is_stretch and (stretch := self._with_libsndfile(self._read_frames)) is not None:
            yield (block for block in [stretch])
        blocks = self._links(libsndfile_blocks)
        if verify_md5 and header is not None:
            blocks = _with_md5_of(header, blocks)
        yield self._cut(blocks)
        yield self._cut(self._links(ffmpeg_blocks))
        if header is not None:
            # If other data come after the last frame, FFmpeg may report a wrong CRC. The last attempt ignores CRCs, but
            # requires the right MD5 sum of all samples.
            yield self._cut(_with_md5_of(header, self._links(partial(ffmpeg_blocks, strict=False))))

    def _links(self, decode: Callable[[OpenAudio], Blocks]) -> Blocks:
        """Decode the file, or the streams of a chain one after another, which may differ in rate and channels."""
        if not self.is_chain:
            yield from decode(self)
            return
        for start, end in pairwise([*self.starts, self.file.seek(0, 2)]):
            self.file.seek(start)
            link = RecordingBytes(str(self._source), self.file.read(end - start))
            yield from decode(AudioFile(choose(link, track=self.track)))

    def _cut(self, blocks: Blocks) -> Blocks:
        """Yield the channel of ``blocks``; of a stretch of time, all at the end."""
        pieces: list[NDArray] = []
        position = 0
        with closing(blocks):
            for samples, rate in blocks:
                samples = self._channel(samples)
                if not self._part.part.is_stretch:
                    yield samples, rate
                    continue
                first, last = self._part.bounds(sys.maxsize, rate)
                last += round(TOLERANCE * rate)  # the part may be all of a recording that is a little longer
                pieces.append(samples[:, max(0, first - position) : max(0, last - position)].copy())
                position += samples.shape[1]
        if pieces:
            first, last = self._part.bounds(position, rate)
            yield np.concatenate(pieces, axis=1)[:, : last - first], rate

    def _channel(self, samples: NDArray) -> NDArray:
        channel = self._part.part.channel
        if channel is None:
            return samples
        if not 0 <= channel < len(samples):
            raise InputError(
                f"has {pluralise(samples, 'channel')}, counted from 0, so there is no channel {channel}: choose another",
                subject=self.subject,
            )
        return samples[channel : channel + 1]

    def _with_libsndfile(self, read: Callable[[soundfile.SoundFile, int, int], _T | None]) -> _T | None:
        """Return ``read(file, first, last)``, with the first sample of the part and the one after the last.

        None if libsndfile cannot read the whole recording, or seek to the part, and for a chain.
        """
        if self.is_chain:
            return None
        try:
            with open_with_libsndfile(self) as file:
                if self._part.part.is_stretch and not _seeks_exactly(file):
                    return None
                return read(file, *self._part.bounds(file.frames, file.samplerate))
        except InputError:
            raise
        except LIBSNDFILE_ERRORS:
            return None

    def _read_frames(self, file: soundfile.SoundFile, first: int, last: int) -> tuple[NDArray, int] | None:
        """Read samples (channels, N) and their rate; None if they are none or too many, or not all there."""
        num_frames = last - first
        if num_frames * file.channels > _MAX_VALUES:
            return None
        if first:
            file.seek(first)
        samples = file.read(num_frames, dtype="float32", always_2d=True)
        return (self._channel(samples.T), file.samplerate) if len(samples) == num_frames > 0 else None


def _seeks_exactly(file: soundfile.SoundFile) -> bool:
    # After a seek in Ogg and MP3, libsndfile 1.2 decodes slightly different samples than without the seek.
    return file.seekable() and file.format not in (*MP3, "OGG")


def _at_16k(num_samples: int, sample_rate: int) -> int:
    return -(-num_samples * SAMPLE_RATE // sample_rate)


def _with_md5_of(header: FlacHeader, blocks: Blocks) -> Blocks:
    """Yield ``blocks``; raise DamagedAudio at the end if their MD5 sum is not the header's."""
    md5 = hashlib.md5(usedforsecurity=False)
    with closing(blocks):
        for samples, rate in blocks:
            md5.update(md5_content(samples, header))
            yield samples, rate
    if md5.digest() != header.md5:
        raise DamagedAudio("the MD5 sum of its samples differs from the one in its header")


def join_blocks(blocks: Iterable[NDArray]) -> NDArray:
    """Join ``blocks`` (N,) into an array that grows, so that no sample is in memory twice."""
    blocks = iter(blocks)
    waveform = next(blocks)
    for number, block in enumerate(blocks):
        if number == 0:
            waveform = waveform.copy()  # a view cannot grow
        length = len(waveform)
        waveform.resize(length + len(block), refcheck=False)  # no other array uses this memory
        waveform[length:] = block
    return waveform
