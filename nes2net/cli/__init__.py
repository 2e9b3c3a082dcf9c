"""Command lines: `nes2net …` and, in ``published``, the flags and printed lines of the published programs.

In reading order: ``main`` lists the commands by name; then one file per command, which is a
function: its signature gives the flags, and its docstring the help (``nes2net.lib.commands``).

Imports every district but ``apps``.
"""

import os

# Waiting threads would otherwise spin, and take cores from the workers. OpenMP reads this when
# PyTorch is loaded, so it stands before every import of a command.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
