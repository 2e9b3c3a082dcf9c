"""Import Matplotlib without reading ``matplotlibrc`` in the current folder, which may be a stranger's corpus.

A ``matplotlibrc`` could start LaTeX (``text.usetex``), so all modules import Matplotlib from here.
"""

from __future__ import annotations

import os
from importlib import import_module


def _import_matplotlib() -> None:
    """Hide ``matplotlibrc`` in the current folder from ``os.path.exists``; Matplotlib has no option to ignore it."""
    exists = os.path.exists
    os.path.exists = lambda path: path != "matplotlibrc" and exists(path)
    try:
        import_module("matplotlib")
    finally:
        os.path.exists = exists


_import_matplotlib()

import matplotlib as matplotlib  # noqa: E402
from matplotlib.axes import Axes as Axes  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvasAgg  # noqa: E402
from matplotlib.collections import QuadMesh as QuadMesh  # noqa: E402
from matplotlib.colors import LinearSegmentedColormap as LinearSegmentedColormap  # noqa: E402
from matplotlib.colors import to_rgba as to_rgba  # noqa: E402
from matplotlib.dates import ConciseDateFormatter as ConciseDateFormatter  # noqa: E402
from matplotlib.figure import Figure as Figure  # noqa: E402
from matplotlib.font_manager import FontProperties as FontProperties  # noqa: E402
from matplotlib.font_manager import findfont as findfont  # noqa: E402
from matplotlib.font_manager import get_font as get_font  # noqa: E402
from matplotlib.patches import Rectangle as Rectangle  # noqa: E402
from matplotlib.ticker import AutoLocator as AutoLocator  # noqa: E402
from matplotlib.ticker import FuncFormatter as FuncFormatter  # noqa: E402
from matplotlib.ticker import LogLocator as LogLocator  # noqa: E402
from matplotlib.ticker import MaxNLocator as MaxNLocator  # noqa: E402
from matplotlib.ticker import MultipleLocator as MultipleLocator  # noqa: E402
