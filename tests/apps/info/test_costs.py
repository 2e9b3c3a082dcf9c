"""Models and parts are counted, with the figures of their papers."""

import pytest

from nes2net.apps.info.costs import costs_of_part
from nes2net.models.registry import backends, frontends


def test_the_computed_costs_of_nes2net_x_and_of_xls_r_are_those_of_the_paper():
    """0.167 GFLOP on 200 frames, 512,039 parameters; XLS-R 149 GFLOP on 64,600 samples (2504.05657)."""
    backend = costs_of_part(backends, "nes2net_x")
    assert backend.parameters == 512_039
    assert 2 * backend.multiply_adds * 200 * 0.02 == pytest.approx(0.167e9, rel=0.01)  # of 20 ms
    frontend = costs_of_part(frontends, "xlsr_300m")
    assert 2 * frontend.multiply_adds * 64600 / 16000 == pytest.approx(149e9, rel=0.01)


def test_info_and_the_list_of_published_results_show_a_published_min_tdcf(info, output):
    assert "3.29 %, min t-DCF 0.2557 [arXiv 2306.15389]" in " ".join(info("mpif_res2net").split())
    assert "3.29 %, min t-DCF 0.2557 [arXiv 2306.15389]" in output("experiment reproduce").out
