"""Recipes and the options on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from builders.hostile import Case, cases
from builders.hostile.folders import doubled
from builders.hostile.making import each_written, pipe, written

_MODEL = "model:\n  frontend: {name: lps, n_fft: 128, num_bins: 20}\n  backend: {name: asp_mlp}\n"


def _on_a_pipe(folder: Path) -> Path:
    """A recipe whose base is a pipe beside it."""
    pipe("base.yaml")(folder)
    return written("recipe.yaml", "base: base.yaml")(folder)


def _read(path: Path) -> Any:
    from nes2net.recipes.reading import load_recipe

    return load_recipe(path)


def _override(override: str) -> Callable[[Path], Any]:
    def attempt(path: Path) -> Any:
        from nes2net.recipes.reading import load_recipe

        return load_recipe(path, [override])

    return attempt


_TEXTS = {
    "doubled 40 times": (doubled(40), "no aliases"),
    "a tag": ("seed: !!python/name:os.system", "tags"),
    "a text with a tag": ("comment: !!binary AAAA", "tags"),
    "nested 10,000 deep": ("model: " + "[" * 10_000 + "]" * 10_000, "deep"),
    "100,000 values": ("comment: [" + "1," * 90_000 + "]", "values"),
    "10 MB": ("#" * 10**7, "is longer than"),
    "5,000 digits": ("seed: " + "9" * 5000, "`seed` is a whole number"),
    "5,000 hexadecimal digits": ("seed: 0x" + "f" * 5000, "`seed` is a whole number"),
    "infinity": ("train: {lr: .inf}", "`train.lr` is a number above 0"),
    "a key twice": ("seed: 1\nseed: 2\n", "twice"),
    "a key of a list": ("? [1]\n: 2\n", "YAML"),
    "not UTF-8": (b"seed: \xff", "UTF-8"),
    "null bytes": ("seed: 1\0", "YAML"),
    "two documents": ("seed: 1\n---\nseed: 2\n", "YAML"),
    "a list": ("[1, 2]", "mapping"),
    "a section that is a list": ("train: [lr]", "train is a mapping"),
    "a section in a section": ("train: {train: {lr: 1}}", "unknown key 'train.train'"),
    "a model that is a list": ("model: [lps]", "`model` is a mapping of keys"),
    "a front-end that is a list": ("model: {frontend: [lps]}", "frontend has no name"),
    "a base that is a list": ("base: [x]", "base is the name"),
    "a base outside": ("base: ../x.yaml", "base is the name"),
    "a base of 300 characters": (f"base: {'x' * 300}", "not there"),
}
_OVERRIDES = {
    "aliases": ("train.loss.class_weights=[&a 1, *a]", "no aliases"),
    "100,000 keys": (".".join(["model"] * 100_000) + "=1", "no part 'model'"),
    "no key": ("=1", "key=value"),
    "empty keys": ("...=1", "unknown key"),
    "below a number": ("seed.x=5", "`seed` is a whole number"),
}

CASES: list[Case] = [
    *cases(_read, each_written("recipe.yaml", _TEXTS)),
    *(
        Case(f"override: {name}", written("recipe.yaml", _MODEL), _override(text), says)
        for name, (text, says) in _OVERRIDES.items()
    ),
    Case("a pipe", pipe("recipe.yaml"), _read, "neither a YAML file nor"),
    Case("a base that is a pipe", _on_a_pipe, _read, "builds on .* not there"),
    Case("a name of 300 characters", lambda folder: folder / ("x" * 300), _read, "neither a YAML file nor"),
    Case("a name with a null byte", lambda folder: "x\0y", _read, "neither a YAML file nor"),
]
