"""Folders of splits under other names, and what `nes2net data check` says that it did not read."""

import numpy as np
import pytest
import soundfile
from builders import input_error
from builders.files import write

from nes2net.data.corpora import in_the_wild
from nes2net.data.corpora.check import CorpusCheck, check_corpus
from nes2net.data.corpora.generic import CORPUS


def make(root, *names):
    for name in names:
        write(root / name)
    return root


def unread(root, **options):
    check: CorpusCheck = check_corpus(CORPUS, root, **options)
    return sorted(check.unread)


CLASSES = ("real/x.wav", "fake/x.wav")


@pytest.mark.parametrize(
    "folders",
    [
        ("training", "validation", "testing"),
        ("Train", "Dev", "Test"),
        ("TRAINING", "Valid", "Testing"),
        ("train", "val", "evaluation"),
    ],
)
def test_folders_of_splits_are_found_by_each_of_their_usual_names(tmp_path, folders):
    for folder in folders:
        make(tmp_path / folder, *CLASSES)
    assert CORPUS.find_splits(tmp_path) == ("train", "dev", "eval")
    for split, folder in zip(("train", "dev", "eval"), folders):
        trials = CORPUS.trials(tmp_path, split)
        assert [trial.id for trial in trials] == [f"{folder}/fake/x", f"{folder}/real/x"]
        assert {trial.phase for trial in trials} == {split}


@pytest.mark.parametrize("name, separator", [("Training.csv", ","), ("train.TSV", "\t")])
def test_the_list_of_a_split_is_found_whatever_the_case_of_its_name(tmp_path, name, separator):
    write(tmp_path / name, "path,label\na.wav,real\n".replace(",", separator))
    assert CORPUS.find_splits(tmp_path) == ("train",)
    (trial,) = CORPUS.trials(tmp_path)
    assert trial.phase == "train"


@pytest.mark.parametrize("names", [("test", "testing"), ("Train", "train"), ("dev", "validation")])
def test_two_folders_whose_names_stand_for_one_split_are_refused(tmp_path, names):
    for name in names:
        make(tmp_path / name, *CLASSES)
    with input_error("both .* and .* stand for .*; rename or remove one"):
        CORPUS.trials(tmp_path)


def test_check_names_the_files_of_a_corpus_folder_that_are_not_read(tmp_path):
    """Recordings are counted by folder."""
    make(tmp_path, *(f"train/{name}" for name in CLASSES))
    make(tmp_path, "test2/real/a.wav", "test2/real/b.wav", "loose.wav", "train/c.wav")
    make(tmp_path, "labels.txt", "protocol.CSV", "keys.json")
    assert unread(tmp_path) == [
        ". (1 recording)",
        "keys.json",
        "labels.txt",
        "protocol.CSV",
        "test2/real (2 recordings)",
        "train (1 recording)",
    ]


def test_check_names_lists_below_the_root_that_are_not_read_but_no_transcripts(tmp_path):
    make(tmp_path, *(f"train/{name}" for name in CLASSES))
    make(tmp_path, "train/real/old.csv", "train/real/x.txt")
    assert unread(tmp_path) == ["train/real/old.csv"]


def test_check_does_not_name_as_unread_what_was_read_by_another_path(tmp_path, monkeypatch):
    """A list in an absolute path, label files of Audacity, and a folder that a link leads to."""
    monkeypatch.chdir(tmp_path)
    soundfile.write(write(tmp_path / "store/a.wav"), np.full(16000, 0.1), 16000)
    write(tmp_path / "store/a.labels.txt", "0.25\t0.5\tfake\n")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/store").symlink_to(tmp_path / "store")
    file = write(tmp_path / "set/list.csv", "path,label\n../store/a.wav,fake\n")
    soundfile.write("set/b.wav", np.full(16000, 0.1), 16000)
    write(tmp_path / "set/b.labels.txt", "0.25\t0.5\tfake\n")
    file.write_text(file.read_text() + "b.wav,fake\n")
    assert unread("set", protocols=file.absolute()) == []


def test_check_does_not_name_read_me_files_and_licences(tmp_path):
    make(tmp_path, *(f"train/{name}" for name in CLASSES))
    make(tmp_path, "notes/README.md", "README.txt", "LICENSE.txt", "license.md", "LICENCE.csv")
    assert unread(tmp_path) == []


def test_check_names_folders_of_labels_beside_a_single_list_as_not_read(tmp_path):
    make(tmp_path, *CLASSES, "clips/a.wav")
    write(tmp_path / "mine.csv", "path,label\nclips/a.wav,real\n")
    assert unread(tmp_path) == ["fake (1 recording)", "real (1 recording)"]


def test_check_names_a_list_of_another_name_beside_the_list_of_a_split_as_not_read(tmp_path):
    make(tmp_path, "a.wav")
    write(tmp_path / "train.csv", "path,label\na.wav,real\n")
    write(tmp_path / "metadata.csv", "path,label\na.wav,real\n")
    assert unread(tmp_path) == ["metadata.csv"]


def test_check_names_columns_that_only_group_trials_and_takes_none_for_labels(tmp_path):
    make(tmp_path, "a.wav")
    write(tmp_path / "list.csv", "path,class,Speaker,target\na.wav,real,Ann,1\n")
    (split_check,) = check_corpus(CORPUS, tmp_path).splits
    assert split_check.notes == ["columns that only group the trials: class, target"]
    assert split_check.training == "no: its labels are not there"


def test_check_names_files_beside_those_of_a_published_corpus_as_not_read(tmp_path):
    make(tmp_path, "0.wav", "1.wav", "extra/2.wav", "other.csv")
    write(tmp_path / "meta.csv", "file,speaker,label\n0.wav,Ann,bona-fide\n1.wav,Ann,spoof\n")
    check = check_corpus(in_the_wild.CORPUS, tmp_path, subset=True)
    assert sorted(check.unread) == ["extra (1 recording)", "other.csv"]
