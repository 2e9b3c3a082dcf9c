"""`train.log`: the lines of a run, appended, and no reason for a run to end."""

import re
from pathlib import Path

import pytest
from builders.runs import folder_of

from nes2net.lib.output.progress import SECONDS
from nes2net.training.run import train
from nes2net.training.run_log import LOG_FILE, RunLog
from nes2net.training.validation import Validator

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


def without_times(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(re.match(STAMP, line) for line in lines)
    return [re.sub(STAMP, "", line) for line in lines]


@pytest.fixture
def values(recipe):
    return recipe(augment={"algo": 4})


@pytest.fixture
def first(values, monkeypatch):
    """The lines of the log of a run that ended in its second validation, and printed all its progress."""
    run = Validator.run

    def fail_in_epoch_2(validator, epoch, with_graph):
        if epoch == 2:
            raise ZeroDivisionError("division by zero")
        return run(validator, epoch, with_graph)

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setenv(SECONDS, "1e-9")
        patch.setattr(Validator, "run", fail_in_epoch_2)
        train(values)
    return without_times(folder_of(values) / LOG_FILE)


def test_the_log_of_a_run_holds_every_line_that_the_run_printed(capsys, first):
    printed = capsys.readouterr()
    lines_of_terminal = [
        *printed.out.splitlines(),
        *(re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in printed.err.splitlines()),
    ]
    assert lines_of_terminal
    assert set(lines_of_terminal) <= set(first)


def test_the_first_progress_line_of_an_epoch_has_no_loss_and_the_second_has_one(first):
    for epoch in (1, 2):
        lines = [line for line in first if re.match(rf"epoch {epoch} of \d+: step [12] ", line)]
        assert ["loss" in line for line in lines] == [False, True]


def test_the_log_of_a_run_that_failed_ends_with_its_error(first):
    assert first[-1] == "ended by ZeroDivisionError: division by zero"


def test_a_resumed_run_appends_to_the_log_of_its_first_part(values, first):
    """The second part begins with the same line as the first."""
    train(values)
    lines = without_times(folder_of(values) / LOG_FILE)
    assert lines[: len(first)] == first
    assert lines[len(first)] == first[0]


def written(path, *lines):
    log = RunLog(Path(path))
    log.open()
    for line in lines:
        log.write(line)
    log.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "path, reason", [(f"{__file__}/{LOG_FILE}", "cannot be written"), ("/dev/full", "No space left")]
)
def test_a_log_that_cannot_be_written_is_only_a_warning(path, reason, capsys):
    written(path, "a", "b")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ")
    assert reason in line


def test_a_warning_is_given_instead_of_a_log_if_its_file_is_a_link_to_another_file(tmp_path, capsys):
    (tmp_path / "elsewhere").touch()
    (tmp_path / LOG_FILE).symlink_to("elsewhere")
    written(tmp_path / LOG_FILE, "a", "b")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {tmp_path / LOG_FILE}: is a link, ")
    assert not (tmp_path / "elsewhere").read_bytes()


def test_control_characters_of_a_file_name_are_escaped_in_the_log(tmp_path):
    written(tmp_path / LOG_FILE, "left out: \x1b[2J\udcff.wav")
    assert without_times(tmp_path / LOG_FILE) == ["left out: \\x1b[2J\\udcff.wav"]
