"""The record beside a score file, as the report reads it, and whether the detector has seen the trials."""

import numpy as np
import pytest
import soundfile
from builders.files import write, write_record, write_scores
from builders.report_case import make_case, report_of
from scipy.stats import spearmanr

from nes2net.actions.evaluation import evaluate
from nes2net.data.corpora.trial import Trial
from nes2net.data.registry import corpora
from nes2net.evaluation.judgements import Scores
from nes2net.evaluation.origin import read_origin, read_scored_by, training_in_words, uses_in_words
from nes2net.lib.storage.files import sha256_of
from nes2net.models.provenance import Provenance
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.decisions import ScoredBy
from nes2net.scoring.judgement import ScoreFile
from nes2net.scoring.record import record_of as read_record


def write_full_record(scores, **changes):
    """Write the part of a record of `nes2net score` that a report reads."""
    architecture = {
        "frontend": {"name": "xlsr_300m"},
        "aggregation": {"name": "last"},
        "backend": {"name": "nes2net_x"},
    }
    facts = {
        "run": {"model": "91327857", "num_samples": 64600},
        "failures": {f"utterance {number}": "is damaged" for number in range(10_001)},
        "corpus": {"name": "asvspoof2021_la", "split": "eval", "protocol": "4sec"},
        "checkpoint": {"recipe": {"name": "nes2net_x", "comment": "small"}, "path": "models/run/epoch_3.pth"},
        "scored_at": "2026-01-02T03:04:05+00:00",
        "architecture": architecture,
        "versions": {"nes2net": "0.3.0", "python": "3.11.7", "torch": "2.9.0"},
        "sha256": sha256_of(scores),
    }
    return write_record(scores, **facts | changes)


@pytest.fixture
def case(tmp_path):
    return make_case(tmp_path, num=60)


def test_the_source_of_scores_is_read_from_their_record(case):
    """Model, checkpoint, recipe, protocol, time and software."""
    path = write_full_record(case / "good.txt")
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
    assert report.header["sources"] == {"good": facts, "worse": {}}


def test_other_files_beside_scores_are_not_read_as_their_records(tmp_path):
    scores = write(tmp_path / "good.txt", "a 1\n")
    evaluated = '{"corpus": "asvspoof2021_la", "systems": []}'
    for content in ("no JSON", "[]", "{}", evaluated):
        write(tmp_path / "good.txt.json", content)
        assert read_origin(ScoreFile.of(scores)) == ({}, [])


def test_model_recipe_and_checkpoint_are_read_from_the_record_that_scoring_writes(spectral_detector, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 16000)
    scores = tmp_path / "scores.txt"
    trials = [Trial("a", tmp_path / "a.wav")]
    recorded_facts = {"corpus": {"protocol": "4sec"}, "checkpoint": {"recipe": {"name": "mine"}, "path": "m.pth"}}
    settings = ScoringSettings(num_samples=8000, num_workers=0)
    judge_trials(spectral_detector, trials, scores, Scores(), about=recorded_facts, settings=settings)
    facts = read_origin(ScoreFile.of(scores)).facts
    assert facts["model"] == "lps + last + asp_mlp"
    assert facts["recipe"] == "mine"
    assert facts["checkpoint"] == "m.pth"


def test_a_record_is_not_read_once_its_scores_have_changed(tmp_path):
    scores = write(tmp_path / "scores.txt", "a 0.5\n")
    write_record(scores, sha256=sha256_of(scores))
    assert read_record(scores) is not None
    write(scores, "a 1.0\n")
    assert read_record(scores) is None


def scored_by_record(folder, run, resolution):
    """The detector and the settings that a record of this run and resolution names."""
    write_record(folder / "good.txt", run={"model": "a", "dtype": "float32", **run}, resolution_ms=resolution)
    return read_scored_by(read_record(folder / "good.txt"))


def test_the_detector_and_its_settings_are_read_from_the_record_of_scores(tmp_path):
    assert scored_by_record(tmp_path, {"num_samples": None}, 40) == ScoredBy("a", "float32", None, 40.0)


def test_a_record_with_a_resolution_that_is_no_number_names_no_detector(tmp_path):
    assert scored_by_record(tmp_path, {"num_samples": 9}, "short") is None


def test_a_record_without_the_length_that_was_scored_names_no_detector(tmp_path):
    assert scored_by_record(tmp_path, {}, None) is None


@pytest.mark.slow
def test_scores_of_trials_that_the_detector_has_seen_are_warned_of(case):
    """For a published model, and for a recipe."""
    published = {"published_model": "antideepfake_mms_300m", "path": "a.pth"}
    own_recipe = trained_on(uses("asvspoof2019_la", "train"), uses("asvspoof2021_la", dev="eval"))
    for name, checkpoint in (("good", published), ("worse", {**own_recipe, "path": "b.pth"})):
        write_full_record(case / f"{name}.txt", checkpoint=checkpoint)
    report = report_of(case, "good", "worse")
    trained = "scores of antideepfake_mms_300m on asvspoof2021_la say nothing: it was trained on asvspoof2021_la"
    selected = "scores of mine on asvspoof2021_la are too good: its epoch was selected on asvspoof2021_la"
    assert report.warnings == [trained, selected]


# Whether a detector has seen the trials that it scores


def trained_on(*corpora, name="mine", **more):
    """The record of a detector whose recipe has these corpora."""
    return {"recipe": {"name": name, "data": {"corpora": list(corpora)}}, **more}


def uses(name, train=None, dev=None, **more):
    return {"name": name, "train_split": train, "dev_split": dev, **more}


OWN = trained_on(uses("generic", "train", root="./own"), uses("in_the_wild", dev="eval", root="DB", dev_phase=None))
PROGRESS = trained_on(uses("asvspoof2019_la", "dev"), uses("asvspoof2021_la", dev="eval", dev_phase="progress"))
COPY = trained_on(name="copy", started_from=[Provenance.read(OWN).only_training_data().to_dict()])
SECOND = trained_on({"name": "asvspoof5"}, name="second", started_from=[{"published_model": "AASIST"}, 3])
THIRD = trained_on(
    {"name": "ctrsvdd"},
    name="third",
    started_from=[Provenance.read({**SECOND, "epoch": 3}).only_training_data().to_dict()],
)


def warnings_of(record, scored):
    corpus, split, *phase = scored.split()
    provenance = Provenance(record) if isinstance(record, str) else Provenance.read(record)
    return uses_in_words(provenance, corpus, split, "own", *phase)


@pytest.mark.parametrize(
    "record, scored, how",
    [
        ("antideepfake_xlsr_1b", "asvspoof2021_df eval", "it was trained on asvspoof2021_df"),
        ("antideepfake_xlsr_1b", "asvspoof2019_la dev", "its epoch was selected on asvspoof2019_la dev"),
        (OWN, "generic train", "it was trained on generic train"),
        (OWN, "generic all", "it was trained on generic train"),
        # The progress trials of ASVspoof 2021 are in its only split.
        (PROGRESS, "asvspoof2021_la eval", "its epoch was selected on asvspoof2021_la progress"),
        (trained_on(uses("asvspoof2021_la", "eval")), "asvspoof2021_la eval hidden", "trained on asvspoof2021_la"),
        # A list of one's own that was scored as a whole.
        (trained_on({"name": "generic", "root": "own"}), "generic all train", "it was trained on generic train"),
        # Each start may have a start of its own.
        (COPY, "generic train", "mine, from which it started, was trained on generic train"),
        (COPY, "in_the_wild eval", "the epoch of mine, from which it started, was selected on in_the_wild eval"),
        (THIRD, "asvspoof5 train", "say nothing: second, from which it started, was trained on asvspoof5 train"),
        (THIRD, "asvspoof2019_la dev", "of AASIST, from which it started, was selected on asvspoof2019_la dev"),
    ],
)
def test_a_warning_says_how_a_detector_has_seen_the_trials(record, scored, how):
    (line,) = warnings_of(record, scored)
    assert line.endswith(how)


@pytest.mark.parametrize(
    "record, scored",
    [
        ("antideepfake_xlsr_1b", "in_the_wild eval"),
        (OWN, "generic eval"),
        (PROGRESS, "asvspoof2021_la eval eval"),
        (trained_on({"name": "generic", "root": "own"}), "generic all eval"),
    ],
)
def test_there_is_no_warning_of_trials_that_a_detector_has_not_seen(record, scored):
    assert warnings_of(record, scored) == []


def test_a_field_started_from_of_a_record_that_is_no_list_is_ignored():
    """A stranger may have written the record."""
    assert warnings_of({"started_from": {"published_model": "AASIST"}}, "asvspoof2019_la dev") == []


def test_a_warning_says_that_fewer_trials_than_the_official_ones_may_have_been_in_training():
    few = [Trial("a", label="bonafide"), Trial("b", label="spoof")]
    described = corpora.get("asvspoof2019_la").describe_trials(few, "train")
    (line,) = uses_in_words(Provenance("AASIST"), "asvspoof2019_la", "train", trials=described)
    assert "AASIST on asvspoof2019_la may say nothing: it was trained on asvspoof2019_la train, which may" in line


def test_a_warning_says_that_the_official_trials_were_in_training():
    (line,) = uses_in_words(Provenance("AASIST"), "asvspoof2019_la", "train", trials={"official": True})
    assert line.endswith("asvspoof2019_la say nothing: it was trained on asvspoof2019_la train")


def test_trials_of_a_list_count_as_seen_only_if_the_list_is_in_the_folder_of_training():
    in_this_folder = trained_on(uses("generic", "train", root="."))
    assert not uses_in_words(Provenance.read(OWN), "generic", "train", "another")
    assert not uses_in_words(Provenance.read(in_this_folder), "generic", "train")
    assert len(uses_in_words(Provenance.read(OWN), "generic", "train", "own")) == 1


def test_training_data_can_be_stated_without_folders():
    stated = str(Provenance.read(OWN).only_training_data(folders=False))
    assert "in_the_wild" in stated
    assert "root" not in stated


def test_training_data_that_nobody_states_are_called_unstated():
    """In the warning of scores, and in the line on the training of a detector."""
    (line,) = uses_in_words(Provenance("spectra_aasist"), "in_the_wild", "eval")
    assert line == "scores of spectra_aasist on in_the_wild may say nothing: nobody states what it was trained on"
    assert training_in_words(Provenance("spectra_aasist")).startswith(
        "spectra_aasist, whose training data are not stated, attacks until"
    )


def scores_with_record(path, scores, **changes):
    """A score file with the record of a run on a CPU, in which some facts differ."""
    write_scores(path, scores)
    run = {"model": "a" * 64, "num_samples": 64600, "dtype": "float32", "trials": "b" * 64} | changes.pop("run", {})
    facts = {"sha256": sha256_of(path), "threads": 4, "versions": {"torch": "2.7.0"}}
    write_record(path, run=run, **facts | changes)
    return path


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The evaluation of the scores of a detector, the same scores rounded in a run that differs, and a constant."""
    tmp_path = tmp_path_factory.mktemp("compared")
    rows = ["path,label"]
    scores = {}
    for number in range(40):
        rows.append(f"u{number},{('fake', 'real')[number % 2]}")
        scores[f"u{number}"] = number * 7 % 40 + 10 * (number % 2)
    key = write(tmp_path / "key.csv", rows)
    first = scores_with_record(tmp_path / "float32.txt", scores)
    rounded = {id: score // 8 for id, score in scores.items()}
    settings = {"dtype": "bfloat16", "num_samples": None, "trials": "c" * 64}
    second = scores_with_record(tmp_path / "bfloat16.txt", rounded, run=settings, versions={"torch": "2.8.0"})
    third = scores_with_record(tmp_path / "other.txt", dict.fromkeys(scores, 1), run={"model": "d" * 64})
    result = evaluate("generic", [first, second, third], key, num_resamples=5)
    return result, [*scores.values()], [*rounded.values()]


def test_scores_of_two_files_are_compared_by_spearmans_rank_correlation(compared):
    result, scores, rounded = compared
    first, *_ = result.rows("differences")
    assert first["rank_correlation"].value == pytest.approx(spearmanr(scores, rounded).statistic)


def test_scores_have_no_rank_correlation_with_scores_that_are_all_equal(compared):
    _, *with_constant = compared[0].rows("differences")
    assert [row["rank_correlation"].value for row in with_constant] == [None, None]


def test_a_note_says_how_the_records_of_one_detector_differ(compared):
    differences = "num_samples (64600, None), dtype (float32, bfloat16), trials, torch (2.7.0, 2.8.0)"
    note = f"float32 and bfloat16 are scores of one detector, and their records differ in {differences}"
    assert [text for text in compared[0].notes if "one detector" in text] == [note]
