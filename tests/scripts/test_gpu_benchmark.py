"""`scripts/bench gpu`: its stages run on a CPU with tiny models, its report names what went wrong."""

import json
import re
import shutil
from collections import defaultdict
from dataclasses import replace

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


@pytest.mark.weekly
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ for the simulated CUDA device")
def test_the_stage_train_runs_on_the_simulated_device(tmp_path):
    """Steps with and without a graph, a profile, and epochs beside the published program; in two minutes of CPU time."""
    done = run("simulated_cuda", "--run", SCRIPTS / "bench", "gpu", "train", "--small", "--out", tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    names = defaultdict(set)
    for line in (tmp_path / "train.jsonl").read_text().splitlines():
        row = json.loads(line)
        names[row["section"]].add(row["what"])
        milliseconds = row.get("ms", row.get("ms of a step"))
        assert milliseconds > 0
        if row["section"] == "profile of a training step":
            assert row["launches"] > 1000
            assert row["casts"] <= 60
            continue
        assert row["× published"] > 0
        assert row["× published way, free"] > 0
    assert names["training step"] == {"bf16", "bf16, no graph"}
    assert names["profile of a training step"] == {"bf16, deterministic, batch 2"}
    validations = {"bf16, validation in fp32", "bf16, validation in batches of 8"}
    assert names["epoch"] == {"published way", "published way, free", "fp32", "bf16", *validations}


def test_the_report_says_what_failed_and_keeps_the_rest(benchmark, tmp_path, capsys):
    def write(stage, **row):
        (tmp_path / f"{stage}.jsonl").write_text(f"{json.dumps(row)}\n")

    write("parity", section="one score", what="float32", score=1e-7, holds=True)
    assert benchmark.report(tmp_path)
    write("resume", section="steps", what="fp32", holds=False)
    write("files", section="stages", what="files", error="stopped after 9 s")
    capsys.readouterr()
    assert not benchmark.report(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert "| float32 | 1e-07 | yes |" in lines
    assert {"problem: steps, fp32: does not hold", "problem: stages, files: stopped after 9 s"} <= {*lines}


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


def test_the_median_epoch_names_the_spread(benchmark):
    epoch = loaded("benchmarks/_epoch.py")
    result = epoch.Epoch(1.0, 0.5, "a note")
    slower = replace(result, step=2.0)
    slowest = replace(result, step=9.0)
    middle = epoch.median_epoch([result, slowest, slower])
    assert middle.step == 2.0
    assert middle.validated == 0.5
    assert middle.note == "a note; 242.3 to 524.3 min in 3 rounds"


def test_unknown_stages_are_refused():
    assert "no stage sped; there are all, correct, speed, env" in run("bench", "gpu", "sped").stderr
