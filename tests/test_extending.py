"""The steps of docs/extending.md, followed to the letter: its files, its commands, its output."""

import doctest
import os
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import soundfile
from builders import PATIENCE
from builders.files import write
from builders.report_case import make_case, report_of
from builders.runs import assert_same_run, stop
from builders.scripts import python
from builders.strangers import install, installed_in
from conftest import REPOSITORY, repository_text

from nes2net.apps.experiments.description import Experiment
from nes2net.apps.experiments.result import SetResult, SystemOnSet, experiment_result
from nes2net.evaluation.page import html_page
from nes2net.metrics.registry import metrics
from nes2net.scoring.judging import JudgingSettings, judge_recording
from nes2net.training.run import train

TEXT = repository_text("docs/extending.md")
#: A file: its name on a line of its own, then a block that holds it.
FILE = re.compile(r"^`(?P<name>[\w./]+)`:\n\n```\w+\n(?P<content>.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: A command, and the output that the page shows.
COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)
#: A table of entry points in pyproject.toml.
POINTS = re.compile(r'^\[project\.entry-points\."nes2net\.(\w+)"\]\n((?:\w.*\n)*)', re.MULTILINE)
INSTALL = "pip install --no-deps --no-build-isolation -e ."
PROGRAMS = {"nes2net": ["-m", "nes2net"], "python": [], "pip": ["-m", "pip"]}


def commands():
    return [(m["command"], m["output"]) for block in CONSOLE.findall(TEXT) for m in COMMAND.finditer(block)]


def run(line, folder, environment):
    program, *arguments = line.split()
    command = [sys.executable, *PROGRAMS[program], *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The files of docs/extending.md in a folder of their own."""
    folder = tmp_path_factory.mktemp("my-parts")
    for block in FILE.finditer(TEXT):
        write(folder / block["name"], block["content"])
    return folder


@pytest.fixture(scope="module")
def installed(package):
    """The package, whose parts nes2net finds."""
    points: dict[str, dict[str, str]] = {}
    for kind, names in POINTS.findall(TEXT):
        points[kind] = dict(re.findall(r'^(\w+) = "(.*)"$', names, re.MULTILINE))
    install(package, "my-parts 0.1", points, {})
    with installed_in(package):
        yield package


def test_a_metric_is_a_column_of_text_page_latex_and_json_with_its_interval_and_term(installed, tmp_path):
    result = report_of(make_case(tmp_path), "good")
    low, high = result["zero_fa"].interval
    assert low <= result["zero_fa"].value <= high
    assert result.tables[0].to_dict()["units"]["zero_fa"] == "rate"
    for text in (result.text(), html_page(result), result.latex().replace("\\", "")):
        assert "zero-FA misses %" in text
    assert metrics.get("zero_fa").term.meaning in html_page(result)


def test_an_experiment_has_a_table_of_a_metric(installed):
    detector = SetResult("run", 1, {"zero_fa": 0.25}, (0, 1), "trials", 8, 8, "", None, None, "page.html")
    experiment = Experiment.model_construct(title="Tones", metrics=["zero_fa"], seeds=[1], leave_one_out=False)
    result = experiment_result(experiment, [SystemOnSet("system", "set", [detector])], [])
    assert result["zero_fa"].value == 0.25


def test_evidence_reads_the_file_and_its_errors_are_findings(installed, tmp_path, detector):
    soundfile.write(tmp_path / "a.wav", np.zeros(4800), 16000)
    ask = partial(judge_recording, detector, settings=JudgingSettings(evidence=["contains:RIFF"]))
    assert ask(tmp_path / "a.wav").to_row()["evidence"] == [{"finding": "RIFF: 1 times in the file", "number": 1}]
    answer = ask(np.full(4800, 0.1, np.float32), sample_rate=16000)
    assert answer.value == detector.score(np.full(4800, 0.1, np.float32), 16000)
    (row,) = answer.facts["evidence"]
    blamed = "contains: evidence 'contains' (package my-parts 0.1): its reader raised FileNotFoundError"
    assert row["finding"].startswith(blamed)


@pytest.mark.slow
def test_a_stopped_training_with_the_parts_of_extending_md_resumes_to_the_uninterrupted_result(installed, recipe):
    model = {"frontend": {"name": "band_energy"}, "aggregation": "layer_mean", "backend": "mean_frame"}
    values = {"model": model, "train": {"task": "level", "epochs": 2}}
    uninterrupted = train(recipe(comment="whole", **values), "cpu")
    torn = recipe(comment="torn", **values)
    stop(torn, 2, 1, "cpu")
    assert_same_run(train(torn, "cpu"), uninterrupted)


@pytest.mark.slow
def test_the_commands_of_extending_md_print_the_output_that_it_shows(package, tmp_path):
    site = tmp_path / "site"
    search = os.pathsep.join([str(site), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    checker = doctest.OutputChecker()
    assert commands()[0] == (INSTALL, "")
    for command, expected in commands():
        # Into a folder of this test, so that the environment stays as it is.
        done = run(command.replace(INSTALL, f"pip install -q {INSTALL[12:-4]} --target {site} ."), package, environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        shown = checker.check_output(expected, done.stdout, doctest.ELLIPSIS)
        assert shown, f"{command} printed\n{done.stdout}\nwhere docs/extending.md has\n{expected}"


def test_the_example_files_of_extending_md_pass_ruff_with_the_settings_of_the_project(package):
    for check in (["check"], ["format", "--diff"]):
        python("-m", "ruff", *check, "--config", REPOSITORY / "pyproject.toml", package)
