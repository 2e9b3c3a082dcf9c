"""Segments: frames as published, and what is refused."""

from itertools import pairwise

from builders import input_error, zoo
from hypothesis import given
from hypothesis import strategies as st

from nes2net.metrics.localisation import RESOLUTIONS, Segment, frame_labels, map_segments, segments_of_frames

ROUNDING = {"partialspoof": "floor", "wedefense": "round"}


def test_labels_of_frames_from_segments_are_those_of_partialspoofs_and_wedefenses_code():
    cases = zoo.read("localisation_labels")["segments_to_frames"]
    assert len(cases) == 5
    for case in cases:
        for resolution in RESOLUTIONS:
            for rule, last in ROUNDING.items():
                for name, last_frame in ((f"{rule}_{resolution}ms", "ceil"), (f"{rule}_{resolution}ms_{last}", last)):
                    labels = frame_labels(case["segments"], resolution, case["duration"], rule, last_frame)
                    assert labels.tolist() == case[name].tolist(), name


of_any_labels = given(st.lists(st.integers(0, 1), min_size=1, max_size=40), st.sampled_from(RESOLUTIONS))


@of_any_labels
def test_successive_segments_made_of_labels_of_frames_touch_and_differ_in_label(labels, resolution):
    for segment, following in pairwise(segments_of_frames(labels, resolution)):
        assert segment.end == following.start
        assert segment.label != following.label


@of_any_labels
def test_segments_made_of_labels_of_frames_give_these_labels_again(labels, resolution):
    segments = segments_of_frames(labels, resolution)
    duration = len(labels) * resolution / 1000
    for rule in ("partialspoof", "wedefense"):
        assert frame_labels(segments, resolution, duration, rule, "round").tolist() == labels


def test_by_the_rule_start_a_frame_that_starts_in_no_segment_has_no_label():
    segments = [("bonafide", 0.0, 0.03), ("spoof", 0.03, 0.06)]
    assert frame_labels(segments, 20, 0.09, "start").tolist() == [1, 1, 0, -1, -1]


def test_adjacent_segments_whose_new_labels_are_equal_are_merged():
    names = {"A01": "spoof", "A02": "spoof"}
    segments = [("A02", 0.5, 1.0), ("A01", 0.0, 0.5), ("A01", 1.0, 1.5), ("A01", 1.6, 2.0)]
    assert map_segments(segments, names) == [Segment("spoof", 0.0, 1.5), Segment("spoof", 1.6, 2.0)]


def test_mapping_labels_drops_a_segment_of_less_than_a_tenth_of_a_millisecond():
    assert map_segments([("A01", 1.0, 1.00009)], {"A01": "spoof"}) == []


def test_a_segment_with_an_unknown_label_is_refused():
    with input_error("the label of a segment must be 'bonafide' or 'spoof', not 'A07'"):
        frame_labels([("A07", 0.0, 1.0)], 20, 1.0)


def test_a_label_that_the_mapping_lacks_is_refused():
    with input_error("there is no new label for 'x'"):
        map_segments([("x", 0.0, 1.0)], {"A01": "spoof"})
