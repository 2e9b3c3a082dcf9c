"""`nes2net arena`: what the client of the Speech Anti-Spoofing Arena needs to run a detector."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from nes2net.cli.entry import add_architecture, add_dtype, subcommand
from nes2net.cli.score import add_length, num_samples_of
from nes2net.errors import InputError
from nes2net.machine.terminal import printable_name, say_written


def add(commands: argparse._SubParsersAction) -> None:
    text = "Write an adapter for the Speech Anti-Spoofing Arena"
    example = "nes2net arena --model detector.pth --out my-system --name 'My system'\nnes2net arena --check my-system"
    parser = subcommand(commands, "arena", _arena, text, example=example)
    parser.epilog = (
        "The folder holds the detector, arena_model.py for the client (pip install speech-spoof-bench), and meta.yaml, "
        "which says what the system is."
    )
    parser.add_argument("--model", help="checkpoint (.pth), folder, or name on the Hugging Face hub")
    add_architecture(parser)
    parser.add_argument("--out", metavar="DIR", help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument(
        "--check", metavar="DIR", help="say what meta.yaml of this folder still lacks, and write nothing"
    )
    scoring = parser.add_argument_group("how recordings are scored")
    add_length(scoring)
    add_dtype(scoring, "precision of weights and computation; auto is that of the checkpoint")
    scoring.add_argument("--batch-size", type=int, default=16, help="recordings that the client gives at once")
    about = parser.add_argument_group("what meta.yaml says of the system")
    about.add_argument("--name", help="its name; that of its recipe or its parts if not given")
    about.add_argument("--slug", help="its name in addresses, of a-z, 0-9 and -; made of the name if not given")
    about.add_argument("--description", help="one line; its parts if not given")
    about.add_argument("--code-url", metavar="URL", help="where its code is")
    about.add_argument("--checkpoint-url", metavar="URL", help="where its weights are; known of a detector on the hub")
    about.add_argument(
        "--arxiv",
        metavar="NUMBER",
        help="of its paper, such as 2504.05657, or none: the Arena does not rank a system without one; that of a "
        "published system of the same parts if not given",
    )


def _arena(args: argparse.Namespace) -> int:
    from nes2net.audio.crop import ASVSPOOF_SAMPLES
    from nes2net.detector import Detector
    from nes2net.export.arena import ADAPTER, META, About, check_meta, lacking, write_arena

    if args.check:
        if args.model or args.out:
            raise InputError("`check` looks at a folder that is there: leave out `model` and `out`")
        check_meta(Path(args.check))
        print(f"{printable_name(Path(args.check) / META)} says all that the Arena asks")
        return 0
    if not (args.model and args.out):
        raise InputError("name a detector with `model` and a folder to write with `out`, or a folder to `check`")
    out = Path(args.out)
    if out.exists() and not args.overwrite:
        raise InputError(f"{out} exists: pass --overwrite or name another")
    detector = Detector.from_pretrained(args.model, device="cpu", config=args.config, base=args.base)
    on_hub = not Path(args.model).exists() and args.config is None and args.base is None
    system = write_arena(
        detector,
        out,
        About(args.name, args.slug, args.description, args.code_url, args.checkpoint_url, args.arxiv),
        num_samples=num_samples_of(args, ASVSPOOF_SAMPLES, detector.record),
        hub_name=args.model if on_hub else None,
        precision=args.dtype,
        batch_size=args.batch_size,
    )
    say_written(out / ADAPTER)
    say_written(out / META)
    if "paper" not in system:
        print("no paper is named, so the Arena will not rank the system: --arxiv NUMBER names one")
    elif args.arxiv is None:
        print(f"paper: arXiv {system['paper']['arxiv_id']}, of a published system of the same parts")
    if empty := lacking(system):
        print(f"{META} lacks {', '.join(f'system.{key}' for key in empty)}: fill in before you submit")
    folder = printable_name(shlex.quote(str(out)))
    print("next:")
    print(f"  cd {folder} && speech-spoof-bench run --model-module arena_model:Model --datasets OWNER/NAME")
    return 0
