#!/usr/bin/env bash
# Pretrains the same run for several mask_prob and prints a table of their evaluation. Runs that are
# finished are not run again, one that was stopped goes on.
#
#   scripts/sweep_mask_prob.sh DATA EVAL_DATA OUTPUT "0.10 0.15 0.25 0.40" --config tiny [KEY=VALUE ...]
#
# Losses at different mask_prob are those of different tasks: every run is evaluated as it was
# trained, which says how hard its own is. Which encoder is best, `electra-zh finetune` says.
set -euo pipefail
[ $# -ge 5 ] || { sed -n '2,8p' "$0" | cut -c3- >&2; exit 2; }
data=$1 eval_data=$2 output=$3 shares=$4
shift 4
for share in $shares; do
  run=$output/mask_prob_$share
  electra-zh pretrain --data "$data" --output "$run" "$@" mask_prob="$share"
  electra-zh evaluate "$run" --data "$eval_data" --json > "$output/mask_prob_$share.json"
done
python3 - "$output" $shares <<'END'
import json
import sys

output, *shares = sys.argv[1:]
results = {}
for share in shares:
    with open(f"{output}/mask_prob_{share}.json", encoding="utf-8") as file:
        results[share] = json.load(file)
print(" ".join(["mask_prob".ljust(28), *(share.rjust(9) for share in shares)]))
for name in results[shares[0]]:
    figures = (f"{results[share][name]:9.4f}" for share in shares)
    print(" ".join([name.ljust(28), *figures]))
END
