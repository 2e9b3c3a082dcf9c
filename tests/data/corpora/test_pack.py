"""A corpus packed into shards and read back."""

import os
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from builders import input_error
from builders.listed_parts import parts_and_files
from builders.shards import as_tar

from nes2net.cli.main import main
from nes2net.data.audio.packed import fetch, open_recording
from nes2net.data.audio.parts import RecordingPart
from nes2net.data.audio.read import load_audio
from nes2net.data.corpora import asvspoof2019_la, pack, shards
from nes2net.data.corpora.shards import CORPUS
from nes2net.data.corpora.trial import Trial


@pytest.fixture
def dev_trials(corpus):
    return asvspoof2019_la.CORPUS.trials(corpus, "dev")


def without_place(trials):
    return [replace(trial, path=None, extra=tuple(sorted(trial.extra))) for trial in trials]


def test_packed_trials_are_read_back_with_their_fields_and_recordings(corpus, tmp_path):
    command = ["data", "pack", "asvspoof2019_la", str(corpus), str(tmp_path / "out")]
    assert main([*command, "--shard-size", "0.2MB"]) == 0
    assert len(shards.shards_below(tmp_path / "out")) > 2
    for split in ("train", "dev"):
        packed_trials = CORPUS.trials(tmp_path / "out", split)
        original = asvspoof2019_la.CORPUS.trials(corpus, split)
        assert without_place(packed_trials) == without_place(replace(t, phase=split) for t in original)
        for packed, file in zip(packed_trials, original):
            assert open_recording(fetch(packed.path)).read() == file.path.read_bytes()


def test_packing_keeps_ids_beside_a_further_column_that_is_called_utterance_id(dev_trials, tmp_path):
    trial = replace(dev_trials[0], id="mine", extra=(("utterance_id", "theirs"),))
    pack.pack({"eval": [trial]}, tmp_path / "out", title="ids")
    assert [packed.id for packed in CORPUS.trials(tmp_path / "out", "eval")] == ["mine"]


def test_tar_shards_are_packed_into_parquet_shards(dev_trials, tmp_path):
    pack.pack({"dev": dev_trials}, tmp_path / "first", title="dev")
    tar = as_tar(tmp_path / "first", tmp_path / "tar")
    assert main(["data", "pack", "shards", str(tar), str(tmp_path / "second")]) == 0
    repacked = CORPUS.trials(tmp_path / "second", "dev")
    assert without_place(repacked) == without_place(CORPUS.trials(tar, "dev"))
    assert [open_recording(fetch(t.path)).read() for t in repacked] == [t.path.read_bytes() for t in dev_trials]


def test_packing_keeps_the_phases_of_trials(dev_trials, tmp_path):
    phases = ("eval", "progress", "track1", "train")
    out = tmp_path / "out"
    trials = [replace(t, phase=p) for t, p in zip(dev_trials, phases)]
    splits = {"eval": trials[:2], "track1": trials[2:3], "train": trials[3:]}
    pack.pack(splits, out, title="phases")
    assert [trial.phase for trial in CORPUS.trials(out, "train")] == ["train"]
    assert [trial.phase for trial in CORPUS.trials(out, "eval")] == list(phases[:3])  # all that is scored
    for phase in phases[:3]:
        assert [trial.phase for trial in CORPUS.keys(out, phase)] == [phase]


def test_packing_resumes_after_an_interruption(dev_trials, tmp_path, monkeypatch):
    """It keeps the shards already written, and its files equal those of an uninterrupted run."""
    splits = {"eval": dev_trials}
    at_once = tmp_path / "at_once"
    out = tmp_path / "out"
    pack.pack(splits, at_once, title="dev", shard_bytes=200_000)
    write = pack._write_parquet

    def stop(path, shard, group_bytes):
        write(path, shard, group_bytes)
        if "00001-of" in path.name:
            raise KeyboardInterrupt

    monkeypatch.setattr(pack, "_write_parquet", stop)
    with pytest.raises(KeyboardInterrupt):
        pack.pack(splits, out, title="dev", shard_bytes=200_000)
    (shard,) = (out / "data").iterdir()
    assert shard.name[:10] == "test-00000"
    monkeypatch.undo()
    (out / f"data/.{shard.name.replace('00000-', '00001-')}.12ab34cd.tmp").touch()
    result = pack.pack(splits, out, title="dev", shard_bytes=200_000)
    assert result.there_before == 1
    files = [{path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")} for folder in (at_once, out)]
    assert files[0] == files[1]


def test_a_shard_is_on_the_disk_before_it_gets_its_name(dev_trials, tmp_path, monkeypatch):
    written = []
    replace_file = os.replace
    monkeypatch.setattr(os, "fsync", lambda opened: written.append(os.path.realpath(f"/dev/fd/{opened}")))
    monkeypatch.setattr(os, "replace", lambda source, to: (written.append(str(to)), replace_file(source, to)))
    (shard,) = pack.pack({"dev": dev_trials}, tmp_path, title="dev").shards
    assert f".{shard.name}." in written[written.index(str(shard)) - 1]


def test_an_id_that_is_not_utf8_is_refused_before_anything_is_packed(dev_trials, tmp_path):
    with input_error(r"udce9' is not UTF-8, which this output requires: rename the file"):
        pack.pack({"all": [replace(dev_trials[0], id="caf\udce9")]}, tmp_path / "out", title="x")
    assert not (tmp_path / "out").exists()


def test_a_recording_whose_notes_are_not_utf8_is_packed(dev_trials, tmp_path):
    trial = replace(dev_trials[0], extra=(("room", "caf\udce9"),))
    pack.pack({"all": [trial]}, tmp_path, title="x")
    (packed,) = CORPUS.trials(tmp_path)
    assert packed.extra == trial.extra


def test_the_labels_of_an_evaluation_set_are_packed_beside_its_shards(dev_trials, tmp_path):
    pack.pack({"eval": dev_trials}, tmp_path, title="dev")
    labels = pq.read_table(tmp_path / "data/labels.parquet").to_pydict()
    assert labels == {"utterance_id": [t.id for t in dev_trials], "label": [1 - t.target for t in dev_trials]}


def test_packing_shards_of_another_size_into_a_packed_folder_is_refused(dev_trials, tmp_path):
    splits = {"eval": dev_trials}
    pack.pack(splits, tmp_path / "out", title="dev", shard_bytes=200_000)
    with input_error("holds shards of other recordings, or in other sizes"):
        pack.pack(splits, tmp_path / "out", title="dev", shard_bytes=100_000)


def test_trials_with_one_id_in_two_splits_are_not_packed(dev_trials, tmp_path):
    trials = dev_trials[:1]
    with input_error("1 id stands in dev and in train"):
        pack.pack({"dev": trials, "train": trials}, tmp_path / "out", title="x")
    assert not (tmp_path / "out").exists()


def test_a_trial_without_its_recording_is_not_packed(dev_trials, tmp_path):
    missing = Trial("gone", tmp_path / "gone.flac")
    with input_error("1 of 2 audio files of dev are missing: .*gone.flac"):
        pack.pack({"dev": [dev_trials[0], missing]}, tmp_path / "out", title="x")
    assert not (tmp_path / "out").exists()


def test_packing_into_a_folder_with_other_files_is_refused(dev_trials, tmp_path):
    (tmp_path / "notes.txt").touch()
    with input_error("is not empty: name another folder"):
        pack.pack({"dev": dev_trials}, tmp_path, title="x")


def test_pack_refuses_a_malformed_shard_size(corpus, tmp_path, capsys):
    command = ["data", "pack", "asvspoof2019_la", str(corpus), str(tmp_path / "out")]
    for size in ("large", "1,5GB"):
        assert main([*command, "--shard-size", size]) == 2
        assert f"--shard-size must be a number with a unit, such as 500MB or 2GB, not {size}" in capsys.readouterr().err


def test_a_shard_size_without_a_unit_is_in_bytes(corpus, tmp_path):
    """Shards of another size would be refused."""
    for size in ("0.2MB", "200000"):
        assert main(["data", "pack", "asvspoof2019_la", str(corpus), str(tmp_path), "--shard-size", size]) == 0


def test_an_id_that_would_leave_a_folder_is_escaped_in_the_name_of_its_recording(dev_trials, tmp_path):
    trial = dev_trials[0]
    pack.pack({"all": [Trial("../a b.c", trial.path, "spoof")]}, tmp_path / "all", title="x")
    (packed,) = pq.read_table(next(tmp_path.rglob("all-*.parquet"))).to_pylist()
    assert packed["path"].startswith("%2E%2E%2Fa%20b%2Ec")


def test_parts_of_recordings_are_packed_as_recordings_of_their_own(tmp_path):
    trials, files = parts_and_files(tmp_path)
    pack.pack({"train": trials}, tmp_path / "out", title="parts")
    for packed, file in zip(CORPUS.trials(tmp_path / "out", "train"), files, strict=True):
        assert (packed.id, packed.label, packed.part) == (file.id, file.label, None)
        np.testing.assert_array_equal(load_audio(packed.path), load_audio(file.path))


def test_a_part_in_floating_point_is_packed_without_loss(tmp_path):
    samples = np.random.default_rng(0).uniform(-1, 1, 800).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000, "FLOAT")
    trial = Trial("a", tmp_path / "a.wav", part=RecordingPart(0, 500, in_samples=True))
    pack.pack({"train": [trial]}, tmp_path / "out", title="part")
    (packed,) = CORPUS.trials(tmp_path / "out", "train")
    np.testing.assert_array_equal(load_audio(packed.path), samples[:500])


def test_packing_does_not_resume_with_other_parts(tmp_path):
    trials, _ = parts_and_files(tmp_path)
    pack.pack({"train": trials}, tmp_path / "out", title="parts")
    later = [replace(trial, part=replace(trial.part, start=0.25)) for trial in trials]
    with input_error("holds shards of other recordings"):
        pack.pack({"train": later}, tmp_path / "out", title="parts")
