"""The run folder, of one recipe, to which only one process at a time writes."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.claims import Claim
from nes2net.lib.storage.files import (
    exclusive_lock,
    is_absent,
    make_folder,
    no_empty_folders,
    remove_leftovers,
    write_text,
)
from nes2net.lib.storage.yaml_text import read_yaml_file
from nes2net.models.card import CARD, CARD_FILE
from nes2net.training.recipes.data import CorpusConfig
from nes2net.training.recipes.recipe import Recipe, flatten, recipe_from_dict
from nes2net.training.resume_file import BASE_FILE, RESUME_FILE
from nes2net.training.run_log import LOG_FILE
from nes2net.training.selection import HISTORY_FILE, RECIPE_FILE
from nes2net.training.tracker import TRACKER_FILE

_LOCK_FILE = ".lock"
# Files that training writes to the folder, besides the lock and the checkpoints.
_FILE_NAMES = (RESUME_FILE, BASE_FILE, HISTORY_FILE, RECIPE_FILE, LOG_FILE, TRACKER_FILE, CARD, CARD_FILE)
_FILES_OF_TRAINING = re.compile(r"epoch_\d+\.pth|\..*\.tmp|" + "|".join(map(re.escape, _FILE_NAMES)))
_UNUSABLE = "{} cannot be used ({}): move the folder away and start again"

# Keys that may change in a resumed run: folders, speed, memory, how often to save. Precision, compilation and
# accumulation (batch statistics of parts) change results.
_NOT_COMPARED = (
    *("data.corpora.root", "data.corpora.protocols", "data.corpora.dev_keys"),
    *("data.train_scores", "data.dev_scores"),  # the scores in the files are part of the fingerprint of the data
    *("data.num_workers", "data.cache", "data.cache_bytes", "ssl_checkpoint", "output", "logs", "tracker"),
    *("train.activation_checkpointing", "train.graph", "train.keep", "train.save_every_minutes"),
)
# A resumed run may set these keys to other folders, but may not add or remove the keys.
_COMPARED_IF_GIVEN = ("augment.musan", "augment.rir")


@contextmanager
def run_folder(folder: Path, recipe: Recipe, writes: bool) -> Iterator[None]:
    """Reserve ``folder`` for the run of ``recipe`` in this process, within this context.

    The folder is made, or rid of temporary files; a new one is removed if it stays empty.

    Args:
        writes: False to only compare the recipe.

    Raises:
        InputError: if the folder cannot be written to, if it holds a different or unknown run, or
            if another process trains there.
    """
    if not writes:
        check_recipe(folder, recipe)
        yield
        return
    refusal = f"another process is training in {folder}: wait for it, or give this run a `comment` of its own"
    with no_empty_folders(folder):
        try:
            make_folder(folder)
            if not os.access(folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise InputError(
                f"{folder} cannot be written to ({error.strerror}): name another folder with `output`"
            ) from error
        # A path with the name of a file of training must be a regular file, or a link to a file; the lock must not be a
        # link.
        for path in folder.iterdir():
            mode = path.lstat().st_mode
            is_lock = path.name == _LOCK_FILE
            linked = stat.S_ISLNK(mode) and not is_lock and not path.is_dir()
            if (is_lock or _FILES_OF_TRAINING.fullmatch(path.name)) and not (stat.S_ISREG(mode) or linked):
                raise InputError(f"{path} is not a regular file, but training writes a file of that name: move it away")
        with exclusive_lock(folder / _LOCK_FILE, refusal):
            check_recipe(folder, recipe)
            remove_leftovers(folder)
            yield


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Save the complete recipe, unless the folder holds the recipe of a run that has begun."""
    if not _holds_begun_run(folder) or _saved_recipe(folder) is None:
        write_text(folder / RECIPE_FILE, yaml.safe_dump(recipe.to_readable_dict(), sort_keys=False, allow_unicode=True))


def check_recipe(folder: Path, recipe: Recipe) -> None:
    """Raise :class:`InputError` if ``folder`` holds another run, or a run that cannot be recognised.

    Without ``recipe.yaml``, :meth:`nes2net.training.run.Run.resume` compares the recipe in
    ``resume.pt``; checkpoints without either cannot be recognised. Any run may use a folder without
    a save.
    """
    saved_recipe = _saved_recipe(folder)
    if saved_recipe is not None:
        if _holds_begun_run(folder):
            check_same_run(folder / RECIPE_FILE, recipe, saved_recipe)
        else:
            _with_defaults(folder / RECIPE_FILE, saved_recipe)  # only to raise the error if the file is no recipe
    elif any(folder.glob("*.pth")) and is_absent(folder / RESUME_FILE):
        raise InputError(
            f"{folder} holds checkpoints but no {RECIPE_FILE}: give this run a `comment` of its own or move the folder away"
        )


def _holds_begun_run(folder: Path) -> bool:
    if is_absent(folder / RESUME_FILE) and is_absent(folder / HISTORY_FILE):
        return any(path.name != BASE_FILE for path in folder.glob("*.pth"))
    return True


def _saved_recipe(folder: Path) -> Any:
    """Read ``recipe.yaml`` without a check of its keys; None if the file is missing or empty."""
    path = folder / RECIPE_FILE
    if is_absent(path):
        return None
    try:
        return read_yaml_file(path, Recipe, "it")
    except InputError as error:
        raise InputError(_UNUSABLE.format(path, error)) from error


def check_same_run(file: Path, recipe: Recipe, saved_recipe: object) -> None:
    """Raise :class:`InputError` with the keys by which ``recipe`` differs from ``saved_recipe`` in ``file``."""
    earlier = _values_to_compare(_with_defaults(file, saved_recipe))
    claim = Claim(file.parent, _values_to_compare(recipe.to_dict()), earlier)
    claim.check("give this run a `comment` of its own or move the folder away")


def _with_defaults(file: Path, recipe: object) -> Facts:
    """Complete the recipe in ``file`` by defaults, because an earlier version may have had fewer keys."""
    try:
        return recipe_from_dict(recipe).to_dict()
    except InputError as error:
        raise InputError(_UNUSABLE.format(file, error)) from error


def _values_to_compare(recipe: Facts) -> Facts:
    """Map dotted keys to the values that must not change in a resumed run.

    A key of ``data.corpora`` has a value for each corpus. The value of a folder that may move is
    whether it is set.
    """
    values = flatten(recipe)
    corpora: Any = values.pop("data.corpora")
    for key in CorpusConfig.model_fields:
        values[f"data.corpora.{key}"] = [corpus[key] for corpus in corpora]
    for key in _COMPARED_IF_GIVEN:
        values[key] = values[key] is not None
    return {key: value for key, value in values.items() if key not in _NOT_COMPARED}
