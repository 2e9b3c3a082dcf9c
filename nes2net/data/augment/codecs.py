"""Effects of lossy codecs: encode and decode a waveform in memory, by FFmpeg (PyAV) or libsndfile.

The length stays the same: the decoder removes the delay, or a known delay is cut off
(``Codec.delay``).
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import ClassVar

import av
import numpy as np
import soundfile
import soxr
from numpy.random import Generator

from nes2net.data.audio.decoders import samples_of
from nes2net.data.audio.waveform import SAMPLE_RATE, pad
from nes2net.data.augment.effect import Effect, Waveform
from nes2net.lib.errors import MissingLibrary


class Codec(Effect):
    """The base of codecs: encode a waveform by FFmpeg, and decode the result.

    Raises:
        MissingLibrary: if this build of FFmpeg lacks the encoder.
    """

    unit = "kbit/s"
    encoder: ClassVar[str]
    container: ClassVar[str]
    """FFmpeg's name for the file format."""
    sample_rate: ClassVar[int] = SAMPLE_RATE
    """In Hz."""
    delay: ClassVar[int] = 0
    """Delay to cut off, in samples at ``sample_rate``; 0 if the decoder removes it."""

    def prepare(self) -> None:
        try:
            av.Codec(self.encoder, "w")
        except av.codec.codec.UnknownCodecError:
            raise MissingLibrary(
                f"the FFmpeg that PyAV brings has no encoder '{self.encoder}': install PyAV with another FFmpeg, or remove "
                "the condition"
            ) from None

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        # A quarter of a second of silence, so that a codec with a delay returns the end, too.
        sent = np.pad(np.clip(x, -1, 1), (0, SAMPLE_RATE // 4))
        if self.sample_rate != SAMPLE_RATE:
            sent = soxr.resample(sent, SAMPLE_RATE, self.sample_rate)
        received, rate = self.transmit(sent)
        received = received[self.delay :]
        if rate != SAMPLE_RATE:
            received = soxr.resample(received, rate, SAMPLE_RATE)
        return np.clip(pad(received, len(x)), -1, 1)

    def transmit(self, x: Waveform) -> tuple[Waveform, int]:
        """Encode and decode ``x`` (N,) at ``sample_rate``; return the samples and their rate in Hz.

        PyAV's threads end within this call, so that a process can be forked later (see
        :func:`nes2net.data.audio.decoders.samples_of`).
        """
        file = io.BytesIO()
        with av.open(file, "w", format=self.container) as container:
            stream = container.add_stream(self.encoder, rate=self.sample_rate, layout="mono")
            stream.codec_context.thread_count = 1
            if self.strengths:
                stream.bit_rate = round(1000 * self.strength)
            frame = av.AudioFrame.from_ndarray(x[None], format="flt", layout="mono")
            frame.sample_rate = self.sample_rate
            frame.pts = 0
            frame.time_base = Fraction(1, self.sample_rate)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        file.seek(0)
        # FFmpeg calls M4A "ipod" when writing, and "mov" when reading.
        with av.open(file, format=self.container.replace("ipod", "mov")) as opened:
            frames = [samples_of(frame)[0] for frame in opened.decode(audio=0)]
            return np.concatenate(frames), opened.streams.audio[0].rate


class Mp3(Codec):
    """MP3 by LAME, at a constant bit rate."""

    strengths = (64.0, 32.0, 16.0, 8.0)
    choices = (8.0, 16.0, 24.0, 32.0, 40.0, 48.0, 56.0, 64.0, 80.0, 96.0, 112.0, 128.0, 144.0, 160.0)
    encoder = "libmp3lame"
    container = "mp3"


class Aac(Codec):
    """AAC-LC by FFmpeg's own encoder, as in M4A files."""

    strengths = (64.0, 32.0, 16.0)
    limits = (8.0, 96.0)
    encoder = "aac"
    container = "ipod"


class Opus(Codec):
    """Opus by libopus, the codec of calls over the internet."""

    strengths = (32.0, 16.0, 8.0)
    limits = (6.0, 256.0)
    encoder = "libopus"
    container = "ogg"


class G722(Codec):
    """G.722, the wideband codec of internet telephones, at 64 kbit/s."""

    unit = ""
    encoder = "g722"
    container = "g722"
    delay = 22  # samples: the delay of the filters that split the band


class ALaw(Codec):
    """G.711 A-law, the codec of European telephones: 8 kHz at 64 kbit/s."""

    unit = ""
    encoder = "pcm_alaw"
    container = "wav"
    sample_rate = 8000


class MuLaw(Codec):
    """G.711 µ-law, the codec of American telephones: 8 kHz at 64 kbit/s."""

    unit = ""
    encoder = "pcm_mulaw"
    container = "wav"
    sample_rate = 8000


class AmrNb(Codec):
    """AMR narrow-band, the codec of mobile telephones, at 8 kHz."""

    strengths = (12.2, 7.4, 4.75)
    choices = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)
    encoder = "libopencore_amrnb"
    container = "amr"
    sample_rate = 8000
    delay = 40  # samples: the encoder's look-ahead of 5 ms


class Gsm(Codec):
    """GSM 06.10 full rate by libsndfile, the first mobile telephone codec: 8 kHz at 13 kbit/s."""

    unit = ""
    sample_rate = 8000

    def prepare(self) -> None:
        if "GSM610" not in soundfile.available_subtypes("WAV"):
            raise MissingLibrary(
                "this libsndfile cannot write GSM 06.10: install one that can with pip install -U soundfile"
            )

    def transmit(self, x: Waveform) -> tuple[Waveform, int]:
        file = io.BytesIO()
        soundfile.write(file, x, self.sample_rate, format="WAV", subtype="GSM610")
        file.seek(0)
        return soundfile.read(file, dtype="float32")
