"""`easy_inference_demo.py`: score one file under the published flags."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from nes2net.cli.published.lines import print_device, say
from nes2net.cli.published.main import MODEL_FLAGS, Flags, add_flags, backend_from_flags
from nes2net.data.audio.waveform import IN_THE_WILD_SAMPLES
from nes2net.lib.shell.command_line import OneLineParser, add_debug, command_of, run

_EXAMPLE = """{} --model_name wav2vec2_Nes2Net_X \\
  --model_path detector.pth --file_to_test recording.flac"""
_FLAGS: Flags = {
    **MODEL_FLAGS,
    "--AASIST_scale": {
        "type": int,
        "default": 32,
        "choices": [24, 32, 40, 48, 56, 64, 96],
        "help": "accepted for compatibility; changes nothing",
    },
    "--file_to_test": {"required": True, "help": "audio file, any format and rate"},
    "--model_path": {"required": True, "help": "detector checkpoint"},
    "--test_mode": {
        "default": "full",
        "choices": ["4s", "full"],
        "help": "the first 64,000 samples, or the whole file",
    },
    "--device": {"default": "auto", "help": "auto, cpu, cuda or cuda:N"},
}


def build_parser(prog: str = "easy_inference_demo.py") -> OneLineParser:
    """Build the parser of the published flags; ``prog`` is the name of the program in the help text."""
    parser = OneLineParser(
        prog=prog,
        description="Score one audio file: higher means more bona fide.",
        example=_EXAMPLE.format(command_of(prog)),
    )
    add_flags(parser, _FLAGS)
    add_debug(parser)
    parser.resumes = False
    parser.names["num_samples"] = "--test_mode 4s"
    return parser


def _score(args: argparse.Namespace) -> int:
    from nes2net.detector import Detector

    print_device(args.device)
    config = {"frontend": "xlsr_300m", "aggregation": "last", "backend": backend_from_flags(args)}
    detector = Detector.from_pretrained(args.model_path, args.device, config=config)
    say(f"Model loaded : {args.model_path}")
    num_samples = IN_THE_WILD_SAMPLES if args.test_mode == "4s" else None
    say(f"score: {detector.score(args.file_to_test, num_samples=num_samples)}")
    return 0


def main(argv: Sequence[str] | None = None, prog: str = "easy_inference_demo.py") -> int:
    return run(_score, build_parser(prog), argv)
