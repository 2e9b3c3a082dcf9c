"""The options of a part as its constructor declares them, and the manual's page of all parts.

``python -m nes2net.inspect.part_options docs/part-options.md`` writes the page anew.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nes2net.frontends.sizes import SIZES
from nes2net.inspect.sheet import plain, shown
from nes2net.machine.terminal import markdown_table
from nes2net.options import Preset, declared
from nes2net.registry import Registry, aggregations, backends, frontends, losses

_PAGE = """\
# Options of parts

A part takes these options in a recipe, in the configuration of a checkpoint or a detector folder,
and in Python by `create_frontend`, `create_aggregation` and `create_backend`. `nes2net info NAME`
shows those of one part. Losses and tasks stand in a recipe alone, as `train.loss` and `train.task`.

Values of another type or out of range are refused with one line. A part has at most 5·10⁹ weights
and 3,000 modules. `feature_dim` is the front-end's size of a hidden state unless it is given.

This page is made from the constructors:
`python -m nes2net.inspect.part_options docs/part-options.md`.
"""
_GENERAL = """\
## Every back-end

Every back-end takes these options besides its own. [Losses](losses.md) says which head goes with
which loss.

In a detector, `feature_dim` is the size of the front-end's hidden states if it is not given. The
`num_layers` of back-ends that read all layers, and the `num_frames` of `sls`, are then at most what
the front-end gives, of 64,600 samples. Where a back-end cannot split hidden states evenly, zeros fill
them up, and training says so. So the defaults of every front-end go with those of every back-end,
but for the waveform, which `raw_aasist` and `raw_aasist_l` read, and spectra, which have no layers to
weigh.
"""
_PUBLISHED = """\
### Published sizes

These names are front-ends of the table above with other defaults. Their pre-training file has to be
of the size that the name says, while `wav2vec2`, `hubert` and the others above read any size of
their type. *Numbers* are those that are read from the file. Whether waveforms are layer-normalised is
decided by `normalize`; if that is null, by the folder's `preprocessor_config.json`, and without one
they stay as they are.
"""
_SIZE_COLUMNS = ["name", "model", "options of", "other defaults", "numbers", "file, folder", "licence of the weights"]
_ADAPTATION = """\
## Every front-end

Every front-end with transformer layers takes `adapt`, a mapping of these options, besides its own:
its weights are frozen, and a few tensors beside them are trained ([Adaptation](adaptation.md)).
"""
#: Parameters of constructors that are not options: what a detector gives to its parts.
_GIVEN = {
    frontends.kind: ("checkpoint",),
    aggregations.kind: ("num_layers", "feature_dim"),
    backends.kind: (),
    losses.kind: ("head", "feature_dim"),
    "task": ("recipe",),
}
#: Kind of parts → its plural, where that is not the kind with an s.
PLURALS = {"corpus": "corpora", losses.kind: "losses"}
_SECTIONS = re.compile(r"\n\n(?=Args:|Attributes:|Raises:|>>> )")
# To the end of the last sentence with a year; a point behind a single capital is that of a name.
_UP_TO_YEAR = re.compile(r".*\b(?:19|20)\d\d\b.*?(?:(?<!\b[A-Z])\.(?=\s+[A-Z])|$)", re.DOTALL)


def option_rows(registry: Registry, name: str) -> list[dict[str, Any]]:
    """The options of a part, one row each: ``option``, ``takes``, ``default``, ``meaning``."""
    return _rows(registry.get(name), _GIVEN[registry.kind])


def general_rows(registry: Registry, name: str) -> list[dict[str, Any]]:
    """The options that a part takes besides its own, as :func:`option_rows` gives them."""
    if registry.kind == frontends.kind:
        meaning = "train a few tensors beside the frozen weights of its transformer layers; null trains the weights."
        return [{"option": "adapt", "takes": "a mapping of keys, or null", "default": None, "meaning": meaning}]
    if registry.kind != backends.kind:
        return []
    from nes2net.backends.heads import GeneralOptions  # start-up: names are listed without torch

    return _rows(GeneralOptions, tuple(declared(registry.get(name))))


def _rows(factory: Callable[..., Any], left_out: Sequence[str]) -> list[dict[str, Any]]:
    meanings = _meanings(inspect.getdoc(_written(factory)) or "")
    return [
        {
            "option": option,
            "takes": facts.takes,
            "default": "required"
            if facts.default is inspect.Parameter.empty
            else json.loads(json.dumps(facts.default)),
            "meaning": meanings.get(option, ""),
        }
        for option, facts in declared(factory).items()
        if option not in left_out
    ]


def title(registry: Registry, name: str) -> str:
    """What a part is: the first line of the module of its own, or of its class."""
    factory = _written(registry.get(name))
    module = inspect.getdoc(inspect.getmodule(factory)) or ""
    text = inspect.getdoc(factory) if registry.kind in (frontends.kind, losses.kind) else module
    return plain((text or inspect.getdoc(factory) or name).partition("\n\n")[0])


def about(registry: Registry, name: str) -> list[str]:
    """What the docstring of a part's class says before its arguments, in paragraphs."""
    text = _SECTIONS.split(inspect.getdoc(_written(registry.get(name))) or "")[0]
    return [plain(item) for item in re.split(r"\n\n|\n(?=\d\. )", text)]


def source(registry: Registry, name: str) -> str:
    """The publication of a part: the first paragraph of its module or class that has a year, up to it."""
    factory = _written(registry.get(name))
    texts = (inspect.getdoc(factory) or "", inspect.getdoc(inspect.getmodule(factory)) or "")
    paragraphs = [item for text in reversed(texts) for item in _SECTIONS.split(text)[0].split("\n\n")]
    return next((plain(found[0]) for item in paragraphs if (found := _UP_TO_YEAR.match(item))), "")


def variant(registry: Registry, name: str) -> str:
    """What a part of a family is made of; empty if the class itself is the part."""
    factory, given = registry.get(name), []
    while isinstance(factory, partial) and not isinstance(factory, Preset):
        given += [getattr(value, "__name__", shown(value)) for value in factory.args]
        given += [f"{key} {shown(value)}" for key, value in factory.keywords.items() if isinstance(value, (int, str))]
        factory = factory.func
    return ", ".join(given)


def _written(factory: Callable[..., Any]) -> Callable[..., Any]:
    """What has the docstring of a registered factory, which ``partial`` may have made of it."""
    while isinstance(factory, partial) and not isinstance(factory, Preset):
        factory = factory.func
    return factory


def _meanings(docstring: str) -> dict[str, str]:
    """Option → its text in the section ``Args`` of a docstring.

    >>> _meanings("A part.\\n\\nArgs:\\n    a, b: of the\\n        first layer.\\n    c: no.\\n\\nRaises:\\n    d: e")
    {'a': 'of the first layer.', 'b': 'of the first layer.', 'c': 'no.'}
    """
    arguments = re.search(r"^Args:\n((?:    .*\n?)+)", docstring, re.MULTILINE)
    found: dict[str, str] = {}
    for entry in re.findall(
        r"^    (\w[\w, ]*): ((?:.*\n?)(?:        .*\n?)*)", arguments[1] if arguments else "", re.M
    ):
        found |= dict.fromkeys(entry[0].split(", "), plain(entry[1]))
    return found


def page() -> str:
    from nes2net.backends.heads import GeneralOptions  # start-up: names are listed without torch
    from nes2net.frontends.adaptation import Adaptation  # start-up, as above
    from nes2net.training.tasks.task import tasks  # start-up, as above

    parts = [_PAGE, _ADAPTATION, _table(_rows(Adaptation, ())), _GENERAL, _table(_rows(GeneralOptions, ())), _heads()]
    for registry in (frontends, aggregations, backends, losses, tasks):
        parts.append(f"## {PLURALS.get(registry.kind, f'{registry.kind}s').capitalize()}")
        tables: dict[str, list[str]] = {}
        sized = _sizes(registry) if registry is frontends else {}
        for name in (name for name in registry.names(installed=False) if name not in sized):
            tables.setdefault(_table(option_rows(registry, name)), []).append(name)
        for table, names in tables.items():
            parts.append(f"### {', '.join(f'`{name}`' for name in names)}\n\n{table}")
        if sized:
            parts += [_PUBLISHED, markdown_table(_SIZE_COLUMNS, list(sized.values())).replace("---:", "---")]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _sizes(registry: Registry) -> dict[str, list[str]]:
    """The rows of the published sizes, by their names."""
    rows = {}
    for name, size in SIZES.items():
        if name != size.frontend:
            defaults = declared(registry.get(size.frontend))
            given = {**size.options, **size.training}.items()
            changed = {key: value for key, value in given if value != defaults[key].default}
            options = ", ".join(f"{key} {json.dumps(value)}" for key, value in changed.items()) or "the defaults"
            file = f"[`{size.file}`]({size.source}), " if size.file else ""
            places = f"{file}[{size.hub}](https://huggingface.co/{size.hub})"
            rows[name] = [
                f"`{name}`",
                size.title,
                f"`{size.frontend}`",
                options,
                f"{size.parameters:,}",
                places,
                size.licence,
            ]
    return rows


def _heads() -> str:
    """The heads by name, with their scores and options."""
    from nes2net.backends.heads import HEADS  # start-up: names are listed without torch

    lines = ["| head | logits | score | options |", "| --- | --- | --- | --- |"]
    for name, kind in HEADS.items():
        what = plain((inspect.getdoc(kind) or "").partition("\n\n")[0]).replace("|", "\\|")
        given = [p.name for p in inspect.signature(kind).parameters.values() if p.kind is not p.KEYWORD_ONLY]
        rows = _rows(kind, given)
        options = [f"`{row['option']}`, {row['takes']}; default {row['default']}" for row in rows]
        lines.append(f"| `{name}` | {what} | {kind.score_rule} | {'; '.join(options)} |")
    return "\n".join(lines)


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"| `{row['option']}` | {row['takes']} | `{json.dumps(row['default'])}` | {row['meaning'].replace('|', chr(92) + '|')} |"
        for row in rows
    ]
    head = ["| option | takes | default | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *lines]) if rows else "No options."


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
