"""Sample Chinese text, without and with labels, that ships with the package.

- `corpus.txt`: text for a small vocabulary and a nano model; `heldout.txt`: other documents in the
  same styles. A paragraph per line, a blank line between documents; some in traditional characters.
- `grammar.yaml`: plain sentences, made by `grammar.py`, as many as a model needs to learn something
  in minutes. The demo pretrains on them and on `corpus.txt`.
- `topics_train.tsv`, `topics_dev.tsv`: sentences of four subjects with their labels;
  `topics_new.txt`: without; `topics.yaml`: the task for fine-tuning.

All of it is original text, written for this project, under the Apache License 2.0. The people,
places, companies and figures in it are invented.
"""
