"""Labels beside scores are compared with the scores and with the key, whatever reads the file."""

import pytest
from builders.files import write

from nes2net.actions.calibration import apply_calibration, calibrate
from nes2net.actions.evaluation import evaluate
from nes2net.actions.flags import Learning
from nes2net.evaluation.key import Labels
from nes2net.evaluation.matching import match_file
from nes2net.scoring.judgement import ScoreFile

DOUBT = "the file calls recordings fake and real, and all its scores lie between 0.5 and 1"
NUM_TRIALS = 60


@pytest.fixture
def folder(tmp_path):
    """A key, the probabilities of the class that a good detector predicts, and its probabilities of bona fide."""
    key = ["path,label"]
    predicted = ["filename,label,score"]
    bonafide = ["filename,score"]
    for number in range(NUM_TRIALS):
        probability = 0.55 + 0.007 * number  # of the predicted class
        label = "real" if number % 2 else "fake"
        key.append(f"clips/{number}.wav,{label}")
        predicted.append(f"clips/{number}.wav,{label},{probability}")
        bonafide.append(f"clips/{number}.wav,{probability if number % 2 else 1 - probability}")
    write(tmp_path / "key.csv", key)
    write(tmp_path / "predicted.csv", predicted)
    write(tmp_path / "bonafide.csv", bonafide)
    return tmp_path


def labels_of(folder):
    return Labels("generic", folder / "key.csv", "all")


def test_evaluate_notes_that_scores_seem_to_be_those_of_the_predicted_class(folder):
    result = evaluate("generic", folder / "predicted.csv", folder / "key.csv", num_resamples=5)
    assert any(note.startswith(DOUBT) for note in result.notes)


def test_calibration_notes_that_scores_it_learns_from_or_converts_seem_to_be_of_the_predicted_class(folder, capsys):
    learned = calibrate(labels_of(folder), [folder / "bonafide.csv"]).calibration
    assert capsys.readouterr().err == ""
    calibrate(labels_of(folder), [folder / "predicted.csv"], Learning(allow_inverted=True))
    assert f"predicted.csv: {DOUBT}" in capsys.readouterr().err
    apply_calibration(learned, [folder / "predicted.csv"], folder / "out.txt")
    assert f"predicted.csv: {DOUBT}" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["clips/{};{};{}", "clips/{}.flac\t{}\t{}"])
def test_a_doubt_names_trials_whose_label_beside_the_score_contradicts_the_key(folder, form):
    """Also if ids have folders or suffixes, and labels are other words than those of the key."""
    rows = []
    for number in range(NUM_TRIALS):
        word = "Bonafide" if number % 2 else "spoof"
        if number == 7:
            word = "Fake"
        rows.append(form.format(number, word, number % 2))
    scores = write(folder / "scores.csv", rows)
    trials = labels_of(folder).read().trials
    (doubt,) = match_file(trials, ScoreFile.of(scores)).doubts
    assert doubt == "the score file's own labels contradict the key for 1 of 60 trials, and the key decides: clips/7"
