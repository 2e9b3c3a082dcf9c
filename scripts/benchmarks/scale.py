"""Compare scoring by `nes2net scale` with `nes2net score`: what Ray costs, and processor seconds of a recording.

Recordings of noise, 4 s in FLAC, are in Parquet shards. Both programs score them with one thread,
in turn (A B A B …); Ray has one actor, and starts before the first round. Processor seconds are
those of all processes of a program: this one, its workers, and Ray's; on a shared machine they mean
more than the wall time. The scores must be equal to the last bit. The detector has random weights.

    scripts/bench scale                              # XLS-R 300M + Nes2Net-X: minutes
    scripts/bench scale --alone --dtype bfloat16     # the detector alone: a minute
    scripts/bench scale --small                      # log spectrum + Nes2Net-X: what Ray costs shows most
    scripts/bench scale --small --rounds 1 --shards 2 --rows 8    # as a test; the figures mean nothing
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import torch

from nes2net.apps.scale.cluster import Resources, connected
from nes2net.apps.scale.collection import score_collection
from nes2net.apps.scale.engine import Model
from nes2net.apps.scale.results import to_score_file
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.evaluation.judgements import Scores
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.kernel import score_batch

_SAMPLES = 64600
SMALL = {
    "frontend": {"name": "lps", "n_fft": 512, "hop_length": 256, "num_bins": 256},
    "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]},
}


def write_shards(folder: Path, shards: int, rows: int) -> list[Trial]:
    """Write shards of noise of 4 s, as the Speech Anti-Spoofing Arena packs recordings; return the trials."""
    rng = np.random.default_rng(0)
    trials = []
    folder.mkdir()
    for number in range(shards):
        audio = []
        ids = [f"{number}_{row}" for row in range(rows)]
        for id in ids:
            content = io.BytesIO()
            soundfile.write(content, (0.1 * rng.standard_normal(_SAMPLES)).clip(-1, 1), 16000, format="FLAC")
            audio.append({"bytes": content.getvalue(), "path": f"{id}.flac"})
        path = folder / f"test-{number:05d}-of-{shards:05d}.parquet"
        pq.write_table(pa.table({"id": ids, "audio": audio}), path, row_group_size=100)
        trials += [Trial(id, path / str(row)) for row, id in enumerate(ids)]
    return trials


def processor_seconds() -> float:
    """Measure the processor seconds of this process and of all that it has started."""
    ticks = 0
    pids_to_count = [os.getpid()]
    parents = dict[int, tuple[int, int]]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # the process ended meanwhile
        parents[int(path.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))  # children that ended too
    while pids_to_count:
        pid = pids_to_count.pop()
        ticks += parents[pid][1]
        pids_to_count += [child for child, (parent, _) in parents.items() if parent == pid]
    return ticks / os.sysconf("SC_CLK_TCK")


def measured(run: Callable[[], object]) -> tuple[float, float]:
    """Call ``run``, and return its seconds of wall time and of processors."""
    time.sleep(3)  # let the last actor end first, because the seconds of an ended process are not counted any more
    began = time.perf_counter()
    used = processor_seconds()
    run()
    return time.perf_counter() - began, processor_seconds() - used


def of_detector(detector: Detector) -> float:
    """Measure the processor seconds of a recording in a batch of 8, without reading; the first batch warms up."""
    waveforms = 0.1 * torch.randn(8, _SAMPLES)
    score_batch(detector, waveforms)
    began = time.process_time()
    score_batch(detector, waveforms)
    return (time.process_time() - began) / len(waveforms)


def main() -> None:
    """Score with both programs in turn, compare the scores, and print times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rows", type=int, default=16, help="recordings in a shard; whole batches of 8")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "int8"])
    parser.add_argument("--small", action="store_true", help="log spectrum instead of XLS-R 300M")
    parser.add_argument("--alone", action="store_true", help="compute one batch only, without reading and without Ray")
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.manual_seed(0)
    config = SMALL if args.small else {"frontend": "xlsr_300m", "backend": "nes2net_x"}
    if args.alone:
        detector = Detector.from_config(config).eval()
        detector.set_precision(args.dtype)
        print(f"the detector alone, {args.dtype}: {of_detector(detector):.3f} processor seconds a recording")
        return
    with tempfile.TemporaryDirectory() as name, connected(Resources(1)):
        folder = Path(name)
        trials = write_shards(folder / "set", args.shards, args.rows)
        Detector.from_config(config).eval().save(folder / "model")
        detector = Detector.from_pretrained(folder / "model", "cpu", args.dtype)
        figures: dict[str, list[tuple[float, float]]] = {"nes2net score": [], "nes2net scale": []}
        for number in range(args.rounds + (args.rounds > 1)):
            alone = folder / f"{number}.txt"
            out = folder / f"out{number}"
            a = measured(
                partial(
                    judge_trials,
                    detector,
                    trials,
                    alone,
                    Scores(),
                    settings=ScoringSettings(num_samples=_SAMPLES, batch_size=8),
                )
            )
            model = Model(str(folder / "model"), "cpu", args.dtype)
            b = measured(partial(score_collection, folder / "set", model, out, batch_size=8, resources=Resources(1)))
            to_score_file(out, folder / "scaled.txt")
            if alone.read_bytes() != (folder / "scaled.txt").read_bytes():
                sys.exit("the scores of the two ways differ")
            if number or args.rounds == 1:  # the first round is for warming up
                figures["nes2net score"].append(a)
                figures["nes2net scale"].append(b)
    print(f"{len(trials)} recordings of 4 s, {args.dtype}, one thread; the scores are the same to the last bit")
    for way, found in figures.items():
        wall, used = (statistics.median(values) for values in zip(*found))
        print(f"{way}: {wall:.1f} s; {used / len(trials):.3f} processor seconds a recording")


if __name__ == "__main__":
    main()
