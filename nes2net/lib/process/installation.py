"""The origin of this installation, and the command that adds optional libraries to it."""

from __future__ import annotations

import json
import shlex
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from nes2net.lib.errors import MissingLibrary, first_line

#: Folder that contains the package: site-packages, or a clone.
_HOME = Path(__file__).resolve().parents[3]


def how_to_install(extra: str) -> str:
    """Write the command that installs the optional libraries ``extra`` from the origin of this installation.

    nes2net is not on a package index, where a stranger could publish another package of this name.
    """
    if (_HOME / "pyproject.toml").is_file():
        return f"pip install -e {shlex.quote(f'{_HOME}[{extra}]')}"
    address = _address()
    if address.startswith("file:"):
        path = Path(url2pathname(urlsplit(address).path))
        if path.exists():
            return f"pip install {shlex.quote(f'{path}[{extra}]')}"
    elif address:
        return f"pip install {shlex.quote(f'nes2net[{extra}] @ {address}')}"
    return f"in a clone of nes2net pip install '.[{extra}]', with its wheel pip install 'FILE.whl[{extra}]'"


def optional(module: str, purpose: str, extra: str, instead: str = "") -> Any:
    """Import ``module``, or raise :class:`MissingLibrary` with the command that installs ``extra``.

    The message begins with ``purpose``, such as ``"gradients need captum"``, and ends with
    ``instead``.
    """
    try:
        return import_module(module)
    except (ImportError, OSError) as error:
        raise MissingLibrary(f"{purpose} ({first_line(error)}): {how_to_install(extra)}{instead}") from error


def requirement(extra: str) -> str:
    """Write a line of requirements.txt that installs this package with ``extra`` elsewhere.

    If it came from this machine's disk, the address is a placeholder, which pip refuses.
    """
    address = _address()
    if not address or address.startswith("file:"):
        address = "git+https://HOST/OWNER/nes2net@COMMIT"
    return f"nes2net[{extra}] @ {address}"


def _address() -> str:
    """Read the origin in the form of PEP 508 from direct_url.json (PEP 610); "" if unknown."""
    try:
        text = distribution("nes2net").read_text("direct_url.json")
        if text is None:  # nes2net was installed from a package index, or its folder was copied
            return ""
        origin = json.loads(text)
        address = str(origin["url"])
        if "vcs_info" in origin:
            address = f"{origin['vcs_info']['vcs']}+{address}@{origin['vcs_info']['commit_id']}"
        if "subdirectory" in origin:
            return f"{address}#subdirectory={origin['subdirectory']}"
        return address
    except (PackageNotFoundError, ValueError, LookupError, TypeError):
        return ""
