"""Read the options of a part from its constructor, and its description from its docstrings.

A part is a front-end, an aggregation, a back-end, a head, a loss, a task or a judgement.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pkgutil import resolve_name
from typing import Any

from nes2net.apps.info.sheet import plain, shown
from nes2net.lib.options import Preset, declared
from nes2net.models.registry import Registry, aggregations, backends, frontends, heads, judgements, losses, tasks

#: Kind of part → parameters of its constructors that are not options, because the detector sets them.
_NOT_OPTIONS = {
    frontends.kind: ("checkpoint",),
    aggregations.kind: ("num_layers", "feature_dim"),
    backends.kind: (),
    heads.kind: ("in_features", "out_features"),
    losses.kind: ("head", "feature_dim", "num_classes"),
    tasks.kind: ("recipe",),
    judgements.kind: (),
}
#: Key of a recipe whose value is a mapping → class that declares the keys of the mapping. The classes are given by
#: name, because some of their modules load torch.
_DECLARED_BY = {
    "augment.fir": "nes2net.data.augment.channels:LowPass",
    "augment.latent": "nes2net.data.augment.latent:LatentAugmentation",
    "augment.parameters": "nes2net.data.augment.rawboost:RawBoostParameters",
    "augment.specmix": "nes2net.data.augment.specmix:Specmix",
    "train.adapt": "nes2net.models.frontends.adaptation:Adaptation",
}
#: Kind of names → its irregular plural.
PLURALS = {"corpus": "corpora", losses.kind: "losses"}
_SECTIONS = re.compile(r"\n\n(?=Args:|Attributes:|Raises:|>>> )")
# Matches a text up to the end of the last sentence with a year. A point after a single capital letter belongs to a
# name, so it does not end the sentence.
_UP_TO_YEAR = re.compile(r".*\b(?:19|20)\d\d\b.*?(?:(?<!\b[A-Z])\.(?=\s+[A-Z])|$)", re.DOTALL)


def option_rows(registry: Registry, name: str) -> list[dict[str, Any]]:
    """Return a row for each option of a part, with ``option``, ``takes``, ``default`` and ``meaning``."""
    return rows_of(registry.get(name), _NOT_OPTIONS[registry.kind])


def general_rows(registry: Registry, name: str) -> list[dict[str, Any]]:
    """Return rows like :func:`option_rows`, but for the options that all parts of this kind have."""
    if registry.kind == frontends.kind:
        meaning = "train a few tensors beside the frozen weights of its transformer layers; null trains the weights."
        return [{"option": "adapt", "takes": "a mapping of keys, or null", "default": None, "meaning": meaning}]
    if registry.kind != backends.kind:
        return []
    from nes2net.models.backends.heads import GeneralOptions  # import only here, because `heads` imports torch

    return rows_of(GeneralOptions, tuple(declared(registry.get(name))))


def rows_of(factory: Callable[..., Any], left_out: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return rows like :func:`option_rows` for the parameters of a constructor, without the parameters ``left_out``."""
    meanings = _option_meanings(inspect.getdoc(_documented(factory)) or "")
    rows = []
    for option, facts in declared(factory).items():
        if option not in left_out:
            default = "required"
            if facts.default is not inspect.Parameter.empty:
                default = json.loads(json.dumps(facts.default))
            meaning = meanings.get(option, "")
            rows.append({"option": option, "takes": facts.takes, "default": default, "meaning": meaning})
    return rows


def mapping_rows(key: str | None) -> list[dict[str, Any]]:
    """Return a row for each key of the mapping that a recipe has under ``key``, such as ``augment.fir``.

    The rows have the columns of :func:`option_rows`. The result is empty if the value of ``key`` is
    not a mapping.
    """
    return [] if key not in _DECLARED_BY else rows_of(resolve_name(_DECLARED_BY[key]))


def title(registry: Registry, name: str) -> str:
    """Return the title of a part, which is the first line of a docstring.

    The title of an aggregation or a back-end comes from the docstring of its module. The title of
    any other part comes from the docstring of its class.
    """
    factory = _documented(registry.get(name))
    text = inspect.getdoc(factory)
    if registry.kind not in (frontends.kind, heads.kind, losses.kind, tasks.kind, judgements.kind):
        text = inspect.getdoc(inspect.getmodule(factory)) or text
    return plain((text or name).partition("\n\n")[0])


def about(registry: Registry, name: str) -> list[str]:
    """Return the docstring of a part's class up to its arguments, as paragraphs; a numbered item is a paragraph."""
    text = _SECTIONS.split(inspect.getdoc(_documented(registry.get(name))) or "")[0]
    return [plain(item) for item in re.split(r"\n\n|\n(?=\d\. )", text)]


def source(registry: Registry, name: str) -> str:
    """Return the publication of a part: the first paragraph with a year in the docstring of its module or class.

    The paragraph is cut after the last sentence with a year. The result is empty if there is no
    year.
    """
    factory = _documented(registry.get(name))
    for documented in (inspect.getmodule(factory), factory):
        text = _SECTIONS.split(inspect.getdoc(documented) or "")[0]
        for paragraph in text.split("\n\n"):
            if publication := _UP_TO_YEAR.match(paragraph):
                return plain(publication[0])
    return ""


def bound_arguments(registry: Registry, name: str) -> str:
    """List the arguments that the registry binds to the class of a part, as text; return "" if there are none."""
    factory = registry.get(name)
    arguments = []
    while isinstance(factory, partial) and not isinstance(factory, Preset):
        arguments += [getattr(value, "__name__", shown(value)) for value in factory.args]
        for key, value in factory.keywords.items():
            if isinstance(value, (int, str)):
                arguments.append(f"{key} {shown(value)}")
        factory = factory.func
    return ", ".join(arguments)


def _documented(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Unwrap ``factory``: return the class or function inside a ``partial``, which has the docstring."""
    while isinstance(factory, partial) and not isinstance(factory, Preset):
        factory = factory.func
    return factory


def _option_meanings(docstring: str) -> dict[str, str]:
    """Parse the section ``Args`` of a docstring; return option → text.

    >>> _option_meanings("A part.\\n\\nArgs:\\n    a, b: of the\\n        first layer.\\n    c: no.\\n\\nRaises:\\n    d: e")
    {'a': 'of the first layer.', 'b': 'of the first layer.', 'c': 'no.'}
    """
    arguments = re.search(r"^Args:\n((?:    .*\n?)+)", docstring, re.MULTILINE)
    if arguments is None:
        return {}
    meanings: dict[str, str] = {}
    for options, text in re.findall(r"^    (\w[\w, ]*): ((?:.*\n?)(?:        .*\n?)*)", arguments[1], re.MULTILINE):
        meanings |= dict.fromkeys(options.split(", "), plain(text))
    return meanings
