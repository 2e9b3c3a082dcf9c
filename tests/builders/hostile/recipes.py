"""Recipes and the options on the command line."""

from __future__ import annotations

from builders.hostile import Case, cases
from builders.hostile.folders import doubled
from builders.hostile.making import each_written, pipe, written


def _on_a_pipe(folder):
    """A recipe whose base is a pipe beside it."""
    pipe("base.yaml")(folder)
    return written("recipe.yaml", "base: base.yaml")(folder)


def _read(path):
    from nes2net.training.recipes.reading import load_recipe

    return load_recipe(path)


_TEXTS = {}
_TEXTS["doubled 40 times"] = (doubled(40), "aliases and tags are not allowed")
_TEXTS["a tag"] = ("seed: !!python/name:os.system", "tags")
_TEXTS["10 MB"] = ("#" * 10**7, "is longer than")
_TEXTS["5,000 digits"] = ("seed: " + "9" * 5000, "`seed` must be a whole number")
_TEXTS["a base outside"] = ("base: ../x.yaml", "base must be the name")

CASES = cases(_read, each_written("recipe.yaml", _TEXTS))
CASES.append(Case("a pipe", pipe("recipe.yaml"), _read, "is a named pipe"))
CASES.append(Case("a base that is a pipe", _on_a_pipe, _read, "base.yaml: is a named pipe"))
CASES.append(Case("a name with a null byte", lambda folder: "x\0y", _read, "neither a YAML file nor"))
