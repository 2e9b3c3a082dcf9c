"""The commands that may come next name folders that hold what the command needs."""

import shlex
import shutil
from pathlib import Path

import pytest
from builders.files import write

from nes2net.cli.next_commands import after_scoring, command_line
from nes2net.data.corpora.part import Part
from nes2net.data.registry import corpora


@pytest.fixture
def database(corpus, tmp_path) -> Path:
    """Recordings and protocols in ``DB/LA``, as users of the archives of 2019 and 2021 have them, and no keys."""
    shutil.copytree(corpus, tmp_path / "DB" / "LA")
    shutil.move(tmp_path / "DB" / "LA" / "keys", tmp_path / "elsewhere")
    return tmp_path / "DB"


def after(name, root):
    """The only command after scoring a corpus."""
    (words,) = after_scoring(Part(name, root), "s.txt")
    return command_line(words)


@pytest.mark.parametrize("folder_of_keys", ["DB", "DB/LA", "."])
def test_the_suggested_command_evaluate_names_the_folder_of_keys_that_was_found_near_the_audio(
    database, tmp_path, folder_of_keys
):
    keys = tmp_path / folder_of_keys / "keys"
    shutil.copytree(tmp_path / "elsewhere", keys)
    command = after("asvspoof2021_la", database)
    keys_folder = Path(shlex.split(command)[-1])
    assert keys_folder in (keys.parent, database)
    assert (keys_folder / keys.relative_to(keys_folder)).is_dir()


def test_no_evaluation_is_suggested_for_recordings_without_labels(tmp_path):
    unlabelled = write(tmp_path / "list.csv", "path\na.wav\nb.wav\n")
    assert after_scoring(Part("generic", unlabelled), "s.txt") == []


def test_the_key_is_not_read_for_the_suggestion_because_a_large_one_takes_seconds(database):
    key = database / "LA" / corpora.get("asvspoof2021_la").key_files[0]
    write(key, "no line of a key")
    assert str(database / "LA") in after("asvspoof2021_la", database / "LA")
