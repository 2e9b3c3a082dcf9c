#!/usr/bin/env bash
# Make the environment and pass the tests, one process for each processor. Arguments go to pytest: `bash scripts/test.sh -m slow` runs
# the long ones, `bash scripts/test.sh -n 0 tests/test_detector.py` one file in this process.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/environment.sh
# Each process computes with one thread, so that together they do not want more processors than there are.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "${VENV:-.venv}/bin/python" -m pytest -n auto --maxprocesses 8 "$@"
