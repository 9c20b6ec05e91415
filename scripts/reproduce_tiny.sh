#!/usr/bin/env bash
# The tiny run of docs/results.md: build data with one document in a hundred held out, pretrain
# tiny for 2,000 steps at batch 32, evaluated on the held-out documents every 500 steps.
#
#   scripts/reproduce_tiny.sh [--dry-run] CORPUS VOCAB OUTPUT [key=value ...]
#
# key=value are settings of pretrain. Half an hour on two cores.
set -euo pipefail
source "$(dirname "$0")/steps.sh"
read_words "$@"
[ ${#words[@]} -ge 3 ] || usage
corpus=${words[0]} vocab=${words[1]} output=${words[2]}
settings=("${words[@]:3}")
[ -f "$output/data/manifest.json" ] || step electra-zh build-data "$corpus" --vocab "$vocab" \
  --output "$output/data" --max-seq-length 128 --holdout-every 100
step electra-zh pretrain --config tiny --data "$output/data" --eval-data "$output/data/heldout" \
  --output "$output/run" train_batch_size=32 eval_batch_size=32 num_eval_steps=0 \
  num_train_steps=2000 num_warmup_steps=200 save_checkpoints_steps=500 log_steps=50 \
  "${settings[@]}"
step electra-zh evaluate "$output/run" --data "$output/data/heldout"
