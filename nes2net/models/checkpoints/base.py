"""The base of an adapted detector: the frozen tensors of its front-end, which its checkpoints omit.

A checkpoint records only their SHA-256 and the file that holds them, as
:attr:`nes2net.models.network.Network.base`.
"""

from __future__ import annotations

from contextlib import suppress
from os.path import exists
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes2net.lib.errors import InputError, join_names, short_repr
from nes2net.lib.parts.options import Options
from nes2net.lib.storage.files import AnyPath, is_absent
from nes2net.models.checkpoints.folder import CONFIG, read_folder
from nes2net.models.checkpoints.published_names import prefix_in_files, select_frontend, unwrap_frontend
from nes2net.models.checkpoints.state_dict import (
    StateDict,
    check_fit,
    digest,
    load_state_dict,
    read_record,
    save_state_dict,
)
from nes2net.models.frontends.sizes import pretraining_file
from nes2net.models.registry import create_frontend

if TYPE_CHECKING:
    from torch import Tensor

    from nes2net.models.network import Network

_NUM_DIGITS = 12  # number of digits of a SHA-256 that a message shows

#: Advice in messages about a missing or wrong base, for callers that have an argument ``base``.
NAME_THE_BASE = "name the base with `base`"


def base_names(network: Network) -> set[str]:
    """Names of the frozen tensors of an adapted front-end, if any."""
    prefix = prefix_in_files("frontend", network.frontend)
    return {prefix + name for name in network.frontend.base}


def trained_tensors(network: Network) -> dict[str, Tensor]:
    """Return the state dict without the frozen tensors of an adapted front-end."""
    state_dict = network.state_dict()
    for name in base_names(network):
        del state_dict[name]
    return state_dict


def _base_tensors(network: Network) -> StateDict:
    names = base_names(network)
    return {name: tensor for name, tensor in network.state_dict().items() if name in names}


def base_digest(base: StateDict) -> str:
    """Compute the SHA-256 of names, types, shapes and numbers of the tensors, sorted by name."""
    return digest(dict(sorted(base.items()))).hex()


def record_base(network: Network, file: AnyPath) -> None:
    """Record that ``file`` holds the frozen tensors, so that :meth:`nes2net.Detector.save` omits them."""
    network.base = {"digest": base_digest(_base_tensors(network)), "file": str(file)}


def save_base(network: Network, file: AnyPath) -> None:
    """Write the frozen tensors of an adapted front-end, and record the file."""
    save_state_dict(_base_tensors(network), file)
    record_base(network, file)


def omitted_names(network: Network, state_dict: StateDict) -> set[str]:
    """Find the names of frozen tensors that ``state_dict`` omits.

    These are all frozen tensors of an adapted front-end if ``state_dict`` has none of them, and
    all tensors of the front-end if it has exactly those of aggregation and back-end, like
    Spoof-SUPERB's files; else none.
    """
    if frozen_names := base_names(network):
        return set() if frozen_names & state_dict.keys() else frozen_names
    tensors = network.state_dict()
    frontend_names = set(select_frontend(tensors))
    return frontend_names if tensors.keys() - frontend_names == state_dict.keys() else set()


def expected_tensors(network: Network, state_dict: StateDict) -> StateDict:
    """Select the tensors that ``state_dict`` must have: all but :func:`omitted_names`."""
    omitted = omitted_names(network, state_dict)
    return {name: tensor for name, tensor in network.state_dict().items() if name not in omitted}


def load_base(
    network: Network, record: Any, checkpoint: AnyPath, base: AnyPath | None = None, remedy: str = NAME_THE_BASE
) -> None:
    """Load the frozen tensors of the front-end, which ``checkpoint`` omits.

    ``base`` or ``record`` states their file; for a front-end that is not adapted, ``base`` must
    be the pre-training file.

    Args:
        record: the checkpoint's base, of any type, because a file may contain anything.
        checkpoint: file or folder of the detector; the frozen tensors may lie in this folder.
        remedy: end of error messages, with advice.

    Raises:
        InputError: if the tensors are not found, cannot be read, or have another digest than
            recorded.
    """
    checkpoint = Path(checkpoint)
    base = pretraining_file(base)
    if network.frontend.adapted:
        path, tensors = _read_base(network, record, checkpoint, base, remedy)
        expected = _base_tensors(network)
        network.base = dict(record)  # checked by _read_base
    elif base is None or not base.exists():
        missing = "" if base is None else f", and {base} was not found"
        raise InputError(
            f"{checkpoint} lacks the front-end, which was frozen{missing}: name its pre-training file with `base`"
        )
    else:  # the whole front-end is omitted
        path = base
        tensors = select_frontend(_tensors_of_base(path, network.config["frontend"]))
        expected = select_frontend(network.state_dict())
    check_fit(tensors, expected, str(path))
    network.load_state_dict(tensors, strict=False, assign=True)


def _read_base(
    network: Network, record: Any, checkpoint: Path, base: AnyPath | None, remedy: str
) -> tuple[Path, StateDict]:
    """Find and read the base of ``checkpoint``, check its digest, and return its path and tensors."""
    if not isinstance(record, dict) or not isinstance(expected := record.get("digest"), str):
        raise InputError(
            f"{checkpoint} holds only the trained part of its front-end, and no record of its base: use the checkpoint as it "
            "was first saved"
        )
    path = _find_base(record.get("file"), checkpoint, remedy) if base is None else Path(base)
    if not exists(path):
        message = f"the base {base} was not found: name the file or folder that the detector was adapted from"
        if remedy != NAME_THE_BASE:
            message += f" ({remedy})"
        raise InputError(message)
    try:
        tensors = _tensors_of_base(path, network.config["frontend"])
    except InputError as error:
        raise InputError(f"the base of {checkpoint} cannot be read: {error}") from error
    names = base_names(network)
    if missing := sorted(names - tensors.keys()):
        raise InputError(f"{path} is not the base of {checkpoint}: it lacks {join_names(missing, 3)}; {remedy}")
    tensors = {name: tensor for name, tensor in tensors.items() if name in names}
    sha256 = base_digest(tensors)
    if sha256 != expected:
        raise InputError(
            f"{path} is not the base of {checkpoint}: the SHA-256 of its tensors is {sha256[:_NUM_DIGITS]}…, not "
            f"{expected[:_NUM_DIGITS]}…; {remedy}"
        )
    return path, tensors


def _find_base(file: Any, checkpoint: Path, remedy: str) -> Path:
    # The base may have been moved together with the checkpoint.
    if isinstance(file, str) and file:
        folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
        for path in (Path(file), folder / file, folder / Path(file).name, checkpoint.parent / Path(file).name):
            if exists(path) and path != checkpoint:  # the checkpoint and its base may have the same name
                return path
    raise InputError(
        f"{checkpoint} holds only the trained part of its front-end, and its base {short_repr(file)} is neither there "
        f"nor beside it: {remedy}"
    )


def _tensors_of_base(path: Path, frontend: Options) -> StateDict:
    """Read the tensors of a front-end from ``path`` under the published names; of a detector, all tensors.

    Args:
        path: a detector, the ``base.pth`` of a run, or a pre-training file.
    """
    state_dict: StateDict = {}
    is_detector = not is_absent(path / CONFIG)
    if is_detector:
        state_dict = read_folder(path)[0]
    elif path.is_file():
        with suppress(InputError):  # other kinds of pre-training files are read below, by create_frontend()
            state_dict = load_state_dict(path)
            is_detector = "model" in read_record(state_dict)
    state_dict = unwrap_frontend(state_dict)
    if is_detector or select_frontend(state_dict):
        return dict(state_dict)
    options = {key: value for key, value in frontend.items() if key not in ("name", "adapt")}
    created = create_frontend(frontend["name"], path, **options)
    prefix = prefix_in_files("frontend", created)
    return {prefix + name: tensor for name, tensor in created.state_dict().items()}
