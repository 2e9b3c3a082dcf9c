"""The site's page of all keys of a recipe, made from the classes of its sections in ``nes2net/training/recipes/``."""

from __future__ import annotations

from marked import joined

from nes2net.lib.parts.docstrings import docstring_of
from nes2net.training.recipes.documentation import RecipeKey, find_keys, keys_of
from nes2net.training.recipes.recipe import SECTIONS, Recipe

PAGE = """\
# Keys of a recipe

A recipe is a YAML file. On the command line a key is written `train.lr=1e-6`. A key that is not
given has its default. `base: other.yaml` takes over what the recipe does not say from a file beside
it. `about`, a list of texts, and `sources`, a mapping of keys to texts, are for `nes2net info`.
`nes2net info recipe` prints what follows; `nes2net info recipe train.lr` prints one key.

An editor with a YAML language server completes and checks a recipe whose first line is
`# yaml-language-server: $schema=PATH`, where PATH leads to
`configs/recipe.schema.json`. The packaged recipes have this line. The last line
that `nes2net info recipe` prints is that path.

Sources: *main.py* is the published program for ASVspoof 2019 and 2021; *CtrSVDD program* and
*ASVspoof 5 program* are its authors' other two (all of arXiv 2504.05657). *SR-LA Res2Net code* is
by the group of MPIF-Res2Net. *toolkit* marks a key that none of these has.
"""


def page() -> str:
    """Write the page in Markdown: the keys outside of sections, then those of each section."""
    keys_outside = [*find_keys("base"), *keys_of(Recipe)]
    blocks = [PAGE, "## Outside of the sections", *map(paragraph, keys_outside)]
    for name, kind in SECTIONS.items():
        blocks += [f"## `{name}`", f"{docstring_of(kind).title}.", *map(paragraph, find_keys(name))]
    return joined(blocks)


def paragraph(key: RecipeKey) -> str:
    """Write a paragraph about one key: its type, default, meaning and source."""
    used_with = f" Used with `{key.used_with}`." if key.used_with else ""
    return f"**`{key.name}`** – {key.takes}; default `{key.default}`. {key.meaning}{used_with} *Source: {key.source}.*"
