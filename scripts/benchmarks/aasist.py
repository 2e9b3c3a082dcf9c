"""Claim: AASIST on the waveform scores three times as fast as the published program, with a sixth of its memory.

The reference, :class:`PublishedAasist`, is a transcription of the published program's filters and
encoder on the same weights, without gradients; the graph layers after them, 1 % of the time, are
shared. All rows run in turn (A B A B …) on batches of 64,600 samples; ratios are of medians, of CPU
time on one thread, otherwise of wall time. Memory is the peak above that before the batch, each row
in a process of its own.

    OMP_NUM_THREADS=2 scripts/bench aasist
    scripts/bench aasist --model AASIST.pth --config AASIST     # published weights, by whose scores rows are compared
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial

import torch
import torch.nn.functional as F
from _harness import first_line, median_seconds, thread_seconds, versions
from torch import Tensor, nn

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.detector import Detector
from nes2net.lib.this_process import peak_bytes
from nes2net.models.backends.raw_aasist import RawAasist, raw_aasist

BATCH = 4
ROWS = {"published": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}


class PublishedAasist(nn.Module):
    """The published computation on the weights of ``backend``, B×N → B×2."""

    def __init__(self, backend: RawAasist) -> None:
        super().__init__()
        self.backend = backend

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits B×2 of waveforms B×N."""
        bands = F.conv1d(waveform.unsqueeze(1), self.backend.filters).unsqueeze(1)
        x = F.max_pool2d(torch.abs(bands), (3, 3))
        x = F.selu(self.backend.first_bn(x), inplace=True)
        for block, pool in self.backend.encoder:
            if not block.first:  # the published code computes this, and does not use it
                F.selu(block.bn1(x), inplace=True)
            y = block.conv2(F.selu(block.bn2(block.conv1(x)), inplace=True))
            if block.reshape_skip:
                x = block.conv_downsample(x)
            y += x
            x = pool(y)
        spectral = x.abs().amax(3).transpose(1, 2)
        temporal = x.abs().amax(2).transpose(1, 2)
        return self.backend.out_layer(self.backend.readout(spectral, temporal))


def models(path: str | None, config: str | None) -> dict[str, nn.Module]:
    """Build the model of each row: with the weights of the file ``path``, or with random weights."""
    built = {}
    for name, precision in ROWS.items():
        torch.manual_seed(0)
        if path is None:
            backend = raw_aasist()
        else:
            backend = Detector.from_pretrained(path, device="cpu", config=config).backend
        backend.eval().to(precision)
        built[name] = PublishedAasist(backend) if name == "published" else backend
    return built


@torch.inference_mode()
def logits_of(name: str, model: nn.Module, waveforms: Tensor) -> Tensor:
    """Compute the logits of ``waveforms`` by the ``model`` of a row."""
    return model(waveforms.to(ROWS[name]))


def main() -> None:
    """Measure all rows, and print a table."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", help="file with published weights")
    parser.add_argument("--config", help="configuration of the weights, such as AASIST")
    parser.add_argument("--memory-of", choices=ROWS, help="print only the peak memory of this row, in bytes")
    arguments = parser.parse_args()
    waveforms = 0.1 * torch.randn(BATCH, ASVSPOOF_SAMPLES, generator=torch.Generator().manual_seed(0))
    built = models(arguments.model, arguments.config)
    runs = {name: partial(logits_of, name, model, waveforms) for name, model in built.items()}
    if arguments.memory_of:
        before = peak_bytes()
        runs[arguments.memory_of]()
        print(peak_bytes() - before)
        return

    print(f"batch {BATCH}, {versions()}")
    expected = runs["published"]()
    seconds = median_seconds(runs, arguments.rounds, thread_seconds, warm_up=2)
    for name, median in seconds.items():
        command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
        memory = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        each = median / BATCH
        gap = (runs[name]() - expected).abs().max()
        print(
            f"{name:>10}  {each:6.3f} s an utterance  {seconds['published'] / median:5.2f}×  "
            f"{memory / 2**20:6.0f} MiB  logits differ by {gap:.1e}"
        )


if __name__ == "__main__":
    main()
