"""The record beside a score file, as the report reads it."""

import hashlib
import json
from datetime import datetime, timedelta

import numpy as np
import pytest
import soundfile
from builders.report_case import make_case, report_of

from nes2net.corpora.trial import Trial
from nes2net.decisions import ScoredBy
from nes2net.evaluation.origin import Origin, read_origin, read_scored_by
from nes2net.evaluation.page import html_page
from nes2net.scoring.corpus import score_trials

PARTS = {"frontend": "xlsr_300m", "aggregation": "last", "backend": "nes2net_x"}


def record_of(scores, **changes):
    """The part of a record of `nes2net score` that a report reads."""
    return {
        "run": {"model": "91327857", "num_samples": 64600},
        "failures": {f"utterance {number}": "is damaged" for number in range(10_001)},
        "corpus": {"name": "asvspoof2021_la", "split": "eval", "protocol": "4sec"},
        "checkpoint": {"recipe": {"name": "nes2net_x", "comment": "small"}, "path": "models/run/epoch_3.pth"},
        "scored_at": "2026-01-02T03:04:05+00:00",
        "architecture": {part: {"name": name} for part, name in PARTS.items()},
        "versions": {"nes2net": "0.3.0", "python": "3.11.7", "torch": "2.9.0"},
        "sha256": hashlib.sha256(scores.read_bytes()).hexdigest(),
    } | changes


@pytest.fixture
def case(tmp_path):
    return make_case(tmp_path, num=60)


def write_record(scores, content):
    path = scores.with_name(f"{scores.name}.json")
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_record_names_model_recipe_and_date(case):
    path = write_record(case / "good.txt", record_of(case / "good.txt"))
    report = report_of(case, "good", "worse")
    facts = {
        "record": str(path),
        "model": "xlsr_300m + last + nes2net_x",
        "checkpoint": "models/run/epoch_3.pth",
        "recipe": "nes2net_x (small)",
        "protocol": "4sec",
        "scored_at": "2026-01-02T03:04:05+00:00",
        "software": "nes2net 0.3.0, torch 2.9.0",
    }
    assert report.origins == [Origin(**facts), None]
    page = html_page(report)
    for text in (facts["model"], facts["checkpoint"], "2026-01-02 03:04 UTC", "torch 2.9.0", "no record of these"):
        assert text in page
    good, worse = report.to_dict()["systems"]
    assert good["origin"]["recipe"] == "nes2net_x (small)" and worse["origin"] is None


def test_other_files_are_no_records_and_a_record_may_lack_anything(tmp_path):
    scores = tmp_path / "good.txt"
    for content in (
        "no JSON",
        "[]",
        {},
        {"corpus": "asvspoof2021_la", "systems": []},  # such as `nes2net evaluate --json` writes
        {"run": {}, "sha256": "0" * 64},  # the record of other scores
    ):
        write_record(scores, content)
        assert read_origin(scores, "1" * 64) is None
    strange = {"checkpoint": {"recipe": "old"}, "architecture": [], "scored_at": 3}
    write_record(scores, {"run": {}, "failures": {}, **strange})
    origin = read_origin(scores, "1" * 64)
    assert {value for name, value in vars(origin).items() if name != "record"} == {None}


def test_a_record_that_scoring_writes_is_read(spectral_detector, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 16000)
    scores, trials = tmp_path / "scores.txt", [Trial("a", tmp_path / "a.wav")]
    about = {"corpus": {"protocol": "4sec"}, "checkpoint": {"recipe": {"name": "mine"}, "path": "m.pth"}}
    score_trials(spectral_detector, trials, scores, num_samples=8000, num_workers=0, about=about)
    sha256 = hashlib.sha256(scores.read_bytes()).hexdigest()
    origin = read_origin(scores, sha256)
    assert (origin.model, origin.recipe, origin.checkpoint) == ("lps + last + asp_mlp", "mine", "m.pth")
    assert datetime.fromisoformat(origin.scored_at).utcoffset() == timedelta(0)
    assert origin.software.startswith("nes2net ") and "torch" in origin.software
    assert read_origin(scores, "0" * 64) is None
    assert read_scored_by(scores, sha256) == ScoredBy(spectral_detector.fingerprint(), "float32", 8000)
    assert read_scored_by(scores, "0" * 64) is None


@pytest.mark.parametrize(
    ("run", "resolution", "expected"),
    [
        ({"model": "a", "dtype": "bfloat16", "num_samples": None}, None, ScoredBy("a", "bfloat16", None)),
        ({"model": "a", "dtype": "float32", "num_samples": None}, 40, ScoredBy("a", "float32", None, 40.0)),
        ({"model": "a", "dtype": "float32", "num_samples": 9}, "20", ScoredBy("a", "float32", 9)),
        ({"model": "a", "dtype": "float32", "num_samples": -3}, None, None),
        ({"model": "a", "dtype": "float32"}, None, None),
        ({"model": 3, "dtype": "float32", "num_samples": None}, None, None),
    ],
)
def test_what_a_record_says_of_the_detector(tmp_path, run, resolution, expected):
    write_record(tmp_path / "good.txt", {"run": run, "failures": {}, "resolution_ms": resolution})
    assert read_scored_by(tmp_path / "good.txt", "1" * 64) == expected


def test_scores_of_trials_that_the_detector_has_seen_are_marked(case):
    """The report says it for a published model, and for a recipe; not for another corpus or part."""
    checkpoint = {"published_model": "antideepfake_mms_300m", "path": "a.pth"}
    write_record(case / "good.txt", record_of(case / "good.txt", checkpoint=checkpoint))
    trained = {"name": "asvspoof2019_la", "train_split": "train", "dev_split": None}
    data = {"corpora": [trained, {"name": "asvspoof2021_la", "train_split": None, "dev_split": "eval"}]}
    checkpoint = {"recipe": {"name": "mine", "data": data}, "path": "b.pth"}
    write_record(case / "worse.txt", record_of(case / "worse.txt", checkpoint=checkpoint))
    report = report_of(case, "good", "worse")
    trained = "scores of antideepfake_mms_300m on asvspoof2021_la say nothing: it was trained on asvspoof2021_la"
    selected = "scores of mine on asvspoof2021_la are too good: its epoch was selected on asvspoof2021_la"
    assert [origin.seen for origin in report.origins] == [(trained,), (selected,)]
    page = html_page(report)
    assert f'<p class="warning"><b>good</b>: {trained}.</p>' in page and f"<b>worse</b>: {selected}." in page
    write_record(case / "worse.txt", record_of(case / "worse.txt"))
    assert report_of(case, "worse").origins[0].seen is None
    (case / "worse.txt.json").unlink()
    assert "no score file has a record of its scores" in html_page(report_of(case, "worse"))
