"""Claim: reading a checkpoint needs memory of less than 1.3 times its size; averaging needs the same for any number of files.

The benchmark writes a random XLS-R 300M pre-training file in fairseq's format (1.27 GB) and a
detector. It reads each file in a process of its own, touches every number, and prints the peak of
resident memory above that of the imports, as a ratio to the file. Resident memory includes mapped
pages of the file, which the system may drop; "own" excludes them. `torch.load` without mapping is
shown for comparison.

    scripts/bench checkpoint_memory
    scripts/bench checkpoint_memory --small
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SMALL = {"encoder_layers": 6, "encoder_embed_dim": 256, "encoder_ffn_embed_dim": 1024, "encoder_attention_heads": 4}

_MEASURE = """
import json, sys, threading, time
import torch
from nes2net import Detector, average_checkpoints, create_frontend, load_state_dict
from nes2net.models.registry import create_backend
import transformers.models.wav2vec2.modeling_wav2vec2, nes2net.models.backends.nes2net, nes2net.models.checkpoints.averaging

def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))

def run(what, paths):
    if what == "front-end":
        return list(create_frontend("wav2vec2", paths[0]).state_dict().values())
    if what == "detector":
        return list(Detector.from_pretrained(paths[0], device="cpu").state_dict().values())
    if what == "torch.load, then load_state_dict":
        state = torch.load(paths[0], weights_only=True)
        detector = Detector.from_config(load_config(paths[0]))
        detector.load_state_dict(state)
        return list(detector.state_dict().values())
    if what == "state dict":
        return list(load_state_dict(paths[0]).values())
    return list(average_checkpoints(paths).values())

def load_config(path):
    from nes2net.models.checkpoints.state_dict import read_record
    return read_record(load_state_dict(path))["model"]

what, *paths = sys.argv[1:]
before, before_own, peak_own, done = status("VmRSS"), status("RssAnon"), 0, False
def watch():
    global peak_own
    while not done:
        peak_own = max(peak_own, status("RssAnon"))
        time.sleep(0.005)
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
started = time.perf_counter()
tensors = run(what, paths)
seconds = time.perf_counter() - started
total = sum(float(t.double().sum()) if t.numel() < 10**7 else float(t.sum()) for t in tensors)
done = True
watcher.join()
peak = status("VmHWM")
print(json.dumps({"peak": peak - before, "own": peak_own - before_own, "seconds": seconds, "finite": total == total}))
"""


def write_files(folder: Path, options: dict, copies: int) -> tuple[Path, list[Path]]:
    """Write a pre-training file in fairseq's format, and ``copies`` detectors."""
    import torch

    from nes2net import Detector

    config = {"frontend": {"name": "xlsr_300m", **options}, "aggregation": "last", "backend": "nes2net_x"}
    detector = Detector.from_config(config)
    model = {k.removeprefix("model."): v for k, v in detector.frontend.state_dict().items()}
    torch.save({"args": None, "cfg": {"model": detector.frontend.config}, "model": model}, folder / "pretrained.pt")
    detectors = [folder / f"epoch_{number}.pth" for number in range(copies)]
    for path in detectors:
        detector.save(path)
    return folder / "pretrained.pt", detectors


def measure(kind: str, paths: list[Path]) -> dict:
    """Read ``paths`` in a process of its own; return its peak memory in bytes and its seconds."""
    command = [sys.executable, "-c", _MEASURE, kind, *map(str, paths)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    """Measure all kinds of reading, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a model of 20 MB, to see that the benchmark runs")
    parser.add_argument("--files", type=int, default=4, help="checkpoints to average")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pretrained, detectors = write_files(Path(folder), SMALL if arguments.small else {}, arguments.files)
        size = detectors[0].stat().st_size
        print(f"files of {size / 1e9:.2f} GB; peak memory above the imports, as a ratio to one file")
        print(f"{'':>34}  {'resident':>8}  {'own':>8}  {'seconds':>8}")
        for kind, paths in (
            ("front-end", [pretrained]),
            ("state dict", detectors[:1]),
            ("detector", detectors[:1]),
            ("torch.load, then load_state_dict", detectors[:1]),
            ("average of 2", detectors[:2]),
            (f"average of {arguments.files}", detectors),
        ):
            measured = measure(kind, paths)
            print(
                f"{kind:>34}  {measured['peak'] / size:7.2f}×  {measured['own'] / size:7.2f}×  {measured['seconds']:8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
