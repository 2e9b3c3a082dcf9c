"""The provenance of a detector: the origin of its weights and the data of its training, as typed facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from nes2net.models.published_models import PUBLISHED, PublishedModel

#: Keys of the record in a checkpoint. Name of the published model whose weights the detector has.
RECORD_KEY = "published_model"
#: Name of the published model whose architecture it has, with other or unknown weights.
ARCHITECTURE_KEY = "architecture_of"
#: Provenance of the detectors that its training started from.
START_KEY = "started_from"
#: Description of its trials, which tells them from others in the same layout (``Corpus.describe_trials``).
TRIALS_KEY = "trials"
#: How trials name its classes.
CLASSES_KEY = "class_labels"

# Keys of a recipe's ``data``, and of each of its ``corpora``, that a copy keeps.
_DATA = ("num_samples", "crop")
_OF_EACH = ("name", "train_split", "dev_split", "dev_phase")
_MOST_STARTS = 100  # a limit, because a record may come from anywhere


class UsedCorpus(NamedTuple):
    """A corpus of a recipe, and the splits that training used."""

    name: str
    root: str
    """Its folder or list; empty if unknown."""
    train_split: str | None
    """None if it was not trained on."""
    dev_split: str | None
    """None if no epoch was selected on it."""
    dev_phase: str | None


@dataclass(frozen=True)
class Provenance:
    """The origin of a detector's weights, by its checkpoint; empty for a detector that was just built.

    A checkpoint may hold anything. Values of the wrong form are ignored when it is read.
    """

    published_model: str = ""
    """Name of the published model whose weights it has."""
    architecture_of: str = ""
    """Name of the published model whose architecture it has, with other or unknown weights."""
    recipe: Mapping[str, Any] | None = None
    """The recipe of its training, plain data; in a copy only the keys of the data."""
    trials: tuple[Mapping[str, Any], ...] = ()
    """Descriptions of its trials, with ``part``, ``corpus``, ``split``, ``trials``, ``ids_sha256`` and ``official``."""
    started_from: tuple[Provenance, ...] = ()
    """Provenance of the detectors that its training started from."""
    score_ranges: Any = None
    """How a fusion normalises the scores of other systems; None for other detectors."""
    class_labels: Mapping[str, Any] = field(default_factory=dict)
    """How trials name its classes: ``field`` of a trial and ``aliases``; and ``known``, the scores of development trials of
    known classes. Empty for a detector that tells bona fide from spoof."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further facts in its checkpoint, such as ``epoch`` and the figures of the development set."""

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Provenance:
        """Read the record of a checkpoint, a detector folder or a score file."""
        facts = dict(record)
        published = facts.pop(RECORD_KEY, "")
        alike = facts.pop(ARCHITECTURE_KEY, "")
        recipe = facts.pop("recipe", None)
        trials = facts.pop(TRIALS_KEY, None)
        starts = facts.pop(START_KEY, None)
        return cls(
            _if_is(published, str) or "",
            _if_is(alike, str) or "",
            _if_is(recipe, dict),
            tuple(_mappings(trials)),
            tuple(cls.read(start) for start in list(_mappings(starts))[:_MOST_STARTS]),
            facts.pop("score_ranges", None),
            _if_is(facts.pop(CLASSES_KEY, None), dict) or {},
            facts,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, which :meth:`read` reads."""
        record = dict(self.facts)
        if self.recipe is not None:
            record["recipe"] = dict(self.recipe)
        if self.score_ranges is not None:
            record["score_ranges"] = self.score_ranges
        if self.class_labels:
            record[CLASSES_KEY] = dict(self.class_labels)
        if self.published_model:
            record[RECORD_KEY] = self.published_model
        if self.architecture_of:
            record[ARCHITECTURE_KEY] = self.architecture_of
        if self.trials:
            record[TRIALS_KEY] = list(self.trials)
        if self.started_from:
            record[START_KEY] = [start.to_dict() for start in self.started_from]
        return record

    @property
    def published(self) -> tuple[str, PublishedModel] | None:
        """Name and facts of the published model whose weights it has; None for other weights.

        >>> Provenance(architecture_of="AASIST").published is None
        True
        """
        return _named(self.published_model)

    @property
    def architecture(self) -> tuple[str, PublishedModel] | None:
        """Name and facts of the published model whose architecture it has, with its weights or others."""
        return _named(self.published_model or self.architecture_of)

    @property
    def name(self) -> str:
        """The name of its recipe, or else of the published model; empty if neither is known."""
        if name := (self.recipe or {}).get("name"):
            return str(name)
        return self.published[0] if self.published else ""

    @property
    def data(self) -> Mapping[str, Any]:
        """The section ``data`` of its recipe; empty if that is not known."""
        return _if_is((self.recipe or {}).get("data"), dict) or {}

    @property
    def corpora(self) -> list[UsedCorpus]:
        """The corpora of its recipe."""
        corpora = []
        for corpus in _mappings(self.data.get("corpora")):
            if isinstance(corpus.get("name"), str):
                splits = corpus.get("train_split", "train"), corpus.get("dev_split", "dev"), corpus.get("dev_phase")
                train, dev, phase = (_if_is(split, str) for split in splits)
                corpora.append(UsedCorpus(corpus["name"], str(corpus.get("root") or ""), train, dev, phase))
        return corpora

    def trials_of(self, part: str, corpus: str, split: str) -> Mapping[str, Any] | None:
        """Description of the trials of a corpus that it used for ``part``, ``train`` or ``dev``; None if unknown."""
        for trials in self.trials:
            if (trials.get("part"), trials.get("corpus"), trials.get("split")) == (part, corpus, split):
                return trials
        return None

    def ancestors(self) -> Iterator[Provenance]:
        """This provenance, the detectors that its training started from, their starts, and so on: at most 100."""
        waiting = [self]
        for number, provenance in enumerate(waiting):  # grows
            if number == _MOST_STARTS:
                return
            yield provenance
            waiting += provenance.started_from

    def start(self, places: bool = True) -> Provenance:
        """The facts about its training that a copy of the detector, or a detector that starts from it, keeps.

        Args:
            places: keep the folders of the data; false for files that other people get.

        >>> data = {"corpora": [{"name": "ctrsvdd", "root": "DB", "weight": None}], "num_workers": 8}
        >>> Provenance.read({"recipe": {"name": "A", "data": data, "seed": 1}, "epoch": 3}).start().to_dict()
        {'recipe': {'name': 'A', 'data': {'corpora': [{'name': 'ctrsvdd', 'root': 'DB'}]}}}
        """
        recipe: dict[str, Any] | None = None
        if self.recipe is not None and isinstance(self.recipe.get("data"), dict):
            data = {key: self.data[key] for key in _DATA if key in self.data}
            if isinstance(self.data.get("corpora"), list):
                keys: tuple[str, ...] = _OF_EACH
                if places:
                    keys = (*keys, "root")
                data["corpora"] = [
                    {key: corpus[key] for key in keys if key in corpus} for corpus in _mappings(self.data["corpora"])
                ]
            recipe = {"name": self.recipe.get("name"), "data": data}
            if "segments" in self.recipe:
                recipe["segments"] = self.recipe["segments"]
        starts = tuple(start.start(places) for start in self.started_from)
        return replace(self, recipe=recipe, started_from=starts, score_ranges=None, facts={})

    def without_weights(self) -> Provenance:
        """The same without the claim to a published model's weights; only its architecture is kept.

        >>> Provenance("AASIST", facts={"epoch": 3}).without_weights().to_dict()
        {'epoch': 3, 'architecture_of': 'AASIST'}
        """
        if not self.published_model:
            return self
        return replace(self, published_model="", architecture_of=self.published_model)


def architecture_words(*names: str) -> str:
    """Describe weights with the names and shapes of these published models, but without a known digest.

    >>> architecture_words("AASIST")
    'architecture of AASIST, weights unknown'
    """
    return f"architecture of {' or '.join(names)}, weights unknown"


def _mappings(listed: Any) -> Iterator[Mapping[str, Any]]:
    """The mappings in ``listed``; none if that is no list."""
    if isinstance(listed, list):
        yield from (item for item in listed if isinstance(item, dict))


def _if_is(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else None


def _named(name: str) -> tuple[str, PublishedModel] | None:
    return (name, PUBLISHED[name]) if name in PUBLISHED else None
