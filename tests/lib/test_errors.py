"""Messages name a setting by its flag or key in the program that prints them."""

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import input_error
from builders.files import write
from conftest import REPOSITORY

from nes2net.actions.evaluation import evaluate
from nes2net.cli.main import build_parser, main
from nes2net.cli.published import easy_inference_demo as demo
from nes2net.cli.published import main as legacy
from nes2net.lib.errors import MissingLibrary, concerning, settings_called, with_flag_names
from nes2net.scoring.score_file import write_scores
from nes2net.training.recipes.data import CorpusConfig
from nes2net.training.recipes.recipe import Recipe

PACKAGE = REPOSITORY / "nes2net"
# Double backticks are those of a docstring.
SETTING = re.compile(r"(?<!`)`([\w.]+)(?:=[^`\s]+)?`(?!`)")
# Whole commands may stand in a message: their flags are those of the program that they name.
COMMAND = re.compile(
    r"(nes2net (augment|average|calibrate|enrol|evaluate|experiment|export|predict|score|\{\}) |torchrun |pip install |"
    r"docker run |speech-spoof-bench |main\.py |CtrSVDD program )[^`(),]*"
)
FLAG = re.compile(r"(?<![\w-])(?<!var\()(?<!style=\")--[a-z]")


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string of a module except docstrings; ``{}`` marks f-string values."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    alone = {node.value for node in nodes if isinstance(node, ast.Expr)}
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    alone |= {value for node in joined for value in node.values}
    for node in joined:
        yield node.lineno, "".join(value.value if isinstance(value, ast.Constant) else "{}" for value in node.values)
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in alone:
            yield node.lineno, node.value


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, int, str]]:
    """Module, line and text of every string of the package."""
    paths = [(path, path.relative_to(PACKAGE).as_posix()) for path in sorted(PACKAGE.rglob("*.py"))]
    return [(name, line, text) for path, name in paths for line, text in literals(path)]


@pytest.fixture(scope="module")
def messages(texts) -> list[tuple[str, str]]:
    """Place and text of what the library says; the command line and the pages speak for themselves."""
    pages = ("part_options.py", "published_tables.py", "space.py", "command.py")
    of_commands = ("cli/", "apps/serve/", "lib/web/http_server.py", "apps/report/", "actions/flags.py", "lib/shell/")
    library_texts = [text for text in texts if not text[0].startswith(of_commands) and not text[0].endswith(pages)]
    return [(f"{name}, line {line}", text) for name, line, text in library_texts]


@pytest.mark.slow
def test_messages_of_the_library_name_no_flags(messages):
    assert [location for location, text in messages if FLAG.search(COMMAND.sub("", text))] == []


def test_every_setting_in_a_message_exists(messages):
    """Each name in backticks is a flag of a program, a key of a recipe, or an argument of Python."""
    commands = build_parser().commands().values()
    existing_names = {
        name for parser in (*commands, legacy.build_parser(), demo.build_parser()) for name in parser.flags()
    }
    existing_names |= {
        "on_error",
        "time",
        "encoding",
        "sample_rate",
        "channels",
        "alarm_probability",
        "clear_probability",
        "half_life",
    }  # arguments of Python
    existing_names |= {"slope", "intercept", *CorpusConfig.model_fields}  # keys of mappings
    # An option of a part is a key of recipes, whose parts have options of their own.
    used = {
        (location, re.sub(r"^(model\.\w+|train\.(?:loss|task)|segments\.loss)\..+", r"\1", name))
        for location, text in messages
        for name in SETTING.findall(text)
    }
    assert len(used) > 60
    assert {(location, name) for location, name in used if name not in existing_names} == set()


def test_no_message_says_by_hand_how_an_extra_is_installed(texts):
    """Only ``how_to_install`` does: the command depends on how nes2net was installed."""
    project = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    declared = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    of_extras = set(re.findall(r'"([\w-]+)(?:\[\w+\])?[<>=]', declared))
    assert {"ray", "fastapi", "pyroomacoustics"} <= of_extras
    by_hand = re.compile(rf"nes2net\[|\.\[|pip install (-\S+ )*['\"]?({'|'.join(of_extras)}|nes2net)\b")
    install_hints = [(name, text) for name, _, text in texts if "pip install" in text or "nes2net[" in text]
    assert {name for name, text in install_hints if by_hand.search(text)} == {"lib/process/installation.py"}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("`data.root` is not set", "--database_path is not set"),
        ("give `data.root=…`", "give --database_path …"),
        ("pass `overwrite=True`", "pass --overwrite"),
        ("`train.schedule=cosine` and `train.t_max`", "--set train.schedule=cosine and --set train.t_max"),
        (
            "`data.root` in `data.rooted`, 'data.root', data.root and `nes2net score`",
            "--database_path in `data.rooted`, 'data.root', data.root and `nes2net score`",
        ),
        ("take `model.frontend=wav2vec2_small`", "take --ssl_config small"),
    ],
)
def test_main_py_calls_only_settings_in_backticks_by_its_flags(text, expected):
    with settings_called(legacy.build_parser().flags()):
        assert with_flag_names(text) == expected


def test_every_key_of_a_recipe_has_a_flag_in_main_py():
    flags = legacy.build_parser().flags()
    for section, values in Recipe().to_dict().items():
        names = [f"{section}.{key}" for key in values] if isinstance(values, dict) else [section]
        for name in names:
            assert flags[name].startswith("--")


@pytest.fixture
def error_of(tmp_path, monkeypatch, capsys):
    """A function that returns the error of a program, which ends with status 2, in a folder with a recipe and a list."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "recipe.yaml", "name: tiny\n")
    write(tmp_path / "list.csv", "path,label\na.wav,bonafide\nb.wav,spoof\n")
    write_scores(tmp_path / "scores.txt", ["a"], [1.0])

    def run(words):
        program = legacy.main if words.startswith("--") else main
        model_flag = "--model_name wav2vec2_Nes2Net_X " if words.startswith("--") else ""
        assert program(f"{model_flag}{words}".split()) == 2
        return capsys.readouterr().err

    return run


IN_THE_WILD = "--eval --eval_output s --model_path m --track in_the_wild --in_the_wild_path ."
NO_FOLDER = "error: where is the corpus? name its folder with "


@pytest.mark.parametrize(
    "words, message",
    [  # the first ones are raised by the corpus's module
        ("score asvspoof2019_la nowhere --model m --out s", "give `root` the folder"),
        ("score asvspoof2019_la . --model m --out s", "give --protocols the folder"),
        ("train recipe.yaml data.root=nowhere", "give `data.root` the folder"),
        ("train recipe.yaml data.root=.", "give `data.protocols` the folder"),
        ("--database_path nowhere", "give --database_path the"),
        ("--database_path .", "give --protocols_path the"),
        ("evaluate asvspoof2019_la s --keys .", "give --keys the folder"),
        ("train recipe.yaml", f"nes2net: {NO_FOLDER}`data.root`\n"),
        ("--num_epochs 1", f"main.py: {NO_FOLDER}--database_path\n"),
        (IN_THE_WILD, "give --in_the_wild_path the folder that holds release_in_the_wild"),
        ("--num_epochs 0", "main.py: error: --num_epochs must be a whole number of at least 1, not 0\n"),
        ("--set train.t_max=0", "main.py: error: --set train.t_max must be a whole number of at least 1, not 0\n"),
        (
            "evaluate generic scores.txt --keys list.csv",
            "without a score: b; correct them, or evaluate the rest with --allow-partial\n",
        ),
    ],
)
def test_messages_of_a_program_call_settings_as_its_users_give_them(error_of, words, message):
    assert message in error_of(words)


def test_messages_in_python_call_settings_by_their_arguments(error_of):
    with input_error(r"1 of 2 trials without a score: b; correct them, or evaluate the rest with `allow_partial`"):
        evaluate("generic", "scores.txt", "list.csv")


def test_an_error_raised_within_concerning_begins_with_the_file_and_trial_it_concerns():
    with pytest.raises(MissingLibrary) as info, concerning("scores.txt:"), concerning("trial 'a'"):
        raise MissingLibrary("needs `root`", subject="in line 3,", remedy="pass `root=…`")
    assert str(info.value) == "scores.txt: trial 'a' in line 3, needs `root`; pass `root=…`"


@pytest.fixture
def error():
    return MissingLibrary("needs `root`", subject="in line 3,", remedy="pass `root=…`")


def test_an_error_that_is_pickled_for_another_process_keeps_its_message(error):
    assert str(pickle.loads(pickle.dumps(error))) == "in line 3, needs `root`; pass `root=…`"


def test_reword_renames_the_settings_in_the_problem_and_in_the_remedy_of_an_error(error):
    with settings_called({"root": "data.root"}):
        error.reword()
    assert error.reason == "needs `data.root`; pass `data.root=…`"
