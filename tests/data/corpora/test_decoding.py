"""Decoding many files in parallel: statistics, named faults, and decoders that crash."""

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor, wait
from typing import ClassVar

import numpy as np
import pytest
import soundfile
from builders import recordings

from nes2net.data.audio.read import MeasuredAudio
from nes2net.data.corpora import decoding
from nes2net.data.corpora.decoding import Decoded, decode_all, decode_in_parallel


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    noise = 0.1 * np.random.default_rng(0).standard_normal(32000)
    soundfile.write(folder / "a.wav", noise[:8000], 16000)
    soundfile.write(folder / "b.flac", noise[:24000], 16000)
    soundfile.write(folder / "c.flac", np.stack((noise, noise), 1), 48000)
    recordings.encode(folder / "d.m4a", noise[:8000], "aac", rate=8000)
    (folder / "e.flac").write_text("no audio at all")
    (folder / "f.wav").write_bytes(b"")
    soundfile.write(folder / "g.wav", np.zeros(0), 16000)
    soundfile.write(folder / "h.wav", np.array([0, np.nan]), 16000, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module", params=[0, 2], ids="{} workers".format)
def decoded(folder, request):
    """What is found in the files of ``folder`` and one that is missing."""
    return decode_all([*sorted(folder.iterdir()), folder / "none.wav"], folder, request.param)


def test_decoding_files_reports_each_undecodable_file_with_its_fault(decoded):
    assert sorted(decoded.unreadable) == ["e.flac", "f.wav", "g.wav", "h.wav", "none.wav"]
    assert "neither libsndfile" in decoded.unreadable["e.flac"]
    assert decoded.unreadable["g.wav"] == "has no samples"
    assert "NaN" in decoded.unreadable["h.wav"]
    assert "not found" in decoded.unreadable["none.wav"]


def test_decoding_files_reports_which_need_the_second_decoder(decoded):
    assert decoded.second_decoder == ["d.m4a"]


def test_decoding_files_counts_them_by_sampling_rate(decoded):
    assert decoded.rates == {16000: 2, 48000: 1, 8000: 1}


def test_decoding_files_reports_which_have_another_sampling_rate_than_16_khz(decoded):
    assert decoded.other_rate == ["c.flac", "d.m4a"]


def test_decoding_files_counts_them_by_number_of_channels(decoded):
    assert decoded.channels == {1: 3, 2: 1}


def test_decoding_files_reports_the_shortest_longest_and_total_duration(decoded):
    assert decoded.shortest == (0.5, "a.wav")
    assert decoded.longest == (1.5, "b.flac")
    assert decoded.seconds == pytest.approx(0.5 + 1.5 + 32000 / 48000 + 1, abs=0.3)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked and killed")


class Forked(ProcessPoolExecutor):
    """A pool whose processes import nothing. Unhurried, it gets more only after a dying process has died."""

    handed_out: ClassVar[list] = []
    hurried = True

    def __init__(self, workers, **options):
        super().__init__(workers, **options | {"mp_context": multiprocessing.get_context("fork")})

    def submit(self, *args):
        self.hurried or wait(self.handed_out)
        self.handed_out.append(super().submit(*args))
        return self.handed_out[-1]


@pytest.fixture
def forked(monkeypatch):
    monkeypatch.setattr(Forked, "handed_out", [])
    monkeypatch.setattr(decoding, "ProcessPoolExecutor", Forked)


def dies_at_c(path):
    if path.name == "c":
        os.kill(os.getpid(), signal.SIGKILL)
    return Decoded(path, MeasuredAudio(16000, 1, 16000, second_decoder=False))


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("hurried, size", [(True, 2), (False, 1)])
def test_only_the_file_whose_decoding_crashes_a_process_is_reported_as_unreadable(
    hurried, size, forked, tmp_path, monkeypatch
):
    """Also if the crash happens while files are still handed out to processes."""
    monkeypatch.setattr(Forked, "hurried", hurried)
    monkeypatch.setattr(decoding, "decode", dies_at_c)
    paths = [tmp_path / name for name in ("a", "b", "c", *map(str, range(15)))]
    monkeypatch.setattr(decoding, "_CHUNK", size)
    results = list(decode_in_parallel(paths, 1))
    assert sorted(d.path for d in results) == sorted(paths)
    assert {d.path.name: d.error for d in results if d.measured is None} == {"c": "the process that decoded it crashed"}
