"""`scripts/bench gpu`: its stages run on a CPU with tiny models, and an epoch is extrapolated."""

import re

import pytest
from builders.files import read_json
from builders.scripts import SCRIPTS, loaded, run


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS / "benchmarks"))
    return loaded("benchmarks/gpu.py")


@pytest.mark.weekly
def test_every_stage_of_the_gpu_benchmark_runs_on_a_cpu(benchmark, tmp_path):
    done = run("bench", "gpu", "all", "--device", "cpu", "--small", "--out", tmp_path)
    problems = re.findall("^problem: .*", done.stdout, re.MULTILINE)
    assert (done.returncode, problems) == (0, []), done.stderr[-2000:]
    assert "without meaning" in done.stdout
    rows = read_json(tmp_path / "results.json")
    assert {path.stem for path in tmp_path.glob("*.jsonl")} == set(benchmark.STAGES)
    assert {"environment", "ceilings"} <= {row["section"] for row in rows}
    assert all(row["TFLOP/s"] > 0 for row in rows if row["section"] == "ceilings" and "product" in row["what"])
    assert not [row for row in rows if row.get("note", "").startswith("left out")]
    holds = {row["section"] for row in rows if row.get("holds")}
    assert {"full size against the CPU", "one score", "steps"} <= holds


def test_an_epoch_is_extrapolated_from_the_end_of_a_slice(benchmark):
    """The first steps take longer, and a validation has a constant part of 3 s."""
    epoch = loaded("benchmarks/_epoch.py")
    seconds = [0.0]

    def validate(trials):
        seconds[0] += 3.0 + 0.5 * len(trials)

    trials = epoch.Slice(training=[], development=range(8), few=range(4), clock=lambda: seconds[0])
    result = epoch.epoch_of([10.0, 20.0, 21.0, 22.0], validate, trials)
    assert result.step == 1.0
    assert result.validated == 0.5
    assert result.seconds == 2115 * 1.0 + 24844 * 0.5
    assert result.note == "extrapolated from 2 steps and 4 utterances"
