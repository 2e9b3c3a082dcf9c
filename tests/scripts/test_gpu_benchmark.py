"""`scripts/bench gpu`: its stages run on a CPU with tiny models, its report names what went wrong."""

import json
import re
import subprocess
import sys
from importlib import import_module

import pytest
import torch
from builders import PATIENCE
from builders.scripts import SCRIPTS, loaded

from nes2net import Detector


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS / "benchmarks"))
    return loaded("benchmarks/gpu.py")


def run(out, *stages):
    """The rows of ``stages`` on the CPU, which must have no problem."""
    command = [sys.executable, SCRIPTS / "bench", "gpu", *stages]
    command += ["--device", "cpu", "--small", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    problems = re.findall("^problem: .*", done.stdout, re.MULTILINE)
    assert (done.returncode, problems) == (0, []), done.stderr[-2000:]
    assert "without meaning" in done.stdout and "## goals" in (out / "tables.md").read_text()
    return json.loads((out / "results.json").read_text())


def write(out, stage, *rows):
    (out / f"{stage}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.mark.weekly
def test_every_stage_on_the_cpu(benchmark, tmp_path):
    rows = run(tmp_path, "all")
    assert {path.stem for path in tmp_path.glob("*.jsonl")} == set(benchmark.STAGES)
    assert {"environment", "ceilings"} <= {row["section"] for row in rows}
    assert all(row["TFLOP/s"] > 0 for row in rows if row["section"] == "ceilings" and "product" in row["what"])
    assert not [row for row in rows if "note" in row]
    assert all(reached != "not measured" for *_, reached in benchmark.goals(rows))
    holds = {row["section"] for row in rows if row.get("holds")}
    against = {"small detectors against the CPU", "full size against the CPU"}
    assert against | {"one score", "steps", "interrupted runs"} <= holds


def test_every_small_detector_of_parity_is_built_and_scores(benchmark):
    parity = import_module("_gpu_parity")
    for name, config in parity.systems().items():
        detector = Detector.from_config(config).eval()
        with torch.inference_mode():
            logits = detector(torch.randn(2, parity.samples_of(detector, 8000)))
        assert logits.shape[0] == 2 and logits.isfinite().all(), name


def test_the_report_says_what_failed_and_keeps_the_rest(benchmark, tmp_path, capsys):
    good = {"section": "one score", "what": "float32", "score": 1e-7, "holds": True}
    write(tmp_path, "parity", good)
    assert benchmark.report(tmp_path)
    write(tmp_path, "resume", {"section": "steps", "what": "fp32", "holds": False})
    write(tmp_path, "files", {"section": "stages", "what": "files", "error": "stopped after 9 s"})
    capsys.readouterr()
    assert not benchmark.report(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert "| float32 | 1e-07 | yes |" in lines
    assert "problem: steps, fp32: does not hold" in lines
    assert "problem: stages, files: stopped after 9 s" in lines


def test_the_goals_are_those_of_bfloat16(benchmark):
    def rows(name, speed):
        return [{"section": "throughput", "what": name, "utterances/s": speed, "× published": speed / 100}]

    reached = [row[-1] for row in benchmark.goals([*rows("float32", 3000.0), *rows("bfloat16", 1600.0)])]
    assert reached == ["yes", "yes", "not measured"]
    assert [row[-1] for row in benchmark.goals(rows("bfloat16", 900.0))] == ["no", "no", "not measured"]


@pytest.mark.weekly
def test_a_process_that_ends_badly_is_a_row(benchmark, tmp_path, monkeypatch):
    """A stage that cannot even start leaves its name and status, and the others go on."""
    monkeypatch.setattr(
        sys, "argv", ["gpu", "env", "parity", "--device", "cuda:99", "--small", "--out", str(tmp_path / "out")]
    )
    assert benchmark.main() == 1
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(row["what"], row["error"]) for row in rows] == [(n, "ended with status 1") for n in ("env", "parity")]


def test_unknown_stages_are_refused(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu", "sped"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "no stage sped; there are all, correct, speed, env" in capsys.readouterr().err
