"""`nes2net data`: fetch a corpus, check it, and pack it into shards."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from nes2net.actions.flags import CorpusName, locate_part
from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError, join_names, pluralise, readable_size, with_flag_names
from nes2net.lib.output.findings import listing
from nes2net.lib.output.sheet import Facts, FactsDict, Sheet
from nes2net.lib.output.terminal import print_output, say, say_aside, say_written, wrap_text
from nes2net.lib.parts.conditions import UsedWith
from nes2net.lib.parts.registry import note_unusable_entry_points
from nes2net.lib.shell.command_line import INCOMPLETE, Listed
from nes2net.lib.shell.commands import Count, Flag, Folder, FromZero, command_facts
from nes2net.lib.storage.text_files import reading_once

if TYPE_CHECKING:
    from nes2net.data.corpora.check import CorpusCheck, SplitCheck
    from nes2net.data.corpora.corpus import Corpus, Counts
    from nes2net.data.corpora.decoding import Decoding
    from nes2net.data.corpora.download import DownloadPlan
    from nes2net.data.corpora.part import Part
    from nes2net.data.corpora.trial import Trial

# If a field has more values than this, such as the attacks of ASVspoof 2021 DF, the values are summarised instead of
# listed.
_MAX_VALUES = 40
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}  # unit of --shard-size and --group-size → bytes


def download(
    corpus: Annotated[
        str, Flag(choices=lambda: Listed(name for name in corpora.names() if name not in ("generic", "shards")))
    ],
    folder: Folder,
    *,
    dry_run: bool = False,
    accept_licence: bool = False,
    only: Annotated[Sequence[str], Flag("PATTERN")] = (),
    no_unpack: bool = False,
    remove_archives: bool = False,
) -> int:
    """Fetch a corpus, or say how to get it.

    Example:
        nes2net data download asvspoof2021_la DB --dry-run

    Args:
        corpus: a corpus (nes2net info corpora)
        folder: folder to fetch the corpus into
        dry_run: list files, sizes and licence, and fetch nothing
        accept_licence: accept the licence without being asked
        only: fetch only files with such names, e.g. 'flac_E*'
        no_unpack: leave archives packed
        remove_archives: remove each archive after it was unpacked
    """
    from nes2net.data.corpora.check import check_corpus
    from nes2net.data.corpora.download import fetch_all, plan_downloads
    from nes2net.lib.web.http_files import MAX_TRIES, HttpFiles

    definition: Corpus = corpora.get(corpus)
    with HttpFiles(most_tries=1 if dry_run else MAX_TRIES) as client:
        plan = plan_downloads(definition, client, list(only))
        print_output(_plan_text(definition, plan))
        if dry_run:
            return 0
        if not plan.files:
            return INCOMPLETE
        if not accept_licence:
            answer = ""
            if sys.stdin.isatty():
                answer = input(f"Do you accept the licence of {definition.title}? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                raise InputError("nothing was fetched: add `accept_licence=True` if you accept the licence above")
        fetch_all(plan, Path(folder), client, unpacking=not no_unpack, keep_archives=not remove_archives)
    check = check_corpus(definition, folder)
    print_output(f"\n{with_flag_names(_check_text(check))}")
    return 0 if check.complete else INCOMPLETE


def check(
    corpus: CorpusName,
    root: str | None = None,
    *,
    protocols: Folder | None = None,
    keys: Folder | None = None,
    split: Annotated[Sequence[str] | None, Flag("SPLIT")] = None,
    subset: bool = False,
    audio: bool = False,
    marks: bool = False,
    sample: Annotated[Count, UsedWith("marks")] = 500,
    num_workers: FromZero | None = None,
) -> int:
    """Check a corpus, and say what can be done with it.

    Example:
        nes2net data check asvspoof2019_la DB/LA

    Args:
        root: corpus folder, or a list for the corpus generic
        protocols: protocol folder; searched for in root if not given
        keys: key folder; searched for in root if not given
        split: check only these splits (train, dev, eval)
        subset: accept fewer trials than the official ones
        audio: also decode every file
        marks: compare marks of the classes; keep the result beside the folder, for nes2net train
        sample: most recordings of a class and split to read marks of
        num_workers: processes that decode; one per processor if not given
    """
    from nes2net.data.corpora.check import check_corpus

    note_unusable_entry_points()
    check = check_corpus(
        corpora.get(corpus),
        locate_part(corpus, root).root,
        protocols=protocols,
        keys=keys,
        splits=split,
        subset=subset,
        decode=audio,
        workers=num_workers,
    )
    print_output(with_flag_names(_check_text(check)))
    if marks:
        from nes2net.lib.storage.files import write_text
        from nes2net.scoring.marked_corpus import check_marks, record_beside  # start-up

        corpus_marks = check_marks(check.splits, sample)
        if corpus_marks.marks:  # else a note says why there are none
            say("", *corpus_marks.marks)
            say_aside(*(shortcut.words for shortcut in corpus_marks.shortcut))
            path = record_beside(check.root)
            write_text(path, corpus_marks.model_dump_json())
            say_written(path)
    return 0 if check.complete else INCOMPLETE


@command_facts(
    about="The bytes of the audio files are copied as they are. Commands such as `nes2net score shards OUT` "
    "read the shards."
)
def pack(
    corpus: CorpusName,
    root: str,
    out: Annotated[str, Flag("OUT")],
    *,
    split: Annotated[Sequence[str], Flag("SPLIT")] = (),
    protocols: Folder | None = None,
    keys: Folder | None = None,
    shard_size: Annotated[str, Flag("SIZE")] = "500MB",
    group_size: Annotated[str, Flag("SIZE")] = "4MB",
) -> None:
    """Pack the recordings of a corpus into Parquet shards.

    Example:
        nes2net data pack in_the_wild DB/release_in_the_wild packed

    Args:
        root: corpus folder
        out: folder to write; the same command resumes
        split: pack only these splits (train, dev, eval)
        protocols: protocol folder; searched for in root if not given
        keys: folder of the keys, if the protocols have no labels
        shard_size: bytes of audio in a shard
        group_size: bytes of audio in a row group, which is read as a whole
    """
    from nes2net.data.corpora.pack import pack as packed

    located_part = locate_part(corpus, root, protocols=protocols)
    trials_of_splits = _trials_by_split(located_part, split, keys)
    result = packed(
        trials_of_splits,
        out,
        title=located_part.definition.title,
        shard_bytes=_as_bytes("shard_size", shard_size),
        group_bytes=_as_bytes("group_size", group_size),
    )
    for name, trials in trials_of_splits.items():
        unlabelled = sum(trial.label is None for trial in trials)
        without = f", {unlabelled:,} without a label" if unlabelled else ""
        say(f"{name}: {pluralise(trials, 'recording')}{without}")
    before = f", {result.there_before} of which were there" if result.there_before else ""
    shards = pluralise(result.shards, "shard")
    say(f"{readable_size(result.size)} of audio in {shards}{before}, in {out}")


@command_facts(subcommands=(download, check, pack))
def data() -> None:
    """Fetch, check and pack the recordings of a corpus.

    Example:
        nes2net data check asvspoof2019_la DB/LA
    """


def _plan_text(corpus: Corpus, plan: DownloadPlan) -> str:
    stated = [licence for licence in plan.licences if licence != corpus.licence]
    facts = {
        "licence": corpus.licence or "not known; read the page",
        "stated by the server": ", ".join(stated),
        "described in": corpus.source,
    }
    rows = []
    for file in plan.files[:_MAX_VALUES]:
        size = "not stated" if file.remote.size is None else readable_size(file.remote.size)
        digests = ", ".join(name.upper() for name in file.remote.digests) or "none published"
        rows.append({"file": file.name, "size": size, "checksum": digests, "what": file.what})
    heading = "It cannot be fetched freely. By hand"
    if rows:
        heading = "To be done by hand, afterwards"
        facts["size"] = f"{readable_size(plan.size)} in all; unpacked archives take about as much again"
    if len(plan.files) > _MAX_VALUES:
        rows.append({"file": f"and {len(plan.files) - _MAX_VALUES:,} more", "size": "", "checksum": "", "what": ""})
    text = Sheet(corpus.title, facts, tables={"files": rows}).text()
    if not plan.steps:
        return text
    return "\n".join([text, "", f"{heading}:", *(f"  {number}. {step}" for number, step in enumerate(plan.steps, 1))])


def _as_bytes(setting: str, text: str) -> int:
    number = text.upper().rstrip("BKMG")
    try:
        return int(float(number) * _UNITS[text.upper()[len(number) :]])
    except (ValueError, KeyError, OverflowError):
        raise InputError(f"`{setting}` must be a number with a unit, such as 500MB or 2GB, not {text}") from None


def _check_text(check: CorpusCheck) -> str:
    from nes2net.data.corpora.protocol import WHOLE

    corpus = check.corpus
    sheets = [Sheet(f"{corpus.title} in {check.root}", {"licence": corpus.licence, "source": corpus.source})]
    sheets += [Sheet(split.split, _split_facts(split)) for split in check.splits]
    if corpus.key_files:
        sheets.append(Sheet("keys", {"key": check.key or "not found"}))
        for phase, counts in check.key_counts.items():
            sheets.append(Sheet(f"keys, phase {phase}", _count_facts(counts, corpus.key_counts.get(phase))))
    tasks = Sheet("What can be done", dict(check.tasks()))
    if check.splits[0].split == WHOLE:
        tasks.notes = "It names no parts (train, dev, eval): the same trials would serve for all of this."
    blocks = [sheet.text() for sheet in (*sheets, tasks)]
    if check.unread:
        unread = wrap_text(join_names(sorted(check.unread)), "  ", "  ")
        blocks.append("\n".join(["What is there and was not read", *unread]))
    ending = "Nothing is missing."
    if not check.complete:
        ending = "\n".join(["What is missing or wrong", *listing(check.findings)])
    return "\n\n".join([*blocks, ending])


def _split_facts(split: SplitCheck) -> Facts:
    facts: FactsDict = {
        "protocol": split.protocol or "not found",
        "audio": split.audio or "not found",
        **_count_facts(split.counts, None if split.notes else split.official),
        "note": split.notes,
    }
    if split.audio is not None and split.counts.trials:
        facts["files"] = f"{len(split.present):,} of {split.counts.trials:,} are there"
        if split.missing:
            facts["files"] += f"; {len(split.missing):,} missing: {join_names(split.missing)}"
    if split.extra:
        facts["extra files"] = f"{len(split.extra):,} in the folder are in no protocol: {join_names(split.extra)}"
    if split.decoding.files:
        facts |= _decoding_facts(split.decoding)
    return facts | {"segments": "; ".join(split.segments)}


def _decoding_facts(decoding: Decoding) -> dict[str, str]:
    num_readable = decoding.files - len(decoding.unreadable)
    facts = {"decoded": f"{num_readable:,} of {pluralise(decoding.files, 'file')}"}
    if num_readable:
        shortest, shortest_name = decoding.shortest
        longest, longest_name = decoding.longest
        text = f"{decoding.seconds / 3600:,.2f} h in all, {shortest:.2f} s ({shortest_name})"
        facts["duration"] = f"{text} to {longest:.2f} s ({longest_name})"
        rates = [f"{number:,} at {rate:,} Hz" for rate, number in sorted(decoding.rates.items())]
        if decoding.other_rate:
            rates.append(f"resampled to 16,000 Hz when read: {join_names(decoding.other_rate)}")
        facts["sample rate"] = "; ".join(rates)
        if set(decoding.channels) != {1}:
            text = ", ".join(f"{number:,} with {n}" for n, number in sorted(decoding.channels.items()))
            facts["channels"] = f"{text} (read as their mean)"
    if names := decoding.second_decoder:
        files = pluralise(names, "file is", "files are")
        facts["FFmpeg"] = f"{files} read by FFmpeg, not by libsndfile: {join_names(names)}"
    if names := list(decoding.unreadable):
        facts["unreadable"] = f"{pluralise(names, 'file')}: {join_names(names)}"
    return facts


def _count_facts(counts: Counts, official: Counts | None) -> dict[str, str]:
    """Write the number of all trials, with ``official`` for comparison, then of each value of each field.

    A field of more than 40 values gets only their number, and its smallest and largest counts.
    """
    facts = {"trials": _describe_counts(counts)}
    if official is not None and counts.trials:
        is_official = not counts.differences(official)
        facts["trials"] += " (the official numbers)" if is_official else f" (officially {_describe_counts(official)})"
    for name, values in counts.by.items():
        facts[name] = ", ".join(f"{value} {number:,}" for value, number in values.items())
        if len(values) > _MAX_VALUES:
            facts[name] = (
                f"{pluralise(values, 'value')}, {min(values.values()):,} to {max(values.values()):,} trials each"
            )
    return facts


def _describe_counts(counts: Counts) -> str:
    if counts.bonafide is None or counts.spoof is None:
        return f"{counts.trials:,}"
    unlabelled = counts.trials - counts.bonafide - counts.spoof
    text = f"{counts.trials:,}: {counts.bonafide:,} bona fide, {counts.spoof:,} spoofed"
    return f"{text}, {unlabelled:,} without a label" if unlabelled else text


@reading_once()
def _trials_by_split(corpus_part: Part, requested_splits: Sequence[str], keys: str | None) -> dict[str, list[Trial]]:
    """List the labelled trials of the splits; empty ``requested_splits`` for all."""
    from nes2net.data.corpora.protocol import NotFound, canonical_phase

    corpus = corpus_part.definition
    labelled = {}
    if keys is not None:
        if not corpus.key_files:
            raise InputError(
                f"the protocols of {corpus.title} hold its labels, so there are no other keys: remove `keys`"
            )
        labelled = {trial.id: trial for trial in corpus.keys(keys)}
    splits = tuple(map(canonical_phase, requested_splits))
    if not splits:
        splits = corpus.find_splits(corpus_part.root, corpus_part.protocols)
    # A split that does not exist is an error only if it was requested, or if no split exists.
    trials_of_splits: dict[str, list[Trial]] = {}
    for split in splits:
        try:
            trials = replace(corpus_part, split=split).trials
        except NotFound:
            if requested_splits or (split == splits[-1] and not trials_of_splits):
                raise
            continue
        # A trial of the keys has the label; the one of the split has the path.
        trials_of_splits[split] = [labelled.get(trial.id, trial).with_audio_of(trial) for trial in trials]
    return trials_of_splits
