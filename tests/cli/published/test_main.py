"""The published flags: names, types, defaults, their place in a recipe, and one-line errors."""

import pytest
import torch
from builders import golden

from nes2net import Detector
from nes2net.cli.published import easy_inference_demo as demo
from nes2net.cli.published import main as legacy
from nes2net.training.recipes.recipe import Recipe

FLAGS = golden.read("cli_flags")
OWN_PATHS = "<a path of the user>"
PARSERS = {"main.py": legacy.build_parser, "easy_inference_demo.py": demo.build_parser}
MODEL = "--model_name wav2vec2_Nes2Net_X"


@pytest.mark.parametrize("script", PARSERS)
def test_every_published_flag_is_declared_as_in_the_published_program(script):
    actions = {option: action for action in PARSERS[script]()._actions for option in action.option_strings}
    for flag, kind, default, choices, nargs, action, required in FLAGS[script]:
        argument = actions[flag]
        assert (argument.type.__name__ if argument.type else "str") == (kind or "str"), flag
        assert argument.default == (None if default == OWN_PATHS else default), flag
        assert (list(argument.choices) if argument.choices else None) == choices, flag
        assert argument.nargs == nargs, flag
        assert bool(argument.required) == required, flag
        assert type(argument).__name__ == f"_{action}", flag


def recipe(words=""):
    return legacy.recipe_from_flags(legacy.build_parser().parse_args(f"{MODEL} {words}".split()))


def test_published_flags_become_settings_of_the_recipe():
    full = recipe("--lr 2.5e-7 --algo 4 --P 20 --pool_func ASTP --SE_ratio 8 --Nes_ratio 4 8")
    assert full.train.lr == 2.5e-7
    assert full.augment.algo == 4
    assert full.augment.parameters == {"P": 20}
    options = {"nes_ratio": [4, 8], "dilation": 2, "pool": "astp", "se_ratio": 8, "num_logits": 2}
    assert full.model["backend"] == {"name": "nes2net_x", **options}
    assert full.model["frontend"] == {"name": "wav2vec2"}


def test_flags_choose_the_front_end_and_change_keys_of_the_recipe():
    small = recipe("--ssl_config small")
    assert small.model["frontend"] == {"name": "wav2vec2_small"}
    assert small.ssl_checkpoint is None  # of pre-training
    assert recipe("--frontend lps").model["frontend"] == {"name": "lps"}
    changed = recipe("--set name=mine train.schedule=cosine model.backend.dilation=1")
    assert (changed.name, changed.train.schedule, changed.model["backend"]["dilation"]) == ("mine", "cosine", 1)


def test_a_recipe_without_flags_has_the_published_batch_size_and_seed_and_is_named_after_its_model_or_parts():
    published = recipe()
    assert (published.train.batch_size, published.seed) == (12, 1234)
    assert published.name == "wav2vec2_Nes2Net_X"
    assert recipe("--ssl_config small --set model.backend.dilation=1").name == "wav2vec2_small_nes2net_x"


def test_flags_that_main_py_has_besides_the_published_ones_become_settings_of_the_recipe():
    changed = recipe("--augment_rng legacy --select_on minDCF --compile")
    assert (changed.augment.rng, changed.validation.select_on, changed.train.compile) == ("legacy", "min_dcf", True)


def test_settings_without_a_published_default_have_the_default_of_recipes():
    published = recipe()
    keys = {"augment": ["rng"], "data": ["num_workers"], "train": ["compile"], "validation": ["select_on"]}
    for section, names in keys.items():
        for name in names:  # without a flag, the default of recipes
            assert getattr(getattr(published, section), name) == getattr(getattr(Recipe(), section), name), name


DRAWS = "--augment_rng is used only with --algo other than 0: remove it, or add --algo other than 0"


def test_errors_of_main_py_are_one_line_with_status_2_and_leave_no_file(corpus, workdir, refused):
    folders = {"corpus": corpus}
    folders["small"] = f"--database_path {corpus} --ssl_config small"
    folders["scoring"] = f"--eval --eval_output s.txt --database_path {corpus}"
    for arguments, message in (
        ("--track LB", "argument --track: invalid choice: 'LB'"),
        ("{small} --augment_rng legacy --algo 0", DRAWS),
        ("", "where is the corpus? name its folder with --database_path"),
        ("--database_path {corpus}", "front-end checkpoint xlsr2_300m.pt not found"),
        ("{small} --set train.lrr=1", "did you mean 'train.lr'"),
        ("--eval --database_path {corpus}", "--eval_output"),
        ("{scoring}", "--model_path"),
        ("{scoring} --num_average_model 1 --model_ID_to_average 1", "--model_path"),
    ):
        error = refused(f"{MODEL} {arguments.format(**folders)}", message, program=legacy.main)
        assert error.startswith("main.py: error: ")
        assert list(workdir.iterdir()) == []


def test_a_checkpoint_of_another_model_is_refused_with_the_tensors_that_do_not_fit(
    small_model, corpus, workdir, refused
):
    Detector.from_config(small_model).save("detector.pth")
    torch.save(dict(torch.load("detector.pth", weights_only=True)), "bare.pth")  # no record of its architecture
    words = f"{MODEL} --eval --eval_output s.txt --database_path {corpus} --model_path bare.pth --ssl_config small"
    messages = ("bare.pth does not fit this model", "ssl_model.model.feature_extractor", "where (")
    refused(words, *messages, program=legacy.main)


@pytest.fixture
def score(detector, corpus, workdir, output):
    """A function that scores with further flags; it must end with this status: what is on standard error."""
    detector.save("detector.pth")
    base = f"{MODEL} --eval --database_path {corpus} --model_path detector.pth --num_workers 0 --eval_output s.txt"
    return lambda flags, status=0: output(f"{base} {flags}", status, program=legacy.main).err


def test_a_finished_score_file_is_said_to_be_complete_already(score):
    """Flags of the published program without effect are noted."""
    assert "note: --loss, --is_eval accepted for com" in score("--test_samples 8000 --is_eval --loss WCE")
    assert "complete already" in score("--test_samples 8000")


def test_scores_of_another_length_or_mode_are_replaced_only_by_overwrite(score, corpus):
    wild = f"--track in_the_wild --in_the_wild_path {corpus}"
    score(f"{wild} --test_samples 8000")
    score(f"{wild} --test_samples 9000", status=2)
    changed = "--test_samples 8000 --legacy_train_mode"
    score(f"{wild} {changed}", status=2)
    assert "12 of 12" in score(f"{wild} {changed} --overwrite")
