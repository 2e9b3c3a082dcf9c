"""Names and pages of the Hugging Face hub, and its errors as messages that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nes2net.lib.errors import InputError, Unfinished, first_line

#: Beginning of the name of a model or data set of the hub.
HUB_PREFIX = "hub:"
#: Address of the pages of models.
HUB_PAGES = "https://huggingface.co/"


@contextmanager
def hub_errors(failed: str, page: str, resumable: str = "") -> Iterator[None]:
    """Within this context, turn errors of the hub into messages that say what failed, why, and what to do.

    Args:
        failed: beginning of the message, such as ``'owner/name' was not fetched``.
        page: page of the model or data set.
        resumable: what is kept if the connection breaks, such as "what has come"; empty if nothing.

    Raises:
        InputError: if the hub refuses, cannot be reached or lacks the page.
        Unfinished: for any other error, such as a broken connection; without ``resumable``, an
            InputError.
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
