"""`nes2net info` as a map, and of every name."""

import json
import re
from functools import cache

import pytest
from builders import slow, some

from nes2net.apps.info import costs, names
from nes2net.apps.info.overview import STORED, STORED_CARDS, stored_overview
from nes2net.apps.info.part_options import option_rows
from nes2net.data.registry import corpora
from nes2net.lib.parts.options import options_of
from nes2net.models.frontends.sizes import SIZES
from nes2net.models.published_models import PUBLISHED_MODELS
from nes2net.models.registry import backends, create_frontend, frontends
from nes2net.training.recipes.reading import load_recipe, packaged_recipes, recipe_notes

KINDS = names.names()
#: Models and sizes of front-ends that are described as others are; a large one takes seconds.
ALIKE = re.compile("antideepfake_(?!w2v_s)|deepfense_hubert|spoof_superb_(?!wav2vec2)|WavLM_Nes2Net_X_|df_arena_1b")
SIZES_ALIKE = {name for name, size in SIZES.items() if name != size.frontend} - {"wav2vec2_base", "unispeech_sat_large"}
#: Recipes and models that the fast suite builds, and recipes of other losses, adaptations or segments.
SHOWN = ["asvspoof2019_nes2net_x", "ctrsvdd_nes2net_x_sea", "WavLM_Nes2Net", "AASIST"]
UNLIKE = [f"asvspoof2019_{name}" for name in ("ensemble", "logistic", "mpif_res2net", "nes2net_x_lora")]
UNLIKE += ["asvspoof2019_one_class_distillation", "partialspoof_nes2net_x_segments"]
BUILT = UNLIKE + [name for name in KINDS["models"] if not ALIKE.match(name) and name not in SHOWN]
QUICK = [
    name
    for kind, kind_names in KINDS.items()
    if kind not in ("recipes", "models")
    for name in kind_names
    if name not in KINDS
]


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Every recipe is read once, and parts are counted on few layers and frames."""

    def few_layers(name):
        has_layers = "encoder_layers" in options_of(frontends.get(name))
        return create_frontend(name, **({"encoder_layers": 2} if has_layers else {}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "load_recipe", cache(load_recipe))
        patch.setattr(costs, "create_frontend", few_layers)
        patch.setattr(costs, "PAPER_FRAMES", 32)
        yield


def test_info_alone_and_info_of_a_kind_have_a_line_for_every_name(info):
    lines = info().splitlines()
    for kind, kind_names in KINDS.items():
        start = lines.index(kind) + 1
        section = lines[start : start + len(kind_names)]
        assert [line.split()[0] for line in section] == kind_names
        assert all(len(line.split()) > 1 for line in section), "a name without a meaning"
        assert info(kind).splitlines()[3:] == section  # the kind alone


def test_the_stored_map_of_all_names_equals_one_made_anew_from_the_parts():
    """The map is what `nes2net info` prints without a name."""
    live = names.overview()
    assert json.loads(STORED.read_text(encoding="utf-8")) == live.tables, "run python scripts/site/overview.py"
    assert stored_overview().text() == live.text()


def test_if_another_package_registers_a_part_the_stored_map_of_all_names_is_not_used(monkeypatch):
    monkeypatch.setitem(backends._table, "theirs", "their:Part")
    assert stored_overview() is None


def tables_of(name):
    """The stored tables of a published model."""
    return json.loads(STORED_CARDS.read_text(encoding="utf-8"))[name]


def test_the_stored_options_of_every_published_model_equal_those_of_its_configuration():
    for name, config in PUBLISHED_MODELS.items():
        made_anew = json.loads(json.dumps(names.model_rows(config)))
        assert tables_of(name)["options that differ from the defaults of the parts"] == made_anew, name


@pytest.mark.parametrize("name", ["AASIST", *slow(*(name for name in PUBLISHED_MODELS if name != "AASIST"))])
def test_the_stored_tables_of_a_published_model_equal_those_made_anew_from_its_parts(name):
    assert tables_of(name) == json.loads(json.dumps(names.card_tables(name))), "run python scripts/site/overview.py"


@pytest.mark.parametrize("name", [*some(SHOWN + [n for n in QUICK if n not in SIZES_ALIKE]), *slow(*BUILT)])
def test_every_name_has_a_sheet_that_suggests_a_command(name):
    sheets = names.sheets(name)  # of parts and models it counts parameters and operations
    assert sheets
    for sheet in sheets:
        assert sheet.text().startswith(f"{name}: ")
        assert sheet.commands


def test_the_sheet_of_a_corpus_has_the_rule_of_its_eer_and_its_numbers_of_trials(info):
    for name in KINDS["corpora"]:
        fields = info(name, "--json")
        corpus = corpora.get(name)
        assert fields["EER rule"].startswith(f"{corpus.eer_method}: "), name
        numbers = fields.get("official numbers", []) + fields.get("reported numbers", [])
        assert [row["trials"] for row in numbers] == [count.trials for count in corpus.counts.values()], name


@pytest.mark.parametrize("name, title", [("asvspoof2019_la", "official numbers"), ("add2023", "reported numbers")])
def test_info_calls_numbers_of_trials_official_unless_they_come_from_benchmarks(name, title, info):
    assert [field for field in info(name, "--json") if field.endswith(" numbers")] == [title]


@pytest.mark.parametrize("registry", [frontends, backends], ids=["front-ends", "back-ends"])
def test_info_gives_a_meaning_for_every_option_of_a_front_end_or_back_end(registry):
    for name in registry.names():
        assert [row["option"] for row in option_rows(registry, name) if not row["meaning"]] == [], name


def test_info_gives_the_default_the_values_and_the_meaning_of_an_option_of_a_part(info):
    fields = info("nes2net_x", "--json")
    (option,) = [row for row in fields["options"] if row["option"] == "nes_ratio"]
    assert option["default"] == [8, 8]
    assert option["takes"].startswith("a list of two")
    assert "outer groups" in option["meaning"]


def test_info_lists_only_the_changed_settings_of_a_recipe_and_their_sources(info):
    fields = info("asvspoof2019_nes2net_x", "--json")
    rows = {row["key"]: row for row in fields["keys that differ from the defaults"]}
    assert rows["augment.algo"]["value"] == 4
    assert rows["augment.algo"]["source"].startswith("command")
    assert "train.lr" not in rows  # it has the default


def test_info_gives_the_default_and_the_source_of_a_key_of_recipes(info):
    key = info("recipe", "train.lr", "--json")
    assert key["default"] == "2.5e-07"
    assert key["source"].startswith("main.py --lr")


def test_every_source_that_a_packaged_recipe_notes_is_that_of_one_of_its_keys():
    for name in packaged_recipes():
        sources = recipe_notes(name).sources
        keys = ("base", "model", *names._values_by_key(load_recipe(name)))
        options = tuple(f"{key}." for key in keys)
        assert sources, name
        assert [key for key in sources if key not in keys and not key.startswith(options)] == [], name


def test_info_answers_a_misspelt_name_with_the_nearest(refused):
    for wrong, meant in (("asvspof5", "asvspoof5"), ("SLS", "sls"), ("nes2netx", "nes2net_x")):
        refused(f"info {wrong}", f"did you mean '{meant}'?")
