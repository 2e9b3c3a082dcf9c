"""Read the origin of a score file from the record beside it: model, recipe, date, software.

In reading order: ``read_origin`` and ``read_scored_by`` read the record; ``uses_in_words`` warns of
detectors trained or selected on the scored trials; ``training_in_words`` lists training data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from nes2net.data.corpora.part import Part
from nes2net.data.corpora.protocol import WHOLE, canonical_phase
from nes2net.data.registry import corpora
from nes2net.lib.errors import join_names
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.claims import differing_names
from nes2net.models.provenance import Provenance, architecture_words
from nes2net.scoring.decisions.calibration import ScoredBy
from nes2net.scoring.judgement import ScoreFile
from nes2net.scoring.record import Record, record_path

_MAX_VALUE_LENGTH = 40  # of a fact of a record in notes; longer values are digests and the like


class Origin(NamedTuple):
    """Who made a score file, by its record; empty without a record."""

    facts: dict[str, str]
    """``record`` (its path), ``model`` (front-end, aggregation, back-end), ``checkpoint`` (its path),
    ``recipe`` (name and comment of the run), ``protocol`` (``"4sec"`` or ``"full"``), ``scored_at``
    (ISO 8601), ``software`` (versions), ``licence`` (of published weights); without unknown
    facts."""
    uses: list[str]
    """Sentences of :func:`uses_in_words`."""


def read_origin(file: ScoreFile, corpus: str = "", phase: str = "") -> Origin:
    """Read the origin of a score file from its record.

    ``corpus`` and ``phase`` of the evaluation are only for :attr:`Origin.uses`.
    """
    record = file.record
    if record is None:
        return Origin({}, [])
    names = [record.text("architecture", role, "name") for role in ("frontend", "aggregation", "backend")]
    versions = {package: record.text("versions", package) for package in ("nes2net", "torch")}
    recipe = record.text("checkpoint", "recipe", "name")
    comment = record.text("checkpoint", "recipe", "comment")
    if recipe and comment:
        recipe = f"{recipe} ({comment})"
    facts = {
        "record": str(record_path(file.path)),
        "model": " + ".join(filter(None, names)),
        "checkpoint": record.text("checkpoint", "path"),
        "recipe": recipe,
        "protocol": record.text("corpus", "protocol"),
        "scored_at": record.text("scored_at"),
        "software": ", ".join(f"{package} {version}" for package, version in versions.items() if version),
        "licence": record.text("published_model", "licence"),
    }
    split = record.text("corpus", "split") if record.text("corpus", "name") == corpus else ""
    trials = record.mapping("scored_trials") or None
    uses = uses_in_words(record.provenance, corpus, split, record.text("corpus", "root"), phase, trials)
    return Origin({name: fact for name, fact in facts.items() if fact}, uses)


def read_scored_by(record: Record | None) -> ScoredBy | None:
    """Read the detector and the settings that made a score file.

    None if the record lacks the detector, its precision or the length that was scored, or one is malformed.
    """
    if record is None:
        return None
    facts = {
        "fingerprint": record.run.get("model"),
        "precision": record.run.get("dtype"),
        "num_samples": record.run.get("num_samples", 0),  # None is all; 0 is not allowed
        "resolution_ms": record.resolution_ms,
        "judgement": (record.judgement or {}).get("name"),
    }
    with suppress(ValidationError):
        return TypeAdapter(ScoredBy).validate_python(facts)
    return None


def differences_of_one_detector(first: Record | None, second: Record | None) -> list[str] | None:
    """List what differs between two records: settings, software, device and so on.

    None if a record is missing, or the detectors have different weights.
    """
    if first is None or second is None or first.run.get("model") != second.run.get("model"):
        return None
    both_facts = []
    for record in (first, second):
        facts = {name: record.facts.get(name) for name in ("score_rule", "device_name", "threads", "batch_size")}
        both_facts.append({**facts, **record.run, **record.mapping("versions")})
    differences = []
    for name in differing_names(*both_facts):
        values = [str(facts.get(name, "none")) for facts in both_facts]
        is_short = max(map(len, values)) <= _MAX_VALUE_LENGTH
        differences.append(f"{name} ({values[0]}, {values[1]})" if is_short else name)
    return differences


def recorded_part(record: Record | None) -> Part | None:
    """Read which part of a corpus was scored or embedded; None if not known."""
    if record is None:
        return None
    corpus, root, split = (record.text("corpus", name) for name in ("name", "root", "split"))
    return Part(corpus, root, split or "eval") if corpus and root else None


# How trials were used → what this means for the scores, certainly or possibly.
_VERDICTS = {"trained": ("say nothing", "may say nothing"), "selected": ("are too good", "may be too good")}


def uses_in_words(
    provenance: Provenance,
    corpus: str,
    split: str,
    root: str | os.PathLike[str] = "",
    phase: str | None = None,
    trials: Facts | None = None,
) -> list[str]:
    """Say how a detector was trained or selected on the scored trials, one sentence for each use.

    A use is a corpus that the authors of a published model name, or that the recipes of a detector
    and its ancestors (from which training started) have. An unknown part counts as the whole
    corpus.

    Args:
        provenance: :attr:`nes2net.Detector.provenance`.
        corpus, split: the scored corpus and split.
        root: folder of the scored corpus, which tells users' own corpora apart.
        phase: the evaluated phase; None for all trials.
        trials: :meth:`nes2net.data.corpora.corpus.Corpus.describe_trials` of the scored trials, if
            known.

    >>> uses_in_words(Provenance("multiapi_nes2net_la"), "in_the_wild", "eval")
    ['scores of multiapi_nes2net_la on in_the_wild are too good: its epoch was selected on in_the_wild']
    >>> uses_in_words(Provenance("AASIST"), "asvspoof2019_la", "eval")
    []
    """
    scored_split = _used_split(corpus, split, phase)
    scores = f"scores of {_detector_name(provenance)} on {corpus}"
    # How, by whom and of which part → sentence. A certain use replaces the same use in doubt.
    lines: dict[tuple[str, ...], str] = {}
    for ancestor in provenance.ancestors():
        who = {"trained": "it", "selected": "its epoch"}
        if ancestor is not provenance:
            start = f"{_detector_name(ancestor)}, from which it started,"
            who = {"trained": start, "selected": f"the epoch of {start}"}
        # The authors of a published model may not state its training data.
        if ancestor.published and not ancestor.published[1].trained_on:
            lines[()] = f"{scores} may say nothing: nobody states what {who['trained']} was trained on"
        for use in _list_uses(ancestor, root):
            # A part with an empty name is the whole corpus.
            overlaps = not use.split or not scored_split or canonical_phase(use.split) == scored_split
            is_sure = use.in_folder or _share_trials(use.trials, trials)  # None for perhaps
            if use.corpus != corpus or not overlaps or is_sure is False:
                continue
            title = f"{use.corpus} {use.split}".rstrip()
            key = (use.how, who[use.how], title)
            if is_sure or key not in lines:
                verdict = f"{scores} {_VERDICTS[use.how][not is_sure]}: {who[use.how]} was {use.how} on "
                doubt = "" if is_sure else ", which may share trials with these"
                lines[key] = verdict + _split_in_words(title, use.trials) + doubt
    return list(dict.fromkeys(lines.values()))


class _Use(NamedTuple):
    """A part of a corpus on which a detector was trained or selected."""

    how: str
    """``"trained"`` or ``"selected"``."""
    corpus: str
    split: str
    """Split or phase; empty for the whole corpus."""
    trials: Facts | None = MappingProxyType({"official": True})
    """As ``Corpus.describe_trials`` describes them, if known."""
    in_folder: bool = False
    """Whether the used and the scored corpus share a folder."""


def _list_uses(provenance: Provenance, root: str | os.PathLike[str]) -> Iterator[_Use]:
    if provenance.published:
        model = provenance.published[1]
        for how, rows in (("trained", model.trained_on), ("selected", model.selected_on)):
            for row in rows:
                name, _, split = row.partition(":")
                yield _Use(how, name, split)
    for used in provenance.corpora:
        in_folder = bool(used.root and root) and os.path.realpath(used.root) == os.path.realpath(root)
        definition = corpora.find(used.name)
        if definition is not None and definition.user_defined and not in_folder:
            continue  # users' own corpora have one name, and differ by folder
        if used.train_split is not None:
            trials = provenance.trials_of("train", used.name, used.train_split)
            yield _Use("trained", used.name, _used_split(used.name, used.train_split, None), trials, in_folder)
        if used.dev_split is not None:
            trials = provenance.trials_of("dev", used.name, used.dev_split)
            yield _Use("selected", used.name, _used_split(used.name, used.dev_split, used.dev_phase), trials, in_folder)


def _share_trials(used: Facts | None, scored: Facts | None) -> bool | None:
    """Whether the ``used`` and the ``scored`` trials of one part overlap; None for perhaps.

    They do if both are the official lists, or one is not described; perhaps if only one is official.
    """
    if used is None or scored is None or (used.get("official") and scored.get("official")):
        return True
    digest = used.get("ids_sha256")
    if digest is not None and digest == scored.get("ids_sha256"):
        return True
    return None if used.get("official") != scored.get("official") else False


def _split_in_words(title: str, trials: Facts | None) -> str:
    if trials is not None and trials.get("official") is False and isinstance(trials.get("trials"), int):
        return f"{trials['trials']:,} trials in the layout of {title}"
    return title


def training_in_words(provenance: Provenance) -> str:
    """Say in one line what a detector was trained on, or its architecture; empty if neither is known.

    >>> training_in_words(Provenance("AASIST"))
    'AASIST, trained on ASVspoof 2019 LA train, attacks until 2019; licence of its weights: MIT'
    >>> used = [{"name": "ctrsvdd"}, {"name": "generic", "root": "a/b.csv"}]
    >>> training_in_words(Provenance(recipe={"name": "mine", "data": {"corpora": used}}))
    'mine, trained on CtrSVDD train, b.csv train'
    """
    facts = ""
    splits = []
    if provenance.published:
        model = provenance.published[1]
        for row in model.trained_on:
            name, _, split = row.partition(":")
            splits.append(f"{_corpus_title(name)} {split}".rstrip())
        if model.until:
            facts = f", attacks until {model.until}"
        facts += f"; licence of its weights: {model.licence}"
    elif provenance.recipe is None and provenance.architecture:
        return architecture_words(provenance.architecture[0])
    else:
        for used in provenance.corpora:
            if used.train_split is not None:
                trials = provenance.trials_of("train", used.name, used.train_split)
                splits.append(_split_in_words(f"{_corpus_title(used.name, used.root)} {used.train_split}", trials))
    if splits:
        return f"{_detector_name(provenance)}, trained on {join_names(splits, 5)}{facts}"
    if provenance.published:
        return f"{_detector_name(provenance)}, whose training data are not stated{facts}"
    return ""


def _corpus_title(corpus: str, root: str = "") -> str:
    definition = corpora.find(corpus)
    if definition is None:
        return corpus
    return Path(root).name if definition.user_defined and root else definition.title


def _detector_name(provenance: Provenance) -> str:
    return provenance.name or "this detector"


def _used_split(corpus: str, split: str, phase: str | None) -> str:
    """Choose ``phase`` if phases share a split, or if ``split`` is empty or names the whole corpus.

    The result is empty for the whole corpus.
    """
    definition = corpora.find(corpus)
    if (definition is not None and definition.phases) or split in ("", WHOLE):
        split = phase or ""
    split = canonical_phase(split)
    return "" if split == WHOLE else split
