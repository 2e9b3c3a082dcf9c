"""Audio files for tests: WAV files with chosen headers, and files that FFmpeg encodes."""

import struct
from fractions import Fraction

import av
import numpy as np
from av.audio.plane import AudioPlane

from builders import input_error
from nes2net.data.audio.blocks import BlocksAt16k, push_all
from nes2net.data.audio.read import AudioFile, count_samples, join_blocks, load_audio, stream_audio


def to_mono_16k(samples, rate):
    """The mean of the channels of samples, (N,) or (channels, N), at 16 kHz."""
    return join_blocks(push_all([(samples, rate)], BlocksAt16k()))


def load_head(path, num_samples):
    return load_audio(path, num_samples)


def load_excerpt(path, start, num_samples):
    return load_audio(path, num_samples, start)


def load_head_and_length(path, num_samples, start=0, channels=None):
    with AudioFile(path) as audio:
        return audio.read_with_length(num_samples, start, channels=channels)


def measure_audio(path):
    with AudioFile(path) as audio:
        return audio.measure()


def decoded(path, decode):
    """The samples (channels, N) and the rate that a decoder gives."""
    with AudioFile(path) as audio:
        blocks, rates = zip(*decode(audio))
    return np.concatenate(blocks, axis=1), rates[0]


def stated_length(path):
    with AudioFile(path) as audio:
        return audio.stated_length()


#: Each reads a file in another way.
READERS = (
    *(load_audio, count_samples, lambda path: load_head(path, 100), lambda path: load_excerpt(path, 5, 100)),
    lambda path: [*stream_audio(path)],
)


def tone():
    """A second of 440 Hz at 16 kHz."""
    time = np.arange(16000) / 16000
    return (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def noise(count=40000):
    """White noise, float32."""
    return (0.1 * np.random.default_rng(0).standard_normal(count)).astype(np.float32)


def read_every_way(path):
    """The samples, which every reader must give alike."""
    waveform = load_audio(path)
    np.testing.assert_allclose(np.concatenate(list(stream_audio(path))), waveform, rtol=0, atol=1e-7)
    assert abs(count_samples(path) - len(waveform)) <= 1
    np.testing.assert_allclose(load_excerpt(path, 1000, 3000), waveform[1000:4000], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(load_head(path, 2000), waveform[:2000])
    return waveform


def refused(path, message, content=None, readers=READERS):
    """Every reader refuses the file, with this content if it is given."""
    if content is not None:
        path.write_bytes(content)
    for reader in readers:
        with input_error(message):
            reader(path)


def wav(samples, riff=None, data=None, behind=b"", before=b"", channels=1):
    """A WAV file of the bytes ``samples``, whose header may state other sizes (``riff``, ``data``)."""
    frame = 2 * channels
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, 1, channels, 16000, 16000 * frame, frame, 16) + before
    chunks += b"data" + struct.pack("<I", len(samples) if data is None else data) + samples + behind
    return b"RIFF" + struct.pack("<I", len(chunks) + 4 if riff is None else riff) + b"WAVE" + chunks


def bw64(samples, num_samples, channels=1):
    """The same as BW64 (ITU-R BS.2088), which FFmpeg reads and libsndfile does not."""
    content = bytearray(wav(samples, riff=0xFFFFFFFF, data=0xFFFFFFFF, channels=channels))
    content[:4] = b"BW64"
    content[12:12] = b"ds64" + struct.pack("<IQQQI", 28, len(content) + 28, len(samples), num_samples, 0)
    return bytes(content)


#: Sample format → NumPy's type and full scale.
_FORMATS = {"u8": (np.uint8, 128), "s16": (np.int16, 32768), "s32": (np.int32, 2**31), "dbl": (np.float64, 1)}


def write_two_tracks(path):
    """A file of a tone and of noise."""
    with av.open(str(path), "w") as output:
        streams = {}
        for samples in (tone(), noise(16000)):
            streams[output.add_stream("pcm_s16le", rate=16000, layout="mono")] = samples
        for stream, samples in streams.items():
            integers = (samples * 32768).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(integers[None], "s16", "mono")
            frame.sample_rate = 16000
            packets = stream.encode(frame)
            output.mux(packets)
    return path


def encode(
    path,
    samples,
    codec,
    sample_format="fltp",
    spread=0,
    quality=None,
    layout="mono",
    rate=16000,
    bit_rate=None,
    title=None,
    delay=0,
    first_packet=0,
    **container,
):
    """Encode ``samples`` ((N,) or (channels, N)) by FFmpeg.

    The packets of the second half get time stamps that are later by ``spread``, and all packets such
    that are later by ``delay``. The file begins with the packet number ``first_packet``. A ``title``
    names file, stream and chapter.
    """
    dtype, scale = _FORMATS.get(sample_format.removesuffix("p"), (np.float32, 1))
    middle = 128 if dtype == np.uint8 else 0
    samples = (np.atleast_2d(samples).astype(np.float64) * scale + middle).astype(dtype)
    with av.open(str(path), "w", **container) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        if title is not None:
            _name_everything(output, stream, title)
        if quality is not None:
            stream.codec_context.flags |= 2
            stream.codec_context.global_quality = 118 * quality
        frame = av.AudioFrame(format=sample_format, layout=layout, samples=samples.shape[1])
        for index, plane in enumerate(samples):  # not from_ndarray, which fails at 8 planes
            AudioPlane(frame, index).update(np.ascontiguousarray(plane).tobytes())
        frame.sample_rate = rate
        frame.pts = 0
        frame.time_base = Fraction(1, rate)
        packets = [*stream.encode(frame), *stream.encode(None)]
        for number, packet in enumerate(packets):
            later = delay
            if number >= len(packets) // 2:
                later += spread
            if later:
                packet.pts += later
                packet.dts += later
        output.mux(packets[first_packet:])


def _name_everything(output, stream, title):
    """Give the file, the stream and a chapter this title; older releases of PyAV cannot write chapters."""
    for metadata in (output.metadata, stream.metadata):
        metadata["title"] = title
        metadata["artist"] = title
    if hasattr(output, "set_chapters"):
        chapter = {"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
        output.set_chapters([chapter])


def packets_of(path):
    """The packets of audio in a file, as FFmpeg finds them."""
    with av.open(str(path)) as file:
        packets = [bytes(packet) for packet in file.demux(audio=0)]
    return [packet for packet in packets if packet]
