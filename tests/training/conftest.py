"""Fixtures of the tests of training: short clips, models that train quickly, and no curves that nobody looks at."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from builders import tiny_corpus
from builders.recipes import SPECTRAL_RUN, short_run
from builders.runs import folder_of

from nes2net.data.corpora import asvspoof2019_la
from nes2net.data.corpora.trial import Trial
from nes2net.training.run import train


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of a few seconds, of generated clips of 0.6 to 1.04 s."""
    root = tiny_corpus.make(tmp_path_factory.mktemp("corpus"))
    for number, path in enumerate(sorted([*root.rglob("*.flac"), *root.rglob("*.wav")])):
        samples, rate = soundfile.read(path)
        soundfile.write(path, samples[: 9600 + 640 * (5 * number % 12)], rate)
    return root


@pytest.fixture(scope="session")
def trials(corpus: Path) -> list[Trial]:
    """The trials that are trained on."""
    return asvspoof2019_la.CORPUS.trials(corpus, "train")


@pytest.fixture(scope="session")
def dev_trials(corpus: Path) -> list[Trial]:
    """The trials that validate."""
    return asvspoof2019_la.CORPUS.trials(corpus, "dev")


@pytest.fixture
def small_model(small_model: dict) -> dict:
    """The configuration of a small wav2vec 2.0 with ASP + MLP, which has batch statistics."""
    return {**small_model, "backend": {"name": "asp_mlp", "hidden_dim": 8}}


ONE_EPOCH = {"train": {"epochs": 1}}


@pytest.fixture
def recipe(corpus: Path, tmp_path: Path) -> Callable:
    """A function that builds a recipe of two epochs of three steps on a spectrum, with changes merged into it."""
    return lambda **changes: short_run(corpus, tmp_path, SPECTRAL_RUN, changes)


@pytest.fixture(scope="session")
def one_epoch(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch of :func:`recipe`, in which no test writes."""
    return train(short_run(corpus, tmp_path_factory.mktemp("one_epoch"), SPECTRAL_RUN, ONE_EPOCH))


@pytest.fixture
def finished_run(one_epoch: Path, recipe: Callable) -> Path:
    """A copy of this run, where the recipe of one epoch writes."""
    return shutil.copytree(one_epoch, folder_of(recipe(**ONE_EPOCH)))


@pytest.fixture
def drawn_curves() -> None:
    """Asked for by a test that looks at curves.png."""


@pytest.fixture(autouse=True)
def _curves_on_request(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no curves where nobody looks at them: they are a quarter of the time of a short run."""
    if "drawn_curves" not in request.fixturenames:
        monkeypatch.setattr("nes2net.training.curves.plot_curves", lambda *_: None)
