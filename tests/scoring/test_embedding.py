"""Embeddings: equal to those computed alone, in order, resumed, never half written."""

import csv
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from nes2net import InputError
from nes2net.corpora import asvspoof2021_la
from nes2net.scoring import corpus as embedding
from nes2net.scoring.corpus import embed_trials
from nes2net.scoring.waveforms import WaveformReader


@pytest.fixture
def trials(corpus):
    return asvspoof2021_la.CORPUS.trials(corpus, "eval")


def embed(detector, trials, out, of="frontend", layer="last", **options):
    options = {"num_workers": 0, **options}
    return embed_trials(
        detector, lambda x: detector.embeddings(x, of, layer), trials, out, what=f"{of} {layer}", **options
    )


def alone(detector, trials, num_samples=None, of="frontend", layer="last"):
    reader = WaveformReader.of(detector, num_samples)
    waveforms = [torch.from_numpy(reader.read(trial.path).waveform)[None] for trial in trials]
    with torch.inference_mode():
        return torch.cat([detector.embeddings(waveform, of, layer) for waveform in waveforms]).numpy()


def listed(out):
    with open(f"{out}.csv", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("num_samples, batch_size", [(8000, 1), (None, 5)])
def test_each_row_equals_the_one_computed_alone(detector, trials, tmp_path, num_samples, batch_size):
    out = tmp_path / "e.npy"
    result = embed(detector, trials, out, num_samples=num_samples, batch_size=batch_size)
    assert (result.total, result.done, result.size, result.failures) == (12, 12, 64, {})
    found = np.load(out)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, alone(detector, trials, num_samples), atol=1e-5)
    assert listed(out) == [["id", "label"], *([trial.id, trial.label or ""] for trial in trials)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.npy", "e.npy.csv", "e.npy.json"]
    record = json.loads((tmp_path / "e.npy.json").read_text())
    assert record["run"]["model"] == detector.fingerprint() and record["size"] == 64 and "nes2net" in record["versions"]


@pytest.mark.parametrize(
    ("of", "layer", "size"), [("frontend", "all", 192), ("frontend", 1, 64), ("aggregation", "last", 64)]
)
def test_layers_and_the_aggregation(detector, trials, tmp_path, of, layer, size):
    embed(detector, trials[:3], tmp_path / "e.npy", of, layer)
    found = np.load(tmp_path / "e.npy")
    assert found.shape == (3, size)
    np.testing.assert_allclose(found, alone(detector, trials[:3], None, of, layer), atol=1e-5)


def test_embeddings_of_one_batch(detector):
    waveform = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0)) / 10
    with torch.inference_mode():
        layers = [detector.embeddings(waveform, layer=number) for number in range(3)]
        assert torch.equal(torch.cat(layers, dim=1), detector.embeddings(waveform, layer="all"))
        assert torch.equal(layers[-1], detector.embeddings(waveform))
        assert torch.equal(layers[-1], detector.hidden_states(waveform)[0].mean(1))
        assert torch.equal(detector.backend.last_layer(detector.embeddings(waveform, "backend")), detector(waveform))
    for of, layer, message in (
        ("frontend", 3, "hidden states 0 to 2"),
        ("frontend", "first", "'last', 'all' or a number, not 'first'"),
        ("backend", 1, "leave it out for backend"),
    ):
        with pytest.raises(InputError, match=message):
            detector.embeddings(waveform, of, layer)


def test_parquet_has_the_same_rows(detector, trials, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")
    monkeypatch.setattr(embedding, "_ROWS_AT_ONCE", 3)  # several parts
    trials = [replace(trials[0], label=None), replace(trials[1], path=tmp_path / "gone.flac"), *trials[2:8]]
    for name in ("e.npy", "e.parquet"):
        assert embed(detector, trials, tmp_path / name, num_samples=8000).done == 7
    good = [trials[0], *trials[2:]]
    table = parquet.read_table(tmp_path / "e.parquet")
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[64]"
    assert table["id"].to_pylist() == [trial.id for trial in good]
    assert table["label"].to_pylist() == [trial.label for trial in good]
    rows = np.stack(table["embedding"].combine_chunks().to_numpy(zero_copy_only=False))
    assert np.array_equal(rows, np.load(tmp_path / "e.npy"))
    assert not (tmp_path / "e.parquet.csv").exists()


def test_a_bad_file_costs_its_row_only(detector, trials, tmp_path, capsys):
    (tmp_path / "bad.flac").write_bytes(b"fLaC but no more")
    bad = [*trials[:2], replace(trials[2], path=tmp_path / "bad.flac"), replace(trials[3], path=None), *trials[4:6]]
    result = embed(detector, bad, tmp_path / "e.npy")
    good = [trial for trial in bad if trial.id not in result.failures]
    assert list(result.failures) == [bad[2].id, bad[3].id] and "bad.flac" in result.failures[bad[2].id]
    assert bad[2].id in capsys.readouterr().err
    np.testing.assert_allclose(np.load(tmp_path / "e.npy"), alone(detector, good), atol=1e-5)
    assert [id for id, _ in listed(tmp_path / "e.npy")[1:]] == [trial.id for trial in good]
    with pytest.raises(InputError, match=f"{bad[2].id}: "):
        embed(detector, bad, tmp_path / "f.npy", on_error="raise", batch_size=1, num_samples=8000)
    with pytest.raises(InputError, match="not one of 2 trials could be embedded"):
        embed(detector, bad[2:4], tmp_path / "g.npy")
    assert not list(tmp_path.glob("g.npy*"))


def test_an_interrupted_run_computes_only_what_is_missing(detector, trials, tmp_path):
    out, compute, heard = tmp_path / "e.npy", detector.embeddings, []

    def stopping(x, *arguments):
        if len(heard) == 4:
            raise KeyboardInterrupt
        heard.extend(range(len(x)))
        return compute(x, *arguments)

    detector.embeddings = stopping
    with pytest.raises(KeyboardInterrupt):
        embed(detector, trials, out, num_samples=8000, batch_size=2)
    (partial,) = tmp_path.iterdir()
    header, *lines = partial.read_text().splitlines()
    assert partial.name == "e.npy.partial" and len(lines) == 4
    damaged = '!","'.join(lines[0].rsplit('","', 1))  # a row that is none is computed again
    partial.write_text("\n".join([header, damaged, *lines[1:], lines[1][:20]]))

    later = []
    detector.embeddings = lambda x, *arguments: (later.extend(range(len(x))), compute(x, *arguments))[1]
    with pytest.raises(InputError, match=r"another run or program \(another num_samples\)"):
        embed(detector, trials, out, num_samples=9000)
    embed(detector, trials, out, num_samples=8000, batch_size=2)
    assert len(later) == 10  # the batch of the broken row again, and the eight others
    detector.embeddings = compute
    embed(detector, trials, tmp_path / "whole.npy", num_samples=8000, batch_size=2)
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_recording_that_comes_later_is_embedded_then(detector, trials, tmp_path):
    late, options = tmp_path / "late.flac", {"num_samples": 8000, "batch_size": 2}
    some = [*trials[:5], replace(trials[5], path=late)]
    assert list(embed(detector, some, tmp_path / "e.npy", **options).failures) == [trials[5].id]
    shutil.copy(trials[5].path, late)
    compute, heard = detector.embeddings, []
    detector.embeddings = lambda x, *arguments: (heard.extend(range(len(x))), compute(x, *arguments))[1]
    result = embed(detector, some, tmp_path / "e.npy", **options)
    assert result.done == 6 and len(heard) == 2  # its batch
    embed(detector, trials[:6], tmp_path / "whole.npy", **options)
    assert (tmp_path / "e.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_what_another_run_made_is_replaced_and_one_s_own_kept(detector, trials, tmp_path):
    out, options = tmp_path / "e.npy", {"num_samples": 8000, "overwrite": "others"}
    embed(detector, trials[:3], out, **options)
    before = out.stat().st_mtime_ns
    assert embed(detector, trials[:3], out, **options).already_complete and out.stat().st_mtime_ns == before
    assert not embed(detector, trials[:4], out, **options).already_complete and len(np.load(out)) == 4
    (tmp_path / "e.npy.partial").write_text("of another run\n")
    assert len(np.load(embed(detector, trials[:5], out, **options).path)) == 5
    assert not embed(detector, trials[:5], out, **{**options, "overwrite": True}).already_complete
    with pytest.raises(InputError, match=r"another embedding.*: pass `overwrite=True`"):
        embed(detector, trials[:5], out, layer="all", num_samples=8000)
    out.write_bytes(out.read_bytes()[:-4])
    with pytest.raises(InputError, match="another SHA-256"):
        embed(detector, trials[:5], out, num_samples=8000)


def test_what_cannot_be_written_is_named(detector, trials, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install .*\[parquet\]"):
        embed(detector, trials, tmp_path / "e.parquet")
    with pytest.raises(InputError, match=r"ends in \.npy or \.parquet"):
        embed(detector, trials, tmp_path / "e.txt")
    with pytest.raises(InputError, match="two trials have the id"):
        embed(detector, [trials[0], trials[0]], tmp_path / "e.npy")
    with pytest.raises(InputError, match="the list is empty"):
        embed(detector, [], tmp_path / "e.npy")
    (tmp_path / "e.npy").write_bytes(b"mine")
    with pytest.raises(InputError, match="was made by another run or program"):
        embed(detector, trials, tmp_path / "e.npy")
    assert (tmp_path / "e.npy").read_bytes() == b"mine"


def test_an_embedding_that_is_not_finite_is_a_failure(detector, trials, tmp_path):
    result = embed_trials(
        detector,
        lambda x: torch.full((len(x), 3), float("nan") if x.shape[1] < 30000 else 1.0),
        trials,
        tmp_path / "e.npy",
        what="test",
        num_workers=0,
    )
    assert 0 < len(result.failures) < 12 and np.load(tmp_path / "e.npy").shape == (result.done, 3)
    assert all("not finite" in reason for reason in result.failures.values())
