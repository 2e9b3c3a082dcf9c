"""Notes beside figures of few trials, and beside intervals that are drawn over fewer than 15 speakers."""

import numpy as np
import pytest
from builders.files import write

from nes2net.actions.evaluation import evaluate
from nes2net.evaluation.page import html_page

NOTE = (
    "only 11 speakers are drawn, so the intervals may be too narrow: in a simulation, 95 % intervals held the true EER"
)


def result_of(folder, num_speakers, **settings):
    """The evaluation of scores of two bona fide and two spoofed recordings of each speaker."""
    rng = np.random.default_rng(3)
    rows = []
    scores = []
    for number in range(4 * num_speakers):
        label = "real" if number % 2 else "fake"
        rows.append(f"{number}.wav,{label},s{number % num_speakers}\n")
        scores.append(f"{number} {rng.normal() + number % 2}\n")
    key = write(folder / "list.csv", f"path,label,speaker\n{''.join(rows)}")
    score_file = write(folder / "scores.txt", "".join(scores))
    return evaluate("generic", score_file, key, "all", num_resamples=5, **settings)


def test_text_page_markdown_and_json_note_the_small_number_of_speakers(tmp_path):
    result = result_of(tmp_path, 11)
    assert NOTE in result.text()
    assert NOTE in html_page(result)
    assert NOTE in result.markdown()
    assert any(NOTE in notice for notice in result.to_dict()["notices"])


@pytest.mark.parametrize("num_speakers, draw", [(15, "auto"), (9, "auto"), (11, "trials")])
def test_only_draws_of_fewer_than_15_speakers_have_a_note_on_few_speakers(tmp_path, num_speakers, draw):
    assert "speakers are drawn" not in result_of(tmp_path, num_speakers, draw=draw).text()


def test_figures_of_fewer_than_20_trials_of_a_class_have_a_note_on_few_trials(tmp_path, few):
    assert any(note.startswith("there are only 10 bona fide trials: if none of them is wrong") for note in few.notes)
    assert "there are only" not in result_of(tmp_path, 10).text()


def test_the_json_of_a_system_has_the_notes_on_its_trials(few):
    (facts,) = few.header["systems"]
    assert facts["notices"] == [note for note in few.notes if note.startswith("there are only")]
