#!/usr/bin/env bash
# Continues HFL's Chinese ELECTRA on text of a domain, and says whether it helped: cleans the corpus,
# builds data, pretrains, fine-tunes both models on a task with three seeds, compares, and exports.
#
#   scripts/continue_from_hfl.sh [--dry-run] MODEL CORPUS TASK TASK_DATA OUTPUT [key=value ...]
#
# MODEL has the two repositories hfl/chinese-electra-180g-small-{discriminator,generator} as folders
# discriminator/ and generator/. TASK is a name, a group or a YAML file. key=value are settings of
# pretrain, such as num_train_steps=20000. Steps that are done are skipped, or resumed.
# By default 10,000 steps of 32 x 128 tokens (the recipe small-domain): some 3 hours on two cores,
# minutes on a GPU (--device gpu is a setting, too), and the time of six trials of the task. Not run
# to its end: HFL's weights were not on the machine.
set -euo pipefail
source "$(dirname "$0")/steps.sh"
read_words "$@"
[ ${#words[@]} -ge 5 ] || usage
model=${words[0]} corpus=${words[1]} task=${words[2]} task_data=${words[3]} output=${words[4]}
settings=("${words[@]:5}")
[ -f "$model/discriminator/vocab.txt" ] || [ -n "$dry_run" ] || {
  echo "$model/discriminator/vocab.txt is missing. Put the two repositories of the model into" \
    "$model/discriminator and $model/generator" >&2
  exit 1
}
vocab=$model/discriminator/vocab.txt
[ -d "$output/cleaned" ] || step electra-zh clean "$corpus" --output "$output/cleaned"
[ -d "$output/data" ] || step electra-zh build-data "$output/cleaned" --vocab "$vocab" \
  --output "$output/data" --max-seq-length 128 --holdout-every 100
step electra-zh pretrain --init "$model" --config small-domain --data "$output/data" \
  --eval-data "$output/data/heldout" --output "$output/run" model=source "${settings[@]}"
step electra-zh finetune --model "$model/discriminator" --task "$task" --data "$task_data" \
  --output "$output/before" --trials 3
step electra-zh finetune --model "$output/run" --task "$task" --data "$task_data" \
  --output "$output/after" --trials 3
step electra-zh results "$output/before" "$output/after"
[ -d "$output/huggingface" ] || step electra-zh convert "$output/run" --to huggingface \
  --output "$output/huggingface"
