"""`nes2net bench`: how fast this machine runs a detector, as a table to paste into an issue."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from nes2net.audio.crop import ASVSPOOF_SAMPLES
from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.cli.entry import add_base, add_device, add_dtype, add_workers, check_at_least, subcommand
from nes2net.errors import InputError, counted

if TYPE_CHECKING:
    from nes2net.detector import Detector

_DEFAULT = "wav2vec2_Nes2Net_X"


def add(commands: argparse._SubParsersAction) -> None:
    text = "Measure how fast this machine runs a detector"
    parser = subcommand(commands, "bench", _bench, text, example="nes2net bench --model detector.pth")
    parser.epilog = (
        "Every round runs all stages in turn. The medians are printed as a Markdown table, below the versions and the "
        "hardware. At full size a round takes a minute or more on a CPU."
    )
    parser.resumes = False
    add_one = parser.add_argument
    add_one("files", nargs="*", metavar="FILE", help="audio to decode and score; generated FLAC files if not given")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", help="checkpoint (.pth), folder, or name on the Hugging Face hub")
    which.add_argument(
        "--architecture", help=f"published model or recipe to build with random weights; {_DEFAULT} if neither is given"
    )
    add_base(parser)
    add_one("--frontend", help="another front-end for --architecture, e.g. wav2vec2_small for a short trial")
    add_device(parser)
    add_dtype(parser, "precision")
    add_one("--seconds", type=float, default=ASVSPOOF_SAMPLES / SAMPLE_RATE, help="length of the utterances")
    add_one(
        "--batch-size",
        type=int,
        nargs="+",
        help="utterances at once, each size is measured by itself; 1 and 8 on the CPU, 1 and 64 on a GPU if not given",
    )
    add_one("--rounds", type=int, default=3, help="measured rounds, after one that warms up")
    add_workers(parser, None, "processes that read audio; those of `nes2net score` if not given")


def _bench(args: argparse.Namespace) -> int:
    from nes2net.inspect.benchmark import environment, measure, table
    from nes2net.scoring.batches import default_batch_size

    check_at_least(args, rounds=1, num_workers=0, batch_size=1)
    if args.frontend and args.model:
        raise InputError("--frontend goes with --architecture: a checkpoint has its front-end")
    detector = _detector(args)
    num_samples = round(args.seconds * SAMPLE_RATE) if 0 < args.seconds < 3600 else 0
    if num_samples < detector.min_samples:
        shortest = detector.min_samples / SAMPLE_RATE
        raise InputError(f"--seconds is {shortest:.4g} or more for this detector and below an hour, not {args.seconds}")
    sizes = args.batch_size or [1, default_batch_size(detector.device)]
    with _files(args.files, num_samples, max(sizes)) as files:
        measured, product = measure(detector, files, num_samples, sizes, args.rounds, args.num_workers)
    what = f"{len(files)} {'files' if args.files else 'generated FLAC files'}, utterances of {num_samples:,} samples"
    lines = [*environment(detector), f"- {what}, medians of {counted(args.rounds, 'round')} by turns", ""]
    print("\n".join([*lines, *table(measured, product, detector)]))
    return 0


def _detector(args: argparse.Namespace) -> Detector:
    from nes2net.detector import Detector
    from nes2net.detector.recognition import named_architecture
    from nes2net.machine.devices import choose_device

    if args.model:
        return Detector.from_pretrained(args.model, args.device, args.dtype, base=args.base)
    device = choose_device(args.device)
    config = dict(named_architecture(args.architecture or _DEFAULT))
    if args.frontend:
        config["frontend"] = args.frontend
    print("building a detector of random weights; at full size this takes a while", file=sys.stderr)
    detector = Detector.from_config(config).to(device)
    return detector.set_precision("float32" if args.dtype == "auto" else args.dtype).eval()


@contextmanager
def _files(given: list[str], num_samples: int, batch_size: int) -> Iterator[list[Path]]:
    """Yield the given files, or generated FLAC files in a temporary folder (two batches, at least eight)."""
    if given:
        from nes2net.audio.files import with_folders_listed

        yield with_folders_listed(given)
        return
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.flac" for number in range(max(8, 2 * batch_size))]
        for file in files:
            # Low-passed noise under a varying envelope is about as hard to decode as speech.
            samples = np.convolve(rng.standard_normal(num_samples + 31), np.hanning(32), "valid")
            envelope = 0.02 + 0.05 * np.abs(np.sin(np.arange(num_samples) / 4000))
            soundfile.write(file, samples / samples.std() * envelope, SAMPLE_RATE)
        yield files
