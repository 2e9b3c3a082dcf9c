"""Decode raw audio of known rate and encoding: bytes without a header, such as a telephone line sends."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias, get_args

import numpy as np

from nes2net.data.audio.blocks import pushed
from nes2net.data.audio.waveform import check_rate
from nes2net.lib.errors import InputError

#: The encoding of a sample: a little-endian 16-bit integer or 32-bit float, or a companded byte of ITU-T G.711.
Encoding: TypeAlias = Literal["s16le", "f32le", "mulaw", "alaw"]
_TYPES = {"s16le": "<i2", "f32le": "<f4", "mulaw": "u1", "alaw": "u1"}
_READ_BYTES = 1 << 16  # most bytes to read at once


def _mulaw_table() -> np.ndarray:
    """Make the table of G.711 μ-law (Table 2a): the samples (256,), float32, for the 256 possible bytes."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent = (code >> 4 & 7).astype(np.int64)
    mantissa = (code & 15).astype(np.int64)
    magnitude = ((mantissa << 3) + 132 << exponent) - 132  # 132 is the bias of the μ-law code, 4 · 33
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _alaw_table() -> np.ndarray:
    """Make the table of G.711 A-law (Table 1a): the samples (256,), float32, for the 256 possible bytes."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent = (code >> 4 & 7).astype(np.int64)
    linear = ((code & 15).astype(np.int64) << 4) + 8
    magnitude = np.where(exponent > 0, linear + 256 << np.maximum(exponent - 1, 0), linear)
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


_TABLES = {"mulaw": _mulaw_table(), "alaw": _alaw_table()}


class PcmDecoder:
    """A :class:`nes2net.data.audio.blocks.Stage` that decodes raw audio. The bytes arrive in pieces of any length.

    Args:
        encoding: encoding of the samples.
        channels: number of interleaved channels.

    Raises:
        InputError: if the encoding is unknown, or if ``channels`` is below 1.

    >>> decoder = PcmDecoder("s16le")
    >>> [decoder.push(piece)[0].tolist() for piece in (b"\\x00", b"\\x40\\x00", b"\\xc0")]
    [[[]], [[0.5]], [[-0.5]]]
    """

    def __init__(self, encoding: Encoding = "s16le", channels: int = 1) -> None:
        if encoding not in get_args(Encoding):
            raise InputError(f"`encoding` is {', '.join(get_args(Encoding))}, not {encoding!r}")
        if channels < 1:
            raise InputError(f"`channels` is at least 1, not {channels}")
        self._encoding = encoding
        self._channels = channels
        self._type = np.dtype(_TYPES[encoding])
        self._held = b""  # first bytes of a sample whose last bytes have not arrived

    def push(self, content: bytes) -> list[np.ndarray]:
        """Take the next bytes; return a list of one block (channels, N) float32, with all samples that are complete."""
        content = self._held + content
        frame_bytes = self._channels * self._type.itemsize
        end = len(content) // frame_bytes * frame_bytes
        self._held = content[end:]
        values = np.frombuffer(content, self._type, end // self._type.itemsize)
        if self._encoding == "s16le":
            samples = values.astype(np.float32) / np.float32(32768)
        elif self._encoding == "f32le":
            samples = values.astype(np.float32)
        else:
            samples = _TABLES[self._encoding][values]
        return [samples.reshape(-1, self._channels).T]

    def finish(self) -> list[np.ndarray]:
        """Return no samples; an incomplete sample at the end is ignored."""
        self._held = b""
        return []


@dataclass(frozen=True)
class RawAudio:
    """A recording without a header, with the rate, encoding and number of channels that decoding needs.

    Args:
        source: the bytes; a file; a file object open in binary mode, such as a pipe; or an iterator
            over pieces of the bytes. Bytes after the last whole sample are ignored.
        sample_rate: in Hz.
        encoding: encoding of the samples.
        channels: number of interleaved channels.

    Raises:
        InputError: as :class:`PcmDecoder`, or if ``sample_rate`` is impossible.
    """

    source: bytes | str | os.PathLike[str] | BinaryIO | Iterator[bytes]
    sample_rate: float
    encoding: Encoding = "s16le"
    channels: int = 1

    def __post_init__(self) -> None:
        """Check the rate, the encoding and the number of channels."""
        check_rate(self.sample_rate, "raw audio")
        PcmDecoder(self.encoding, self.channels)

    def blocks(self) -> Iterator[tuple[np.ndarray, float]]:
        """Yield (block, rate in Hz) as the bytes arrive; a block is (channels, N) float32.

        Raises:
            InputError: if the file cannot be read, does not give bytes, or begins with the header of an
                audio file.
        """
        for samples in pushed(self._checked_pieces(), PcmDecoder(self.encoding, self.channels)):
            yield samples, self.sample_rate

    def _checked_pieces(self) -> Iterator[bytes]:
        """Yield the bytes of ``source`` in pieces; raise InputError if the bytes begin like an audio file."""
        is_first = True
        for content in _bytes_of(self.source):
            if not isinstance(content, (bytes, bytearray, memoryview)):
                raise InputError(f"raw audio is bytes, not {type(content).__name__}: open a file in binary mode, 'rb'")
            if is_first and bytes(content[:4]).startswith(_FIRST_BYTES):
                raise InputError(
                    f"raw audio begins with {content[:4]!r}, the header of an audio file: give the file itself, which "
                    "states its rate and encoding"
                )
            is_first = False
            yield content


_FIRST_BYTES = (b"RIFF", b"fLaC", b"OggS", b"ID3")


def _bytes_of(source: bytes | str | os.PathLike[str] | BinaryIO | Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of ``source`` in pieces, as soon as the bytes arrive.

    Raises:
        InputError: if ``source`` is the name of a file that cannot be opened.
    """
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, (str, os.PathLike)):
        try:
            with open(source, "rb") as file:
                yield from _bytes_of(file)
        except OSError as error:
            raise InputError(f"audio file {Path(source)} cannot be opened ({error.strerror})") from None
    elif isinstance(source, Iterator) and not isinstance(source, io.IOBase):
        yield from source
    else:
        # For a pipe, `read1` returns the bytes that have arrived, and does not wait for more.
        read = source.read1 if isinstance(source, io.BufferedIOBase) else source.read  # type: ignore[union-attr]
        while content := read(_READ_BYTES):
            yield content
