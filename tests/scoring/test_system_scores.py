"""Scores of other systems: normalised as published, looked up by trial, and part of a run."""

import numpy as np
import pytest
import torch
from builders import input_error, shared_path, small_parts, tiny_corpus
from builders.scored import score_trials
from conftest import seeded_detector

from nes2net import Detector
from nes2net.cli.main import main
from nes2net.data.corpora.asvspoof2021_la import CORPUS
from nes2net.data.corpora.trial import Trial
from nes2net.scoring.score_file import read_scores, write_scores
from nes2net.scoring.system_scores import normalise, ranges_of, with_system_scores
from nes2net.scoring.waveforms import WaveformReader

TRIALS = [Trial("a"), Trial("b")]


def test_normalised_scores_of_other_systems_equal_those_of_the_code_of_the_published_ensemble():
    path = shared_path("golden", "zoo", "ensemble_score_normalisation.pt")
    systems = torch.load(path, weights_only=True)
    assert len(systems) == 4
    for name, system in systems.items():
        low = system["minimum_of_the_file"]
        high = system["maximum_of_the_file"]
        scores = normalise(np.asarray(system["raw"], np.float64), low, high)
        assert np.abs(scores - np.asarray(system["normalised_published"])).max() <= 2.3e-16, name


def write(folder, **systems):
    """A score file for each system, of a dictionary from id to score."""
    for name, scores in systems.items():
        write_scores(folder / name, scores, scores.values())
    return [folder / name for name in systems]


@pytest.fixture
def files(tmp_path):
    return write(tmp_path, one={"x": 9.0, "b": 1.0, "a": 3.0}, two={"a": -1.0, "b": 0.0})


def test_a_trial_gets_the_normalised_score_that_each_other_system_gave_its_id(files):
    first, second = with_system_scores(TRIALS, files, [[1.0, 3.0], [0.0, 1.0]])
    sigmoid_of_1 = 1 / (1 + np.exp(-1))
    assert first.system_scores == pytest.approx((sigmoid_of_1, 1 / (1 + np.exp(1))))
    assert second.system_scores == pytest.approx((0.5, 0.5))


def test_by_the_rule_named_test_each_system_is_normalised_by_the_range_of_its_score_file(files):
    assert ranges_of(files) == [[1.0, 9.0], [-1.0, 0.0]]
    assert with_system_scores(TRIALS, files, "test") == with_system_scores(TRIALS, files, ranges_of(files))


def test_scores_far_outside_of_the_range_are_normalised_to_0_and_1():
    assert normalise(np.array([-1e6, 1e6]), 0.0, 1.0).tolist() == [0.0, 1.0]


def test_files_and_ranges_of_other_systems_that_cannot_be_used_are_refused_with_the_reason(tmp_path):
    for text, ranges, message in (
        ("b 1\nc 2\n", "test", r"one: 1 of 2 trials have no score in it: a; the detector needs"),
        ("a 1\nb 2\na 3\n", "test", r"one: 'a' has different values, \[1\.0, 3\.0\]"),
        ("a 1\nb 1\n", "test", r"one: all its scores are 1\.0"),
        ("a 1\nb inf\n", [[0.0, 1.0]], "the score of b is not a finite number"),
        ("a 1\nb 2\n", [[0.0, 1.0], [0.0, 1.0]], "score files of other systems, but ranges of 2"),
        ("a 1\nb 2\n", [[2.0, 1.0]], "ranges of other systems' scores are damaged"),
    ):
        (tmp_path / "one").write_text(text)
        with input_error(message):
            with_system_scores(TRIALS, [tmp_path / "one"], ranges)


# Scoring a corpus


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tiny_corpus.make(tmp_path_factory.mktemp("corpus"), per_class=3)


@pytest.fixture(scope="module")
def system_files(root):
    ids = (root / "ASVspoof_LA_cm_protocols" / "ASVspoof2021.LA.cm.eval.trl.txt").read_text().split()
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        write_scores(root / name, ids, rng.standard_normal(len(ids)))
        write_scores(root / f"{name}_dev", ["p", "q"], [-3.0, 3.0])
    return [str(root / "one"), str(root / "two")]


@pytest.fixture(scope="module")
def system_flags(system_files):
    return ["--system-scores", *system_files]


@pytest.fixture(scope="module")
def model(root):
    """A detector that fuses the scores of two systems, with their ranges."""
    frontend = {"name": "wav2vec2", **small_parts.FRONTENDS["wav2vec2"]}
    backend = {"name": "ensemble", "num_scores": 2, **small_parts.BACKENDS["ensemble"]}
    detector = seeded_detector({"frontend": frontend, "backend": backend})
    detector.save(root / "fusion.pth", score_ranges=[[-3.0, 3.0], [-3.0, 3.0]])
    detector.save(root / "without_ranges.pth")
    return str(root / "fusion.pth")


@pytest.fixture
def bare(root, model):
    """The same detector without ranges."""
    return str(root / "without_ranges.pth")


def score(root, model, out, *flags):
    common = ["--samples", "8000", "--device", "cpu", "--workers", "0", "--batch-size", "4"]
    return main(["score", "asvspoof2021_la", str(root), "--model", model, "--out", str(out), *common, *flags])


def test_a_corpus_is_scored_with_the_scores_of_other_systems(root, system_files, system_flags, model, tmp_path):
    out = tmp_path / "scores.txt"
    assert score(root, model, out, *system_flags) == 0
    ids, scores = read_scores(out)
    detector = Detector.from_pretrained(model, "cpu")
    of_trials = with_system_scores(CORPUS.trials(root), system_files, detector.provenance.to_dict()["score_ranges"])
    assert ids == [trial.id for trial in of_trials]
    reader = WaveformReader.of(detector, 8000)
    with torch.no_grad():
        for trial, value in zip(of_trials, scores, strict=True):
            waveform = torch.from_numpy(reader.read(trial.path).waveform)[None]
            alone = detector.scores(waveform, torch.tensor([trial.system_scores]))
            assert alone.item() == pytest.approx(value, abs=1e-5)


def test_a_file_made_with_scores_of_other_systems_is_refused_with_them_in_another_order(
    root, system_files, system_flags, model, tmp_path, capsys
):
    out = tmp_path / "scores.txt"
    assert score(root, model, out, *system_flags) == 0
    assert score(root, model, out, "--system-scores", *reversed(system_files)) == 2
    assert "another system_scores" in capsys.readouterr().err


def test_with_score_range_other_systems_are_normalised_by_the_ranges_of_development_files(
    root, system_files, system_flags, model, bare, tmp_path
):
    """Without the flag, by the same ranges stored in the detector."""
    assert score(root, model, tmp_path / "a", *system_flags) == 0
    dev = [f"{path}_dev" for path in system_files]
    assert score(root, bare, tmp_path / "b", *system_flags, "--score-range", *dev) == 0
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()


def test_with_score_range_test_the_ranges_of_the_score_files_replace_those_of_the_detector(
    root, system_files, system_flags, model, bare, tmp_path
):
    assert score(root, model, tmp_path / "a", *system_flags, "--score-range", "test") == 0
    assert score(root, bare, tmp_path / "b", *system_flags, "--score-range", *system_files) == 0
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()


def test_score_refuses_flags_about_scores_of_other_systems_that_do_not_fit_the_detector(
    root, system_flags, model, bare, spectral_detector, tmp_path, capsys
):
    plain = str(tmp_path / "plain.pth")
    spectral_detector.save(plain)
    for detector, flags, message in (
        (model, [], "fuses the scores of 2 other systems: name 2 score files"),
        (bare, system_flags, "or 'test' for the published rule"),
        (plain, system_flags, "uses no scores"),
    ):
        assert score(root, detector, tmp_path / "out", *flags) == 2
        assert message in capsys.readouterr().err


def test_predict_refuses_a_detector_that_needs_scores_of_other_systems(root, model, capsys):
    audio = str(next((root / "ASVspoof2021_LA_eval" / "flac").iterdir()))
    assert main(["predict", audio, "--model", model, "--device", "cpu"]) == 2
    assert "cannot score audio alone" in capsys.readouterr().err


@pytest.fixture
def of_batches(small_model):
    """A detector that normalises a batch as a whole."""
    small_model["frontend"]["normalize"] = "batch"
    return seeded_detector(small_model)


def test_a_file_of_scores_normalised_over_their_batch_is_refused_with_another_batch_size(of_batches, root, tmp_path):
    trials = CORPUS.trials(root)
    score_trials(of_batches, trials, tmp_path / "1", batch_size=1)
    with input_error("another batch_size"):
        score_trials(of_batches, trials, tmp_path / "1", batch_size=6)


def test_a_score_that_depends_on_its_batch_is_warned_of(of_batches, root, tmp_path, capsys):
    score_trials(of_batches, CORPUS.trials(root), tmp_path / "6", batch_size=6)
    assert "depends on the 6 utterances of its batch" in " ".join(capsys.readouterr().err.split())


def test_score_files_normalises_each_file_alone_at_any_batch_size(of_batches, root):
    files = [trial.path for trial in CORPUS.trials(root)]
    alone = [of_batches.score(file, num_samples=8000) for file in files]
    in_batches = [score for _, score in of_batches.score_files(files, num_samples=8000, batch_size=6)]
    assert in_batches == pytest.approx(alone, abs=1e-6)
    assert np.ptp(alone) > 1e-4


def test_score_track_normalises_each_window_alone_at_any_batch_size(of_batches, root):
    file = CORPUS.trials(root)[0].path
    tracks = [of_batches.score_track(file, window=0.2, hop=0.1, batch_size=size).scores for size in (1, 6)]
    assert np.array_equal(*tracks)
