"""The trials of training and development: from other parts and corpora, with labels and scores."""

import shutil

import pytest
from builders import tiny_corpus

from nes2net.errors import InputError
from nes2net.recipes.data import DataConfig
from nes2net.recipes.recipe import Recipe, recipe_from_dict
from nes2net.scoring.score_file import write_scores
from nes2net.training.data import check_unseen, eer_methods, read_trials
from nes2net.training.tasks.fusion import Fusion, score_ranges
from nes2net.training.tasks.segments import Segments


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tiny_corpus.make(tmp_path_factory.mktemp("corpus"), per_class=3)
    key = root / "keys" / "LA" / "CM" / "trial_metadata.txt"
    lines = key.read_text().splitlines()  # bona fide first
    phases = ["progress" if number in (0, 4, 5) else "eval" for number in range(6)]
    key.write_text(
        "".join(line.replace(" eval", f" {phase}") + "\n" for line, phase in zip(lines, phases, strict=True))
    )
    return root


def ids(trials):
    return [trial.id for trial in trials]


def test_the_parts_that_train_and_validate(root):
    """By default those of the corpus; of another one all labelled trials if no phase is named."""
    for part in ("train", "dev"):
        assert {trial.phase for trial in read_trials(DataConfig(root=str(root)), part)} == {part}
    data = DataConfig(root=str(root), dev_corpus="asvspoof2021_la", dev_split="eval", dev_keys=str(root / "keys"))
    assert len(read_trials(data, "dev")) == 6


def test_another_part_trains_and_the_progress_trials_of_another_corpus_validate(root):
    dev = {"dev_corpus": "asvspoof2021_la", "dev_root": str(root), "dev_split": "eval", "dev_phase": "progress"}
    data = DataConfig(root=str(root), train_split="dev", **dev)
    assert {trial.phase for trial in read_trials(data, "train")} == {"dev"}
    dev = read_trials(data, "dev")
    assert ids(dev) == ["LA_E_1000001", "LA_E_1000005", "LA_E_1000006"]
    assert [trial.target for trial in dev] == [1, 0, 0] and all(trial.audio_path().is_file() for trial in dev)


@pytest.mark.parametrize(
    "key, value, what", [("phase", "progress", "has no keys with"), ("keys", "k", "hold its labels")]
)
def test_a_phase_needs_a_key(root, key, value, what):
    with pytest.raises(InputError, match=rf"ASVspoof 2019 LA .*{what}.*: leave out `data\.dev_{key}`"):
        read_trials(DataConfig(root=str(root), **{f"dev_{key}": value}), "dev")


def test_trials_have_the_scores_of_other_systems(root, tmp_path):
    plain = DataConfig(root=str(root))
    for part in ("train", "dev"):
        names = ids(read_trials(plain, part))
        write_scores(tmp_path / part, names, range(len(names)))
    files = {"train_scores": [str(tmp_path / "train")], "dev_scores": [str(tmp_path / "dev")]}
    data = DataConfig(root=str(root), **files)
    assert score_ranges(data) == [[0.0, 5.0]]
    for part in ("train", "dev"):
        scores = [trial.system_scores for trial in Fusion(Recipe(data=data)).trials(part)]
        assert scores[0] == (0.5,) and scores[-1] == pytest.approx((0.7310586,))
    assert score_ranges(DataConfig(root=str(root), **files, score_range="test")) == "test"


@pytest.mark.parametrize("key", ["train_scores", "dev_scores"])
def test_a_score_file_that_is_not_there_is_named_with_its_key(root, tmp_path, key):
    plain = DataConfig(root=str(root))
    trials = [trial.id for part in ("train", "dev") for trial in read_trials(plain, part)]
    write_scores(tmp_path / "all.txt", trials, range(12))
    files = {name: [str(tmp_path / "all.txt")] for name in ("train_scores", "dev_scores")}
    data = DataConfig(root=str(root), **{**files, key: ["gone.txt"]})
    with pytest.raises(InputError, match=rf"`data\.{key}` names gone\.txt, which does not exist"):
        [Fusion(Recipe(data=data)).trials(part) for part in ("train", "dev")]


def test_as_many_files_for_each_set_are_needed():
    with pytest.raises(InputError, match=r"`data\.train_scores` and `data\.dev_scores` .* equally many, not 1 and 0"):
        DataConfig(train_scores=["a"])


def several(folder, **wild):
    la = {"name": "asvspoof2019_la", "root": str(folder), "alias": "la"}
    return [la, {"name": "in_the_wild", "root": str(folder), "dev_split": None, "train_split": "eval"} | wild]


def test_several_corpora_one_after_the_other(root):
    """Equal ids of several corpora differ by the corpus; a part that is null is not read."""
    again = {"name": "asvspoof2019_la", "root": str(root), "alias": "again", "train_split": None}
    progress = {"name": "asvspoof2021_la", "root": str(root), "train_split": None, "dev_split": "eval"}
    data = DataConfig(corpora=[*several(root), again, {**progress, "dev_phase": "progress", "alias": "progress"}])
    train, dev = read_trials(data, "train"), read_trials(data, "dev")
    assert [trial.get("corpus") for trial in train] == ["la"] * 6 + ["in_the_wild"] * 6
    assert ids(train)[0] == "la:LA_T_1000001" and ids(train)[6].startswith("in_the_wild:")
    assert ids(dev)[0] == "la:LA_D_1000001" and ids(dev)[6] == "again:LA_D_1000001"
    assert [trial.get("corpus") for trial in dev][12:] == ["progress"] * 3
    assert len(set(ids(train))) == 12 and len(set(ids(dev))) == 15 and dev[0].path == dev[6].path
    assert eer_methods(data) == {"la": "asvspoof", "again": "asvspoof", "progress": "asvspoof"}
    check_unseen(data, train, dev)
    trained = [*train, *dev[12:]]
    said = r"all 3 development trials of progress are training trials too.*`data\.corpora\.progress\.root`"
    with pytest.raises(InputError, match=said):
        check_unseen(data, trained, dev)


def test_the_corpus_that_is_wrong_is_named(root, tmp_path):
    with pytest.raises(InputError, match=r"where is corpus wild\? name its folder with `data\.corpora\.wild\.root`"):
        read_trials(DataConfig(corpora=several(root, root=None, alias="wild")), "train")
    with pytest.raises(
        InputError, match=r"in_the_wild of `data\.corpora`: .*give `data\.corpora\.in_the_wild\.root` the"
    ):
        read_trials(DataConfig(corpora=several(root, root=str(tmp_path))), "train")
    other = shutil.copytree(root, tmp_path / "other")
    next(other.rglob("LA_T_1000001.flac")).unlink()
    with pytest.raises(InputError, match=r"1 of 12 audio files .* folder with `data\.corpora\.la\.root`"):
        read_trials(DataConfig(corpora=several(other)), "train")
    next(other.rglob("LA_E_1000001.flac")).unlink()
    data = DataConfig(root=str(root), dev_corpus="asvspoof2021_la", dev_root=str(other), dev_split="eval")
    with pytest.raises(InputError, match=r"1 of 6 audio files of the development set are missing.*`data\.dev_root`"):
        read_trials(data, "dev")


def test_labels_of_frames_of_the_corpora_that_have_them(tmp_path):
    root = tiny_corpus.make_all(tmp_path)
    places = {"asvspoof2019_la": root, "partialspoof": root / "partialspoof"}
    corpora = [{"name": name, "root": str(place)} for name, place in places.items()]
    recipe = recipe_from_dict({"data": {"corpora": corpora}, "segments": {"resolutions": [20]}})
    trials = read_trials(recipe.data, "train")
    labels = Segments(recipe).labels("train", trials).of_trial
    assert set(labels) == {trial.id for trial in trials if trial.get("corpus") == "partialspoof"} and len(labels) == 4


def test_a_split_that_cannot_validate(root):
    wild = {"name": "in_the_wild", "root": str(root), "train_split": "eval", "dev_split": "dev", "alias": "wild"}
    for data, key in (
        (
            DataConfig(corpus="in_the_wild", root=str(root)),
            "`data.dev_split`, or another corpus with `data.dev_corpus`",
        ),
        (DataConfig(corpora=[wild]), "`data.corpora.wild.dev_split`$"),
    ):
        with pytest.raises(InputError, match=f"has no split 'dev' for validation; it has eval: name one with {key}"):
            read_trials(data, "dev")
