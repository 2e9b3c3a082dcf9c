"""Point-based and range-based EER: the published figures, plain implementations, and what is refused."""

from functools import partial

import numpy as np
import pytest
from builders import input_error, zoo

from nes2net.metrics.localisation import ScoredUtterance, align, measure_frames, point_eer, pool_labels, range_eer

exactly = partial(pytest.approx, rel=0, abs=1e-12)
NAMES = ("a20", "b40", "c80", "d160", "e320", "f640", "g20_ties", "h20_poor")
published = pytest.mark.parametrize("name", NAMES)


def utterances_of(case):
    def utterance(scores, segments, duration, name, labels_10ms=None, **_):
        labels = None if labels_10ms is None else labels_10ms.numpy()
        return ScoredUtterance(scores.numpy(), [tuple(s) for s in segments], duration, labels, name)

    return [utterance(**u) for u in case["utterances"]]


def measured_eers(utterances, resolution, measured_at):
    """The row of the published table, by resolution."""
    return {to: point_eer(*zip(*measure_frames(utterances, resolution, to))) for to in measured_at}


@pytest.fixture
def point_case(name):
    """Published figures of utterances, their resolution, and the utterances."""
    case = zoo.read("localisation_point_eer")[name]
    return case, case["config"]["resolution_ms"], utterances_of(case)


@published
def test_point_eers_thresholds_and_numbers_of_frames_equal_those_of_partialspoofs_program(point_case):
    case, resolution, utterances = point_case
    results = measured_eers(utterances, resolution, case["measured_at_ms"])
    assert [result.eer for result in results.values()] == exactly(case["eer"])
    assert [result.threshold for result in results.values()] == exactly(case["threshold"])
    assert results[resolution][2:] == (case["num_bonafide"], case["num_spoof"])


@published
def test_eer_and_threshold_of_utterances_by_their_lowest_frame_equal_those_of_partialspoofs_program(point_case):
    case, resolution, utterances = point_case
    aligned = [align(u.scores, pool_labels(u.labels_10ms, resolution // 10)) for u in utterances]
    lowest = [(s.min(keepdims=True), labels.min(keepdims=True)) for s, labels in aligned]
    assert point_eer(*zip(*lowest))[:2] == exactly((case["utterance_eer_from_minimum"], case["utterance_threshold"]))


@published
def test_point_eers_of_labels_from_segments_equal_those_of_the_labels_of_frames(point_case):
    case, resolution, utterances = point_case
    from_segments = [u._replace(labels_10ms=None) for u in utterances]
    expected = measured_eers(utterances, resolution, case["measured_at_ms"])
    assert measured_eers(from_segments, resolution, case["measured_at_ms"]) == expected


@published
def test_range_eers_equal_those_of_a_search_of_every_threshold(name):
    """EER, threshold, error rates and seconds are golden numbers, for both rules about the time behind the last frame."""
    case = zoo.read("localisation_range_eer")[name]
    utterances = utterances_of(case)
    resolution = case["config"]["resolution_ms"]
    for tail, key in (("bonafide", "exact"), ("last", "exact_last_score_to_the_end")):
        result = range_eer(utterances, resolution, tail)
        assert result._asdict() == exactly(case[key])


@published
def test_range_eers_equal_those_of_wedefense_up_to_its_bins_of_scores(name):
    case = zoo.read("localisation_range_eer")[name]
    result = range_eer(utterances_of(case), case["config"]["resolution_ms"], "last")
    assert result.eer == pytest.approx(case["wedefense"]["eer"], abs=1e-5)


def test_overlapping_segments_count_once_in_the_range_eer():
    apart = ScoredUtterance([-1.0, 1.0, 1.0], [("spoof", 0.0, 0.02)], 0.06)
    twice = apart._replace(segments=[("spoof", 0.01, 0.02), ("spoof", 0.0, 0.015), ("spoof", 0.005, 0.01)])
    assert range_eer([twice], 20) == pytest.approx(range_eer([apart], 20))


def test_frames_without_a_label_do_not_count_in_the_point_eer():
    assert point_eer([[3.0, 0.0, -9.0, 9.0]], [[1, 0, -1, -1]]) == (0.0, 0.0, 1, 1)


def test_utterances_from_which_no_range_eer_can_be_computed_are_refused():
    utterance = ScoredUtterance([1.0, -1.0], [("spoof", 0.0, 0.02)], 0.04, name="a")
    for changes, message in (
        ({"scores": [np.nan, 1.0]}, "1 of 2 frame scores are NaN"),
        ({"scores": []}, "there are no frame scores"),
        ({"segments": []}, "there are no spoofed frames or seconds"),
        ({"duration": 0.01}, "a: a segment from 0.0 to 0.02 s is not within its 0.01 s"),
        ({"duration": np.nan}, "a: expected one score per frame, .* and a finite duration of at least 0 s"),
    ):
        with input_error(message):
            range_eer([utterance._replace(**changes)], 20)


def test_frames_of_50_ms_cannot_be_made_of_frames_of_20_ms():
    utterance = ScoredUtterance([1.0, -1.0], [("spoof", 0.0, 0.02)], 0.04, name="a")
    with input_error("frames of 50 ms cannot be made of frames of 20 ms"):
        measure_frames([utterance], 20, 50)


def test_the_point_eer_refuses_frames_of_one_class():
    with input_error("there are no bona fide frames"):
        point_eer([[1.0]], [[0]])


def test_the_point_eer_refuses_more_scores_than_labels():
    with input_error(r"utterance 1 has scores of shape \(2,\) and labels of shape \(1,\)"):
        point_eer([[1.0], [1.0, 2.0]], [[1], [0]])
