"""New recordings against those of a calibration: drift is named by its trait, and is rarely found where there is none."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from builders import input_error
from builders.dated_voices import write_voices
from builders.small_parts import SPECTRAL_MODEL
from builders.unfit import write_unfit

from nes2net import Detector
from nes2net.actions.calibration import calibrate_recordings
from nes2net.actions.drift import measure_drift
from nes2net.actions.drift_plot import plot_drift
from nes2net.actions.flags import Learning
from nes2net.scoring.decisions.calibration import fit, load


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return Detector.from_config(SPECTRAL_MODEL)


@pytest.fixture(scope="module")
def calibration(detector, tmp_path_factory):
    """Learned from 60 voices of each class."""
    folder = tmp_path_factory.mktemp("calibration")
    classes = [write_voices(folder / name, seed, 60) for seed, name in enumerate(("real", "fake"))]
    calibrate_recordings(
        detector, *classes, folder / "c.json", Learning(allow_inverted=True), num_samples=16000, num_workers=0
    )
    return load(folder / "c.json")


@pytest.fixture(scope="module")
def drift_of(detector, calibration):
    """A function that compares recordings with the calibration."""
    return lambda *paths, **settings: measure_drift(detector, calibration, paths, **settings)


@pytest.fixture(scope="module")
def genuine(calibration):
    """The same calibration, of its 60 bona fide voices only, of which 5 % may be unusual."""
    (weight,) = calibration.weights
    scores = ((calibration.llrs.bonafide - calibration.offset) / weight).tolist()
    facts = {"scores": scores, "alpha": "5%", "groups": None, "assured": False}
    return replace(calibration, weights=(1.0,), offset=0.0, llrs=None, resamples=None, genuine=facts)


@pytest.fixture
def voices(tmp_path):
    """A function that writes voices into the folder ``new``."""
    return partial(write_voices, tmp_path / "new")


def names(drift):
    return {comparison.name for comparison in drift.found}


@pytest.mark.slow
def test_recordings_like_those_of_the_calibration_show_no_drift_in_any_trait(drift_of, tmp_path):
    for seed in (10, 11, 12):
        drift = drift_of(write_voices(tmp_path / str(seed), seed, 40))
        compared = [comparison.name for comparison in drift.comparisons]
        assert compared == ["llr", "duration", "level", "bandwidth", "embedding", "all traits", "unfit"]
        assert not drift.found


CHANGES = {"level": lambda x: 4 * x, "duration": lambda x: x[:4000]}


@pytest.fixture(scope="module", params=CHANGES)
def changed(request, drift_of, tmp_path_factory):
    """A trait, and the drift of recordings in which it changed."""
    trait = request.param
    return trait, drift_of(write_voices(tmp_path_factory.mktemp(trait) / "new", 20, 30, CHANGES[trait]))


def test_the_trait_that_changed_is_reported_as_drift(changed):
    trait, drift = changed
    assert trait in names(drift)


def test_more_recordings_than_expected_lie_outside_the_usual_range_of_the_trait_that_changed(changed):
    trait, drift = changed
    (row,) = [row for row in drift.result.rows("compared") if row.labels["trait"] == trait]
    assert row["outside"].interval[0] > row.value("expected")


@pytest.fixture(scope="module")
def slightly_louder(drift_of, tmp_path_factory):
    """The drift of recordings whose level is shifted within the usual range."""
    folder = write_voices(tmp_path_factory.mktemp("louder") / "new", 21, 40, lambda samples: 1.3 * samples)
    return drift_of(folder, alpha=0.05)


def test_a_shift_of_the_level_within_the_usual_range_is_noted(slightly_louder):
    (note,) = [note for note in slightly_louder.result.notes if note.startswith("level: ")]
    assert "of the recordings lie above the calibration's median, -2" in note


def test_a_shift_of_the_level_within_the_usual_range_is_no_drift(slightly_louder):
    assert "level" not in names(slightly_louder)


@pytest.fixture(scope="module")
def folder_of_unfit(tmp_path_factory):
    """30 voices, five unfit recordings and a broken file."""
    folder = write_voices(tmp_path_factory.mktemp("unfit") / "new", 30, 30)
    write_unfit(folder)
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture(scope="module")
def drift_with_unfit(drift_of, folder_of_unfit):
    return drift_of(folder_of_unfit)


def test_a_broken_file_is_listed_among_the_failures_of_drift(drift_with_unfit, folder_of_unfit):
    assert list(drift_with_unfit.failures) == [str(folder_of_unfit / "broken.wav")]


def test_a_few_unfit_recordings_are_no_drift(drift_with_unfit):
    assert "unfit" not in names(drift_with_unfit)


def test_unfit_recordings_are_counted_by_remark(drift_with_unfit):
    rows = drift_with_unfit.result.rows("remarks")
    remarks = {row.labels["remark"]: row.value("number") for row in rows}
    expected = {"silence": 2, "constant samples": 1, "a steady sound": 1, "channels that cancel": 1}
    assert expected.items() <= remarks.items()


def test_unfit_recordings_count_in_the_share_of_recordings_that_are_not_decided(drift_with_unfit):
    """Five of 35 are unfit."""
    assert 5 / 35 <= drift_with_unfit.result.header["cannot_tell"] < 0.5


def test_drift_is_reported_if_all_recordings_are_unfit(drift_of, tmp_path):
    text = drift_of(*write_unfit(tmp_path)).result.text()
    assert "drift: unfit: 100 % of the recordings are unfit to decide on" in text


def test_each_day_of_modified_files_has_a_row_with_the_number_and_mean_llr_of_its_recordings(drift_of, voices):
    folder = voices(40, 20)
    days = drift_of(folder)
    rows = days.result.rows("over time")
    assert [row.labels["day"] for row in rows] == [f"2026-03-{day:02}" for day in range(2, 12)]
    assert all(row.value("number") == 2 for row in rows)
    llrs = [recording.values["llr"] for recording in days.recordings if recording.modified.day == 2]
    assert rows[0].value("llr") == pytest.approx(np.mean(llrs))


def test_by_week_each_calendar_week_has_a_row_with_the_number_of_its_recordings(drift_of, voices):
    folder = voices(40, 20)
    weeks = drift_of(folder, by="week").result.rows("over time")
    assert [(row.labels["week"], row.value("number")) for row in weeks] == [("2026-W10", 14), ("2026-W11", 6)]


@pytest.mark.slow
def test_measuring_the_drift_of_the_same_recordings_again_gives_the_same_result_and_picture(drift_of, voices, tmp_path):
    folder = voices(50, 6)
    results = []
    for number in range(2):
        drift = drift_of(folder, batch_size=8)
        plot_drift(tmp_path / f"{number}.png", drift)
        results.append((json.dumps(drift.result.to_dict()), (tmp_path / f"{number}.png").read_bytes()))
    assert results[0] == results[1]


def test_the_share_of_unusual_scores_is_compared_after_calibration_on_genuine_recordings(
    detector, genuine, voices, tmp_path
):
    """Of 60, the threshold is the third lowest: 3/61 of like scores lie below it, and no upper end is unusual."""
    drift = measure_drift(detector, genuine, [voices(70, 6)])
    (row,) = [row for row in drift.result.rows("compared") if row.labels["trait"] == "score"]
    assert row.value("expected") == pytest.approx(3 / 61)
    scores = np.array([recording.score for recording in drift.recordings])
    assert row.value("outside") == np.mean(scores < genuine.rule.threshold)
    assert "unusual below a score of" in drift.result.text()
    assert "that hold 95 %" not in drift.result.text()
    plot_drift(tmp_path / "drift.svg", drift)
    assert f"score: {100 * row.value('outside'):.0f} % unusual, 5 % expected" in (tmp_path / "drift.svg").read_text()


def test_a_recording_that_is_named_twice_is_compared_once(drift_of, voices):
    folder = voices(60, 3)
    assert len(drift_of(folder, folder / "0.wav").recordings) == 3


def test_too_few_recordings_for_alpha_are_warned_of_with_the_number_needed(drift_of, voices):
    folder = voices(60, 3, lambda x: 4 * x)
    for recordings, alpha, message in (
        (folder / "0.wav", 0.01, "1 recording is too few to show drift at `alpha` 0.01: use at least 2"),
        (folder, 1e-5, "3 recordings are too few to show drift at `alpha` 1e-05: use at least "),
    ):
        (warning,) = drift_of(recordings, alpha=alpha).result.warnings
        assert warning.startswith(message)


def test_if_recordings_are_too_few_for_a_trait_the_result_is_too_few_to_tell_with_the_trait_named(
    voices, detector, tmp_path
):
    """Three recordings, all outside of the usual levels of a calibration of ten, cannot show drift of the level."""
    classes = [write_voices(tmp_path / name, seed, 5) for seed, name in enumerate(("real", "fake"))]
    calibrate_recordings(
        detector, *classes, tmp_path / "c.json", Learning(allow_inverted=True), num_samples=16000, num_workers=0
    )
    folder = voices(60, 3, lambda samples: 4 * samples)
    drift = measure_drift(detector, load(tmp_path / "c.json"), [folder], alpha=0.05)
    row = next(row for row in drift.result.rows("compared") if row.labels["trait"] == "level")
    assert row.value("outside") == 1
    assert len(drift.recordings) >= drift.num_needed
    assert drift.result.text().startswith("too few to tell\n")
    assert "level" in drift.result.header["too_few_for"]


def test_drift_from_a_calibration_of_fewer_than_10_recordings_is_refused(detector, voices):
    folder = voices(70, 1)
    with input_error("holds no ratios and no traits of at least 10 recordings"):
        measure_drift(detector, fit([1.0, 2.0], [0.0, 1.5]), [folder])


def test_drift_from_a_calibration_of_several_systems_is_refused(detector, voices):
    folder = voices(70, 1)
    with input_error("the calibration fuses 2 systems"):
        measure_drift(detector, fit(np.eye(2), -np.eye(2)), [folder])


def test_drift_of_no_readable_file_is_refused(drift_of, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with input_error("none of 1 file could be compared: name other recordings; .*broken.wav"):
        drift_of(tmp_path / "broken.wav")
