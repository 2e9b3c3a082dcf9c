"""Average the checkpoints of a run: choose epochs, and name the file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from nes2net.lib.errors import InputError, pluralise, refuse
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.parts.options import Options
from nes2net.lib.storage.files import AnyPath, Unchanged, sha256_of
from nes2net.lib.storage.outputs import check_output_paths
from nes2net.models.checkpoints.averaging import average_checkpoints
from nes2net.models.checkpoints.state_dict import load_state_dict, read_record, save_state_dict
from nes2net.models.provenance import Provenance
from nes2net.training.dataset import Tensors
from nes2net.training.measures import ERROR_RATES, Measure
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict
from nes2net.training.selection import RECIPE_FILE, saved_epochs
from nes2net.training.tasks.task import create_task

_OTHER_FILE = "name another file with `out`"


class RunAverage(NamedTuple):
    """Result of :func:`average`."""

    path: Path
    checkpoints: list[Path]
    #: whether an earlier file at ``path`` was used as the average, was replaced, or did not exist
    earlier: Literal["used", "replaced", "absent"]


def average(
    folder: AnyPath,
    ids: Sequence[int] | None = None,
    mode: str = "mean",
    *,
    last: int | None = None,
    weights: Sequence[float] | None = None,
    out: AnyPath | None = None,
) -> RunAverage:
    """Average checkpoints ``epoch_{id}.pth`` of a run folder.

    The average is ``Averaged_Model_IDs_{id}_{id}….pth`` in that folder, followed by ``_legacy`` for
    legacy mode, and ``_weighted`` and the weights. An existing average is reused if its record holds
    the SHA-256 digests of the present checkpoints; with ``weights`` or ``out``, it is always computed
    again.

    Args:
        ids: epochs to average, for example from :func:`nes2net.training.selection.best_epochs`; 3
            and 5 epochs as published. None with ``last``.
        last: number of last saved epochs to average: stochastic weight averaging (Izmailov et al.,
            UAI 2018).
        mode, weights: see :func:`average_checkpoints`.
        out: file to write or replace instead.

    Raises:
        InputError: unless exactly one of ``ids`` and ``last`` is given, if the checkpoints do not
            fit each other, if one is missing although the average exists, or if ``out`` cannot be
            written.
    """
    folder = Path(folder)
    saved = saved_epochs(folder)
    saved_ids = ", ".join(map(str, saved)) or "none"
    epochs = list(ids or ()) if last is None else saved[-last:]
    refuse(
        (not folder.is_dir(), f"run folder {folder} not found: `folder` must be a folder that holds epoch_N.pth"),
        (ids is not None and last is not None, "`ids` and `last` both choose the epochs to average: give one of them"),
        (
            last is not None and not 0 < last <= len(saved),
            f"{folder} has {pluralise(saved, 'epoch')} saved ({saved_ids}): `last` must be from 1 to that number, not {last}",
        ),
        (not epochs, "no checkpoints to average: name epochs with `ids`, or how many of the last ones with `last`"),
    )
    target = average_path(folder, epochs, mode, weights) if out is None else Path(out)
    sources = [folder / f"epoch_{epoch}.pth" for epoch in epochs]
    missing = [source.name for source in sources if not source.is_file()]
    if missing:
        unconfirmed = ""
        if target.is_file() and out is None:
            unconfirmed = (
                f"; {target.name} exists, but cannot be confirmed without them: name it as the checkpoint instead"
            )
        raise InputError(
            f"{folder} has no {', '.join(missing)}: choose among the saved epochs, {saved_ids}{unconfirmed}"
        )
    check_output_paths([target], _OTHER_FILE)
    files = Unchanged(*sources)
    description: FactsDict = {"ids": epochs, "mode": mode, "sha256": [sha256_of(source) for source in sources]}
    is_reusable = not weights and out is None
    with suppress(InputError):  # if the existing average is damaged, compute it again
        if is_reusable and target.is_file() and read_record(load_state_dict(target)).get("average") == description:
            return RunAverage(target, sources, "used")
    average: Tensors = average_checkpoints(sources, mode, weights)
    files.check()
    if weights:
        description["weights"] = list(weights)
    earlier: Literal["replaced", "absent"] = "replaced" if target.is_file() else "absent"
    save_state_dict(average, target, **record_of_average(average, description))
    return RunAverage(target, sources, earlier)


def record_of_average(average: Tensors, description: Facts) -> Options:
    """Make the record of an average from the first checkpoint's record, which is in ``average``.

    ``description`` (mode, digests of the checkpoints, …) is kept under the key ``average``. Facts that
    hold only for the weights of the first checkpoint, such as its epoch, are omitted.
    """
    first = Provenance.read(read_record(average)).without_weights()
    # The first checkpoint's scores of known classes do not apply to the averaged weights.
    class_labels = {key: value for key, value in first.class_labels.items() if key != "known"}
    # The epoch and the time of the first checkpoint do not apply to the average either.
    training = {key: value for key, value in first.training.items() if key not in ("epoch", "seconds")}
    facts = {key: first.facts[key] for key in ("model", "base") if key in first.facts}
    facts["average"] = description
    return replace(first, class_labels=class_labels, training=training, figures=(), facts=facts).to_dict()


def average_path(folder: Path, ids: Sequence[int], mode: str = "mean", weights: Sequence[float] | None = None) -> Path:
    """Make the path of an average in ``folder``; arguments as for :func:`average`.

    A name that is too long for a file raises :class:`InputError`.

    >>> average_path(Path("models/run"), [3, 5]).as_posix()
    'models/run/Averaged_Model_IDs_3_5.pth'
    """
    name = "_".join(["Averaged_Model_IDs", *map(str, ids)])
    if mode == "legacy":
        name += "_legacy"
    if weights:
        name += "_weighted_" + "_".join(str(float(weight)).removesuffix(".0") for weight in weights)
    name += ".pth"
    if len(name) > 230:  # a file name has at most 255 bytes, and the temporary file has a longer name
        raise InputError(
            f"the file name of an average of {pluralise(ids, 'checkpoint')} is too long: choose one with "
            "`nes2net average … --out FILE`"
        )
    return folder / name


def measures_of(folder: AnyPath) -> Sequence[Measure]:
    """Find the measures of the run's task; EER and minDCF if the run has no usable recipe."""
    try:
        return create_task(load_recipe(Path(folder) / RECIPE_FILE)).measures
    except InputError:
        return ERROR_RATES


def average_files(
    checkpoints: Sequence[AnyPath], out: AnyPath, mode: str = "mean", weights: Sequence[float] | None = None
) -> Path:
    """Average ``checkpoints`` into ``out``, and return ``out``; an existing file is replaced.

    Args:
        mode, weights: as for :func:`nes2net.average_checkpoints`.

    Raises:
        InputError: as :func:`nes2net.average_checkpoints`, or if ``out`` cannot be written.
    """
    check_output_paths([Path(out)], _OTHER_FILE)
    files = Unchanged(*checkpoints)
    average = average_checkpoints(checkpoints, mode, weights)
    description = {
        "of": [Path(p).name for p in checkpoints],
        "sha256": [sha256_of(p) for p in checkpoints],
        "mode": mode,
        "weights": weights,
    }
    files.check()
    save_state_dict(average, out, **record_of_average(average, description))
    return Path(out)


def recipe_of(average: Path) -> Recipe | None:
    """Read the recipe in the record of ``average``; None if this version cannot read one."""
    try:
        return recipe_from_dict(read_record(load_state_dict(average))["recipe"])
    except (InputError, KeyError):
        return None
