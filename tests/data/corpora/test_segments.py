"""Segments that cover their utterances: gaps, overlaps, contradictions."""

from itertools import pairwise

import numpy as np
import pytest
from builders import input_error
from builders.files import write
from hypothesis import given
from hypothesis import strategies as st

from nes2net.data.corpora.segments import check_labels, covering_segments, fill_gaps, labels_of
from nes2net.data.corpora.trial import Trial
from nes2net.metrics.localisation import Segment, pool_labels, read_rttm, rttm_text

LABELS = {"bonafide": "bonafide", "spoof": "spoof", "fake": "spoof"}


def read_segments(path, durations, labels, uncovered=None):
    return covering_segments(read_rttm(path), path, durations, labels, uncovered)


of_any_segments = given(
    st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=6), st.integers(0, 5)
)


def filled_segments(lengths_and_labels, shift):
    """Segments in any order, their times off a grid of 10 ms by less than a millisecond, filled; labels of 10 ms."""
    rng = np.random.default_rng(shift)
    segments = []
    labels = []
    for length, bonafide in lengths_and_labels:
        start = max(0.0, len(labels) / 100 + rng.uniform(-4e-4, 4e-4))
        labels += [int(bonafide)] * length
        end = len(labels) / 100 + rng.uniform(-4e-4, 4e-4)
        segments.append(Segment("bonafide" if bonafide else "spoof", start, end))
    rng.shuffle(segments)
    return fill_gaps(segments, len(labels) / 100), labels


@of_any_segments
def test_filling_gaps_makes_segments_of_alternating_labels_from_0_to_the_end_of_the_utterance(
    lengths_and_labels, shift
):
    covered, labels = filled_segments(lengths_and_labels, shift)
    assert covered[0].start == 0
    assert covered[-1].end == len(labels) / 100
    for a, b in pairwise(covered):
        assert a.end == b.start
        assert a.label != b.label


@of_any_segments
def test_labels_of_frames_of_10_ms_are_those_of_their_segments(lengths_and_labels, shift):
    covered, labels = filled_segments(lengths_and_labels, shift)
    assert labels_of({"a": covered}, 10)["a"].tolist() == labels


@of_any_segments
def test_labels_of_frames_of_640_ms_are_pooled_from_those_of_10_ms(lengths_and_labels, shift):
    covered, labels = filled_segments(lengths_and_labels, shift)
    assert labels_of({"a": covered}, 640)["a"].tolist() == pool_labels(labels, 64).tolist()


def test_time_that_an_rttm_file_of_only_spoofed_segments_leaves_out_is_bona_fide(tmp_path):
    path = write(tmp_path / "a.rttm", rttm_text({"a": [("fake", 0.5, 1.0)], "b": [("Spoof", 0.0, 0.9)], "c": []}))
    segments = read_segments(path, {"a": 1.5, "b": 0.9}, LABELS)
    assert [s[:3] for s in segments["a"]] == [("bonafide", 0, 0.5), ("spoof", 0.5, 1), ("bonafide", 1, 1.5)]
    assert segments["b"] == [("spoof", 0, 0.9, None)]


def test_a_last_frame_that_a_segment_covers_only_in_part_has_the_label_of_that_segment():
    assert labels_of({"bonafide": [Segment("bonafide", 0.0, 0.0149)]}, 10)["bonafide"].tolist() == [1]
    assert labels_of({"a": [Segment("bonafide", 0.0, 2.505004)]}, 10)["a"].min() == 1  # 250.5 frames, to 5 decimals


def test_time_without_segment_is_refused_if_another_recording_in_the_rttm_has_a_bona_fide_segment(tmp_path):
    both = write(tmp_path / "b.rttm", rttm_text({"a": [("fake", 0.5, 1.0)], "b": [("bonafide", 0.0, 0.9)]}))
    with input_error(r"b\.rttm: a: no segment covers 0\.000 to 0\.500 s: add its segment"):
        read_segments(both, {"a": 1.5, "b": 0.9}, LABELS)


def test_time_without_segment_gets_the_label_asked_for(tmp_path):
    path = write(tmp_path / "a.rttm", rttm_text({"a": [("bonafide", 0.5, 1.0)]}))
    labels = labels_of(read_segments(path, {"a": 1.5}, LABELS, "spoof"), 10)["a"]
    assert labels.tolist() == [0] * 50 + [1] * 50 + [0] * 50


@pytest.mark.parametrize(
    "segments, message",
    [
        ([("spoof", 0.0, 1.2)], r"a: a segment from 0\.000 to 1\.200 s cannot lie in an utterance of 1\.000 s"),
        ([("spoof", 0.0, 0.5), ("bonafide", 0.4, 1.0)], "a: segments of both labels cover 0.400 to 0.500 s"),
        ([("bonafide", 0.0, 0.5)], "a: no segment covers 0.500 to 1.000 s"),
        (
            [("A07", 0.0, 1.0)],
            "unknown labels A07; expected bonafide, spoof, fake .rename them with nes2net.metrics.localisation.map_rttm",
        ),
    ],
)
def test_segments_that_do_not_give_each_moment_of_an_utterance_one_known_label_are_refused(tmp_path, segments, message):
    with input_error(rf"a\.rttm: {message}"):
        read_segments(write(tmp_path / "a.rttm", rttm_text({"a": segments})), {"a": 1.0}, LABELS)


def test_a_segment_that_ends_before_it_starts_is_refused():
    with input_error(r"a segment from 0\.800 to 0\.200 s cannot lie"):
        fill_gaps([Segment("spoof", 0.8, 0.2)], 1.0, "bonafide")


def test_utterances_whose_label_contradicts_their_segments_are_refused_with_ids_and_labels():
    trials = [Trial("a", label="bonafide"), Trial("b", label="spoof"), Trial("c"), Trial("d", label="spoof")]
    check_labels({"a": False, "b": True, "c": True}, trials, "x.rttm")
    message = r"2 utterances have another label .*: a \(bonafide, some of it spoof\), b \(spoof, none of it spoof\); correct one of them$"
    with input_error(f"^x.rttm: {message}"):
        check_labels({"a": True, "b": False, "c": True}, trials, "x.rttm")
