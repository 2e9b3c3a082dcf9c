"""`nes2net data check` and `nes2net score` of shards that are elsewhere."""

from builders.remote_stores import http_store, packed, series, use_own_parts


def test_a_shard_that_stays_away_ends_scoring_as_an_interruption(
    corpus, command, tmp_path, monkeypatch, spectral_detector
):
    """The same command resumes, and gives the scores of the shards on the disk."""
    use_own_parts(monkeypatch, tmp_path / "parts")
    folder = packed(corpus, tmp_path / "shards")
    spectral_detector.save(tmp_path / "model.pth")
    words = ["--model", str(tmp_path / "model.pth"), "--device", "cpu", "--split", "train"]
    with http_store(folder) as web:
        address = f"{web.address}/{series(folder, 'parquet')}"
        status, out, _ = command(["data", "check", "shards", address, "--split", "train"])
        assert status == 0
        assert "files 12 of 12 are there" in " ".join(out.split())
        web.fault = lambda method, path: 503 if method == "GET" and "00002-of" in path else 0
        use = ["score", "shards", address, "--out", str(tmp_path / "remote.txt"), *words]
        status, _, errors = command(use)
        assert status == 75
        assert "train-00002-of-00003.parquet cannot be read at present (status 503" in errors
        web.fault = lambda method, path: 0
        assert command(use)[0] == 0
    assert command(["score", "shards", str(folder / "parquet"), "--out", str(tmp_path / "local.txt"), *words])[0] == 0
    assert (tmp_path / "remote.txt").read_text() == (tmp_path / "local.txt").read_text()
