#!/usr/bin/env bash
# Make the environment and pass the tests, with one process per processor. Arguments are passed on to pytest:
# `bash scripts/test.sh -m slow` runs the slow tests, `-m weekly` those of before a release,
# `bash scripts/test.sh -n 0 tests/test_detector.py` one file in one process. `bash scripts/test.sh --changed [BASE]` runs the tests
# that the changes since the commit BASE (the last one, if it is not given) concern, see scripts/changed_tests.py.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/environment.sh test
unset PYTHONDONTWRITEBYTECODE  # every program that a test starts would compile its libraries anew
# One thread per process, so that together they do not need more processors than there are.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
if [ "${1:-}" = --changed ]; then
  shift
  base=HEAD
  case ${1:-} in "" | -*) ;; *) base=$1; shift ;; esac
  files=$("${VENV:-.venv}/bin/python" scripts/changed_tests.py "$base")
  [ -n "$files" ] || { echo "no test is concerned by what changed since $base"; exit 0; }
  printf 'testing %s\n' $files
  set -- $files "$@"  # no path of a test has a space
fi
# A process that is done takes tests from another one, which may be busy with one of minutes.
exec "${VENV:-.venv}/bin/python" -m pytest -n auto --maxprocesses 8 --dist worksteal "$@"
