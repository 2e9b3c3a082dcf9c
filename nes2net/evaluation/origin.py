"""The origin of a score file from the record beside it: model, recipe, date, software.

In reading order: ``read_origin`` and ``read_scored_by`` read the record; ``seen`` compares a
detector's training with the scored trials; ``card`` says what a detector was trained on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from nes2net.data.corpora.protocol import WHOLE, canonical_phase
from nes2net.lib.errors import listed
from nes2net.models.provenance import Provenance, architecture_words
from nes2net.models.registry import corpora
from nes2net.scoring.decisions.calibration import ScoredBy
from nes2net.scoring.record import record_of, record_path


@dataclass(frozen=True)
class Origin:
    """The facts in the record of a score file; None for a fact that the record lacks."""

    record: str
    """Path of the record."""
    model: str | None
    """Front-end, aggregation and back-end."""
    checkpoint: str | None
    """Path of the checkpoint."""
    recipe: str | None
    """Name of the recipe that the detector was trained by, and the comment of the run."""
    protocol: str | None
    """The part of each utterance that was scored: ``"4sec"`` or ``"full"``."""
    scored_at: str | None
    """When the scores were finished, as ISO 8601."""
    software: str | None
    """Versions of nes2net and torch."""
    licence: str | None = None
    """Licence of a published detector's weights."""
    seen: tuple[str, ...] | None = None
    """How the detector has seen the scored trials before, one sentence for each use."""

    def facts(self) -> dict[str, str]:
        """The facts that the record states, without :attr:`seen`."""
        return {name: value for name, value in vars(self).items() if value and name != "seen"}


def read_origin(scores: Path, sha256: str, corpus: str = "", phase: str = "") -> Origin | None:
    """Read the record beside ``scores``, a file with that SHA-256.

    Args:
        corpus, phase: the labels of the evaluation.

    The result is None if there is no record of these scores: no file, a record of other scores, or
    a record of another kind. An evaluation does not depend on the record.
    """
    record = record_of(scores, sha256)
    if record is None:
        return None
    content = record.model_extra or {}
    component_names = []
    for component in ("frontend", "aggregation", "backend"):
        component_names.append(_text(content, "architecture", component, "name"))
    software = []
    for package in ("nes2net", "torch"):
        if version := _text(content, "versions", package):
            software.append(f"{package} {version}")
    recipe = _text(content, "checkpoint", "recipe", "name")
    comment = _text(content, "checkpoint", "recipe", "comment")
    if recipe and comment:
        recipe = f"{recipe} ({comment})"
    provenance = Provenance.read(_mapping(content, "checkpoint") or {})
    split = ""
    if _text(content, "corpus", "name") == corpus:
        split = _text(content, "corpus", "split") or ""
    root = _text(content, "corpus", "root") or ""
    trials = _mapping(content, "scored_trials")
    return Origin(
        record=str(record_path(scores)),
        model=" + ".join(filter(None, component_names)) or None,
        checkpoint=_text(content, "checkpoint", "path"),
        recipe=recipe,
        protocol=_text(content, "corpus", "protocol"),
        scored_at=_text(content, "scored_at"),
        software=", ".join(software) or None,
        licence=_text(content, "published_model", "licence"),
        seen=tuple(seen(provenance, corpus, split, root, phase, trials)) or None,
    )


def read_scored_by(scores: Path, sha256: str) -> ScoredBy | None:
    """Read which detector made ``scores``, a file with that SHA-256, from the record beside it.

    None if there is no record of these scores, or the record does not name the detector.
    """
    record = record_of(scores, sha256)
    if record is None:
        return None
    run = record.run
    resolution = (record.model_extra or {}).get("resolution_ms")
    fingerprint = run.get("model")
    precision = run.get("dtype")
    num_samples = run.get("num_samples")
    if not isinstance(fingerprint, str) or not isinstance(precision, str) or "num_samples" not in run:
        return None
    if num_samples is not None and (not isinstance(num_samples, int) or num_samples < 1):
        return None
    if not isinstance(resolution, (int, float)) or not 0 < resolution < 1e6:
        resolution = None
    return ScoredBy(fingerprint, precision, num_samples, resolution)


def _text(content: Any, *keys: str) -> str | None:
    """The text at ``keys`` of nested mappings; None if there is no text."""
    for key in keys:
        if not isinstance(content, dict):
            return None
        content = content.get(key)
    return content if isinstance(content, str) else None


def _mapping(content: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """The mapping at ``key``; None if there is no mapping."""
    value = content.get(key)
    return value if isinstance(value, dict) else None


_VERDICTS = {
    "trained": "scores of {} on {} say nothing: {} was trained on {}",
    "selected": "scores of {} on {} are too good: {} was selected on {}",
}
# The scored trials differ from those of training, but both have the same layout and may overlap.
_DOUBTS = {
    "trained": "scores of {} on {} may say nothing: {} was trained on {}, which may share trials with these",
    "selected": "scores of {} on {} may be too good: {} was selected on {}, which may share trials with these",
}


def seen(
    provenance: Provenance,
    corpus: str,
    split: str,
    root: str | os.PathLike[str] = "",
    phase: str | None = None,
    trials: Mapping[str, Any] | None = None,
) -> list[str]:
    """Say how a detector has seen trials of a corpus before; empty if it has not.

    A published model lists the corpora that its authors trained it on. The provenance of a detector
    of this toolkit holds its recipe and the detector from which its training started. If the parts
    of a corpus are not known, the whole corpus counts.

    Args:
        provenance: :attr:`nes2net.Detector.provenance`.
        corpus, split: the scored corpus and split.
        root: the folder of the corpus, which tells a user's own corpora apart.
        phase: the phase of the labels that is evaluated; None for all trials.
        trials: the scored trials as :meth:`nes2net.data.corpora.corpus.Corpus.describe_trials`
            describes them; None if only their corpus is known.

    >>> seen(Provenance("multiapi_nes2net_la"), "in_the_wild", "eval")
    ['scores of multiapi_nes2net_la on in_the_wild are too good: its epoch was selected on in_the_wild']
    >>> seen(Provenance("AASIST"), "asvspoof2019_la", "eval")
    []
    """
    scored = _part(corpus, split, phase)
    lines: dict[str, str] = {}
    for ancestor in provenance.ancestors():
        who = {"trained": "it", "selected": "its epoch"}
        if ancestor is not provenance:
            start = f"{_name(ancestor)}, from which it started,"
            who = {"trained": start, "selected": f"the epoch of {start}"}
        if ancestor.published and not ancestor.published[1].trained_on:
            unstated = f"scores of {_name(provenance)} on {corpus} may say nothing: nobody states what "
            lines[unstated] = f"{unstated}{who['trained']} was trained on"
        for use in _uses(ancestor, root):
            # An empty part is the whole corpus.
            overlaps = not use.part or not scored or canonical_phase(use.part) == scored
            is_here = use.folder is None or _same_folder(use.folder, root)
            sure = use.in_folder or _are_same(use.trials, trials)
            possible = (
                sure or use.trials is None or trials is None or use.trials.get("official") != trials.get("official")
            )
            if use.corpus != corpus or not (overlaps and is_here and possible):
                continue
            plain = f"{use.corpus} {use.part}".rstrip()
            verdict = _VERDICTS[use.how].format(_name(provenance), corpus, who[use.how], plain)
            words = _VERDICTS[use.how] if sure else _DOUBTS[use.how]
            if sure or verdict not in lines:  # of one use, a sure verdict replaces a doubt
                lines[verdict] = words.format(_name(provenance), corpus, who[use.how], _words(plain, use.trials))
    return list(dict.fromkeys(lines.values()))


class _Use(NamedTuple):
    """How a detector used a part of a corpus."""

    how: str
    """``"trained"`` or ``"selected"``."""
    corpus: str
    part: str
    """Empty for the whole corpus."""
    folder: str | None = None
    """The folder of a user's own corpus, which tells it from others of the same name; None for other corpora."""
    trials: Mapping[str, Any] | None = MappingProxyType({"official": True})
    in_folder: bool = False
    """Whether the used corpus lies in the folder that is scored."""


def _uses(provenance: Provenance, root: str | os.PathLike[str]) -> Iterator[_Use]:
    """How a detector itself, not its ancestors, used corpora; ``root`` is the folder that is scored."""
    if provenance.published:
        model = provenance.published[1]
        for how, parts in (("trained", model.trained_on), ("selected", model.selected_on)):
            for row in parts:
                name, _, part = row.partition(":")
                yield _Use(how, name, part)
    for used in provenance.corpora:
        folder = None
        if used.name in corpora.names() and corpora.get(used.name).user_defined:
            folder = used.root
        in_folder = _same_folder(used.root, root)
        if used.train_split is not None:
            trials = provenance.trials_of("train", used.name, used.train_split)
            yield _Use("trained", used.name, _part(used.name, used.train_split, None), folder, trials, in_folder)
        if used.dev_split is not None:
            trials = provenance.trials_of("dev", used.name, used.dev_split)
            part = _part(used.name, used.dev_split, used.dev_phase)
            yield _Use("selected", used.name, part, folder, trials, in_folder)


def _same_folder(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    return bool(one and other) and os.path.realpath(one) == os.path.realpath(other)


def _are_same(used: Mapping[str, Any] | None, scored: Mapping[str, Any] | None) -> bool:
    """Whether the used and the scored trials of a part are the same; True if one of them is not described."""
    if used is None or scored is None or (used.get("official") and scored.get("official")):
        return True
    digest = used.get("ids_sha256")
    return digest is not None and digest == scored.get("ids_sha256")


def _words(part: str, trials: Mapping[str, Any] | None) -> str:
    """Name ``part`` of a corpus; if the trials are not the official ones, say that they only have its layout."""
    if trials is not None and trials.get("official") is False and isinstance(trials.get("trials"), int):
        return f"{trials['trials']:,} trials in the layout of {part}"
    return part


def card(provenance: Provenance) -> str:
    """Say in a line what a detector was trained on; empty if its checkpoint does not say.

    For weights of unknown training, the line has only the architecture.

    >>> card(Provenance("AASIST"))
    'AASIST, trained on ASVspoof 2019 LA train, attacks until 2019; licence of its weights: MIT'
    >>> used = [{"name": "ctrsvdd"}, {"name": "generic", "root": "a/b.csv"}]
    >>> card(Provenance(recipe={"name": "mine", "data": {"corpora": used}}))
    'mine, trained on CtrSVDD train, b.csv train'
    """
    facts = ""
    parts = []
    if provenance.published:
        model = provenance.published[1]
        for row in model.trained_on:
            name, _, part = row.partition(":")
            parts.append(f"{_title(name)} {part}".rstrip())
        if model.until:
            facts = f", attacks until {model.until}"
        facts += f"; licence of its weights: {model.licence}"
    elif provenance.recipe is None and provenance.architecture:
        return architecture_words(provenance.architecture[0])
    else:
        for used in provenance.corpora:
            if used.train_split is not None:
                trials = provenance.trials_of("train", used.name, used.train_split)
                parts.append(_words(f"{_title(used.name, used.root)} {used.train_split}", trials))
    if parts:
        return f"{_name(provenance)}, trained on {listed(parts, 5)}{facts}"
    if provenance.published:
        return f"{_name(provenance)}, whose training data are not stated{facts}"
    return ""


def _title(corpus: str, root: str = "") -> str:
    """The title of a corpus of this toolkit; for a user's own corpus, the name of its folder or list."""
    if corpus not in corpora.names():
        return corpus
    if corpora.get(corpus).user_defined and root:
        return Path(root).name
    return corpora.get(corpus).title


def _name(provenance: Provenance) -> str:
    return provenance.name or "this detector"


def _part(corpus: str, split: str, phase: str | None) -> str:
    """The part of a corpus that is used; empty for the whole corpus.

    In some corpora the labels name phases, which divide the only split. In others they name the
    splits, and a phase restricts a corpus that was scored as a whole.
    """
    has_phases = corpus in corpora.names() and corpora.get(corpus).phases
    part = split
    if has_phases or split in ("", WHOLE):
        part = phase or ""
    part = canonical_phase(part)
    return "" if part == WHOLE else part
