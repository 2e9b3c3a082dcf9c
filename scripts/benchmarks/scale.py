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
from _harness import first_line, in_turn, thread_seconds

from nes2net.apps.scale.cluster import Resources, connect
from nes2net.apps.scale.collection import score_collection
from nes2net.apps.scale.engine import Model
from nes2net.apps.scale.results import to_score_file
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.evaluation.judgements import Scores
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.kernel import score_batch

_SAMPLES = 64600
BATCH = 8
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


def seconds_of_processes() -> float:
    """Measure the processor seconds of this process and of all that it has started, from Linux."""
    ticks = {}
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # the process ended meanwhile
        pid = int(path.parent.name)
        ticks[pid] = sum(map(int, fields[11:15]))  # with its children that ended
        children.setdefault(int(fields[1]), []).append(pid)
    pids = [os.getpid()]
    for pid in pids:  # grows while it is read
        pids += children.get(pid, [])
    return sum(ticks[pid] for pid in pids) / os.sysconf("SC_CLK_TCK")


def measured(run: Callable[[], object]) -> tuple[float, float]:
    """Call ``run``, and return its seconds of wall time and of processors."""
    time.sleep(3)  # let the last actor end first, because the seconds of an ended process are not counted any more
    began = time.perf_counter()
    used_before = seconds_of_processes()
    run()
    return time.perf_counter() - began, seconds_of_processes() - used_before


def of_detector(detector: Detector) -> float:
    """Measure the processor seconds of a recording in a batch, without reading; the first batch warms up."""
    score = partial(score_batch, detector, 0.1 * torch.randn(BATCH, _SAMPLES))
    score()
    return thread_seconds(score) / BATCH


def race(folder: Path, config: dict, precision: str, trials: list[Trial], rounds: int) -> dict[str, list]:
    """Score with both programs in turn, and return what :func:`measured` returns of each round but the first.

    Raises:
        SystemExit: if the scores differ.
    """
    path = folder / "model"
    Detector.from_config(config).eval().save(path)
    detector = Detector.from_pretrained(path, "cpu", precision)
    model = Model(str(path), "cpu", precision)
    alone = folder / "alone.txt"
    scaled = folder / "scaled.txt"

    def score_alone() -> None:
        """Score as `nes2net score`."""
        settings = ScoringSettings(num_samples=_SAMPLES, batch_size=BATCH, overwrite=True)
        judge_trials(detector, trials, alone, Scores(), settings=settings)

    def score_scaled() -> None:
        """Score as `nes2net scale`, into a new folder."""
        out = Path(tempfile.mkdtemp(dir=folder))
        score_collection(folder / "set", model, out, batch_size=BATCH, resources=Resources(1))
        to_score_file(out, scaled)

    runs = {"nes2net score": score_alone, "nes2net scale": score_scaled}
    if rounds > 1:
        in_turn(runs, 1, measured)  # to warm up
    figures = in_turn(runs, rounds, measured)
    if alone.read_bytes() != scaled.read_bytes():
        sys.exit("the scores of the two programs differ")
    return figures


def main() -> None:
    """Score with both programs, and print times."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
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
    with tempfile.TemporaryDirectory() as name, connect(Resources(1)):
        folder = Path(name)
        trials = write_shards(folder / "set", args.shards, args.rows)
        figures = race(folder, config, args.dtype, trials, args.rounds)
    print(f"{len(trials)} recordings of 4 s, {args.dtype}, one thread; the scores are the same to the last bit")
    for program, seconds in figures.items():
        wall, used = (statistics.median(values) for values in zip(*seconds))
        print(f"{program}: {wall:.1f} s; {used / len(trials):.3f} processor seconds a recording")


if __name__ == "__main__":
    main()
