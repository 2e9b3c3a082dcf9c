"""`nes2net check-data`: check which parts of a corpus are there, and what can be done with them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from nes2net.cli.entry import INCOMPLETE
from nes2net.cli.flags import CorpusName, Flag, Folder, located
from nes2net.errors import counted, listed, worded
from nes2net.machine.terminal import printable, text_table

if TYPE_CHECKING:
    from nes2net.corpora.check import CorpusCheck, SplitCheck
    from nes2net.corpora.corpus import Counts
    from nes2net.corpora.decoding import Decoding

# Fields with more values, such as the attacks of ASVspoof 2021 DF, are summed up in a line.
_MOST_VALUES = 40


def check_data(
    corpus: CorpusName,
    root: str | None = None,
    *,
    protocols: Folder | None = None,
    keys: Folder | None = None,
    split: Annotated[Sequence[str] | None, Flag("SPLIT")] = None,
    subset: bool = False,
    audio: bool = False,
    num_workers: int | None = None,
) -> int:
    """Check a corpus, and say what can be done with it.

    Example:
        nes2net check-data asvspoof2019_la DB/LA

    Args:
        corpus: which corpus (generic, shards: recordings of your own), or hub:OWNER/NAME for a data set of the Hugging
            Face hub
        root: its folder; generic: a CSV list, or a folder with a folder for each class; one of the hub is downloaded
            if not given
        protocols: folder of the protocols; searched for in root if not given
        keys: folder of the keys; searched for in root if not given
        split: check only these of train, dev and eval
        subset: accept protocols with fewer trials than the official ones
        audio: decode every file as well
        num_workers: processes that decode; 0 decodes in this one; one per processor if not given
    """
    from nes2net.corpora.check import check_corpus
    from nes2net.registry import corpora

    check = check_corpus(
        corpora.get(corpus),
        located(corpus, root).root,
        protocols=protocols,
        keys=keys,
        splits=split,
        subset=subset,
        decode=audio,
        workers=num_workers,
    )
    print(printable(worded(report(check))))
    return 0 if check.complete else INCOMPLETE


def report(check: CorpusCheck) -> str:
    lines = [f"{check.title} in {check.root}"]
    for name, text in (("licence", check.licence), ("source", check.source)):
        lines += _row(name, text) if text else []
    for part in check.splits:
        lines += ["", part.split, *_part_lines(part)]
    if check.key is not None:
        lines += ["", "keys", *_row("key", str(check.key.path or "not found"))]
        for phase, counts in check.key.counts.items():
            official = check.key.official.get(phase)
            lines += [f"  phase {phase}", *(f"  {line}" for line in _counts_lines(counts, official))]
    lines += ["", "What can be done"]
    lines += [f"  {line}" for line in text_table(check.tasks(), "l")]
    if check.is_whole:
        lines += ["  It names no parts (train, dev, eval): the same trials would serve for all of this."]
    if check.complete:
        return "\n".join([*lines, "", "Nothing is missing."])
    lines += ["", "What is missing or wrong"]
    for problem in check.missing:
        lines += _wrapped(problem, "  - ", "    ")
    return "\n".join(lines)


def _part_lines(part: SplitCheck) -> list[str]:
    lines = _row("protocol", str(part.protocol or "not found"))
    lines += _row("audio", str(part.audio or "not found"))
    lines += _counts_lines(part.counts, None if part.notes else part.official)
    for note in part.notes:
        lines += _row("note", note)
    if part.audio is not None and part.counts.trials:
        text = f"{len(part.present):,} of {part.counts.trials:,} are there"
        if part.missing:
            text += f"; {len(part.missing):,} missing: {listed(part.missing)}"
        lines += _row("files", text)
    if part.extra:
        lines += _row("extra files", f"{len(part.extra):,} in the folder are in no protocol: {listed(part.extra)}")
    lines += _decoding_lines(part.decoding) if part.decoding else []
    return lines + (_row("segments", "; ".join(part.segments)) if part.segments else [])


def _counts_lines(counts: Counts, official: Counts | None) -> list[str]:
    text = _numbers(counts)
    if official is not None and counts.trials:
        right = not counts.differences(official)
        text += " (the official numbers)" if right else f" (officially {_numbers(official)})"
    lines = _row("trials", text)
    for name, values in counts.by.items():
        if len(values) > _MOST_VALUES:
            text = f"{counted(len(values), 'value')}, {min(values.values()):,} to {max(values.values()):,} trials each"
        else:
            text = ", ".join(f"{value} {number:,}" for value, number in values.items())
        lines += _row(name, text)
    return lines


def _numbers(counts: Counts) -> str:
    if counts.bonafide is None or counts.spoof is None:
        return f"{counts.trials:,}"
    unlabelled = counts.trials - counts.bonafide - counts.spoof
    text = f"{counts.trials:,}: {counts.bonafide:,} bona fide, {counts.spoof:,} spoofed"
    return f"{text}, {unlabelled:,} without a label" if unlabelled else text


def _decoding_lines(decoding: Decoding) -> list[str]:
    readable = decoding.files - len(decoding.unreadable)
    lines = _row("decoded", f"{readable:,} of {counted(decoding.files, 'file')}")
    if readable:
        (shortest, first), (longest, last) = decoding.shortest, decoding.longest
        text = f"{decoding.seconds / 3600:,.2f} h in all, {shortest:.2f} s ({first}) to {longest:.2f} s ({last})"
        lines += _row("duration", text)
        rates = [f"{number:,} at {rate:,} Hz" for rate, number in sorted(decoding.rates.items())]
        if decoding.other_rate:
            rates.append(f"resampled to 16,000 Hz when read: {listed(decoding.other_rate)}")
        lines += _row("sample rate", "; ".join(rates))
        if set(decoding.channels) != {1}:
            text = ", ".join(f"{number:,} with {n}" for n, number in sorted(decoding.channels.items()))
            lines += _row("channels", f"{text} (read as their mean)")
    if decoding.second_decoder:
        names = decoding.second_decoder
        lines += _row(
            "FFmpeg",
            f"{counted(len(names), 'file is', 'files are')} read by FFmpeg, not by libsndfile: {listed(names)}",
        )
    if decoding.unreadable:
        lines += _row("unreadable", f"{counted(len(decoding.unreadable), 'file')}: {listed(list(decoding.unreadable))}")
    return lines


def _row(name: str, text: str) -> list[str]:
    return _wrapped(text, f"  {name.ljust(12)} ", " " * 15)


def _wrapped(text: str, first: str, further: str) -> list[str]:
    return textwrap.wrap(
        text, 120, initial_indent=first, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )
