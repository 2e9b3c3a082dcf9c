"""The site's page of the options of all parts, made from their constructors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from marked import joined

from nes2net.apps.info.part_options import PLURALS, option_rows, rows_of
from nes2net.lib.output.terminal import markdown_table
from nes2net.lib.parts.docstrings import docstring_of
from nes2net.lib.parts.options import options_of
from nes2net.lib.parts.registry import Registry
from nes2net.models.backends.heads import GeneralOptions
from nes2net.models.frontends.adaptation import Adaptation
from nes2net.models.frontends.sizes import SIZES
from nes2net.models.registry import aggregations, backends, frontends, heads
from nes2net.training.registry import losses, tasks

PAGE = """\
# Options of parts

A part takes these options in a recipe, in the configuration of a checkpoint or a detector folder,
and in Python by `create_frontend`, `create_aggregation` and `create_backend`. `nes2net info NAME`
shows those of one part. Losses and tasks stand in a recipe alone, as `train.loss` and `train.task`.

Values of another type or out of range are refused with one line. A part has at most 5·10⁹ weights
and 3,000 modules. `feature_dim` is the front-end's size of a hidden state unless it is given.
"""
GENERAL = """\
## Every back-end

Every back-end takes these options besides its own. [Losses](/train.md#losses) says which head goes with
which loss.

In a detector, `feature_dim` is the size of the front-end's hidden states if it is not given. The
`num_layers` of back-ends that read all layers, and the `num_frames` of `sls`, are then at most what
the front-end gives, of 64,600 samples. Where a back-end cannot split hidden states evenly, zeros fill
them up, and training says so. So the defaults of every front-end go with those of every back-end,
but for the waveform, which `raw_aasist` and `raw_aasist_l` read, and spectra, which have no layers to
weigh.
"""
PUBLISHED = """\
### Published sizes

These names are front-ends of the table above with other defaults. Their pre-training file has to be
of the size that the name says, while `wav2vec2`, `hubert` and the others above read any size of
their type. *Numbers* are those that are read from the file. Whether waveforms are layer-normalised is
decided by `normalize`; if that is null, by the folder's `preprocessor_config.json`, and without one
they stay as they are.
"""
SIZE_COLUMNS = ["name", "model", "options of", "other defaults", "numbers", "file, folder", "licence of the weights"]
ADAPTATION = """\
## Every front-end

Every front-end with transformer layers takes `adapt`, a mapping of these options, besides its own:
its weights are frozen, and a few tensors beside them are trained ([Adaptation](/adaptation.md)).
"""


def page() -> str:
    """Write the page in Markdown."""
    blocks = [
        PAGE,
        ADAPTATION,
        option_table(rows_of(Adaptation)),
        GENERAL,
        option_table(rows_of(GeneralOptions)),
        table_of_heads(),
    ]
    for registry in (frontends, aggregations, backends, losses, tasks):
        blocks.append(f"## {PLURALS.get(registry.kind, f'{registry.kind}s').capitalize()}")
        tables: dict[str, list[str]] = {}
        sized = sizes(registry) if registry is frontends else {}
        for name in (name for name in registry.names(installed=False) if name not in sized):
            tables.setdefault(option_table(option_rows(registry, name)), []).append(name)
        for options, names in tables.items():
            blocks.append(f"### {', '.join(f'`{name}`' for name in names)}\n\n{options}")
        if sized:
            blocks += [PUBLISHED, markdown_table(SIZE_COLUMNS, list(sized.values())).replace("---:", "---")]
    return joined(blocks)


def sizes(registry: Registry) -> dict[str, list[str]]:
    """Make the rows of the table of published sizes: name of a front-end → cells."""
    rows = {}
    for name, size in SIZES.items():
        if name != size.frontend:
            defaults = options_of(registry.get(size.frontend))
            own_defaults = {**size.options, **size.training}.items()
            changed = {key: value for key, value in own_defaults if value != defaults[key].default}
            options = ", ".join(f"{key} {json.dumps(value)}" for key, value in changed.items()) or "the defaults"
            file = f"[`{size.file}`]({size.source}), " if size.file else ""
            links = f"{file}[{size.hub}](https://huggingface.co/{size.hub})"
            rows[name] = [
                f"`{name}`",
                size.title,
                f"`{size.frontend}`",
                options,
                f"{size.parameters:,}",
                links,
                size.licence,
            ]
    return rows


def table_of_heads() -> str:
    """Make the table of the heads with their logits, scores and options."""
    lines = ["| head | logits | score | options |", "| --- | --- | --- | --- |"]
    for name in heads.names(installed=False):
        kind = heads.get(name)
        meaning = f"{docstring_of(kind).title}.".replace("|", "\\|")
        rows = option_rows(heads, name)
        options = [f"`{row['option']}`, {row['takes']}; default {row['default']}" for row in rows]
        lines.append(f"| `{name}` | {meaning} | {kind.score_rule} | {'; '.join(options)} |")
    return "\n".join(lines)


def option_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Make a table of options from the rows of ``option_rows``; a sentence if there are none."""
    lines = [
        f"| `{row['option']}` | {row['takes']} | `{json.dumps(row['default'])}` | {row['meaning'].replace('|', chr(92) + '|')} |"
        for row in rows
    ]
    head = ["| option | takes | default | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *lines]) if rows else "No options."
