"""`nes2net pack`: the recordings of a corpus as Parquet or tar shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from nes2net.cli.flags import CorpusName, Flag, Folder, located
from nes2net.errors import InputError, counted, readable_size
from nes2net.machine.terminal import printable

if TYPE_CHECKING:
    from nes2net.corpora.trial import Part, Trial

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def pack(
    corpus: CorpusName,
    root: str,
    out: Annotated[str, Flag("OUT")],
    *,
    split: Annotated[Sequence[str], Flag("SPLIT")] = (),
    protocols: Folder | None = None,
    keys: Folder | None = None,
    format: Literal["parquet", "tar"] = "parquet",
    shard_size: Annotated[str, Flag("SIZE")] = "500MB",
) -> None:
    """Pack the recordings of a corpus into Parquet or tar shards.

    The audio files stay as they are, and their bytes are copied. Read the shards by `nes2net score shards OUT` and the
    like; docs/corpora.md has their layout.

    Example:
        nes2net pack in_the_wild DB/release_in_the_wild packed

    Args:
        corpus: which corpus
        root: its folder
        out: folder to write; the same command resumes an interrupted run
        split: these of train, dev and eval; all that are there
        protocols: folder of the protocols; searched for in root if not given
        keys: folder of the keys, for a corpus that keeps its labels apart
        format: that of the Arena and the hub, or WebDataset
        shard_size: audio in a shard, such as 500MB or 1GB
    """
    from nes2net.corpora.pack import pack as packed
    from nes2net.registry import corpora

    parts = _parts(located(corpus, root, protocols=protocols), split, keys)
    title = corpora.get(corpus).title
    result = packed(parts, out, title=title, format=format, shard_bytes=_bytes(shard_size))
    for name, trials in parts.items():
        unlabelled = sum(trial.label is None for trial in trials)
        without = f", {unlabelled:,} without a label" if unlabelled else ""
        print(f"{name}: {counted(len(trials), 'recording')}{without}")
    before = f", {result.there_before} of which were there" if result.there_before else ""
    shards = counted(len(result.shards), "shard")
    print(printable(f"{readable_size(result.size)} of audio in {shards}{before}, in {out}"))


def _parts(place: Part, asked: Sequence[str], keys: str | None) -> dict[str, list[Trial]]:
    """Split → its trials, with the labels of the keys; those asked for, or all that are there."""
    from nes2net.corpora.protocol import NotFound, canonical_phase
    from nes2net.registry import corpora

    corpus = corpora.get(place.corpus)
    labelled = {}
    if keys is not None:
        if not corpus.key_files:
            raise InputError(f"the protocols of {corpus.title} hold its labels: leave out `keys`")
        labelled = {trial.id: trial for trial in corpus.keys(keys)}
    if asked:
        splits = tuple(map(canonical_phase, asked))
    else:
        splits = corpus.find_splits(place.root, place.protocols)
    parts: dict[str, list[Trial]] = {}
    absent: list[NotFound] = []
    for split in splits:
        try:
            trials = corpus.trials(place.root, split, protocols=place.protocols)
        except NotFound as error:
            absent.append(error)
            continue
        parts[split] = [replace(labelled[t.id], path=t.path) if t.id in labelled else t for t in trials]
    if absent and (asked or not parts):
        raise absent[0]
    return parts


def _bytes(size: str) -> int:
    number = size.upper().rstrip("BKMG")
    try:
        return int(float(number) * _UNITS[size.upper()[len(number) :]])
    except (ValueError, KeyError, OverflowError):
        raise InputError(f"`shard_size` is a number with MB or GB, not {size}") from None
