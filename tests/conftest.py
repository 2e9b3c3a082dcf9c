"""Fixtures that many tests share."""

import gc
import os
import re
import signal
import sys
from collections import Counter
from contextlib import nullcontext, suppress
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.doctest import DoctestModule

gc.disable()  # until everything is imported
REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("tests", "scripts", "scripts/benchmarks")]

from builders import processor_seconds, shared_path  # noqa: E402

# Half of hypothesis's examples, where a test does not say otherwise, the same in each run, and as long as they take. A
# machine for the tests of a GPU may lack it.
with suppress(ModuleNotFoundError):
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "suite", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("suite")

# What a script starts in the background ignores Ctrl-C, and under nohup the end of a terminal; so would the programs
# that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Programs that tests start in other folders find the package by the same relative path.
if "PYTHONPATH" in os.environ:
    os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, os.environ["PYTHONPATH"].split(os.pathsep)))

# On a slow machine, lines of progress would come in between what tests compare.
os.environ.setdefault("NES2NET_PROGRESS_SECONDS", "0")


def repository_text(name):
    """The text of a file of the repository."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Look for doctests in the package alone: builders of files, and tests, have none."""
    return [collector for collector in (yield) if not isinstance(collector, DoctestModule)]


def pytest_configure(config):
    config.pluginmanager.register(processor_seconds)


def pytest_addoption(parser):
    parser.addoption("--allowed-skips", type=Path, metavar="FILE", help="fail if more tests skip than FILE allows")
    parser.addoption("--seconds", type=Path, metavar="FILE", help="fail if a test file takes longer than FILE says")
    parser.addoption(
        "--passed", type=Path, metavar="FILE", help="omit the tests that FILE lists, or list those that pass"
    )


def skipped(config):
    """How many tests were skipped, by reason."""
    reports = config.pluginmanager.get_plugin("terminalreporter").stats.get("skipped", [])
    return Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    """List the tests that passed, and let a run fail if tests were skipped that may not be."""
    if hasattr(session.config, "workerinput"):
        return
    passed_file = session.config.option.passed
    if passed_file is not None and not passed_file.exists():
        reports = session.config.pluginmanager.get_plugin("terminalreporter").stats.get("passed", [])
        passed_file.write_text("".join(f"{report.nodeid}\n" for report in reports), encoding="utf-8")
    seconds_file = session.config.option.seconds
    if seconds_file is not None and not processor_seconds.check_or_record(seconds_file):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if session.config.option.allowed_skips is None:
        return
    import yaml

    allowed = yaml.safe_load(session.config.option.allowed_skips.read_text(encoding="utf-8"))
    for reason, number in skipped(session.config).items():
        most = next((most for pattern, most in allowed.items() if re.search(pattern, reason)), 0)
        if most != "any" and number > most:
            print(f"\nerror: {number} tests are skipped, where {most} may be: {reason}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    for reason, number in skipped(terminalreporter.config).most_common():
        terminalreporter.write_line(f"{number} skipped: {reason}")


#: Tests of many minutes, the longest first.
SLOWEST = ("scripts/test_demo.py::test_the_demonstration", "scripts/demonstration/test_partial.py::test_no_trivial_cue")


def omit_passed(config, items):
    """Remove the tests that `--passed` lists; slow tests, and those that skipped, are not on the list."""
    passed_file = config.option.passed
    if passed_file is None or not passed_file.exists():
        return
    passed = set(passed_file.read_text(encoding="utf-8").splitlines())
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = [item for item in items if item.nodeid not in passed]


def pytest_collection_modifyitems(config, items):
    """Begin with the longest tests: behind the others, one process would compute and the rest wait for it."""
    omit_passed(config, items)

    def place(item):
        return next((place for place, name in enumerate(SLOWEST) if name in item.nodeid), len(SLOWEST))

    items.sort(key=place)


def pytest_collection_finish():
    """Let the garbage collector pass over the libraries, which take a tenth of the time of tests to look through."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def printing(request):
    """Print what functions log, as commands do; pytest's handler for `caplog` keeps logging from printing warnings."""
    from nes2net.lib.output.progress import printing_lines

    with nullcontext() if "caplog" in request.fixturenames else printing_lines():
        yield


@pytest.fixture(scope="session")
def shared():
    """The folder of real recordings, scores and weights; its tests skip if it is absent."""
    return shared_path("real").parent


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory):
    """A folder with the tiny checkpoints that fairseq and unilm wrote."""
    from builders import golden

    return golden.extract_checkpoints(tmp_path_factory.mktemp("pretrained"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A corpus of a few seconds in the published layouts, the same on every machine."""
    from builders import tiny_corpus

    return tiny_corpus.make(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def every_corpus(tmp_path_factory):
    """Corpora of four clips in each part, in the published layouts."""
    from builders import tiny_corpus

    return tiny_corpus.make_all(tmp_path_factory.mktemp("corpora"))


@pytest.fixture
def register_corpus(monkeypatch):
    """A function that registers a corpus of another package until the test ends."""
    from nes2net.data.registry import corpora

    monkeypatch.setattr(corpora, "_table", dict(corpora._table))

    def register(name, corpus):
        module = ModuleType(f"package_of_{name}")
        module.CORPUS = corpus
        monkeypatch.setitem(sys.modules, module.__name__, module)
        corpora.add(name, f"{module.__name__}:CORPUS")

    return register


@pytest.fixture
def small_model():
    """The configuration of a detector that is built quickly."""
    frontend = {
        **{"name": "wav2vec2_small", "encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64},
        # Not 16 channels: with kernel 4 and stride 4 oneDNN's bfloat16 convolution of that width is
        # wrong on AMX.
        "conv_feature_layers": [[32, 16, 8], [32, 4, 4], [32, 4, 4], [32, 4, 2]],
    }
    backend = {"name": "nes2net_x", "nes_ratio": [4, 4]}
    return {"frontend": frontend, "aggregation": {"name": "last"}, "backend": backend}


@pytest.fixture
def model_with_dropout(small_model):
    """A small model with dropout and layer drop, which draw from the global generator."""
    drop = {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1, "encoder_layerdrop": 0.3}
    return {**small_model, "frontend": {**small_model["frontend"], **drop}}


def seeded_detector(model, seed=0):
    """A detector with weights drawn from ``seed``, in eval mode."""
    import torch

    from nes2net import Detector

    torch.manual_seed(seed)
    return Detector.from_config(model).eval()


def load_detector(path, **options):
    """A detector on the CPU, from its file."""
    from nes2net import Detector

    return Detector.from_pretrained(path, device="cpu", **options)


@pytest.fixture
def detector(small_model):
    """A detector of :func:`small_model` with seeded weights, in eval mode."""
    return seeded_detector(small_model)


@pytest.fixture
def spectral_detector():
    """The fastest detector: a small spectrum and ASP + MLP."""
    from builders.small_parts import SPECTRAL_MODEL

    return seeded_detector(SPECTRAL_MODEL)


@pytest.fixture
def recipe(corpus, small_model, tmp_path):
    """A function that builds a recipe of three epochs of three steps, with changes merged into it."""
    from builders.recipes import short_run

    values = {"name": "tiny", "model": small_model, "augment": {"algo": 4}}
    return lambda **changes: short_run(corpus, tmp_path, values, changes)
