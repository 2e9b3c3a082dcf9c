"""Count what a training step of the published recipe launches, on the simulated CUDA device; a program that writes JSON.

scripts/simulated_cuda --run python launch_counts.py FILE. The network has all layers of the published one, each of them
thin. ``sum of waits`` is by phase.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
from _gpu import Stage
from _gpu_train import as_in_a_run, make_trainer, training_batch
from _launches import count_step
from simulated import tensors

BATCH = 12
THIN = {
    "encoder_layers": 24, "encoder_embed_dim": 128, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 2,
    "conv_pos_groups": 16, "conv_feature_layers": [[16, 10, 5], *[[16, 3, 2]] * 4, *[[16, 2, 2]] * 2],
}  # fmt: skip


def num_waits() -> int:
    """How often the CPU has waited for the device so far."""
    return tensors.waits.total()


def counted(precision: str, folder: Path) -> dict[str, int]:
    """The counts of the second step; the first one makes the moments of Adam."""
    stage = Stage("launches", torch.device("cuda"), small=True, seconds=0, out=folder, work=folder)
    model = {"frontend": {"name": "xlsr_300m", "pretraining_heads": False, **THIN}, "backend": "nes2net_x"}
    checkpoint = stage.checkpoint("thin", model)
    trainer = make_trainer(stage, checkpoint, folder, precision=precision, batch=BATCH, model=model)
    batch = training_batch(stage, BATCH)
    with as_in_a_run(trainer):
        trainer.train_step([batch], 1, 0, False)
        launches = count_step(trainer, [batch], 1, num_waits)
    phases = ("forward", "backward", "norm", "optimizer", "result")
    counts = {phase: launches.total(phase) for phase in phases}
    waits = {f"waits, {phase}": launches.waits[phase] for phase in phases}
    return {**counts, **waits, "casts": launches.casts("forward", "backward"), "back-end": launches.backend}


def main():
    with tempfile.TemporaryDirectory() as folder:
        counts = {precision: counted(precision, Path(folder)) for precision in ("fp32", "tf32", "bf16", "fp16")}
    Path(sys.argv[1]).write_text(json.dumps(counts), encoding="utf-8")
    os._exit(0)  # autograd's thread for the device does not end


if __name__ == "__main__":
    main()
