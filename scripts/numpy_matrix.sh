#!/usr/bin/env bash
# Pass the numerical tests with the oldest supported NumPy, 1.26, in a small environment (.venv-numpy-1.26.4) on top of that of the
# tests (.venv, or $VENV); scripts/test.sh passes them with a newer one. NUMPY names another version; the other variables are those
# of scripts/environment.sh. Arguments are passed on to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/environment.sh test
unset PYTHONDONTWRITEBYTECODE  # as in scripts/test.sh
numpy=${NUMPY:-1.26.4}
below=$(realpath "${VENV:-.venv}")
venv=$below-numpy-$numpy
# What computes with arrays: not the readers of containers and protocols, nor how processes share the reading.
tests=(tests/data/augment tests/data/audio/test_{cache,containers,crop,decoders,frames,read}.py)
tests+=(tests/data/corpora/test_{npy_dictionary,partialspoof,segments,trial}.py tests/scoring/decisions tests/metrics/localisation tests/metrics)
tests+=(nes2net/data/augment nes2net/data/audio nes2net/data/corpora nes2net/scoring/decisions nes2net/metrics/localisation nes2net/metrics)
dataset=tests/training/test_dataset.py
tests+=("$dataset::test_the_effects_of_an_utterance_draw_random_numbers_in_a_fixed_order_from_one_stream")
tests+=("$dataset::test_an_utterance_is_skipped_if_"{a_recording_to_be_mixed_into_it_is_damaged,its_impulse_response_is_silent})
tests+=("$dataset::test_only_the_beginning_of_a_recording_is_decoded_for_a_head_crop_without_augmentation" "$dataset::test_pieces_are_the_samples_of_their_recordings")
tests+=("$dataset::test_legacy_augmentation_draws_from_the_global_stream_in_the_order_of_reading")

stamp=$venv/made-$(cat scripts/numpy_matrix.sh <(ls -d "$below"/nes2net-test-*) | sha256sum | cut -c1-16)
if [ ! -e "$stamp" ]; then
  "$below/bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 13))' ||
    { echo "error: NumPy $numpy needs Python 3.10 to 3.12: make another environment, VENV=DIR PYTHON=python3.11" >&2; exit 2; }
  rm -rf "$venv"
  "$below/bin/python" -m venv --without-pip "$venv"
  echo '*' > "$venv/.gitignore"
  # The packages of the environment below are found behind those of this one, and count as installed.
  "$below/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
    > "$(echo "$venv"/lib/python3*/site-packages)/below.pth"
  # pip replaces what does not take this NumPy.
  "$below/bin/python" -m pip --disable-pip-version-check --python "$venv/bin/python" install --quiet --no-compile \
    --no-build-isolation --editable ".[robustness]" "numpy==$numpy"
  touch "$stamp"
fi

"$venv/bin/python" -c "
import sys, numpy, scipy, torch
print(f'Python {sys.version.split()[0]}, NumPy {numpy.__version__}, SciPy {scipy.__version__}, torch {torch.__version__}')
assert numpy.__version__ == '$numpy'
assert torch.from_numpy(numpy.ones(2)).numpy().sum() == 2"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$venv/bin/python" -m pytest -n auto --maxprocesses 8 --dist worksteal "${tests[@]}" "$@"
