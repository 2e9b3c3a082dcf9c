"""Score files: complete, in order, equal to scores computed alone, resumed, never half written."""

import json
import os
import shutil
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch

from nes2net import Detector, InputError
from nes2net.audio.read import load_audio
from nes2net.audio.waveform import head_crop
from nes2net.corpora import asvspoof2021_la
from nes2net.machine import files as atomic
from nes2net.scoring.corpus import score_trials
from nes2net.scoring.journal import Journal, stamp


@pytest.fixture
def detector(spectral_detector):
    return spectral_detector


@pytest.fixture
def trials(corpus):
    return asvspoof2021_la.CORPUS.trials(corpus, "eval")


SHORT = {"num_samples": 8000, "num_workers": 0}


def read(path):
    return [(line.split(" ")[0], float(line.split(" ")[1])) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("num_samples, batch_size", [(8000, 5), (64600, 1), (None, 5)])
def test_each_score_equals_the_one_computed_alone(detector, trials, tmp_path, num_samples, batch_size):
    out = tmp_path / "scores.txt"
    result = score_trials(detector, trials, out, num_samples=num_samples, batch_size=batch_size, num_workers=0)
    assert (result.total, result.done, result.failures) == (12, 12, {})
    expected = [(t.id, detector.score(t.path, num_samples=num_samples)) for t in trials]
    found = read(out)
    assert [name for name, _ in found] == [name for name, _ in expected]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], atol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scores.txt", "scores.txt.json"]


@contextmanager
def journalled(stop_after=None):
    """The scores of each batch that enters the journal; Ctrl-C is pressed after a number of batches."""
    add, added = Journal.add, []

    def adding(journal, scores, failures=None):
        add(journal, scores, failures)
        if scores:
            added.append(scores)
        if len(added) == stop_after:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt) if stop_after else nullcontext():
        patch.setattr(Journal, "add", adding)
        yield added


@pytest.mark.parametrize("num_samples", [8000, None])
def test_an_interrupted_run_continues(detector, trials, tmp_path, num_samples):
    whole, torn = tmp_path / "whole.txt", tmp_path / "torn.txt"
    options = {"num_samples": num_samples, "batch_size": 2, "num_workers": 0}
    score_trials(detector, trials, whole, **options)

    with journalled(stop_after=3):
        score_trials(detector, trials, torn, **options)
    assert not torn.exists()
    partial = tmp_path / "torn.txt.partial"
    kept = partial.read_text().splitlines()[1:]
    partial.write_text(partial.read_text() + '["LA_E_1000007",0.12')  # torn in the middle of a line
    with journalled() as again:
        result = score_trials(detector, trials, torn, **options)
    assert sum(map(len, again)) == 12 - len(kept) > 0 and result.done == 12
    assert torn.read_bytes() == whole.read_bytes()
    assert json.loads(result.record_path.read_text())["kept_from_earlier_runs"] == len(kept)
    assert not partial.exists()


def test_a_batch_with_a_missing_score_is_scored_completely(detector, trials, tmp_path):
    """Its scores then equal those of an uninterrupted run to the last bit."""
    options = {"num_samples": 8000, "batch_size": 5, "num_workers": 0}
    score_trials(detector, trials, tmp_path / "whole.txt", **options)
    run = json.loads((tmp_path / "whole.txt.json").read_text())["run"]
    lines = [json.dumps([name, score, stamp(t.path)]) for t, (name, score) in zip(trials, read(tmp_path / "whole.txt"))]
    (tmp_path / "torn.txt.partial").write_text("\n".join([json.dumps(run), *lines[:8], lines[8][:12]]))
    with journalled() as again:
        score_trials(detector, trials, tmp_path / "torn.txt", **options)
    assert [list(scores) for scores in again] == [[t.id for t in part] for part in (trials[5:10], trials[10:])]
    assert (tmp_path / "torn.txt").read_bytes() == (tmp_path / "whole.txt").read_bytes()


def test_an_interrupted_overwriting_run_continues(detector, trials, tmp_path):
    """An interrupted run with --overwrite keeps its own scores and has replaced nothing yet."""
    out = tmp_path / "scores.txt"
    out.write_text("other 1.0\n")
    with journalled(stop_after=1):
        score_trials(detector, trials, out, num_samples=8000, batch_size=4, num_workers=0, overwrite=True)
    assert out.read_text() == "other 1.0\n"
    with journalled() as again:
        score_trials(detector, trials, out, num_samples=8000, batch_size=4, num_workers=0, overwrite=True)
    assert sum(map(len, again)) == 8 and len(read(out)) == 12


def test_old_scores_never_stand_beside_a_new_record(detector, trials, tmp_path, monkeypatch):
    out = tmp_path / "scores.txt"
    score_trials(detector, trials, out, num_samples=16000, num_workers=0)
    replace = atomic.os.replace

    def stop_before_the_scores(source, target):
        if target == out:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(atomic.os, "replace", stop_before_the_scores)
        score_trials(detector, trials, out, **SHORT, overwrite=True)
    assert not out.exists()
    score_trials(detector, trials, out, **SHORT)
    assert len(read(out)) == 12


def test_a_complete_file_is_kept(detector, trials, tmp_path):
    out = tmp_path / "scores.txt"
    score_trials(detector, trials, out, **SHORT)
    before = out.stat().st_mtime_ns
    assert score_trials(detector, trials, out, **SHORT).already_complete
    assert out.stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"scores\.txt exists.*`overwrite=True`"):
        score_trials(detector, trials, out, num_samples=16000, num_workers=0)
    torch.manual_seed(1)
    other = Detector.from_config(detector.config).eval()
    with pytest.raises(InputError, match="another run"):
        score_trials(other, trials, out, **SHORT)
    result = score_trials(other, trials, out, **SHORT, overwrite=True)
    assert result.done == 12 and not result.already_complete
    # Killed after finishing, before it removed its journals; the journal of another run stays.
    (tmp_path / "scores.txt.partial.3").write_text(json.dumps(json.loads(result.record_path.read_text())["run"]) + "\n")
    assert score_trials(other, trials, out, **SHORT).already_complete
    assert not (tmp_path / "scores.txt.partial.3").exists()
    (tmp_path / "scores.txt.partial").write_text("{}\n")
    assert score_trials(other, trials, out, **SHORT).already_complete
    assert (tmp_path / "scores.txt.partial").exists()
    (tmp_path / "x.partial").write_text("something else\n")
    with pytest.raises(InputError, match=r"x\.partial was left by another run or program"):
        score_trials(detector, trials, tmp_path / "x", **SHORT)


def test_bad_files_are_named_and_left_out(detector, corpus, tmp_path, capsys):
    root = tmp_path / "corpus"
    shutil.copytree(corpus, root)
    folder = root / "ASVspoof2021_LA_eval" / "flac"
    good = (folder / "LA_E_1000004.flac").read_bytes()
    (folder / "LA_E_1000002.flac").unlink()
    (folder / "LA_E_1000004.flac").write_bytes(good[:100])
    trials, out = asvspoof2021_la.CORPUS.trials(root), tmp_path / "scores.txt"
    result = score_trials(detector, trials, out, **SHORT)
    assert result.done == 10
    assert list(result.failures) == ["LA_E_1000002", "LA_E_1000004"]
    assert "LA_E_1000002.flac not found" in capsys.readouterr().err
    assert len(read(out)) == 10
    assert json.loads((tmp_path / "scores.txt.json").read_text())["failures"] == result.failures
    # repaired: the same command scores only those files
    (folder / "LA_E_1000002.flac").write_bytes(good)
    (folder / "LA_E_1000004.flac").write_bytes(good)
    result = score_trials(detector, trials, out, **SHORT)
    assert result.done == 12 and not result.failures
    assert [name for name, _ in read(out)] == [t.id for t in trials]
    (folder / "LA_E_1000004.flac").unlink()
    with pytest.raises(InputError, match="LA_E_1000004"):
        score_trials(detector, trials, tmp_path / "b", **SHORT, on_error="raise")


def test_nothing_to_score(detector, tmp_path, trials):
    with pytest.raises(InputError, match="no trials"):
        score_trials(detector, [], tmp_path / "s", num_samples=8000)
    nowhere = [t.__class__(t.id, tmp_path / "none.flac") for t in trials]
    with pytest.raises(
        InputError, match="not one of 12 trials could be scored: LA_E_1000001: .*none.flac not found; LA_E"
    ):
        score_trials(detector, nowhere, tmp_path / "s", **SHORT)
    # The disk is mounted now: the files are tried again.
    shutil.copy(trials[0].path, tmp_path / "none.flac")
    assert score_trials(detector, nowhere, tmp_path / "s", **SHORT).done == 12
    with torch.no_grad():
        detector.backend.last_layer.bias.fill_(float("nan"))
    with pytest.raises(InputError, match="not one of 12 trials could be scored: .*nan"):
        score_trials(detector, trials, tmp_path / "t", **SHORT)


def test_wrong_arguments(detector, trials, tmp_path):
    for options, message in (
        ({"num_samples": -5}, "`num_samples` is at least 1, or None for the whole recording, not -5"),
        ({"num_samples": 0}, "`num_samples` is at least 1, or None for the whole recording, not 0"),
        ({"batch_size": 0}, "`batch_size` is at least 1, not 0"),
        ({"on_error": "ignore"}, "`on_error` is 'skip' or 'raise'"),
        ({"num_samples": None, "compile": True}, "of one length, as in '4sec'"),
        ({"about": {("a", "b"): 1}}, "cannot be written as JSON"),
    ):
        with pytest.raises(InputError, match=message):
            score_trials(detector, trials, tmp_path / "s", **{"num_samples": 8000, **options})
    with pytest.raises(InputError, match="is a folder"):
        score_trials(detector, trials, tmp_path, num_samples=8000)
    assert not list(tmp_path.iterdir())
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: is a device or a pipe"):
        score_trials(detector, trials, tmp_path / "pipe", num_samples=8000, overwrite=True)
    (tmp_path / "s").write_text("a 1.0\n")
    (tmp_path / "s.json").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"s\.json: not a record of scores"):
        score_trials(detector, trials, tmp_path / "s", num_samples=8000)
    (tmp_path / "s.json").unlink()
    with pytest.raises(InputError, match="another run or program: pass"):
        score_trials(detector, trials, tmp_path / "s", num_samples=8000)


def test_a_failing_trial_is_tried_once_per_run(detector, trials, tmp_path, capsys):
    """It is tried again after the run has finished, and by on_error="raise"."""
    missing, out = tmp_path / "missing.flac", tmp_path / "s"
    some = [t if i % 4 else t.__class__(t.id, missing) for i, t in enumerate(trials)]
    options = {"num_samples": 8000, "batch_size": 4, "num_workers": 0}
    with journalled(stop_after=2):
        score_trials(detector, some, out, **options)
    with pytest.raises(InputError, match="LA_E_1000001: audio file .* not found"):
        score_trials(detector, some, out, **options, on_error="raise")
    capsys.readouterr()
    with journalled() as again:
        result = score_trials(detector, some, out, **options)
    assert [list(scores) for scores in again] == [[t.id for t in trials[9:]]]
    assert list(result.failures) == [t.id for t in trials[::4]] and all(result.failures.values()) and result.done == 9
    assert capsys.readouterr().err.count("left out: ") == 1
    shutil.copy(trials[0].path, missing)
    assert score_trials(detector, some, out, **options).done == 12


def test_the_journal_does_not_grow_with_interruptions(detector, trials, tmp_path):
    """Scores of a finished file enter the journal once, before those that are computed later."""
    missing, out = tmp_path / "missing.flac", tmp_path / "s"
    some = [*trials[:11], trials[11].__class__(trials[11].id, missing)]
    options = {"num_samples": 8000, "batch_size": 2, "num_workers": 0}
    score_trials(detector, some, out, **options)
    for lines in (1 + 11, 1 + 11 + 2):
        with journalled(stop_after=1):
            score_trials(detector, some, out, **options)
        assert (tmp_path / "s.partial").read_bytes().count(b"\n") == lines
    result = score_trials(detector, some, out, **options)
    assert result.done == 11 and list(result.failures) == [trials[11].id]


@pytest.fixture
def own_trials(trials, tmp_path):
    """Trials whose audio may be replaced."""
    shutil.copytree(trials[0].path.parent, tmp_path / "own")
    return [t.__class__(t.id, tmp_path / "own" / t.path.name) for t in trials]


@pytest.mark.parametrize(
    "how, complete", [("cut", True), ("edited", False), ("empty", True), ("audio", True), ("audio", False)]
)
def test_a_finished_file_is_not_taken_if_it_or_its_audio_was_changed(detector, own_trials, tmp_path, how, complete):
    out = tmp_path / "s"
    if not complete:
        own_trials[3].path.unlink()
    score_trials(detector, own_trials, out, **SHORT)
    whole, message = out.read_bytes(), "was cut, edited or replaced"
    if how == "audio":
        os.utime(own_trials[5].path)  # as copying another file of the same size would
        message = "audio of its trials was replaced"
    else:
        out.write_bytes({"cut": whole[:-30], "edited": whole.replace(b"1", b"2", 1), "empty": b""}[how])
    with pytest.raises(InputError, match=rf"s: {message}.*pass `overwrite=True`"):
        score_trials(detector, own_trials, out, **SHORT)
    score_trials(detector, own_trials, out, **SHORT, overwrite=True)
    assert out.read_bytes() == whole
    assert score_trials(detector, own_trials, out, **SHORT).already_complete == complete


def test_audio_replaced_during_an_interruption_is_scored_again(detector, own_trials, tmp_path, capsys):
    out, options = tmp_path / "s", {"num_samples": 8000, "batch_size": 2, "num_workers": 0}
    with journalled(stop_after=3):
        score_trials(detector, own_trials, out, **options)
    shutil.copy(own_trials[11].path, own_trials[1].path)
    score_trials(detector, own_trials, out, **options)
    assert "1 of 6 files scored earlier were replaced since" in capsys.readouterr().err
    found = dict(read(out))
    assert found[own_trials[1].id] == pytest.approx(found[own_trials[11].id], abs=1e-6)
    assert score_trials(detector, own_trials, out, **options).already_complete


def test_scores_that_cannot_be_checked_are_not_taken_unseen(detector, own_trials, tmp_path):
    """Neither finished ones, whose record has no checksums, nor those of a journal without stamps."""
    out = tmp_path / "s"
    record_path = score_trials(detector, own_trials, out, **SHORT).record_path
    whole, record = out.read_bytes(), json.loads(record_path.read_text())
    del record["sha256"], record["audio_sha256"]
    record_path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"another SHA-256.*pass `overwrite=True`"):
        score_trials(detector, own_trials, out, **SHORT)
    (tmp_path / "s.partial").write_bytes(json.dumps(record["run"]).encode() + b"\n" + whole)
    out.unlink()
    assert score_trials(detector, own_trials, out, **SHORT).done == 12
    assert out.read_bytes() == whole and json.loads(record_path.read_text())["kept_from_earlier_runs"] == 0


def test_legacy_train_mode_uses_the_statistics_of_one_utterance(small_model, trials, tmp_path):
    torch.manual_seed(0)
    detector, out = Detector.from_config(small_model).eval(), tmp_path / "s"
    options = {"num_samples": 8000, "batch_size": 4, "num_workers": 0, "legacy_train_mode": True}
    score_trials(detector, trials, out, **options)
    assert not any(module.training for module in detector.modules())
    assert score_trials(detector, trials, out, **options).already_complete  # the detector is what it was
    detector.train()
    for trial, (_, score) in zip(trials, read(out)):
        with torch.no_grad():
            alone = detector(torch.from_numpy(head_crop(load_audio(trial.path), 8000))[None])[0, 1].item()
        assert score == pytest.approx(alone, abs=1e-5)
    detector.eval()
    assert read(out)[0][1] != pytest.approx(detector.score(trials[0].path, num_samples=8000), abs=1e-3)


def test_without_a_terminal_lines_say_how_far_it_is(detector, trials, tmp_path, monkeypatch, capsys):
    from nes2net.machine.progress import SECONDS

    monkeypatch.setenv(SECONDS, "1e-9")
    score_trials(detector, trials, tmp_path / "scores.txt", num_samples=8000, batch_size=4, num_workers=0)
    lines = capsys.readouterr().err.splitlines()
    assert [line[9:].split(",")[0] for line in lines] == [f"scoring: utterance {n} of 12" for n in (4, 8, 12)]
    assert "utterances/s" in lines[1] and "× real time" in lines[1] and " left" in lines[1]
