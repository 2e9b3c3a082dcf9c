"""Suffixes in any case, ids of names with spaces, and notes of what lies in a folder and is not read."""

import json
from pathlib import PurePosixPath
from unicodedata import normalize

import pytest
from builders import SHARED, input_error, tiny_corpus
from builders.files import write

from nes2net.data.audio import files as audio_files
from nes2net.data.corpora import asvspoof2019_la, asvspoof2021_df
from nes2net.data.corpora.in_the_wild import CORPUS
from nes2net.data.corpora.protocol import check_path
from nes2net.data.registry import corpora

META = "file,speaker,label\n0.wav,A,spoof\n1.wav,B,bona-fide\n2.WAV,C,spoof\n"


@pytest.fixture(autouse=True)
def _notes_are_new():
    audio_files.note_once.cache_clear()


def test_the_trials_of_in_the_wild_are_the_recordings_that_its_published_program_scores(tmp_path, shared):
    """Except that ids have %20 instead of a space."""
    case = json.loads((SHARED / "golden/originals/in_the_wild_suffix.json").read_text())
    for name in case["folder"]:
        write(tmp_path / name)
    write(tmp_path / "meta.csv", META)
    trials = CORPUS.trials(tmp_path)
    assert [trial.id for trial in trials] == [id.replace(" ", "%20") for id in case["theirs"]]


def test_labels_of_in_the_wild_apply_to_recordings_whose_suffix_is_in_another_case(tmp_path):
    for name in ("0.wav", "1.WAV", "2.wav"):
        write(tmp_path / name)
    write(tmp_path / "meta.csv", META)
    trials = CORPUS.trials(tmp_path)
    assert [trial.path.name for trial in trials] == ["0.wav", "1.WAV", "2.wav"]
    assert [trial.label for trial in trials] == ["spoof", "bonafide", "spoof"]


def test_recordings_of_in_the_wild_that_differ_only_in_the_case_of_the_suffix_are_refused(tmp_path):
    write(tmp_path / "1.wav")
    write(tmp_path / "1.WAV")
    with input_error(r"1 utterance more than once: 1; .* share the id '1': rename one"):
        CORPUS.trials(tmp_path)


def test_a_note_counts_the_files_of_in_the_wild_with_another_suffix(tmp_path, capsys):
    for name in ("0.wav", "1.flac", "2.FLAC", "3.mp3", "README"):
        write(tmp_path / name)
    CORPUS.trials(tmp_path)
    note = capsys.readouterr().err
    assert f"skipped in {tmp_path}, because the suffix is not .wav: 2 .flac, 1 .mp3, 1 no suffix; " in note


@pytest.mark.parametrize("corpus, split", [(asvspoof2019_la.CORPUS, "dev"), (asvspoof2021_df.CORPUS, "eval")])
def test_listed_recordings_are_found_whatever_the_case_of_their_suffix(tmp_path, corpus, split):
    root = tiny_corpus.make(tmp_path)
    trials = corpus.trials(root, split)
    first, second, *unchanged = trials
    first.path.rename(first.path.with_suffix(".FLAC"))
    second.path.rename(second.path.with_suffix(".Flac"))
    renamed = corpus.trials(root, split)
    assert [trial.path.suffix for trial in renamed] == [".FLAC", ".Flac"] + [".flac"] * len(unchanged)
    for trial in renamed:
        assert trial.path.is_file()


def test_a_recording_with_the_listed_suffix_is_preferred_to_one_with_the_suffix_in_another_case(tmp_path):
    root = tiny_corpus.make(tmp_path)
    trial = asvspoof2019_la.CORPUS.trials(root, "dev")[0]
    write(trial.path.with_suffix(".FLAC"))
    assert asvspoof2019_la.CORPUS.trials(root, "dev")[0].path == trial.path


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("listed", ["grün/schön.wav", "grün\\schön.wav"])
def test_names_in_another_form_of_unicode_or_with_backslashes_are_found(tmp_path, form, listed):
    """As macOS writes names, or Windows paths."""
    recording = write(tmp_path / normalize(form, "grün") / normalize(form, "schön.wav"))
    path = write(tmp_path / "list.csv", f"path,label\n{normalize('NFC', listed)},bonafide\n")
    (trial,) = corpora.get("generic").trials(path)
    assert trial.path == recording


def test_a_protocol_may_have_backslashes_but_no_path_that_leaves_the_folder(tmp_path):
    assert check_path("a\\b.wav", tmp_path, 1) == PurePosixPath("a/b.wav")
    assert check_path("1:02.wav", tmp_path, 1) == PurePosixPath("1:02.wav")
    for name in ("..\\b.wav", "C:\\b.wav", "\\\\server\\b.wav", "/b.wav"):
        with input_error("expected a path below its folder"):
            check_path(name, tmp_path, 1)


def test_a_list_of_ones_own_finds_recordings_whatever_the_case_of_the_suffix(tmp_path):
    write(tmp_path / "a.WAV")
    path = write(tmp_path / "list.csv", "path,label\na.wav,bonafide\n")
    (trial,) = corpora.get("generic").trials(path)
    assert trial.path.name == "a.WAV"
