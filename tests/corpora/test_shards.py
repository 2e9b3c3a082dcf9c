"""Corpora in shards: the layouts of the Arena, of `datasets` and of WebDataset, and what may be wrong with them."""

import json

import pyarrow
import pytest
from builders import shards

from nes2net import InputError
from nes2net.audio import tables
from nes2net.audio.packed import is_there
from nes2net.audio.read import load_audio
from nes2net.corpora.check import check_corpus
from nes2net.corpora.protocol import NotFound
from nes2net.corpora.shards import CORPUS
from nes2net.corpora.trial import Trial
from nes2net.registry import corpora


def arena_rows(names, labels=None, notes=None, **further):
    """Rows of the Arena's layout, of recordings that are never decoded."""
    notes = [json.dumps({"utterance_id": name, "speaker": "s1"}) for name in names] if notes is None else notes
    columns = {
        "path": [f"{name}.flac" for name in names],
        "audio": [(name.encode(), f"{name}.flac") for name in names],
        "label": [i % 2 for i in range(len(names))] if labels is None else labels,
        "notes": notes,
    }
    return {**columns, **further}


def test_the_layout_of_the_arena(tmp_path):
    notes = ['{"utterance_id": "a 1", "speaker": "s", "attack": "-", "year": 2021, "note": null}', "{}", None]
    first, second = (tmp_path / "data" / f"test-0000{i}-of-00002.parquet" for i in (0, 1))
    shards.write_parquet(first, shards.table(arena_rows("abc", notes=notes)))
    shards.write_parquet(second, shards.table(arena_rows(["d", "e"])))
    shards.write_parquet(tmp_path / "data" / "labels.parquet", shards.table({"label": [0]}))
    (tmp_path / "eval.yaml").write_text("metrics: [eer_percent]")
    found = CORPUS.trials(tmp_path, "eval")
    assert found[0] == Trial(
        "a%201", first / "0", "bonafide", speaker="s", attack=None, phase="eval", extra=(("year", "2021"),)
    )
    names = [f"data/{first.name}/{i}" for i in (1, 2)]
    assert [t.id for t in found] == ["a%201", *names, "d", "e"] and found[-1].path == second / "1"
    assert [t.target for t in found] == [1, 0, 1, 1, 0] and [t.phase for t in found] == ["eval"] * 5
    assert CORPUS.trials(tmp_path) == found == CORPUS.keys(tmp_path, "eval")
    assert CORPUS.find_splits(tmp_path) == ("eval",)
    assert CORPUS.trials(first, "eval") == [
        Trial(t.id.removeprefix("data/"), t.path, t.label, speaker=t.speaker, phase=t.phase, extra=t.extra)
        for t in found[:3]
    ]
    with pytest.raises(InputError, match="no shard of the split 'train' is there, only of eval"):
        CORPUS.trials(tmp_path, "train")
    check = check_corpus(corpora.get("shards"), tmp_path)
    assert check.complete and len(check.splits[0].present) == 5 and all(map(is_there, check.splits[0].present))
    decoded = check_corpus(CORPUS, tmp_path, decode=True, workers=0)
    assert decoded.splits[0].decoding.unreadable.keys() == {f"data/{t.path.parent.name}/{t.path.name}" for t in found}


@pytest.mark.parametrize(
    "labels, features, expected",
    [
        ([0, 1, None], {"label": {"names": ["spoof", "bonafide"]}}, ["spoof", "bonafide", None]),
        ([0, 1, 1], {"label": {"names": ["real", "fake"]}}, ["bonafide", "spoof", "spoof"]),
        ([0, 1, 0], {"label": {"names": ["0", "1"]}}, ["bonafide", "spoof", "bonafide"]),
        ([0, None, 1], None, ["bonafide", None, "spoof"]),
        (["Human", "spoof", ""], None, ["bonafide", "spoof", None]),
        (["0", "1", None], {}, ["bonafide", "spoof", None]),
        ([0.0, 1.0, None], {}, ["bonafide", "spoof", None]),
    ],
)
def test_labels(labels, features, expected, tmp_path):
    rows = shards.table(arena_rows("abc", labels), features)
    shards.write_parquet(tmp_path / "x.parquet", rows)
    assert [trial.label for trial in CORPUS.trials(tmp_path)] == expected
    assert [trial.label for trial in CORPUS.keys(tmp_path)] == [label for label in expected if label]


def test_arrow_and_columns(tmp_path):
    """What ``save_to_disk`` writes, with folders of splits and columns instead of notes."""
    for split in ("train", "validation"):
        columns = {
            "audio": [(b"x", "a.flac"), (b"y", None)],
            "label": [0, 1],
            "id": [f"{split}_1", f"{split}_2"],
            "speaker_id": ["p1", "p2"],
            "attack": ["bonafide", "A07"],
            "codec": [None, "opus"],
            "snr": [1.5, None],
            "embedding": [[1.0], [2.0]],
        }
        shards.write_arrow(tmp_path / split / "data-00000-of-00001.arrow", shards.table(columns))
        shards.write_arrow(tmp_path / split / "cache-1.arrow", shards.table(columns))
    assert CORPUS.find_splits(tmp_path) == ("train", "dev")
    path = tmp_path / "validation" / "data-00000-of-00001.arrow"
    assert CORPUS.trials(tmp_path, "dev") == [
        Trial("validation_1", path / "0", "bonafide", speaker="p1", phase="dev", extra=(("snr", "1.5"),)),
        Trial("validation_2", path / "1", "spoof", speaker="p2", attack="A07", codec="opus", phase="dev"),
    ]
    shards.write_arrow(
        tmp_path / "all" / "x.arrow", shards.table({**columns, "split": ["Train", "test"]}), stream=False
    )
    assert CORPUS.find_splits(tmp_path / "all") == ("train", "eval")
    assert [trial.id for trial in CORPUS.trials(tmp_path / "all", "eval")] == ["validation_2"]


def test_webdataset(tmp_path):
    shard = shards.write_tar(
        tmp_path / "test-000.tar",
        {
            "a/utt1.flac": b"1",
            "a/utt1.json": b'{"label": "fake", "attack": "A1", "f0": 100.0}',
            "./utt2.wav": b"2",
            "utt2.cls": b"0\n",
            "utt3.mp3": b"3",
            "utt3.txt": b"spoof",
            "utt4.flac": b"4",
            "utt4.txt": b"was gesagt wird",
            "utt5.json": b'{"label": 1}',
            "._utt1.flac": b"",
        },
    )
    assert CORPUS.trials(tmp_path, "eval") == [
        Trial(f"test-000.tar/{name}", shard / name, label, phase="eval", **fields)
        for name, label, fields in (
            ("a/utt1.flac", "spoof", {"attack": "A1", "extra": (("f0", "100"),)}),
            ("utt2.wav", "bonafide", {}),
            ("utt3.mp3", "spoof", {}),
            ("utt4.flac", None, {}),
        )
    ]
    assert check_corpus(CORPUS, tmp_path).complete


@pytest.mark.parametrize(
    "columns, message",
    [
        (arena_rows("ab", [0, 2]), "row 1: the label is '2'; expected 0 to 1"),
        (arena_rows("ab", [0, -1]), "row 1: the label is '-1'"),
        (arena_rows("ab", ["spoof", "maybe"]), "row 1: the label is 'maybe'; expected 0 .bona fide., 1"),
        (arena_rows("ab", [False, True]), "row 0: the label is 'False'"),
        (arena_rows("ab", [[0], [1]]), "'label' is of type 'list<.*int64>'; expected words or whole numbers"),
        (arena_rows("ab", [b"spoof", b"spoof"]), "the column 'label' is of type 'binary'"),
        ({"audio": [(b"a", "a.flac")], "notes": ['{"label": [1]}']}, r"row 0: the label is '\[1\]'"),
        (arena_rows(["a\x1b[2J"]), r"the id 'a\\x1b\[2J' holds control characters"),
        (arena_rows("ab", notes=["{}", "{"]), "row 1: the notes are not JSON"),
        (arena_rows("ab", notes=["[]", "{}"]), "row 0: the notes are not a mapping"),
        (arena_rows("ab", split=["test", "later"]), "row 1: unknown split 'later'"),
        ({"label": [0]}, "expected a column 'audio'.*found 'label'"),
        (arena_rows("aa"), "the id 'a' stands in x.parquet/0 and in x.parquet/1"),
        (arena_rows("ab", [None, None]), "no trial has a label"),
        (arena_rows(""), "holds no trials"),
    ],
)
def test_wrong_tables(columns, message, tmp_path):
    path = shards.write_parquet(tmp_path / "x.parquet", shards.table(columns))
    with pytest.raises(InputError, match=message) as error:
        CORPUS.keys(tmp_path)
    assert str(path) in str(error.value) or str(tmp_path) in str(error.value)


def test_names_of_labels_that_cannot_be_understood(tmp_path):
    for names in (["A01", "A02"], ["bonafide", "vocoded"]):
        shards.write_parquet(tmp_path / "x.parquet", shards.table(arena_rows("ab"), {"label": {"names": names}}))
        with pytest.raises(InputError, match=f"the names of its labels are '{', '.join(names)}'"):
            CORPUS.trials(tmp_path)


@pytest.mark.parametrize(
    "members, message",
    [
        ({"a.flac": b"", "a.wav": b""}, "shard .*x.tar, a has more than one recording: a.flac, a.wav"),
        ({"a.flac": b"", "a.json": b"{"}, "a.json: the notes are not JSON"),
        ({"a.flac": b"", "a.cls": b"7"}, "a: the label is '7'"),
        ({"a.flac": b"", "a.json": b"\xff"}, "a.json: is not text in UTF-8"),
        ({"a.json": b"{}"}, "holds no trials"),
    ],
)
def test_wrong_tar_files(members, message, tmp_path):
    shards.write_tar(tmp_path / "x.tar", members)
    with pytest.raises(InputError, match=message):
        CORPUS.trials(tmp_path)


def test_refused_memory_is_no_damage(tmp_path, monkeypatch):
    """Of libraries, as pyarrow says it, and of Python."""
    path = shards.write_parquet(tmp_path / "x.parquet", shards.table(arena_rows("ab")))

    def refuse(*args):
        raise pyarrow.lib.ArrowMemoryError("malloc of size 9 failed")

    monkeypatch.setattr(tables.ParquetTable, "batches", refuse)
    for read in (lambda: CORPUS.trials(path), lambda: load_audio(path / "0")):
        with pytest.raises(InputError, match=r"needs more memory than there is \(malloc of size 9 failed\)$"):
            read()


def test_shards_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFound, match="no shards; expected"):
        CORPUS.trials(tmp_path)
    shards.write_tar(tmp_path / "x.tar.gz", {"a.flac": b""}, "w:gz")
    with pytest.raises(InputError, match=r"x.tar.gz is compressed.*decompress"):
        CORPUS.trials(tmp_path)
    table = shards.table(arena_rows("ab"))
    for name, write in (("x.parquet", shards.write_parquet), ("x.arrow", shards.write_arrow)):
        path = write(tmp_path / name.replace(".", "_") / name, table)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(InputError, match=f"shard {path} cannot be read .*cut off or damaged"):
            CORPUS.trials(path)
        assert not check_corpus(CORPUS, path.parent, splits=["all"]).complete
    path = shards.write_tar(tmp_path / "tar" / "x.tar", {"a.flac": bytes(2000)})
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match="x.tar cannot be read .*cut off or damaged"):
        CORPUS.trials(path)
    with pytest.raises(InputError, match=r"shards of several kinds \(.arrow, .parquet, .tar\)"):
        CORPUS.trials(tmp_path)
    with pytest.raises(InputError, match="leave out `protocols`"):
        CORPUS.trials(path, protocols=tmp_path)
    first = shards.write_parquet(tmp_path / "two" / "test-0.parquet", table)
    second = shards.write_parquet(tmp_path / "two" / "train-0.parquet", table)
    with pytest.raises(InputError, match=f"'a' stands in {first.name}/0 and in {second.name}/0"):
        CORPUS.trials(tmp_path / "two")
    assert len(CORPUS.trials(tmp_path / "two", "train")) == 2
