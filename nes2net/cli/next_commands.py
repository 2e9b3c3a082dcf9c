"""Suggest the commands that a user may type next, with real paths, quoted for the shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nes2net.lib.errors import InputError
from nes2net.lib.output.terminal import printable_name, say
from nes2net.lib.process.this_process import is_first
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.text_files import reading_once

if TYPE_CHECKING:
    from nes2net.data.corpora.part import Part
    from nes2net.training.recipes.recipe import Recipe

#: The words of a command after ``nes2net``; each is turned into a string.
Words = Sequence[object]


class ShellComment(str):
    """One of the :data:`Words` of a command that is written behind it, as a comment of the shell."""


def command_line(words: Words) -> str:
    remarks = [f"  # {word}" for word in words if isinstance(word, ShellComment)]
    arguments = [str(word) for word in words if not isinstance(word, ShellComment)]
    return printable_name("".join([shlex.join(["nes2net", *arguments]), *remarks]))


def print_next(commands: Sequence[Words]) -> None:
    """Print ``commands`` as suggestions; print nothing without commands, or in any process but the first."""
    if commands and is_first():
        say("next:")
        for words in commands:
            say(f"  {command_line(words)}")


def after_training(folder: Path, recipe: Recipe) -> list[Words]:
    """Suggest commands that average the best epochs of the run in ``folder``, and score and evaluate the average.

    If only one epoch is saved, this epoch is scored.
    """
    from nes2net.training.averaging import average_path
    from nes2net.training.selection import AVERAGES, best_epochs

    for count in (*sorted(AVERAGES, reverse=True), 2, 1):
        try:
            ids = best_epochs(folder, count, "val_loss_wo_aug")
        except InputError:  # fewer than `count` epochs are saved
            continue
        if count == 1:
            return after_averaging(folder / f"epoch_{ids[0]}.pth", recipe)
        return [["average", folder, "--best", count], *after_averaging(average_path(folder, ids), recipe)]
    return []


@reading_once()
def after_averaging(checkpoint: Path, recipe: Recipe) -> list[Words]:
    """Suggest commands that score and evaluate ``checkpoint`` on each corpus that it was trained on.

    The evaluation part is scored, or else the development part, but never a part of the training.
    There are no commands for a detector that reads scores of other systems, or for a corpus without
    a folder.
    """
    from nes2net.data.corpora.part import Part
    from nes2net.data.registry import corpora
    from nes2net.training.tasks.task import create_task

    commands: list[Words] = []
    judgement = create_task(recipe).judgement
    if recipe.data.train_scores:  # scoring would need score files of other systems
        return commands
    for corpus_choice in recipe.data.parts("train"):
        if corpus_choice.root is None or corpora.find(corpus_choice.name) is None:
            continue
        for split in ("eval", "dev"):
            part = Part(corpus_choice.name, corpus_choice.root, split, corpus_choice.protocols)
            if split == corpus_choice.train_split or not _is_there(part):
                continue
            scores = checkpoint.with_name(f"{checkpoint.stem}_{corpus_choice.called}_{split}.txt")
            words: list[object] = ["score", part.corpus, part.root, "--model", checkpoint, "--out", scores]
            if judgement != "scores":
                words += ["--judgement", judgement]
            if split != "eval":
                words += ["--split", split]
            if part.protocols is not None:
                words += ["--protocols", part.protocols]
            commands += [words, *after_scoring(part, scores)]
            break
    return commands


def _is_there(part: Part) -> bool:
    corpus = part.definition
    with suppress(InputError, OSError):
        if part.split in corpus.find_splits(part.root, part.protocols):
            corpus.find_protocol(part.root, part.split, part.protocols)
            corpus.find_audio(part.root, part.split)
            return True
    return False


def after_scoring(part: Part, scores: AnyPath) -> list[Words]:
    """Suggest the command that evaluates the score file ``scores`` of the scored ``part``.

    If the keys of the corpus are not found, ``KEYS`` stands for their folder. There is no command
    if the corpus has no labels for the part.
    """
    if not is_first():  # the other processes print nothing
        return []
    corpus = part.definition
    if part.split not in (corpus.phases or corpus.accepted_splits):
        return []
    words: list[object] = ["evaluate", part.corpus, scores, "--keys"]
    phase = [] if part.split == "eval" else ["--phase", part.split]
    if not corpus.key_files:
        return [[*words, part.protocols or part.root, *phase]] if part.has_labels else []
    # The keys are an archive of their own, often beside the audio.
    root = part.root or "."
    for folder in (root, Path(root).parent, part.protocols or root):
        with suppress(InputError, OSError):  # no key here
            corpus.find_key(folder)
            return [[*words, folder, *phase]]
    return [[*words, "KEYS", *phase, ShellComment(f"KEYS: {corpus.how_to_get('keys')}")]]
