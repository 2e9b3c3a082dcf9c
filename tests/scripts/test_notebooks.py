"""The notebooks of the manual run without the demonstration, and store outputs of the same kinds."""

import shutil
import sys
from importlib.util import find_spec

import pytest
from conftest import REPOSITORY

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: pip install -e .[docs]")
pytest.importorskip("nbclient", reason="nbclient is not installed: pip install -e .[docs]")
#: Notebook → the package of the weights that it needs, and how to install it.
WEIGHTS = {"person": ("resemblyzer", "Resemblyzer is not installed: pip install --no-deps Resemblyzer==0.1.4")}
NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))


def kinds(book):
    """For each cell of code, the kinds of its outputs: what is printed, shown and returned."""
    return [[output.output_type for output in cell.outputs] for cell in book.cells if cell.cell_type == "code"]


def joined(cells):
    """Without repetitions: what is printed may come in pieces."""
    return [[kind for number, kind in enumerate(cell) if kind not in cell[:number]] for cell in cells]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the notebooks, so that what they make does not stay."""
    return shutil.copytree(
        REPOSITORY / "docs" / "notebooks", tmp_path_factory.mktemp("docs") / "notebooks", ignore=lambda *_: ["made"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_gives_the_same_kinds_of_output_as_are_stored(path, folder, monkeypatch):
    package, reason = WEIGHTS.get(path.stem, ("nes2net", ""))
    if find_spec(package) is None:
        pytest.skip(reason)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)  # the command line sets it, in this process too
    monkeypatch.delenv("NES2NET_DEMO", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.syspath_prepend(REPOSITORY / "scripts" / "site")
    sys.modules.pop("notebooks", None)
    from notebooks import run

    stored = nbformat.read(path, as_version=4)
    assert joined(kinds(run(folder / path.name))) == joined(kinds(stored))
