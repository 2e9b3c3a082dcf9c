#!/usr/bin/env bash
# Pass the numerical tests with the oldest supported NumPy, 1.26, in a separate environment (.venv-numpy-1.26.4, or $VENV);
# scripts/test.sh passes them with the newest. NUMPY names another version; PYTHON and TORCH are as in scripts/environment.sh.
# Arguments are passed on to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
numpy=${NUMPY:-1.26.4}
venv=${VENV:-.venv-numpy-$numpy}
python=${PYTHON:-$(command -v python3.11 || command -v python3.12 || command -v python3.10 || true)}
# What computes with arrays: not the readers of containers and protocols, nor how processes share the reading.
tests=(tests/augment tests/audio/test_{cache,crop,ffmpeg,flac,libsndfile,mp4,read}.py tests/conditions)
tests+=(tests/corpora/test_{npy_dictionary,partialspoof,segments,subset}.py tests/decisions tests/localisation tests/metrics)
tests+=(nes2net/augment nes2net/audio nes2net/conditions nes2net/corpora nes2net/decisions nes2net/localisation nes2net/metrics)
dataset=tests/training/test_dataset.py
tests+=("$dataset::test_speed_then_noise_then_rawboost_then_filter_then_crop_from_one_stream" "$dataset::test_nan_names_the_file")
tests+=("$dataset::test_a_cache_changes_nothing" "$dataset::test_pieces_are_the_samples_of_their_recordings")
tests+=("$dataset::test_legacy_draws_in_the_order_of_reading_from_the_global_stream")

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
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$venv/bin/python" -m pytest -n auto --maxprocesses 8 --dist worksteal "${tests[@]}" "$@"
