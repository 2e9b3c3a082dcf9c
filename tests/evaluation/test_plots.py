"""The axes and bins of the plots, and what they say of themselves."""

import re

import numpy as np
import pytest
from builders.files import write, write_scores
from builders.report_case import make_case, report_of

from nes2net.evaluation.plots import num_bins, score_range
from nes2net.scoring.score_file import read_scores

RNG = np.random.default_rng(0)


def histograms(result):
    """The histograms of each system's scores, as SVG."""
    _, *plots = result.plots()["DET curves and scores"]
    return [plot.svg for plot in plots]


def test_the_axis_holds_all_of_few_scores():
    assert score_range([np.array([1.0, 2, 3]), np.array([-1.0, 0])]) == (-1, 3)


def test_the_axis_omits_the_extremes_of_many_scores():
    many = [RNG.normal(size=100_000), RNG.normal(5, 1, 100_000)]
    low, high = score_range(many)
    assert (np.mean(many[0] < low), np.mean(many[1] > high)) == pytest.approx((0.001, 0.001), abs=1e-4)
    # One wild score does not flatten the plot, and a long tail stays.
    for num in (200, 20_000):
        assert score_range([np.append(RNG.normal(size=num), 1e9), RNG.normal(size=num)])[1] < 10
    probabilities = np.concatenate((np.full(900, 1e-6), RNG.uniform(size=100)))
    assert score_range([probabilities, 1 - probabilities]) == pytest.approx((0, 1), abs=1e-5)


def test_equal_scores_have_an_axis():
    low, high = score_range([np.ones(3), np.ones(4)])
    assert low < 1 < high


def test_more_trials_of_the_smaller_class_have_more_bins():
    bins = [num_bins([RNG.normal(size=n), RNG.normal(size=n)], -4, 4) for n in (5, 100, 1000, 100_000)]
    assert bins == sorted(set(bins))
    assert bins[0] == 5
    assert bins[-1] == 100
    assert num_bins([RNG.normal(size=30), RNG.normal(size=100_000)], -4, 4) < 20


def test_an_axis_counts_what_lies_beyond_it(tmp_path):
    folder = make_case(tmp_path, num=600)
    lines = (folder / "good.txt").read_text().splitlines()
    for number, score in enumerate(("1e6", "-1e6", "-1e6")):  # a bona fide trial and two spoofed ones
        lines[number] = f"{lines[number].split()[0]} {score}"
    write(folder / "good.txt", lines)
    (text,) = histograms(report_of(folder, "good"))
    (below,), (above,) = (re.findall(pattern, text) for pattern in (r">◂ .*?(\d+) spoof<", r">(\d+) bona fide.* ▸<"))
    assert int(below) >= 2
    assert int(above) >= 1


def test_a_histogram_states_the_threshold_of_the_eer(single):
    assert f"threshold of the EER: {single['threshold'].value:.4g}" in histograms(single)[0]


def test_histograms_share_axes_if_their_scores_have_one_scale(tmp_path):
    def labels(*systems):
        """The numbers at the ticks of the axes of each plot."""
        texts = histograms(report_of(folder, *systems))
        return [[number.replace("−", "-") for number in re.findall(r">(−?[\d.]+)</text>", text)] for text in texts]

    folder = make_case(tmp_path, num=600)
    ids, scores = read_scores(folder / "good.txt")
    write_scores(folder / "tenfold.txt", dict(zip(ids, 10 * scores)))
    good, worse = labels("good", "worse")
    assert [good] == [worse] != labels("good")
    good, larger = labels("good", "tenfold")
    assert "-20" in larger
    assert "-20" not in good
    for label in (*worse, *larger):  # steps are 1, 2 or 5 times a power of ten
        assert label.strip("-0.") in ("", "1", "2", "4", "5", "6", "8", "15", "25"), label
