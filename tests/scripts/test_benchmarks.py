"""`scripts/bench metrics`: plain transcriptions agree with the metrics; what is left out. `scripts/bench intervals`, `stream`."""

import re
from importlib.metadata import packages_distributions

import numpy as np
import pytest
from builders.scripts import SCRIPTS, loaded, run

from nes2net import decisions


@pytest.fixture(scope="module")
def benchmark():
    return loaded("benchmarks/metrics.py")


def test_plain_transcriptions_agree(benchmark):
    for num_trials in (30, 500):
        for name, (ours, plain, _) in benchmark.contenders(num_trials).items():
            assert benchmark.value(plain()) == pytest.approx(benchmark.value(ours()), abs=1e-12), name


def test_the_benchmark_of_metrics_prints_a_row_for_each_metric_and_size(benchmark, capsys):
    flags = "--sizes 300 100 --rounds 1 --limit 0 --bootstrap-trials 400 --resamples 3 --threads 1 2"
    benchmark.main(flags.split())
    lines = capsys.readouterr().out.splitlines()
    num_metrics = len(benchmark.contenders(30))
    for row in (r" 100 +[\d.]+ ms +[\d.]+ ms +\d+x$", r" 300 +left out +[\d.]+ ms +plain would take \d+ s$"):
        assert sum(bool(re.search(row, line)) for line in lines) == num_metrics
    assert "3 resamples of 400 trials" in lines
    assert sum(line.endswith("s on 2") for line in lines) == 6


def test_the_benchmark_of_intervals_prints_how_often_they_held():
    done = run("bench", "intervals", *"--repeats 12 --resamples 20 --settings 1 --workers 1 --rates".split())
    assert done.returncode == 0, done.stderr
    held = {tuple(line.split()[:2]): float(line.split()[8]) for line in done.stdout.splitlines() if "held" in line}
    assert len(held) == 14 and held["eer", "percentile"] < held["eer", "used"] <= 100
    assert done.stdout.splitlines()[-1].startswith("two equal systems: p < 0.05 in ")


def test_the_benchmark_of_coverage_prints_a_row_for_each_unit():
    done = run("bench", "interval_coverage", *"--repeats 6 --resamples 20 --settings 1 --workers 1".split())
    assert done.returncode == 0, done.stderr
    units = [line.split()[0] for line in done.stdout.splitlines() if "held" in line]
    assert units == ["trials", "speakers", "attacks", "both"]


def test_no_benchmark_has_the_name_of_an_installed_package():
    """Their folder comes first on the path: numba took ours for the package `coverage`."""
    assert not {path.stem for path in (SCRIPTS / "benchmarks").glob("*.py")} & packages_distributions().keys()


def test_serve_workers():
    done = run("bench", "serve_workers", *"--rounds 1 --count 2 --seconds 1".split())
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [["1", "workers:"], ["2", "workers:"]]


def test_alarms_of_a_stream_are_counted_before_and_behind_the_onset():
    """A false alarm in an hour; an alarm after 5 s, one that is missed, and one that began before."""
    alarms = loaded("benchmarks/_stream_alarms.py")
    calibration = decisions.LinearCalibration((1.0,), 0.0, 0.5, 0.0, ("system",))

    def call(onset, *fake, seconds=60):
        """The windows of 4 s end at every second; their ratios are 3, and -3 where they are fake."""
        ends = range(4, seconds + 1)
        windows = [alarms.ScoredWindow(end, -3.0 if end in fake else 3.0, 1.0) for end in ends]
        return alarms.Call(np.zeros(seconds * 16000), onset), windows

    calls = [
        call(np.inf, *range(100, 130), seconds=3600),
        call(20.0, *range(22, 50)),
        call(20.0),
        call(20.0, *range(10, 40)),
    ]
    limits = {"alarm_probability": 0, "alarm_against": 3.0}
    row = alarms.row("`against` 3", calls, decisions.Decider(calibration), **limits)
    assert row == "| `against` 3 | 1 | 5.0 | 5.0 | 50 % | 1 |"


@pytest.mark.slow
def test_stream():
    pytest.importorskip("websockets")
    done = run("bench", "stream", "--small")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^\w+", done.stdout, re.MULTILINE) == ["push"] * 3 + ["memory"] * 2 + ["measuring", "XLS"]
    done = run("bench", "stream", "--minutes", "0.05")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("those of the decoded call") == 5
    assert "memory of the server" in done.stdout
