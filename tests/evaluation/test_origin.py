"""The record beside a score file, as the report reads it, and whether the detector has seen the trials."""

import hashlib
import json
from datetime import datetime, timedelta

import numpy as np
import pytest
import soundfile
from builders.report_case import make_case, report_of

from nes2net.corpora.trial import Trial
from nes2net.decisions import ScoredBy
from nes2net.evaluation.origin import Origin, read_origin, read_scored_by, seen
from nes2net.evaluation.page import html_page
from nes2net.published_models import start_of
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


def test_what_a_record_says_of_the_detector(tmp_path):
    for run, resolution, expected in (
        ({"num_samples": None}, 40, ScoredBy("a", "float32", None, 40.0)),
        ({"num_samples": 9}, "20", ScoredBy("a", "float32", 9)),
        ({"num_samples": -3}, None, None),
        ({}, None, None),
        ({"model": 3, "num_samples": None}, None, None),
    ):
        facts = {"model": "a", "dtype": "float32", **run}
        write_record(tmp_path / "good.txt", {"run": facts, "failures": {}, "resolution_ms": resolution})
        assert read_scored_by(tmp_path / "good.txt", "1" * 64) == expected, run


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


# Whether a detector has seen the trials that it scores


@pytest.mark.parametrize(
    "name, corpus, split, how",
    [
        ("antideepfake_xlsr_1b", "asvspoof2021_df", "eval", "trained on asvspoof2021_df"),
        ("antideepfake_xlsr_1b", "asvspoof2019_la", "eval", "trained on asvspoof2019_la eval"),
        ("antideepfake_xlsr_1b", "asvspoof2019_la", "dev", "selected on asvspoof2019_la dev"),
        ("antideepfake_xlsr_1b", "in_the_wild", "eval", ""),
        ("multiapi_nes2net_la", "in_the_wild", "eval", "selected on in_the_wild"),
        ("wav2vec2_Nes2Net_X", "asvspoof2021_la", "eval", ""),
        ("WavLM_Nes2Net", "ctrsvdd", "train", "trained on ctrsvdd train"),
    ],
)
def test_published_models(name, corpus, split, how):
    lines = seen({"published_model": name}, corpus, split)
    assert len(lines) == bool(how) and all(line.endswith(how) and name in line for line in lines)


def test_runs_of_this_toolkit(tmp_path):
    """A corpus of one's own is known by its folder."""
    own = {"name": "generic", "root": str(tmp_path), "train_split": "train", "dev_split": "dev"}
    record = {"recipe": {"name": "mine", "data": {"corpora": [own]}}}
    trained = "scores of mine on generic say nothing: it was trained on generic train"
    assert seen(record, "generic", "train", tmp_path / ".") == [trained]
    assert len(seen(record, "generic", "all", tmp_path)) == 2
    assert not seen(record, "generic", "eval", tmp_path)
    assert not seen(record, "generic", "train", tmp_path / "another")
    assert not seen({"recipe": "old", "published_model": 3}, "generic", "train")


def test_runs_on_several_corpora(tmp_path):
    generic = {"name": "generic", "root": str(tmp_path), "train_split": "train", "dev_split": None}
    wild = {"name": "in_the_wild", "root": "DB", "train_split": None, "dev_split": "eval", "dev_phase": None}
    record = {"recipe": {"name": "mine", "data": {"corpora": [generic, wild]}}}
    for found in (record, {"started_from": [start_of(record)]}):
        (line,) = seen(found, "generic", "train", tmp_path)
        assert "trained on generic train" in line
        (line,) = seen(found, "in_the_wild", "eval")
        assert "selected on in_the_wild eval" in line
        assert not seen(found, "asvspoof2019_la", "train") and not seen(found, "generic", "dev", tmp_path)
    assert "root" not in str(start_of(record, places=False)["recipe"]["data"]["corpora"])


def test_a_corpus_of_phases():
    """The progress trials of ASVspoof 2021 are in its only split; an evaluation of others does not count them."""
    trains = {"name": "asvspoof2019_la", "train_split": "dev", "dev_split": None}
    selects = {"name": "asvspoof2021_la", "train_split": None, "dev_split": "eval"}
    data = {"corpora": [trains, {**selects, "dev_phase": "progress"}]}
    record = {"recipe": {"name": "mine", "data": data}}
    selected = ["scores of mine on asvspoof2021_la are too good: its epoch was selected on asvspoof2021_la progress"]
    for phase in (None, "progress", "all"):
        assert seen(record, "asvspoof2021_la", "eval", phase=phase) == selected
    assert not seen(record, "asvspoof2021_la", "eval", phase="eval")
    assert seen({"recipe": {"data": {"corpora": [trains, selects]}}}, "asvspoof2021_la", "eval", phase="hidden")
    # A list of one's own that was scored as a whole.
    generic = {"recipe": {"data": {"corpora": [{"name": "generic", "root": "."}]}}}
    assert len(seen(generic, "generic", "all", ".", phase="eval")) == 0
    assert len(seen(generic, "generic", "all", ".", phase="train")) == 1


def test_what_a_training_started_from(tmp_path):
    """Each start may have a start of its own; records of others may be anything."""
    data = {"corpora": [{"name": "asvspoof5"}]}
    second = {"recipe": {"name": "second", "data": data}, "started_from": [{"published_model": "AASIST"}, 3]}
    recipe = {"name": "third", "data": {"corpora": [{"name": "ctrsvdd"}]}}
    record = {"recipe": recipe, "started_from": [start_of({**second, "epoch": 3})]}
    for corpus, split, how in (
        ("ctrsvdd", "train", "say nothing: it was trained on ctrsvdd train"),
        ("asvspoof5", "train", "say nothing: second, from which it started, was trained on asvspoof5 train"),
        ("asvspoof2019_la", "dev", "are too good: the epoch of AASIST, from which it started, was selected on "),
    ):
        (line,) = seen(record, corpus, split)
        assert line.startswith(f"scores of third on {corpus} {how}")
    assert not seen({"started_from": {"published_model": "AASIST"}}, "asvspoof2019_la", "dev")
