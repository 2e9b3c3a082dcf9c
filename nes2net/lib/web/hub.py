"""Names and pages of the Hugging Face hub, and its errors as messages that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from nes2net.lib.errors import Explained, InputError, Unfinished, first_line
from nes2net.lib.storage.files import is_absent, make_folder, path_below

#: Beginning of the name of a model or data set of the hub.
HUB_PREFIX = "hub:"
#: Address of the pages of models.
HUB_PAGES = "https://huggingface.co/"

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_fetched(path: Path) -> Path:
    """Compare the SHA-256 of large files in huggingface_hub's cache, ``path`` or below it, once.

    Files that passed are noted in ``HF_ASSETS_CACHE``.

    Raises:
        InputError: if a digest is not the one that the hub states; the file is removed.
    """
    from huggingface_hub import constants  # start-up

    notes = path_below(constants.HF_ASSETS_CACHE, "nes2net", "compared")
    for content in {file.resolve() for file in (path, *path.rglob("*"))}:
        digest = content.name  # the cache names a large file after the digest that the hub states
        # Without a network, a link may lead to a file that was removed.
        if _SHA256.fullmatch(digest) is None or is_absent(content):
            continue
        status = content.stat()
        identity = f"{content}\0{status.st_size}\0{status.st_mtime_ns}"
        note = notes / sha256(identity.encode()).hexdigest()
        if not is_absent(note):
            continue
        from nes2net.lib.web.http_files import digests_of  # start-up

        computed = digests_of(content, ("sha256",), f"checking {path.name}")["sha256"]
        if computed != digest:
            content.unlink()
            raise InputError(
                f"{content}: the SHA-256 of what came is {computed}, but the hub states {digest}",
                remedy="it was damaged on its way, and is removed: run the same command again",
            )
        with suppress(OSError):  # without a note, it is compared at each start
            make_folder(notes)
            note.touch()
    return path


@contextmanager
def hub_errors(failed: str, page: str, resumable: str = "") -> Iterator[None]:
    """Within this context, turn errors of the hub into messages that say what failed, why, and what to do.

    Args:
        failed: beginning of the message, such as ``'owner/name' was not fetched``.
        resumable: what is kept if the connection breaks, such as "what has come"; empty if nothing.

    Raises:
        InputError: if the hub refuses, cannot be reached or lacks the page.
        Unfinished: with ``resumable``, for any other error.
    """
    from huggingface_hub.errors import (  # start-up
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except Explained:
        raise
    except Exception as error:
        reason = first_line(error)
        log_in = "log in by `hf auth login` or set HF_TOKEN"
        network = "check the network connection"
        offline = (LocalEntryNotFoundError, OfflineModeIsEnabled)
        for kinds, problem, remedy in (  # a subclass comes before its base class
            (
                GatedRepoError,
                f"{page} is gated",
                f"accept its conditions there, {log_in}, and run the same command again",
            ),
            (RevisionNotFoundError, "it has no such revision", f"{page}/commits/main lists them"),
            (
                RepositoryNotFoundError,
                f"there is no {page}, or it is private ({reason})",
                f"check the name, or {log_in}",
            ),
            (offline, f"the hub cannot be reached ({reason})", f"{network}, and that HF_HUB_OFFLINE is not set"),
            (EntryNotFoundError, "it has no such file", f"{page}/tree/main lists them"),
            (HFValidationError, reason, ""),
        ):
            if isinstance(error, kinds):
                raise InputError(f"{failed}: {problem}", remedy=remedy) from error
        # Any other error comes from the HTTP library; its class depends on the release of the hub's library.
        if resumable:
            remedy = f"{network}; {resumable} is kept, and the same command resumes from there"
            raise Unfinished(f"{failed}: {reason}", remedy=remedy) from error
        raise InputError(f"{failed}: {reason}", remedy=network) from error
