#!/usr/bin/env bash
# The fine-tuning table of docs/results.md: ten tasks with one seed, on parts of their training sets,
# small enough for two cores and a quarter of an hour. Run it again with another OUTPUT and
# --from-scratch to compare with the same network without pretraining.
#
#   scripts/reproduce_finetune.sh [--dry-run] MODEL DATA OUTPUT [--from-scratch] [key=value ...]
set -euo pipefail
source "$(dirname "$0")/steps.sh"
read_words "$@"
[ ${#words[@]} -ge 3 ] || usage
model=${words[0]} data=${words[1]} output=${words[2]}
settings=("${words[@]:3}")
step electra-zh finetune --model "$model" --data "$data" --output "$output" \
  --task tnews,afqmc,ocnli,cluewsc2020,csl,chnsenticorp,cluener2020,iflytek,cmrc2018,c3_m \
  train_batch_size=32 test_file=none \
  tnews.max_train_examples=6000 tnews.num_train_epochs=1 tnews.max_seq_length=48 \
  afqmc.max_train_examples=4000 afqmc.num_train_epochs=1 afqmc.max_seq_length=64 \
  ocnli.max_train_examples=6000 ocnli.num_train_epochs=1 ocnli.max_seq_length=64 \
  cluewsc2020.num_train_epochs=3 cluewsc2020.train_batch_size=16 \
  csl.train_file=resplit_train.json csl.dev_file=resplit_dev.json \
  csl.num_train_epochs=2 csl.max_seq_length=128 \
  chnsenticorp.max_train_examples=3000 chnsenticorp.num_train_epochs=1 \
  chnsenticorp.max_seq_length=96 \
  cluener2020.max_train_examples=3000 cluener2020.num_train_epochs=2 \
  cluener2020.max_seq_length=48 \
  iflytek.train_file=train.partial.json iflytek.num_train_epochs=2 iflytek.max_seq_length=64 \
  cmrc2018.max_train_examples=600 cmrc2018.num_train_epochs=1 cmrc2018.max_seq_length=160 \
  c3_m.max_train_examples=400 c3_m.num_train_epochs=1 c3_m.max_seq_length=160 \
  "${settings[@]}"
