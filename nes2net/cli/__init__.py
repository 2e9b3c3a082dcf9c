"""The command line `nes2net …`, and in ``published`` the command lines of the published programs.

In reading order: ``main`` lists the commands; every other file has one command. A command is a
function: its flags are made from its signature, and its help is made from its docstring
(``nes2net.lib.shell.commands``).

This package may import all other packages except the apps.
"""

import os

# Otherwise, threads of OpenMP spin while they wait, and take cores from the workers. OpenMP reads this when PyTorch
# is loaded, so before any command is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
