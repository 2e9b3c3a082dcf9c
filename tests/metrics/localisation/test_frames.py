"""Labels and scores on other time axes: the published ones, plain implementations, and what is refused."""

import pytest
from builders import zoo
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from nes2net.metrics.localisation import frame_labels
from nes2net.metrics.localisation.frames import (
    RESOLUTIONS,
    align,
    coarsen_labels,
    coarsen_scores,
    pool_labels,
    refine_scores,
)


def test_labels_are_pooled_to_longer_frames_as_by_partialspoofs_code():
    cases = zoo.read("localisation_labels")["pooling"]
    for case in cases:
        for resolution in RESOLUTIONS:
            pooled = pool_labels(case["labels_10ms"].numpy(), resolution // 10)
            assert pooled.tolist() == case[f"labels_{resolution}ms"].tolist()
    assert len(cases) == 13


@pytest.fixture(scope="module")
def conversions():
    """Scores and labels of three utterances at other resolutions, by PartialSpoof's code."""
    cases = zoo.read("localisation_labels")["conversions"]
    assert len(cases) == 3
    return cases


@pytest.mark.parametrize("how, num_left_over", [("min", 1), ("mean", 0), ("max", 0)])
def test_scores_and_labels_of_longer_frames_are_those_of_partialspoofs_code(conversions, how, num_left_over):
    """With mean and maximum, that code exchanges score and label of the left-over frame, which is not compared."""
    for case in conversions:
        scores = case["scores"].numpy()
        labels = case["labels"].numpy()
        for factor in (2, 4, 8, 16, 32):
            coarser = coarsen_scores(scores, factor, how), coarsen_labels(labels, factor)
            expected = [case[f"coarser_{factor}_{how}_{quantity}"].numpy() for quantity in ("scores", "labels")]
            num_compared = len(scores) // factor + num_left_over
            for values, published in zip(coarser, expected):
                assert_allclose(values[:num_compared], published[:num_compared], rtol=0, atol=1e-15)
                assert len(values) == len(published)


def test_scores_and_labels_of_shorter_frames_are_those_of_partialspoofs_code(conversions):
    for case in conversions:
        finer_scores = refine_scores(case["scores"].numpy(), 2)
        scores, labels = align(finer_scores, frame_labels(case["segments"], 10, case["duration"]))
        assert scores.tolist() == case["finer_10ms_scores"].tolist()
        assert labels.tolist() == case["finer_10ms_labels"].tolist()


of_any_frames = given(st.lists(st.integers(-9, 9), min_size=1, max_size=40), st.integers(1, 9))


@of_any_frames
def test_coarsening_frame_scores_undoes_their_refinement_to_shorter_frames(values, factor):
    assert coarsen_scores(refine_scores(values, factor), factor).tolist() == values


@of_any_frames
def test_frame_scores_and_labels_are_cut_to_the_shorter_of_the_two_rows(values, factor):
    shorter = values[: factor + 1]
    for scores, labels in (align(values, shorter), align(shorter, values)):
        assert scores.tolist() == labels.tolist() == shorter
