"""What the server tells the page about a recording: its row, its cells in the downloaded table, and its pictures."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
from builders.page_requests import answers, wav

from nes2net.scoring.decisions import Decider
from nes2net.scoring.decisions.calibration import Llrs

pytest.importorskip("fastapi_offline")


@pytest.fixture
def answer(client, speech):
    return answers(client, "talk.wav", (speech / "talk.wav").read_bytes())[0]


def test_the_answer_to_the_page_has_the_extremes_of_the_waveform(answer, speech):
    samples, _ = soundfile.read(speech / "talk.wav")
    assert max(answer["high"]) == pytest.approx(samples.max(), abs=1e-4)
    assert min(answer["low"]) == pytest.approx(samples.min(), abs=1e-4)


def test_without_a_calibration_the_answer_to_the_page_has_no_decision(client):
    (answer,) = answers(client, "a.wav", wav())
    assert "verdict" not in answer
    cells = {name for name, cell in answer["columns"].items() if cell is not None}
    assert cells == {"file", "score", "duration", "judged", "remark"}


def test_with_a_calibration_the_answer_to_the_page_has_the_calibrations_range_of_bona_fide_scores(
    serving, speech, calibration
):
    llrs = Llrs(np.linspace(1, 3, 40), np.linspace(-3, -1, 40))
    decider = Decider(replace(calibration, llrs=llrs))
    client, _ = serving(decider=decider)
    (answer,) = answers(client, "talk.wav", (speech / "talk.wav").read_bytes())
    assert answer["usual"] == list(decider.usual_scores)
