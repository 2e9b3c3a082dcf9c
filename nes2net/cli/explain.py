"""`nes2net explain`: which parts of a recording, in time and in frequency, move its score."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes2net.cli.entry import (
    INCOMPLETE,
    add_architecture,
    add_device,
    add_dtype,
    check_at_least,
    subcommand,
)
from nes2net.cli.predict_files import PICTURES, check_places, named_alike, reason
from nes2net.errors import InputError, counted
from nes2net.machine.files import json_text, replacing, write_output, writing
from nes2net.machine.progress import ProgressDisplay
from nes2net.machine.terminal import print_note, printable_name, say_written

if TYPE_CHECKING:
    from nes2net.explanation import Explanation

_EPILOG = (
    "Relevance is in units of the score. A part has the relevance by which the score would change without it, or by its "
    "gradient; above 0 it moves the score towards bona fide. The check says whether that can be believed: removing the "
    "most relevant tenth must change the score more than removing a random tenth. Exit status 1: a file could not be "
    "explained."
)
_METHODS = ["occlusion", "gradient_x_input", "integrated_gradients"]


def add(commands: argparse._SubParsersAction) -> None:
    example = "nes2net explain recording.wav --model detector.pth --out pictures/"
    parser = subcommand(commands, "explain", _explain, "Explain the score of recordings", example=example)
    parser.epilog = _EPILOG
    parser.resumes = False
    add_one = parser.add_argument
    add_one("files", nargs="+", metavar="FILE", help="audio files, or folders, which are searched for audio files")
    add_one("--model", required=True, help="checkpoint (.pth), folder, or name on the Hugging Face hub")
    add_architecture(parser)
    add_one("--out", metavar="DIR", help="folder to write a picture and a .json of each recording to")
    add_one("--picture", default="png", choices=[suffix[1:] for suffix in PICTURES], help="format of the pictures")
    add_one("--json", action="store_true", help="print one JSON object a line for each file")
    which = parser.add_argument_group("which part; at most 30 s are explained at once").add_argument
    which("--start", type=float, default=0.0, metavar="S", help="seconds to leave out at the beginning")
    which("--duration", type=float, metavar="S", help="seconds to explain; all that follow if not given")
    which(
        "--samples",
        dest="num_samples",
        type=int,
        metavar="N",
        help="score the first N samples at 16 kHz, repeating shorter files (64600: the '4sec' protocol); "
        "if not given, the number of a published detector whose authors always score as many, else that of training if it "
        "is not about 4 s, else all samples",
    )
    how = parser.add_argument_group("how").add_argument
    how("--method", default="occlusion", choices=_METHODS, help="occlusion removes parts; the others need captum")
    how(
        "--baseline",
        default="floor",
        choices=["floor", "silence"],
        help="what stands for absence: noise of the recording's own floor, or silence",
    )
    how("--bin", dest="bin_seconds", type=float, default=0.1, metavar="S", help="length of a time bin in seconds")
    how("--bands", dest="num_bands", type=int, default=16, help="frequency bands of equal width up to 8 kHz")
    how("--steps", type=int, default=32, help="steps of integrated gradients")
    how("--draws", type=int, default=20, help="random tenths that the check removes")
    how("--seed", type=int, default=0, help="seed of the floor's noise and of the check")
    computing = parser.add_argument_group("computing")
    computing.add_argument("--batch-size", type=int, help="versions scored at once; a suitable number if not given")
    add_device(computing)
    add_dtype(computing, "precision: auto is that of the checkpoint; int8 has no gradients")


def _explain(args: argparse.Namespace) -> int:
    from nes2net.audio.files import with_folders_listed
    from nes2net.detector import Detector
    from nes2net.explanation import How, explain
    from nes2net.published_models import samples_to_score

    check_at_least(args, num_samples=1, batch_size=1, num_bands=2, steps=2, draws=1, seed=0)
    files = with_folders_listed(args.files)
    places = _places(args, files)
    detector = Detector.from_pretrained(args.model, args.device, args.dtype, config=args.config, base=args.base)
    if args.num_samples is None:
        heard = samples_to_score(detector.record)
        print_note(heard.words and f"{heard.words}; --samples chooses another number")
    how = How(
        args.method,
        args.baseline,
        args.bin_seconds,
        args.num_bands,
        args.steps,
        args.draws,
        args.seed,
        args.batch_size,
    )
    failed = 0
    for path in files:
        title = f"explaining {printable_name(path.name)}"
        try:
            with ProgressDisplay[None](title=title, unit="version", delay=1) as display:

                def progress(count: int, total: int, display: ProgressDisplay[None] = display) -> None:
                    display.total = display.bar.total = total
                    display.update(count)

                found = explain(
                    detector,
                    path,
                    how=how,
                    num_samples="auto" if args.num_samples is None else args.num_samples,
                    start=args.start,
                    duration=args.duration,
                    progress=progress,
                )
        except InputError as error:
            if len(files) == 1:
                raise
            failed += 1
            print(
                json.dumps({"file": str(path), "error": reason(path, error)})
                if args.json
                else f"{printable_name(path)}: {reason(path, error)}\n",
                flush=True,
            )
            continue
        row = {"file": str(path), "model": str(args.model), **found.to_dict()}
        print(json_text(row) if args.json else "\n".join(_lines(path, found)) + "\n", flush=True)
        if places:
            _write(places[path], row, found, path, args)
    if failed:
        print(f"{failed:,} of {counted(len(files), 'file')} could not be explained", file=sys.stderr)
    return INCOMPLETE if failed else 0


def _places(args: argparse.Namespace, files: list[Path]) -> dict[Path, Path]:
    """Map each recording to its picture; empty without --out."""
    if args.out is None:
        return {}
    places = {path: Path(args.out) / name for path, name in named_alike(files, f".{args.picture}").items()}
    check_places(places.values(), "name another folder with --out")
    return places


def _lines(path: Path, found: Explanation) -> list[str]:
    """What is printed of an explanation."""
    from nes2net.explanation.picture import TITLES

    part = f" from {found.start:.2f} s on" if found.start else ""
    lines = [
        f"{printable_name(path)}: score {found.score:.4f}",
        f"  {found.duration:.2f} s{part} explained by {TITLES[found.method]}; absence is {_ABSENCE[found.baseline]}",
        "  moved most by",
    ]
    lines[1:1] = [f"  remark: {found.remark}"] if found.remark else []
    parts = [(f"{start:.2f}–{end:.2f} s", value) for start, end, value in found.relevance.stretches()]
    parts += [(f"{low:.0f}–{high:.0f} Hz", value) for low, high, value in found.relevance.strongest_bands()]
    for place, value in parts:
        lines.append(f"    {place:14} {value:+9.4f}  towards {'bona fide' if value > 0 else 'spoof'}")
    if not parts:
        lines.append("    nothing: no part changes the score")
    if found.layers is not None:
        strongest = ", ".join(f"{layer} ({found.layers.shares[layer]:.0%})" for layer in found.layers.strongest())
        lines.append(f"  layers with the largest shares: {strongest}")
    for one in found.checks:
        what = "time" if one.of == "time" else "the cells of time and frequency"
        wrong = "" if one.change > one.mean_random_change else "; DO NOT TRUST this explanation"
        lines.append(
            f"  check: without the most relevant tenth of {what} the score changes by {one.change:.4f}, without a random "
            f"tenth by {one.mean_random_change:.4f} ({one.ratio:.1f} times; more than {one.share_smaller:.0%} of "
            f"{len(one.random_changes)}){wrong}"
        )
    if found.difference is not None and found.unexplained is not None:
        total = found.difference - found.unexplained
        rough = abs(found.unexplained) > 0.1 * max(abs(found.difference), 0.1)
        advice = "; the gradients are too rough, take more --steps or --method occlusion" if rough else ""
        lines.append(f"  relevance adds up to {total:.4f} of {found.difference:.4f}{advice}")
    return lines


_ABSENCE = {"floor": "noise of the recording's floor", "silence": "silence"}


def _write(picture: Path, row: dict[str, Any], found: Explanation, path: Path, args: argparse.Namespace) -> None:
    """Write the picture and the JSON of a recording."""
    from nes2net.explanation.picture import draw

    with writing(picture, "name another folder with --out"), replacing(picture) as temporary:
        draw(temporary, found, name=path.name, model=Path(args.model).name, file_format=args.picture)
    data = picture.with_suffix(".json")
    write_output(data, json_text(row, indent=1) + "\n")
    for written in (picture, data):
        say_written(written, beside_data=True)
