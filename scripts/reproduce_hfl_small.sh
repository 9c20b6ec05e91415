#!/usr/bin/env bash
# HFL's Chinese ELECTRA-small with their settings, from text to their eight tasks: the recipe
# small-hfl, 1M steps of 1,024 sequences of 512, then ten seeds of each task.
#
#   scripts/reproduce_hfl_small.sh [--dry-run] CORPUS VOCAB TASK_DATA OUTPUT [key=value ...]
#
# key=value are settings of pretrain, such as --device gpu or train_batch_size=128. Steps that are
# done are skipped, or resumed. Pretraining takes more than 4.3 days of one H200 (configs/pretrain/
# small-hfl.yaml has the reckoning); on CPUs years. Not run to its end. Published (HFL), dev: CMRC
# 2018 EM/F1 63.4/80.8, DRCD 79.8/86.7, XNLI 73.3, ChnSentiCorp 92.8, LCQMC 86.7, BQ 83.5.
set -euo pipefail
source "$(dirname "$0")/steps.sh"
read_words "$@"
[ ${#words[@]} -ge 4 ] || usage
corpus=${words[0]} vocab=${words[1]} task_data=${words[2]} output=${words[3]}
settings=("${words[@]:4}")
[ -d "$output/data" ] || step electra-zh build-data "$corpus" --vocab "$vocab" \
  --output "$output/data" --max-seq-length 512 --holdout-every 1000
step electra-zh pretrain --config small-hfl --data "$output/data" --eval-data "$output/data/heldout" \
  --output "$output/run" "${settings[@]}"
step electra-zh finetune --model "$output/run" --task hfl --data "$task_data" \
  --output "$output/hfl" --trials 10
step electra-zh results "$output/hfl"
[ -d "$output/huggingface" ] || step electra-zh convert "$output/run" --to huggingface \
  --output "$output/huggingface"
