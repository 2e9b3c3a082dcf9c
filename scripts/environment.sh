#!/usr/bin/env bash
# Make a virtual environment (.venv, or $VENV) with nes2net and the requirements of its tests and the demonstration.
# PYTHON names another interpreter, TORCH another torch (e.g. TORCH=torch for the newest with CUDA).
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
[ -n "$python" ] || { echo "error: no python3 found: install Python 3.10 to 3.13, or name one with PYTHON=…" >&2; exit 2; }

stamp=$venv/nes2net-$(cat pyproject.toml scripts/environment.sh | sha256sum | cut -c1-16)
if [ -e "$stamp" ]; then exit 0; fi

if [ ! -x "$venv/bin/python" ]; then
  echo "making $venv with $("$python" --version)"
  "$python" -m venv "$venv" || { echo "error: python3 -m venv failed: on Debian, apt-get install python3-venv" >&2; exit 2; }
fi
pip=("$venv/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install --quiet --upgrade pip
# torch first: packages installed later accept it, but would otherwise choose a build themselves.
"$venv/bin/python" -c "import torch" 2>/dev/null || "${pip[@]}" install "${TORCH:-torch==2.13.0}"
# pyworld is built from source and needs these first; it imports pkg_resources, which setuptools 81 dropped.
"$venv/bin/python" -c "import pyworld" 2>/dev/null || {
  "${pip[@]}" install --quiet "setuptools<81" wheel "numpy>=1.26" cython
  "${pip[@]}" install --quiet --no-build-isolation "pyworld>=0.3.4" ||
    { echo "error: pyworld was not built: on Debian, apt-get install g++ python3-dev" >&2; exit 2; }
}
"${pip[@]}" install --quiet --editable ".[dev,demo,docs,explain,maps,onnx,parquet,robustness,scale,serve,slurm]"
rm -f "$venv"/nes2net-*
touch "$stamp"
echo "environment ready in $venv"
