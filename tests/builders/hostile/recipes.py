"""Recipes and the options on the command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builders.hostile import Case, nes2net
from builders.hostile.folders import doubled

MODEL = "model:\n  frontend: {name: lps, n_fft: 128, num_bins: 20}\n  backend: {name: asp_mlp}\n"


def _file(text: str | bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "recipe.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
        return folder / "recipe.yaml"

    return make


def _special(make_special: Callable[[Path], Any]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        make_special(folder / "recipe.yaml")
        return folder / "recipe.yaml"

    return make


def _base(text: str, make_special: Callable[[Path], Any]) -> Callable[[Path], Path]:
    """A recipe whose base is ``base.yaml`` beside it."""

    def make(folder: Path) -> Path:
        make_special(folder / "base.yaml")
        return _file(text)(folder)

    return make


def _read(path: Path) -> Any:
    from nes2net.recipes.reading import load_recipe

    return load_recipe(path)


def _build(path: Path) -> Any:
    from nes2net import Detector

    return Detector.from_config(_read(path).model)


def _override(override: str) -> Callable[[Path], Any]:
    def attempt(path: Path) -> Any:
        from nes2net.recipes.reading import load_recipe

        return load_recipe(path, [override])

    return attempt


TEXTS: dict[str, tuple[str | bytes, str]] = {
    "doubled 40 times": (doubled(40), "no aliases"),
    "nested 10,000 deep": ("model: " + "[" * 10_000 + "]" * 10_000, "deep"),
    "100,000 values": ("comment: [" + "1," * 90_000 + "]", "values"),
    "40,000 keys": ("".join(f"k{n}: 1\n" for n in range(15_000)), "values"),
    "10 MB": ("#" * 10**7, "is longer than"),
    "a text of 190 kB": ("comment: " + "x" * 190_000, None),
    "a tag": ("seed: !!python/name:os.system", "tags"),
    "merge keys": ("<<: {seed: 1}", "unknown key '<<'"),
    "a date as a number": ("seed: 2026-02-30", "`seed` is a whole number"),
    "5,000 digits": ("seed: " + "9" * 5000, "`seed` is a whole number"),
    "infinity": ("train: {lr: .inf}", "`train.lr` is a number above 0"),
    "not a number": ("train: {lr: .nan}", "`train.lr` is a number above 0"),
    "a key twice": ("seed: 1\nseed: 2\n", "twice"),
    "a key of a list": ("? [1]\n: 2\n", "YAML"),
    "a key of a mapping": ("? {a: 1}\n: 2\n", "YAML"),
    "a key of 10,000 characters": ("x" * 10_000 + ": 1", "unknown key|YAML"),
    "not UTF-8": (b"seed: \xff", "UTF-8"),
    "UTF-16": ("seed: 1".encode("utf-16"), "UTF-8"),
    "null bytes": ("seed: 1\0", "YAML"),
    "two documents": ("seed: 1\n---\nseed: 2\n", "YAML"),
    "a list": ("[1, 2]", "mapping"),
    "a text": ("seed", "mapping"),
    "a section that is a list": ("train: [lr]", "train is a mapping"),
    "a section that is a text": ("data: x", "data is a mapping"),
    "a section in a section": ("train: {train: {lr: 1}}", "unknown key 'train.train'"),
    "a key that is a section": ("seed: {train: 1}", "`seed` is a whole number"),
    "a number of parameters": ("augment: {algo: 4, parameters: 5}", "`augment.parameters` is a mapping"),
    "a model that is a list": ("model: [lps]", "`model` is a mapping of keys"),
    "a model that is a text": ("model: lps", "`model` is a mapping of keys"),
    "a front-end that is a list": ("model: {frontend: [lps]}", "frontend has no name"),
    "a name that is a mapping": ("model: {frontend: {name: {name: lps}}}", "frontend has no name"),
    "an option that is a number": ("model: {frontend: {name: lps, 1: 2}}", "an option 1"),
    "an unknown part": ("model: {front: lps}", "no part 'front'"),
    "a base that is a list": ("base: [x]", "base is the name"),
    "a base outside": ("base: ../x.yaml", "base is the name"),
    "a base of 300 characters": (f"base: {'x' * 300}", "not there|base"),
}
PARTS = {
    "n_fft": "frontend: {name: lps, n_fft: 2147483647}, backend: asp_mlp",
    "hop_length": "frontend: {name: lps, hop_length: 0}, backend: asp_mlp",
    "encoder_layers": "frontend: {name: wav2vec2_small, encoder_layers: 1000000}, backend: asp_mlp",
    "num_blocks": "frontend: lps, backend: {name: conformer, num_blocks: 100000000}",
    "num_layers": "frontend: lps, backend: {name: mamba, num_layers: 100000000}",
    "stem_convolutions": "frontend: lps, backend: {name: mpif_res2net, stem_convolutions: 100000000}",
    "scale": "frontend: lps, backend: {name: mpif_res2net, scale: 100000000}",
    "strides": "frontend: lps, backend: {name: mpif_res2net, strides: [1, 2, 2, 100000000]}",
    "num_logits": "frontend: lps, backend: {name: asp_mlp, num_logits: two}",
    "hidden_dim": "frontend: lps, backend: {name: asp_mlp, hidden_dim: null}",
    "modules": "frontend: lps, backend: {name: mpif_res2net, num_frames: 8, blocks: [64, 64, 64, 64], scale: 64}",
}
SPECIAL: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pipe": (os.mkfifo, "neither a YAML file nor"),
    "a folder": (lambda path: path.mkdir(), "neither a YAML file nor"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "neither a YAML file nor"),
    "a loop": (lambda path: path.symlink_to(path.name), "neither a YAML file nor"),
}
OVERRIDES = {
    "doubled lists": ("train.loss.class_weights={" + doubled(40).replace("\n", ", ") + "}", "no aliases"),
    "aliases": ("train.loss.class_weights=[&a 1, *a]", "no aliases"),
    "nested": ("model.backend=" + "[" * 5000, "YAML|deep"),
    "100,000 values": ("train.loss.class_weights=[" + "1," * 100_000 + "]", "values"),
    "a megabyte": ("train.lr=" + "9" * 10**6, "`train.lr`"),
    "1,000 keys": (".".join(["model"] * 1000) + "=1", "no part 'model'"),
    "100,000 keys": (".".join(["model"] * 100_000) + "=1", ""),
    "no key": ("=1", "key=value"),
    "empty keys": ("...=1", "unknown key"),
    "a section": ("train=5", "train is a mapping"),
    "below a number": ("seed.x=5", "`seed` is a whole number"),
    "below a part": ("model.backend.name.x=5", "backend has no name"),
    "a null byte": ("seed=\0", "YAML"),
    "5,000 digits": ("seed=" + "9" * 5000, "`seed` is a whole number"),
}

CASES: list[Case] = [
    *(Case(name, _file(text), _read, says) for name, (text, says) in TEXTS.items()),
    *(Case(f"a part: {name}", _file(f"model: {{{text}}}"), _build, name) for name, text in PARTS.items()),
    *(Case(f"the file is {name}", _special(special), _read, says) for name, (special, says) in SPECIAL.items()),
    *(
        Case(f"the base is {name}", _base("base: base.yaml", special), _read, "base|folder|device|pipe")
        for name, (special, _) in SPECIAL.items()
    ),
    *(Case(f"override: {name}", _file(MODEL), _override(text), says) for name, (text, says) in OVERRIDES.items()),
    Case("a name of 300 characters", lambda folder: folder / ("x" * 300), _read, "neither a YAML file nor"),
    Case("a name with a null byte", lambda folder: "x\0y", _read, "neither a YAML file nor"),
    Case("train", _file(f"model: {{{PARTS['n_fft']}}}"), lambda path: nes2net("train", path), "n_fft is |data.root"),
]
