"""`nes2net score --calibration`: decisions beside a score file, as Python computes them; runs that were interrupted."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from builders.files import read_json

from nes2net.data.corpora import asvspoof2019_la
from nes2net.scoring.decisions import CANNOT_TELL, Decider, OperatingPoint, Population, ScoredBy, fit, load
from nes2net.scoring.journal import Journal, JournalRow, stamp
from nes2net.scoring.measuring import TraitsOutput, forget_traits, measure_trials
from nes2net.scoring.record import recordings_digest
from nes2net.scoring.score_file import read_scores

SAMPLES = 8000


def measured(trials):
    traits = measure_trials(trials, "measured", SAMPLES, num_workers=0)[0]
    forget_traits("measured")
    return traits


@pytest.fixture
def score(corpus, spectral_detector, workdir, command):
    """A function that scores the development trials with a calibration, and returns rows, record and what is said."""
    spectral_detector.save("model.pth")
    scored_by = ScoredBy(spectral_detector.fingerprint(), "float32", SAMPLES)
    traits = list(measured(asvspoof2019_la.CORPUS.trials(corpus, "dev")).values())
    plain = replace(fit([1.0, 0.5, -0.25], [-1.0, 0.25, 0.0, -2.0]), scored_by=scored_by)
    plain.save("plain.json")
    replace(plain, population=Population.fit(traits, np.arange(len(traits)) < 6)).save("measured.json")
    replace(plain, scored_by=replace(scored_by, fingerprint="0" * 64)).save("other.json")

    def run(flags, status=0):
        words = f"score asvspoof2019_la {corpus} --split dev --model model.pth --device cpu --samples {SAMPLES}"
        exit_status, out, err = command(f"{words} --workers 0 --out dev.txt {flags}")
        assert exit_status == status, err
        table = workdir / "dev.txt.decisions.csv"
        record = workdir / "dev.txt.decisions.json"
        if status or not table.exists():
            return [], {}, out, err
        return list(csv.DictReader(table.read_text().splitlines())), read_json(record), out, err

    return run


DECIDE = "--calibration plain.json --operating-point cost:1,10,0.5 --prior 0.2"


@pytest.fixture
def decider(score):
    """What decides by the flags DECIDE."""
    return Decider(load("plain.json"), 0.2, OperatingPoint.parse("cost:1,10,0.5"))


def test_the_table_beside_a_score_file_has_the_decisions_of_the_class_decider(score, decider):
    rows = score(DECIDE)[0]
    ids, scores = read_scores("dev.txt")
    assert [row["id"] for row in rows] == ids
    for row, value in zip(rows, scores.tolist()):
        expected = decider(value)
        numbers = [float(row[key]) for key in ("score", "llr", "probability")]
        assert numbers == [value, expected.llr, expected.probability]
        assert (row["decision"], row["reason"], row["p_value"]) == (expected.decision, "", "")


def test_the_record_of_decisions_has_their_basis_their_calibration_and_their_counts(score, decider):
    rows, record, *_ = score(DECIDE)
    assert record["basis"] == json.loads(json.dumps(decider.basis()))
    assert record["calibration"] == "plain.json"
    counts = record["counts"]
    assert counts == {name: sum(row["decision"] == name for row in rows) for name in counts}


def test_deciding_again_or_with_another_prior_changes_no_score_and_only_the_probabilities(score, tmp_path):
    score("")
    scores = (tmp_path / "dev.txt").read_bytes()
    table = tmp_path / "dev.txt.decisions.csv"
    score(DECIDE)
    written = table.stat().st_mtime_ns
    score(DECIDE)
    assert table.stat().st_mtime_ns == written
    rows = score("--calibration plain.json --prior 0.5")[0]
    decider = Decider(load("plain.json"), 0.5)
    assert [float(row["probability"]) for row in rows] == [decider(float(row["score"])).probability for row in rows]
    assert (tmp_path / "dev.txt").read_bytes() == scores


def test_recordings_that_an_interrupted_run_measured_are_not_measured_again(score, corpus, workdir):
    """The decision uses a level from the file of the interrupted run that no recording has."""
    flags = "--calibration measured.json --abstain 0.1"
    rows = score(flags)[0]
    trials = asvspoof2019_la.CORPUS.trials(corpus, "dev")
    traits = measured(trials[:2])
    unheard = traits[trials[1].id]._replace(level=-110.0)
    path = workdir / "dev.txt.traits.partial"
    audio = [stamp(trial.path) for trial in trials]
    columns = "duration level bandwidth judged unfit clipping"
    run = {"traits": columns, "trials": recordings_digest(trials), "num_samples": SAMPLES}
    with Journal(path, run, TraitsOutput().to_json) as earlier:
        earlier.add(
            {trials[0].id: JournalRow(traits[trials[0].id], audio[0]), trials[1].id: JournalRow(unheard, audio[1])}
        )
    (workdir / "dev.txt.decisions.json").write_text("{}")
    again = score(flags)[0]
    assert again[1]["decision"] == CANNOT_TELL
    assert "its level, -110.0 dB" in again[1]["reason"]
    assert [again[0], *again[2:]] == [rows[0], *rows[2:]]


def test_an_unfit_calibration_is_refused_before_scoring(score, tmp_path):
    for flags, message in (
        ("--calibration other.json", "the calibration does not belong to this detector"),
        (
            "--calibration plain.json --judgement frames",
            "decides only on scores of recordings, not on scores of frames",
        ),
    ):
        assert message in score(flags, status=2)[3]
        assert not (tmp_path / "dev.txt").exists()
