#!/usr/bin/env bash
# Make the environment and pass the tests. Arguments go to pytest: `bash scripts/test.sh -m slow` runs the long ones.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/environment.sh
exec "${VENV:-.venv}/bin/python" -m pytest "$@"
