"""`experiment reproduce` writes nothing through a link in its folder."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from builders.experiments import ROW
from builders.files import write

from nes2net.data.corpora import asvspoof2021_la
from nes2net.data.corpora.corpus import Counts

SPECTRUM = {"name": "lps", "n_fft": 128, "num_bins": 20}


@pytest.fixture
def reproduce(corpus, register_corpus, spectral_detector, tmp_path, command):
    """A function that reproduces a row of a tiny corpus, which counts as official, with further flags."""
    register_corpus("tiny_2021_la", replace(asvspoof2021_la.CORPUS, key_counts={"eval": Counts(12, 6, 6)}))
    row = {**ROW, "corpus": "tiny_2021_la"}
    systems = {"tiny": {"results": {"own": row}}}
    table = {"title": "Rows", "columns": {"own": "own"}, "systems": systems}
    rows = write(tmp_path / "rows.yaml", yaml.safe_dump({"tests": {"own": {}}, "tables": [table]}))
    words = f"experiment reproduce {row['id']} --data {corpus} --rows {rows} --out {tmp_path / 'out'} --workers 0"
    spectral_detector.save(tmp_path / "tiny.pth")
    (tmp_path / "out").mkdir()
    return lambda flags: command(f"{words} --resamples 10 {flags}")


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    return tmp_path / "elsewhere"


def test_a_file_replaces_a_link_of_its_name(reproduce, elsewhere, tmp_path):
    elsewhere.write_text("precious")
    links = [tmp_path / "out" / name for name in ("report.html", "report.json", "scores.txt")]
    for link in links:
        link.symlink_to(elsewhere)
    status, _, error = reproduce(f"--checkpoint {tmp_path / 'tiny.pth'} --overwrite")
    assert status == 0, error
    assert elsewhere.read_text() == "precious"
    assert not any(link.is_symlink() for link in links)


@pytest.mark.parametrize("name", ["training", "training/logs"])
def test_no_training_is_written_through_a_linked_folder(reproduce, elsewhere, tmp_path, name):
    elsewhere.mkdir()
    link = tmp_path / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    recipe = {"name": "tiny", "model": {"frontend": SPECTRUM, "backend": "asp_mlp"}}
    recipe |= {"data": {"num_samples": 8000, "num_workers": 0}, "train": {"epochs": 1, "batch_size": 4}}
    path = write(tmp_path / "tiny.yaml", yaml.safe_dump(recipe))
    status, _, error = reproduce(f"--recipe {path}")
    assert status == 2
    assert f"{name}: is a link" in error
    assert list(elsewhere.iterdir()) == []
