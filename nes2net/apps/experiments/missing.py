"""Find missing inputs (recordings, protocols, keys, pre-training files), and say where to get each input."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

from nes2net.data.audio.files import is_recording
from nes2net.data.corpora.check import CorpusCheck, find_split, why_unusable
from nes2net.data.corpora.corpus import Corpus
from nes2net.data.corpora.trial import Part
from nes2net.lib.errors import InputError
from nes2net.lib.findings import Finding
from nes2net.models.frontends.sizes import SIZES, obtain
from nes2net.models.registry import corpora, takes_checkpoint
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.tasks.task import create_task


def training_parts(recipe: Recipe) -> list[Part]:
    """List the parts of corpora that training by ``recipe`` reads, without repetitions."""
    purposes: tuple[Literal["train", "dev"], ...] = ("train", "dev")
    corpus_parts = []
    for purpose in purposes:
        for corpus in recipe.data.parts(purpose):
            corpus_parts.append(Part(corpus.name, corpus.root, corpus.split(purpose), corpus.protocols))
    return list(dict.fromkeys(corpus_parts))


def missing_for_training(recipe: Recipe, name: str, search: Search | None = None) -> list[Finding]:
    """List the missing inputs of training by ``recipe``: recordings, protocols, and files with weights to start from.

    Args:
        name: file name of the recipe, for the commands that the findings suggest.
        search: object that remembers the results of earlier searches; None for a new object.
    """
    search = search or Search()
    missing = []
    for corpus_part in training_parts(recipe):
        missing += [replace(finding, spares_some=False) for finding in search.part(corpus_part)]
    ssl = recipe.ssl_checkpoint
    frontend = recipe.model["frontend"]
    frontend_name = frontend["name"]
    is_downloaded = ssl in SIZES  # a name such as xlsr_300m, not a path: training downloads the file
    if ssl is not None and not is_downloaded and not Path(ssl).exists() and takes_checkpoint(frontend_name):
        problem = f"{ssl} not found; name it with `ssl_checkpoint`"
        remedy = f"get {obtain(frontend_name) or 'it from its authors'}"
        missing.append(Finding(f"pre-training of {frontend_name}", problem, remedy))
    start = recipe.train.init_from
    if start is not None and not Path(start).exists():
        problem = f"{start} not found; name it with `train.init_from`"
        missing.append(Finding("checkpoint to start from", problem, "get it from whoever trained it"))
    needed = create_task(recipe).start
    if needed is not None and not (needed.path and Path(needed.path).is_file()):
        problem = f"{needed.path} not found"
        if not needed.path:
            problem = f"none named (`{needed.key}`)"
        missing.append(Finding(needed.what, problem, needed.obtain.format(name)))
    return missing


def missing_part(corpus_part: Part) -> list[Finding]:
    """List a missing protocol and missing recordings of a part of a corpus.

    An unknown corpus, or a corpus whose folder is not named, counts as missing, too. The list is
    empty for a corpus on the Hugging Face hub, because such a corpus is downloaded when it is
    needed.
    """
    if corpus_part.corpus.startswith("hub:"):
        return []
    corpus = corpus_called(corpus_part.corpus)
    if corpus is None:
        return [
            Finding(f"corpus {corpus_part.corpus}", "this version of nes2net does not read it", "get a newer version")
        ]
    if corpus_part.root is None:
        problem = "no folder is named; name it with `data.root`"
        return [Finding(f"corpus {corpus_part.corpus}", problem, corpus.how_to_get("audio"))]
    root = Path(corpus_part.root)
    check = CorpusCheck(corpus, root)
    name = f"{corpus.title} {corpus_part.split}"
    split, _ = find_split(check, corpus_part.split, corpus_part.protocols, name)
    # Without a protocol, audio files are the only sign that the folder holds the corpus.
    if split.protocol is None and split.audio == root and not any(map(is_recording, os.listdir(root))):
        check.report("audio", f"no audio files in {root}", name)
    return check.findings


def missing_keys(name: str, keys: Path, phase: str) -> list[Finding]:
    """Return a finding if the keys (labels) of a phase of a corpus are missing or cannot be read.

    The list is empty if the keys can be read, or if the corpus is unknown.

    Args:
        name: name of the corpus.
        keys: file or folder of the keys.
    """
    corpus = corpus_called(name)
    if corpus is None:
        return []
    try:
        corpus.keys(keys, phase)
    except InputError as error:
        remedy = corpus.how_to_get("keys") or corpus.how_to_get("protocol")
        return [Finding(f"keys of {corpus.title}", why_unusable(error), remedy)]
    return []


class Search:
    """Finds missing inputs and remembers the results, because looking for the files of a large corpus takes long.

    ``part`` calls :func:`missing_part` and caches the results. ``keys`` calls :func:`missing_keys`
    and caches the results.
    """

    def __init__(self) -> None:
        self.part = cache(missing_part)
        self.keys = cache(missing_keys)


def corpus_called(name: str) -> Corpus | None:
    """Return the corpus with this name; None if the name is unknown."""
    if name not in corpora.names():
        return None
    return corpora.get(name)
