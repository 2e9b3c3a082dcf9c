"""`nes2net export`: write a detector in another format, or push it to the Hugging Face hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from nes2net.cli.entry import add_architecture, subcommand
from nes2net.errors import InputError
from nes2net.machine.terminal import say_written


def add(commands: argparse._SubParsersAction) -> None:
    text = "Write a detector in another format, or upload it"
    example = "nes2net export detector.pth --to onnx --out detector.onnx"
    parser = subcommand(commands, "export", _export, text, example=example)
    parser.add_argument("model", help="checkpoint (.pth), folder, or name on the Hugging Face hub")
    add_architecture(parser)
    formats = (
        "pth: published names; safetensors: folder of this package; hf: transformers folder of the front-end, with the "
        "head; onnx; space: folder for a Hugging Face Space with the page of nes2net serve"
    )
    parser.add_argument("--to", choices=["pth", "safetensors", "hf", "onnx", "space"], help=formats)
    parser.add_argument(
        "--quantize",
        choices=["int8"],
        help="onnx only: the front-end's linear layers in int8; smaller and faster on a CPU",
    )
    parser.add_argument(
        "--calibration", metavar="FILE", help="space only: calibration of this model, saved by nes2net calibrate"
    )
    parser.add_argument("--out", help="file (pth, onnx) or folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the safetensors folder to the hub under this name")
    parser.add_argument("--private", action="store_true", help="make the hub's repository private")


def _export(args: argparse.Namespace) -> int:
    from nes2net.detector import Detector
    from nes2net.export.formats import export

    if bool(args.to) != bool(args.out) or not (args.to or args.push):
        raise InputError("name a format and a path with --to and --out, or a hub repository with --push")
    if args.quantize and not args.to:
        raise InputError("`quantize` goes with `to=onnx`")
    if args.calibration and not args.to:
        raise InputError("`calibration` goes with `to=space`")
    if args.out and Path(args.out).exists() and not args.overwrite:
        raise InputError(f"{args.out} exists: pass --overwrite or name another")
    detector = Detector.from_pretrained(args.model, device="cpu", config=args.config, base=args.base)
    if args.to:
        written = export(detector, args.to, args.out, quantize=args.quantize, calibration=args.calibration)
        say_written(written)
        if (weights := written.with_name(f"{written.name}.data")).exists():  # of an ONNX file beyond 2 GB
            say_written(weights)
    if args.push:
        print(f"pushed to {detector.push_to_hub(args.push, private=args.private)}")
    return 0
