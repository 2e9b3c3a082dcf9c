"""Whether an audio file is whole, as far as its header and its checksums tell before it is decoded.

Decoders are lenient: libsndfile reads a WAV file that was cut off as a shorter one, and both
decoders leave out the damaged pages of an Ogg file. The score would then be of other audio than the
file held.
"""

from __future__ import annotations

import os
from pathlib import Path

from nes2net.audio.containers import missing_bytes
from nes2net.audio.flac import FlacHeader, read_flac_header
from nes2net.audio.matroska import matroska_fault
from nes2net.audio.mp3 import states_length, tag_fault
from nes2net.audio.mp4 import mp4_fault
from nes2net.audio.mpeg import missing_of_last_frame
from nes2net.audio.ogg import ogg_fault
from nes2net.audio.packed import RecordingBytes, open_recording
from nes2net.audio.riff import RIFF_FORMATS, missing_audio
from nes2net.errors import InputError

#: Setting of the environment: read formats in which a cut cannot be noticed.
UNCHECKED = "NES2NET_UNCHECKED_AUDIO"
# Names that libsndfile and FFmpeg give to formats that state their length, or consist of pages or
# frames of stated length, so that a cut is noticed.
_CHECKED = frozenset(
    "WAV WAVEX RF64 AIFF AU CAF W64 NIST FLAC OGG MP3 MPEG HTK "
    "wav w64 aiff au caf nistsphere flac ogg mp3 aac mov matroska avi flv asf wv tta ape amr ac3 eac3 dts loas".split()
)


class DamagedAudio(ValueError):
    """A decoder read other audio than the file announces; the other decoder may do better."""


def check_whole(path: Path | RecordingBytes) -> FlacHeader | None:
    """The header of a FLAC file, None for other formats.

    Raises:
        InputError: if the file contradicts its own header or a checksum of its pages is wrong.
    """
    try:
        with open_recording(path) as file:
            kind = file.read(4)
            if kind in RIFF_FORMATS:
                if cut := missing_audio(file):
                    raise cut_off(path, *cut)
                return None
            if (
                fault := ogg_fault(file)
                or matroska_fault(file)
                or mp4_fault(file)
                or (kind[:3] == b"ID3" and tag_fault(file))
            ):
                raise InputError(f"audio file {path} {fault}")
            if missing := missing_bytes(file):
                raise InputError(f"audio file {path} is cut off: {missing:,} bytes are missing at its end")
            header = read_flac_header(file)
            if header is None and not states_length(file) and (missing := missing_of_last_frame(file)):
                raise InputError(f"audio file {path} is cut off: its last frame lacks at least {missing:,} bytes")
    except OSError as error:
        raise InputError(f"audio file {path} cannot be opened ({error.strerror})") from None
    if header and header.first_frame_rate not in (None, header.sample_rate):
        raise InputError(
            f"audio file {path} is damaged: its header says {header.sample_rate} Hz, "
            f"its first frame {header.first_frame_rate} Hz"
        )
    return header


def cut_off(path: Path | RecordingBytes, announced: int, present: int, unit: str) -> InputError:
    """The error of a file with less audio than its header announces."""
    return InputError(f"audio file {path} is cut off: its header announces {announced:,} {unit}, {present:,} are there")


def check_format(path: Path | RecordingBytes, name: str) -> None:
    """Refuse a format, by the name that a decoder gives it, in which a cut cannot be noticed.

    Raises:
        InputError: unless the environment variable ``NES2NET_UNCHECKED_AUDIO`` is 1.
    """
    if name.split(",")[0] not in _CHECKED and os.environ.get(UNCHECKED) != "1":
        raise InputError(
            f"audio file {path} is of the format {name}, in which a file that was cut off looks like a whole one: "
            f"convert it to WAV or FLAC, or set the environment variable {UNCHECKED}=1 to read it as it is"
        )
