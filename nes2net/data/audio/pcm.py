"""Decode raw audio of known rate and encoding: bytes without a header, such as a telephone line sends."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias, get_args

import soundfile
from numpy.typing import NDArray

from nes2net.data.audio.blocks import push_all
from nes2net.data.audio.frames import begins_with_frames
from nes2net.data.audio.waveform import check_rate
from nes2net.lib.errors import InputError, as_input_error, check_setting

#: The encoding of a sample: a 16-bit integer (little- or big-endian), a little-endian 32-bit float, or a companded byte of ITU-T G.711.
Encoding: TypeAlias = Literal["s16le", "s16be", "f32le", "mulaw", "alaw"]
# How soundfile names the encodings: the subtype and the byte order.
_SUBTYPES = {
    "s16le": ("PCM_16", "LITTLE"),
    "s16be": ("PCM_16", "BIG"),
    "f32le": ("FLOAT", "LITTLE"),
    "mulaw": ("ULAW", "FILE"),
    "alaw": ("ALAW", "FILE"),
}
_SAMPLE_BYTES = {"PCM_16": 2, "FLOAT": 4, "ULAW": 1, "ALAW": 1}
_READ_BYTES = 1 << 16  # most bytes to read at once
# The first bytes of audio files, and of MP4 the second four.
_KINDS = {
    **dict.fromkeys((b"RIFF", b"RF64", b"BW64"), "WAV"),
    **{b"FORM": "AIFF", b"caff": "CAF", b"OggS": "Ogg", b"fLaC": "FLAC", b"\x1aE\xdf\xa3": "Matroska or WebM"},
    **{b"ftyp": "MP4", b".snd": "AU", b"#!AM": "AMR", b"0&\xb2u": "ASF", b"FLV\1": "FLV"},
    **dict.fromkeys((b"ID3\2", b"ID3\3", b"ID3\4"), "MP3"),
}
# Headers that do not occur in audio by chance. The first byte stands by itself, so that `re` passes over audio quickly.
_HEADER = re.compile(
    rb"[BFORcf\x1a](?:(?:IFF|F64|W64)....WAVE|ORM....AIF[CF]|aff\0\x01\0\0|ggS\0\x02\0{8}|LaC[\0\x80]\0\0\x22"
    rb"|E\xdf\xa3.{1,50}?(?:webm|matroska)|typ(?:iso|mp4|M4A|qt  |dash|3gp))",
    re.DOTALL,
)
_MAX_HEADER_BYTES = 64  # bytes
_BEGINNING = 8192  # bytes, in which four MPEG frames fit


class PcmDecoder:
    """A :class:`nes2net.data.audio.blocks.Stage` that decodes raw audio from pieces of any length.

    Args:
        channels: number of interleaved channels.

    Raises:
        InputError: if the encoding is unknown, or if ``channels`` is below 1. :meth:`push` raises it
            if the bytes have the header of an audio file.

    >>> decoder = PcmDecoder("s16le")
    >>> [decoder.push(piece)[0].tolist() for piece in (b"\\x00", b"\\x40\\x00", b"\\xc0")]
    [[[]], [[0.5]], [[-0.5]]]
    """

    def __init__(self, encoding: Encoding = "s16le", channels: int = 1) -> None:
        encodings = get_args(Encoding)
        check_setting("encoding", encoding, encoding in encodings, f"one of {', '.join(encodings)}")
        check_setting("channels", channels, channels >= 1, "at least 1")
        self._encoding = encoding
        self._channels = channels
        self._subtype, self._endian = _SUBTYPES[encoding]
        self._held = b""  # first bytes of a sample whose last bytes have not arrived
        self._recent = b""  # all bytes so far, or the latest of them
        self._is_beginning = True  # whether fewer than _BEGINNING bytes have come

    def _refuse_header(self, content: bytes) -> None:
        """Refuse an audio file's header, also in the middle: some programs send files in pieces."""
        recent = self._recent + content
        header = _HEADER.search(recent)
        kind = _KINDS[header[0][:4]] if header else ""
        if self._is_beginning and not header:  # elsewhere, four bytes may occur by chance
            kind = "MP3 or AAC" if begins_with_frames(recent) else _KINDS.get(recent[:4], "")
        if kind:
            raise InputError(
                f"raw audio has the header of an audio file ({kind}): give the file itself, or its samples without headers"
            )
        self._is_beginning &= len(recent) < _BEGINNING
        self._recent = recent if self._is_beginning else recent[-_MAX_HEADER_BYTES:]

    def push(self, content: bytes) -> list[NDArray]:
        """Return one block (channels, N) float32 of all complete samples."""
        self._refuse_header(content)
        content = self._held + content
        frame_bytes = self._channels * _SAMPLE_BYTES[self._subtype]
        end = len(content) // frame_bytes * frame_bytes
        self._held = content[end:]
        form = {"format": "RAW", "subtype": self._subtype, "endian": self._endian}
        # Read as one channel: soundfile takes 1,024 at most.
        samples, _ = soundfile.read(io.BytesIO(content[:end]), dtype="float32", samplerate=8000, channels=1, **form)
        return [samples.reshape(-1, self._channels).T]

    def finish(self) -> list[NDArray]:
        """Ignore an incomplete sample at the end."""
        self._held = b""
        return []


@dataclass(frozen=True)
class RawAudio:
    """A recording without a header, with the rate, encoding and number of channels that decoding needs.

    Args:
        source: the bytes; a file; a file object open in binary mode, such as a pipe; or an iterator
            over pieces of the bytes. Bytes after the last whole sample are ignored.
        sample_rate: in Hz.
        channels: number of interleaved channels.

    Raises:
        InputError: as :class:`PcmDecoder`, or if ``sample_rate`` is impossible.
    """

    source: bytes | str | os.PathLike[str] | BinaryIO | Iterator[bytes]
    sample_rate: float
    encoding: Encoding = "s16le"
    channels: int = 1

    def __post_init__(self) -> None:
        check_rate(self.sample_rate, "raw audio")
        PcmDecoder(self.encoding, self.channels)  # raises for wrong settings

    def blocks(self) -> Iterator[tuple[NDArray, float]]:
        """Yield (block, rate in Hz) as the bytes arrive; a block is (channels, N) float32.

        Raises:
            InputError: if the file cannot be read, does not give bytes, or has the header of an audio file.
        """
        for samples in push_all(self._read_pieces(), PcmDecoder(self.encoding, self.channels)):
            yield samples, self.sample_rate

    def _read_pieces(self) -> Iterator[bytes]:
        for content in _bytes_of(self.source):
            if not isinstance(content, (bytes, bytearray, memoryview)):
                raise InputError(
                    f"raw audio must be bytes, not {type(content).__name__}: open the file in binary mode, 'rb'"
                )
            yield bytes(content)


def _bytes_of(source: bytes | str | os.PathLike[str] | BinaryIO | Iterator[bytes]) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, (str, os.PathLike)):
        with as_input_error(
            f"audio file {Path(source)} cannot be opened", OSError, remedy="name a file that exists and is readable"
        ):
            with open(source, "rb") as file:
                yield from _bytes_of(file)
    elif isinstance(source, Iterator) and not isinstance(source, io.IOBase):
        yield from source
    else:
        # For a pipe, `read1` returns the bytes that have arrived, and does not wait for more.
        read = source.read1 if isinstance(source, io.BufferedIOBase) else source.read  # type: ignore[union-attr]
        while content := read(_READ_BYTES):
            yield content
