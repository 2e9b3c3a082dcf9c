"""Journals: entries are read back as they were written, and a process may end at any point."""

import itertools
import os
import shutil
import signal
import sys

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error, slow
from builders.files import write
from builders.scored import score_trials

from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.judgements import Scores
from nes2net.lib.storage.files import exclusive_lock
from nes2net.scoring.journal import Journal, JournalRow, journal_path, stamp

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


RUN = {"model": "m"}
FAILURES = {"three more words": "not found", "[1": 'a "reason"\nof two lines', "\u00e4": "bad \udc80 byte"}
SCORES_BY_ID = {"plain": 0.1, "0.5": -1e-30, '["a",': 3.0, 'q"[': 1 / 3, "zero\0": 2.0, "日本": 5.0, "later": 7.0}


@pytest.fixture
def journal_of_scores(tmp_path):
    """The score file of a journal with SCORES_BY_ID and FAILURES; two trials also failed, before or after."""
    out = tmp_path / "s"
    rows = {name: JournalRow(score, "44:1700000000000000000") for name, score in SCORES_BY_ID.items()}
    later = rows.pop("later")
    with Journal(journal_path(out), RUN, Scores().to_json) as journal:
        journal.add(rows, FAILURES)
        journal.add({}, {"later": "not found"})
        journal.add({"later": later})
        journal.add({}, {"plain": "gone"})
    return out


def read_back(out):
    """The scores and failures of the journal of a score file."""
    output = Scores()
    with output.open_kept(out) as opened:
        assert set(opened.stamps.values()) == {"44:1700000000000000000"}
        return {id: opened.value(id) for id in opened.stamps}, opened.failures


def test_ids_and_reasons_of_unusual_characters_are_read_back_from_a_journal(journal_of_scores):
    assert read_back(journal_of_scores) == (SCORES_BY_ID, FAILURES)


@pytest.mark.parametrize("id", ["later", "plain"], ids=["before", "after"])
def test_a_score_in_a_journal_is_read_though_a_failure_of_its_id_stands_before_or_after_it(journal_of_scores, id):
    scores, failures = read_back(journal_of_scores)
    assert scores[id] == SCORES_BY_ID[id]
    assert id not in failures


def test_damaged_lines_of_a_journal_are_skipped(journal_of_scores):
    with open(journal_path(journal_of_scores), "a") as file:
        file.write('damaged\n["one"]\n[1, 2, 3]\n{}\n["x", NaN, "-"]\n["x", Infinity, "-"]\n["x", "1.5", "-"]\n')
        file.write(f'{"[" * 10**5}\n["x",{"1" * 5 * 10**6},"-"]\n["x",[{"9" * 400}],"-"]\n["torn", "rea')
    assert read_back(journal_of_scores) == (SCORES_BY_ID, FAILURES)


@needs_fork
def test_a_pipe_with_the_name_of_a_journal_is_refused(tmp_path):
    """To open it would wait for ever."""
    os.mkfifo(tmp_path / "s.partial.1")
    with input_error(r"s\.partial\.1: is not a regular file"):
        read_back(tmp_path / "s")


def test_a_journal_that_is_a_symbolic_link_is_refused_without_writing_to_its_target(
    spectral_detector, trials, tmp_path
):
    (tmp_path / "elsewhere").touch()
    (tmp_path / "s.partial").symlink_to("elsewhere")
    with input_error(r"s\.partial: is .*remove it"):
        score_trials(spectral_detector, trials, tmp_path / "s", num_samples=2000)
    assert not (tmp_path / "elsewhere").read_bytes()


def test_the_stamp_of_a_file_is_its_size_and_the_time_of_its_last_change(tmp_path):
    path = write(tmp_path / "a", "four")
    os.utime(path, ns=(0, 1))
    assert stamp(path) == "4:1"


def test_the_stamp_of_a_file_that_is_missing_or_cannot_exist_is_a_dash(tmp_path):
    assert {stamp(tmp_path / "none"), stamp("nul\0"), stamp(None), stamp("x" * 5000)} == {"-"}


@pytest.fixture
def trials(tmp_path):
    trials = [Trial(f"utterance_{number}", tmp_path / f"{number}.wav") for number in range(4)]
    for number, trial in enumerate(trials):
        soundfile.write(trial.path, 0.1 * np.random.default_rng(number).standard_normal(4000), 16000)
    return trials


@pytest.fixture
def one_thread():
    """One thread: a forked process can compute with it, and the last bits depend on the number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ends_at(number: int, folder, work) -> bool:
    """Run ``work`` in a process that ends at its ``number``-th opened, renamed or removed file; whether it got that far."""
    child = os.fork()
    if not child:
        remaining = itertools.count(1)

        def count(event, arguments):
            if event in ("open", "os.rename", "os.remove") and str(arguments[0]).startswith(str(folder)):
                if next(remaining) == number:
                    os._exit(9)

        try:
            sys.addaudithook(count)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


def nothing(score, trials, earlier):
    """There was no run before."""


def scores_of_another_run(score, trials, earlier):
    score(earlier, num_samples=1500)


def scores_without_a_file_that_could_not_be_read(score, trials, earlier):
    away = trials[3].path.rename(earlier.parent.parent / "away")
    assert score(earlier).done == 3
    away.rename(trials[3].path)


def content(path) -> set[bytes]:
    """The content of a file, none if it is not there."""
    return {file.read_bytes() for file in path.parent.iterdir() if file == path}


@needs_fork
@pytest.mark.parametrize(
    "run_before, overwrite, step",
    [
        (nothing, False, 5),
        *slow(
            (nothing, False, 1),
            (scores_of_another_run, True, 1),
            (scores_without_a_file_that_could_not_be_read, False, 1),
        ),
    ],
)
def test_a_run_that_ended_at_any_file_operation_is_finished_by_the_same_command(
    spectral_detector, trials, tmp_path, one_thread, run_before, overwrite, step
):
    """The file equals that of an uninterrupted run, nothing else is left behind, and it is never incomplete.

    The fast tests try every fifth operation.
    """

    def score(out, num_samples=2000):
        options = {"batch_size": 2, "overwrite": overwrite}
        return score_trials(spectral_detector, trials, out, num_samples=num_samples, **options)

    score(tmp_path / "whole")
    expected = (tmp_path / "whole").read_bytes()
    earlier = tmp_path / "before" / "s*[1].txt"
    earlier.parent.mkdir()
    run_before(score, trials, earlier)
    for number in itertools.count(1, step):
        folder = shutil.copytree(earlier.parent, tmp_path / str(number))
        out = folder / earlier.name
        ended = ends_at(number, folder, lambda out=out: score(out))
        assert content(out) <= {expected, *content(earlier)}
        score(out)
        assert out.read_bytes() == expected
        assert sorted(path.name for path in folder.iterdir()) == ["s*[1].txt", "s*[1].txt.json"]
        if not ended:
            break
    assert number > 12


@needs_fork
def test_a_second_run_with_the_same_file_is_refused_while_the_first_one_runs(spectral_detector, trials, tmp_path):
    """The first one is a process that holds the lock of the file."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        with exclusive_lock(tmp_path / ".s.lock", ""):
            os.write(write_end, b"x")
            signal.pause()
    os.read(read_end, 1)
    try:
        with input_error("another run is writing .*s: wait for it"):
            score_trials(spectral_detector, trials, tmp_path / "s", overwrite=True)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read_end)
        os.close(write_end)
