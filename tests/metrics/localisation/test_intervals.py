"""Bootstrap intervals over utterances: those of the metric itself on every resample."""

from contextlib import suppress

import numpy as np
import pytest
from builders import input_error

from nes2net.lib.errors import InputError
from nes2net.metrics.localisation import ScoredUtterance, point_eer, range_eer
from nes2net.metrics.localisation.intervals import interval_of_sums, point_eer_interval, range_eer_interval


def drawn(count, frames, seed, digits):
    """Utterances of about as many frames of 20 ms, half of them bona fide; frames are partly unscored."""
    rng = np.random.default_rng(seed)
    utterances = []
    labels = []
    for number in range(count):
        duration = frames * 0.02 * rng.uniform(0.5, 1.5)
        start = rng.uniform(0, duration / 2)
        truth = (np.arange(int(duration / 0.02)) * 0.02 < start).astype(int)
        truth[truth == 0] = number % 2 == 0
        scores = np.round(rng.normal(1.5 * truth + rng.normal(0, 0.5)), digits)
        scores = scores[: rng.integers(len(truth) * 3 // 4, len(truth)) + 1]
        utterances.append(ScoredUtterance(scores, [("spoof", start, duration if number % 2 else start)], duration))
        labels.append(truth[: len(scores)])
    return utterances, labels


def plain(metric, count, num_resamples, seed):
    """The interval by ``metric(numbers)`` of the utterances of each resample."""
    values = []
    for number in range(num_resamples):
        rng = np.random.default_rng([seed, number])
        while len(values) == number:
            with suppress(InputError):  # a resample without one of the classes is drawn again
                values.append(metric(rng.integers(count, size=count)).eer)
    return np.quantile(values, [0.05, 0.95])


@pytest.mark.parametrize(
    "count, frames, digits, draws", [(3, 5, 1, 70), (8, 40, 0, 15), (40, 60, 2, 15), (40, 60, 9, 15)]
)
@pytest.mark.parametrize("seed, tail", [(0, "bonafide"), (1, "last")])
def test_intervals_of_point_and_range_eer_equal_those_of_utterances_resampled_by_hand(
    count, frames, digits, draws, seed, tail
):
    utterances, labels = drawn(count, frames, seed, digits)
    scores = [u.scores for u in utterances]
    settings = {"num_resamples": draws, "confidence": 0.9, "seed": seed}

    def range_eer_of(index):
        return range_eer([utterances[i] for i in index], 20, tail)

    def point_eer_of(index):
        return point_eer([scores[i] for i in index], [labels[i] for i in index])

    expected = plain(range_eer_of, count, draws, seed)
    assert range_eer_interval(utterances, 20, tail, **settings) == pytest.approx(expected, rel=0, abs=1e-12)
    expected = plain(point_eer_of, count, draws, seed)
    assert point_eer_interval(scores, labels, **settings) == pytest.approx(expected, rel=0, abs=1e-12)


def test_scores_whose_error_rates_are_never_equal_have_an_interval_of_the_range_eer():
    early = ScoredUtterance([-1.0, 1.0], [("spoof", 0.02, 1.0)], 4.0)
    interval = range_eer_interval([early] * 3, 20, num_resamples=5)
    assert interval == pytest.approx([range_eer([early], 20).eer] * 2, abs=1e-12)


def test_intervals_of_point_and_range_eer_are_refused_without_frames_of_both_classes():
    utterance = ScoredUtterance([1.0, -1.0], [("spoof", 0.0, 0.02)], 0.04)
    with input_error("there are no spoofed frames or seconds"):
        range_eer_interval([utterance._replace(segments=[])], 20)
    with input_error("there are no bona fide frames or seconds"):
        point_eer_interval([[1.0]], [[0]])


def ratio(sums):
    return sums[0] / sums[1] if sums[1] else np.nan


def test_the_interval_of_a_ratio_of_sums_spans_the_ratios_of_drawn_utterances():
    interval = interval_of_sums([[1, 3], [1, 1]], ratio, num_resamples=200)
    assert interval == pytest.approx((1 / 3, 1))


def test_draws_whose_figure_is_nan_do_not_count_in_an_interval():
    assert interval_of_sums([[1, 1], [0, 0]], ratio, num_resamples=20) == (1, 1)


def test_the_interval_of_a_figure_that_is_nan_in_all_draws_is_nan():
    assert np.isnan(interval_of_sums([[0, 0]], ratio, num_resamples=20)).all()
