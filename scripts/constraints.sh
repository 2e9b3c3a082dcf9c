#!/usr/bin/env bash
# Write constraints.txt (or $OUT) anew: the newest version of every package of every extra, for Python 3.10 to 3.13. It needs uv
# (`pip install uv`). Arguments are passed on to `uv pip compile`, such as `--exclude-newer 2026-11-01`. The oldest versions that
# pyproject.toml allows: `TORCH=torch==2.7.0 OUT=oldest.txt bash scripts/constraints.sh --resolution lowest-direct`.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "error: no uv found: pip install uv" >&2; exit 2; }
torch=${TORCH:-$(grep -o 'torch==[0-9.]*' scripts/environment.sh | head -1)}
resolved=$(printf '%s\n' "$torch" 'pip>=25.3' 'cython>=3.0' |
  uv pip compile --quiet --universal --python-version 3.10 --all-extras --no-annotate --no-header "$@" pyproject.toml -)
{
  echo "# Made by scripts/constraints.sh: the versions with which nes2net was tested, of what all extras need beside $torch."
  # torch and its libraries for CUDA are chosen by whoever installs torch.
  grep -vE '^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==' <<<"$resolved"
} > "${OUT:-constraints.txt}"
