"""Keep modules of the current folder out: it may be a corpus of strangers, and hold a ``multiprocessing.py``.

``python -c`` and ``python -m`` search the current folder before the standard library, and multiprocessing starts its
processes so. Python 3.11 has PYTHONSAFEPATH against this. This module also protects Python 3.10.
"""

from __future__ import annotations

import os
import sys

_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Python ignores a second `-c` and hands it over as an argument. The module sys is a part of Python and has no file.
_FIRST = ["-c", "import sys; sys.path[:] = filter(None, sys.path); del sys.argv[0]; exec(sys.argv.pop(1))"]


def leave_out_current_folder() -> None:
    """Let this program, and what it starts, search no modules in the current folder; for command lines.

    A folder of PYTHONPATH stays. So does the folder that nes2net itself lies in.
    """
    folder = os.path.abspath(sys.path[0])
    if folder == _HOME:
        return
    os.environ["PYTHONSAFEPATH"] = "1"
    as_module = getattr(sys.modules["__main__"], "__spec__", None) is not None and not _is_safe()
    if sys.path[0] == "" or (as_module and folder == os.getcwd()):
        del sys.path[0]


def _is_safe() -> bool:
    return bool(getattr(sys.flags, "safe_path", False) or sys.flags.isolated)


def secure_multiprocessing() -> None:
    """Let the processes that multiprocessing starts from now on search no modules in the current folder.

    They get the search path of this process. Called before anything of multiprocessing is used.
    """
    from multiprocessing import util  # for start-up time

    util._args_from_interpreter_flags = _flags  # type: ignore[attr-defined]


def _flags() -> list[str]:
    import subprocess  # for start-up time

    return [*subprocess._args_from_interpreter_flags(), *_FIRST]  # type: ignore[attr-defined]


def python_command(code: str) -> list[str]:
    """Words that run ``code`` with this nes2net in a new process, which searches no modules in the current folder."""
    search_home = f"import sys; {_HOME!r} in sys.path or sys.path.insert(0, {_HOME!r})"
    return [sys.executable, *_FIRST, "-c", f"{search_home}; {code}"]
