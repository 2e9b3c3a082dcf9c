"""Which files of a folder are recordings, and what is said of the others."""

import pytest

from nes2net.data.audio.files import expand_folders, recordings_below


def test_a_linked_folder_is_read_once_and_not_in_circles(tmp_path):
    """By its own path if it lies in the folder, otherwise by its first link."""
    for name in ("set/real/a.wav", "store/b.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folder = tmp_path / "set"
    links = {"again": folder / "real", "near": tmp_path / "store", "next": tmp_path / "store", "up": tmp_path}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (tmp_path / "store" / "back").symlink_to(folder)
    assert recordings_below(folder) == [folder / "near/b.wav", folder / "real/a.wav"]


SUFFIXES = "mp4 mov 3gp mkv mka avi flv mp2 tta wv oga caf w64 rf64 wave aifc snd".split()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_with_the_suffix_of_a_format_that_can_be_read_are_found_in_a_folder(tmp_path, suffix):
    path = tmp_path / f"noise.{suffix}"
    path.touch()
    assert recordings_below(tmp_path) == expand_folders([str(tmp_path)]) == [path]


def test_the_skipped_files_of_a_folder_are_counted_by_suffix_in_one_line(tmp_path, capsys):
    for name in ("a.wav", "b.AMR", "a.dat", "b.dat", "unnamed"):
        (tmp_path / name).touch()
    expand_folders([str(tmp_path)])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert ": 2 .dat, 1 no suffix; to read" in error


def test_texts_and_hidden_files_of_a_folder_are_not_counted_as_skipped(tmp_path, capsys):
    for name in ("a.wav", "notes.txt", ".hidden"):
        (tmp_path / name).touch()
    expand_folders([str(tmp_path)])
    assert capsys.readouterr().err == ""
