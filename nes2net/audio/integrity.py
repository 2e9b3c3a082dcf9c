"""Whether an audio file is whole, as far as its header and its checksums tell before it is decoded.

Decoders are lenient: libsndfile reads a WAV file that was cut off as a shorter one, and both
decoders leave out the damaged pages of an Ogg file. The score would then be of other audio than the
file held.
"""

from __future__ import annotations

from pathlib import Path

from nes2net.audio.flac import FlacHeader, read_flac_header
from nes2net.audio.ogg import ogg_fault
from nes2net.audio.riff import missing_audio
from nes2net.errors import InputError


class DamagedAudio(ValueError):
    """A decoder read other audio than the file announces; the other decoder may do better."""


def check_whole(path: Path) -> FlacHeader | None:
    """The header of a FLAC file, None for other formats.

    Raises:
        InputError: if the file contradicts its own header or a checksum of its pages is wrong.
    """
    try:
        with open(path, "rb") as file:
            if cut := missing_audio(file):
                raise cut_off(path, *cut)
            if fault := ogg_fault(file):
                raise InputError(f"audio file {path} {fault}")
            header = read_flac_header(file)
    except OSError as error:
        raise InputError(f"audio file {path} cannot be opened ({error.strerror})") from None
    if header and header.first_frame_rate not in (None, header.sample_rate):
        raise InputError(
            f"audio file {path} is damaged: its header says {header.sample_rate} Hz, "
            f"its first frame {header.first_frame_rate} Hz"
        )
    return header


def cut_off(path: Path, announced: int, present: int, unit: str) -> InputError:
    """The error of a file with less audio than its header announces."""
    return InputError(f"audio file {path} is cut off: its header announces {announced:,} {unit}, {present:,} are there")
