"""Command lines: `nes2net …` and, in ``published``, those of the published programs.

In reading order: ``main`` lists the commands by name; then each command has a file. A command is a
function, whose signature gives the flags and whose docstring gives the help
(``nes2net.lib.commands``).

Imports every district except ``apps``.
"""

import os

# By default, waiting threads of OpenMP spin, and take cores from the workers. OpenMP reads this variable
# when PyTorch is loaded, so it is set before any command is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
