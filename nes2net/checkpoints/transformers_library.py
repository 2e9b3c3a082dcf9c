"""The transformers library: imported when a front-end needs it, because that takes seconds."""

from __future__ import annotations

from typing import Any

from nes2net.errors import MissingLibrary, first_line


def from_transformers(*names: str) -> list[Any]:
    """Return classes of the transformers library by their names.

    The library imports torchaudio if it is installed, which fails if it was built for another
    torch.

    Raises:
        MissingLibrary: if the library cannot be imported; the message says what to do.
    """
    try:
        import transformers  # start-up: takes seconds

        return [getattr(transformers, name) for name in names]
    except (ImportError, OSError, RuntimeError) as error:
        if _torchaudio_fails():
            raise MissingLibrary(
                "the installed torchaudio does not fit the installed torch, so the transformers library cannot be "
                "imported: pip uninstall torchaudio (nothing here needs it)"
            ) from error
        raise MissingLibrary(
            f"the transformers library cannot be imported ({first_line(error)}): pip install --upgrade transformers"
        ) from error


def _torchaudio_fails() -> bool:
    """Whether torchaudio is installed but cannot be imported."""
    try:
        import torchaudio  # noqa: F401  (optional: installed with some other packages)
    except ModuleNotFoundError as error:
        return error.name != "torchaudio"
    except Exception:
        return True
    return False
