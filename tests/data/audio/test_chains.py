"""Chains: complete Ogg or FLAC streams or AU files one behind another, all of which players play."""

import io

import numpy as np
import pytest
import soundfile
from builders import input_error
from builders.recordings import decoded, load_excerpt, load_head, load_head_and_length, noise, to_mono_16k
from numpy.testing import assert_array_equal

from nes2net.data.audio.decoders import ffmpeg_blocks
from nes2net.data.audio.frames import link_starts
from nes2net.data.audio.packed import RecordingBytes
from nes2net.data.audio.read import count_samples, load_audio, stream_audio
from nes2net.data.audio.waveform import mean_of_channels


def link(file_format, subtype, *, rate=16000, channels=1, loudness=1.0):
    file = io.BytesIO()
    samples = np.repeat(loudness * noise(2 * rate)[:, None], channels, axis=1)
    soundfile.write(file, samples, rate, format=file_format, subtype=subtype)
    return file.getvalue()


def one_behind_another(links, name, subtype):
    """What a chain of ``links`` gives: each as it is read by itself, but streams of Opus are resampled together."""
    recordings = [RecordingBytes(name, content) for content in links]
    if subtype != "OPUS":
        return np.concatenate([load_audio(recording) for recording in recordings])
    samples = []
    for recording in recordings:
        samples.append(mean_of_channels(decoded(recording, ffmpeg_blocks)[0]))
    return to_mono_16k(np.concatenate(samples)[None], 48000)


FORMATS = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16")]


@pytest.mark.parametrize("file_format, subtype", [*FORMATS, ("AU", "PCM_16")])
@pytest.mark.parametrize("second", [{}, {"rate": 48000}, {"channels": 2}])
def test_every_reader_gives_the_samples_of_all_links_of_a_chained_file(tmp_path, file_format, subtype, second):
    """A link is one of the joined streams or files. The second link may have another rate or more channels."""
    links = [link(file_format, subtype), link(file_format, subtype, loudness=0.3, **second)]
    path = tmp_path / f"chain.{file_format.lower()}"
    path.write_bytes(b"".join(links))
    expected = one_behind_another(links, path.name, subtype)
    assert len(expected) == 64000
    for recording in (path, RecordingBytes(path.name, path.read_bytes())):
        assert_array_equal(load_audio(recording), expected)
        assert_array_equal(np.concatenate(list(stream_audio(recording))), expected)
        assert_array_equal(load_head(recording, 40000), expected[:40000])
        assert_array_equal(load_excerpt(recording, 31000, 2000), expected[31000:33000])
        assert load_head_and_length(recording, 10)[1] == 64000
        assert count_samples(recording) == 64000


@pytest.mark.parametrize("file_format, subtype", FORMATS)
def test_a_chain_of_two_ogg_or_flac_streams_of_which_one_is_cut_off_is_refused(tmp_path, file_format, subtype):
    first = link(file_format, subtype)
    path = tmp_path / "chain"
    for content in (first + first[:-2000], first[:-2000] + first):
        path.write_bytes(content)
        with pytest.raises(Exception, match="chain"):
            load_audio(path)


def test_a_chain_of_au_files_of_which_the_second_is_cut_off_is_refused():
    first = link("AU", "PCM_16")
    with input_error("is cut off: its header announces 64,000 bytes"):
        load_audio(RecordingBytes("chain.au", first + first[:-2000]))


def test_multiplexed_ogg_streams_are_one_link_of_a_chain():
    """RFC 3533, Sec. 4: the first pages of multiplexed streams come before all others."""

    def page(flags):
        return b"OggS\0" + bytes([flags]) + bytes(20) + b"\1\3abc"

    content = page(2) + page(2) + page(0) + page(4) + page(2) + page(4)
    assert link_starts(io.BytesIO(content)) == [0, 4 * len(page(0))]


def test_the_start_of_a_second_flac_stream_is_found_in_a_file_searched_by_blocks_of_any_size(monkeypatch):
    content = b"fLaC\0\0\0\x22" + bytes(50) + b"fLaC\x80\0\0\x22" + bytes(50)
    for size in range(1, 70):
        monkeypatch.setattr("nes2net.data.audio.frames._SEARCHED_BYTES", size)
        assert link_starts(io.BytesIO(content)) == [0, 58]
