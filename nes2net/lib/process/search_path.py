"""Never import modules from the current folder: it may be a stranger's corpus with a ``multiprocessing.py``.

``python -c``, by which multiprocessing starts processes, and ``python -m`` search the current
folder first. PYTHONSAFEPATH prevents this from Python 3.11 on, and this module on Python 3.10.
"""

from __future__ import annotations

import os
import sys

#: Folder that contains the package: site-packages, or a clone.
_HOME = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))

# The code of the first `-c` removes the current folder ("") from the search path, then runs the code behind the second
# `-c`, which Python treats as an argument. Importing sys reads no file, because it is built in.
_FIRST = ["-c", "import sys; sys.path[:] = filter(None, sys.path); del sys.argv[0]; exec(sys.argv.pop(1))"]


def remove_current_folder() -> None:
    """Remove the current folder from the search path of this command line and of Python programs that it starts.

    Folders of PYTHONPATH and nes2net's folder stay.
    """
    folder = os.path.abspath(sys.path[0])
    if folder == _HOME:  # the programs that it starts need this folder, too
        return
    os.environ["PYTHONSAFEPATH"] = "1"
    is_safe = getattr(sys.flags, "safe_path", False) or sys.flags.isolated
    # With `python -m`, Python has put the current folder first, unless it is safe; with `python -c`, "".
    as_module = getattr(sys.modules["__main__"], "__spec__", None) is not None and not is_safe
    if sys.path[0] == "" or (as_module and folder == os.getcwd()):
        del sys.path[0]


def secure_multiprocessing() -> None:
    """Start later processes with our search path, without the current folder; call it before using multiprocessing."""
    from multiprocessing import util  # for start-up time

    util._args_from_interpreter_flags = _interpreter_flags  # type: ignore[attr-defined]


def _interpreter_flags() -> list[str]:
    import subprocess  # for start-up time

    return [*subprocess._args_from_interpreter_flags(), *_FIRST]  # type: ignore[attr-defined]


def python_command(code: str) -> list[str]:
    """Make the command that runs ``code`` in a new Python with this nes2net, without the current folder."""
    search_home = f"import sys; {_HOME!r} in sys.path or sys.path.insert(0, {_HOME!r})"
    return [sys.executable, *_FIRST, "-c", f"{search_home}; {code}"]
