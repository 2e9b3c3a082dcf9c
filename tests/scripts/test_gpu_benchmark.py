"""`scripts/bench gpu`: its stages run on a CPU with tiny models."""

import re

import pytest
from builders.files import read_json
from builders.scripts import loaded, run


@pytest.mark.weekly
def test_every_stage_of_the_gpu_benchmark_runs_on_a_cpu_without_a_problem(tmp_path):
    """No stage is left out, and the figures that the benchmark compares agree."""
    done = run("bench", "gpu", "all", "--device", "cpu", "--small", "--out", tmp_path)
    problems = re.findall("^problem: .*", done.stdout, re.MULTILINE)
    assert (done.returncode, problems) == (0, []), done.stderr[-2000:]
    rows = read_json(tmp_path / "results.json")
    benchmark = loaded("benchmarks/gpu.py")
    assert {path.stem for path in tmp_path.glob("*.jsonl")} == set(benchmark.STAGES)
    assert not [row for row in rows if row.get("note", "").startswith("left out")]
    holds = {row["section"] for row in rows if row.get("holds")}
    assert {"full size against the CPU", "one score", "steps"} <= holds
