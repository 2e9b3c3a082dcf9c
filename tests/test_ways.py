"""Few changes of the file on the way of a prediction, an evaluation and a training step."""

import numpy as np
import pytest
import soundfile
from builders.files import write
from builders.small_parts import SPECTRAL_MODEL
from builders.voices import voice
from builders.ways import calls_of, moves

from nes2net.cli.main import main
from nes2net.data.registry import corpora
from nes2net.scoring.decisions import fit
from nes2net.training.run import train

pytestmark = pytest.mark.slow


def test_predict_of_one_file_with_a_calibration_changes_the_file_at_most_700_times(
    spectral_detector, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    spectral_detector.save("model")
    soundfile.write("a.wav", 0.4 * voice(0, 1.5), 16000)
    fit([2.0, 1.0, 0.5, -0.5], [-2.0, -1.0, 0.0, 0.7]).save("c.json")
    calls = calls_of(lambda: main("predict a.wav --model model --calibration c.json --device cpu".split()))
    assert 100 < moves(calls) <= 700


def test_an_evaluation_to_its_page_changes_the_file_at_most_1100_times_beside_figures_and_progress(
    corpus, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    trials = corpora.get("asvspoof2019_la").trials(corpus, "dev")
    write(tmp_path / "s.txt", [f"{trial.id} {trial.target + rng.normal()}" for trial in trials])
    words = f"evaluate asvspoof2019_la s.txt --keys {corpus} --phase dev --html page.html"
    calls = calls_of(lambda: main(words.split()))
    calls = [call for call in calls if not call.file.startswith(("metrics/", "lib/output/progress"))]
    assert 100 < moves(calls) <= 1100


def test_a_training_step_of_three_utterances_changes_the_file_at_most_190_times(recipe):
    calls = calls_of(
        lambda: train(recipe(augment={"algo": 0}, model=SPECTRAL_MODEL, train={"epochs": 1, "batch_size": 3}), "cpu")
    )
    _, first, second, *_ = (number for number, call in enumerate(calls) if call.function == "train_step")
    assert 50 < moves(calls[first:second]) <= 190
