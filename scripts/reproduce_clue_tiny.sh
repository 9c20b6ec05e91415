#!/usr/bin/env bash
# A tiny model from text to CLUE's leaderboard: builds data, pretrains the recipe tiny-hours,
# fine-tunes the nine tasks on their complete training sets, and writes the submission.
#
#   scripts/reproduce_clue_tiny.sh [--dry-run] CORPUS VOCAB CLUE_DATA OUTPUT [key=value ...]
#
# VOCAB is Google's Chinese vocabulary, CLUE_DATA that of download_clue.sh. key=value are settings of
# finetune, such as tnews.max_train_examples=6000. Steps that are done are skipped, or resumed.
# Pretraining: 67 minutes on two cores of a Zen 5. Fine-tuning there: 13 minutes for TNEWS, a day or more
# for all (estimated), of which ChID and C3 take most; scripts/reproduce_finetune.sh trains parts of the
# sets in a quarter of an hour. Not run as a whole: docs/results.md has seven tasks. Published for CLUE's
# ELECTRA-tiny, pretrained for 1M steps: TNEWS 54.28, IFLYTEK 53.54, AFQMC 70.32, CSL 78.7.
set -euo pipefail
source "$(dirname "$0")/steps.sh"
read_words "$@"
[ ${#words[@]} -ge 4 ] || usage
corpus=${words[0]} vocab=${words[1]} clue=${words[2]} output=${words[3]}
settings=("${words[@]:4}")
[ -d "$output/data" ] || step electra-zh build-data "$corpus" --vocab "$vocab" \
  --output "$output/data" --max-seq-length 128 --holdout-every 100
step electra-zh pretrain --config tiny-hours --data "$output/data" \
  --eval-data "$output/data/heldout" --output "$output/run"
step electra-zh finetune --model "$output/run" --task clue-leaderboard --data "$clue" \
  --output "$output/clue" "${settings[@]}"
step electra-zh results "$output/clue"
step electra-zh submission "$output/clue" --team "${TEAM:-NAME}"
