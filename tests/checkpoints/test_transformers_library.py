"""If the transformers library cannot be imported, one line says what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# As torchaudio does where its extension was built for another torch.
BROKEN_TORCHAUDIO = """
__version__ = "2.11.0"
raise OSError(f"Could not load this library: {__file__.removesuffix('__init__.py')}lib/_torchaudio.abi3.so")
"""
REMEDY = "pip uninstall torchaudio (nothing here needs it)"


@pytest.fixture
def package(tmp_path):
    """Install a package of a name and source where the processes of ``nes2net`` find it."""

    def install(name: str, source: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(source)
        (tmp_path / f"{name}-2.11.0.dist-info").mkdir()
        (tmp_path / f"{name}-2.11.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 2.11.0\n")

    return install


@pytest.fixture
def nes2net(tmp_path):
    def run(*commands: str) -> subprocess.CompletedProcess:
        """Run some commands of nes2net in one process, which ends with the last one's status."""
        paths = [str(tmp_path), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        code = "import sys; from nes2net.cli.main import main; sys.exit([main(c.split()) for c in sys.argv[1:]][-1])"
        return subprocess.run(
            [sys.executable, "-c", code, *commands], env=environment, cwd=tmp_path, capture_output=True, text=True
        )

    return run


@pytest.mark.slow
def test_a_torchaudio_that_does_not_fit_is_named_and_not_blamed_on_a_checkpoint(package, nes2net, detector, tmp_path):
    package("torchaudio", BROKEN_TORCHAUDIO)
    detector.save(tmp_path / "detector.pth")
    done = nes2net("info wavlm", "predict a.wav --model detector.pth")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 2), done.stderr
    for line in done.stderr.splitlines():
        assert line.startswith("nes2net: error: the installed torchaudio does not fit the installed torch")
        assert REMEDY in line


@pytest.mark.slow
def test_a_transformers_that_fails_by_itself(package, nes2net):
    package("transformers", 'raise ImportError("tokenizers>=0.21 is required")')
    done = nes2net("info wav2vec2_small")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the transformers library cannot be imported (tokenizers>=0.21 is required)" in done.stderr
    assert "pip install --upgrade transformers" in done.stderr
