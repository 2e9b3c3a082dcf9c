"""Files of experiments."""

from __future__ import annotations

from functools import partial

import yaml

from builders.hostile import cases, nes2net

_SET = {"corpus": "asvspoof2019_la", "root": "nowhere"}
_EXPERIMENT = {"name": "tiny", "recipe": "asvspoof2019_nes2net_x", "seeds": [1], "evaluate": [_SET]}
_COMMAND = "x\ntouch RAN\n#"


def _written(folder, changes):
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({**_EXPERIMENT, **changes}))
    return path


def _planned(path):
    return nes2net("experiment", "run", path, "--dry-run")


_MANY_SETS = [{**_SET, "name": f"s{number}"} for number in range(100)]
_FILES = {
    "an account of two lines": ({"slurm": {"more": {"account": _COMMAND}}}, "slurm.more.account.*should match"),
    "a partition of a command": ({"slurm": {"partition": "$(touch RAN)"}}, "slurm.partition: .*should match"),
    "a log of the job elsewhere": ({"slurm": {"more": {"output": "keys"}}}, "slurm.more.output.*should match"),
    "10^9 grid points": (
        {"grid": {f"train.{key}": list(range(1, 1001)) for key in ("lr", "batch_size", "epochs")}},
        "grows to 1,000,000,000 trainings, and at most 1,000",
    ),
    "10^6 evaluations": (
        {"seeds": list(range(100)), "averages": list(range(1, 101)), "evaluate": _MANY_SETS},
        "grows to 1,000,000 evaluations",
    ),
    "places of 2 GB": (
        {"recipe": "${A}" * 22_000, "places": {"A": "x" * 100_000}},
        "grows to 2.2 GB of values of places",
    ),
}
CASES = cases(_planned, _FILES, make=lambda changes: partial(_written, changes=changes))
