"""Find missing inputs (recordings, protocols, keys, pre-training files), and say where to get them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import get_args

from nes2net.data.audio.files import is_recording
from nes2net.data.corpora.check import CorpusCheck, find_split, why_unusable
from nes2net.data.corpora.part import Part
from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError
from nes2net.lib.output.findings import Finding
from nes2net.lib.web.hub import HUB_PREFIX
from nes2net.models.frontends.sizes import SIZES, obtain
from nes2net.models.published_results import PublishedRow
from nes2net.models.registry import takes_checkpoint
from nes2net.training.recipes.data import SetName
from nes2net.training.recipes.reading import PACKAGED, load_recipe
from nes2net.training.recipes.recipe import Recipe


def missing_for_training(recipe: Recipe, name: str, search: Search) -> list[Finding]:
    """List missing recordings, protocols and files with weights to start from.

    ``name`` is the recipe's file name in suggested commands.
    """
    corpus_parts = []
    for purpose in get_args(SetName):
        for corpus in recipe.data.parts(purpose):
            corpus_parts.append(Part(corpus.name, corpus.root, corpus.split(purpose), corpus.protocols))
    missing = []
    for corpus_part in dict.fromkeys(corpus_parts):
        missing += [replace(finding, spares_some=False) for finding in search.part(corpus_part)]
    ssl = recipe.ssl_checkpoint
    frontend_name = recipe.model["frontend"]["name"]
    # A front-end named by its size, such as xlsr_300m, or by hub:OWNER/NAME, is downloaded by training.
    is_named = ssl in SIZES or str(ssl).startswith(HUB_PREFIX)
    if ssl is not None and not is_named and not Path(ssl).exists() and takes_checkpoint(frontend_name):
        problem = f"{ssl} not found; name it with `ssl_checkpoint`"
        remedy = f"get {obtain(frontend_name) or 'it from its authors'}"
        missing.append(Finding(f"pre-training of {frontend_name}", problem, remedy))
    start = recipe.train.init_from
    if start is not None and not Path(start).exists():
        problem = f"{start} not found; name it with `train.init_from`"
        missing.append(Finding("checkpoint to start from", problem, "get it from whoever trained it"))
    if recipe.train.task is not None:  # only tasks that are named start from a file
        from nes2net.training.tasks.task import create_task  # start-up: torch

        needed = create_task(recipe).start
        if needed is not None and not (needed.path and Path(needed.path).is_file()):
            problem = f"{needed.path} not found"
            if not needed.path:
                problem = f"none named (`{needed.key}`)"
            missing.append(Finding(needed.what, problem, needed.obtain.format(name)))
    return missing


def missing_part(corpus_part: Part) -> list[Finding]:
    """List what is missing of a part of a corpus: its protocol, its recordings, its folder, or the corpus.

    Nothing is missing of a corpus on the Hugging Face hub, which is downloaded when needed.
    """
    if corpus_part.corpus.startswith("hub:"):
        return []
    corpus = corpora.find(corpus_part.corpus)
    subject = f"corpus {corpus_part.corpus}"
    if corpus is None:
        return [Finding(subject, "this version of nes2net does not read it", "get a newer version")]
    if corpus_part.root is None:
        return [Finding(subject, "no folder is named; name it with `data.root`", corpus.how_to_get("audio"))]
    root = Path(corpus_part.root)
    check = CorpusCheck(corpus, root, corpus_part.protocols)
    name = f"{corpus.title} {corpus_part.split}"
    # find_split() adds what is missing to the findings of ``check``.
    split = find_split(check, corpus_part.split, name)
    # Without a protocol, audio files are the only sign that the folder holds the corpus.
    if split.protocol is None and split.audio == root and not any(map(is_recording, os.listdir(root))):
        check.report("audio", f"no audio files in {root}", name)
    return check.findings


def missing_keys(name: str, keys: Path, phase: str) -> list[Finding]:
    """Return a finding if the labels cannot be read; none for an unknown corpus."""
    corpus = corpora.find(name)
    if corpus is None:
        return []
    try:
        corpus.keys(keys, phase)
    except InputError as error:
        remedy = corpus.how_to_get("keys") or corpus.how_to_get("protocol")
        return [Finding(f"keys of {corpus.title}", why_unusable(error), remedy)]
    return []


class Search:
    """Caches :func:`missing_part` and :func:`missing_keys`, because a search may take long."""

    def __init__(self) -> None:
        self.part = cache(missing_part)  # Part → findings
        self.keys = cache(missing_keys)  # corpus, path, phase → findings


@dataclass(frozen=True)
class Paths:
    """The files and folders of a reproduction.

    ``data`` has all corpora, perhaps in subfolders with their registered names. Scores and reports
    go to ``out``, trainings to the folder ``training`` beside it, where all rows of a recipe share
    one. By default, ``keys`` and ``protocols`` are in the folder of the corpus, and ``recipe`` and
    ``ssl_checkpoint`` are those of the row. Without ``checkpoint``, a detector or a run folder, the
    detector is trained.
    """

    data: Path
    out: Path
    keys: Path | None = None
    protocols: Path | None = None
    checkpoint: Path | None = None
    ssl_checkpoint: Path | None = None
    recipe: Path | None = None

    def root(self, corpus: str) -> Path:
        """Return the subfolder named like the corpus, or else ``data``."""
        folder = self.data / corpus
        return folder if folder.is_dir() else self.data

    def key(self, row: PublishedRow) -> Path:
        return self.keys or self.root(row.corpus)

    def recipe_of(self, row: PublishedRow) -> Path | None:
        if self.recipe is not None or row.recipe is None:
            return self.recipe
        return recipe_path(row.recipe)


def find_missing(row: PublishedRow, paths: Paths, search: Search) -> list[Finding]:
    """List the missing inputs; if the training lacks any, also where to get a checkpoint."""
    released = row.obtain  # where to get a checkpoint, in words
    if not row.ways and row.here:
        released += f". The figure is only reported: {row.here}"
    path = paths.recipe_of(row)
    missing = list[Finding]()
    if paths.checkpoint is not None:
        if not paths.checkpoint.exists():
            missing.append(Finding("checkpoint", f"{paths.checkpoint} not found", released))
    elif path is None:
        problem = "none given (`checkpoint`), and there is no recipe to train it"
        missing.append(Finding("checkpoint", problem, released))
    else:
        try:
            recipe = recipe_with_folders(path, row, paths)
        except InputError as error:
            missing.append(Finding("recipe", str(error), f"give another one (`recipe`), or a checkpoint: {released}"))
        else:
            missing += missing_for_training(recipe, path.name, search)
            if recipe.data.train_scores:
                problem = "the detector fuses them, and a row is measured with the audio alone"
                remedy = "in three steps instead: nes2net train, nes2net score with --system-scores, nes2net evaluate"
                missing.append(Finding("scores of other systems", problem, remedy))
            if missing:
                missing.append(Finding("or, in place of training, a checkpoint", "none given (`checkpoint`)", released))
    missing += search.part(Part(row.corpus, paths.root(row.corpus), row.split, paths.protocols))
    problems = [finding.problem for finding in missing]
    for finding in search.keys(row.corpus, paths.key(row), row.phase):
        if finding.problem not in problems:  # list a file once, even if it has both protocol and labels
            missing.append(finding)
    return missing


def recipe_with_folders(path: Path, row: PublishedRow, paths: Paths) -> Recipe:
    """Read a recipe with the overrides of ``row``, and enter the folders and files of ``paths``."""
    recipe = load_recipe(path, row.overrides)
    training_corpora = [corpus.name for corpus in recipe.data.parts("train")]
    for corpus in recipe.data.corpora:
        corpus.root = str(paths.root(corpus.name))
        if paths.protocols is not None and corpus.name in training_corpora:  # other corpora have their own protocols
            corpus.protocols = str(paths.protocols)
    if paths.ssl_checkpoint is not None:
        recipe.ssl_checkpoint = str(paths.ssl_checkpoint)
    return recipe


def recipe_path(recipe: str) -> Path:
    """Return a packaged recipe with this file name, or else any file."""
    packaged = PACKAGED / Path(recipe).name
    return packaged if packaged.is_file() else Path(recipe)
