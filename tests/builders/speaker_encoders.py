"""A package with two speaker encoders that compute in a moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builders.strangers import install, installed_in

#: Encoders that embed the energies of bands of 50 Hz, which hold the pitch, and of wide bands.
ENCODERS = """
import numpy as np
from nes2net.models.speakers import SpeakerEncoder

class Pitches(SpeakerEncoder):
    "Energies of eight bands below 400 Hz."
    name = "pitches"
    revision = "1"
    sha256 = "0" * 64
    dimension = 8
    same_voice = 0.8
    highest = 400

    def compute(self, waveform):
        spectrum = np.abs(np.fft.rfft(waveform, 16000 * (1 + len(waveform) // 16000)))
        return [band.mean() for band in np.array_split(spectrum[: self.highest * len(spectrum) // 8000], 8)]

class Bands(Pitches):
    "Energies of eight bands of the recording."
    name = "bands"
    highest = 8000
"""


@contextmanager
def installed_encoders(folder: Path) -> Iterator[None]:
    """Let ``pitches`` and ``bands`` be installed below ``folder``."""
    site = folder / "site"
    targets = {"pitches": "pitches_and_bands:Pitches", "bands": "pitches_and_bands:Bands"}
    install(site, "my-speakers 0.1", {"speakers": targets}, {"pitches_and_bands": ENCODERS})
    with installed_in(site):
        yield
