"""`scripts/why_different` measures every row on a corpus of a few seconds; docs/different.md has the same rows."""

import re
import sys

import pytest
from builders import tiny_corpus
from builders.recipes import short_run
from builders.scripts import loaded
from conftest import REPOSITORY

from nes2net import Detector
from nes2net.data.registry import corpora
from nes2net.evaluation.evaluate import evaluate_systems
from nes2net.evaluation.judgements import Scores
from nes2net.evaluation.tables import percent
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.training.run import train

PAGE = (REPOSITORY / "docs" / "different.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script():
    return loaded("why_different")


@pytest.fixture
def demo(tmp_path):
    """A folder as scripts/demo.sh makes it, with a detector that was trained for three epochs."""
    folder = tmp_path / "demo"
    corpus = tiny_corpus.make(folder / "corpus")
    key = corpus / "keys" / "DF" / "CM" / "trial_metadata.txt"
    lines = key.read_text().splitlines(keepends=True)
    progress = [line.replace(" eval", " progress") for line in (*lines[:2], *lines[-2:])]  # two trials of each class
    key.write_text("".join([*progress, *lines[2:-2]]))
    frontend = {"name": "lps", "n_fft": 512, "hop_length": 256, "num_bins": 64}
    model = {"frontend": frontend, "aggregation": "last", "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}
    train(short_run(corpus, folder, {"model": model, "train": {"keep": "all"}}, {"comment": "log_spectrum"}))
    return folder


def rows(text):
    """Cause and change of each row of a table, without the head."""
    return re.findall(r"^\| ([^|]+) \| ([^|]+) \| [\d–]", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:An input array is constant")  # as whole numbers, few scores are all equal
def test_every_row_is_measured_and_the_first_is_what_the_commands_give(script, demo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["why_different", str(demo), "--run", "*_log_spectrum"])
    assert script.main() == 0
    assert rows(capsys.readouterr().out) == [("–", "nothing: the average of the last two checkpoints"), *script.ROWS]
    [run] = (demo / "models").iterdir()
    measured = script.Measurement(demo, run, tmp_path)
    measured.detector("mean of 2")
    [averaged] = measured.averages.glob("* mean of 2.pth")  # of the last two checkpoints
    detector = Detector.from_pretrained(averaged, device="cpu")
    corpus, scores = corpora.get("asvspoof2021_df"), tmp_path / "scores.txt"
    judge_trials(
        detector,
        corpus.trials(demo / "corpus"),
        scores,
        Scores(),
        settings=ScoringSettings(num_samples=corpus.test_samples, num_workers=0),
    )
    result = evaluate_systems("asvspoof2021_df", scores, demo / "corpus" / "keys")
    assert measured.first_cell("DF").startswith(percent(result["eer"].value) + " ")


def test_the_page_has_the_rows_of_the_script(script):
    assert rows(PAGE) == [("–", "nothing: the average of the last two checkpoints"), *script.ROWS]


def test_a_folder_without_detectors(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["why_different", str(tmp_path)])
    assert script.main() == 2
    assert "run scripts/demo.sh first" in capsys.readouterr().err
