"""Embeddings: equal to those computed alone, in order, resumed, never half written."""

import csv
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from builders import input_error
from builders.files import read_json
from builders.interruption import journalled
from builders.scored import score_trials
from numpy.testing import assert_allclose

from nes2net import __version__
from nes2net.data.corpora import asvspoof2021_la
from nes2net.scoring import embeddings
from nes2net.scoring.embeddings import Embeddings
from nes2net.scoring.waveforms import WaveformReader


@pytest.fixture
def trials(corpus):
    return asvspoof2021_la.CORPUS.trials(corpus, "eval")


def embed(detector, trials, out, layer="last", **options):
    return score_trials(detector, trials, out, Embeddings("frontend", layer), **{"num_samples": None, **options})


def alone(detector, trials, num_samples):
    reader = WaveformReader.of(detector, num_samples)
    waveforms = [torch.from_numpy(reader.read(trial.path).waveform)[None] for trial in trials]
    with torch.inference_mode():
        return torch.cat([detector.embeddings(waveform) for waveform in waveforms]).numpy()


@pytest.mark.parametrize("num_samples, batch_size", [(8000, 1), (None, 5)])
def test_each_row_is_the_float32_embedding_of_its_recording_computed_alone(
    detector, trials, tmp_path, num_samples, batch_size
):
    out = tmp_path / "e.npy"
    embed(detector, trials, out, num_samples=num_samples, batch_size=batch_size)
    rows = np.load(out)
    assert rows.dtype == np.float32
    assert_allclose(rows, alone(detector, trials, num_samples), atol=1e-5)


def test_the_list_beside_an_array_has_the_id_and_the_label_of_each_trial(detector, trials, tmp_path):
    embed(detector, trials, tmp_path / "e.npy", num_samples=4000)
    with open(tmp_path / "e.npy.csv", newline="") as file:
        assert list(csv.reader(file)) == [["id", "label"], *([trial.id, trial.label or ""] for trial in trials)]


def test_only_a_list_and_a_record_are_written_beside_an_array(detector, trials, tmp_path):
    embed(detector, trials[:2], tmp_path / "e.npy", num_samples=4000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.npy", "e.npy.csv", "e.npy.json"]


def test_the_record_of_an_array_names_detector_embedding_size_and_version_of_nes2net(detector, trials, tmp_path):
    embed(detector, trials[:2], tmp_path / "e.npy", num_samples=4000)
    record = read_json(tmp_path / "e.npy.json")
    assert record["run"]["model"] == detector.fingerprint()
    assert record["size"] == 64
    assert record["versions"]["nes2net"] == __version__


COMPUTED = ["=1+1", "@a", "-b", "+c", "'=d", "'tis"]


@pytest.fixture
def of_computed_ids(detector, trials, tmp_path):
    """An array of trials whose ids a spreadsheet would compute."""
    trials = [replace(trial, id=id) for trial, id in zip(trials, COMPUTED)]
    embed(detector, trials, tmp_path / "e.npy", num_samples=4000)
    return tmp_path / "e.npy"


def test_ids_that_a_spreadsheet_would_compute_are_quoted_in_the_list_beside_an_array(of_computed_ids):
    with open(f"{of_computed_ids}.csv", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["'=1+1", "'@a", "'-b", "'+c", "''=d", "'tis"]


def test_ids_that_are_quoted_in_the_list_beside_an_array_are_read_without_the_quotes(of_computed_ids):
    assert [id for id, _ in Embeddings().read(of_computed_ids)] == COMPUTED


@pytest.fixture
def waveform():
    return torch.randn(2, 8000, generator=torch.Generator().manual_seed(0)) / 10


def test_an_embedding_of_all_layers_is_the_concatenation_of_the_embeddings_of_each_layer(detector, waveform):
    with torch.inference_mode():
        layers = [detector.embeddings(waveform, layer=number) for number in range(3)]
        assert torch.equal(torch.cat(layers, dim=1), detector.embeddings(waveform, layer="all"))


def test_an_embedding_is_the_output_of_the_part_asked_for(detector, waveform):
    """The front-end, as a mean over frames, the aggregation or the back-end."""
    with torch.inference_mode():
        last = detector.hidden_states(waveform)[0].mean(1)
        assert torch.equal(last, detector.embeddings(waveform, "frontend", 2))
        assert torch.equal(last, detector.embeddings(waveform, "aggregation"))  # of this detector: the last layer
        assert torch.equal(detector.backend.last_layer(detector.embeddings(waveform, "backend")), detector(waveform))


@pytest.mark.parametrize(
    "kind, layer, message",
    [
        ("frontend", 3, "hidden states 0 to 2"),
        ("frontend", "first", "'last', 'all' or a number, not 'first'"),
        ("backend", 1, "remove it for `of=backend`"),
    ],
)
def test_a_layer_that_a_part_does_not_have_is_refused(detector, waveform, kind, layer, message):
    with input_error(message):
        detector.embeddings(waveform, kind, layer)


def test_a_parquet_file_holds_ids_labels_and_the_rows_of_the_npy_file(detector, trials, tmp_path, monkeypatch):
    """A row is a list of 64 numbers in float32."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")
    monkeypatch.setattr(embeddings, "_ROWS_AT_ONCE", 3)  # several parts
    trials = [replace(trials[0], label=None), *trials[1:8]]
    for name in ("e.npy", "e.parquet"):
        embed(detector, trials, tmp_path / name, num_samples=8000)
    table = parquet.read_table(tmp_path / "e.parquet")
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[64]"
    assert table["id"].to_pylist() == [trial.id for trial in trials]
    assert table["label"].to_pylist() == [trial.label for trial in trials]
    rows = np.stack(table["embedding"].combine_chunks().to_numpy(zero_copy_only=False))
    assert np.array_equal(rows, np.load(tmp_path / "e.npy"))


needs_parquet = pytest.mark.skipif(find_spec("pyarrow") is None, reason="the extra 'parquet' is not installed")


IN_PAIRS = {"num_samples": 8000, "batch_size": 2}


@pytest.fixture(params=["npy", pytest.param("parquet", marks=needs_parquet)])
def resumed(request, detector, trials, tmp_path):
    """The file of an interrupted run that was resumed with a damaged row, and the batches that were then computed."""
    out = tmp_path / "new" / f"e.{request.param}"
    with journalled(stop_after=2):
        embed(detector, trials, out, **IN_PAIRS)
    (partial,) = out.parent.iterdir()
    header, first_row, *later_rows = partial.read_text().splitlines()
    damaged_row = '!","'.join(first_row.rsplit('","', 1))
    partial.write_text("\n".join([header, damaged_row, *later_rows, ""]))
    with journalled() as later:
        embed(detector, trials, out, **IN_PAIRS)
    return out, later


def test_a_run_resumed_with_a_damaged_row_writes_the_file_of_an_uninterrupted_one(resumed, detector, trials, tmp_path):
    """It computes only the batch of that row, and the eight that were missing."""
    out, later = resumed
    assert sum(map(len, later)) == 10
    uninterrupted = tmp_path / f"whole{out.suffix}"
    embed(detector, trials, uninterrupted, **IN_PAIRS)
    assert out.read_bytes() == uninterrupted.read_bytes()


def test_with_overwrite_others_only_a_file_of_another_run_is_replaced(detector, trials, tmp_path):
    def run(count):
        return embed(detector, trials[:count], tmp_path / "e.npy", num_samples=8000, overwrite="others")

    run(3)
    assert run(3).already_complete
    assert not run(4).already_complete
    assert len(np.load(tmp_path / "e.npy")) == 4


def test_a_file_of_embeddings_of_another_layer_is_refused(detector, trials, tmp_path):
    embed(detector, trials[:2], tmp_path / "e.npy", num_samples=8000)
    with input_error(r"another embedding.*: pass `overwrite=True`"):
        embed(detector, trials[:2], tmp_path / "e.npy", layer="all", num_samples=8000)


def test_a_recording_that_cannot_be_read_has_neither_id_nor_row(detector, trials, tmp_path):
    good = [trials[0], trials[2]]
    bad = replace(trials[1], path=tmp_path / "gone.flac")
    for name, rows in (("good.npy", good), ("e.npy", [good[0], bad, good[1]])):
        embed(detector, rows, tmp_path / name, num_samples=8000)
    assert_allclose(np.load(tmp_path / "e.npy"), np.load(tmp_path / "good.npy"), atol=1e-6)
    assert (tmp_path / "e.npy.csv").read_text() == (tmp_path / "good.npy.csv").read_text()


def test_a_format_that_cannot_be_written_is_refused_before_anything_is_written(detector, trials, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with input_error(r"pip install .*\[parquet\]"):
        embed(detector, trials, tmp_path / "e.parquet")
    with input_error(r"ends in \.npy or \.parquet"):
        embed(detector, trials, tmp_path / "e.txt")
    assert not list(tmp_path.iterdir())


def test_an_embedding_that_is_not_finite_is_a_failure(detector, trials, tmp_path):
    detector.embeddings = lambda x, *_: torch.full((len(x), 3), float("nan") if x.shape[1] < 30000 else 1.0)
    result = embed(detector, trials, tmp_path / "e.npy")
    assert 0 < len(result.failures) < 12
    assert np.load(tmp_path / "e.npy").shape == (result.done, 3)
    assert all("not finite" in reason for reason in result.failures.values())
