"""Commands open each list of a corpus once, even if they ask for trials, labels and parts."""

import shutil
from pathlib import Path

import pytest
from builders import input_error
from builders.files import write
from builders.opened_files import counted_opens, of_lists

from nes2net.cli.next_commands import after_averaging
from nes2net.data.corpora.check import check_corpus
from nes2net.data.registry import corpora
from nes2net.training.run import train

PROTOCOL = "ASVspoof2019.LA.cm.{}.txt"


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
