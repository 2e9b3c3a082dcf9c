"""The origin of a score file, as the record beside it tells: model, recipe, date, software."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nes2net.data.corpora.protocol import WHOLE, canonical_phase
from nes2net.lib.errors import listed
from nes2net.models.published_models import (
    START_KEY,
    TRIALS_KEY,
    architecture_words,
    published_architecture,
    published_model,
)
from nes2net.models.registry import corpora
from nes2net.scoring.decisions.calibration import ScoredBy
from nes2net.scoring.record import record_of, record_path


@dataclass(frozen=True)
class Origin:
    """What the record of a score file says; None for facts that it leaves out."""

    record: str
    """Path of the record."""
    model: str | None
    """Front-end, aggregation and back-end."""
    checkpoint: str | None
    """Path of the checkpoint."""
    recipe: str | None
    """Name of the recipe that the detector was trained by, and the comment of the run."""
    protocol: str | None
    """What was scored of each utterance: ``"4sec"`` or ``"full"``."""
    scored_at: str | None
    """When the scores were finished, as ISO 8601."""
    software: str | None
    """Versions of nes2net and torch."""
    licence: str | None = None
    """Licence of a published detector's weights."""
    seen: tuple[str, ...] | None = None
    """How the detector has seen the scored trials before, one sentence for each use."""

    def facts(self) -> dict[str, str]:
        """The facts that the record states, without what was seen."""
        return {name: value for name, value in vars(self).items() if value and name != "seen"}


def read_origin(scores: Path, sha256: str, corpus: str = "", phase: str = "") -> Origin | None:
    """Read the record beside ``scores``, a file with that SHA-256.

    Args:
        corpus, phase: what is evaluated.

    The result is None if there is no record of these scores: no file, a record of other scores, or
    a record of another kind. An evaluation does not depend on it.
    """
    found = record_of(scores, sha256)
    if found is None:
        return None
    content = found.model_extra or {}
    parts = [_text(content, "architecture", part, "name") for part in ("frontend", "aggregation", "backend")]
    versions = [(name, _text(content, "versions", name)) for name in ("nes2net", "torch")]
    recipe, comment = (_text(content, "checkpoint", "recipe", key) for key in ("name", "comment"))
    record_of_training = found_record if isinstance(found_record := content.get("checkpoint"), dict) else {}
    same = _text(content, "corpus", "name") == corpus
    split = (_text(content, "corpus", "split") if same else None) or ""
    root, trials = _text(content, "corpus", "root") or "", content.get("scored_trials")
    trials = trials if isinstance(trials, dict) else None
    return Origin(
        record=str(record_path(scores)),
        model=" + ".join(filter(None, parts)) or None,
        checkpoint=_text(content, "checkpoint", "path"),
        recipe=f"{recipe} ({comment})" if recipe and comment else recipe,
        protocol=_text(content, "corpus", "protocol"),
        scored_at=_text(content, "scored_at"),
        software=", ".join(f"{name} {version}" for name, version in versions if version) or None,
        licence=_text(content, "published_model", "licence"),
        seen=tuple(seen(record_of_training, corpus, split, root, phase, trials)) or None,
    )


def read_scored_by(scores: Path, sha256: str) -> ScoredBy | None:
    """Read which detector made ``scores``, a file with that SHA-256, from the record beside it.

    None if there is no record of these scores, or it does not say.
    """
    found = record_of(scores, sha256)
    if found is None:
        return None
    run, resolution = found.run, (found.model_extra or {}).get("resolution_ms")
    fingerprint, precision, num_samples = run.get("model"), run.get("dtype"), run.get("num_samples")
    if not isinstance(fingerprint, str) or not isinstance(precision, str) or "num_samples" not in run:
        return None
    if num_samples is not None and (not isinstance(num_samples, int) or num_samples < 1):
        return None
    if not isinstance(resolution, (int, float)) or not 0 < resolution < 1e6:
        resolution = None
    return ScoredBy(fingerprint, precision, num_samples, resolution)


def _text(content: Any, *keys: str) -> str | None:
    """The text at ``keys`` of nested mappings; None if something else or nothing stands there."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, str) else None


_VERDICTS = {
    "trained": "scores of {} on {} say nothing: {} was trained on {}",
    "selected": "scores of {} on {} are too good: {} was selected on {}",
}
# The trials differ from those in the same layout, but may be a part of them.
_DOUBTS = {
    "trained": "scores of {} on {} may say nothing: {} was trained on {}, which may share trials with these",
    "selected": "scores of {} on {} may be too good: {} was selected on {}, which may share trials with these",
}
_MOST_STARTS = 100  # a record may come from anywhere


def seen(
    record: Mapping[str, Any],
    corpus: str,
    split: str,
    root: str | os.PathLike[str] = "",
    phase: str | None = None,
    trials: Mapping[str, Any] | None = None,
) -> list[str]:
    """Say how a detector has seen trials of a corpus before; empty if it has not.

    A published model says what its authors trained it on; a detector of this toolkit has its recipe
    in its record, and what its training started from. If its parts are not known, a corpus counts
    as a whole.

    Args:
        record: the facts of the training, :attr:`nes2net.Detector.record`.
        corpus, split: what is scored.
        root: its folder, which tells a user's own corpora apart.
        phase: phase of its labels, to which an evaluation is restricted; None for all trials.
        trials: which trials are scored, :meth:`nes2net.data.corpora.corpus.Corpus.describe_trials`; None
            if only their corpus is known.

    >>> seen({"published_model": "multiapi_nes2net_la"}, "in_the_wild", "eval")
    ['scores of multiapi_nes2net_la on in_the_wild are too good: its epoch was selected on in_the_wild']
    >>> seen({"published_model": "AASIST"}, "asvspoof2019_la", "eval")
    []
    """
    scored = _part(corpus, split, phase)
    lines: dict[str, str] = {}
    records = [record]
    for one in records:  # grows
        who = {"trained": "it", "selected": "its epoch"}
        if one is not record:
            start = f"{_name(one)}, from which it started,"
            who = {"trained": start, "selected": f"the epoch of {start}"}
        # How each part of a corpus was used; the folder tells a user's own corpus from others of its name.
        uses: list[tuple[str, str, str, str | None, Mapping[str, Any] | None, bool]] = []
        if found := published_model(one):
            for how, parts in (("trained", found[1].trained_on), ("selected", found[1].selected_on)):
                official = {"official": True}
                uses += [(how, row.partition(":")[0], row.partition(":")[2], None, official, False) for row in parts]
        for name, entry in _corpora_of(one):
            place, own = entry.get("root"), name in corpora.names() and corpora.get(name).user_defined
            for how, its_split, its_phase in (  # a part that is None is not used
                ("trained", entry.get("train_split", "train"), None),
                ("selected", entry.get("dev_split", "dev"), entry.get("dev_phase")),
            ):
                if isinstance(its_split, str) and isinstance(its_phase, (str, type(None))):
                    folder = str(place or "") if own else None
                    theirs = _trials_of(one, "train" if how == "trained" else "dev", name, its_split)
                    in_folder = _same_folder(str(place or ""), root)
                    uses.append((how, name, _part(name, its_split, its_phase), folder, theirs, in_folder))
        for how, used, part, folder, theirs, in_folder in uses:
            overlaps = not part or not scored or canonical_phase(part) == scored  # empty for the whole corpus
            is_here = folder is None or _same_folder(folder, root)
            sure = in_folder or _are_same(theirs, trials)
            possible = sure or theirs is None or trials is None or theirs.get("official") != trials.get("official")
            if used == corpus and overlaps and is_here and possible:
                plain = f"{used} {part}".rstrip()
                verdict = _VERDICTS[how].format(_name(record), corpus, who[how], plain)
                words = _VERDICTS[how] if sure else _DOUBTS[how]
                if sure or verdict not in lines:  # of one use, what is sure is said
                    lines[verdict] = words.format(_name(record), corpus, who[how], _words(plain, theirs))
        starts = one.get(START_KEY)
        if isinstance(starts, list):
            records += [start for start in starts if isinstance(start, dict)][: _MOST_STARTS - len(records)]
    return list(dict.fromkeys(lines.values()))


def _same_folder(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    return bool(one and other) and os.path.realpath(one) == os.path.realpath(other)


def _trials_of(record: Mapping[str, Any], part: str, corpus: str, split: str) -> Mapping[str, Any] | None:
    """Which trials of a corpus a detector used for ``part``, as its record tells; None if it does not."""
    described = record.get(TRIALS_KEY)
    for one in described if isinstance(described, list) else []:
        if isinstance(one, dict) and (one.get("part"), one.get("corpus"), one.get("split")) == (part, corpus, split):
            return one
    return None


def _are_same(theirs: Mapping[str, Any] | None, scored: Mapping[str, Any] | None) -> bool:
    """Whether these are the same trials of a part; without a description, its name alone counts."""
    if theirs is None or scored is None or (theirs.get("official") and scored.get("official")):
        return True
    digest = theirs.get("ids_sha256")
    return digest is not None and digest == scored.get("ids_sha256")


def _words(part: str, trials: Mapping[str, Any] | None) -> str:
    """Name ``part`` of a corpus; trials of another number than the official ones only have its layout."""
    number = None if trials is None or trials.get("official") is not False else trials.get("trials")
    return f"{number:,} trials in the layout of {part}" if isinstance(number, int) else part


def card(record: Mapping[str, Any]) -> str:
    """Say in a line what a detector was trained on; empty if its record does not tell.

    Of unknown weights, only the architecture is said.

    >>> card({"published_model": "AASIST"})
    'AASIST, trained on ASVspoof 2019 LA train, attacks until 2019; licence of its weights: MIT'
    >>> card({"recipe": {"name": "mine", "data": {"corpora": [{"name": "ctrsvdd"}, {"name": "generic", "root": "a/b.csv"}]}}})
    'mine, trained on CtrSVDD train, b.csv train'
    """
    facts = ""
    if found := published_model(record):
        model = found[1]
        used = [row.partition(":")[::2] for row in model.trained_on]
        parts = [" ".join(filter(None, (_title(name), part))) for name, part in used]
        until = f", attacks until {model.until}" if model.until else ""
        facts = f"{until}; licence of its weights: {model.licence}"
    elif "recipe" not in record and (alike := published_architecture(record)):
        return architecture_words(alike[0])
    else:
        parts = [
            _words(f"{_title(name, str(entry.get('root') or ''))} {split}", _trials_of(record, "train", name, split))
            for name, entry in _corpora_of(record)
            if isinstance(split := entry.get("train_split", "train"), str)
        ]
    return f"{_name(record)}, trained on {listed(parts, 5)}{facts}" if parts else ""


def _title(corpus: str, root: str = "") -> str:
    """The title of a corpus of this toolkit, or the folder or list of a user's own."""
    known = corpora.get(corpus) if corpus in corpora.names() else None
    if known is None:
        return corpus
    return Path(root).name if known.user_defined and root else known.title


def _corpora_of(record: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Name and settings of each corpus of the recipe in ``record``, which may hold anything."""
    recipe = record.get("recipe")
    data = recipe.get("data") if isinstance(recipe, dict) else None
    entries = data.get("corpora") if isinstance(data, dict) else None
    named = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return [(entry["name"], entry) for entry in named if isinstance(entry.get("name"), str)]


def _name(record: Mapping[str, Any]) -> str:
    recipe, found = record.get("recipe"), published_model(record)
    return str((isinstance(recipe, dict) and recipe.get("name")) or (found and found[0]) or "this detector")


def _part(corpus: str, split: str, phase: str | None) -> str:
    """The part of a corpus that is used; empty for the whole corpus.

    The labels of some corpora name phases, which divide the only split. The labels of others name
    the splits, and restrict what was scored as a whole.
    """
    divided = corpus in corpora.names() and corpora.get(corpus).phases
    part = canonical_phase(phase or "" if divided or split in ("", WHOLE) else split)
    return "" if part == WHOLE else part
