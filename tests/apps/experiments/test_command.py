"""`nes2net experiment` on a corpus of a few seconds: whole, again, interrupted, failed, in processes."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from builders import PATIENCE
from builders.experiments import LA, experiment_file
from builders.files import read_json, write
from builders.hub_server import use_cache
from builders.words_at_once import speaking_at_once  # noqa: F401

from nes2net.apps.experiments import jobs
from nes2net.cli.main import main
from nes2net.models.frontends.sizes import SIZES
from nes2net.training.selection import best_epochs

WILD = {"name": "wild", "corpus": "in_the_wild", "root": "${data}/release_in_the_wild"}


def words(path: Path, *more: str) -> list[str]:
    return f"experiment run {path} --out {path.parent / 'out'} --device cpu --workers 0".split() + list(more)


@pytest.fixture
def run(output):
    """A function that runs an experiment, which must end with this status: what it prints."""
    return lambda path, *more, status=0: output(words(path, *more), status)


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def done(corpus, tmp_path_factory):
    """The folder of a finished experiment."""
    folder = tmp_path_factory.mktemp("done")
    assert main(words(experiment_file(folder, corpus))) == 0
    return folder


@pytest.fixture
def folder(done, tmp_path):
    """A copy of the finished experiment."""
    return shutil.copytree(done, tmp_path / "copy")


@pytest.fixture
def planned(folder, corpus, run):
    """A function that changes the file of the copy, and returns the lines of a dry run."""

    def lines(*more, **changes):
        return run(experiment_file(folder, corpus, **changes), "--dry-run", *more).out.splitlines()

    return lines


def test_the_table_of_a_finished_experiment_says_that_it_is_complete(done):
    """And names pages of reports that exist."""
    table = read_json(done / "out/table.json")
    assert table["complete"]
    pages = [done / "out" / measurement["page"] for measurement in table["measured"]]
    assert pages
    assert all(page.is_file() for page in pages)


def test_the_table_of_an_experiment_has_the_best_and_the_mean_eer_over_seeds(done):
    out = done / "out"
    table = read_json(out / "table.json")["tables"][0]
    for row, average in zip(table["rows"], ("best1", "best2"), strict=True):
        name = row["on"]["set"]
        reports = [read_json(out / f"reports/seed{seed}/{average}/{name}.json") for seed in (1, 2)]
        eers = [report["tables"][0]["rows"][0]["eer"]["value"] for report in reports]
        assert row["eer"]["value"] == min(eers)
        assert row["mean"]["value"] == pytest.approx(sum(eers) / 2)


def test_the_table_says_that_trials_are_not_the_official_ones(done):
    assert "wild: not the official trials of In-the-Wild" in (done / "out/table.html").read_text()


def test_an_experiment_writes_the_same_score_file_as_nes2net_score_with_its_checkpoint(done, corpus, command):
    out = done / "out"
    (folder,) = out.glob("models/*_seed2")
    checkpoint = folder / f"Averaged_Model_IDs_{'_'.join(map(str, best_epochs(folder, 2, 'val_loss_wo_aug')))}.pth"
    score = f"score in_the_wild {corpus}/release_in_the_wild --model {checkpoint} --samples full --out {done}/alone.txt"
    assert command(f"{score} --device cpu --workers 0")[0] == 0
    assert (done / "alone.txt").read_bytes() == (out / "scores/seed2/best2/wild.txt").read_bytes()


def test_finished_jobs_of_an_experiment_are_not_done_again(folder, corpus, monkeypatch, run):
    path = experiment_file(folder, corpus)
    before = files(folder / "out")
    for name in ("train", "average", "score_corpus", "evaluate", "_load_detector"):
        monkeypatch.setattr(jobs, name, lambda *_, **__: pytest.fail("done again"))
    run(path)
    assert files(folder / "out") == before


def test_a_dry_run_names_what_will_be_downloaded_with_its_size(tmp_path, corpus, run, monkeypatch):
    use_cache(monkeypatch, tmp_path / "hf", offline=True)
    overrides = {"model.frontend": "xlsr_300m", "ssl_checkpoint": "xlsr_300m"}
    path = experiment_file(tmp_path, corpus, overrides=overrides)
    file = SIZES["xlsr_300m"].published
    expected = f"to download: xlsr_300m, SHA-256 {file.sha256}, 3.8 GB, from {file.url}"
    assert run(path, "--dry-run").out.splitlines()[:2] == ["nothing is missing", expected]
    write(tmp_path / "hf/assets/nes2net/models/xlsr_300m/xlsr2_300m.pt")
    assert "to download" not in run(path, "--dry-run").out


def to_do(lines):
    """The names of the jobs that a dry run lists as to do."""
    return [line.split("  ")[0] for line in lines[6:] if line.endswith("to do")]


def test_if_one_report_of_an_experiment_is_lost_only_its_evaluation_is_to_do(folder, planned):
    (folder / "out/reports/seed1/best1/wild.json").unlink()
    assert to_do(planned()) == ["evaluate seed1 best1 wild"]


def test_only_the_jobs_that_a_change_of_an_experiment_concerns_are_to_do(corpus, tmp_path, planned):
    """Another seed, other overrides, and another folder of keys, by which a set is only evaluated again."""
    added = to_do(planned(seeds=[1, 2, 3]))
    assert len(added) == 5
    assert all("seed3" in name for name in added)
    assert "10 jobs, 0 done, 10 to do" in planned("train.lr=0.5")[5]
    (tmp_path / "keys").symlink_to(corpus)
    other_keys = {**WILD, "protocol": "full", "keys": str(tmp_path / "keys/release_in_the_wild")}
    assert [name.split()[0] for name in to_do(planned(evaluate=[other_keys]))] == ["evaluate"] * 4


def test_scores_by_a_checkpoint_of_other_settings_are_to_be_made_and_evaluated_again(folder, planned):
    """The name of the checkpoint is the same, and the record of the scores tells its learning rate."""
    record = folder / "out/scores/seed2/best1/wild.txt.json"
    record.write_text(record.read_text().replace("_lr0.01_", "_lr0.5_"))
    assert {*to_do(planned())} == {"score seed2 best1 wild", "evaluate seed2 best1 wild"}


def test_a_score_file_replaced_by_that_of_another_checkpoint_is_made_again_only_with_overwrite(folder, corpus, run):
    path = experiment_file(folder, corpus, seeds=[2], averages=[1])
    scores = folder / "out/scores/seed2/best1/wild.txt"
    before = scores.read_bytes()
    shutil.copy(folder / "out/scores/seed2/best2/wild.txt", scores)
    assert "was cut, edited or replaced" in run(path, status=1).err
    run(path, "--overwrite")
    assert scores.read_bytes() == before


def test_only_checkpoints_of_the_seed_of_one_that_is_written_again_are_to_be_scored_again(folder, planned):
    (trained,) = folder.glob("out/models/*_seed1")
    (best,) = best_epochs(trained, 1, "val_loss_wo_aug")
    os.utime(trained / f"epoch_{best}.pth")
    states = {" ".join(line.split()[1:3]): line.split()[4] for line in planned() if line.startswith("score ")}
    assert [states[name] for name in ("seed1 best1", "seed2 best1", "seed2 best2")] == ["to", "done", "done"]


def test_an_interrupted_experiment_writes_no_table_and_resumes_to_the_same_scores(
    done, folder, corpus, monkeypatch, run
):
    path = experiment_file(folder, corpus, seeds=[2])
    table = folder / "out/table.json"
    table.unlink()
    for name in ("scores", "reports"):
        shutil.rmtree(folder / "out" / name)
    score = jobs.score_corpus
    calls = []

    def interrupted(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(PATIENCE)
        return score(*args, **options)

    monkeypatch.setattr(jobs, "score_corpus", interrupted)
    run(path, status=75)
    assert not table.exists()
    # two scorings, one of them begun twice
    run(path)
    assert len(calls) == 3
    for name in ("scores/seed2/best1/wild.txt", "scores/seed2/best2/wild.txt"):
        assert (folder / "out" / name).read_bytes() == (done / "out" / name).read_bytes()


def test_a_job_that_needs_a_failed_one_is_not_begun(folder, corpus, run):
    err = run(experiment_file(folder, corpus, averages=[1, 3]), status=1).err
    assert "\nscore seed1 best3 wild: exit status 2: " in err
    assert "evaluate seed1 best3 wild: not begun: it needs: score seed1 best3 wild" in err


def test_an_unexpected_error_fails_only_its_job(folder, corpus, run):
    reports = folder / "out/reports/seed1/best1"
    shutil.rmtree(reports)
    reports.write_text("")
    (folder / "out/reports/seed2/best2/wild.json").unlink()
    err = run(experiment_file(folder, corpus), status=1).err
    assert "evaluate seed1 best1 wild: exit status 1: FileExistsError" in err
    assert (folder / "out/reports/seed2/best2/wild.json").is_file()


def test_all_files_that_an_experiment_lacks_are_listed_before_anything_begins(corpus, tmp_path, run):
    path = experiment_file(tmp_path, corpus, seeds=[1], averages=[1], evaluate=[LA, WILD])
    error = run(path, "--set", f"data={tmp_path / 'none'}", "train.init_from=none.pth", status=2).err
    assert len([line for line in error.splitlines() if line.startswith("  - ")]) == 10
    assert "\n  - protocol of ASVspoof 2019 LA train: not there (looked for" in error
    assert "\n  - checkpoint to start from: " in error
    assert not (tmp_path / "out").exists()


def test_with_allow_missing_the_table_notes_that_a_set_without_data_is_not_measured(folder, corpus, run):
    sets = [LA, {**WILD, "root": str(folder / "none")}]
    path = experiment_file(folder, corpus, seeds=[1], averages=[1], evaluate=sets)
    run(path, "--allow-missing", status=1)
    table = read_json(folder / "out/table.json")
    assert table["notes"] == ["single on wild: 0 of 1 seed is measured"]


def test_an_unreadable_recording_fails_its_set_unless_a_partial_result_is_allowed(folder, corpus, run):
    shutil.copytree(corpus, folder / "data")
    next((folder / "data/ASVspoof2021_LA_eval/flac").glob("*.flac")).write_bytes(b"no audio")
    damaged = {**LA, "root": str(folder / "data")}
    changes = {"seeds": [1], "averages": [1]}
    err = run(experiment_file(folder, corpus, evaluate=[damaged], **changes), status=1).err
    assert "1 of 12 recordings of LA failed, see " in err
    partial = {**damaged, "allow_partial": True}
    out = run(experiment_file(folder, corpus, evaluate=[partial], **changes)).out
    assert "note: LA: a partial result, because scores are missing: seed1" in out
