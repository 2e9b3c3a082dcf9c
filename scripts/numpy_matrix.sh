#!/usr/bin/env bash
# Pass the numerical tests with the oldest supported NumPy, 1.26, in a separate environment (.venv-numpy-1.26.4, or $VENV);
# scripts/test.sh passes them with the newest. NUMPY names another version; PYTHON and TORCH are as in scripts/environment.sh.
# Arguments are passed on to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
numpy=${NUMPY:-1.26.4}
venv=${VENV:-.venv-numpy-$numpy}
python=${PYTHON:-$(command -v python3.11 || command -v python3.12 || command -v python3.10 || true)}
tests=(tests/augment tests/audio tests/conditions tests/corpora tests/decisions tests/localisation tests/metrics tests/training/test_dataset.py nes2net/augment nes2net/audio nes2net/conditions nes2net/corpora nes2net/decisions nes2net/localisation nes2net/metrics)

stamp=$venv/nes2net-$(cat pyproject.toml scripts/numpy_matrix.sh | sha256sum | cut -c1-16)
if [ ! -e "$stamp" ]; then
  if [ ! -x "$venv/bin/python" ]; then
    [ -n "$python" ] || { echo "error: NumPy $numpy needs Python 3.10 to 3.12: install one, or name it with PYTHON=…" >&2; exit 2; }
    echo "making $venv with $("$python" --version)"
    "$python" -m venv "$venv" || { echo "error: $python -m venv failed: on Debian, apt-get install python3-venv" >&2; exit 2; }
    echo '*' > "$venv/.gitignore"
  fi
  pip=("$venv/bin/python" -m pip --disable-pip-version-check)
  "${pip[@]}" install --quiet --upgrade pip
  # torch first, as in scripts/environment.sh; pip chooses releases of the others that fit this NumPy.
  "$venv/bin/python" -c "import torch" 2>/dev/null || "${pip[@]}" install "${TORCH:-torch==2.13.0}" "numpy==$numpy"
  "${pip[@]}" install --quiet --editable ".[dev,robustness]" "numpy==$numpy"
  rm -f "$venv"/nes2net-*
  touch "$stamp"
fi

"$venv/bin/python" -c "
import sys, numpy, scipy, torch
print(f'Python {sys.version.split()[0]}, NumPy {numpy.__version__}, SciPy {scipy.__version__}, torch {torch.__version__}')
assert numpy.__version__ == '$numpy'
assert torch.from_numpy(numpy.ones(2)).numpy().sum() == 2"
exec "$venv/bin/python" -m pytest "${tests[@]}" "$@"
