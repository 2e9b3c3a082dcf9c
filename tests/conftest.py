"""Fixtures that many tests share."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference outputs and real recordings beside the repository; tests that need it skip where it is not."""
    folder = Path(os.environ.get("NES2NET_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"no reference folder at {folder} (set NES2NET_SHARED)")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """``shared/golden``: outputs of the published code."""
    return shared / "golden"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of a few seconds in the published layouts: real recordings where they are there, generated ones otherwise."""
    from builders import tiny_corpus

    audio = Path(os.environ.get("NES2NET_SHARED", REPOSITORY.parent / "shared")) / "real" / "audio"
    return tiny_corpus.make(tmp_path_factory.mktemp("corpus"), audio if audio.is_dir() else None)


@pytest.fixture
def register_corpus(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """``register_corpus(name, corpus)``: a corpus of another package, known until the test ends."""
    from nes2net.registry import corpora

    monkeypatch.setattr(corpora, "_table", dict(corpora._table))

    def register(name: str, corpus: object) -> None:
        module = ModuleType(f"package_of_{name}")
        module.CORPUS = corpus
        monkeypatch.setitem(sys.modules, module.__name__, module)
        corpora.add(name, f"{module.__name__}:CORPUS")

    return register


@pytest.fixture
def small_model() -> dict:
    """Configuration of a detector that is built in a moment."""
    frontend = {
        "name": "wav2vec2_small",
        "encoder_layers": 2,
        "encoder_embed_dim": 64,
        "encoder_ffn_embed_dim": 64,
        # Not 16 channels: oneDNN's bfloat16 convolution of that width, kernel 4 and stride 4 is wrong on processors with AMX.
        "conv_feature_layers": [[32, 16, 8], [32, 4, 4], [32, 4, 4], [32, 4, 2]],
    }
    return {
        "frontend": frontend,
        "aggregation": {"name": "last"},
        "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]},
    }


@pytest.fixture
def detector(small_model: dict):
    """A detector of :func:`small_model` with weights of a seed, in eval mode."""
    import torch

    from nes2net import Detector

    torch.manual_seed(0)
    return Detector.from_config(small_model).eval()


@pytest.fixture
def spectral_detector():
    """The fastest detector there is: a small spectrum and ASP + MLP."""
    import torch

    from nes2net import Detector

    torch.manual_seed(0)
    frontend = {"name": "lps", "n_fft": 128, "num_bins": 20}
    return Detector.from_config({"frontend": frontend, "backend": "asp_mlp"}).eval()
