"""A corpus packed into shards and read back."""

import os
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from nes2net import InputError
from nes2net.audio.packed import open_recording
from nes2net.cli.main import main
from nes2net.corpora import asvspoof2019_la, pack, shards
from nes2net.corpora.trial import Trial


def without_place(trials):
    return [replace(trial, path=None, extra=tuple(sorted(trial.extra))) for trial in trials]


@pytest.mark.parametrize("format", ["parquet", "tar"])
def test_what_is_packed_is_read_back(corpus, format, tmp_path, capsys):
    command = ["data", "pack", "asvspoof2019_la", str(corpus), str(tmp_path / "out"), "--format", format]
    assert main([*command, "--shard-size", "0.2MB"]) == 0
    assert f"of audio in {len(shards.shards_below(tmp_path / 'out'))} shards, in" in capsys.readouterr().out
    assert len(shards.shards_below(tmp_path / "out")) > 2
    assert shards.CORPUS.find_splits(tmp_path / "out") == ("train", "dev")
    for split in ("train", "dev"):
        found, original = shards.CORPUS.trials(tmp_path / "out", split), asvspoof2019_la.CORPUS.trials(corpus, split)
        assert without_place(found) == without_place(replace(t, phase=split) for t in original)
        for packed, file in zip(found, original):
            assert open_recording(packed.path).read() == file.path.read_bytes()

    again = [str(tmp_path / "out"), str(tmp_path / "again")]  # from shards to shards of the other kind
    other = "tar" if format == "parquet" else "parquet"
    assert main(["data", "pack", "shards", *again, "--split", "dev", "--format", other]) == 0
    repacked = shards.CORPUS.trials(tmp_path / "again", "dev")
    assert without_place(repacked) == without_place(shards.CORPUS.trials(tmp_path / "out", "dev"))
    assert [open_recording(t.path).read() for t in repacked] == [t.path.read_bytes() for t in original]


@pytest.mark.parametrize("format", ["parquet", "tar"])
def test_phases_are_kept(corpus, format, tmp_path):
    files = [trial.path for trial in asvspoof2019_la.CORPUS.trials(corpus, "dev")]
    phases = [("eval", "eval"), ("eval", "progress"), ("train", "train"), ("track1", "track1")]
    parts = {split: [] for split, _ in phases}
    for (split, phase), path in zip(phases, files):
        parts[split].append(Trial(path.stem, path, "spoof", phase=phase))
    out = tmp_path / "out"
    pack.pack(parts, out, title="phases", format=format)
    assert shards.CORPUS.find_splits(out) == ("train", "eval")
    assert [trial.phase for trial in shards.CORPUS.trials(out, "train")] == ["train"]
    scored = ["eval", "progress", "track1"]  # all of them
    assert [trial.phase for trial in shards.CORPUS.trials(out, "eval")] == scored
    for phase in scored:
        assert [trial.phase for trial in shards.CORPUS.keys(out, phase)] == [phase]
        shards.CORPUS.check_phase(phase, shards.CORPUS.keys(out))
    with pytest.raises(InputError, match="no phase 'hidden'; it has train, dev, eval, progress, track1, all"):
        shards.CORPUS.check_phase("hidden", shards.CORPUS.keys(out))


def test_going_on_after_an_interruption(corpus, tmp_path, monkeypatch, capsys):
    parts = {"eval": asvspoof2019_la.CORPUS.trials(corpus, "dev")}
    expected = pack.pack(parts, tmp_path / "at_once", title="dev", shard_bytes=200_000)
    write = pack._write_parquet

    def stop(path, shard):
        write(path, shard)
        if "00001-of" in path.name:
            raise KeyboardInterrupt

    monkeypatch.setattr(pack, "_write_parquet", stop)
    with pytest.raises(KeyboardInterrupt):
        pack.pack(parts, tmp_path / "out", title="dev", shard_bytes=200_000)
    assert [path.name[:10] for path in (tmp_path / "out" / "data").iterdir()] == ["test-00000"]
    monkeypatch.undo()
    (tmp_path / "out" / "data" / ".test-00001.1.tmp").touch()
    result = pack.pack(parts, tmp_path / "out", title="dev", shard_bytes=200_000)
    assert result.there_before == 1 and result.trials == 12 and len(result.shards) == len(expected.shards)
    files = sorted(path.relative_to(tmp_path / "at_once") for path in (tmp_path / "at_once").rglob("*.*"))
    assert files == sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*"))
    assert all((tmp_path / "out" / f).read_bytes() == (tmp_path / "at_once" / f).read_bytes() for f in files)
    labels = pq.read_table(tmp_path / "out" / "data" / "labels.parquet").to_pydict()
    assert labels == {"utterance_id": [t.id for t in parts["eval"]], "label": [1 - t.target for t in parts["eval"]]}
    with pytest.raises(InputError, match="holds shards of other recordings, or in other sizes"):
        pack.pack(parts, tmp_path / "out", title="dev", shard_bytes=100_000)


def test_wrong_calls(corpus, tmp_path, capsys):
    trial = asvspoof2019_la.CORPUS.trials(corpus, "dev")[0]
    gone = Trial("gone", tmp_path / "gone.flac")
    (tmp_path / "odd.bin").write_bytes(b"x")
    odd = Trial("odd", tmp_path / "odd.bin")
    for parts, options, message in (
        ({"dev": [trial], "train": [trial]}, {}, "1 id stands in dev and in train"),
        ({"dev": [trial, gone]}, {}, "1 of 2 audio files of dev are missing: .*gone.flac"),
        ({"dev": [trial]}, {"shard_bytes": 0}, "`shard_size` is at least 1 byte"),
        ({"dev": [odd]}, {"format": "tar"}, "by their suffix, which 1 do not have: odd"),
    ):
        with pytest.raises(InputError, match=message):
            pack.pack(parts, tmp_path / "out", title="x", **options)
    with pytest.raises(InputError, match="is not empty: name another folder"):
        pack.pack({"dev": [trial]}, tmp_path, title="x")
    assert not (tmp_path / "out").exists()
    command = ["data", "pack", "asvspoof2019_la", str(corpus), str(tmp_path / "out")]
    assert main([*command, "--shard-size", "large"]) == 2 and "--shard-size is a number" in capsys.readouterr().err
    assert main([*command, "--split", "eval"]) == 2 and main([*command, "--keys", str(corpus)]) == 2
    id = Trial("../a b.c", trial.path, "spoof")
    pack.pack({"all": [id]}, tmp_path / "all", title="x", format="tar")
    assert os.listdir(tmp_path / "all") and shards.CORPUS.trials(tmp_path / "all")[0].label == "spoof"
    assert shards.CORPUS.trials(tmp_path / "all")[0].path.name.startswith("%2E%2E%2Fa%20b%2Ec")


@pytest.mark.parametrize("size, expected", [("5", 5), ("5B", 5), ("2kb", 2000), ("0.5MB", 500_000), ("1GB", 10**9)])
def test_sizes_have_units(corpus, tmp_path, monkeypatch, size, expected):
    asked = []
    monkeypatch.setattr(
        pack, "pack", lambda *_, shard_bytes, **__: asked.append(shard_bytes) or pack.PackResult([], 0, 0, 0)
    )
    words = ["data", "pack", "asvspoof2019_la", str(corpus), str(tmp_path), "--shard-size", size]
    assert main(words) == 0 and asked == [expected]
