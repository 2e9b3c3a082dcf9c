"""Recipes: YAML, overrides, errors, and the published run-folder names."""

import re
from pathlib import Path

import pytest
import yaml
from builders import golden, input_error
from conftest import REPOSITORY

from nes2net.data.augment.rawboost import ALGORITHMS
from nes2net.training.augmentation import training_effects
from nes2net.training.distributed import SCORING_PRECISIONS
from nes2net.training.recipes.augment import AugmentConfig
from nes2net.training.recipes.data import DataConfig
from nes2net.training.recipes.documentation import all_keys
from nes2net.training.recipes.reading import PACKAGED, load_recipe, packaged_recipes, recipe_notes
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict
from nes2net.training.recipes.train import TrainConfig

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A recipe.yaml in the folder that relative paths begin in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text("seed: 1\n")
    return tmp_path / "recipe.yaml"


def test_the_name_of_a_run_folder_is_the_published_one_with_the_seed_at_the_end():
    """Some published names lack the seed."""
    cases = golden.read("losses_schedules_names")["itw_model_tags"]
    assert cases
    for case in cases:
        args = case["args"]
        seed = args.get("seed", 1234)
        ratios = {k: v for k, v in args.items() if k.endswith("_ratio")}
        augment = AugmentConfig(algo=args["algo"], parameters=ratios)
        train = TrainConfig(epochs=args["num_epochs"], batch_size=args["batch_size"], lr=args["lr"])
        recipe = Recipe(name=args["model_name"], date=args["date"], seed=seed, augment=augment, train=train)
        end = f"_seed{seed}"
        assert recipe.tag == case["tag"].removesuffix(end) + end


def test_the_name_of_a_run_folder_begins_with_the_date_only_if_there_is_one():
    assert Recipe(name="tiny").tag.startswith("tiny_e100_")
    assert Recipe(name="tiny", date="0520").tag == f"0520_{Recipe(name='tiny').tag}"


def test_the_comment_of_a_recipe_ends_the_name_of_the_run_folder():
    assert Recipe(comment="again").tag == f"{Recipe().tag}_again"


def test_numbers_with_an_exponent_underscore_sign_or_0x_are_read_in_recipes_and_overrides(path):
    path.write_text(
        "seed: 0x10\ntrain: {lr: 1e-6, epochs: 1_000, weight_decay: 1.5E-3, adam_betas: [0, .5]}\n"
        "model: {frontend: lps, backend: nes2net_x}\n"
    )
    overrides = ["train.max_grad_norm=+2", "train.batch_size=5", "model.backend.dilation=1"]
    recipe = load_recipe(path, [*overrides, "model.aggregation={name: b, x: 1e-3}"])
    train = recipe.train
    assert (recipe.seed, train.lr, train.epochs, train.weight_decay) == (16, 1e-6, 1000, 1.5e-3)
    assert train.adam_betas == [0, 0.5]
    assert train.max_grad_norm == 2
    assert train.batch_size == 5
    assert recipe.model["backend"] == {"name": "nes2net_x", "dilation": 1}
    assert recipe.model["aggregation"] == {"name": "b", "x": 1e-3}


def test_a_time_and_a_date_among_the_options_of_a_back_end_stay_text(path):
    recipe = load_recipe(path, ["model.backend={name: b, time: 1:30, date: 2026-11-20}"])
    assert recipe.model["backend"] == {"name": "b", "time": "1:30", "date": "2026-11-20"}


@pytest.mark.parametrize(
    "override, message",
    [
        # unknown keys, and the nearest
        ("train.zzz=1", r"'train.zzz' in .* known: .*, … \(\d+ in all; `nes2net info recipe train` lists them\)"),
        ("train.learning_rate=1", r"did you mean 'train.lr'\? Known: "),
        ("trian.lr=1", r"unknown key 'trian' in the recipe; did you mean 'train'\?"),
        ("train.patience=3", r"key 'train.patience' in the recipe; did you mean 'validation.patience'\?"),
        # other types and words
        ("seed", "not of the form key=value"),
        ("train.lr=true", "`train.lr` must be a number above 0, not True"),
        ("train.optimizer=adamm", r"must be one of adam, adamw, logistic, not 'adamm'; did you mean 'adam'\?"),
        ("train.keep=best,all", "`train.keep` must be improved, all, or any of last, best and a number"),
        # keys that would change nothing
        (
            "train.min_lr=1e-9",
            "only with `train.schedule=cosine` or `train.schedule=cosine_epochs`, not with `train.schedule=constant`",
        ),
        (
            "validation.epochs=around_minima",
            "`validation.epochs` is used only with `train.schedule=cosine_epochs`, not with",
        ),
        ("augment={musan: m, noise_probability: 0}", "change nothing with `augment.noise_probability=0`"),
        ("augment.parameters={P: 5, SNRmin: 3}", "`augment.parameters` is used only with `augment.algo`"),
        ("train={warmup_epochs: 5, schedule: cosine_epochs}", r"must be below `train.t_max` \(5\), which counts them"),
        (
            "train={warmup_epochs: 1, warmup_steps: 9, schedule: cosine_epochs}",
            "`train.warmup_steps` and `train.warmup_epochs` exclude each other",
        ),
        ("train={freeze_frontend: true, layer_decay: 0.9}", "`train.layer_decay` is used only with"),
        ("train.frontend_mode=train", "`train.frontend_mode` is used only with `train.freeze_frontend=true` or"),
        # out of range
        ("augment.speed=[1.2, 0.8]", "`augment.speed` must be the lowest and the highest speed, in this order"),
        ("train.lr=1e999", "`train.lr` must be a number above 0, not inf"),
        ("train={schedule: cosine, min_lr: 1}", r"`train.min_lr` must be from 0 to `train.lr` \(2.5e-07\), not 1.0"),
        ("seed=0x8000000000000000", r"`seed` must be a whole number from 0 to below 2\^63, not 9223"),
        ("comment=a/../../../esc", "`comment` must be a part of a folder's name, without /"),
        ("model={a: &x [1], b: *x}", "aliases and tags are not allowed"),
    ],
)
def test_an_invalid_override_is_refused_with_the_reason(path, override, message):
    with input_error(message):
        load_recipe(path, [override])


AM_SOFTMAX = "train: {loss: {name: am_softmax, scale: 15, margin: 0.9}}\n"


@pytest.mark.parametrize(
    "overrides, loss",
    [
        (["train.loss.name=aam_softmax"], {"name": "aam_softmax"}),
        (["train.loss.margin=0.3", "train.loss.name=aam_softmax"], {"name": "aam_softmax", "margin": 0.3}),
        (["train.loss.name=aam_softmax", "train.loss.scale=20"], {"name": "aam_softmax", "scale": 20}),
        (["train.loss=focal", "train.loss.label_smoothing=0.1"], {"name": "focal", "label_smoothing": 0.1}),
    ],
)
def test_an_override_that_names_another_loss_drops_the_options_that_the_file_gave_the_old_one(path, overrides, loss):
    path.write_text(AM_SOFTMAX)
    assert load_recipe(path, overrides).train.loss == loss


@pytest.mark.parametrize("override, margin", [("train.loss.name=am_softmax", 0.9), ("train.loss.margin=0.3", 0.3)])
def test_an_override_that_does_not_change_the_name_of_a_loss_keeps_its_other_options(path, override, margin):
    path.write_text(AM_SOFTMAX)
    assert load_recipe(path, [override]).train.loss == {"name": "am_softmax", "scale": 15, "margin": margin}


def test_an_override_of_the_name_of_a_head_keeps_the_options_of_its_back_end(path):
    path.write_text("model: {frontend: lps, backend: {name: aasist, x: 64, head: {name: prototypes, y: 1}}}\n")
    backend = load_recipe(path, ["model.backend.head.name=linear"]).model["backend"]
    assert backend == {"name": "aasist", "x": 64, "head": {"name": "linear"}}


def test_an_override_of_the_name_of_a_corpus_keeps_the_other_options_of_that_corpus(path):
    path.write_text("data: {corpora: [{name: for, root: DB}]}\n")
    recipe = load_recipe(path, ["data.corpora.for.name=generic"])
    assert recipe.data.corpora[0].name == "generic"
    assert recipe.data.corpora[0].root == "DB"


@pytest.mark.parametrize("text", ["0520", "1.10", "12:30:45", "2026-02-30", "1e-6", "yes", "1_0", "0x10"])
def test_the_value_of_a_text_key_stays_text_even_if_yaml_would_read_it_as_another_type(path, text):
    """In a file, on the command line, and after the recipe was saved."""
    path.write_text(f"date: {text}\ndata:\n  root: {text}  # a comment\n")
    recipe = load_recipe(path, [f"comment={text}", f"name='{text}'", f"augment={{musan: {text}}}"])
    texts = (recipe.date, recipe.data.corpora[0].root, recipe.comment, recipe.name, recipe.augment.musan)
    assert texts == (text,) * 5
    path.write_text(yaml.safe_dump(recipe.to_readable_dict(), sort_keys=False, allow_unicode=True))
    assert load_recipe(path) == recipe


def test_an_override_of_a_text_key_is_not_read_as_yaml(path):
    recipe = load_recipe(path, ["data.root=/disk #1: [a", "data.cache={x}"])
    assert recipe.data.corpora[0].root == "/disk #1: [a"
    assert recipe.data.cache == "{x}"


@pytest.mark.parametrize("override", ["comment=null", "comment="])
def test_an_override_with_null_or_an_empty_value_unsets_a_text_key(path, override):
    path.write_text("comment: again\n")
    assert load_recipe(path, [override]).comment is None


CONDITIONS = {"musan": "m", "rir": "r", "conditions": ["noise:10", "rir"]}


@pytest.mark.parametrize("options, probability", [({}, 0), ({"musan": "m"}, 0.5), (CONDITIONS, 0)])
def test_noise_probability_defaults_to_one_half_only_if_a_folder_of_noise_is_not_for_conditions(options, probability):
    assert AugmentConfig(**options).noise_probability == probability


def test_an_augment_section_with_a_noise_condition_is_read_back_from_its_dump_unchanged():
    for_conditions = AugmentConfig(**CONDITIONS)
    assert AugmentConfig(**for_conditions.model_dump()) == for_conditions


def test_a_probability_of_noise_without_a_folder_of_noise_is_refused():
    needed = r"adds noise .* to 50% .*: name .* `augment\.musan=.*`augment\.rir=.*`augment\.noise_probability=0`"
    with input_error(needed):
        training_effects(Recipe(augment=AugmentConfig(noise_probability=0.5)), [], None)


def test_keys_of_a_recipe_override_those_of_its_base_one_by_one_also_within_a_section(path):
    Path("plain.yaml").write_text("name: plain\nseed: 3\ntrain: {lr: 1e-6, epochs: 3}\n")
    path.write_text("base: plain.yaml\nname: other\ntrain: {epochs: 4}\n")
    recipe = load_recipe(path)
    assert recipe.name == "other"
    assert recipe.seed == 3
    assert recipe.train.lr == 1e-6
    assert recipe.train.epochs == 4


def test_a_back_end_of_a_recipe_replaces_that_of_its_base_with_all_its_options(path):
    Path("plain.yaml").write_text("model: {frontend: lps, backend: {name: nes2net_x, x: 1}}\n")
    path.write_text("base: plain.yaml\nmodel: {backend: {name: aasist}}\n")
    assert load_recipe(path).model == {"frontend": {"name": "lps"}, "backend": {"name": "aasist"}}


def test_an_empty_section_of_a_file_keeps_the_values_of_the_base(path):
    Path("plain.yaml").write_text("train: {lr: 1e-6, epochs: 3}\n")
    path.write_text("base: plain.yaml\ntrain:\n")
    assert load_recipe(path).train.epochs == 3


def test_an_override_that_empties_a_section_gives_it_the_defaults(path):
    path.write_text("train: {lr: 1e-6, epochs: 3}\n")
    assert load_recipe(path, ["train="]).train == TrainConfig()


def test_the_keys_about_and_sources_change_no_value_of_a_recipe(path):
    path.write_text("about: [mine]\nseed: 3\nsources: {seed: code}\n")
    assert load_recipe(path) == Recipe(seed=3)


def test_the_text_of_the_key_about_replaces_that_of_the_base(path):
    Path("plain.yaml").write_text("about: [plain]\n")
    path.write_text("about: [mine, two paragraphs]\nbase: plain.yaml\n")
    assert recipe_notes(path).about == ["mine", "two paragraphs"]


def test_sources_of_a_recipe_are_merged_key_by_key_with_those_of_the_base(path):
    Path("plain.yaml").write_text("seed: 3\nsources: {seed: code, name: paper}\n")
    path.write_text("base: plain.yaml\nsources: {name: mine}\n")
    assert recipe_notes(path).sources == {"seed": "code", "name": "mine"}


@pytest.mark.parametrize("base", ["asvspoof2019_nes2net_x", "asvspoof5_aasist"])
def test_a_recipe_inherits_the_model_of_a_packaged_recipe_named_as_its_base(path, base):
    """The packaged one may have a base itself."""
    path.write_text(f"base: {base}\ntrain: {{lr: 1e-5}}\n")
    packaged = load_recipe(base)
    recipe = load_recipe(path)
    assert recipe.train.lr == 1e-5
    assert recipe.model == packaged.model


def test_the_example_recipe_in_train_md_inherits_the_model_of_its_packaged_base(path):
    page = (REPOSITORY / "docs" / "train.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```yaml\n(base: .*?)```", page, re.DOTALL)
    path.write_text(block)
    assert load_recipe(path).model == load_recipe("asvspoof2019_nes2net_x").model


def test_a_base_that_a_recipe_cannot_build_on_is_refused_with_the_reason(path):
    for name, text in (("plain", "seed: 3\n"), ("with_base", "base: plain.yaml\n")):
        Path(f"{name}.yaml").write_text(text)
    for base, message in (
        ("../other.yaml", "must be the name of a packaged recipe, or of a file beside it without its folder, not"),
        ("with_base.yaml", r"with_base\.yaml, which has a base itself: name 'plain\.yaml' as base"),
        ("none.yaml", r"recipe\.yaml builds on .*none\.yaml, which is not there"),
    ):
        path.write_text(f"base: {base}\n")
        with input_error(message):
            load_recipe(path)


@pytest.mark.parametrize(
    "recipe, overrides, name",
    [
        ("asvspoof2019_nes2net_x", ["model.frontend=lps"], "lps_nes2net_x"),
        ("ctrsvdd_nes2net_sea", ["model.aggregation=attm"], "wavlm_large_attm_nes2net"),
        ("based.yaml", [], "lps_nes2net_x"),
    ],
)
def test_replacing_a_front_end_or_aggregation_names_the_run_after_its_parts(path, recipe, overrides, name):
    Path("base.yaml").write_bytes((PACKAGED / "asvspoof2019_nes2net_x.yaml").read_bytes())
    Path("based.yaml").write_text("base: base.yaml\nmodel: {frontend: lps}\n")
    assert load_recipe(recipe, overrides).name == name


def test_replacing_an_aggregation_drops_the_comment_of_the_recipe():
    assert load_recipe("ctrsvdd_nes2net_sea", ["model.aggregation=attm"]).comment is None


@pytest.mark.parametrize(
    "recipe, overrides, name, comment",
    [
        ("asvspoof2019_nes2net_x", ["train.lr=1e-5", "model.backend.dilation=1"], "wav2vec2_Nes2Net_X", None),
        ("ctrsvdd_nes2net_sea", ["model.backend={name: nes2net}"], "WavLM_Nes2Net", "SEA"),
    ],
)
def test_changing_only_options_of_the_model_or_training_keeps_the_name_and_comment_of_the_recipe(
    recipe, overrides, name, comment
):
    loaded = load_recipe(recipe, overrides)
    assert loaded.name == name
    assert loaded.comment == comment


def test_a_name_and_a_comment_among_the_overrides_are_used_even_if_a_front_end_is_replaced():
    loaded = load_recipe("asvspoof2019_nes2net_x", ["model.frontend=lps", "name=mine", "comment=a"])
    assert loaded.name == "mine"
    assert loaded.comment == "a"


def test_a_recipe_without_a_name_is_called_run_even_if_an_override_replaces_its_back_end(path):
    assert load_recipe(path, ["model.backend=aasist"]).name == "run"


def test_every_recipe_of_configs_is_packaged():
    assert packaged_recipes() == [config.stem for config in CONFIGS]


def test_the_name_of_a_packaged_recipe_loads_the_same_recipe_as_its_path(path):
    assert load_recipe(CONFIGS[-1].stem, ["seed=5"]) == load_recipe(CONFIGS[-1], ["seed=5"])


def test_a_file_in_the_working_folder_hides_the_packaged_recipe_of_that_name(path):
    Path("asvspoof5_aasist").write_text("name: mine")
    assert load_recipe("asvspoof5_aasist").name == "mine"


def test_a_folder_in_the_working_folder_does_not_hide_the_packaged_recipe_of_that_name(path):
    Path("asvspoof5_aasist").mkdir()
    assert load_recipe("asvspoof5_aasist").name == "wavlm_aasist"


def test_a_file_that_cannot_be_read_as_a_recipe_is_refused_with_the_reason(path):
    twice = b"seed: 1\ntrain: {lr: 1}\ntrain: {lr: 1}\n"
    for content, message in (
        (b"- 1\n", r"must have keys such as 'model:' and 'data:', not \[1\]"),
        (twice, "not valid YAML: the key 'train' occurs twice .*line 3"),
        (b"name: \xff\n", "is not a text file: byte 6 is not UTF-8"),
    ):
        path.write_bytes(content)
        with input_error(rf"recipe\.yaml.*{message}"):
            load_recipe(path)


def test_recipes_allow_exactly_the_values_of_algo_and_precision_that_training_implements():
    """The recipe modules may not import the code of training, so they list the values themselves."""
    key_of_name = {key.name: key for key in all_keys()}
    assert key_of_name["augment.algo"].schema["minimum"] == 0
    assert key_of_name["augment.algo"].schema["maximum"] == ALGORITHMS[-1]
    assert key_of_name["train.precision"].schema["enum"] == list(SCORING_PRECISIONS)


TWO = "data.corpora=[{name: asvspoof2019_la, root: 0520}, {name: 'hub:owner/Fake.Set@v1', weight: 2}]"


def test_an_override_sets_a_key_of_one_of_several_corpora_by_the_name_of_that_corpus():
    """A data set on the hub is named without its owner and its version."""
    overrides = [TWO, "data.corpora.Fake.Set.root=DB", "data.corpora.asvspoof2019_la.root=LA"]
    la, fake = load_recipe("asvspoof2019_nes2net_x", overrides).data.corpora
    assert (la.name, la.root) == ("asvspoof2019_la", "LA")
    assert (fake.name, fake.root) == ("hub:owner/Fake.Set@v1", "DB")
    assert fake.weight == 2


def test_folders_that_look_like_numbers_in_a_list_of_corpora_stay_text():
    """Also in the saved recipe."""
    recipe = load_recipe("asvspoof2019_nes2net_x", [TWO, "data.corpora.Fake.Set.root=1e-6"])
    assert [corpus.root for corpus in recipe.data.corpora] == ["0520", "1e-6"]
    assert recipe_from_dict(recipe.to_dict()) == recipe == recipe_from_dict(recipe.to_readable_dict())


LA = {"name": "asvspoof2019_la", "root": "DB"}
DF = {"name": "asvspoof2021_df", "root": "DF"}
TRAINS = {"dev_split": None}
CHOOSES = {"train_split": None, "dev_split": "eval"}
MOVED = {"root": "DB", "protocols": "P", "dev_root": "moved", "dev_split": "eval", "dev_keys": "K"}
ELSEWHERE = {"root": "moved", "protocols": "P", "dev_keys": "K", "alias": "asvspoof2019_la_dev"}
OTHER = {"root": "DB", "dev_corpus": "asvspoof2021_df", "dev_root": "DF", "dev_split": "eval", "dev_phase": "eval"}


ONE = {"root": "DB", "train_split": "dev"}
IDS = ["one corpus", "another validates", "the same elsewhere validates"]


@pytest.mark.parametrize(
    "short, listed",
    [
        (ONE, [{**LA, "train_split": "dev"}]),
        (OTHER, [{**LA, **TRAINS}, {**DF, **CHOOSES, "dev_phase": "eval"}]),
        (MOVED, [{**LA, **TRAINS, "protocols": "P"}, {**LA, **CHOOSES, **ELSEWHERE}]),
    ],
    ids=IDS,
)
def test_data_keys_of_a_single_corpus_are_read_as_a_list_of_corpora(short, listed):
    assert DataConfig(**short) == DataConfig(corpora=listed)


@pytest.mark.parametrize("short", [ONE, OTHER, MOVED], ids=IDS)
def test_data_keys_of_a_single_corpus_are_not_written_as_a_list_of_corpora_into_the_recipe(short):
    written = DataConfig(**short).to_readable_dict()
    assert short.items() <= written.items()
    assert "corpora" not in written


@pytest.mark.parametrize(
    "short, key", [(ONE, "data.root"), (OTHER, "data.dev_root"), (MOVED, "data.dev_root")], ids=IDS
)
def test_key_of_names_the_data_key_that_sets_the_folder_of_the_development_corpus(short, key):
    data = DataConfig(**short)
    assert data.key_of(data.parts("dev")[-1], "root") == key


@pytest.mark.parametrize(
    "overrides, message",
    [
        ([TWO, "data.root=DB"], r"applies to a single corpus; move it into an entry of `data\.corpora`"),
        (["data.corpora=[{name: generic}, {name: generic}]"], "several of `data.corpora` are called generic.*`alias`"),
        (["data.corpora=[{name: a, rot: DB}]"], r"did you mean 'data\.corpora\[\]\.root'"),
        (["data.corpora=[{name: a, train_split: null, dev_split: null}]"], "a .* neither trains nor validates"),
        (
            ["data.corpora=[{name: a, train_split: null, weight: 2}]"],
            "weight` and `.*train_split=null` exclude each other",
        ),
        (["data.corpora=[{name: a, dev_split: null}]"], "none of `data.corpora` validates"),
        ([TWO, "data.corpora.b.root=DB"], "`data.corpora` has no 'b': name one of asvspoof2019_la, Fake.Set"),
        (["data.balance=[class]", "data.crop=pieces"], "`data.crop=pieces` makes batches by the length of pieces"),
        (
            [TWO, "validation.over=worst"],
            "`validation.over` is used only with .*, not with `validation.select_on=loss`",
        ),
        ([TWO, "data.train_scores=[a]", "data.dev_scores=[b]"], "scores of one corpus each: remove them, or let"),
        (["validation.select_on=eer", "validation.over=mean"], "needs several development corpora in `data.corpora`"),
    ],
)
def test_keys_of_data_or_validation_that_cannot_be_used_are_refused_with_the_reason(overrides, message):
    with input_error(message):
        load_recipe("asvspoof2019_nes2net_x", overrides)
