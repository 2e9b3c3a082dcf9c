"""Correctness and speed of scoring and training on a GPU, against the published way.

Models are XLS-R 300M + Nes2Net-X with random weights; recordings are generated. Stages:

==========  ================================================================================================
env         versions, GPU; products in float32, TF32, bfloat16 and float16
parity      XLS-R and WavLM in full size against the CPU in float32; batches against single utterances; `score`
            against `judge_trials`; memory that is too small; more than 2³¹ elements
step        a training step of the published recipe against the published computation on the CPU: loss, gradients
resume      the same steps twice, and saved and loaded between
throughput  batches of 1 to 128 in every precision, and compiled
files       `judge_trials` by precision, batch, readers, compiled
train       the trainer against the published step, with its program's settings and freely: precisions, batches of
            12 to 96, CUDA graphs, activation checkpointing, compiled; memory; profiles; an epoch with real files,
            extrapolated from a slice
report      the tables of what is in --out
==========  ================================================================================================

The published way is batch 2 in float32 with autograd and PyTorch's default settings; for training,
batch 12 with the settings of its program. It is a transcription of the published modules (with
fairseq's front-end if it is installed). Compared runs are measured in turn (A B A B …); figures are
medians.

Each stage is a process of its own, and each row goes to {out}/STAGE.jsonl as soon as it is
measured. If a stage fails or runs out of time, its rows remain, and the other stages continue. At
the end, results.json and tables.md are written. The exit status is 1 if something failed, or a
row's "holds" is no.

    scripts/bench gpu                        # all: at most 25 minutes on an H200
    scripts/bench gpu correct                # env parity step resume: at most 7 minutes
    scripts/bench gpu speed --seconds 540    # env throughput files train: 18 minutes without --seconds
    scripts/bench gpu parity --seconds 100
    scripts/bench gpu --device cpu --small   # tiny models, as a test; the figures mean nothing
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path
from typing import Any

from nes2net.lib.errors import InputError
from nes2net.lib.output.terminal import markdown_table

#: Stage → the most seconds that it takes on an H200.
STAGES = {
    "env": 40,
    "parity": 200,
    "step": 50,
    "resume": 120,
    "throughput": 250,
    "files": 290,
    "train": 480,
}
GROUPS = {
    "all": [*STAGES],
    "correct": ["env", "parity", "step", "resume"],
    "speed": ["env", "throughput", "files", "train"],
}


def report(out: Path) -> bool:
    """Print and write the tables of ``out``; return whether all stages ran and all rows hold."""
    from _gpu import shown  # imports torch

    rows: list[dict[str, Any]] = []
    for stage in STAGES:
        path = out / f"{stage}.jsonl"
        if path.is_file():
            rows += map(json.loads, path.read_text().splitlines())
    lines = []
    for section in dict.fromkeys(row["section"] for row in rows):
        section_rows = [row for row in rows if row["section"] == section]
        columns = [name for name in dict.fromkeys(chain(*section_rows)) if name != "section"]
        cells = [[shown(row.get(name, "")) for name in columns] for row in section_rows]
        head = ["" if name == "what" else name for name in columns]
        lines += [f"\n## {section}\n", markdown_table(head, cells)]
    problems = [row for row in rows if "error" in row or row.get("holds") is False]
    for row in problems:
        lines.append(f"\nproblem: {row['section']}, {row['what']}: {row.get('error', 'does not hold')}")
    text = "\n".join(lines)
    (out / "results.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    (out / "tables.md").write_text(text + "\n")
    print(text)
    return bool(rows) and not problems


def run_stages(names: list[str], arguments: argparse.Namespace) -> None:
    """Run each stage in a process of its own; a stage gets its share of the remaining time."""
    seconds = arguments.seconds or sum(STAGES[name] for name in names) * (10 if arguments.small else 1)
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as work:
        for number, name in enumerate(names):
            share = STAGES[name] / sum(STAGES[later] for later in names[number:])
            limit = (end - time.monotonic()) * share
            print(f"\n=== {name}, at most {limit:.0f} s", flush=True)
            path = arguments.out / f"{name}.jsonl"
            path.unlink(missing_ok=True)
            problem = start_stage(name, work, limit, arguments)
            if problem:
                with open(path, "a") as file:
                    file.write(json.dumps({"section": "stages", "what": name, "error": problem}) + "\n")


def start_stage(name: str, work: str, limit: float, arguments: argparse.Namespace) -> str:
    """Run a stage in a process of its own for ``limit`` seconds; return what went wrong, or an empty text."""
    flags = ["--work", work, "--seconds", str(limit), "--out", str(arguments.out), "--device", arguments.device]
    environment = {"PYTHONUNBUFFERED": "1"}
    if arguments.small:
        flags.append("--small")
        environment["TORCH_COMPILE_DISABLE"] = "1"  # compiling takes minutes, even for a tiny model
    if name in ("resume", "train"):
        # cuBLAS reads the variable at its first use, which may be in the published way.
        environment["CUBLAS_WORKSPACE_CONFIG"] = os.environ.get("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    command = [sys.executable, __file__, name, *flags]
    try:
        subprocess.run(command, env={**os.environ, **environment}, timeout=max(1.0, limit) + 10, check=True)
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:.0f} s"
    except subprocess.CalledProcessError as error:
        return f"ended with status {error.returncode}"
    return ""


def run_stage(name: str, arguments: argparse.Namespace) -> None:
    """Measure a stage in this process."""
    import torch
    from _gpu import Stage

    from nes2net.lib.computing.devices import choose_device

    if arguments.device.startswith("cuda:"):
        torch.cuda.set_device(choose_device(arguments.device))  # measure the memory of this device
    device = choose_device(arguments.device)
    stage = Stage(name, device, arguments.small, arguments.seconds, arguments.out, arguments.work)
    importlib.import_module(f"_gpu_{name}").measure(stage)


def main() -> int:
    """Run the chosen stages or, with --work, one stage in this process; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n    scripts/bench")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("stages", nargs="*", metavar="STAGE", default=["all"], help=", ".join([*GROUPS, *STAGES, "report"]))
    add("--device", default="cuda", help="cuda, cuda:N or cpu")
    add("--small", action="store_true", help="tiny models, to see that it runs")
    add("--seconds", type=float, help="for all stages together; 25 minutes for all of them if not given")
    add("--out", type=Path, default=Path(tempfile.gettempdir(), "nes2net_gpu"), help="folder of the results")
    add("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    known_stages = [*GROUPS, *STAGES, "report"]
    for name in arguments.stages:
        if name not in known_stages:
            parser.error(f"no stage {name}; there are {', '.join(known_stages)}")
    if arguments.work:
        run_stage(arguments.stages[0], arguments)
        return 0
    chosen_stages = set()
    for name in arguments.stages:
        chosen_stages |= set(GROUPS.get(name, [name]))
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.small or arguments.device == "cpu":
        print("without meaning: figures of tiny models, or of a CPU")
    run_stages([name for name in STAGES if name in chosen_stages], arguments)
    holds = report(arguments.out)
    print(f"\nresults are in {arguments.out}")
    return 0 if holds else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
