"""The provenance of a detector: the origin of its weights and its training data, as typed facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.models.published_models import PUBLISHED, PublishedModel

# Field of :class:`Provenance` and key of the record in a checkpoint, in the order of the record → type of the value.
_TYPES: dict[str, type] = {
    "recipe": dict,
    "score_ranges": object,
    "class_labels": dict,
    "published_model": str,
    "architecture_of": str,
    "trials": list,
    "training": dict,
    "figures": list,
    "started_from": list,
}
# :meth:`Provenance.only_training_data` keeps ``_DATA_KEYS`` of a recipe's section ``data``, and ``_CORPUS_KEYS`` of its corpora.
_DATA_KEYS = ("num_samples", "crop")
_CORPUS_KEYS = ("name", "train_split", "dev_split", "dev_phase")
_MAX_STARTS = 100  # largest number of detectors to read from a record, because anyone may have written the record


class UsedCorpus(NamedTuple):
    """A corpus of a recipe, and the splits that training used."""

    name: str
    root: str
    """Folder or list of the corpus; empty if unknown."""
    train_split: str | None
    """None if the detector was not trained on this corpus."""
    dev_split: str | None
    """None if the epoch was not selected on this corpus."""
    dev_phase: str | None
    """Phase of a challenge, such as ``progress``, of the development trials; None for all."""


@dataclass(frozen=True)
class Provenance:
    """The origin of a detector's weights, as its checkpoint states it; empty for a new detector.

    :meth:`read` ignores values of the wrong type, because a checkpoint may contain anything.
    """

    published_model: str = ""
    """Published model whose weights the detector has."""
    architecture_of: str = ""
    """Published model whose architecture the detector has, with other or unknown weights."""
    recipe: Facts | None = None
    """The training's recipe as plain data; after :meth:`only_training_data` only its name, data keys and ``segments``."""
    trials: tuple[Facts, ...] = ()
    """Descriptions of training and development trials (``Corpus.describe_trials``), with the keys
    ``part``, ``corpus``, ``split``, ``trials``, ``ids_sha256`` and ``official``; training adds
    the keys of :func:`nes2net.training.card.describe_trials`.
    """
    training: Facts = field(default_factory=dict)
    """``epoch``, ``epochs``, ``seconds``, ``devices``, ``parameters``, ``software`` and
    ``settings`` of the training; any may be missing.
    """
    figures: tuple[Facts, ...] = ()
    """Figures of these weights, as :class:`nes2net.models.card.SetFigure` reads them."""
    started_from: tuple[Provenance, ...] = ()
    """Provenance of the detectors that training started from."""
    score_ranges: Any = None
    """Data for normalising the scores of other systems that the detector fuses, if any."""
    class_labels: Facts = field(default_factory=dict)
    """Facts about classes other than bona fide and spoof.

    ``field`` of a trial states its class; ``aliases`` maps its values to classes. ``known``: up to
    1,000 scores of development trials, for the threshold of unknown classes.
    """
    facts: Facts = field(default_factory=dict)
    """Further facts, such as ``epoch`` and figures on the development set."""

    @classmethod
    def read(cls, record: Facts) -> Provenance:
        """Read the record of a checkpoint, detector folder or score file; unknown keys become :attr:`facts`."""
        values: FactsDict = {}
        for name, kind in _TYPES.items():
            value = record.get(name)
            if kind is list:
                value = tuple(_mappings(value))
            elif not isinstance(value, kind):
                continue
            values[name] = value
        values["started_from"] = tuple(map(cls.read, values["started_from"][:_MAX_STARTS]))
        return cls(**values, facts={key: value for key, value in record.items() if key not in _TYPES})

    def to_dict(self) -> FactsDict:
        """Return this provenance as plain data, for :meth:`read`."""
        record = dict(self.facts)
        for name, kind in _TYPES.items():
            if value := getattr(self, name):
                record[name] = list(value) if kind is list else value
        if self.started_from:
            record["started_from"] = [start.to_dict() for start in self.started_from]
        return record

    @property
    def published(self) -> tuple[str, PublishedModel] | None:
        """Name and facts of the published model whose weights the detector has, if any.

        >>> Provenance(architecture_of="AASIST").published is None
        True
        """
        return _find_published(self.published_model)

    @property
    def architecture(self) -> tuple[str, PublishedModel] | None:
        """Name and facts of the published model with this architecture, perhaps with other weights; None if unknown."""
        return _find_published(self.published_model or self.architecture_of)

    @property
    def name(self) -> str:
        """Name of the recipe, or else of the published model; may be empty."""
        if name := (self.recipe or {}).get("name"):
            return str(name)
        return self.published[0] if self.published else ""

    @property
    def data(self) -> Facts:
        """The section ``data`` of the recipe; empty if unknown."""
        return _value_if((self.recipe or {}).get("data"), dict) or {}

    @property
    def corpora(self) -> list[UsedCorpus]:
        """The named corpora of the recipe; splits default to ``train`` and ``dev``."""
        corpora = []
        for stated in _mappings(self.data.get("corpora")):
            corpus = {"train_split": "train", "dev_split": "dev", **stated}
            if isinstance(corpus.get("name"), str):
                splits = [_value_if(corpus.get(key), str) for key in ("train_split", "dev_split", "dev_phase")]
                corpora.append(UsedCorpus(corpus["name"], str(corpus.get("root") or ""), *splits))
        return corpora

    def trials_of(self, part: str, corpus: str, split: str) -> Facts | None:
        """Find the description of the trials used from a ``split`` of a ``corpus``.

        Args:
            part: what they were used for, ``"train"`` or ``"dev"``.
        """
        for trials in self.trials:
            if (trials.get("part"), trials.get("corpus"), trials.get("split")) == (part, corpus, split):
                return trials
        return None

    def ancestors(self) -> Iterator[Provenance]:
        """Yield this provenance, then those of all detectors from which training started; at most 100."""
        waiting = [self]
        for number, provenance in enumerate(waiting):  # ``waiting`` grows during the loop
            if number == _MAX_STARTS:
                return
            yield provenance
            waiting += provenance.started_from

    def only_training_data(self, folders: bool = True) -> Provenance:
        """Return only the facts about training data, for a copy of the detector or one that starts from it.

        Args:
            folders: whether to keep the folders of the corpora; false for files to give away.

        >>> data = {"corpora": [{"name": "ctrsvdd", "root": "DB", "weight": None}], "num_workers": 8}
        >>> Provenance.read({"recipe": {"name": "A", "data": data, "seed": 1}, "epoch": 3}).only_training_data().to_dict()
        {'recipe': {'name': 'A', 'data': {'corpora': [{'name': 'ctrsvdd', 'root': 'DB'}]}}}
        """
        recipe: Facts | None = None
        if self.recipe is not None and isinstance(self.recipe.get("data"), dict):
            data = {key: self.data[key] for key in _DATA_KEYS if key in self.data}
            if isinstance(self.data.get("corpora"), list):
                keys = [*_CORPUS_KEYS, *(["root"] if folders else [])]
                data["corpora"] = [
                    {key: corpus[key] for key in keys if key in corpus} for corpus in _mappings(self.data["corpora"])
                ]
            recipe = {"name": self.recipe.get("name"), "data": data}
            if "segments" in self.recipe:
                recipe["segments"] = self.recipe["segments"]
        starts = tuple(start.only_training_data(folders) for start in self.started_from)
        return replace(self, recipe=recipe, started_from=starts, score_ranges=None, training={}, figures=(), facts={})

    def without_weights(self) -> Provenance:
        """Return this provenance without the claim to weights of a published model, which is kept as architecture.

        >>> Provenance("AASIST", facts={"epoch": 3}).without_weights().to_dict()
        {'epoch': 3, 'architecture_of': 'AASIST'}
        """
        if not self.published_model:
            return self
        return replace(self, published_model="", architecture_of=self.published_model)


def architecture_words(*names: str) -> str:
    """Describe weights with the names and shapes of published models, but an unknown digest.

    >>> architecture_words("AASIST")
    'architecture of AASIST, weights unknown'
    """
    return f"architecture of {' or '.join(names)}, weights unknown"


def _mappings(listed: Any) -> Iterator[Facts]:
    if isinstance(listed, list):
        yield from (item for item in listed if isinstance(item, dict))


def _value_if(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else None


def _find_published(name: str) -> tuple[str, PublishedModel] | None:
    return (name, PUBLISHED[name]) if name in PUBLISHED else None
