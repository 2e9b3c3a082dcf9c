"""The benchmarks of `scripts/bench`: plain transcriptions agree with the metrics, and names are free."""

from importlib.metadata import packages_distributions

import pytest
from builders.scripts import SCRIPTS, loaded


def test_plain_implementations_of_metrics_in_the_benchmark_agree_with_the_package():
    benchmark = loaded("benchmarks/metrics.py")
    for num_trials in (30, 500):
        for name, (fast, plain, _) in benchmark.contenders(num_trials).items():
            assert benchmark.value(plain()) == pytest.approx(benchmark.value(fast()), abs=1e-12), name


def test_no_benchmark_has_the_name_of_an_installed_package():
    """Their folder comes first on the path, so numba would import a `coverage` of ours."""
    assert not {path.stem for path in (SCRIPTS / "benchmarks").glob("*.py")} & packages_distributions().keys()
