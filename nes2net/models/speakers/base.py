"""The interface of speaker encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from nes2net.data.audio.read import join_blocks
from nes2net.data.audio.sources import Audio, blocks_of
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import Size
from nes2net.lib.storage.plain_data import Natural, StrictModel

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
#: Shortest recording that an encoder accepts, in samples: an assumption, as no source states one.
MIN_SAMPLES = SAMPLE_RATE // 4


class EncoderIdentity(StrictModel):
    """Embeddings can be compared if this is equal; ``model_dump()`` is plain data."""

    model_config = ConfigDict(frozen=True)

    name: str
    revision: str  # commit on the hub, or release of a package; empty if unknown
    sha256: Digest  # of the weights
    dimension: Size
    preprocessing: Natural  # version of the steps from samples to the network


class SpeakerEncoder(ABC):
    """Maps recordings to embeddings; it may hold an ``nn.Module``, but is none itself.

    A subclass sets the attributes (``sha256`` is that of its weights, ``min_samples`` the length of
    the shortest recording), and defines :meth:`compute`.
    """

    source: str = ""
    name: str
    revision: str
    sha256: Digest
    dimension: Size
    preprocessing: Natural = 1
    min_samples: Size = MIN_SAMPLES
    same_voice: float = -1.0
    """Cosine below which two recordings of some seconds are hardly of one person; −1 if not known."""

    @property
    def identity(self) -> EncoderIdentity:
        return EncoderIdentity.model_validate(self, from_attributes=True)

    def embed(self, audio: Audio, sample_rate: float | None = None) -> NDArray[np.float32]:
        """Compute the embedding (D,), of length 1.

        Args:
            audio: samples (N,) or (channels, N) in [−1, 1] at ``sample_rate`` Hz, or a file.

        Raises:
            InputError: if the recording is too short, silent, damaged or NaN.
        """
        waveform = join_blocks(blocks_of(audio, sample_rate))
        if len(waveform) < self.min_samples:
            raise InputError(
                f"no speech found: the recording has {len(waveform) / SAMPLE_RATE:.2f} s, but speaker encoder "
                f"'{self.name}' needs {self.min_samples / SAMPLE_RATE:.2f} s: use a longer recording"
            )
        vector = np.asarray(self.compute(waveform), np.float64).reshape(self.dimension)
        norm = np.linalg.norm(vector)
        if waveform.min() == waveform.max() or not 0 < norm < np.inf:
            raise InputError("no speech found: the recording is silent, or has no voice: use another recording")
        return (vector / norm).astype(np.float32)

    @abstractmethod
    def compute(self, waveform: NDArray[np.float32]) -> NDArray:
        """Map ``waveform`` (N,) at 16 kHz to a vector (D,); zeros or NaN if there is no speech."""
