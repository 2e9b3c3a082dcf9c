"""The wheel holds all that a user runs, and the source archive all that its own tests need."""

import ast
import email
import fnmatch
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from builders import PATIENCE
from builders.files import write
from builders.http_server import running
from builders.scripts import python
from conftest import REPOSITORY, repository_text

from nes2net.cli import main
from nes2net.data.registry import effects
from nes2net.models import registry
from nes2net.training.registry import losses

#: Run when Python starts: AASIST comes from a server on this machine. Size and SHA-256 stay those of its publisher's file.
STAND_IN = """from dataclasses import replace
from nes2net.models.published_models import PUBLISHED
PUBLISHED["AASIST"] = replace(PUBLISHED["AASIST"], file=replace(PUBLISHED["AASIST"].file, url="ADDRESS/AASIST.pth"))
"""
PYTHON_VERSIONS = ("3.10", "3.11", "3.12", "3.13")
CAPTURED = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "stdin": subprocess.DEVNULL}


def files_of_the_repository():
    """Every file but those that git ignores; in an unpacked source archive, every file of it."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (REPOSITORY / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(git, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
        return [Path(name) for name in listed.split("\0") if (REPOSITORY / name).is_file()]
    sources = repository_text("nes2net.egg-info/SOURCES.txt")
    return [path for path in map(Path, sources.splitlines()) if not path.match("*.egg-info/*")]


FILES = files_of_the_repository()


def test_pyproject_toml_declares_exactly_the_data_files_of_the_package():
    """Such as a template, a style or a table."""
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads(repository_text("pyproject.toml"))
    declared = project["tool"]["setuptools"]["package-data"]
    declared_files = set()
    for package, patterns in declared.items():
        for pattern in patterns:
            declared_files.update(REPOSITORY.joinpath(*package.split(".")).glob(pattern))
    data = {REPOSITORY / path for path in FILES if path.parts[0] == "nes2net" and path.suffix != ".py"}
    assert declared_files == data


def test_every_file_of_the_source_archive_is_smaller_than_2_mb():
    assert max((REPOSITORY / path).stat().st_size for path in FILES) < 2e6


@pytest.mark.slow
def test_no_message_names_a_file_that_the_wheel_lacks():
    """Messages, texts of parts for `nes2net info`, and the help of every command."""
    texts = [main.build_parser().format_help(), *(p.format_help() for p in main.build_parser().commands().values())]
    for path in (REPOSITORY / "nes2net").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings]
        texts += [node.value for node in constants if isinstance(node.value, str)]
    for kind in (registry.frontends, registry.aggregations, registry.backends, effects, losses):
        texts += [inspect.getdoc(kind.get(name)) or "" for name in kind.names()]
    results = yaml.safe_load(repository_text("nes2net/models/published_results.yaml"))
    texts += map(str, results["notes"].values())
    assert [text for text in texts if re.search(r"\b(docs|configs|scripts|tests)/\w", text)] == []


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A source archive of this checkout, and the wheel that is built from it, without a network."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("built")
    for path in FILES:
        target = folder / "source" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / path, target, follow_symlinks=False)
    for command in ("build --no-isolation --outdir dist source", "twine check --strict dist/*"):
        done = subprocess.run(f"{sys.executable} -m {command}", cwd=folder, shell=True, **CAPTURED)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def user(built, tmp_path_factory):
    """A function that runs a command as one who has the wheel, and no checkout, in an empty folder."""
    folder = tmp_path_factory.mktemp("user")
    environment = folder / "environment"
    empty_folder = folder / "empty"
    empty_folder.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    programs = environment / "bin"
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--no-compile", wheel], check=True)
    # Packages of this environment, but no links of it to a checkout: those of a folder named here are not followed.
    (packages,) = environment.rglob("site-packages")
    libraries = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    write(packages / "libraries.pth", libraries)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables["PATH"] = f"{programs}{os.pathsep}{variables['PATH']}"

    def run(*command, status=0):
        done = subprocess.run([programs / command[0], *command[1:]], cwd=empty_folder, env=variables, **CAPTURED)
        print(f"$ {shlex.join(map(str, command))}\n{done.stderr}{done.stdout}")
        assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def started(*command):
        """The first line that a process prints; it is stopped at the end."""
        words = [programs / command[0], *command[1:]]
        with subprocess.Popen(words, cwd=empty_folder, env=variables, **CAPTURED) as process:
            try:
                yield process.stdout.readline()
            finally:
                process.terminate()

    run.folder = empty_folder
    run.started = started
    run.variables = variables
    return run


@pytest.fixture(scope="module")
def unpacked(built, tmp_path_factory):
    """The folder that the source archive unpacks to."""
    (archive,) = built.glob("*.tar.gz")
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    (unpacked,) = folder.iterdir()
    return unpacked


@pytest.mark.weekly
def test_the_source_archive_holds_the_files_of_the_repository_and_no_link(unpacked):
    for path in FILES:
        assert (unpacked / path).read_bytes() == (REPOSITORY / path).read_bytes(), path
    assert not any(path.is_symlink() for path in unpacked.rglob("*"))


@pytest.mark.slow
def test_the_wheel_holds_the_files_of_the_package_and_the_recipes_and_no_others(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = {Path(name) for name in file.namelist() if ".dist-info/" not in name}
    recipes = {Path("nes2net/training/recipes/published", path.name) for path in FILES if path.parts[0] == "configs"}
    assert names == {path for path in FILES if path.parts[0] == "nes2net"} | recipes


@pytest.mark.weekly
def test_the_source_archive_passes_quick_tests_of_its_code_pages_and_files(unpacked):
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not two_steps and not logistic_regression"]
    command += ["tests/training/recipes/test_published.py", "tests/training/recipes/test_documentation.py"]
    command += ["tests/metrics/test_eer.py", "tests/test_house.py", "tests/test_imports.py"]
    command += ["tests/test_documentation.py", "tests/test_wheel.py"]
    python(*command, cwd=unpacked, PYTHONPATH=str(unpacked), PYTHONDONTWRITEBYTECODE="1")


@pytest.mark.slow
def test_the_wheel_declares_licence_paper_and_python_versions(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        (name,) = fnmatch.filter(file.namelist(), "*.dist-info/METADATA")
        metadata = email.message_from_bytes(file.read(name))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Project-URL"] == "Paper, https://arxiv.org/abs/2504.05657"
    classifiers = metadata.get_all("Classifier")
    for version in PYTHON_VERSIONS:
        assert f"Programming Language :: Python :: {version}" in classifiers


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHON_VERSIONS)
def test_the_wheel_can_be_installed_and_started_under_every_supported_python(built, tmp_path, version):
    python = f"python{version}"
    if shutil.which(python) is None or subprocess.run([python, "--version"], **CAPTURED).returncode != 0:
        pytest.skip(f"{python} is not installed")
    (wheel,) = built.glob("*.whl")
    environment = tmp_path / "environment"
    subprocess.run([python, "-m", "venv", environment], check=True)
    programs = environment / "bin"
    install = [programs / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", wheel], check=True)
    variables = dict(os.environ)
    variables.pop("PYTHONPATH", None)
    command = [programs / "nes2net", "--version"]
    printed = subprocess.run(command, cwd=tmp_path, env=variables, **CAPTURED)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.startswith("nes2net ")


@pytest.mark.slow
def test_the_command_of_the_wheel_runs_the_installed_package(user):
    where = "import nes2net, sys; print(nes2net.__file__.startswith(sys.prefix), nes2net.__version__)"
    inside, version = user("python", "-c", where).split()
    assert inside == "True"
    assert user("python", "-m", "nes2net", "--version") == user("nes2net", "--version") == f"nes2net {version}\n"


@pytest.mark.slow
def test_a_detector_is_trained_averaged_scored_and_evaluated_with_only_the_wheel(user, corpus, small_model):
    model = yaml.safe_dump(small_model, default_flow_style=True, width=10_000).strip()
    where = [f"data.root={corpus}", "--device", "cpu", f"model={model}", "ssl_checkpoint=null"]
    sizes = ["data.num_samples=8000", "data.num_workers=0", "train.epochs=2", "train.batch_size=4", "train.keep=all"]
    settings = ["train.lr=1e-3", "augment.algo=0", "date='1121'"]
    user("nes2net", "train", "asvspoof2019_nes2net_x", *where, *sizes, *settings)
    (run,) = (user.folder / "models").iterdir()
    user("nes2net", "average", run, "--last", "2", "--out", "detector.pth")
    detector = ["--model", "detector.pth", "--device", "cpu"]
    user("nes2net", "score", "asvspoof2021_la", corpus, *detector, "--out", "scores.txt", "--workers", "0")
    evaluate = ["asvspoof2021_la", "scores.txt", "--keys", corpus / "keys"]
    assert "EER" in user("nes2net", "evaluate", *evaluate, "--resamples", "20")


@pytest.mark.slow
def test_a_newcomer_predicts_calibrates_decides_and_serves_with_only_the_wheel(user, shared, tmp_path):
    """20 recordings are in two folders. With -s, the test prints what a newcomer reads."""
    for folder, kind in (("real", "ground-truth"), ("fake", "synthesized")):
        (user.folder / folder).mkdir()
        for path in sorted((shared / "real" / "audio" / "fastspeech2_demo").glob(f"*_{kind}.flac"))[:10]:
            shutil.copy(path, user.folder / folder)
    user.variables["HF_HOME"] = str(tmp_path)
    first = sorted(path.name for path in (user.folder / "real").iterdir())[0]
    model = ["--model", "AASIST", "--device", "cpu"]
    with running((shared / "real" / "aasist" / "AASIST.pth").read_bytes()) as publisher:
        (packages,) = user.folder.parent.rglob("site-packages")
        (packages / "stand_in.py").write_text(STAND_IN.replace("ADDRESS", publisher.address))
        (packages / "stand_in.pth").write_text("import stand_in\n")
        answer = user("nes2net", "predict", f"real/{first}", *model)
    calibration_flags, command = re.search(
        r"then add (.*):\n#   nes2net (calibrate recordings REAL FAKE .*)", answer
    ).groups()
    calibrate = shlex.split(command.replace("REAL", "real").replace("FAKE", "fake"))
    calibration_flags = shlex.split(calibration_flags)
    learned = user("nes2net", *calibrate, "--device", "cpu", "--allow-inverted")
    assert "trained on 10 bona fide and 10 spoofed recordings" in learned
    decided = user("nes2net", "predict", f"real/{first}", *model, *calibration_flags)
    assert decided.split("decision\n")[1].startswith(f"real/{first}")

    pytest.importorskip("fastapi_offline")
    predicted = json.loads(user("nes2net", "predict", f"real/{first}", *model, *calibration_flags, "--json"))
    with user.started("nes2net", "serve", *model, *calibration_flags) as line:
        address = re.search(r"http://\S+", line)[0]
        files = {"file": (user.folder / "real" / first).read_bytes()}
        served = httpx.post(f"{address}/api/score", files=files, timeout=PATIENCE).json()
    assert served["score"] == predicted["score"]
    assert served["probability"] == pytest.approx(predicted["probability"], abs=1e-6)
