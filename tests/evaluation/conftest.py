"""Reports that many tests of this folder read."""

from pathlib import Path

import pytest
from builders.report_case import make_case, report_of

from nes2net.evaluation.result import Result


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="session")
def single(case: Path) -> Result:
    return report_of(case, "good")


@pytest.fixture(scope="session")
def several(case: Path) -> Result:
    return report_of(case, "good", "worse", "useless")
