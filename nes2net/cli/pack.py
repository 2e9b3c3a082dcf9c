"""`nes2net pack`: the recordings of a corpus as Parquet or tar shards."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from nes2net.cli.entry import CorpusNames, corpus_in_place, subcommand
from nes2net.errors import InputError, counted, readable_size
from nes2net.machine.terminal import printable

if TYPE_CHECKING:
    from nes2net.corpora.corpus import Corpus
    from nes2net.corpora.trial import Trial

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def add(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    text = "Pack the recordings of a corpus into Parquet or tar shards"
    parser = subcommand(commands, "pack", _pack, text, example="nes2net pack in_the_wild DB/release_in_the_wild packed")
    parser.epilog = (
        "The audio files stay as they are, and their bytes are copied. Read the shards by `nes2net score shards OUT` and "
        "the like; docs/corpora.md has their layout."
    )
    parser.names |= {"shard_size": "--shard-size"}
    parser.add_argument("corpus", choices=CorpusNames(), help="which corpus")
    parser.add_argument("root", help="its folder")
    parser.add_argument("out", metavar="OUT", help="folder to write; the same command resumes an interrupted run")
    parser.add_argument("--split", nargs="+", metavar="SPLIT", help="these of train, dev and eval; all that are there")
    parser.add_argument("--protocols", metavar="DIR", help="folder of the protocols; searched for in root if not given")
    parser.add_argument("--keys", metavar="DIR", help="folder of the keys, for a corpus that keeps its labels apart")
    parser.add_argument(
        "--format", choices=["parquet", "tar"], default="parquet", help="that of the Arena and the hub, or WebDataset"
    )
    parser.add_argument("--shard-size", default="500MB", metavar="SIZE", help="audio in a shard, such as 500MB or 1GB")


def _pack(args: argparse.Namespace) -> None:
    from nes2net.corpora.pack import pack

    corpus = corpus_in_place(args)
    parts = _parts(args, corpus)
    result = pack(parts, args.out, title=corpus.title, format=args.format, shard_bytes=_bytes(args.shard_size))
    for split, trials in parts.items():
        unlabelled = sum(trial.label is None for trial in trials)
        print(
            f"{split}: {counted(len(trials), 'recording')}{f', {unlabelled:,} without a label' if unlabelled else ''}"
        )
    before = f", {result.there_before} of which were there" if result.there_before else ""
    shards = counted(len(result.shards), "shard")
    print(printable(f"{readable_size(result.size)} of audio in {shards}{before}, in {args.out}"))


def _parts(args: argparse.Namespace, corpus: Corpus) -> dict[str, list[Trial]]:
    """Split → its trials, with the labels of the keys."""
    from nes2net.corpora.protocol import NotFound, canonical_phase

    labelled = {}
    if args.keys is not None:
        if not corpus.key_files:
            raise InputError(f"the protocols of {corpus.title} hold its labels: leave out `keys`")
        labelled = {trial.id: trial for trial in corpus.keys(args.keys)}
    if args.split:
        splits = tuple(map(canonical_phase, args.split))
    else:
        splits = corpus.find_splits(args.root, args.protocols)
    parts: dict[str, list[Trial]] = {}
    absent: list[NotFound] = []
    for split in splits:
        try:
            trials = corpus.trials(args.root, split, protocols=args.protocols)
        except NotFound as error:
            absent.append(error)
            continue
        parts[split] = [replace(labelled[t.id], path=t.path) if t.id in labelled else t for t in trials]
    if absent and (args.split or not parts):
        raise absent[0]
    return parts


def _bytes(size: str) -> int:
    number = size.upper().rstrip("BKMG")
    try:
        return int(float(number) * _UNITS[size.upper()[len(number) :]])
    except (ValueError, KeyError, OverflowError):
        raise InputError(f"`shard_size` is a number with MB or GB, not {size}") from None
