"""Whether a detector was trained, or its epoch selected, on the trials that it scores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nes2net.corpora.protocol import WHOLE, canonical_phase
from nes2net.published_models import START_KEY, published_model
from nes2net.registry import corpora

_VERDICTS = {
    "trained": "scores of {} on {} say nothing: {} was trained on {}",
    "selected": "scores of {} on {} are too good: {} was selected on {}",
}
_MOST_STARTS = 100  # a record may come from anywhere


class _Use(NamedTuple):
    """A use of data in training."""

    how: str
    corpus: str
    part: str
    """Empty for the whole corpus."""
    folder: str | None = None
    """Where the corpus is, if that tells it from others of its name."""


def seen(
    record: Mapping[str, Any],
    corpus: str,
    split: str,
    root: str | os.PathLike[str] = "",
    phase: str | None = None,
) -> list[str]:
    """Say for what a detector has seen trials of a corpus before; empty if it has not.

    A published model says what its authors trained it on; a detector of this toolkit has its recipe
    in its record, and what its training started from. A corpus counts as a whole where the parts
    are not known.

    Args:
        record: the facts of the training, :attr:`nes2net.Detector.record`.
        corpus, split: what is scored.
        root: its folder, by which corpora of the user's own are told apart.
        phase: of its labels, to which an evaluation is restricted; None for all trials.

    >>> seen({"published_model": "multiapi_nes2net_la"}, "in_the_wild", "eval")
    ['scores of multiapi_nes2net_la on in_the_wild are too good: its epoch was selected on in_the_wild']
    >>> seen({"published_model": "AASIST"}, "asvspoof2019_la", "eval")
    []
    """
    scored, lines = _part(corpus, split, phase), []
    records = [record]
    for one in records:  # grows
        who = {"trained": "it", "selected": "its epoch"}
        if one is not record:
            start = f"{_name(one)}, from which it started,"
            who = {"trained": start, "selected": f"the epoch of {start}"}
        for how, used, part, folder in _uses(one):
            overlaps = not part or not scored or canonical_phase(part) == scored  # empty for the whole corpus
            is_here = folder is None or (folder and root and os.path.realpath(folder) == os.path.realpath(root))
            if used == corpus and overlaps and is_here:
                data = f"{used} {part}".rstrip()
                lines.append(_VERDICTS[how].format(_name(record), corpus, who[how], data))
        starts = one.get(START_KEY)
        if isinstance(starts, list):
            records += [start for start in starts if isinstance(start, dict)][: _MOST_STARTS - len(records)]
    return list(dict.fromkeys(lines))


def _name(record: Mapping[str, Any]) -> str:
    recipe, found = record.get("recipe"), published_model(record)
    return str((isinstance(recipe, dict) and recipe.get("name")) or (found and found[0]) or "this detector")


def _uses(record: Mapping[str, Any]) -> Iterator[_Use]:
    if found := published_model(record):
        for how, parts in (("trained", found[1].trained_on), ("selected", found[1].selected_on)):
            for of_row in parts:
                used, _, part = of_row.partition(":")
                yield _Use(how, used, part)
    recipe = record.get("recipe")
    data = recipe.get("data") if isinstance(recipe, dict) else None
    if not isinstance(data, dict):
        return
    several = data.get("corpora")
    if not isinstance(several, list) or not several:
        yield from _uses_of(data)
        return
    for corpus in several:
        if isinstance(corpus, dict):
            yield from _uses_of({**corpus, "corpus": corpus.get("name")})


def _uses_of(data: Mapping[str, Any]) -> Iterator[_Use]:
    """The uses of one corpus; a part that is None is not used."""
    corpus, root, phase = data.get("corpus"), data.get("root"), data.get("dev_phase")
    dev_root = data.get("dev_root") or root
    for how, name, split, of_labels, folder in (
        ("trained", corpus, data.get("train_split", "train"), None, root),
        ("selected", data.get("dev_corpus") or corpus, data.get("dev_split", "dev"), phase, dev_root),
    ):
        if isinstance(name, str) and isinstance(split, str) and isinstance(of_labels, (str, type(None))):
            own = name in corpora.names() and corpora.get(name).user_defined
            yield _Use(how, name, _part(name, split, of_labels), str(folder or "") if own else None)


def _part(corpus: str, split: str, phase: str | None) -> str:
    """The part of a corpus that is used; empty for the whole.

    The labels of some corpora name phases, which divide the only split. Those of others name the
    splits, and restrict what was scored as a whole.
    """
    divided = corpus in corpora.names() and corpora.get(corpus).phases
    part = canonical_phase(phase or "" if divided or split in ("", WHOLE) else split)
    return "" if part == WHOLE else part
