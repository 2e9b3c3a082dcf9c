"""Read a recipe: a YAML file or a packaged recipe, its base, and overrides."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from nes2net.lib.errors import InputError, did_you_mean, short_repr
from nes2net.lib.parts.options import Takes
from nes2net.lib.storage.files import AnyPath, has_no_file
from nes2net.lib.storage.yaml_text import read_value, read_yaml_file, set_value
from nes2net.training.recipes.data import CorpusConfig, alias_of
from nes2net.training.recipes.recipe import DEFAULT_MODEL, Recipe, recipe_from_dict
from nes2net.training.recipes.section import Section, Source, Text

#: Keys of a recipe, or of a section, → values that are not checked yet.
_Values: TypeAlias = dict[str, object]
_IN_WHEEL = Path(__file__).with_name("published")
#: Folder of the packaged recipes, one for each published system: ``configs/`` in a checkout, ``published/`` in a wheel.
PACKAGED = _IN_WHEEL if _IN_WHEEL.is_dir() else Path(__file__).parents[3] / "configs"


class RecipeNotes(Section):
    """What the file of a recipe says about itself, for ``nes2net info``; it changes nothing in a run."""

    base: Annotated[Text | None, Takes("text"), Source("none, it is a name")] = None
    """Packaged recipe, or file beside this one, that gives the keys that this one leaves out."""
    about: Annotated[list[Text], Takes("a list of texts")] = []
    """What the recipe trains, in a line; then paragraphs."""
    sources: Annotated[dict[str, Text], Takes("a mapping of keys to texts")] = {}
    """Where the values come from, by the names of their keys, such as train.lr."""


def load_recipe(recipe: AnyPath, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe, a YAML file or a packaged recipe by name, and apply ``key=value`` overrides.

    Missing keys are taken from ``base``: a packaged recipe, or a file beside the recipe, itself
    without a base. Sections are merged key by key; front-end, aggregation and back-end are replaced
    as a whole. The parts name a run (:func:`name_after_model`) if overrides change a part but not
    ``name``, or if a recipe changes a part of its base but has neither ``name`` nor ``comment``.
    ``about`` and ``sources`` (:class:`RecipeNotes`) change nothing.

    Raises:
        InputError: if the recipe does not exist, or if its text or an override is wrong. The
            message suggests the most similar key or name.
    """
    overrides = list(overrides)
    values, _ = _read_with_base(_path_of(recipe))
    stated_keys = {override.partition("=")[0] for override in overrides}
    return recipe_from_dict(name_after_model(values, apply_overrides(values, overrides), stated_keys))


def recipe_notes(recipe: AnyPath) -> RecipeNotes:
    """Read the notes of a recipe, with the sources of values that it takes from its base.

    Raises:
        InputError: as for :func:`load_recipe`.
    """
    return _read_with_base(_path_of(recipe))[1]


def _path_of(recipe: AnyPath) -> Path:
    path = Path(recipe)
    if not has_no_file(path):
        return path
    names = packaged_recipes()
    if str(recipe) not in names:
        suggestion = did_you_mean(path.stem, names, "nes2net info")
        raise InputError(f"recipe {recipe} is neither a YAML file nor a packaged recipe{suggestion}")
    return PACKAGED / f"{recipe}.yaml"


def _read_with_base(path: Path) -> tuple[_Values, RecipeNotes]:
    values, notes = _read_file(path)
    if "base" not in values:
        return values, notes
    base = values.pop("base")
    if not isinstance(base, str) or not base or Path(base).name != base:
        raise InputError(
            f"recipe {path}: base must be the name of a packaged recipe, or of a file beside it without its folder, not {short_repr(base)}"
        )
    base_path = path.parent / base
    names = packaged_recipes()
    if not has_no_file(base_path):
        base_values, base_notes = _read_file(base_path)
    elif base in names:
        base_values, base_notes = _read_with_base(PACKAGED / f"{base}.yaml")
    else:
        suggestion = did_you_mean(Path(base).stem, names, "nes2net info")
        raise InputError(
            f"recipe {path} builds on {base_path}, which is not there: base must be a packaged recipe, or a file beside "
            f"it{suggestion}"
        )
    if "base" in base_values:
        raise InputError(
            f"recipe {path} builds on {base_path}, which has a base itself: name {short_repr(base_values['base'])} as base"
        )
    notes.sources = {**base_notes.sources, **notes.sources}
    merged = dict(base_values)
    for key, value in values.items():
        base_section = merged.get(key)
        if isinstance(value, dict | None) and isinstance(base_section, dict):
            value = {**base_section, **(value or {})}
        merged[key] = value
    if values.keys() & {"name", "comment"}:
        return merged, notes
    return name_after_model(base_values, merged, values), notes


def name_after_model(before: _Values, after: _Values, stated_keys: Collection[str]) -> _Values:
    """Return ``after``, named after the parts of its model if they differ from those of ``before``.

    An inherited name or comment describes another system: the name is replaced, the comment
    removed.

    Args:
        stated_keys: the keys that are not inherited from ``before``.

    >>> published = {"name": "wav2vec2_AASIST", "model": {"frontend": "xlsr_300m", "backend": {"name": "aasist"}}}
    >>> name_after_model(published, {**published, "model": {"frontend": "lps", "backend": "aasist"}}, ())["name"]
    'lps_aasist'
    """
    part_names = _names_of_parts(after)
    if part_names == _names_of_parts(before):
        return after
    frontend, aggregation, backend = part_names
    name = f"{frontend}_{backend}" if aggregation == "last" else f"{frontend}_{aggregation}_{backend}"
    new_values = {"name": name, "comment": None}
    return after | {key: value for key, value in new_values.items() if key in before and key not in stated_keys}


def _names_of_parts(values: _Values) -> list[str]:
    """List the names of front-end, aggregation and back-end; those of values not checked yet may be meaningless."""
    model = values.get("model", DEFAULT_MODEL)
    if not isinstance(model, dict):
        return [""] * len(DEFAULT_MODEL)
    names = []
    for kind in DEFAULT_MODEL:
        name_or_options = model.get(kind, "last")
        if isinstance(name_or_options, dict):
            name_or_options = name_or_options.get("name")
        names.append(str(name_or_options))
    return names


def packaged_recipes() -> list[str]:
    """List the names of the packaged recipes."""
    return sorted(path.stem for path in PACKAGED.glob("*.yaml"))


def _read_file(path: Path) -> tuple[_Values, RecipeNotes]:
    values = read_yaml_file(path, Recipe, f"recipe {path}")
    if not isinstance(values, dict | None):
        raise InputError(f"recipe {path} must have keys such as 'model:' and 'data:', not {short_repr(values)}")
    values = values or {}
    notes = {key: values.pop(key) for key in ("about", "sources") if key in values}
    return values, RecipeNotes(**notes)


def apply_overrides(values: _Values, overrides: Iterable[str]) -> _Values:
    """Apply ``overrides``, such as ``train.lr=1e-6``, to a recipe's ``values``; return the changed values.

    The value is YAML, unless its key takes text.

    >>> apply_overrides({"train": {"lr": 0.1}}, ["train.lr=1e-6", "model.backend=aasist", "date=0520"])
    {'train': {'lr': 1e-06}, 'model': {'backend': 'aasist'}, 'date': '0520'}

    If the recipe does not choose a part, such as the loss, the default part gets the option.

    >>> apply_overrides({}, ["train.loss.normalize=false"])
    {'train': {'loss': {'name': 'cross_entropy', 'normalize': False}}}

    Another name of a part removes the options of the old part; other overrides apply to the new one.

    >>> apply_overrides({"train": {"loss": {"name": "oc_softmax", "scale": 15}}}, ["train.loss.name=am_softmax"])
    {'train': {'loss': {'name': 'am_softmax'}}}

    A corpus of ``data.corpora`` is named by its alias or its name. A wrong override raises
    :class:`InputError`.

    >>> apply_overrides({"data": {"corpora": [{"name": "for"}]}}, ["data.corpora.for.root=DB"])
    {'data': {'corpora': [{'name': 'for', 'root': 'DB'}]}}
    """
    overrides = list(overrides)
    values = dict(values)  # set_value() copies the mappings inside
    last_texts = dict(override.partition("=")[::2] for override in overrides)
    for key, text in last_texts.items():
        if key.endswith(".name"):
            name = read_value(text, str, f"override {short_repr(key)}")
            parents = key.split(".")[:-1]
            part: Any = values
            for parent in parents:
                part = part.get(parent) if isinstance(part, dict) else None
            if isinstance(part, dict) and part.get("name", name) != name:  # the options are those of another part
                set_value(values, parents, "{}", None, key)
    for override in overrides:
        keys, equals, text = override.partition("=")
        if not equals or not keys:
            raise InputError(f"override {short_repr(override)} is not of the form key=value, such as train.lr=1e-6")
        *parents, last = keys.split(".")
        title = f"override {short_repr(override)}: the value"
        if parents[:2] != ["data", "corpora"]:
            set_value(values, [*parents, last], text, Recipe, title)
            continue
        # A name or alias may contain dots, so all parts between `data.corpora` and the last key are the name or alias.
        name = ".".join(parents[2:])
        data = values.get("data")
        data = data if isinstance(data, dict) else {}
        corpora = _copy_corpora(data.get("corpora"))
        aliases = [corpus.get("alias") or alias_of(str(corpus.get("name", ""))) for corpus in corpora]
        if name not in aliases:
            problem = (
                f"has no '{name}': name one of {', '.join(aliases)}"
                if aliases
                else "is not set: use keys such as `data.root`"
            )
            raise InputError(f"override {short_repr(override)}: `data.corpora` {problem}")
        set_value(corpora[aliases.index(name)], [last], text, CorpusConfig, title)
        values["data"] = {**data, "corpora": corpora}
    return values


def _copy_corpora(corpora: object) -> list[dict[str, Any]]:
    if not isinstance(corpora, list):
        return []
    # Keep the positions; the recipe's check reports what is no mapping.
    return [dict(corpus) if isinstance(corpus, dict) else {} for corpus in corpora]
