"""A note beside intervals that are drawn over fewer than 15 speakers."""

import numpy as np
import pytest
from builders.files import write

from nes2net.apps.robustness.robustness import CLEAN, evaluate_robustness
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.evaluation.evaluate import evaluate_systems
from nes2net.evaluation.page import html_page
from nes2net.evaluation.transfer import SetFiles, ThresholdSource
from nes2net.scoring.score_file import write_scores

NOTE = (
    "only {} speakers are drawn, so the intervals may be too narrow: in a simulation, 95 % intervals held the true EER"
)


def list_of(folder, num_speakers):
    """A list of two bona fide and two spoofed recordings of each speaker, and their scores."""
    rng = np.random.default_rng(3)
    rows = []
    scores = []
    for number in range(4 * num_speakers):
        label = "real" if number % 2 else "fake"
        rows.append(f"{number}.wav,{label},s{number % num_speakers}\n")
        scores.append(f"{number} {rng.normal() + number % 2}\n")
    key = write(folder / "list.csv", f"path,label,speaker\n{''.join(rows)}")
    return key, write(folder / "scores.txt", "".join(scores))


def result_of(folder, num_speakers, **settings):
    key, scores = list_of(folder, num_speakers)
    return evaluate_systems("generic", scores, key, "all", num_resamples=5, **settings)


@pytest.mark.parametrize("num_speakers", [11, 13])
def test_a_note_names_the_small_number_of_speakers(tmp_path, num_speakers):
    result = result_of(tmp_path, num_speakers)
    note = NOTE.format(num_speakers)
    assert f"bootstrap over {num_speakers} speakers" in result.text()
    assert note in result.text()
    assert note in html_page(result)
    assert note in result.markdown()
    assert any(note in notice for notice in result.to_dict()["notices"])


@pytest.mark.parametrize("num_speakers, draw", [(15, "auto"), (9, "auto"), (11, "trials")])
def test_enough_speakers_need_no_note(tmp_path, num_speakers, draw):
    assert "speakers are drawn" not in result_of(tmp_path, num_speakers, draw=draw).text()


def test_robustness_notes_the_small_number_of_speakers(tmp_path):
    trials = []
    for number in range(44):
        trials.append(Trial(f"u{number}", label=(SPOOF, BONAFIDE)[number % 2], speaker=f"s{number % 11}"))
    paths = {}
    for condition in (CLEAN, "telephone"):
        paths[condition] = tmp_path / f"{condition}.txt"
        write_scores(paths[condition], [trial.id for trial in trials], np.arange(44.0))
    result = evaluate_robustness("generic", "all", trials, paths, num_resamples=5)
    assert NOTE.format(11) in result.text()


def test_each_set_at_a_transferred_threshold_notes_few_speakers(tmp_path):
    key, scores = list_of(tmp_path, 11)
    development = {"dev_scores": [str(scores)], "dev_corpus": "generic", "dev_keys": str(key), "dev_phase": "all"}
    source = ThresholdSource(**development, further=[SetFiles("generic", str(scores), str(key), "all")])
    result = result_of(tmp_path, 11, threshold_source=source)
    warnings = [warning for warning in result.notices if NOTE.format(11) in warning]
    assert len(warnings) == 3  # of the figures of the system, and of each set at the threshold
