"""Claim: from FLAC to scores, XLS-R 300M + Nes2Net-X beats the published way: 1.2 times in float32, 2.2 in bfloat16, 3.2 in int8.

On the CPU, with random weights, in the '4sec' protocol (64,600 samples). The reference,
:func:`score_as_published`, has batches of 2, autograd on, files decoded in the main process, and
plain layers in float32 (fairseq, or a transcription of it if it is not installed, and a
transcription of Nes2Net-X). The other rows are ``judge_trials``, end to end. All rows and a matrix
product run in turn (A B A B …); ratios are of medians of wall time.

"steady" is the speed from the second batch on, without the work done once per run (hashing the
weights, starting the workers). "of peak" is the steady speed as a share of that of the matrix
product in the same precision. Files are real recordings of mixed length if NES2NET_SHARED (or
../shared) has them, otherwise generated.

    OMP_NUM_THREADS=2 scripts/bench scoring                          # minutes
    OMP_NUM_THREADS=2 scripts/bench scoring --batches 4 8 16
    scripts/bench scoring --small                                    # tiny model, as a test; the figures mean nothing
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import librosa
import numpy as np
import torch
from _gpu import configuration
from _harness import first_line, in_turn, median_seconds, name_of, quietly, recordings, versions, wall_seconds
from _published import PublishedDetector
from frontends import peaks_of, product_runs
from scipy.stats import spearmanr
from torch import nn

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.evaluation.judgements import Scores
from nes2net.lib.computing.flops import count_flops
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.score_file import read_scores

PUBLISHED_BATCH = 2
PEAKS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}


def score_as_published(model: nn.Module, trials: Sequence[Trial], out: Path, num_samples: int) -> None:
    """Score as the published program: read, pad, compute with autograd, and append to the file, in one process."""
    model.eval()
    out.unlink(missing_ok=True)
    for start in range(0, len(trials), PUBLISHED_BATCH):
        batch = trials[start : start + PUBLISHED_BATCH]
        rows = []
        for trial in batch:
            samples, _ = librosa.load(trial.path, sr=16000)
            rows.append(np.tile(samples, num_samples // len(samples) + 1)[:num_samples])
        logits = model(torch.from_numpy(np.stack(rows)).float())
        scores = logits[:, 1].data.cpu().numpy()
        with open(out, "a") as file:
            file.writelines(f"{trial.id} {score}\n" for trial, score in zip(batch, scores))


def score_trials(detector: Detector, trials: Sequence[Trial], out: Path, **settings: Any) -> None:
    """Score all ``trials`` as `nes2net score` does.

    Raises:
        RuntimeError: if a trial has no score.
    """
    failures = judge_trials(detector, trials, out, Scores(), settings=ScoringSettings(**settings)).failures
    if failures:
        raise RuntimeError(f"{len(failures)} trials have no score: {next(iter(failures.values()))}")


def in_precision(detector: Detector, precision: str) -> Detector:
    """Build a detector of ``precision`` with the weights of ``detector``, which stays unchanged."""
    copied = Detector.on_meta(detector.config)
    assert copied is not None
    copied.load_state_dict(detector.state_dict(), assign=True)
    return copied.eval().set_precision(precision)


class Row(NamedTuple):
    """A row of the table: a detector and the settings with which it scores."""

    detector: Detector
    settings: dict[str, Any]


def rows_of(detector: Detector, arguments: argparse.Namespace, num_samples: int) -> dict[str, Row]:
    """Name the rows: each precision in each batch size."""
    rows = {}
    for batch in arguments.batches:
        for precision in PEAKS:
            settings = {"num_samples": num_samples, "batch_size": batch, "overwrite": True}
            rows[f"{precision}, batch {batch}"] = Row(in_precision(detector, precision), settings)
    return rows


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure scoring in all precisions against the published way, and print speeds and differences."""
    num_samples = 16000 if arguments.small else ASVSPOOF_SAMPLES
    config = configuration(small=arguments.small)
    detector = Detector.from_config(config).eval()
    published = PublishedDetector(detector)
    meta = Detector.on_meta(config)
    assert meta is not None
    flops = count_flops(meta, torch.zeros(1, num_samples, device="meta"))
    print(f"{flops / 1e9:.1f} GFLOP for {num_samples:,} samples; published way: {published.source}")

    trials = recordings(folder, arguments.files)
    rows = rows_of(detector, arguments, num_samples)
    as_published = partial(score_as_published, published, trials, folder / "published.txt", num_samples)
    runs: dict[Any, Callable[[], Any]] = {"published": partial(quietly, as_published)}
    for name, row in rows.items():
        few = trials[: row.settings["batch_size"]]
        score_all = partial(score_trials, row.detector, trials, folder / f"{name}.txt", **row.settings)
        # A run of one batch measures the work that is done once per run, and the batch itself.
        score_few = partial(score_trials, row.detector, few, folder / "first.txt", **row.settings)
        runs[name] = partial(quietly, score_all)
        runs[name, "first"] = partial(quietly, score_few)
    products = product_runs(PEAKS.values())
    runs |= products
    short_runs = {name: run for name, run in runs.items() if name not in rows}
    in_turn(short_runs, 1, wall_seconds)  # to warm up
    seconds = median_seconds(runs, arguments.rounds)

    peaks = peaks_of(seconds, products)
    for dtype, peak in peaks.items():
        print(f"{f'matrix product, {name_of(dtype)}':>28}  {peak / 1e9:8.1f} GFLOP/s")
    reference = seconds["published"] / len(trials)
    share = flops / reference / peaks[torch.float32]
    print(f"{'published':>28}  {reference:6.3f} s/utterance{'':>42}  {share:4.0%} of peak")
    for name, row in rows.items():
        each = seconds[name] / len(trials)
        num_later = len(trials) - row.settings["batch_size"]
        steady = (seconds[name] - seconds[name, "first"]) / num_later
        share = flops / steady / peaks[PEAKS[row.detector.precision]]
        speeds = (
            f"{each:6.3f} s/utterance  {reference / each:5.2f}×  steady {steady:6.3f} s  {reference / steady:5.2f}×"
        )
        print(f"{name:>28}  {speeds}  {share:4.0%} of peak")
    for name in rows:
        print(f"{name:>28}  {difference(folder / 'published.txt', folder / f'{name}.txt')}")


def difference(reference: Path, compared: Path) -> str:
    """Describe the difference of two score files."""
    reference_ids, reference_scores = read_scores(reference)
    compared_ids, compared_scores = read_scores(compared)
    assert list(reference_ids) == list(compared_ids)
    expected = np.asarray(reference_scores, float)
    scores = np.asarray(compared_scores, float)
    largest = np.abs(expected - scores).max()
    rank = spearmanr(expected, scores)[0]
    return (
        f"scores differ by {largest:.1e} at most (their deviation is {expected.std():.1e}), rank correlation {rank:.5f}"
    )


def main() -> None:
    """Measure scoring in a temporary folder."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[8], help="batch sizes of this toolkit")
    parser.add_argument("--small", action="store_true", help="tiny model and one second, to see that it runs")
    arguments = parser.parse_args()
    if arguments.files <= max(arguments.batches):
        parser.error(f"--files is more than one batch: {max(arguments.batches) + 1} or more")
    torch.manual_seed(0)
    print(versions())
    with tempfile.TemporaryDirectory() as temporary:
        measure(arguments, Path(temporary))


if __name__ == "__main__":
    main()
