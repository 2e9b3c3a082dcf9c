"""WAV, MP4, Matroska, FLV and ASF: files that are whole in spite of odd headers, and files that were cut off or damaged."""

import io
import struct

import numpy as np
import pytest
import soundfile
from builders.recordings import READERS, bw64, encode, noise, read_every_way, refused, tone, wav
from numpy.random import default_rng

from nes2net.data.audio import containers
from nes2net.data.audio.containers import chunk_fault, matroska_fault, mp4_fault, states_duration
from nes2net.data.audio.read import count_samples, load_audio, stream_audio

LIST = b"LIST" + struct.pack("<I", 12) + b"INFOISFT" + bytes(4)
TAG = b"TAG" + bytes(125)
TONE = (tone() * 32767).astype("<i2")
SAID = {
    **dict.fromkeys(("flv", "asf"), r"cut off( or damaged)?: [\d,]+ bytes are missing"),
    **{"avi": "cut off: its header announces", "matroska": r"cut off: its element at byte [\d,]+ lacks"},
    **dict.fromkeys(("wv", "tta"), "was read by neither"),  # decoding alone shows the cut
}


def found(function, path):
    with open(path, "rb") as file:
        return function(file)


def write(path, kind):
    """Noise by libsndfile (format and subtype) or by FFmpeg (container, codec, sample format, option)."""
    container, subtype, *more = kind.split()
    if container.isupper():
        soundfile.write(path, np.stack([noise(6000), -0.5 * noise(6000)], axis=1), 16000, subtype, format=container)
    else:
        encode(path, noise(), subtype, more[0], format=container, options=dict.fromkeys(more[1:], "1"))


KINDS = [
    *("WAV PCM_16", "WAV PCM_24", "WAV FLOAT", "WAV ULAW", "WAV IMA_ADPCM", "RF64 PCM_16", "AIFF PCM_16"),
    *("AU PCM_16", "NIST PCM_16", "FLAC PCM_16", "FLAC PCM_24", "W64 PCM_16", "CAF PCM_16", "CAF ALAC_16"),
    *("flv aac fltp", "asf aac fltp", "avi pcm_s16le s16", "avi libmp3lame fltp", "matroska libopus flt"),
    # Without the sizes and the duration, as to a pipe.
    *("matroska aac fltp live", "matroska pcm_s16le s16 live", "wv wavpack s16p", "tta tta s16"),
]


def cuts_of(content, container):
    """The first bytes of a file: up to its header, anywhere in it, and up to its end but a byte."""
    offsets = default_rng(1).integers(0, len(content), 12).tolist()
    # Behind a tag stands its size; one may count itself.
    last = len(content) - {"flv": 5, "avi": 9, "tta": 1000}.get(container, 1)
    return [content[:offset] for offset in (0, 1, 11, 12, 40, 42, 44, *offsets, len(content) - 1000, last)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_audio_file_cut_anywhere_is_refused(tmp_path, kind):
    path = tmp_path / "noise"
    write(path, kind)
    read_every_way(path)
    for cut in cuts_of(path.read_bytes(), kind.split()[0]):
        refused(path, "noise", cut, [load_audio])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("FLAC")])
def test_every_reader_refuses_a_file_cut_behind_its_header(tmp_path, kind):
    """The message says that it is cut off, or, if only decoding shows it (WavPack, TTA), that neither decoder reads it.

    FLAC is left out: its beginning may be read before the cut is noticed.
    """
    path = tmp_path / "noise"
    container = kind.split()[0]
    write(path, kind)
    cuts = cuts_of(path.read_bytes(), container)
    for cut in [cut for cut in cuts if len(cut) > 1100]:
        refused(path, f"noise .*{SAID.get(container, 'cut off( or damaged)?: ')}", cut)


def test_a_matroska_duration_is_found_only_in_matroska_files_not_written_as_to_a_pipe(tmp_path):
    """A file written to a pipe states none, because its writer cannot go back to the header."""
    stating = []
    for kind in KINDS:
        write(tmp_path / "noise", kind)
        if found(states_duration, tmp_path / "noise"):
            stating.append(kind)
    assert stating == ["matroska libopus flt"]


# ---- WAV


@pytest.mark.parametrize(
    "sizes",
    [
        {"data": 32000 + 8},  # with the chunk's own header
        {"data": 32000 + 36},  # what RIFF's size is
        {"data": 32000 + 44},  # that of the file
        {"data": 32000 + 1},  # with a byte of padding, or of nothing
        {"data": 0, "riff": 0},  # by a recorder that was killed
        {"data": 0},
        {"riff": 0},
        {"riff": 0xFFFFFFFF, "data": 0xFFFFFFFF},  # to a pipe, by FFmpeg
        {"riff": 0x7FFFF024, "data": 0x7FFFF000},  # by SoX
        {"riff": 0x80000024, "data": 0x80000000},  # by arecord
    ],
)
def test_all_samples_of_a_whole_wav_file_whose_header_states_wrong_sizes_are_read(tmp_path, sizes):
    (tmp_path / "tone.wav").write_bytes(wav(TONE.tobytes(), **sizes))
    np.testing.assert_array_equal(read_every_way(tmp_path / "tone.wav"), TONE / np.float32(32768))


@pytest.mark.parametrize("side", ["before", "behind"])
def test_a_wav_file_with_a_chunk_before_or_behind_its_samples_is_read(tmp_path, side):
    (tmp_path / "tone.wav").write_bytes(wav(TONE.tobytes(), **{side: LIST}))
    np.testing.assert_array_equal(read_every_way(tmp_path / "tone.wav"), TONE / np.float32(32768))


def test_a_wav_file_with_no_samples_but_another_chunk_behind_is_refused(tmp_path):
    path = tmp_path / "tone.wav"
    # The chunk behind is not audio.
    refused(path, r"tone\.wav has no samples", wav(b"", behind=LIST), (load_audio, lambda path: [*stream_audio(path)]))


def test_wav_files_with_fewer_samples_than_their_header_announces_are_refused_as_cut_off(tmp_path):
    """BW64 is read by FFmpeg, which would read as much as there is."""
    path = tmp_path / "tone.wav"
    for content, announced in (
        *((wav(TONE.tobytes(), data=32000 + 2 * missing), f"{16000 + missing:,}") for missing in (1, 5, 50)),
        (wav(TONE.tobytes(), data=2_764_800_000), "1,382,400,000 samples, 16,000 are there"),  # 24 h
        (wav(TONE.tobytes())[:20044], "16,000 samples, 10,000 are there"),
        (bw64(TONE.tobytes(), 16000)[:20000], "16,000"),
    ):
        refused(path, f"cut off: its header announces {announced}", content, [load_audio])


def test_a_wav_file_of_zeros_is_not_read_as_an_endless_list_of_chunks():
    """It takes fewer than 25,000 reads for a mebibyte, whose zeros could be 131,072 empty chunks."""
    reads = []

    class Zeros(io.BytesIO):
        def read(self, *size):
            reads.append(size)
            return super().read(*size)

    chunk_fault(Zeros(b"RIFF\xff\xff\xff\xffWAVE" + bytes(1 << 20)))
    assert len(reads) < 25_000


# ---- MP4


@pytest.mark.parametrize("codec, sample_format", [("pcm_s16le", "s16"), ("pcm_u8", "u8")])
def test_the_limit_on_the_table_of_a_mov_file_counts_blocks_of_pcm_not_samples(
    tmp_path, monkeypatch, codec, sample_format
):
    """The table of the file counts each sample, but FFmpeg lists blocks of samples."""
    path = tmp_path / "noise.mov"
    encode(path, np.zeros(40000, np.float32), codec, sample_format)
    monkeypatch.setattr(containers, "_MAX_ENTRIES", 30000)
    assert len(read_every_way(path)) == 40000


def test_a_mov_file_whose_table_has_more_blocks_of_pcm_than_ffmpeg_can_hold_has_a_fault(tmp_path):
    path = tmp_path / "noise.mov"
    encode(path, np.zeros(40000, np.float32), "pcm_s16le", "s16")
    content = bytearray(path.read_bytes())
    offset = content.index(b"stsc") + 16
    content[offset : offset + 4] = struct.pack(">I", 0xF0000000)
    path.write_bytes(content)
    assert found(mp4_fault, path).startswith("announces 25,165,824 blocks of PCM in")


def test_an_mp4_file_cut_anywhere_in_its_last_fragment_is_refused(tmp_path):
    path = tmp_path / "noise.m4a"
    encode(path, noise(), "aac", options={"movflags": "frag_keyframe+empty_moov", "frag_duration": "300000"})
    content = path.read_bytes()
    fragment = content.rindex(b"moof") - 4
    data = content.rindex(b"mdat") - 4
    for offset in (*range(fragment + 4, data), *range(data, content.rindex(b"mfra") - 4, 97)):
        readers = (load_audio, count_samples) if offset % 10 == 0 else (load_audio,)
        refused(path, r"noise\.m4a is cut off: its (box|fragment) at byte [\d,]+ lacks", content[:offset], readers)


# ---- Matroska

HEAD = b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\x01" + b"\xff" * 7
CLUSTER = b"\x1f\x43\xb6\x75\x01" + b"\xff" * 7
BLOCK = b"\xa3\x85\x81\0\0\x80\0"


def test_a_webm_file_with_damage_anywhere_in_its_clusters_is_refused(tmp_path):
    """FFmpeg alone would go on with the next cluster."""
    path = tmp_path / "noise.webm"
    encode(path, noise(160000), "libopus", "flt", format="webm", options={"cluster_time_limit": "500"})
    content = path.read_bytes()
    start = content.index(b"\x1f\x43\xb6\x75")
    for offset in default_rng(0).integers(start, len(content) - 400, 10).tolist():
        refused(path, r"noise\.webm is (damaged|cut off)", content[:offset] + bytes(400) + content[offset + 400 :])


def test_a_matroska_file_of_unknown_size_that_ends_with_a_whole_element_has_no_fault():
    assert matroska_fault(io.BytesIO(HEAD + b"\xec\x80" * 10)) is None


def test_the_check_of_matroska_finds_no_fault_in_a_file_of_another_format():
    """An MP2 file, whose bytes would state a size beyond that of any file."""
    assert matroska_fault(io.BytesIO(b"\xff\xfd\x84\x04" + bytes(100))) is None


def test_a_cut_is_found_behind_more_elements_than_a_short_matroska_file_may_have(monkeypatch):
    """Hours of Opus in blocks of 20 ms are more than a million elements."""
    monkeypatch.setattr(containers, "_MANY_ELEMENTS", 1000)
    fault = matroska_fault(io.BytesIO(HEAD + CLUSTER + BLOCK * 1100 + BLOCK[:4]))
    assert fault == "is cut off: its element at byte 7,729 lacks 3 bytes"


def test_more_elements_than_the_size_of_a_matroska_file_allows_are_a_fault(monkeypatch):
    monkeypatch.setattr(containers, "_MANY_ELEMENTS", 1000)
    fault = matroska_fault(io.BytesIO(HEAD + CLUSTER + b"\xec\x80" * 2000))
    assert fault == "has more than 1,576 elements in 4,029 bytes"


def test_a_matroska_file_shorter_than_its_header_says_is_refused_as_cut_off(tmp_path):
    """A recorder that stops between two blocks leaves such a file, in which every element is whole."""
    path = tmp_path / "short.mka"
    encode(path, np.zeros(40000, np.float32), "pcm_s16le", "s16", format="matroska")
    content = path.read_bytes()
    duration = b"\x44\x89\x88"
    assert content.count(duration + struct.pack(">d", 2500)) == 1
    content = content.replace(duration + struct.pack(">d", 2500), duration + struct.pack(">d", 3000))
    refused(path, r"cut off: its header announces 3\.00 s, 2\.50 s could be decoded", content, READERS[:2])
