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
from nes2net.scoring.score_file import read_scores
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
    return score_trials(detector, trials, out, num_samples=None, num_workers=0, resolution_ms=20.0, **options)


def test_scores_are_those_of_each_recording(segment_detector, trials, tmp_path):
    out = tmp_path / "f.txt"
    result = score(segment_detector, trials, out, batch_size=3, about={"corpus": {"name": "x"}})
    assert (result.done, result.failures) == (len(trials), {})
    found = read_segment_scores(out)
    assert found.resolution_ms == 20 and list(found.scores) == [trial.id for trial in trials]
    for trial, seconds in zip(trials, SECONDS):
        alone = frame_scores(segment_detector, trial.path).scores
        assert seconds * 50 - 2 <= len(alone) <= np.ceil(seconds * 50)
        np.testing.assert_allclose(found.scores[trial.id], alone, rtol=0, atol=1e-5)
    record = json.loads((tmp_path / "f.txt.json").read_text())
    assert record["run"]["resolution_ms"] == 20 and record["run"]["model"] == segment_detector.fingerprint()
    assert score(segment_detector, trials, out).already_complete


def test_an_interrupted_run_goes_on_to_the_same_bytes(segment_detector, trials, tmp_path, monkeypatch):
    trials = [*trials[:4], *trials[5:]]
    score(segment_detector, trials, tmp_path / "whole.txt", batch_size=2)
    real, calls = batches.FramesOfBatch.start, []

    def broken(self, waveforms, rows=None):
        calls.append(len(waveforms))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, waveforms, rows)

    monkeypatch.setattr(batches.FramesOfBatch, "start", broken)
    with pytest.raises(KeyboardInterrupt):
        score(segment_detector, trials, tmp_path / "f.txt", batch_size=2)
    assert (tmp_path / "f.txt.partial").stat().st_size > 0 and not (tmp_path / "f.txt").exists()
    with pytest.raises(InputError, match=r"another run or program \(another resolution_ms\)"):  # scores of utterances
        score_trials(segment_detector, trials, tmp_path / "f.txt", num_samples=None, num_workers=0)
    calls.append(0)
    score(segment_detector, trials, tmp_path / "f.txt", batch_size=2)
    assert sum(calls[4:]) < len(trials)
    assert (tmp_path / "f.txt").read_bytes() == (tmp_path / "whole.txt").read_bytes()


def test_a_file_that_comes_later_is_scored_then(segment_detector, trials, tmp_path):
    late = tmp_path / "late.wav"
    mine, out = [*trials[:3], Trial("late", late)], tmp_path / "f.txt"
    assert list(score(segment_detector, mine, out).failures) == ["late"]
    before = read_segment_scores(out).scores
    soundfile.write(late, np.zeros(16000), 16000)
    assert score(segment_detector, mine, out).failures == {}
    after = read_segment_scores(out).scores
    assert list(after) == ["t0", "t1", "t2", "late"]
    assert all(np.array_equal(after[id], row) for id, row in before.items())


def test_what_cannot_be_scored_is_refused(segment_detector, spectral_detector, trials, tmp_path):
    with pytest.raises(InputError, match="not their segments"):
        score(spectral_detector, trials, tmp_path / "f.txt")
    with pytest.raises(InputError, match="leave out `num_samples` and the transform"):
        score_trials(segment_detector, trials, tmp_path / "f.txt", num_samples=8000, resolution_ms=20.0)
    assert list(tmp_path.iterdir()) == []


def test_command(segment_detector, trials, tmp_path, capsys):
    segment_detector.save(tmp_path / "d.pth")
    (tmp_path / "list.csv").write_text(
        "path,label\n" + "".join(f"{trial.path},{('real', 'fake')[n % 2]}\n" for n, trial in enumerate(trials))
    )
    out = tmp_path / "f.txt"
    command = ["score", "generic", str(tmp_path / "list.csv"), "--model", str(tmp_path / "d.pth"), "--out", str(out)]
    command += ["--split", "all", "--workers", "0", "--device", "cpu"]
    assert main([*command, "--segments", "40"]) == 2
    assert "scores segments of 20 ms, not of 40 ms: change --segments" in capsys.readouterr().err
    assert main([*command, "--segments", "--samples", "4sec"]) == 2
    assert "scores whole utterances: leave out --samples" in capsys.readouterr().err
    assert main([*command, "--segments"]) == 0
    assert "8 of 8 utterances in frames of 20 ms written" in capsys.readouterr().out
    assert len(read_segment_scores(out).scores) == 8
    assert main([*command, "--samples", "full"]) == 2
    assert "(another resolution_ms)" in capsys.readouterr().err
    with pytest.raises(InputError):
        read_scores(out)
