"""The axes of the histograms of scores."""

import re

import numpy as np
import pytest
from builders.files import write
from builders.report_case import make_case, report_of

from nes2net.evaluation.plots import score_range

RNG = np.random.default_rng(0)


def histograms(result):
    """The histograms of each system's scores, as SVG."""
    _, *plots = result.plots()["DET curves and scores"]
    return [plot.svg for plot in plots]


def test_the_axis_of_a_histogram_of_many_scores_omits_a_thousandth_of_a_class_at_each_end():
    many = [RNG.normal(size=100_000), RNG.normal(5, 1, 100_000)]
    low, high = score_range(many)
    assert (np.mean(many[0] < low), np.mean(many[1] > high)) == pytest.approx((0.001, 0.001), abs=1e-4)


def test_a_histogram_states_how_many_scores_lie_beyond_its_axis(tmp_path):
    folder = make_case(tmp_path, num=600)
    lines = (folder / "good.txt").read_text().splitlines()
    for number, score in enumerate(("1e6", "-1e6", "-1e6")):  # a bona fide trial and two spoofed ones
        lines[number] = f"{lines[number].split()[0]} {score}"
    write(folder / "good.txt", lines)
    (text,) = histograms(report_of(folder, "good"))
    (below,), (above,) = (re.findall(pattern, text) for pattern in (r">◂ .*?(\d+) spoof<", r">(\d+) bona fide.* ▸<"))
    # At most 1 % of the 400 spoofed and of the 200 bona fide trials, because this halves the axis.
    assert (int(below), int(above)) == (3, 1)
