"""Recipes: YAML, overrides, errors, and the published run-folder names."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from builders import golden

from nes2net import InputError
from nes2net.augment.rawboost import ALGORITHMS
from nes2net.augment.specmix import Specmix
from nes2net.recipes.augment import AugmentConfig
from nes2net.recipes.data import DataConfig
from nes2net.recipes.documentation import all_keys
from nes2net.recipes.reading import PACKAGED, load_recipe, packaged_recipes
from nes2net.recipes.recipe import Recipe, recipe_from_dict
from nes2net.recipes.train import TrainConfig
from nes2net.registry import corpora
from nes2net.training.distributed import PRECISIONS

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def test_run_folder_names_are_the_published():
    for case in golden.read("losses_schedules_names")["itw_model_tags"]:
        args = case["args"]
        seed = args.get("seed", 1234)
        ratios = {k: v for k, v in args.items() if k.endswith("_ratio")}
        recipe = Recipe(
            name=args["model_name"],
            date=args["date"],
            seed=seed,
            augment=AugmentConfig(algo=args["algo"], parameters=ratios),
            train=TrainConfig(epochs=args["num_epochs"], batch_size=args["batch_size"], lr=args["lr"]),
        )
        published = case["tag"] if "seed" in case["tag"] else f"{case['tag']}_seed{seed}"  # the seed stays here
        assert recipe.tag == published
        recipe.comment = "again"
        assert recipe.tag == f"{published}_again"


def test_overrides_and_types(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("train: {lr: 1e-6, epochs: 3}\nmodel: {frontend: lps, backend: nes2net_x}\n")
    recipe = load_recipe(
        path, ["train.epochs=5", "data.root=DB", "model.backend.dilation=1", "train.max_grad_norm=1", "seed=7"]
    )
    assert (recipe.train.lr, recipe.train.epochs, recipe.data.corpora[0].root, recipe.seed) == (1e-6, 5, "DB", 7)
    assert recipe.model["backend"] == {"name": "nes2net_x", "dilation": 1}
    assert recipe.train.max_grad_norm == 1.0


KEEPS = ("newest", "improved,last", "0", "9" * 5000)
#: Key → the least whole number that it takes.
LEAST = {
    "data.num_samples": 1,
    "data.num_workers": 0,
    "train.epochs": 1,
    "train.batch_size": 1,
    "train.accumulate": 1,
    "train.t_max": 1,
    "train.warmup_steps": 0,
    "train.freeze_frontend_epochs": 0,
    "validation.first_epoch": 1,
}


@pytest.mark.parametrize(
    "override, message",
    [
        # unknown keys, and the nearest
        (
            "train.zzz=1",
            r"'train.zzz' in the recipe; known: .*, … \(\d+ in all; `nes2net info recipe train` lists them\)",
        ),
        ("train.learning_rate=1", r"did you mean 'train.lr'\? Known: "),
        ("learning_rate=1", r"did you mean 'train.lr'\? Known: "),
        ("data.database_path=DB", r"did you mean 'data.root'\? Known: "),
        ("train.epoch=1", r"did you mean 'train.epochs'\?"),
        ("self=1", "unknown key 'self' in the recipe"),
        ("trian.lr=1", r"unknown key 'trian' in the recipe; did you mean 'train'\?"),
        ("epochs=3", r"unknown key 'epochs' in the recipe; did you mean 'train.epochs'\?"),
        ("train.patience=3", r"unknown key 'train.patience' in the recipe; did you mean 'validation.patience'\?"),
        # other types and words
        ("seed", "not of the form key=value"),
        ("seed=[1", "not valid YAML"),
        ("train=3", "train is a mapping of keys, not 3"),
        ("train.epochs=1.5", "`train.epochs` is a whole number of at least 1, not 1.5"),
        ("train.lr.max=1", "`train.lr` is a number above 0, not {'max': 1}"),
        ("train.lr=true", "`train.lr` is a number above 0, not True"),
        ("train.compile=1", "`train.compile` is true or false, not 1"),
        ("train.optimizer=adamm", r"is one of adam, adamw, logistic, not 'adamm'; did you mean 'adam'\?"),
        ("train.schedule=linear", "is one of constant, cosine, cosine_epochs, inverse_sqrt, step, not 'linear'"),
        ("train.schedule=[cosine]", r"`train.schedule` is one of constant, .*, step, not \['cosine'\]"),
        ("data.crop=random_tile", "did you mean 'random_tiled'"),
        *((f"train.keep={keep}", "`train.keep` is improved, all, or any of last, best and a number") for keep in KEEPS),
        # keys that would change nothing
        ("train.min_lr=1e-9", "changes nothing with `train.schedule=constant`: it goes with cosine and cosine_epochs"),
        ("train.t_max=4", "it goes with cosine_epochs"),
        ("validation.epochs=around_minima", "goes with `train.schedule=cosine_epochs`"),
        ("augment={musan: m, noise_probability: 0}", "change nothing with `augment.noise_probability=0`"),
        ("augment={conditions: [mp3:16], condition_probability: 0}", "`augment.conditions` change nothing"),
        ("augment.condition_probability=0.3", "`augment.condition_probability` changes nothing without"),
        ("augment.parameters={P: 5, SNRmin: 3}", r"\(P, SNRmin\) change nothing with `augment\.algo=0`"),
        ("train={optimizer: logistic, epochs: 2}", "fits in one go: set `train.epochs=1`, not 2"),
        # out of range
        ("augment.conditions=mp3:16", "`augment.conditions` is "),
        ("augment.speed=[0.1, 1]", r"`augment.speed` is a list of two numbers from 0.5 to 2, or null, not \[0.1, 1\]"),
        ("augment.speed=[1.2, 0.8]", "`augment.speed` is the lowest and the highest speed, in this order"),
        ("train.lr=0", "`train.lr` is a number above 0, not 0"),
        ("train.lr=1e999", "`train.lr` is a number above 0, not inf"),
        ("train.max_grad_norm=0", "`train.max_grad_norm` is a number above 0, or null, not 0"),
        ("train.max_grad_norm=nan", "`train.max_grad_norm` is a number above 0, or null, not 'nan'"),
        ("train.adam_eps=0", "`train.adam_eps` is a number above 0"),
        ("train.weight_decay=-1", "`train.weight_decay` is a number of at least 0"),
        ("train.save_every_minutes=-1", "`train.save_every_minutes` is a number of at least 0"),
        ("train={schedule: cosine, min_lr: 1}", r"`train.min_lr` is from 0 to `train.lr` \(2.5e-07\), not 1.0"),
        *((f"{key}={least - 1}", f"`{key}` is a whole number of at least {least}") for key, least in LEAST.items()),
        ("validation.patience=0", "`validation.patience` is a whole number of at least 1, or null, not 0"),
        ("seed=-1", r"`seed` is a whole number from 0 to below 2\^63, not -1"),
        ("seed=0x8000000000000000", r"`seed` is a whole number from 0 to below 2\^63, not 9223372036854775808"),
        ("seed=0520", "`seed` is a whole number from 0 to .*, not '0520'"),
        *(
            (f"train.adam_betas={betas}", f"`train.adam_betas` is a list of two .* below 1, not {re.escape(said)}")
            for betas, said in (
                ("0.1", "0.1"),
                ("[0.1, heavy]", "[0.1, 'heavy']"),
                ("[-1, 0]", "[-1, 0]"),
                ("[0, 1]", "[0, 1]"),
                ("[0, 0, 0]", "[0, 0, 0]"),
            )
        ),
        # parts of folder names
        ("comment=a/../../../esc", "`comment` is a part of a folder's name, without /"),
        ("date=..", "`date` is a part of a folder's name"),
        ("name=a\\b", "`name` is a part of a folder's name"),
        ('comment="a\\nb"', "`comment` is a part of a folder's name"),
        # features of YAML that recipes do not need
        ("model={a: &x [1], b: *x}", "no aliases and no tags"),
        ("model={a: !!timestamp x}", "no aliases and no tags"),
        ("model={a: 1, a: 2}", "the key 'a' stands there twice"),
        ("model=" + "[" * 5000, "nested more than 20 deep"),
    ],
)
def test_wrong_overrides(tmp_path, override, message):
    (tmp_path / "recipe.yaml").write_text("seed: 1\n")
    with pytest.raises(InputError, match=message) as error:
        load_recipe(tmp_path / "recipe.yaml", [override])
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("text", ["0520", "1.10", "12:30:45", "2026-02-30", "2026-11-20", "1e-6", "yes", "1_0", "0x10"])
def test_text_stays_as_it_is_written(tmp_path, text):
    """In a file, on the command line, and after the recipe is saved and read again."""
    path = tmp_path / "recipe.yaml"
    path.write_text(f"date: {text}\ndata:\n  root: {text}  # a comment\n")
    recipe = load_recipe(path, [f"comment={text}", f"name='{text}'", f"augment={{musan: {text}}}"])
    found = (recipe.date, recipe.data.corpora[0].root, recipe.comment, recipe.name, recipe.augment.musan)
    assert found == (text,) * 5
    path.write_text(yaml.safe_dump(recipe.written(), sort_keys=False))
    assert load_recipe(path) == recipe


def test_text_of_an_override_is_not_read_as_yaml(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("comment: again\ndata: {root: DB}\n")
    recipe = load_recipe(path, ["data.root=/disk #1: [a", "data.cache={x}", "comment=null", "data.protocols="])
    (corpus,) = recipe.data.corpora
    assert corpus.root == "/disk #1: [a" and recipe.data.cache == "{x}"
    assert recipe.comment is None and corpus.protocols is None


def test_a_path_need_not_be_valid_unicode(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("name: 7\n")
    recipe = load_recipe(path, ["data.root=\udcff"])
    assert recipe.data.corpora[0].root == "\udcff" and recipe.name == "7"
    path.write_text(yaml.safe_dump(recipe.written(), sort_keys=False, allow_unicode=True))
    assert load_recipe(path) == recipe


def test_numbers_are_what_they_look_like(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("seed: 0x10\ntrain: {lr: 1e-6, epochs: 1_000, weight_decay: 1.5E-3, adam_betas: [0, .5]}\n")
    recipe = load_recipe(
        path, ["train.max_grad_norm=+2", "model.backend={name: b, x: 1e-3, y: 1:30, z: on, w: 2026-11-20}"]
    )
    train = recipe.train
    assert (recipe.seed, train.lr, train.epochs, train.weight_decay) == (16, 1e-6, 1000, 1.5e-3)
    assert train.adam_betas == [0, 0.5] and train.max_grad_norm == 2
    assert recipe.model["backend"] == {"name": "b", "x": 1e-3, "y": "1:30", "z": True, "w": "2026-11-20"}


def test_an_empty_section_has_the_defaults(tmp_path):
    (tmp_path / "plain.yaml").write_text("train: {epochs: 3}\n")
    (tmp_path / "recipe.yaml").write_text("base: plain.yaml\ntrain:\ndata:\n")
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert recipe.train.epochs == 3 and recipe.data == Recipe().data  # those of the base, if there is one
    assert load_recipe(tmp_path / "recipe.yaml", ["train="]).train == TrainConfig()


@pytest.mark.parametrize("base", ["", "[]", "3", "../plain.yaml", "{place}/plain.yaml", "sub/plain.yaml"])
def test_a_base_is_a_file_beside_the_recipe(tmp_path, base):
    (tmp_path / "plain.yaml").write_text("seed: 3\n")
    path = tmp_path / "other" / "recipe.yaml"
    for folder in ("other", "other/sub"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "plain.yaml").write_text("seed: 3\n")
    path.write_text(f"base: {base.format(place=tmp_path)}\n")
    with pytest.raises(InputError, match="base is the name of a file beside it, not"):
        load_recipe(path)


def test_keys_that_are_used_can_be_set(tmp_path):
    (tmp_path / "recipe.yaml").write_text("seed: 1\n")
    focal = load_recipe(tmp_path / "recipe.yaml", ["train.loss=focal", "train.loss.label_smoothing=0.1"])
    assert focal.train.loss == {"name": "focal", "label_smoothing": 0.1}
    for keep in ("all", "last,best,3", "last, 2"):
        assert load_recipe(tmp_path / "recipe.yaml", [f"train.keep={keep}"]).train.keep == keep


def test_noise_has_the_published_probability_if_a_folder_is_named():
    assert AugmentConfig().noise_probability == 0
    assert AugmentConfig(musan="m").noise_probability == 0.5
    assert AugmentConfig(rir="r", noise_probability=0.2).noise_probability == 0.2
    for_conditions = AugmentConfig(musan="m", rir="r", conditions=["noise:10", "rir"])
    assert for_conditions.noise_probability == 0 and for_conditions.condition_probability == 0.5
    assert AugmentConfig(**for_conditions.model_dump()) == for_conditions
    Recipe(augment=AugmentConfig(rir="r")).check_noise()
    with pytest.raises(
        InputError, match=r"adds noise .* to 50% of the utterances: name .* `augment\.musan=.*`augment\.rir="
    ):
        Recipe(augment=AugmentConfig(noise_probability=0.5)).check_noise()


def test_a_recipe_builds_on_another(tmp_path):
    """Sections are merged key by key, parts of the model are replaced whole, and overrides come last.

    A saved recipe has no base.
    """
    (tmp_path / "plain.yaml").write_text(
        "name: plain\nseed: 3\ntrain: {lr: 1e-6, epochs: 3}\n"
        "model: {frontend: lps, backend: {name: nes2net_x, dilation: 1}}\n"
    )
    (tmp_path / "other.yaml").write_text(
        "base: plain.yaml\nname: other\ntrain: {epochs: 4}\nmodel: {backend: {name: aasist}}\n"
    )
    recipe = load_recipe(tmp_path / "other.yaml", ["train.batch_size=2"])
    assert (recipe.name, recipe.seed) == ("other", 3)
    assert (recipe.train.lr, recipe.train.epochs, recipe.train.batch_size) == (1e-6, 4, 2)
    assert recipe.model == {"frontend": "lps", "backend": {"name": "aasist"}}
    assert "base" not in recipe.to_dict()
    third = tmp_path / "third.yaml"
    for base, message in (
        ("other.yaml", r"other\.yaml, which has a base itself: name 'plain\.yaml' as base"),
        ("third.yaml", "has a base itself"),
        ("none.yaml", r"third\.yaml builds on .*none\.yaml, which is not there"),
    ):
        third.write_text(f"base: {base}\n")
        with pytest.raises(InputError, match=message):
            load_recipe(third)


@pytest.mark.parametrize(
    "recipe, overrides, name, comment",
    [
        ("asvspoof2019_nes2net_x", ["train.lr=1e-5", "model.backend.dilation=1"], "wav2vec2_Nes2Net_X", None),
        ("asvspoof2019_nes2net_x", ["model.frontend=lps"], "lps_nes2net_x", None),
        ("asvspoof2019_nes2net_x", ["model.frontend=lps", "name=mine", "comment=a"], "mine", "a"),
        ("ctrsvdd_nes2net_sea", ["model.backend={name: nes2net}"], "WavLM_Nes2Net", "SEA"),
        ("ctrsvdd_nes2net_sea", ["model.aggregation=attm"], "wavlm_large_attm_nes2net", None),
        ("ctrsvdd_nes2net_sea", ["model.aggregation=attm", "comment=b"], "wavlm_large_attm_nes2net", "b"),
        ("based.yaml", [], "lps_nes2net_x", None),
        ("based.yaml", ["model.backend=aasist"], "lps_aasist", None),
        ("unnamed.yaml", ["model.backend=aasist"], "run", None),
    ],
)
def test_a_run_has_the_name_of_what_is_trained(tmp_path, monkeypatch, recipe, overrides, name, comment):
    """The published name and comment stay if the parts are those of the recipe, or if they are given."""
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_bytes((PACKAGED / "asvspoof2019_nes2net_x.yaml").read_bytes())
    Path("based.yaml").write_text("base: base.yaml\nmodel: {frontend: lps}\n")
    Path("unnamed.yaml").write_text("seed: 1\n")
    found = load_recipe(recipe, overrides)
    assert (found.name, found.comment) == (name, comment) and found.tag.startswith(f"unknown_{name}_e")


def test_packaged_recipes_are_read_by_name(tmp_path, monkeypatch):
    assert packaged_recipes() == [path.stem for path in CONFIGS]
    for path in CONFIGS:
        assert load_recipe(path.stem, ["seed=5"]) == load_recipe(path, ["seed=5"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asvspoof5_aasist").mkdir()  # a folder is not a recipe
    assert load_recipe("asvspoof5_aasist").name == "wavlm_aasist"
    (tmp_path / "asvspoof5_nes2net_x").write_text("name: mine")  # a file is
    assert load_recipe("asvspoof5_nes2net_x").name == "mine"


@pytest.mark.parametrize(
    "recipe, meant",
    [
        ("asvspoof2019_nes2net", "; did you mean 'asvspoof2019_nes2net_x'? Known: "),
        ("configs/asvspoof5_aasist.yaml", "; did you mean 'asvspoof5_aasist'? Known: "),
        ("zzz.yaml", "; known: "),
    ],
)
def test_an_unknown_recipe_is_answered_with_the_nearest_and_ten_packaged_ones(recipe, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        load_recipe(recipe)
    begin, end = f"recipe {recipe} is neither a YAML file nor a packaged recipe{meant}", "`nes2net info` lists them)"
    assert str(error.value).startswith(begin) and str(error.value).endswith(end)
    named = str(error.value).partition("nown: ")[2].partition(", …")[0].split(", ")
    assert len(named) == 10 and set(named) <= set(packaged_recipes())


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a: [", "not valid YAML"),
        (b"- 1\n", "mapping"),
        (b"seed: 1\ntrain: {lr: 1}\ntrain: {lr: 1}\n", "not valid YAML: the key 'train' stands there twice .*line 3"),
        (b"model: &a {frontend: *a}\n", "no aliases and no tags"),
        (b"name: \xff\n", "is not a text file: byte 6 is not UTF-8"),
    ],
)
def test_wrong_files(tmp_path, content, message):
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(InputError, match=rf"r\.yaml.*{message}"):
        load_recipe(tmp_path / "r.yaml")


def test_an_error_does_not_repeat_large_values():
    for values in (
        {"seed": "x" * 10**6},
        {"train": {"lr": ["x" * 10**6] * 100}},
        {"x" * 10**6: 1},
        {"train": [1] * 10**6},
    ):
        with pytest.raises(InputError) as error:
            recipe_from_dict(values)
        assert len(str(error.value)) < 1000


def test_a_section_made_in_python_is_checked_as_one_that_is_read():
    with pytest.raises(InputError, match=r"`train.lr` is a number above 0, not 0.0"):
        TrainConfig(lr=0.0)
    with pytest.raises(InputError, match="unknown key 'train.epoch' in the recipe; did you mean 'train.epochs'"):
        TrainConfig(epoch=1)


def test_the_choices_are_those_that_training_has():
    """Recipes stand below the rooms that use them, so they name the choices themselves."""
    known = {key.name: key for key in all_keys()}
    assert (known["augment.algo"].schema["minimum"], known["augment.algo"].schema["maximum"]) == (0, ALGORITHMS[-1])
    assert known["data.crop"].schema["enum"] == ["head", "random", "random_tiled", "dynamic", "pieces"]
    assert known["train.precision"].schema["enum"] == list(PRECISIONS)
    assert known["data.corpus"].schema["default"] in corpora.names()
    assert all(f"`{field.name}`" in known["augment.specmix"].meaning for field in fields(Specmix))


TWO = "data.corpora=[{name: asvspoof2019_la, root: 0520}, {name: 'hub:owner/Fake.Set@v1', weight: 2}]"


def test_several_corpora():
    """Their keys are those of one corpus, by its name or alias; text stays as written."""
    recipe = load_recipe("asvspoof2019_nes2net_x", [TWO, "data.corpora.Fake.Set.root=1e-6", "data.balance=[class]"])
    la, fake = recipe.data.corpora
    assert (la.alias, la.root, la.weight) == ("asvspoof2019_la", "0520", None)
    assert (la.train_split, la.dev_split) == ("train", "dev")
    assert (fake.alias, fake.root, fake.weight) == ("Fake.Set", "1e-6", 2.0)
    assert {part.called: (part.name, part.root) for part in recipe.data.parts("dev")} == {
        "asvspoof2019_la": ("asvspoof2019_la", "0520"),
        "Fake.Set": ("hub:owner/Fake.Set@v1", "1e-6"),
    }
    assert recipe_from_dict(recipe.to_dict()) == recipe == recipe_from_dict(recipe.written())


LA, DF = {"name": "asvspoof2019_la", "root": "DB"}, {"name": "asvspoof2021_df", "root": "DF"}
LOGISTIC = ["train.optimizer=logistic", "train.epochs=1", "augment.algo=0"]
TRAINS, CHOOSES = {"dev_split": None}, {"train_split": None, "dev_split": "eval"}


@pytest.mark.parametrize(
    ("short", "listed", "root"),
    [
        ({"root": "DB", "train_split": "dev"}, [{**LA, "train_split": "dev"}], "root"),
        (
            {"root": "DB", "dev_corpus": "asvspoof2021_df", "dev_root": "DF", "dev_split": "eval", "dev_phase": "eval"},
            [{**LA, **TRAINS}, {**DF, **CHOOSES, "dev_phase": "eval"}],
            "dev_root",
        ),
        (
            {"root": "DB", "protocols": "P", "dev_root": "moved", "dev_split": "eval", "dev_keys": "K"},
            [
                {**LA, **TRAINS, "protocols": "P"},
                {**LA, **CHOOSES, "root": "moved", "protocols": "P", "dev_keys": "K", "alias": "asvspoof2019_la_dev"},
            ],
            "dev_root",
        ),
    ],
    ids=["one corpus", "another validates", "the same elsewhere validates"],
)
def test_the_short_form_is_read_into_the_list(short, listed, root):
    data = DataConfig(**short)
    assert data == DataConfig(corpora=listed) and not hasattr(data, "root")
    assert short.items() <= data.written().items() and "corpora" not in data.written()
    assert data.key_of(data.parts("dev")[-1], "root") == f"data.{root}"


@pytest.mark.parametrize(
    "changes", [{"alias": "la"}, {"weight": 2}, TRAINS, {"train_split": None}], ids=lambda changes: next(iter(changes))
)
def test_what_the_short_form_cannot_say_stays_a_list(changes):
    data = DataConfig(corpora=[LA | changes, *([DF] if None in changes.values() else [])])
    assert data.written() == data.model_dump() and data.corpora[0].model_dump() in data.written()["corpora"]
    assert data.key_of(data.corpora[0], "root") == f"data.corpora.{data.corpora[0].called}.root"


@pytest.mark.parametrize(
    "overrides, message",
    [
        ([TWO, "data.root=DB"], r"applies to a single corpus; move it into an entry of `data\.corpora`"),
        ([TWO, "data.dev_phase=eval"], r"`data\.dev_phase=eval` applies to a single corpus"),
        (["data.corpora=[{name: generic}, {name: generic}]"], "two of `data.corpora` are called generic.*`alias`"),
        (["data.corpora=[{name: a, alias: a/b}]"], r"`data\.corpora\[\]\.alias` is a name of letters"),
        (["data.corpora=[{name: a, rot: DB}]"], r"did you mean 'data\.corpora\[\]\.root'"),
        (["data.corpora=[{root: DB}]"], r"a mapping of `data\.corpora\[\]` has no `name`"),
        (["data.corpora=[a]"], r"`data\.corpora` is a list of mappings with `name`"),
        (["data.corpora=[{name: a, train_split: null, dev_split: null}]"], "a .* neither trains nor validates"),
        (["data.corpora=[{name: a, train_split: null, weight: 2}]"], "only validates, so its `weight` changes nothing"),
        (["data.corpora=[{name: a, dev_split: null, dev_phase: eval}]"], "its `dev_phase` changes nothing"),
        (["data.corpora=[{name: a, dev_split: null}]"], "none of `data.corpora` validates"),
        ([TWO, "data.corpora.b.root=DB"], "`data.corpora` has no 'b'; it has asvspoof2019_la, Fake.Set"),
        (["data.balance=[class]", "data.crop=pieces"], "`data.crop=pieces` makes batches by the length of pieces"),
        ([TWO, "validation.over=worst"], "`validation.over=worst` changes nothing with `validation.select_on=loss`"),
        (
            [TWO, "data.train_scores=[a]", "data.dev_scores=[b]"],
            "scores of one corpus each: leave them out, or let one",
        ),
        (["validation.select_on=eer", "validation.over=mean"], "needs several development corpora in `data.corpora`"),
        ([*LOGISTIC, "data.epoch_size=9"], "fits every utterance once"),
    ],
)
def test_what_does_not_go_with_several_corpora(overrides, message):
    with pytest.raises(InputError, match=message):
        load_recipe("asvspoof2019_nes2net_x", overrides)
