"""What a process knows of itself: whether it is the first of torchrun's processes that fails."""

import pytest

from nes2net.cli.main import main
from nes2net.lib.process.this_process import is_first_to_fail


@pytest.fixture
def process_of_torchrun(tmp_path, monkeypatch):
    """A function that makes this process the one of torchrun with this number on this machine."""

    def become(number):
        folder = tmp_path / "attempt_0" / str(number)
        folder.mkdir(parents=True)
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(folder / "error.json"))

    return become


def test_one_process_of_torchrun_is_the_first_that_fails(process_of_torchrun):
    process_of_torchrun(1)
    assert is_first_to_fail()
    process_of_torchrun(0)
    assert not is_first_to_fail()


def test_a_process_that_cannot_ask_the_others_counts_as_the_first_that_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "gone" / "0" / "error.json"))
    assert is_first_to_fail()
    assert is_first_to_fail()


def test_without_torchrun_every_process_is_the_first_that_fails(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    assert is_first_to_fail()
    assert is_first_to_fail()


def test_an_error_of_all_processes_of_torchrun_is_printed_by_one(process_of_torchrun, capsys, tmp_path):
    for number in range(2):
        process_of_torchrun(number)
        assert main(["evaluate", "in_the_wild", str(tmp_path / "scores.txt")]) == 2
    assert capsys.readouterr().err.count("protocol of In-the-Wild eval not found") == 1
