"""Turn errors of the Hugging Face hub into messages that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nes2net.lib.errors import InputError, Unfinished, first_line


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
    except GatedRepoError as error:
        raise InputError(
            f"{failed}: {page} is gated: accept its conditions there, log in by `hf auth login` or set HF_TOKEN, and run the "
            "same command again"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{failed}: it has no such revision", remedy=f"{page}/commits/main lists them") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{failed}: there is no {page}, or it is private ({first_line(error)}): check the name; for a private one, log in "
            "by `hf auth login` or set HF_TOKEN"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise InputError(
            f"{failed}: the hub cannot be reached ({first_line(error)}): check the network connection, and that "
            "HF_HUB_OFFLINE is not set"
        ) from error
    except EntryNotFoundError as error:
        raise InputError(f"{failed}: it has no such file", remedy=f"{page}/tree/main lists them") from error
    except HFValidationError as error:
        raise InputError(f"{failed}: {first_line(error)}") from error
    except Exception as error:  # an error of the HTTP library; its class depends on the release of the hub's library
        problem = f"{failed}: {first_line(error)}"
        remedy = "check the network connection"
        if resumable:
            remedy += f"; {resumable} is kept, and the same command resumes from there"
            raise Unfinished(problem, remedy=remedy) from error
        raise InputError(problem, remedy=remedy) from error
