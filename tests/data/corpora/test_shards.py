"""Corpora in shards: the layouts of the Arena, of `datasets` and of WebDataset, and what may be wrong with them."""

import json

import pytest
from builders import input_error, shards

from nes2net.data.audio.packed import is_there
from nes2net.data.corpora.check import check_corpus
from nes2net.data.corpora.protocol import NotFound
from nes2net.data.corpora.shards import CORPUS
from nes2net.data.corpora.trial import Trial


def arena_rows(names, labels=None, notes=None, **columns):
    """Rows of the Arena's layout, of recordings that are never decoded."""
    files = [f"{name}.flac" for name in names]
    labels = labels or [i % 2 for i in range(len(names))]
    notes = notes or [json.dumps({"utterance_id": name, "speaker": "s1"}) for name in names]
    audio = [(name.encode(), file) for name, file in zip(names, files)]
    return {"path": files, "audio": audio, "label": labels, "notes": notes, **columns}


@pytest.fixture
def arena(tmp_path):
    """Two shards in the layout of the Arena, with three recordings and with two."""
    notes = ['{"utterance_id": "a 1", "speaker": "s", "attack": "-", "year": 2021, "note": null}', "{}", None]
    first, second = (
        shards.write_parquet(tmp_path / f"data/test-0000{i}-of-00002.parquet", shards.table(rows))
        for i, rows in enumerate((arena_rows("abc", notes=notes), arena_rows("de")))
    )
    shards.write_parquet(tmp_path / "data/labels.parquet", shards.table({"label": [0]}))
    (tmp_path / "eval.yaml").write_text("metrics: [eer_percent]")
    return first, second


def test_shards_in_the_layout_of_the_arena_give_trials(arena, tmp_path):
    """Paths and labels are those of the rows, ids and fields those in their notes, or else the id is made of shard and row."""
    first, second = arena
    trials = CORPUS.trials(tmp_path, "eval")
    assert trials[0] == Trial("a%201", first / "0", "bonafide", "s", phase="eval", extra=(("year", "2021"),))
    names = [f"data/{first.name}/{i}" for i in (1, 2)]
    assert [t.id for t in trials] == ["a%201", *names, "d", "e"]
    assert trials[-1].path == second / "1"
    assert [t.target for t in trials] == [1, 0, 1, 1, 0]


def test_the_path_of_one_shard_of_a_corpus_gives_only_the_trials_in_this_shard(arena):
    first, _ = arena
    assert [trial.path for trial in CORPUS.trials(first, "eval")] == [first / str(row) for row in range(3)]


@pytest.mark.usefixtures("arena")
def test_a_split_without_shards_is_refused(tmp_path):
    with input_error("no shard of the split 'train' is there, only of eval"):
        CORPUS.trials(tmp_path, "train")


@pytest.mark.usefixtures("arena")
def test_check_says_that_a_corpus_in_intact_shards_is_complete(tmp_path):
    check = check_corpus(CORPUS, tmp_path)
    assert check.complete
    assert len(check.splits[0].present) == 5
    assert all(map(is_there, check.splits[0].present))


@pytest.mark.parametrize(
    "labels, features, expected",
    [
        ([0, 1, None], {"label": {"names": ["spoof", "bonafide"]}}, ["spoof", "bonafide", None]),
        ([0, 1, 0], {"label": {"names": ["0", "1"]}}, ["bonafide", "spoof", "bonafide"]),
        (["Human", "spoof", ""], None, ["bonafide", "spoof", None]),
        ([0.0, 1.0, None], {}, ["bonafide", "spoof", None]),
    ],
)
def test_labels_of_shards_are_read_from_words_from_0_and_1_or_from_numbers_of_named_classes(
    labels, features, expected, tmp_path
):
    shards.write_parquet(tmp_path / "x.parquet", shards.table(arena_rows("abc", labels), features))
    assert [trial.label for trial in CORPUS.trials(tmp_path)] == expected


def test_a_trial_of_a_shard_without_a_label_is_not_in_the_key(tmp_path):
    shards.write_parquet(tmp_path / "x.parquet", shards.table(arena_rows("abc", [0, 1, None])))
    assert [trial.id for trial in CORPUS.keys(tmp_path)] == ["a", "b"]


def test_columns_of_a_saved_dataset_become_fields_of_trials(tmp_path):
    """``save_to_disk`` writes folders of splits, and columns instead of notes."""
    for split in ("train", "validation"):
        columns = {"audio": [(b"x", "a.flac"), (b"y", None)], "label": [0, 1], "id": [f"{split}_1", f"{split}_2"]}
        columns |= {"speaker_id": ["p1", "p2"], "attack": ["bonafide", "A07"], "codec": [None, "opus"]}
        columns |= {"snr": [1.5, None], "embedding": [[1.0], [2.0]]}
        shards.write_arrow(tmp_path / split / "data-00000-of-00001.arrow", shards.table(columns))
    path = tmp_path / "validation/data-00000-of-00001.arrow"
    assert CORPUS.trials(tmp_path, "dev") == [
        Trial("validation_1", path / "0", "bonafide", speaker="p1", phase="dev", extra=(("snr", "1.5"),)),
        Trial("validation_2", path / "1", "spoof", speaker="p2", attack="A07", codec="opus", phase="dev"),
    ]


def test_cache_files_beside_the_shards_of_a_saved_dataset_are_not_read(tmp_path):
    for name in ("data-00000-of-00001", "cache-1"):
        shards.write_arrow(tmp_path / f"train/{name}.arrow", shards.table(arena_rows("a")))
    assert len(CORPUS.trials(tmp_path)) == 1


def test_the_column_split_of_a_shard_divides_its_rows_into_splits(tmp_path):
    table = shards.table(arena_rows("ab", split=["Train", "test"]))
    shards.write_arrow(tmp_path / "x.arrow", table, stream=False)
    assert CORPUS.find_splits(tmp_path) == ("train", "eval")
    assert [trial.id for trial in CORPUS.trials(tmp_path, "eval")] == ["b"]


def test_each_recording_of_a_webdataset_is_a_trial_with_label_and_fields_from_files_of_its_stem(tmp_path):
    members = {"a/utt1.flac": b"1", "a/utt1.json": b'{"label": "fake", "attack": "A1", "f0": 100.0}'}
    members |= {"./utt2.wav": b"2", "utt2.cls": b"0\n", "utt3.mp3": b"3", "utt3.txt": b"spoof"}
    members |= {"utt4.flac": b"4", "utt4.txt": b"was gesagt wird", "utt5.json": b'{"label": 1}'}
    shard = shards.write_tar(tmp_path / "test-000.tar", members)
    assert CORPUS.trials(tmp_path, "eval") == [
        Trial(f"test-000.tar/{name}", shard / name, label, phase="eval", **fields)
        for name, label, fields in (
            ("a/utt1.flac", "spoof", {"attack": "A1", "extra": (("f0", "100"),)}),
            ("utt2.wav", "bonafide", {}),
            ("utt3.mp3", "spoof", {}),
            ("utt4.flac", None, {}),
        )
    ]


FAKE = b'{"label": "fake"}'


@pytest.mark.parametrize(
    "members",
    [
        {"track 0.0 (clean).wav": b"", "track 0.0 (clean).json": FAKE},
        {"a.WAV": b"", "a.JSON": FAKE},
        {"a.wav": b"", "a.wav.json": FAKE},
        {"a.audio.wav": b"", "a.label.txt": b"fake"},
        {"in/talk.1.0.wav": b"", "in/talk.1.0.cls": b"1", "in/talk.1.1.wav": b"", "in/talk.1.1.cls": b"1"},
    ],
)
def test_labels_of_a_webdataset_are_read_although_names_have_dots_capitals_or_two_suffixes(members, tmp_path, capsys):
    shards.write_tar(tmp_path / "test-000.tar", members)
    assert {trial.label for trial in CORPUS.trials(tmp_path)} == {"spoof"}
    assert not capsys.readouterr().err


def test_files_of_a_webdataset_that_are_not_read_are_named(tmp_path, capsys):
    members = {"a.left.wav": b"", "a.right.wav": b"", "a.json": FAKE, "b.wav": b"", "b.cls": b"1", "b.more.cls": b"0"}
    shards.write_tar(tmp_path / "test-000.tar", members)
    assert [trial.label for trial in CORPUS.trials(tmp_path)] == [None, None, "spoof"]
    assert f"not read in the shards of {tmp_path}: a.json, b.more.cls; " in capsys.readouterr().err


def test_shards_without_recordings_are_refused_with_a_note_about_their_files(tmp_path, capsys):
    shards.write_tar(tmp_path / "test-000.tar", {"a.wav.data": b"", "a.wav.label": b"fake"})
    with input_error("holds no trials; give a list or folder of the corpus that has some"):
        CORPUS.trials(tmp_path)
    assert "a.wav.data, a.wav.label; a recording needs a suffix such as .wav" in capsys.readouterr().err


def test_a_hidden_file_of_a_webdataset_is_no_recording(tmp_path):
    shards.write_tar(tmp_path / "test-000.tar", {"a.flac": b"1", "._a.flac": b""})
    assert len(CORPUS.trials(tmp_path)) == 1


WRONG_TABLES = [
    (arena_rows("ab", [0, 2]), "row 1: the label is '2'; expected 0 to 1"),
    (
        arena_rows("ab", ["spoof", "maybe"]),
        "row 1: the label is 'maybe'; expected 0 to 1 .'bonafide, spoof'. or one of bonafide",
    ),
    (arena_rows("ab", [[0], [1]]), "'label' is of type 'list<.*int64>'; expected words or whole numbers"),
    (arena_rows(["a\x1b[2J"]), r"the id 'a\\x1b\[2J' holds control characters"),
    (arena_rows("ab", notes=["{}", "{"]), "row 1: the notes are not JSON"),
    (arena_rows("ab", split=["test", "later"]), "row 1: unknown split 'later'"),
    (arena_rows("aa"), "1 utterance more than once: a; .*x.parquet/0 and .*x.parquet/1 share the id 'a'"),
]
WRONG_TAR_FILES = [
    ({"a.flac": b"", "a.wav": b""}, "shard .*x.tar, a has more than one recording: a.flac, a.wav"),
    ({"a.flac": b"", "a.json": b"{"}, "a.json: the notes are not JSON"),
    ({"a.flac": b"", "a.cls": b"7"}, "a: the label is '7'"),
    ({"a.flac": b"", "a.json": b'{"label": ["fake"]}'}, r"a: the label is .*fake.*; expected 0 .bona fide"),
]


@pytest.mark.parametrize("rows, message", WRONG_TABLES)
def test_a_table_of_malformed_trials_is_refused_with_its_folder_and_fault(rows, message, tmp_path):
    shards.write_parquet(tmp_path / "x.parquet", shards.table(rows))
    with input_error(message) as error:
        CORPUS.keys(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_number_of_a_shard_beyond_the_names_of_its_classes_is_refused(tmp_path):
    one_class = {"label": {"names": ["bonafide"]}}
    shards.write_parquet(tmp_path / "x.parquet", shards.table(arena_rows("ab", [0, 1]), one_class))
    with input_error("row 1: the label is '1'; expected 0 to 0"):
        CORPUS.trials(tmp_path)


@pytest.mark.parametrize("members, message", WRONG_TAR_FILES)
def test_a_tar_file_of_malformed_trials_is_refused(members, message, tmp_path):
    shards.write_tar(tmp_path / "x.tar", members)
    with input_error(message):
        CORPUS.keys(tmp_path)


def refused_shards(path, message, **options):
    with input_error(message):
        CORPUS.trials(path, **options)


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(NotFound, match="no shards; expected"):
        CORPUS.trials(tmp_path)


def test_a_compressed_shard_is_refused(tmp_path):
    shards.write_tar(tmp_path / "x.tar.gz", {"a.flac": b""}, "w:gz")
    refused_shards(tmp_path, r"x.tar.gz is compressed.*decompress")


@pytest.fixture
def damaged_shards(tmp_path):
    """A shard of each kind that is cut off, in a folder of its own."""
    table = shards.table(arena_rows("ab"))
    paths = [
        shards.write_parquet(tmp_path / "parquet/x.parquet", table),
        shards.write_arrow(tmp_path / "arrow/x.arrow", table),
        shards.write_tar(tmp_path / "tar/x.tar", {"a.flac": bytes(2000)}),
    ]
    for path in paths:
        path.write_bytes(path.read_bytes()[: 1500 if path.suffix == ".tar" else -20])
    return paths


def test_a_cut_off_shard_of_any_format_is_refused_with_its_path(damaged_shards):
    for path in damaged_shards:
        refused_shards(path, f"shard {path} cannot be read .*cut off or damaged")


def test_a_folder_with_shards_of_several_formats_is_refused(damaged_shards, tmp_path):
    refused_shards(tmp_path, r"shards of several kinds \(.arrow, .parquet, .tar\)")


def test_an_id_in_two_splits_is_refused_unless_only_one_of_them_is_read(tmp_path):
    for split in ("test", "train"):
        shards.write_parquet(tmp_path / f"{split}-0.parquet", shards.table(arena_rows("ab")))
    refused_shards(tmp_path, "more than once: a, b; .*test-0.parquet/0 and .*train-0.parquet/0 share the id 'a'")
    assert len(CORPUS.trials(tmp_path, "train")) == 2
