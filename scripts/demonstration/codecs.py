"""Lossy codecs by real encoders and decoders: FFmpeg through PyAV, and GSM 06.10 through libsndfile."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import soundfile
import soxr

RATE = 16_000


@dataclass(frozen=True)
class Codec:
    """An encoder of FFmpeg: its container, sampling rate in Hz, and bit rate in bit/s (None if it has only one)."""

    encoder: str
    container: str
    rate: int = RATE
    bit_rate: int | None = None


# Names as in the keys of ASVspoof 2021; the bit rates are chosen here.
_CODECS = {
    "alaw": Codec("pcm_alaw", "wav", 8000),
    "ulaw": Codec("pcm_mulaw", "wav", 8000),
    "g722": Codec("g722", "g722"),
    "opus": Codec("libopus", "ogg", bit_rate=16_000),
    "low_mp3": Codec("libmp3lame", "mp3", bit_rate=24_000),
    "high_mp3": Codec("libmp3lame", "mp3", bit_rate=64_000),
    "low_m4a": Codec("aac", "ipod", bit_rate=24_000),
    "high_m4a": Codec("aac", "ipod", bit_rate=64_000),
    "low_ogg": Codec("libopus", "ogg", bit_rate=20_000),
    "high_ogg": Codec("libopus", "ogg", bit_rate=64_000),
}
# Names of the keys that mean no codec, or two codecs in turn.
_CHAINS = {
    "none": (),
    "nocodec": (),
    "mp3m4a": ("low_mp3", "low_m4a"),
    "oggm4a": ("low_ogg", "low_m4a"),
}
LA_CODECS = ("none", "alaw", "ulaw", "g722", "gsm", "opus")
DF_CODECS = ("nocodec", "low_mp3", "high_mp3", "low_m4a", "high_m4a", "low_ogg", "high_ogg", "mp3m4a", "oggm4a")
WILD_CODECS = ("nocodec", "high_mp3", "high_m4a", "high_ogg")


def decode(source, container: str | None = None) -> tuple[np.ndarray, int]:
    """Decode a path or file object by FFmpeg; return mono samples, float64 in [−1, 1], and the sampling rate."""
    with av.open(source, format=container) as opened:
        rate = opened.streams.audio[0].codec_context.sample_rate
        mono = av.AudioResampler(format="flt", layout="mono", rate=rate)
        frames = [out for frame in opened.decode(audio=0) for out in mono.resample(frame)]
        frames += mono.resample(None)
    return np.concatenate([frame.to_ndarray().ravel() for frame in frames]).astype(np.float64), rate


def _encode(x: np.ndarray, rate: int, codec: Codec) -> io.BytesIO:
    file = io.BytesIO()
    with av.open(file, "w", format=codec.container) as container:
        stream = container.add_stream(codec.encoder, rate=codec.rate, layout="mono")
        stream.codec_context.thread_count = 1
        if codec.bit_rate:
            stream.bit_rate = codec.bit_rate
        frame = av.AudioFrame.from_ndarray(x.astype(np.float32)[None], format="flt", layout="mono")
        frame.rate = rate
        frame.pts = 0
        frame.time_base = Fraction(1, rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    return file


def _gsm(x: np.ndarray) -> np.ndarray:
    """Encode and decode ``x`` at 8 kHz by GSM 06.10."""
    file = io.BytesIO()
    soundfile.write(file, x, 8000, format="WAV", subtype="GSM610")
    file.seek(0)
    return soundfile.read(file)[0]


def _fitted(x: np.ndarray, samples: int) -> np.ndarray:
    """Cut or pad ``x`` to ``samples``, because encoders pad their last frame."""
    return np.pad(x[:samples], (0, max(samples - len(x), 0)))


def transmit(x: np.ndarray, name: str) -> np.ndarray:
    """Encode and decode ``x`` (16 kHz) by the codecs that ``name`` means in a key of ASVspoof 2021; the length stays."""
    for link in _CHAINS.get(name, (name,)):
        if link == "gsm":
            received = _gsm(soxr.resample(x, RATE, 8000))
            rate = 8000
        else:
            codec = _CODECS[link]
            sent = x if codec.rate == RATE else soxr.resample(x, RATE, codec.rate)
            received, rate = decode(_encode(sent, codec.rate, codec), codec.container.replace("ipod", "mov"))
        x = _fitted(received if rate == RATE else soxr.resample(received, rate, RATE), len(x))
    return x
