"""Decode by libsndfile (soundfile), or by FFmpeg (PyAV) if libsndfile cannot read a file.

libsndfile reads a cut WAV file as a shorter one, and both skip damaged pages of Ogg: a detector
would score other audio. So a file is compared with its header and checksums before decoding, and
the samples with the header afterwards.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, TypeAlias

import av
import numpy as np
import soundfile
from av.audio.plane import AudioPlane
from numpy.typing import NDArray

from nes2net.data.audio.containers import (
    RIFF_FORMATS,
    UNKNOWN_LONG_SIZE,
    chunk_fault,
    cut_off,
    is_placeholder,
    lacks_length,
    matroska_fault,
    mp4_fault,
    states_duration,
)
from nes2net.data.audio.frames import (
    FlacHeader,
    exceeds_length,
    frame_fault,
    link_starts,
    ogg_fault,
    parse_stream_info,
    read_flac_header,
    states_length,
    tag_fault,
)
from nes2net.data.audio.packed import InMemory
from nes2net.lib.errors import InputError, as_input_error, pluralise, with_flag_names
from nes2net.lib.output.terminal import note_once

#: A generator of decoded blocks, which yields (samples, rate in Hz); the samples are (channels, N) float32.
Blocks: TypeAlias = Generator[tuple[np.ndarray, int], None, None]
#: If this environment variable is 1, files of every format are read, even if a cut cannot be noticed in the format.
UNCHECKED = "NES2NET_UNCHECKED_AUDIO"
# Formats in which a cut is noticed, because files, pages or frames state their length: in capitals libsndfile's
# names, others FFmpeg's.
_CHECKED = frozenset(
    "WAV WAVEX RF64 AIFF AU CAF W64 NIST FLAC OGG MP3 MPEG HTK "
    "wav w64 aiff au caf nistsphere flac ogg mp3 aac mov matroska avi flv asf wv tta ape amr ac3 eac3 dts loas".split()
)


_GET_AGAIN = "copy or download the file again"


class DamagedAudio(ValueError):
    """A decoder reads other audio than the file announces; another decoder may succeed."""


class OpenAudio:
    """An open audio file, or a stream of a chain in memory.

    Args:
        subject: beginning of messages.
        track: of a file with several audio tracks, counted from 0.
    """

    def __init__(self, subject: str, file: BinaryIO, track: int = 0) -> None:
        self.subject = subject
        self.file = file
        self.track = track

    @cached_property
    def header(self) -> FlacHeader | None:
        """Check that the file was not cut off or damaged; return a FLAC file's header.

        Raises:
            InputError: if the file cannot be read, was cut off, contradicts its own header, or has
                a page with a wrong checksum.
        """
        with as_input_error(f"{self.subject} cannot be read", OSError):
            self.file.seek(0)
            kind = self.file.read(4)
            header = None if kind in RIFF_FORMATS else read_flac_header(self.file)
            if header is not None:
                header = header._replace(exceeded=exceeds_length(self.file, header))
            if fault := self._find_damage(kind, header):
                raise InputError(fault, subject=self.subject, remedy=_GET_AGAIN)
        return header

    def _find_damage(self, kind: bytes, header: FlacHeader | None) -> str | None:
        file = self.file
        if kind in RIFF_FORMATS:
            return chunk_fault(file)
        if kind != b"fLaC":  # each check returns None for a file of another format
            for fault_of in (ogg_fault, matroska_fault, mp4_fault, tag_fault, chunk_fault):
                if fault := fault_of(file):
                    return fault
        # A file that is not FLAC and states no length may consist of MPEG or ADTS frames.
        if header is None:
            return None if self.states_length else frame_fault(file)
        if header.first_frame_rate not in (None, header.sample_rate):
            return f"is damaged: its header says {header.sample_rate} Hz, its first frame {header.first_frame_rate} Hz"
        return None

    @cached_property
    def states_length(self) -> bool:
        """Whether it is MPEG audio whose first frame states the true number of frames."""
        return states_length(self.file)

    @cached_property
    def starts(self) -> list[int]:
        """The offsets where the Ogg or FLAC streams, or AU files, of a chain begin."""
        return link_starts(self.file)

    @property
    def is_chain(self) -> bool:
        return len(self.starts) > 1


def check_format(audio: OpenAudio, name: str) -> None:
    """Refuse a format in which a cut cannot be noticed, unless :data:`UNCHECKED` is 1."""
    if name.split(",")[0] not in _CHECKED and os.environ.get(UNCHECKED) != "1":
        raise InputError(
            f"is of the format {name}, in which a file that was cut off looks like a whole one: convert it to WAV or "
            f"FLAC, or set the environment variable {UNCHECKED}=1 to read it as it is",
            subject=audio.subject,
        )


#: Errors of libsndfile (RuntimeError), and of headers that state more samples than fit into memory (ValueError,
#: MemoryError).
LIBSNDFILE_ERRORS = (RuntimeError, OSError, ValueError, MemoryError)
#: The values of ``SoundFile.format`` for MP3 files.
MP3 = ("MP3", "MPEG")

#: At most this many samples, counted over all channels, are decoded at a time.
BLOCK_VALUES = 1 << 20
# If a file of one of these formats was cut off, only libsndfile's log says so.
_LOGGING_CUTS = ("AU", "CAF", "W64")


class _InOrder(soundfile.SoundFile):
    """Reads a file without seeking.

    soundfile seeks after each block if it can, and MP3 then decodes to slightly different samples.
    """

    def seekable(self) -> bool:
        return False


def open_with_libsndfile(
    audio: OpenAudio, kind: type[soundfile.SoundFile] = soundfile.SoundFile
) -> soundfile.SoundFile:
    """Open a checked recording with libsndfile; nothing else may read ``audio.file`` before it is closed.

    Raises one of :data:`LIBSNDFILE_ERRORS` if it cannot be opened or would not be read to the end,
    if another audio track than the first is chosen, or if it is Opus: libsndfile decodes Opus at
    the rate in its header, and keeps the pre-skip if the granule positions do not begin at 0.

    Raises:
        InputError: if the file was cut off, or if a cut could not be noticed in the file's format.
    """
    header = audio.header
    if audio.track:
        raise DamagedAudio("it reads only the first audio track")
    # Move the file to its end and the descriptor to the start: the next seek of the file then moves the descriptor, which
    # libsndfile will have moved.
    source: BinaryIO | int = audio.file
    audio.file.seek(0, os.SEEK_END)
    if isinstance(audio.file, InMemory):
        audio.file.seek(0)
    else:
        source = audio.file.fileno()
        os.lseek(source, 0, os.SEEK_SET)
    try:
        file = kind(source, closefd=False)
    except soundfile.LibsndfileError as error:  # its message has the number of the descriptor
        raise DamagedAudio(error.error_string) from error
    if file.subtype == "OPUS":
        raise DamagedAudio("it is not used for Opus")
    if header is None:  # not FLAC
        _check_no_cut(file, audio)
    elif header.exceeded:
        raise DamagedAudio(f"it holds more than the {header.num_samples:,} samples that its header announces")
    return file


def _check_no_cut(file: soundfile.SoundFile, audio: OpenAudio) -> None:
    """Raise as :func:`open_with_libsndfile` if libsndfile would not read all of a file."""
    check_format(audio, file.format)
    # For AU, CAF and W64, libsndfile's log holds the announced and the present size.
    if file.format in _LOGGING_CUTS and (sizes := re.search(r": (\d+) \(should be (\d+)\)", file.extra_info)):
        announced, present = map(int, sizes.groups())
        is_unknown = is_placeholder(announced) if file.format == "AU" else announced >= UNKNOWN_LONG_SIZE
        if present < announced and not is_unknown:
            fault = cut_off(announced, present, "bytes")
            raise InputError(fault, subject=audio.subject, remedy=_GET_AGAIN)
    if file.format == "NIST":
        raise DamagedAudio("libsndfile reads SPHERE files that were cut off as shorter ones")
    # In MP3 files, and in files that announce no samples, only the bytes show whether the length is right.
    if file.format in MP3 and not audio.states_length:
        raise DamagedAudio("libsndfile guesses the length of MP3 files that do not state it, and stops there")
    if file.format in ("WAV", "WAVEX") and not file.frames and lacks_length(audio.file):
        raise DamagedAudio("its header announces no samples, but was never filled in")


def open_with_ffmpeg(audio: OpenAudio) -> av.container.InputContainer:
    """Open a recording with FFmpeg, whatever the encoding of its tags, and without protocols.

    With them, a playlist with the suffix .flac could make FFmpeg open other files.
    """
    audio.file.seek(0)
    return av.open(audio.file, "r", options={"protocol_whitelist": ""}, metadata_errors="replace")


def libsndfile_blocks(audio: OpenAudio) -> Blocks:
    """Decode a stream by libsndfile: yield (block, rate in Hz); a block is (channels, N) float32.

    An empty stream gives an empty block.

    Raises:
        DamagedAudio: if the file holds other audio than it announces; the error may come only after
            the last block.
        InputError: if the file was cut off.
    """
    with open_with_libsndfile(audio, _InOrder) as file:
        length = max(1, BLOCK_VALUES // file.channels)
        count = 0
        while True:
            samples = file.read(min(length, file.frames - count), dtype="float32", always_2d=True)
            count += len(samples)
            if len(samples) or not count:  # also an empty recording has a rate
                yield samples.T, file.samplerate
            if len(samples) < length:
                break
        # The stated length of MP3 may include the encoder's delay, of up to two frames of 1152 samples.
        slack = 2 * 1152 if file.format in MP3 else 0
        if count < file.frames - slack:
            if file.format in (*MP3, "OGG"):  # FFmpeg would not notice the cut, or that pages of Ogg are missing
                fault = cut_off(file.frames, count, "samples")
                raise InputError(fault, subject=audio.subject, remedy=_GET_AGAIN)
            raise DamagedAudio(f"its header announces {file.frames:,} samples, {count:,} could be decoded")


# Formats whose headers state the time at which the longest stream ends.
_DURATION_OF_ALL = ("matroska,webm", "flv")
# Formats whose headers state the duration of each stream.
_DURATION_OF_STREAM = ("mov", "avi", "wv", "tta", "ape")
_OPUS_DECODER = "libopus"
# FFmpeg's name of a sample format → NumPy's name.
_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


@dataclass
class _Decoded:
    """Counts the decoded samples of a file, and follows the times that its frames and packets state."""

    states_end: bool
    """Whether the file states the end of its last stream, not the duration of its sound."""
    count: int = 0
    """Samples of each channel."""
    kind: tuple[int, str] | None = None
    """Rate in Hz, and name of the layout of channels, of the first frame."""
    begin: float = 0.0
    """Start of the stated duration, in seconds."""
    end: float = 0.0
    """End of the last frame, in seconds."""
    latest: float = 0.0
    """Start of the last packet of another stream, in seconds."""
    most: int = sys.maxsize
    """Samples before the padding."""

    def add(self, frame: av.AudioFrame) -> NDArray:
        """Count ``frame``, and return its samples (channels, N).

        Raises:
            DamagedAudio: if the frame is damaged, or has another rate or other channels than the
                first frame.
        """
        if frame.is_corrupt:
            raise DamagedAudio("a frame is damaged")
        if frame.time is not None:
            if not self.count and not self.states_end:
                self.begin = frame.time
            self.end = frame.time + frame.samples / frame.sample_rate
        kind = (frame.sample_rate, frame.layout.name)
        self.kind = self.kind or kind
        if kind != self.kind:
            raise DamagedAudio("its rate or channels change")
        samples = samples_of(frame)[:, : self.most - self.count]
        self.count += samples.shape[1]
        return samples


def ffmpeg_blocks(audio: OpenAudio, *, strict: bool = True) -> Blocks:
    """Decode a stream by FFmpeg: yield (block, rate in Hz); a block is (channels, N) float32.

    Args:
        strict: whether a wrong checksum of a FLAC frame is an error.

    Raises:
        DamagedAudio: if a frame is damaged, if the rate or the channels change within a stream, or
            if the file holds other audio than its header announces.
        InputError: if a cut could not be noticed in the format of the file.
        ValueError: if there is no audio in the file.
        av.FFmpegError: if FFmpeg cannot read the file.
    """
    has_duration = states_duration(audio.file) or audio.states_length
    with open_with_ffmpeg(audio) as container:
        stream = _chosen_track(container, audio)
        check_format(audio, container.format.name)
        seconds = _stated_seconds(container, stream, has_duration)
        decoder = _decoder_of(stream)
        if strict and decoder.name == "flac":
            # Makes a wrong checksum in FLAC an error. In other codecs, this would find no further damage.
            decoder.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        announced = _announced_samples(container, stream)
        decoded = _Decoded(container.format.name in _DURATION_OF_ALL)
        is_caf = container.format.name == "caf"
        if is_caf and announced and decoder.name == "alac":
            # FFmpeg would cut the padding off the last packet, which is shorter instead of padded.
            decoder.options = {"flags2": "skip_manual"}
            decoded.most = announced
        waiting: list[NDArray] = []
        num_values = 0  # in ``waiting``
        try:
            # Without an argument, demux() reads all streams: the times in the others' packets show how much is
            # present.
            for packet in container.demux(*(() if decoded.states_end else (stream,))):
                if packet.stream.index != stream.index:
                    decoded.latest = max(decoded.latest, float((packet.pts or 0) * packet.time_base))
                    continue
                for frame in decoder.decode(packet):
                    waiting.append(decoded.add(frame))
                    num_values += waiting[-1].size
                    if num_values >= BLOCK_VALUES:
                        yield np.concatenate(waiting, axis=1), decoder.rate
                        waiting = []
                        num_values = 0
            if waiting:
                yield np.concatenate(waiting, axis=1), decoder.rate
        except (av.FFmpegError, DamagedAudio) as error:
            if announced:
                raise _incomplete_error(announced, decoded.count, error) from error
            raise
        is_whole = decoded.count == announced
        if is_caf:
            # A packet table without padding may count the last packet as full, although it is shorter.
            is_whole = decoded.count >= announced or stream.frames <= announced < decoded.count + decoder.frame_size
        if announced and not is_whole:
            raise _incomplete_error(announced, decoded.count)
        if not decoded.count:
            raise ValueError("no audio frames")
        # If a recorder lost packets, samples are missing in the middle, but the stated duration and time stamps count
        # them.
        decoded_seconds = max(decoded.count / decoder.rate, decoded.end - decoded.begin, decoded.latest)
        _check_duration(container, stream, seconds, decoded_seconds)


def _chosen_track(container: av.container.InputContainer, audio: OpenAudio) -> av.AudioStream:
    """Choose one of the audio tracks; print a note if there are several."""
    tracks = container.streams.audio
    if not tracks:
        raise ValueError("no audio stream")
    if audio.track >= len(tracks):
        raise InputError(
            f"has {pluralise(tracks, 'audio track')}, counted from 0, so there is no track {audio.track}: choose another "
            "with `audio_track`",
            subject=audio.subject,
        )
    if len(tracks) > 1:
        note = f"{audio.subject}: audio track {audio.track} of {len(tracks)} (from 0) is read"
        flag = with_flag_names("`audio_track`")
        if flag.startswith("--"):  # the running command has it
            note += f"; choose another with {flag}"
        note_once(note)
    return tracks[audio.track]


def _decoder_of(stream: av.AudioStream) -> av.AudioCodecContext:
    """Return FFmpeg's decoder, but for Opus libopus, the reference of RFC 6716.

    FFmpeg's own clicks where the coding changes from CELT to SILK.
    """
    if stream.codec_context.name not in ("opus", _OPUS_DECODER):
        return stream.codec_context
    if _OPUS_DECODER not in av.codecs_available:
        raise ValueError("this FFmpeg was built without libopus: install PyAV from PyPI")
    decoder: Any = av.CodecContext.create(_OPUS_DECODER, "r")
    decoder.extradata = stream.codec_context.extradata
    decoder.options = {"request_sample_fmt": "flt"}
    return decoder


def _check_duration(
    container: av.container.InputContainer, stream: av.AudioStream, seconds: float, decoded_seconds: float
) -> None:
    # Assumption: a whole file may be shorter than its header states, by up to 0.2 % plus 0.1 s. Matroska's duration
    # includes the encoder's delay, which decoders drop.
    tolerance = max(0.1, 4096 / stream.rate) if container.format.name in _DURATION_OF_ALL else 0.1
    if decoded_seconds < 0.998 * seconds - tolerance:
        raise DamagedAudio(f"cut off: its header announces {seconds:.2f} s, {decoded_seconds:.2f} s could be decoded")


def _announced_samples(container: av.container.InputContainer, stream: av.AudioStream) -> int:
    if stream.codec_context.name == "flac" and stream.codec_context.extradata:
        return parse_stream_info(stream.codec_context.extradata).num_samples
    if container.format.name in ("nistsphere", "caf"):
        return stream.duration or 0  # in samples
    return 0


def _stated_seconds(container: av.container.InputContainer, stream: av.AudioStream, has_duration: bool) -> float:
    """Read the duration in s from the header; 0 if FFmpeg only guesses it from the bit rate.

    ``has_duration``: a Matroska header, or the Xing or Info frame of an MP3 file, states it.
    """
    name = container.format.name
    if name in _DURATION_OF_ALL:
        return (container.duration or 0) / av.time_base if has_duration or name == "flv" else 0.0
    is_stated = name.split(",")[0] in _DURATION_OF_STREAM or (name == "mp3" and has_duration)
    return float(stream.duration * stream.time_base) if is_stated and stream.duration and stream.time_base else 0.0


def samples_of(frame: av.AudioFrame) -> NDArray:
    """Convert a frame of FFmpeg to samples (channels, N), float32 in [−1, 1].

    PyAV's conversions are not safe. For the threads of ``AudioResampler``, the garbage collector
    would wait for ever in a process forked later, such as a worker of a DataLoader. For 8 or more
    planes, ``frame.to_ndarray`` ends the process (PyAV 18) or raises an error (PyAV 19).
    """
    channels = len(frame.layout.channels)
    name = frame.format.name
    dtype = np.dtype(_TYPES[name.removesuffix("p")])
    planes: list[NDArray] | NDArray
    if name.endswith("p"):  # in planar formats, each channel has its own plane
        planes = [np.frombuffer(AudioPlane(frame, i), dtype, frame.samples) for i in range(channels)]  # type: ignore[call-overload]  # a buffer
    else:
        plane = np.frombuffer(AudioPlane(frame, 0), dtype, frame.samples * channels)  # type: ignore[call-overload]  # a buffer
        planes = plane.reshape(-1, channels).T
    samples = np.array(planes, np.float32, order="C")
    if dtype == np.uint8:
        samples -= 128  # in unsigned samples, 128 stands for 0
    if dtype.kind != "f":
        samples *= np.float32(2.0 ** (1 - 8 * dtype.itemsize))
    return samples


def _incomplete_error(announced: int, count: int, reason: Exception | None = None) -> DamagedAudio:
    problem = f"cut off or damaged: its header announces {announced:,} samples, {count:,} could be decoded"
    if reason:
        problem += f": {reason}"
    return DamagedAudio(problem)
