"""`nes2net serve`: a page to listen with, and the same over HTTP."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from nes2net.cli.calibrated import add_calibration, decider_of
from nes2net.cli.entry import add_architecture, add_device, add_dtype, subcommand
from nes2net.errors import MissingLibrary
from nes2net.machine.installation import how_to_install


def add(commands: argparse._SubParsersAction) -> None:
    text = "Open a page to listen with: recordings, and the scores along their time"
    parser = subcommand(commands, "serve", _serve, text, example="nes2net serve --model detector.pth --open")
    parser.epilog = "The same over HTTP: curl -F file=@talk.wav http://127.0.0.1:7860/api/score"
    parser.resumes = False
    add_one = parser.add_argument
    add_one("--model", required=True, help="checkpoint (.pth), folder, or name on the Hugging Face hub")
    add_architecture(parser)
    add_calibration(
        parser,
        "calibration of this model, saved by nes2net calibrate: the page then shows probabilities and decisions; raw "
        "scores if not given",
    )
    add_one = parser.add_argument_group("where the page is").add_argument
    add_one("--port", type=int, help="port; 7860, or the next one that is free, if not given")
    add_one("--host", default="127.0.0.1", help="address to listen at; other than loopback, others can use the page")
    add_one(
        "--allow-name",
        dest="names",
        action="append",
        default=[],
        metavar="NAME",
        help="with --host: a further name by which browsers call this machine",
    )
    add_one("--open", dest="open_browser", action="store_true", help="open the page in a browser")
    add_one = parser.add_argument_group("limits, which protect this machine").add_argument
    add_one("--max-size", type=float, default=200.0, metavar="MB", help="largest file")
    add_one("--max-duration", type=float, default=7200.0, metavar="S", help="longest recording in seconds")
    add_one("--timeout", type=float, default=600.0, metavar="S", help="seconds that one recording may take")
    add_one(
        "--waiting",
        type=int,
        default=8,
        metavar="N",
        help="recordings that may wait, at most 30; one is scored at a time",
    )
    add_device(parser)
    add_dtype(parser, "precision: auto is that of the checkpoint")


def _serve(args: argparse.Namespace) -> int:
    if find_spec("gradio") is None:
        raise MissingLibrary(f"the page needs Gradio, which is not installed: {how_to_install('serve')}")
    from nes2net.serve.desk import Limits
    from nes2net.serve.server import Address, serve

    limits = Limits(args.max_size, args.max_duration, args.timeout, args.waiting)
    loading = {name: getattr(args, name) for name in ("device", "dtype", "config", "base")}
    address = Address(args.host, args.port, args.names)
    serve(args.model, decider_of(args), address, limits=limits, open_browser=args.open_browser, **loading)
    return 0
