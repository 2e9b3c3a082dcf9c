"""MP3 files with and without a stated length."""

import struct

import numpy as np
import pytest
from builders.recordings import encode, read_every_way

from nes2net import InputError
from nes2net.audio.read import count_samples, load_audio, measure_audio


@pytest.fixture
def variable_mp3(tmp_path):
    """An MP3 file of variable bit rate with a Xing header, and where the header is."""
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal(16000)).astype(np.float32)
    samples = np.concatenate([noise, np.zeros(32000, np.float32), noise, noise])
    encode(tmp_path / "clean.mp3", samples, "libmp3lame", quality=4, options={"id3v2_version": "0"})
    content = (tmp_path / "clean.mp3").read_bytes()
    return content, content.index(b"Xing")


def test_files_with_and_without_a_stated_length(variable_mp3, tmp_path):
    """All samples are read: without a number of frames, with VBRI (unknown to libsndfile), with tags."""
    content, at = variable_mp3
    no_number = bytearray(content)
    no_number[at + 4 : at + 8] = bytes(4)
    frames = int.from_bytes(content[at + 8 : at + 12], "big")
    vbri = bytearray(content)
    vbri[at:200] = bytes(200 - at)
    vbri[36 : 36 + 26] = struct.pack(">4sHHHIIHHHH", b"VBRI", 1, 0, 50, len(content), frames, 0, 1, 2, 9)
    tag = b"ID3\3\0\0\0\0\x10\0" + bytes(2048)
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 1032, 0, 0) + bytes(8)
    files = {
        "no_number": bytes(no_number),
        "vbri": bytes(vbri),
        "tags": tag + tag + content,
        "behind": content + bytes(1000) + ape + b"TAG" + bytes(125),
        "clean": content,
    }
    for name, changed in files.items():
        path = tmp_path / f"{name}.mp3"
        path.write_bytes(changed)
        assert len(read_every_way(path)) == pytest.approx(80000, abs=3000), name
        assert measure_audio(path).second_decoder == (name in ("no_number", "vbri")), name


def test_a_cut_that_libsndfile_does_not_read_is_noticed(variable_mp3, tmp_path):
    """FFmpeg reads what is left of the first frames."""
    content, at = variable_mp3
    path = tmp_path / "cut.mp3"
    for length in (*range(at + 120, at + 700, 40), len(content) // 2):
        path.write_bytes(content[:length])
        for reader in (load_audio, count_samples):
            with pytest.raises(InputError, match=r"cut\.mp3"):
                reader(path)


def test_a_file_that_begins_with_many_tags_is_refused(variable_mp3, tmp_path, capfd):
    """libmpg123 would write a line about each empty one."""
    path = tmp_path / "tags.mp3"
    tag = b"ID3\3\0\0\0\0\0\0"
    path.write_bytes(tag * 16 + variable_mp3[0])
    assert len(load_audio(path)) == pytest.approx(80000, abs=3000)
    capfd.readouterr()
    path.write_bytes(tag * 100_000 + variable_mp3[0])
    with pytest.raises(InputError, match=r"tags\.mp3 begins with more than 16 ID3v2 tags"):
        load_audio(path)
    assert not capfd.readouterr().err


def test_a_file_with_more_than_a_tag_behind_it_is_read_or_named(variable_mp3, tmp_path):
    """libsndfile would stop at the end of the first file; FFmpeg does not recognise every tag."""
    content, _ = variable_mp3
    path = tmp_path / "behind.mp3"
    for behind, least in ((bytes(10_000), 77_000), (content, 155_000)):
        path.write_bytes(content + behind)
        try:
            assert len(load_audio(path)) > least
        except InputError as error:
            assert "behind.mp3" in str(error)
