"""Recognise published weights by a digest; names and shapes identify only an architecture."""

from __future__ import annotations

from os.path import exists
from pathlib import Path

from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.models.checkpoints.base import base_digest
from nes2net.models.checkpoints.published_names import unwrap_frontend
from nes2net.models.checkpoints.shelf import Shelf
from nes2net.models.checkpoints.state_dict import StateDict
from nes2net.models.provenance import Provenance
from nes2net.models.published_models import PUBLISHED

#: Key for the digest of the tensors, only in a record that states weights of a published model.
TENSORS_KEY = "tensors_sha256"


def holds_weights_of(name: str, state_dict: StateDict, path: Path, given_name: str = "") -> bool:
    """Whether ``state_dict`` has the weights of the published model ``name``, not only its shapes.

    Proof is the digest of tensors or file, or a download from the model's repository.

    Args:
        given_name: name or path that the user gave. The model's ``owner/name`` on the hub means a
            download, unless a local file has this name.
    """
    model = PUBLISHED.get(name)
    if model is None:
        return False
    if model.tensors_sha256 and base_digest(unwrap_frontend(state_dict)) == model.tensors_sha256:
        return True
    if model.file is None:
        return False
    hub = model.file.hub
    if hub is not None and given_name == hub["repository"] and not exists(given_name):
        return True
    return Shelf(name, model.file).holds(path)


def record_without_weights(record: Facts, state_dict: StateDict) -> FactsDict:
    """Return ``record`` without :data:`TENSORS_KEY`.

    If that digest is not of ``state_dict``, the record's claim to weights of a published model is
    removed, too; the architecture stays.
    """
    facts = {key: value for key, value in record.items() if key != TENSORS_KEY}
    if "published_model" not in record or record.get(TENSORS_KEY) == base_digest(state_dict):
        return facts
    return Provenance.read(facts).without_weights().to_dict()
