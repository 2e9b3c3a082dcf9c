"""In-the-Wild: where its files may lie, with and without labels, and what is refused."""

import pytest
from builders import input_error
from builders.files import folder, write

from nes2net.data.corpora.in_the_wild import CORPUS
from nes2net.data.corpora.trial import Trial

META = 'file,speaker,label\n0.wav,"Obama, Barack",spoof\n1.wav,Alec Guinness,bona-fide\n10.wav,-,spoof\n'


@pytest.mark.parametrize("root", [".", "release_in_the_wild"])
def test_recordings_of_in_the_wild_are_listed_with_labels_and_speakers_of_its_key(tmp_path, root):
    """Sorted by the names of their files."""
    audio = folder(tmp_path / "release_in_the_wild")
    for name in ("10.wav", "1.wav", "0.wav"):
        write(audio / name)
    write(audio / "meta.csv", META)
    assert CORPUS.trials(tmp_path / root) == [
        Trial("0", audio / "0.wav", "spoof", "Obama, Barack"),
        Trial("1", audio / "1.wav", "bonafide", "Alec Guinness"),
        Trial("10", audio / "10.wav", "spoof"),
    ]


def test_a_recording_of_in_the_wild_that_its_key_lacks_is_listed_without_a_label(tmp_path):
    for name in ("10.wav", "7.wav"):
        write(tmp_path / name)
    write(tmp_path / "meta.csv", META)
    assert CORPUS.trials(tmp_path)[-1] == Trial("7", tmp_path / "7.wav")


@pytest.mark.parametrize("key", [".", "release_in_the_wild", "release_in_the_wild/meta.csv"])
def test_the_key_of_in_the_wild_is_found_from_each_root_or_file(tmp_path, key):
    write(tmp_path / "release_in_the_wild/meta.csv", META)
    keys = [(t.id, t.label, t.path) for t in CORPUS.keys(tmp_path / key, "eval")]
    assert keys == [("0", "spoof", None), ("1", "bonafide", None), ("10", "spoof", None)]


def test_a_folder_of_in_the_wild_without_wav_files_is_refused(tmp_path):
    with input_error(r"holds no \.wav files; give `root`"):
        CORPUS.trials(tmp_path)


def test_recordings_of_in_the_wild_are_listed_without_labels_if_its_key_is_missing(tmp_path):
    write(tmp_path / "1.wav")
    assert CORPUS.trials(tmp_path) == [Trial("1", tmp_path / "1.wav")]


def test_a_key_of_in_the_wild_written_on_windows_is_read(tmp_path):
    """With a byte order mark and the line ends of Windows."""
    windows = b"\xef\xbb\xbf" + META.replace("\n", "\r\n").encode()
    (folder(tmp_path / "labels") / "meta.csv").write_bytes(windows)
    assert [t.id for t in CORPUS.keys(tmp_path / "labels")] == ["0", "1", "10"]
