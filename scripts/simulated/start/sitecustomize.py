"""Python imports this at its start if this folder is on PYTHONPATH: the simulated CUDA device is then in place."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from simulated.cuda import install

install()
