"""The Slurm jobs of docs/train.md and docs/remote.md, by bash and by programs that stand for Slurm's."""

import os
import subprocess

import pytest
from builders.files import folder, write
from builders.manual import PAGES, blocks

from nes2net.cli.main import build_parser
from nes2net.training.recipes.reading import load_recipe

#: As Slurm 22.05 and 23.02: `srun` does not inherit the CPUs of a task. An option that these jobs need not is refused.
PROGRAMS = {
    "sbatch": """
for option in $(sed -n 's/^#SBATCH //p' "$1"); do
  case $option in
    --nodes=*) export SLURM_NNODES=${option#*=} ;;
    --ntasks-per-node=1 | --gpus-per-node=4 | --cpus-per-task=32) ;;
    *) exit 64 ;;
  esac
done
export SLURM_JOB_ID=17 SLURM_JOB_NODELIST="gpu[1-$SLURM_NNODES]"
bash -e "$1"
""",
    "scontrol": """
[ "$1 $2" = "show hostnames" ] || exit 64
for node in $(seq "$SLURM_NNODES"); do echo "gpu$node"; done
""",
    "srun": """
export CPUS=1
case $1 in
  --cpus-per-task=*) CPUS=${1#*=}; shift ;;
  -*) exit 64 ;;
esac
for node in $(seq "$SLURM_NNODES"); do NODE=$node "$@"; done
""",
    "torchrun": """
printf '%s\\n' "$CPUS" "$HF_ASSETS_CACHE" "$@" > "gpu$NODE"
""",
}
JOBS = {}
for page in PAGES:
    for block in blocks(page, "bash"):
        if "\n#SBATCH" in block:
            JOBS[page.stem] = block


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A function that submits the job of a page; gives the lines that each machine's torchrun was started with."""
    for name, text in PROGRAMS.items():
        write(tmp_path / "bin" / name, f"#!/bin/bash\n{text}").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("TMPDIR", raising=False)

    def submit(page):
        machines = folder(tmp_path / "machines")
        job = write(tmp_path / "job.sh", JOBS[page])
        subprocess.run(["sbatch", job], cwd=machines, check=True)
        return [path.read_text().splitlines() for path in sorted(machines.iterdir())]

    return submit


@pytest.mark.parametrize("page", ["remote", "train"])
def test_each_machine_of_a_slurm_job_meets_the_others_at_the_first_and_gets_all_cpus(started, page):
    """No other page has a job; nes2net accepts its training."""
    from torch.distributed.run import get_args_parser

    assert sorted(JOBS) == ["remote", "train"]
    machines = started(page)
    assert len(machines) == 2
    for cpus, _, *words in machines:
        assert cpus == "32"
        settings = get_args_parser().parse_args(words)
        assert (settings.nnodes, settings.nproc_per_node) == ("2", "4")
        assert (settings.rdzv_endpoint, settings.rdzv_id, settings.rdzv_backend) == ("gpu1:29500", "17", "c10d")
        assert (settings.module, settings.training_script) == (True, "nes2net")
        parsed = build_parser().parse_args(words[words.index("nes2net") + 1 :])
        assert load_recipe(parsed.recipe, parsed.overrides).date == "0520"


def test_the_cache_of_a_slurm_job_is_on_the_local_disk_also_without_tmpdir(started):
    assert {words[1] for words in started("remote")} == {"/tmp"}
