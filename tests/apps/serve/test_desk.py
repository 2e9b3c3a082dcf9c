"""The desk: scores as those of `nes2net predict`, one recording at a time, within limits, and nothing is kept."""

import io
import threading
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from builders import PATIENCE, loud_is_fake, wait
from builders.known_voices import write_neighbours
from builders.voices import voice
from PIL import Image

from nes2net.apps.serve.decoding import NotDecoded, TooSlow
from nes2net.apps.serve.desk import Busy, Closed, Desk, Limits, draw
from nes2net.scoring.decisions import Decider, Population
from nes2net.scoring.decisions.population import measure
from nes2net.scoring.neighbours import Neighbours


@pytest.fixture
def folder(tmp_path):
    """The folder of a desk."""
    (tmp_path / "desk").mkdir()
    return tmp_path / "desk"


def test_a_long_recording_is_compared_with_those_of_the_calibration_by_its_windows(
    small, calibration, tmp_path, folder
):
    """The recording is longer than those of the calibration; its windows are as long."""
    speech = voice(seconds=121) * np.linspace(1, 0.1, 16000 * 121)
    path = tmp_path / "long.flac"
    soundfile.write(path, speech, 16000)
    usual = measure(soundfile.read(path)[0])._replace(duration=4.0375)
    traits = [usual._replace(level=usual.level + n / 10) for n in range(-10, 10)]
    with_population = replace(calibration, population=Population.fit(traits, np.arange(20) < 10))
    desk = Desk(small, folder, decider=Decider(with_population, abstain=0.05))
    scored = desk.score(path, path.name)
    assert scored.judged.is_mean
    assert scored.row()["p_value"] > 0.05


def test_fake_stretches_of_a_row_are_the_segments_of_the_detector(tmp_path, folder):
    detector = loud_is_fake.detector()
    path = tmp_path / "a.wav"
    soundfile.write(path, loud_is_fake.recording(), 16000)
    desk = Desk(detector, folder)
    row = desk.score(path, "a.wav").row()
    expected = detector.segment(path)
    assert loud_is_fake.near([segment[1:3] for segment in expected], loud_is_fake.FAKES)
    assert row["segments"] == [pytest.approx(segment._asdict(), abs=1e-6) for segment in expected]


def test_the_files_of_an_upload_that_is_not_scored_to_its_end_are_removed(small, speech, folder):
    for limits, name, error, message in (
        (Limits(max_duration=5), "talk.m4a", NotDecoded, "^longer than 5 s"),  # only decoding tells its length
        (Limits(timeout=1e-3), "talk.wav", TooSlow, r"took longer than 0\.001 s"),
    ):
        with pytest.raises(error, match=message):
            Desk(small, folder, limits).score(speech / name, name, for_page=True)
    desk = Desk(small, folder)
    with pytest.raises(Closed):
        desk.score(speech / "talk.wav", "talk.wav", progress=lambda *_: desk.close())
    assert not list(folder.iterdir())


def test_while_one_recording_is_scored_and_another_waits_a_third_is_refused(small, speech, folder):
    desk = Desk(small, folder, Limits(waiting=1))
    order = []
    started = threading.Event()
    go_on = threading.Event()

    def hold(share, path):
        started.set()
        go_on.wait(PATIENCE)

    def score(name, progress):
        order.append(desk.score(speech / "talk.wav", name, progress=progress).name)

    threads = [threading.Thread(target=score, args=args) for args in (("first", hold), ("second", lambda *_: None))]
    for thread in threads:
        thread.start()
        assert started.wait(PATIENCE)
    wait(lambda: desk.num_present == 2)
    with pytest.raises(Busy, match="1 recording is waiting"):
        desk.score(speech / "talk.wav", "third")
    assert order == []
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["first", "second"]


def test_two_workers_score_two_recordings_at_once_as_each_alone(small, speech, folder):
    """Here each worker waits for the other at every step."""
    desk = Desk(small, folder, Limits(waiting=1, workers=2))
    scores = []
    both = threading.Barrier(2, timeout=PATIENCE)

    def score(name):
        scores.append(desk.score(speech / "talk.wav", name, progress=lambda *_: both.wait()).judged.value)

    threads = [threading.Thread(target=score, args=[name]) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert scores == [small.score(speech / "talk.wav")] * 2


def test_a_tone_is_a_dark_line_of_the_spectrogram(tmp_path):
    time = np.arange(64000) / 16000
    tone = np.where((time > 1) & (time < 2), 0.5, 0) * np.sin(2 * np.pi * 2000 * time)
    soundfile.write(tmp_path / "a.wav", tone, 16000, subtype="FLOAT")
    picture = draw(tmp_path / "a.wav", 4.0)
    pixels = np.asarray(Image.open(io.BytesIO(picture.spectrogram)))
    during = pixels[:, 68:118]
    assert (during[256 - 64] == during.min(0)).all()  # bin 64 of 256 is 2 kHz; 8 kHz is at the top
    assert during.min() < 10
    assert (pixels[:, 156:] == 255).all()


def test_evidence_reads_the_upload_and_leaves_the_answer(small, speech, folder, tmp_path, monkeypatch):
    """The desk hands on the uploaded file beside its decoded audio."""
    read = []

    def compared(self, recording):
        read.append(recording)
        return find(self, recording)

    find = Neighbours.__call__
    monkeypatch.setattr(Neighbours, "__call__", compared)
    path = write_neighbours(tmp_path, small)
    row = Desk(small, folder, evidence=[f"neighbours:{path}"]).score(speech / "talk.mp3", "talk.mp3").row()
    assert len(row.pop("evidence")) >= 5
    assert row == Desk(small, folder).score(speech / "talk.mp3", "talk.mp3").row()
    assert read[0].upload == speech / "talk.mp3"
