"""If the transformers library cannot be imported, one line says what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders.files import write

# As torchaudio does where its extension was built for another torch.
TORCHAUDIO = """
__version__ = "2.11.0"
raise OSError(f"Could not load this library: {__file__.removesuffix('__init__.py')}lib/_torchaudio.abi3.so")
"""


UNFIT = (
    "the installed torchaudio does not fit the installed torch",
    "pip uninstall torchaudio (nothing here needs it)",
)
TOKENIZERS = "tokenizers>=0.21 is required"
FAILS = (f"the transformers library cannot be imported ({TOKENIZERS})", "pip install --upgrade transformers")


@pytest.mark.slow
@pytest.mark.parametrize(
    "package, source, commands, said",
    [
        ("torchaudio", TORCHAUDIO, ["info wavlm", "predict a.wav --model detector.pth"], UNFIT),  # not a checkpoint
        ("transformers", f'raise ImportError("{TOKENIZERS}")', ["info wav2vec2_small"], FAILS),
    ],
)
def test_a_library_that_cannot_be_imported_is_blamed(detector, tmp_path, package, source, commands, said):
    """Installed as a package of this name where the process finds it."""
    detector.save(tmp_path / "detector.pth")
    write(tmp_path / package / "__init__.py", source)
    write(tmp_path / f"{package}-2.11.0.dist-info" / "METADATA", f"Name: {package}\nVersion: 2.11.0\n")
    paths = [str(tmp_path), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    code = "import sys; from nes2net.cli.main import main; sys.exit([main(c.split()) for c in sys.argv[1:]][-1])"
    done = subprocess.run(
        [sys.executable, "-c", code, *commands], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", len(commands)), done.stderr
    for line in done.stderr.splitlines():
        assert line.startswith("nes2net: error: ") and all(part in line for part in said)
