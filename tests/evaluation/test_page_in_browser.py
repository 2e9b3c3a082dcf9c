"""The page of an evaluation in a real browser: where its plots stand."""

import pytest
from builders.browser import IN_BROWSER, opened_page
from builders.report_case import report_of

from nes2net.evaluation.page import html_page

pytestmark = IN_BROWSER


@pytest.mark.parametrize("systems", [("good", "worse"), ("good", "worse", "useless")])
def test_the_histograms_of_several_systems_stand_below_one_another_beside_the_det_curve(case, systems):
    html = html_page(report_of(case, *systems))
    with opened_page() as page:
        page.route("**/*", lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
        page.goto("http://127.0.0.1:1/")
        det, *histograms = [figure.bounding_box() for figure in page.locator(".plots").first.locator("figure").all()]
    assert len(histograms) == len(systems)
    gap = 24
    below = det["y"]
    for histogram in histograms:
        assert histogram["x"] > det["x"] + det["width"]
        assert below <= histogram["y"] < below + 3 * gap
        below = histogram["y"] + histogram["height"]
