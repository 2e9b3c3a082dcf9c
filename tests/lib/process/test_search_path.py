"""Code and settings that lie in the current folder are not used."""

import ast
import os
import re
import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest
import soundfile
from builders.files import write
from conftest import REPOSITORY

import nes2net
from nes2net.lib.process.search_path import python_command

PLANTED = "open('ran_{}', 'w').close(); raise SystemExit('code of the current folder runs')"
MAIN = "import sys; from nes2net.cli.main import main; sys.exit(main())"
CHECK = ["data", "check", "generic", "list.csv", "--audio", "--workers", "2"]


@pytest.fixture
def corpus(tmp_path):
    """A folder with two recordings, their list, and modules and settings that nobody asked for."""
    folder = tmp_path / "corpus"
    write(folder / "list.csv", "path,label\n0.wav,bonafide\n1.wav,spoof\n")
    for number in range(2):
        noise = np.random.default_rng(number).standard_normal(16000)
        soundfile.write(folder / f"{number}.wav", 0.1 * noise, 16000)
    for module in ("multiprocessing", "nes2net", "soundfile"):
        write(folder / f"{module}.py", PLANTED.format(module))
    write(folder / "matplotlibrc", "text.usetex: True\n")
    return folder


def run(command, folder, **variables):
    """Run a command in ``folder``; what it prints, after no code of the folder ran."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | variables
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert [path.name for path in folder.glob("ran_*")] == [], done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def script(folder, text):
    """A program in another folder, as the console script is: Python searches its folder, not the current one."""
    return [sys.executable, str(write(folder / "programs" / "program.py", dedent(text)))]


@pytest.mark.slow
def test_decoding_processes_use_no_code_of_the_current_folder(corpus, tmp_path):
    """Neither those of `nes2net data check` nor those of the server."""
    assert "2 files" in run([*script(tmp_path, f"if __name__ == '__main__':\n    {MAIN}\n"), *CHECK], corpus)
    text = """
    from pathlib import Path
    from nes2net.apps.serve.decoding import decode
    if __name__ == "__main__":
        print(decode(Path("0.wav"), Path("whole.wav"), None, longest=60, check=lambda: None)[0])
    """
    assert run(script(tmp_path, text), corpus) == "1.0\n"


@pytest.mark.slow
def test_workers_under_spawn_use_no_code_of_the_current_folder(corpus, tmp_path):
    text = """
    import torch
    from nes2net.lib.process.workers import Loader
    if __name__ == "__main__":
        torch.multiprocessing.set_start_method("spawn")
        print([batch for batch in Loader([1, 2], [[0], [1]], list, 1)])
    """
    assert run(script(tmp_path, text), corpus) == "[[1], [2]]\n"


def test_python_command_passes_arguments_and_finds_nes2net_and_pythonpath_but_not_the_current_folder(corpus, tmp_path):
    write(tmp_path / "modules" / "of_the_user.py", "NAME = 'mine'")
    code = "import nes2net, of_the_user, multiprocessing; print(sys.argv[1:], of_the_user.NAME, nes2net.__file__)"
    words = [*python_command(code), "run", "--jobs", "2"]
    expected = f"['run', '--jobs', '2'] mine {nes2net.__file__}\n"
    assert run(words, corpus, PYTHONPATH=str(tmp_path / "modules")) == expected


@pytest.mark.slow
@pytest.mark.parametrize("start", [["-m", "nes2net"], ["-c", MAIN]])
def test_nes2net_started_by_python_imports_no_code_of_the_current_folder_itself(corpus, start):
    """Python imports `multiprocessing` and `nes2net` from there before nes2net can object, so the test removes both."""
    for module in ("multiprocessing", "nes2net"):
        (corpus / f"{module}.py").unlink()
    assert "2 files" in run([sys.executable, *start, *CHECK], corpus)


@pytest.mark.slow
def test_drawing_uses_the_matplotlib_settings_of_the_user_not_of_the_current_folder(corpus, tmp_path):
    text = """
    import numpy
    from pathlib import Path
    from nes2net.training.preview import plot
    from nes2net.lib.output.pictures import matplotlib
    plot(Path("plot.png"), numpy.ones(16000), numpy.ones(16000), "before", "after")
    print(matplotlib.rcParams["text.usetex"], matplotlib.rcParams["font.size"])
    """
    (tmp_path / "settings").mkdir()
    write(tmp_path / "settings" / "matplotlibrc", "font.size: 11\n")  # the user's own settings hold
    words = script(tmp_path, text)
    assert run(words, corpus, MATPLOTLIBRC=str(tmp_path / "settings")) == "False 11.0\n"


def test_only_the_module_pictures_imports_matplotlib():
    """It leaves out the settings of the current folder."""
    importing = re.compile(r"^ *(from|import) matplotlib\b", re.MULTILINE)
    modules = (REPOSITORY / "nes2net").rglob("*.py")
    assert [path.name for path in modules if importing.search(path.read_text(encoding="utf-8"))] == ["pictures.py"]


STARTS = {"ProcessPoolExecutor", "get_context", "DataLoader", "Pool"}


@pytest.fixture(scope="module")
def names_by_module():
    """The names and attributes that each module of the package uses which may start a process."""
    names = {}
    for path in sorted((REPOSITORY / "nes2net").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if not any(word in text for word in (*STARTS, "executable")):
            continue
        nodes = list(ast.walk(ast.parse(text)))
        used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        used |= {node.id for node in nodes if isinstance(node, ast.Name)}
        names[path.relative_to(REPOSITORY / "nes2net").as_posix()] = used
    return names


def test_every_module_that_starts_processes_secures_their_search_path(names_by_module):
    starting = {module: used for module, used in names_by_module.items() if used & STARTS}
    assert starting
    assert [module for module, used in starting.items() if "secure_multiprocessing" not in used] == []


def test_only_python_command_starts_a_further_python(names_by_module):
    """It keeps the current folder from the search path."""
    assert [module for module, used in names_by_module.items() if "executable" in used] == [
        "lib/process/search_path.py"
    ]
