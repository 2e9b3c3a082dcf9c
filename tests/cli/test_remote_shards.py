"""`nes2net data check` and `nes2net score` of shards that are elsewhere."""

import pytest
from builders.remote_stores import http_store, packed, series, use_own_parts


@pytest.fixture
def folder(corpus, tmp_path, monkeypatch):
    """Shards of the training part."""
    use_own_parts(monkeypatch, tmp_path / "parts")
    return packed(corpus, tmp_path / "shards")


def test_the_recordings_in_remote_shards_are_counted(folder, output):
    with http_store(folder) as web:
        address = f"{web.address}/{series(folder, 'parquet')}"
        out = output(["data", "check", "shards", address, "--split", "train"]).out
    assert "files 12 of 12 are there" in " ".join(out.split())


def test_after_a_shard_could_not_be_read_the_same_command_gives_the_scores_of_local_shards(
    folder, output, tmp_path, spectral_detector
):
    """At first it ends with status 75."""
    model = tmp_path / "model.pth"
    spectral_detector.save(model)
    remote_scores = tmp_path / "remote.txt"
    local_scores = tmp_path / "local.txt"
    words = ["--model", str(model), "--device", "cpu", "--split", "train", "--out"]
    with http_store(folder) as web:
        address = f"{web.address}/{series(folder, 'parquet')}"
        web.fault = lambda method, path: 503 * (method == "GET" and "00002-of" in path)
        score = ["score", "shards", address, *words, str(remote_scores)]
        output(score, status=75)
        web.fault = lambda method, path: 0
        output(score)
    output(["score", "shards", str(folder / "parquet"), *words, str(local_scores)])
    assert remote_scores.read_text() == local_scores.read_text()
