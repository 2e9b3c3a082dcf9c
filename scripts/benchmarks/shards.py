"""How the cost of `nes2net scale` grows with the number of shards: listing, writing, finding what is left, scheduling.

A shard is a Parquet file with one recording, of which 1 s is scored. All shards are links to one
file, and the detector is small, so that little else is measured. For the first figures all shards
have results already: finding the shards is timed, writing the results, and a whole call that finds nothing left. For the
last figure one actor scores all shards.

    scripts/bench shards --sizes 1000 10000                # two minutes
    scripts/bench shards --sizes 100000 --scored 0         # listing and resuming alone
    scripts/bench shards --sizes 30 60 --scored 60         # as a test; the figures mean nothing
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import scale
import torch

from nes2net.apps.scale.cluster import Resources
from nes2net.apps.scale.collection import score_collection
from nes2net.apps.scale.engine import Model
from nes2net.apps.scale.results import CollectionRecord, write_results
from nes2net.apps.scale.sources import shards_of
from nes2net.detector import Detector

_RATE = 16000


def write_shards(folder: Path, count: int) -> None:
    """Write a shard of one recording, and links to it."""
    (trial,) = scale.write_shards(folder, 1, 1)
    first = trial.path.parent
    for number in range(1, count):
        path = folder / f"{number:07d}.parquet"
        if number % 50_000:
            os.link(first, path)
        else:  # a file has at most 65,000 links
            first = Path(shutil.copyfile(first, path))


def score(source: Path, model: Path, out: Path) -> tuple[CollectionRecord, float]:
    """Score a collection, and return its record and the seconds."""
    began = time.perf_counter()
    record = score_collection(source, Model(str(model), "cpu"), out, num_samples=_RATE, resources=Resources(1))
    return record, time.perf_counter() - began


def resuming(count: int, folder: Path, model: Path) -> str:
    """Time listing ``count`` shards, writing their results, and a call for which all results exist; return a line of text."""
    write_shards(folder / "first", 1)
    first, _ = score(folder / "first", model, folder / "out")
    for path in (folder / "out").glob("*.parquet"):
        path.unlink()
    write_shards(folder / "all", count)
    began = time.perf_counter()
    shards = shards_of(folder / "all")
    listed = time.perf_counter() - began
    began = time.perf_counter()
    row = {"id": "a", "address": "a", "seconds": 1.0, "score": 0.0, "error": None}
    for shard in shards:
        write_results(folder / "out", shard, first.run, [row])
    written = time.perf_counter() - began
    record, resumed = score(folder / "all", model, folder / "out")
    assert record.kept_from_earlier_runs == count
    words = f"{count} shards: listed in {listed:.2f} s ({1000 * listed / count:.2f} ms each)"
    words += f", results written in {written:.1f} s ({1000 * written / count:.2f} ms each)"
    return f"{words}, resumed in {resumed:.2f} s ({1000 * resumed / count:.2f} ms each)"


def scheduling(count: int, folder: Path, model: Path) -> str:
    """Time scoring ``count`` shards of one recording; return a line of text."""
    write_shards(folder / "all", count)
    record, seconds = score(folder / "all", model, folder / "out")
    assert record.scored == count
    return f"{count} shards: scored in {seconds:.1f} s ({seconds / count * 1000:.1f} ms each)"


def main() -> None:
    """Measure resuming and scheduling for each number of shards, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000], help="shards with results")
    parser.add_argument("--scored", type=int, nargs="+", default=[100, 1000], help="shards to score; 0: none")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for measure, counts in ((resuming, args.sizes), (scheduling, args.scored)):
        for count in filter(None, counts):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                Detector.from_config(scale.SMALL).eval().save(folder / "model")
                print(measure(count, folder, folder / "model"), flush=True)


if __name__ == "__main__":
    main()
