"""`scripts/bench metrics`: plain transcriptions agree with the metrics; what is left out."""

import importlib.util
import re
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks" / "metrics.py"
    spec = importlib.util.spec_from_file_location("metrics_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("num_trials", [30, 500])
def test_plain_transcriptions_agree(benchmark, num_trials):
    for name, (ours, plain, _) in benchmark.contenders(num_trials).items():
        assert benchmark.value(plain()) == pytest.approx(benchmark.value(ours()), abs=1e-12), name


def test_table(benchmark, capsys):
    flags = "--sizes 300 100 --rounds 1 --limit 0 --bootstrap-trials 400 --resamples 3 --threads 1 2"
    benchmark.main(flags.split())
    lines = capsys.readouterr().out.splitlines()
    num_metrics = len(benchmark.contenders(30))
    for row in (r" 100 +[\d.]+ ms +[\d.]+ ms +\d+x$", r" 300 +left out +[\d.]+ ms +plain would take \d+ s$"):
        assert sum(bool(re.search(row, line)) for line in lines) == num_metrics
    assert "3 resamples of 400 trials" in lines
    assert sum(line.endswith("s on 2") for line in lines) == 6
