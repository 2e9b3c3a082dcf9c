"""The trials of training and development: from other parts and corpora, with labels and scores."""

import shutil

import pytest
from builders import input_error, tiny_corpus
from builders.files import write

from nes2net.scoring.score_file import write_scores
from nes2net.training.measures import eer_methods
from nes2net.training.recipes.data import DataConfig
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict
from nes2net.training.tasks.fusion import Fusion
from nes2net.training.tasks.segments import Segments
from nes2net.training.trials import check_unseen, read_trials


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Six trials in each part, three of which are in the progress phase of ASVspoof 2021 LA."""
    root = tiny_corpus.make(tmp_path_factory.mktemp("corpus"), per_class=3)
    key = root / "keys" / "LA" / "CM" / "trial_metadata.txt"
    lines = key.read_text().splitlines()  # bona fide first
    for number in (0, 4, 5):
        lines[number] = lines[number].replace(" eval", " progress")
    write(key, lines)
    return root


def ids(trials):
    return [trial.id for trial in trials]


def test_by_default_the_training_and_the_development_part_of_a_corpus_are_read(root):
    for split in ("train", "dev"):
        assert {trial.phase for trial in read_trials(DataConfig(root=str(root)), split)} == {split}


OF_2021 = {"dev_corpus": "asvspoof2021_la", "dev_split": "eval"}


def test_training_and_development_trials_come_from_the_corpus_splits_that_the_recipe_names(root):
    data = DataConfig(root=str(root), train_split="dev", **OF_2021, dev_keys=str(root / "keys"))
    assert {trial.phase for trial in read_trials(data, "train")} == {"dev"}
    assert sorted(ids(read_trials(data, "dev"))) == [f"LA_E_100000{number}" for number in range(1, 7)]


def test_only_development_trials_of_the_phase_that_the_recipe_names_are_read(root):
    progress = read_trials(DataConfig(dev_root=str(root), **OF_2021, dev_phase="progress"), "dev")
    assert ids(progress) == ["LA_E_1000001", "LA_E_1000005", "LA_E_1000006"]


def test_scores_of_other_systems_are_normalised_by_their_range_in_the_training_set(root, tmp_path):
    """To 1/(1 + e^−x), where x is 0 at the lowest and 1 at the highest score of the training set."""
    files = {}
    for split, factor in (("train", 1), ("dev", 2)):
        names = ids(read_trials(DataConfig(root=str(root)), split))
        write_scores(tmp_path / split, names, range(0, factor * len(names), factor))
        files[f"{split}_scores"] = [str(tmp_path / split)]
    fusion = Fusion(Recipe(data=DataConfig(root=str(root), **files)))
    assert fusion.trials("train")[-1].system_scores == pytest.approx((0.7310586,))
    assert fusion.trials("dev")[-1].system_scores == pytest.approx((0.8807971,))  # twice as high


def several(folder):
    la = {"name": "asvspoof2019_la", "root": str(folder), "alias": "la"}
    return [la, {"name": "in_the_wild", "root": str(folder), "dev_split": None, "train_split": "eval"}]


@pytest.fixture
def corpora(root):
    """Two corpora to train on, and three to validate, one of which is the first again."""
    again = {"name": "asvspoof2019_la", "root": str(root), "alias": "again", "train_split": None}
    progress = {"name": "asvspoof2021_la", "root": str(root), "train_split": None, "dev_split": "eval"}
    return DataConfig(corpora=[*several(root), again, {**progress, "dev_phase": "progress", "alias": "progress"}])


def test_training_or_development_trials_of_several_corpora_follow_in_the_order_of_the_recipe(corpora):
    train = read_trials(corpora, "train")
    dev = read_trials(corpora, "dev")
    assert [trial.get("corpus") for trial in train] == ["la"] * 6 + ["in_the_wild"] * 6
    assert [trial.get("corpus") for trial in dev] == ["la"] * 6 + ["again"] * 6 + ["progress"] * 3


def test_ids_of_trials_of_several_corpora_begin_with_the_alias_of_their_corpus(corpora):
    dev = read_trials(corpora, "dev")
    assert ids(dev)[0] == "la:LA_D_1000001"
    assert ids(dev)[6] == "again:LA_D_1000001"


def test_eer_methods_maps_the_alias_of_each_development_corpus_to_its_rule_for_the_eer(root):
    la, wild = several(root)
    corpora = DataConfig(corpora=[la, {**wild, "dev_split": "eval"}, {**wild, "alias": "again"}])
    assert eer_methods(corpora) == {"la": "asvspoof", "in_the_wild": "interpolated"}


def test_development_trials_are_refused_only_if_they_are_training_trials(corpora):
    train = read_trials(corpora, "train")
    dev = read_trials(corpora, "dev")
    check_unseen(corpora, train, dev)

    message = r"all 3 development trials of progress are training trials too.*`data\.corpora\.progress\.root`"
    with input_error(message):
        check_unseen(corpora, [*train, *dev[12:]], dev)


@pytest.fixture
def incomplete_root(root, tmp_path):
    """A copy of the corpus that lacks one file of the training set and one of the evaluation set."""
    copied_root = shutil.copytree(root, tmp_path / "other")
    for name in ("LA_T_1000001.flac", "LA_E_1000001.flac"):
        next(copied_root.rglob(name)).unlink()
    return copied_root


def test_missing_training_files_are_refused_with_their_number(incomplete_root):
    with input_error(r"1 of 6 audio files .* folder with `data\.corpora\.la\.root`"):
        read_trials(DataConfig(corpora=several(incomplete_root)), "train")


def test_missing_development_files_are_refused_with_their_number(root, incomplete_root):
    data = DataConfig(root=str(root), dev_corpus="asvspoof2021_la", dev_root=str(incomplete_root), dev_split="eval")
    with input_error(r"1 of 6 audio files of the development set are missing.*`data\.dev_root`"):
        read_trials(data, "dev")


def test_labels_of_frames_are_read_from_the_corpora_that_have_them(tmp_path):
    root = tiny_corpus.make_all(tmp_path)
    roots = {"asvspoof2019_la": root, "partialspoof": root / "partialspoof"}
    corpora = [{"name": name, "root": str(corpus_root)} for name, corpus_root in roots.items()]
    recipe = recipe_from_dict({"data": {"corpora": corpora}, "segments": {"resolutions": [20]}})
    trials = read_trials(recipe.data, "train")
    labels = Segments(recipe).labels("train", trials).of_trial
    assert set(labels) == {trial.id for trial in trials if trial.get("corpus") == "partialspoof"}
    assert len(labels) == 4
