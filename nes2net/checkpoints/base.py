"""The base of an adapted detector: the frozen tensors of its front-end, which its checkpoint leaves out.

A checkpoint records the SHA-256 of its base and the file that it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os.path import exists
from pathlib import Path
from typing import Any

from torch import Tensor

from nes2net.checkpoints.state_dict import digest
from nes2net.errors import InputError, listed, shown

_SHOWN = 12  # digits of a SHA-256 in a message
#: End of the message about a base that is not there or is another one, where a user can name it.
NAME_IT = "name the base with `base`"


def base_digest(base: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, types, shapes and numbers of a base, in any order."""
    return digest(dict(sorted(base.items()))).hex()


def find_base(record: Any, checkpoint: Path, given: str | Path | None, remedy: str = NAME_IT) -> Path:
    """The file or folder of the base of ``checkpoint``.

    Args:
        record: ``{"digest": …, "file": …}`` of the checkpoint; the file may also stand beside it.
        given: what the user names instead; None for that of the record.
        remedy: what to do if it is not there, for the message.

    Raises:
        InputError: if there is no such file or folder, or the record does not say which base it is.
    """
    if not isinstance(record, dict) or not isinstance(record.get("digest"), str):
        raise InputError(f"{checkpoint} holds only what was trained of its front-end, and no record of its base")
    if given is not None:
        if not exists(given):
            raise InputError(
                f"the base {given} was not found: name the file or folder that the detector was adapted from"
                + ("" if remedy == NAME_IT else f" ({remedy})")
            )
        return Path(given)
    if isinstance(file := record.get("file"), str) and file:
        folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
        for path in (Path(file), folder / file, folder / Path(file).name, checkpoint.parent / Path(file).name):
            if exists(path) and path != checkpoint:  # which may have the name of its base
                return path
    raise InputError(
        f"{checkpoint} holds only what was trained of its front-end, and its base {shown(file)} is neither there nor "
        f"beside it: {remedy}"
    )


def read_base(
    path: Path,
    names: set[str],
    record: Mapping[str, Any],
    checkpoint: Path,
    read: Callable[[Path], dict[str, Tensor]],
    remedy: str = NAME_IT,
) -> dict[str, Tensor]:
    """Read and check the base of ``checkpoint``; return its tensors under their published names.

    Args:
        path: see :func:`find_base`.
        names: the published names of its tensors.
        record, remedy: as for :func:`find_base`.
        read: reads a file or folder with more tensors than these.

    Raises:
        InputError: if it cannot be read, or is another base.
    """
    try:
        tensors = read(path)
    except InputError as error:
        raise InputError(f"the base of {checkpoint} cannot be read: {error}") from error
    if missing := sorted(names - tensors.keys()):
        raise InputError(f"{path} is not the base of {checkpoint}: it lacks {listed(missing, 3)}; {remedy}")
    base = {name: tensor for name, tensor in tensors.items() if name in names}
    found, expected = base_digest(base), record["digest"]
    if found != expected:
        raise InputError(
            f"{path} is not the base of {checkpoint}: the SHA-256 of its tensors is {found[:_SHOWN]}…, not "
            f"{expected[:_SHOWN]}…; {remedy}"
        )
    return base
