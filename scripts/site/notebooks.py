"""Run the notebooks of docs/notebooks, and store their outputs without those on standard error.

``python scripts/site/notebooks.py [NOTEBOOK …]``; they use the demonstration in the folder
``NES2NET_DEMO``, or that of `demo.sh --full`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[2] / "docs" / "notebooks"


def run(path: Path) -> nbformat.NotebookNode:
    """Run the notebook ``path`` in its own folder, and return it with its new outputs."""
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    folder = {"metadata": {"path": str(path.parent)}}
    NotebookClient(book, timeout=600, kernel_name="python3", record_timing=False, resources=folder).execute()
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    book.metadata.language_info = {"name": "python"}  # not the version of this Python
    return book


if __name__ == "__main__":
    for path in [*map(Path, sys.argv[1:])] or sorted(NOTEBOOKS.glob("*.ipynb")):
        nbformat.write(run(path), path)
        print(f"{path} has its outputs anew")
