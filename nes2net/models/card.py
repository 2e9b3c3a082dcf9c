"""The model card of a detector: its provenance in Markdown, with the metadata of the Hugging Face hub.

``SetFigure`` is a figure, ``CardFile`` stores those of a run folder, and ``model_card`` writes the card.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError, join_names
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.output.templates import markdown_templates
from nes2net.lib.parts.options import Options
from nes2net.lib.parts.registry import packages_of
from nes2net.lib.storage.files import is_absent, write_json
from nes2net.lib.storage.plain_data import Natural, Value, read_json_as, read_small_text
from nes2net.lib.storage.yaml_text import write_yaml
from nes2net.models.checkpoints.published_file import PublishedFile
from nes2net.models.frontends.sizes import SIZES
from nes2net.models.provenance import Provenance
from nes2net.models.published_models import PUBLISHED
from nes2net.models.registry import named_parts

if TYPE_CHECKING:
    from nes2net.models.network import Network

CARD = "README.md"
#: Name of a file in a run folder. This file says which checkpoint the card describes, and holds the
#: figures of all checkpoints.
CARD_FILE = "card.json"
_MAX_BYTES = 4 << 20  # largest size of a card file in bytes

#: Line of a card below which the user may write. The user's text is kept when the card is written again.
_OWN_TEXT = "<!-- nes2net keeps the text below this line. -->"
_LICENCE = re.compile(r"^license: ([\w.-]+)$", re.MULTILINE)
#: The hub's name for a licence that is not known.
_NO_LICENCE = "other"
_ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})")
#: Beginning of the title of trials that have the format of a corpus, but are not the corpus's
#: official trials.
_IN_LAYOUT = "trials in the layout of"
#: Type of a data set in the hub's metadata, if the trials are not the official trials of a corpus.
_OTHER_DATA = "other"
_TASK = {"type": "audio-classification", "name": "Speech anti-spoofing"}


class SetFigure(BaseModel):
    """A figure of a detector on a set of trials."""

    model_config = ConfigDict(frozen=True)

    corpus: str
    """Name; the names of pooled corpora are joined by `` + ``."""
    split: str = ""
    checkpoint: str = ""
    """File name of the checkpoint in its run folder."""
    detector: str = ""
    """Fingerprint; empty for a figure that training computed."""
    is_official: bool = True
    """False if the trials are known to differ from the corpus's official ones."""
    is_development: bool = False
    """Whether the epoch was selected on these trials."""
    bonafide: Natural | None = None
    spoof: Natural | None = None
    measure: str = "EER"
    value: Value
    """Value of the measure; a fraction if :attr:`percent`."""
    percent: bool = True
    interval: tuple[Value, Value] | None = None
    """The 95 % confidence interval of the value."""
    drawn: str = ""
    """The units that the bootstrap drew to compute the interval, such as ``trials``."""
    threshold: FiniteFloat | None = None
    """Score threshold at which both error rates equal the EER."""
    notes: tuple[str, ...] = ()
    condition: str = ""
    """What changed the recordings, such as ``mp3:16`` or ``attack_pgd:40``; empty for nothing."""
    attack: str = ""
    """Side and steps, if :attr:`condition` is an attack."""

    @property
    def title(self) -> str:
        """Titles of the corpora; unofficial trials are ``trials in the layout of`` them."""
        title = " + ".join(map(_title, self.corpus.split(" + ")))
        if self.condition:
            title += f" under {self.condition}"
        return title if self.is_official else f"{_IN_LAYOUT} {title}"

    @property
    def text(self) -> str:
        """The value and any interval, such as ``2.315 (1.98 to 2.64)``."""
        numbers = [f"{self._to_display(self.value):#.4g}"]  # "#" keeps zeros at the end
        if self.interval is not None:
            low, high = (f"{self._to_display(bound):#.3g}" for bound in self.interval)
            numbers.append(f"({low} to {high})")
        return " ".join(numbers)

    @property
    def heading(self) -> str:
        """Name of the measure, with ``%`` if in percent."""
        return f"{self.measure} %" if self.percent else self.measure

    def to_dict(self) -> FactsDict:
        """Return plain data, without fields that have their defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def replaces(self, other: SetFigure) -> bool:
        """Whether ``other`` measured the same on the same trials."""
        names = ("checkpoint", "corpus", "split", "measure", "notes", "condition")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def metadata(self) -> Facts:
        """Return an item of the hub's ``model-index``."""
        is_comparable = self.is_official and not self.condition
        kind = self.corpus if is_comparable else _OTHER_DATA  # leaderboards compare figures on data of equal type
        dataset = {"type": kind, "name": self.title, "split": self.split or "all"}
        metric = {"type": self.measure.lower(), "name": self.heading, "value": round(self._to_display(self.value), 6)}
        return {"task": dict(_TASK), "dataset": dataset, "metrics": [metric]}

    def _to_display(self, value: float) -> float:
        return 100 * value if self.percent else value


class CardFile(BaseModel):
    """The content of a run folder's :data:`CARD_FILE`."""

    checkpoint: Annotated[str, Field(pattern=r"^[\w.-]*$")] = ""
    """File name of the checkpoint that the card describes."""
    figures: Annotated[tuple[SetFigure, ...], Field(max_length=10_000)] = ()
    """Figures measured for checkpoints of the folder."""

    @classmethod
    def read(cls, folder: Path) -> CardFile:
        """Read the card file of ``folder``; empty if there is none.

        Raises:
            InputError: if the file is not a card file.
        """
        path = folder / CARD_FILE
        if is_absent(path):
            return cls()
        return read_json_as(cls, path, _MAX_BYTES, "the facts of a model card", "move it away")

    def write(self, folder: Path) -> None:
        write_json(folder / CARD_FILE, self.model_dump(exclude_defaults=True))


def provenance_with_figures(network: Network) -> Provenance:
    """Return the provenance of ``network``, with its figures from the card file in the checkpoint's folder.

    Such a figure states the checkpoint's file name and the fingerprint of ``network``.
    """
    provenance = network.provenance
    path = Path(network.source)
    if not network.source or not path.is_file():
        return provenance
    with suppress(InputError):
        figures = [figure for figure in CardFile.read(path.parent).figures if figure.checkpoint == path.name]
        if figures:
            fingerprint = network.fingerprint()  # hashes all weights
            added_figures = [figure.to_dict() for figure in figures if figure.detector == fingerprint]
            return replace(provenance, figures=(*provenance.figures, *added_figures))
    return provenance


def valid_figures(provenance: Provenance) -> Iterator[SetFigure]:
    """Yield valid figures; a checkpoint may contain anything."""
    for figure in provenance.figures:
        with suppress(ValidationError):
            yield SetFigure.model_validate(figure)


def model_card(
    config: Options,
    provenance: Provenance,
    earlier: Path | None = None,
    *,
    checkpoint: str = "",
    evaluation_figures: Sequence[SetFigure] = (),
) -> str:
    """Return the text of the card of a detector.

    Args:
        earlier: an earlier card, whose licence and user's text are kept.
        checkpoint: file name; empty without a run folder.
        evaluation_figures: of the run folder; the hub's metadata have only those of ``checkpoint``.
    """
    # The licence of the earlier card, else of the published weights if the hub knows it.
    licence, own_text = _licence_and_user_text(earlier)
    published = provenance.published
    if licence == _NO_LICENCE and published and published[1].licence.lower() in ("mit", "apache-2.0"):
        licence = published[1].licence.lower()
    name = provenance.name or " + ".join(config[role]["name"] for role in ("frontend", "backend"))
    own_figures = list(valid_figures(provenance))
    figures = [*own_figures, *evaluation_figures]
    metadata: FactsDict = {
        "library_name": "nes2net",
        "pipeline_tag": _TASK["type"],
        "tags": ["anti-spoofing", "deepfake-speech-detection"],
        "license": licence,
    }
    if (size := SIZES.get(config["frontend"]["name"])) is not None and size.hub:
        metadata["base_model"] = size.hub
    if datasets := sorted(set(_hub_datasets(provenance))):
        metadata["datasets"] = datasets
    if figures:  # from ``model-index``, the hub shows the results of the checkpoint that the card describes
        checkpoint_figures = [figure for figure in evaluation_figures if figure.checkpoint == checkpoint]
        results = [figure.metadata() for figure in (*own_figures, *checkpoint_figures)]
        metadata |= {"metrics": sorted({figure.measure.lower() for figure in figures})}
        metadata["model-index"] = [{"name": name, "results": results}]
    template = markdown_templates("nes2net.models").get_template("card.md.jinja")
    body = template.render(
        name=name,
        config=config,
        packages=packages_of(named_parts(config)),
        provenance=provenance,
        published=published,
        terms=dict.fromkeys(_licences(provenance)),
        figures=figures,
        notes=dict.fromkeys(f"{figure.title}, {figure.split}: {note}" for figure in figures for note in figure.notes),
        stated_values=partial(_stated_values, provenance),
        join_names=join_names,
        title_of=_title,
        in_words=_in_words,
        checkpoint=checkpoint,
        licence="" if licence == _NO_LICENCE else licence,
        arxiv=arxiv_number(config, provenance),
    )
    return f"---\n{write_yaml(metadata)}---\n\n{body.rstrip()}\n\n{_OWN_TEXT}\n{own_text}"


def arxiv_number(config: Options, provenance: Provenance) -> str | None:
    """Return the arXiv number of the paper on a detector's architecture; None if unknown.

    From the published model in ``provenance``, or one with the same front-end and back-end.
    """
    if provenance.architecture:
        models = [provenance.architecture[1]]
    else:
        names = [config[role]["name"] for role in ("frontend", "backend")]
        models = [model for model in PUBLISHED.values() if [model.frontend, model.backend] == names]
    for model in models:
        if number := _ARXIV.search(model.source):
            return number[1]
    return None


def _licence_and_user_text(earlier: Path | None) -> tuple[str, str]:
    if earlier is None or not earlier.is_file():
        return _NO_LICENCE, ""
    try:
        text = read_small_text(earlier)
    except InputError:
        return _NO_LICENCE, ""
    licence = _LICENCE.search(text.partition("\n---\n")[0])  # only in the YAML at the top
    return licence[1] if licence else _NO_LICENCE, text.partition(f"{_OWN_TEXT}\n")[2]


def _in_words(fact: object) -> str:
    """Write a fact of trials; a list as its length, an unknown fact as ``–``."""
    if isinstance(fact, list):
        return str(len(fact)) if fact else "–"
    if isinstance(fact, float):
        return f"{fact:.1f}" if fact >= 1 else f"{fact:.2g}"
    if isinstance(fact, int) and fact:
        return f"{fact:,}"
    return str(fact) if isinstance(fact, str) and fact else "–"


def _licences(provenance: Provenance) -> Iterator[tuple[str, str, bool]]:
    """Yield title, licence, and whether trials are official; a user's own list may have a corpus's format."""
    for described in provenance.trials:
        corpus = corpora.find(str(described.get("corpus")))
        if corpus is not None and corpus.licence:
            yield corpus.title, corpus.licence, bool(described.get("official"))


def _hub_datasets(provenance: Provenance) -> Iterator[str]:
    for described in provenance.trials:
        if described.get("part") != "train":
            continue
        name = str(described.get("corpus"))
        corpus = corpora.find(name)
        downloads = () if corpus is None else corpus.downloads
        for address in (name, *(download.url for download in downloads)):
            if (hub := PublishedFile(address).hub) is not None:
                yield hub["repository"]


def _title(corpus: str) -> str:
    definition = corpora.find(corpus)
    return corpus if definition is None else definition.title


def _stated_values(provenance: Provenance, part: str, key: str) -> list[str]:
    """``part`` is ``"train"`` or ``"dev"``."""
    stated_values: dict[str, None] = {}
    for described in provenance.trials:
        values = described.get(key)
        if described.get("part") == part and isinstance(values, list):
            stated_values |= dict.fromkeys(map(str, values))
    return list(stated_values)
