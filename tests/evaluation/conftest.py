"""Reports that many tests of this folder read."""

import pytest
from builders.report_case import make_case, report_of


@pytest.fixture(scope="session")
def case(tmp_path_factory):
    return make_case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="session")
def single(case):
    return report_of(case, "good")


@pytest.fixture(scope="session")
def several(case):
    return report_of(case, "good", "worse", "useless")


@pytest.fixture(scope="session")
def few(tmp_path_factory):
    """The report of 10 bona fide and 20 spoofed trials."""
    return report_of(make_case(tmp_path_factory.mktemp("few"), num=30), "good")
