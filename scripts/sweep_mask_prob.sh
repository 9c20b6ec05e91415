#!/usr/bin/env bash
# Pretrains the same run with several values of mask_prob and prints a table of their evaluations.
# Finished runs are skipped; a run that was stopped is resumed.
#
#   scripts/sweep_mask_prob.sh DATA EVAL_DATA OUTPUT "0.10 0.15 0.25 0.40" --config tiny [KEY=VALUE ...]
#
# Every run is evaluated with the mask_prob that it was trained with, so the losses are those of
# different tasks and cannot be compared. Compare the encoders with `electra-zh finetune`.
set -euo pipefail
[ $# -ge 5 ] || { sed -n '2,8p' "$0" | cut -c3- >&2; exit 2; }
data=$1 eval_data=$2 output=$3 values=$4
shift 4
for value in $values; do
  run=$output/mask_prob_$value
  electra-zh pretrain --data "$data" --output "$run" "$@" mask_prob="$value"
  electra-zh evaluate "$run" --data "$eval_data" --json > "$output/mask_prob_$value.json"
done
# shellcheck disable=SC2086  # the values are words
python3 - "$output" $values <<'END'
import json
import sys

output, *values = sys.argv[1:]
results = {}
for value in values:
    with open(f"{output}/mask_prob_{value}.json", encoding="utf-8") as file:
        results[value] = json.load(file)
print(" ".join(["mask_prob".ljust(28), *(value.rjust(9) for value in values)]))
for name in results[values[0]]:
    figures = (f"{results[value][name]:9.4f}" for value in values)
    print(" ".join([name.ljust(28), *figures]))
END
