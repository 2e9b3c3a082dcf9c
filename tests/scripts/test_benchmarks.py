"""`scripts/bench metrics`: plain transcriptions agree with the metrics; what is left out. `scripts/bench stream` runs."""

import re
from importlib.metadata import packages_distributions

import pytest
from builders.scripts import SCRIPTS, loaded, run


@pytest.fixture(scope="module")
def benchmark():
    return loaded("benchmarks/metrics.py")


def test_plain_transcriptions_of_the_metrics_agree_with_the_package(benchmark):
    for num_trials in (30, 500):
        for name, (fast, plain, _) in benchmark.contenders(num_trials).items():
            assert benchmark.value(plain()) == pytest.approx(benchmark.value(fast()), abs=1e-12), name


def test_the_benchmark_of_metrics_prints_a_row_for_each_metric_and_size(benchmark, capsys):
    flags = "--sizes 300 100 --rounds 1 --limit 0 --bootstrap-trials 400 --resamples 3 --threads 1 2"
    benchmark.main(flags.split())
    lines = capsys.readouterr().out.splitlines()
    num_metrics = len(benchmark.contenders(30))
    for row in (r" 100 +[\d.]+ ms +[\d.]+ ms +\d+x$", r" 300 +left out +[\d.]+ ms +plain would take \d+ s$"):
        assert sum(bool(re.search(row, line)) for line in lines) == num_metrics
    assert "3 resamples of 400 trials" in lines
    assert sum(line.endswith("s on 2") for line in lines) == 1


def test_no_benchmark_has_the_name_of_an_installed_package():
    """Their folder comes first on the path, so numba would import a `coverage` of ours."""
    assert not {path.stem for path in (SCRIPTS / "benchmarks").glob("*.py")} & packages_distributions().keys()


@pytest.mark.slow
def test_the_benchmark_of_streams_prints_a_line_for_each_measurement():
    done = run("bench", "stream", "--small")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^\w+", done.stdout, re.MULTILINE) == ["push"] * 3 + ["XLS"]
