"""Command lines: `nes2net …` and the published flags."""

import os

# Threads that wait for one another would spin, and take cores from the processes that read audio. OpenMP reads this when
# PyTorch is loaded, so it stands before every import of a command.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
