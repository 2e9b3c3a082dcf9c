"""`nes2net merge`: an ordinary detector of an adapted one and its base."""

from __future__ import annotations

import argparse
from pathlib import Path

from nes2net.cli.entry import add_base, subcommand
from nes2net.errors import InputError
from nes2net.machine.terminal import say_written


def add(commands: argparse._SubParsersAction) -> None:
    text = "Make an ordinary detector of an adapted one and its base"
    example = "nes2net merge models/0520_lora/epoch_10.pth detector.pth"
    parser = subcommand(commands, "merge", _merge, text, example=example)
    parser.epilog = "LoRA and DoRA become part of the weights; adapters and prompts stay beside them, in one file."
    parser.resumes = False
    parser.add_argument("model", metavar="CHECKPOINT", help="checkpoint (.pth) or folder of an adapted detector")
    parser.add_argument("out", metavar="OUT", help="file (.pth) or folder to write")
    add_base(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def _merge(args: argparse.Namespace) -> None:
    from nes2net.detector import Detector

    if Path(args.out).exists() and not args.overwrite:
        raise InputError(f"{args.out} exists: pass --overwrite or name another")
    detector = Detector.from_pretrained(args.model, device="cpu", base=args.base)
    adapt = detector.frontend.config.get("adapt", {"kind": ""})
    if detector.base is None and adapt["kind"] in ("", "adapter", "prompt"):
        raise InputError(f"{args.model} holds all tensors of its detector: there is nothing to merge")
    detector.merged().save(args.out, **detector.record)
    say_written(args.out)
