"""Maps of embeddings: t-SNE maps the vectors of utterances to a plane, where similar vectors are near.

The files come from `nes2net embed`. A point is coloured by its class, by its attack and by its
corpus.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasPath, BaseModel, Field

from nes2net.audio.tables import ParquetTable, pyarrow_module
from nes2net.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.errors import InputError, counted, first_line
from nes2net.evaluation.plots import SERIES
from nes2net.machine.files import Budget
from nes2net.machine.plain_data import read_json_as
from nes2net.machine.text_files import MOST_LINES, of_cell, read_text

#: Points of a map, if there are more embeddings.
MOST_POINTS = 5000
_FEWEST_POINTS = 10
_MOST_NUMBERS = 1_000_000  # of an embedding
# t-SNE sees the first principal components, as is usual (van der Maaten and Hinton, JMLR 9, 2008, section 4).
_COMPONENTS = 50
_SIZE = 500  # of a picture, in its own units
_MARGIN = 8


class Group(NamedTuple):
    """The points of one colour in a picture."""

    name: str
    size: int
    colour: str
    """A CSS colour of the page."""
    path: str
    """All its points as an SVG path."""
    swatch: str
    """One point as an SVG path, in a picture of 12 × 12."""


class Picture(NamedTuple):
    """The map in one colouring."""

    title: str
    groups: list[Group]


@dataclass(frozen=True)
class EmbeddingMap:
    """Utterances in a plane."""

    points: NDArray
    """(N, 2), from 0; the larger of the two extents is 1."""
    ids: list[str]
    classes: list[str]
    """``"bona fide"``, ``"spoof"`` or ``"not known"`` of each point."""
    attacks: list[str]
    """The attack of each point; ``"bona fide"`` or ``"attack not known"`` if it has none."""
    corpora: list[str]
    """The corpus of each point."""
    total: int
    """Embeddings in the files, of which N were drawn."""
    seed: int
    about: list[str]
    """What each file holds, in words."""

    @property
    def height(self) -> float:
        """Height of a picture, which is 500 wide."""
        return round(2 * _MARGIN + (_SIZE - 2 * _MARGIN) * float(self.points[:, 1].max()), 1)

    def pictures(self) -> list[Picture]:
        """The map by class, and by attack and corpus if there are several."""
        pictures = [self._picture("class", self.classes)]
        if set(self.attacks) - {_BONAFIDE, _OTHER}:
            pictures.append(self._picture("attack", self.attacks))
        if len(set(self.corpora)) > 1:
            pictures.append(self._picture("corpus", self.corpora))
        return pictures

    def _picture(self, title: str, values: list[str]) -> Picture:
        counts = Counter(values)
        own = [name for name in _OWN if name in counts] if title != "corpus" else []
        names = own + sorted(name for name in counts if name not in own)
        numbers = itertools.count()
        places = _MARGIN + (_SIZE - 2 * _MARGIN) * self.points
        radius = 2.4 if len(self.ids) > 1000 else 3.6
        array, groups = np.array(values), []
        for name in names:
            if name in own:
                colour, shape = _OWN[name]
            else:  # 32 groups have different ones
                number = next(numbers)
                colour, shape = SERIES[number % len(SERIES)], _SHAPES[(number + number // len(SERIES)) % len(_SHAPES)]
            path = "".join(f"M{x:.1f} {y:.1f}{shape(radius)}" for x, y in places[array == name])
            groups.append(Group(name, counts[name], colour, path, f"M6 6{shape(4)}"))
        return Picture(f"By {title}", groups)


_BONAFIDE, _SPOOF, _UNKNOWN, _OTHER = "bona fide", "spoof", "not known", "attack not known"
_WORDS = {BONAFIDE: _BONAFIDE, SPOOF: _SPOOF}


# Relative SVG paths of a dot, a square, a triangle and a diamond of a radius.
_SHAPES: tuple[Callable[[float], str], ...] = (
    lambda r: f"m{-r:g} 0a{r:g} {r:g} 0 1 0 {2 * r:g} 0 {r:g} {r:g} 0 1 0 {-2 * r:g} 0z",
    lambda r: f"m{-r:g} {-r:g}h{2 * r:g}v{2 * r:g}h{-2 * r:g}z",
    lambda r: f"m0 {-1.2 * r:g}l{1.2 * r:g} {2.1 * r:g}h{-2.4 * r:g}z",
    lambda r: f"m0 {-1.3 * r:g}l{1.3 * r:g} {1.3 * r:g} {-1.3 * r:g} {1.3 * r:g} {-1.3 * r:g} {-1.3 * r:g}z",
)
_DOT, _SQUARE, _, _DIAMOND = _SHAPES
_OWN: dict[str, tuple[str, Callable[[float], str]]] = {
    _BONAFIDE: ("var(--bonafide)", _DOT),
    _SPOOF: ("var(--spoof)", _DIAMOND),
    _UNKNOWN: ("var(--quiet)", _SQUARE),
    _OTHER: ("var(--quiet)", _SQUARE),
}


class _File(NamedTuple):
    """A file of embeddings, whose rows are not read yet."""

    path: Path
    ids: list[str]
    labels: list[str]
    corpus: str
    about: str


def map_embeddings(
    paths: Sequence[str | Path], trials: Sequence[Trial] = (), *, most: int = MOST_POINTS, seed: int = 0
) -> EmbeddingMap:
    """Bring the embeddings in files of `nes2net embed` to a plane by t-SNE; the same seed gives the same map.

    Args:
        paths: ``.npy`` files, each with its list ``FILE.npy.csv``, or ``.parquet`` files; one for
            each corpus.
        trials: labelled trials, for the attacks and missing labels of their utterances.
        most: if there are more embeddings, so many are drawn, in which each class, attack and
            corpus keeps its share.

    Raises:
        InputError: if a file holds no embeddings, two have embeddings of different sizes, or there
            are fewer than ten, or all are equal.
        MissingLibrary: if a library is not installed.
    """
    if most < _FEWEST_POINTS:
        raise InputError(f"a map has at least {_FEWEST_POINTS} points, not {most}")
    files = [_listed(Path(path)) for path in paths]
    known = {trial.id: trial for trial in trials}
    found = []  # corpus, class and attack, and the id
    for file in files:
        for id, label in zip(file.ids, file.labels):
            trial = known.get(id)
            word = _WORDS.get(label or (trial.label if trial else None) or "", _UNKNOWN)
            attack = word if word == _BONAFIDE else (trial.attack if trial else None) or _OTHER
            found.append((file.corpus, word, attack, id))
    count = len(found)
    if count < _FEWEST_POINTS:
        raise InputError(
            f"{counted(count, 'embedding is', 'embeddings are')} too few for a map: at least {_FEWEST_POINTS} are expected"
        )
    chosen = np.arange(count)
    if count > most:  # the strata stand side by side, each in a random order; evenly spaced ones are taken
        _, numbers = np.unique([repr(stratum) for *stratum, _ in found], return_inverse=True)
        shuffled = np.random.default_rng(seed).permutation(count)
        order = shuffled[np.argsort(numbers[shuffled], kind="stable")]
        chosen = np.sort(order[np.arange(most) * count // most])
    rows, first = [], 0
    for file in files:
        rows.append(_rows(file, chosen[(chosen >= first) & (chosen < first + len(file.ids))] - first))
        first += len(file.ids)
    if len(sizes := {part.shape[1] for part in rows}) > 1:
        raise InputError(
            f"the files hold embeddings of {' and '.join(map(str, sorted(sizes)))} numbers: embed all by the same model "
            "and layer"
        )
    from sklearn.decomposition import PCA  # start-up: a second, which reports without a map do not need
    from sklearn.manifold import TSNE  # start-up: as above

    embeddings = np.concatenate(rows)
    if embeddings.shape[1] < 2 or not np.ptp(embeddings, axis=0).any():  # t-SNE of equal points gives NaN
        raise InputError("the embeddings are all equal, or of one number each, so there is no map of them")
    x = embeddings.astype(np.float32) / np.abs(embeddings).max()  # so that no square overflows
    x = x - x.mean(0)
    x /= np.maximum(x.std(0), 1e-6 * max(float(np.abs(x).max()), 1e-30))  # each dimension is standardised
    if min(x.shape) > _COMPONENTS:
        x = PCA(_COMPONENTS, svd_solver="randomized", random_state=seed).fit_transform(x)
    points = TSNE(perplexity=min(30.0, (len(x) - 1) / 3), init="pca", random_state=seed).fit_transform(x)
    points = np.asarray(points, np.float64) - points.min(0)
    corpora, classes, attacks, ids = (list(column) for column in zip(*(found[i] for i in chosen.tolist())))
    about = [file.about for file in files]
    return EmbeddingMap(points / (points.max() or 1.0), ids, classes, attacks, corpora, count, seed, about)


_REMEDY = "give a file that nes2net embed wrote"


class _Record(BaseModel):
    """What the record beside a file of embeddings says of it."""

    name: Annotated[str, Field(validation_alias=AliasPath("corpus", "name"))] = ""
    split: Annotated[str, Field(validation_alias=AliasPath("corpus", "split"))] = ""
    embedding: Annotated[str, Field(validation_alias=AliasPath("run", "embedding"))] = ""


def _listed(path: Path) -> _File:
    """The ids and labels of a file of embeddings, and where they come from."""
    if path.suffix == ".parquet":
        columns = list(_columns(path, ["id", "label"]))
        ids, labels = ([str(value or "") for part in columns for value in part[n].to_pylist()] for n in (0, 1))
    elif path.suffix == ".npy":
        ids, labels = _list_of(path.with_name(f"{path.name}.csv"))
        if len(ids) != (count := len(_array(path))):
            raise InputError(f"{path} has {counted(count, 'row')}, but {path.name}.csv lists {len(ids)}; {_REMEDY}")
    else:
        raise InputError(f"{path}: embeddings are in a file that ends in .npy or .parquet; {_REMEDY}")
    record, beside = _Record(), path.with_name(f"{path.name}.json")
    if beside.is_file():  # it names all files that could not be read
        record = read_json_as(_Record, beside, 64 << 20, "a record of embeddings", "write them again, or remove it")
    corpus = f"{record.name} {record.split}".strip() or path.stem
    what = f" (the {record.embedding})" if record.embedding else ""
    return _File(path, ids, labels, corpus, f"{path.name}: {counted(len(ids), 'embedding')}{what} of {corpus}")


def _list_of(path: Path) -> tuple[list[str], list[str]]:
    """The columns ``id`` and ``label`` of the list beside a ``.npy`` file."""
    try:
        rows = csv.DictReader(io.StringIO(read_text(path)), strict=True)
        columns = [(row["id"], row["label"]) for row in rows]
    except (csv.Error, KeyError) as error:
        raise InputError(f"{path}: not a list with the columns id and label ({error}); {_REMEDY}") from error
    if any(None in pair for pair in columns):
        raise InputError(f"{path}: a line has no label; {_REMEDY}")
    return [of_cell(id) for id, _ in columns], [label for _, label in columns]


def _array(path: Path) -> NDArray:
    """The array N×E in a ``.npy`` file, on disk."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header can cause any
        raise InputError(f"{path}: cannot be read as an array ({first_line(error)}); {_REMEDY}") from error
    fits = isinstance(array, np.memmap) and array.ndim == 2 and array.dtype.kind == "f"
    if not fits or not 1 <= array.shape[1] <= _MOST_NUMBERS or len(array) > MOST_LINES:
        raise InputError(f"{path}: not an array of embeddings, N × E of floating-point numbers; {_REMEDY}")
    return array


def _columns(path: Path, names: list[str]) -> Iterator[list[Any]]:
    """The columns ``names`` of a Parquet file of embeddings, some rows at a time."""
    pyarrow = pyarrow_module("pyarrow", path)
    try:
        budget = Budget.of(str(path), path.stat().st_size, _REMEDY)
        table = ParquetTable(path, budget)
        columns = {field.name: field.type for field in table.schema}
        vectors: Any = columns.get("embedding")
        fixed = isinstance(vectors, pyarrow.FixedSizeListType) and pyarrow.types.is_floating(vectors.value_type)
        if (
            not {"id", "label", "embedding"} <= columns.keys()
            or not fixed
            or not 1 <= vectors.list_size <= _MOST_NUMBERS
        ):
            raise InputError(f"{path}: lacks the columns id, label and embedding, a list of numbers; {_REMEDY}")
        yield from (batch.select(names).columns for batch in table.batches(names, budget))
    except InputError:
        raise
    except Exception as error:  # a damaged file can cause any
        raise InputError(f"{path}: cannot be read as Parquet ({first_line(error)}); {_REMEDY}") from error


def _rows(file: _File, chosen: NDArray) -> NDArray:
    """The ``chosen`` rows of a file, finite float32 (n, E)."""
    if file.path.suffix == ".npy":
        rows = np.asarray(_array(file.path)[chosen], np.float32)
    else:
        first, parts = 0, []
        for (column,) in _columns(file.path, ["embedding"]):
            here = chosen[(chosen >= first) & (chosen < first + len(column))] - first
            numbers = column.flatten().to_numpy(zero_copy_only=False)
            if len(numbers) != len(column) * column.type.list_size:
                raise InputError(f"{file.path}: some embeddings are missing; {_REMEDY}")
            parts.append(numbers.reshape(len(column), -1)[here])
            first += len(column)
        if first != len(file.ids):
            raise InputError(f"{file.path} has {len(file.ids)} ids, but {counted(first, 'embedding')}; {_REMEDY}")
        rows = np.concatenate(parts).astype(np.float32)
    if not np.isfinite(rows).all():
        raise InputError(f"{file.path}: some embeddings are not finite; {_REMEDY}")
    return rows
