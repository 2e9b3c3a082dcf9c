"""Score files: complete, in order, equal to scores computed alone, resumed, never half written."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from builders import input_error
from builders.files import read_json, write
from builders.interruption import journalled
from builders.listed_parts import parts_and_files
from builders.scored import score_trials
from conftest import seeded_detector

from nes2net import Detector
from nes2net.data.audio.read import load_audio
from nes2net.data.audio.waveform import head_crop
from nes2net.data.corpora import asvspoof2021_la
from nes2net.lib.storage import files as atomic
from nes2net.scoring.journal import stamp
from nes2net.scoring.score_file import read_scores


@pytest.fixture
def trials(corpus, tmp_path):
    """Twelve trials whose audio may be replaced."""
    shared = asvspoof2021_la.CORPUS.trials(corpus, "eval")
    folder = shutil.copytree(shared[0].path.parent, tmp_path / "audio")
    return [replace(trial, path=folder / trial.path.name) for trial in shared]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "s.txt"


@pytest.fixture
def score(spectral_detector, trials, out):
    """A function that scores the first 8,000 samples of the trials, four a batch, into ``out``."""

    def score(trials=trials, out=out, detector=spectral_detector, **options):
        return score_trials(detector, trials, out, **{"batch_size": 4, **options})

    return score


def read(path):
    return list(zip(*read_scores(path)))


@pytest.mark.parametrize("num_samples", [8000, None])
def test_a_run_resumed_after_an_interruption_writes_the_file_of_an_uninterrupted_one(score, out, tmp_path, num_samples):
    """The last line of its journal is torn."""
    options = {"num_samples": num_samples, "batch_size": 2}
    score(out=tmp_path / "whole.txt", **options)
    with journalled(stop_after=3):
        score(**options)
    (partial,) = out.parent.iterdir()
    partial.write_text(partial.read_text() + '["LA_E_1000007",0.12')  # torn in the middle of a line
    score(**options)
    assert out.read_bytes() == (tmp_path / "whole.txt").read_bytes()


def test_a_batch_with_a_missing_score_is_scored_again(score, trials, out, tmp_path):
    """Two processes were killed."""
    uninterrupted = tmp_path / "whole.txt"
    run = read_json(score(out=uninterrupted, batch_size=5).record_path)["run"]
    lines = [json.dumps([name, score, stamp(trial.path)]) for trial, (name, score) in zip(trials, read(uninterrupted))]
    write(out.with_name("s.txt.partial"), "\n".join([json.dumps(run), *lines[5:8], lines[8][:12]]))
    write(out.with_name("s.txt.partial.1"), "\n".join([json.dumps(run), *lines[:5], ""]))
    with journalled() as again:
        score(batch_size=5)
    assert [list(scores) for scores in again] == [[t.id for t in batch] for batch in (trials[5:10], trials[10:])]


@pytest.fixture
def interrupted_overwriting(score, out):
    """An old score file, after an interrupted run that was to overwrite it."""
    write(out, "other 1.0\n")
    with journalled(stop_after=1):
        score(overwrite=True)
    return out


def test_an_interrupted_run_that_overwrites_leaves_the_old_file(interrupted_overwriting):
    assert interrupted_overwriting.read_text() == "other 1.0\n"


def test_an_interrupted_run_that_overwrites_is_resumed_by_the_same_command(interrupted_overwriting, score):
    with journalled() as again:
        score(overwrite=True)
    assert sum(map(len, again)) == 8
    assert len(read(interrupted_overwriting)) == 12


def test_old_scores_are_gone_if_a_run_that_overwrites_is_stopped_before_it_writes_its_own(score, out, monkeypatch):
    score(num_samples=16000)
    replacing = atomic.os.replace

    def stop_before_the_scores(source, target):
        if target == out:
            raise KeyboardInterrupt
        replacing(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(atomic.os, "replace", stop_before_the_scores)
        score(overwrite=True)
    assert not out.exists()


def test_a_file_of_another_run_is_replaced_only_with_overwrite(score, spectral_detector):
    score()
    torch.manual_seed(1)
    another_detector = Detector.from_config(spectral_detector.config).eval()
    with input_error(r"s\.txt was made by another run or program.*`overwrite=True`"):
        score(detector=another_detector)
    replaced = score(detector=another_detector, overwrite=True)
    assert read_json(replaced.record_path)["run"]["model"] == another_detector.fingerprint()


def test_a_complete_run_removes_the_journals_of_its_own_run_only(score, out):
    run = json.dumps(read_json(score().record_path)["run"])
    for name, content, stays in (("s.txt.partial.3", run, False), ("s.txt.partial", "{}", True)):
        journal = write(out.with_name(name), f"{content}\n")
        assert score().already_complete
        assert journal.exists() == stays


def test_a_journal_of_another_program_is_refused(score, out):
    write(out.with_name("s.txt.partial"), "something else\n")
    with input_error(r"s\.txt\.partial was made by another run or program"):
        score()


@pytest.fixture
def bad(trials):
    """A trial without its file, and one whose file is cut."""
    trials[1].path.unlink()
    trials[3].path.write_bytes(trials[3].path.read_bytes()[:100])
    return trials[1], trials[3]


@pytest.mark.usefixtures("bad")
def test_bad_files_are_omitted_from_the_score_file(score, out):
    assert score().done == len(read(out)) == 10


def test_the_failures_of_a_run_are_its_bad_files(score, bad):
    """Also in its record."""
    result = score()
    assert list(result.failures) == [trial.id for trial in bad]
    assert read_json(result.record_path)["failures"] == result.failures


def test_a_bad_file_is_named_on_standard_error(score, bad, capsys):
    score()
    assert f"{bad[0].id}.flac not found" in capsys.readouterr().err


def test_the_same_command_scores_only_the_files_that_were_repaired(score, bad, trials, out):
    score(batch_size=1)
    for trial in bad:
        shutil.copy(trials[0].path, trial.path)
    with journalled() as again:
        assert score(batch_size=1).failures == {}
    assert [list(scores) for scores in again[1:]] == [[trial.id] for trial in bad]  # after those of the file
    assert [name for name, _ in read(out)] == [trial.id for trial in trials]


def test_scores_of_a_run_that_cannot_write_its_files_are_taken_over_by_the_next_run(score, out):
    record = out.with_name("s.txt.json")
    record.mkdir(parents=True)  # as on a disk that is full after the journal
    with input_error(r"s\.txt: cannot be written \(.*\); all scores are kept in"):
        score()
    record.rmdir()
    score()
    assert read_json(record)["kept_from_earlier_runs"] == 12


def test_an_empty_list_of_trials_is_refused(score):
    with input_error("no trials"):
        score([])


def test_a_corpus_without_any_readable_file_is_refused(score, trials, tmp_path):
    nowhere = [replace(trial, path=tmp_path / "none.flac") for trial in trials]
    with input_error("not one of 12 utterances could be scored: LA_E_1000001: .*none.flac not found; LA_E"):
        score(nowhere)


def test_impossible_settings_are_refused_before_anything_is_written(score, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for options, message in (
        ({"num_samples": 0}, "`num_samples` must be at least 1, or None for the whole recording, not 0"),
        ({"num_samples": None, "compile": True}, "of one length, as in '4sec'"),
        ({"out": tmp_path / "pipe", "overwrite": True}, "pipe: is a device or a pipe"),
    ):
        with input_error(message):
            score(**options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audio", "pipe"]


def test_a_score_file_without_a_record_of_its_run_is_refused(score, out):
    write(out, "a 1.0\n")
    with input_error("another run or program: pass"):
        score()


def test_a_finished_file_that_was_edited_is_refused(score, out):
    score()
    out.write_bytes(out.read_bytes().replace(b"1", b"2", 1))
    with input_error(r"s\.txt: was cut, edited or replaced.*pass `overwrite=True`"):
        score()


def test_a_finished_file_is_refused_if_audio_of_its_trials_was_replaced(score, trials):
    score()
    os.utime(trials[5].path)  # as copying another file of the same size would
    with input_error(r"s\.txt: audio of its trials was replaced.*pass `overwrite=True`"):
        score()


@pytest.fixture
def interrupted_and_replaced(score, trials):
    """A run was interrupted after six files, and then the audio of the second was replaced by that of the last."""
    with journalled(stop_after=3):
        score(batch_size=2)
    shutil.copy(trials[11].path, trials[1].path)


@pytest.mark.usefixtures("interrupted_and_replaced")
def test_audio_replaced_during_an_interruption_is_counted(score, capsys):
    score(batch_size=2)
    assert "1 of 6 files scored earlier were replaced since" in capsys.readouterr().err


@pytest.mark.usefixtures("interrupted_and_replaced")
def test_audio_replaced_during_an_interruption_is_scored_again(score, trials, out):
    score(batch_size=2)
    scores = dict(read(out))
    assert scores[trials[1].id] == pytest.approx(scores[trials[11].id], abs=1e-6)


def test_in_legacy_train_mode_batch_norm_uses_the_statistics_of_each_utterance_alone(small_model, score, trials, out):
    detector = seeded_detector(small_model)
    score(detector=detector, legacy_train_mode=True)
    assert read(out)[0][1] != pytest.approx(detector.score(trials[0].path, num_samples=8000), abs=1e-3)
    detector.train()
    for trial, (_, written_score) in zip(trials, read(out)):
        with torch.no_grad():
            alone = detector(torch.from_numpy(head_crop(load_audio(trial.path), 8000))[None])[0, 1].item()
        assert written_score == pytest.approx(alone, abs=1e-5)


def test_scores_of_other_parts_are_those_of_another_run(score, out, tmp_path):
    trials, _ = parts_and_files(tmp_path)
    score(trials)
    later = [replace(trial, part=replace(trial.part, start=0.25)) for trial in trials]
    with input_error(r"s\.txt was made by another run or program.*trials"):
        score(later)


def test_a_part_beyond_the_end_is_a_failure_with_the_row_of_the_list(score, tmp_path):
    trials, _ = parts_and_files(tmp_path)
    beyond = replace(trials[0], part=replace(trials[0].part, start=1.9))
    (reason,) = score([beyond, *trials[1:]]).failures.values()
    assert "call.wav lasts 2.005 s" in reason and "parts.csv, line 2" in reason
