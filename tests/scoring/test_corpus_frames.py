"""Frame scores of a corpus: each as of the recording alone, resumed, never mixed with other scores."""

import json

import numpy as np
import pytest
import soundfile
import torch

from nes2net import Detector, InputError
from nes2net.cli.main import main
from nes2net.corpora.trial import Trial
from nes2net.scoring import batches
from nes2net.scoring.corpus import score_trials
from nes2net.scoring.segment_file import read_segment_scores
from nes2net.scoring.track import frame_scores

SECONDS = (0.5, 0.01, 1.37, 0.5, 31.2, 0.3, 1.37, 0.5)


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("audio"), np.random.default_rng(0)
    for number, seconds in enumerate(SECONDS):
        soundfile.write(folder / f"{number}.wav", 0.1 * rng.standard_normal(int(16000 * seconds)), 16000)
    return [Trial(f"t{number}", folder / f"{number}.wav") for number in range(len(SECONDS))]


@pytest.fixture(scope="module")
def segment_detector():
    torch.manual_seed(0)
    frontend = {"name": "lps", "n_fft": 128, "num_bins": 20, "hop_length": 320}
    return Detector.from_config({"frontend": frontend, "backend": "mean_linear"}).eval()


def score(detector, trials, out, **options):
    options = {"num_samples": None, "num_workers": 0, "resolution_ms": 20.0, **options}
    return score_trials(detector, trials, out, **options)


def test_scores_are_those_of_each_recording(segment_detector, trials, tmp_path):
    out = tmp_path / "f.txt"
    result = score(segment_detector, trials, out, batch_size=3)
    assert (result.done, result.failures) == (len(trials), {})
    found = read_segment_scores(out)
    assert found.resolution_ms == 20 and list(found.scores) == [trial.id for trial in trials]
    for trial, seconds in zip(trials, SECONDS):
        alone = frame_scores(segment_detector, trial.path).scores
        assert seconds * 50 - 2 <= len(alone) <= np.ceil(seconds * 50)
        np.testing.assert_allclose(found.scores[trial.id], alone, rtol=0, atol=1e-5)
    assert json.loads(result.record_path.read_text())["run"]["resolution_ms"] == 20
    assert score(segment_detector, trials, out).already_complete


def test_an_interrupted_run_and_one_without_a_file_go_on_to_the_same_bytes(
    segment_detector, trials, tmp_path, monkeypatch
):
    late, out, whole = tmp_path / "late.wav", tmp_path / "f.txt", tmp_path / "whole.txt"
    trials = [*trials[:4], *trials[5:], Trial("late", late)]
    real, calls = batches.FramesOfBatch.start, []

    def broken(self, waveforms, rows=None):
        calls.append(len(waveforms))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, waveforms, rows)

    monkeypatch.setattr(batches.FramesOfBatch, "start", broken)
    with pytest.raises(KeyboardInterrupt):
        score(segment_detector, trials, out, batch_size=2)
    assert (tmp_path / "f.txt.partial").stat().st_size > 0 and not out.exists()
    with pytest.raises(InputError, match=r"another run or program \(another resolution_ms\)"):  # scores of utterances
        score(segment_detector, trials, out, resolution_ms=None)
    calls.append(0)
    assert list(score(segment_detector, trials, out, batch_size=2).failures) == ["late"]
    assert sum(calls[4:]) < len(trials) - 1
    soundfile.write(late, np.zeros(16000), 16000)
    for path in (out, whole):
        assert score(segment_detector, trials, path, batch_size=2).failures == {}
    assert out.read_bytes() == whole.read_bytes()


def test_what_cannot_be_scored_is_refused(segment_detector, spectral_detector, trials, tmp_path):
    with pytest.raises(InputError, match="not their segments"):
        score(spectral_detector, trials, tmp_path / "f.txt")
    with pytest.raises(InputError, match="leave out `num_samples` and the transform"):
        score(segment_detector, trials, tmp_path / "f.txt", num_samples=8000)
    assert list(tmp_path.iterdir()) == []


def test_command(segment_detector, trials, tmp_path, capsys):
    segment_detector.save(tmp_path / "d.pth")
    listed, out = tmp_path / "list.csv", tmp_path / "f.txt"
    listed.write_text("path,label\n" + "".join(f"{trial.path},real\n" for trial in trials))
    words = f"score generic {listed} --model {tmp_path}/d.pth --out {out} --split all --workers 0 --device cpu"
    for flags, message in (
        ("--segments 40", "scores segments of 20 ms, not of 40 ms: change --segments"),
        ("--segments --samples 4sec", "scores whole utterances: leave out --samples"),
    ):
        assert main([*words.split(), *flags.split()]) == 2 and message in capsys.readouterr().err
    assert main([*words.split(), "--segments"]) == 0
    assert "8 of 8 utterances in frames of 20 ms written" in capsys.readouterr().out
    assert len(read_segment_scores(out).scores) == 8
