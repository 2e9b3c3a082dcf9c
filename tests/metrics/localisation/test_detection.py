"""F1, overlap and boundaries against plain counts, and what is refused."""

import itertools

import numpy as np
import pytest
from builders import input_error
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net.metrics.localisation import detection, match_boundaries, overlap_of_segments


def test_precision_recall_f1_and_overlap_are_computed_from_sums_over_utterances():
    assert detection([[1, 1, 1], [1, 0, 0]]) == (2 / 3, 2 / 3, 2 / 3, 0.5)


def test_precision_recall_f1_and_overlap_are_nan_only_without_a_denominator():
    nothing_found = detection([0, 0, 2])
    assert np.isnan(nothing_found.precision)
    assert nothing_found[1:] == (0, 0, 0)
    assert np.isnan(detection([0, 0, 0])).all()


def test_overlapping_segments_count_once_in_seconds_that_are_found_spurious_and_missed():
    truth = [[("spoof", 0.0, 1.0), ("spoof", 0.5, 2.0), ("bonafide", 2.0, 4.0)], [("spoof", 0.0, 0.5)]]
    detected = [[("spoof", 1.5, 3.0), ("spoof", 1.5, 1.75)], [("spoof", 0.75, 1.0), ("bonafide", 0.0, 0.5)]]
    assert overlap_of_segments(truth, detected, [4.0, 1.0]).tolist() == [[0.5, 1.0, 1.5], [0.0, 0.25, 0.5]]


@settings(max_examples=30)
@given(st.lists(st.integers(2, 38), unique=True, max_size=4), st.lists(st.integers(2, 38), unique=True, max_size=4))
def test_boundaries_are_matched_as_by_trying_every_pairing(truth, detected):
    times = [sorted(t / 10 for t in numbers)[: len(numbers) // 2 * 2] for numbers in (truth, detected)]
    pairs = [[("spoof", *pair) for pair in zip(edges[::2], edges[1::2])] for edges in times]
    result = match_boundaries([pairs[0]], [pairs[1]], [4.0], tolerance=0.15)
    true_times, detected_times = times
    num_matched = 0
    distance = 0.0
    for size in range(1, min(map(len, times)) + 1):
        for subset in itertools.combinations(true_times, size):
            for order in itertools.permutations(detected_times, size):
                distances = np.abs(np.subtract(subset, order))
                is_better = size > num_matched or distances.sum() < distance
                if is_better and distances.max() <= 0.15 + 1e-6:
                    num_matched = size
                    distance = distances.sum()
    num_spurious = len(detected_times) - num_matched
    assert result.counts.tolist() == [[num_matched, num_spurious, len(true_times) - num_matched]]
    assert result.distances.sum() == pytest.approx(distance, abs=1e-9)


def test_start_and_end_of_an_utterance_are_no_boundaries_of_segments():
    truth = [[("spoof", 0.0, 4.0)], [("spoof", 1.0, 4.0)]]
    detected = [[], [("spoof", 1.02, 3.97)]]
    result = match_boundaries(truth, detected, [4.0, 4.0])
    assert result.counts.tolist() == [[0, 0, 0], [1, 0, 0]]


def test_the_mean_distance_of_boundaries_is_that_of_the_matched_pairs():
    result = match_boundaries([[("spoof", 1.0, 2.0)]], [[("spoof", 1.02, 3.0)]], [4.0])
    assert result.mean_distance == pytest.approx(0.02)


def test_the_mean_distance_of_no_boundaries_is_nan():
    assert np.isnan(match_boundaries([], [], []).mean_distance)


def test_a_segment_that_ends_after_its_utterance_is_refused():
    with input_error(r"utterance 0: a segment from 0.5 to 2.0 s is not within its 1.0 s"):
        overlap_of_segments([[("spoof", 0.5, 2.0)]], [[]], [1.0])
