"""Commands open each list of a corpus, and each recording, once, even if they ask for trials, labels and parts."""

import shutil
from pathlib import Path

import pytest
from builders import input_error
from builders.files import write
from builders.opened_files import counted_opens, of_lists, read_by_program

from nes2net.cli.next_commands import after_averaging
from nes2net.data.corpora.check import check_corpus
from nes2net.data.corpora.part import Part
from nes2net.data.registry import corpora
from nes2net.lib.storage.text_files import reading_once
from nes2net.training.run import train

#: Score a corpus, evaluate the scores, predict, and train on an excerpt.
PROGRAM = """
from pathlib import Path
from nes2net.cli.main import main
from nes2net.data.corpora.trial import Trial
from nes2net.training.dataset import Examples, TrainingSet
main("score asvspoof2019_la DB --split dev --model model --device cpu --workers 0 --samples 4000 --out scores.txt".split())
main("evaluate asvspoof2019_la scores.txt --keys keys.txt --phase dev".split())
main("predict predicted.flac --model model --device cpu".split())
trial = Trial("a", Path("trained.flac"), "spoof")
assert TrainingSet(Examples([trial], [(800, 8000)]), 8000)[1, 0].error is None
"""


@pytest.fixture(scope="module")
def database(corpus, tmp_path_factory) -> Path:
    """A copy of a corpus with ``list.csv``, which states the parts of its recordings."""
    folder = shutil.copytree(corpus, tmp_path_factory.mktemp("lists") / "DB")
    rows = ["path,label,split"]
    for split in ("train", "dev"):
        for trial in corpora.get("asvspoof2019_la").trials(folder, split):
            rows.append(f"{trial.path.relative_to(folder)},{trial.label},{split}")
    write(folder / "list.csv", rows)
    return folder


@pytest.mark.parametrize("words", ["asvspoof2019_la {}", "generic {}/list.csv"])
def test_score_opens_the_list_once(words, database, spectral_detector, workdir, output):
    spectral_detector.save("model.pth")
    with counted_opens() as opens:
        output(
            f"score {words.format(database)} --split dev --model model.pth --device cpu --workers 0 --samples 4000 --out s.txt"
        )
    assert set(of_lists(opens, database).values()) == {1}


def test_train_opens_a_list_of_all_parts_once(database, recipe):
    """The run is refused after it has read all trials."""
    both = {"corpus": "generic", "root": str(database / "list.csv"), "train_split": "dev"}
    with counted_opens() as opens, input_error("development trials are training trials too"):
        train(recipe(data=both), "cpu")
    assert of_lists(opens, database) == {"list.csv": 1}


def test_the_parts_of_one_list_share_its_trials(database):
    with reading_once():
        dev_trials = Part("generic", database / "list.csv", "dev").trials
        all_trials = Part("generic", database / "list.csv", "all").trials
    assert {trial.phase for trial in dev_trials} == {"dev"}
    assert set(map(id, dev_trials)) < set(map(id, all_trials))


def test_the_commands_after_training_open_a_list_once_and_a_protocol_not_at_all(database, recipe):
    own_list = recipe(data={"corpus": "generic", "root": str(database / "list.csv")})
    official = recipe(data={"root": str(database)})
    with counted_opens() as opens:
        commands = [after_averaging(Path("a.pth"), run_recipe) for run_recipe in (own_list, official)]
    assert [[words[0] for words in suggested] for suggested in commands] == [["score", "evaluate"]] * 2
    assert of_lists(opens, database) == {"list.csv": 1}


def test_the_check_of_a_corpus_opens_each_list_once(database):
    with counted_opens() as opens:
        check_corpus(corpora.get("generic"), database / "list.csv")
        check_corpus(corpora.get("asvspoof2019_la"), database)
    assert set(of_lists(opens, database).values()) == {1}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_library_opens_a_recording_or_a_protocol_again(database, spectral_detector, tmp_path, monkeypatch):
    """Libraries outside of Python open files unseen."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(database, "DB")
    shutil.copy(database / "ASVspoof_LA_cm_protocols" / "ASVspoof2019.LA.cm.dev.trl.txt", "keys.txt")
    recordings = sorted(Path("DB").rglob("LA_D_*.flac"))
    for name in ("predicted.flac", "trained.flac"):
        shutil.copy(recordings[0], name)
    spectral_detector.save("model")
    opens = read_by_program(PROGRAM, tmp_path)
    files = (*recordings, "predicted.flac", "trained.flac", "keys.txt", "scores.txt")
    assert {opens[str(path)] for path in files} == {1}
