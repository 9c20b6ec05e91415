"""Sample Chinese text, without and with labels, that ships with the package.

``corpus.txt`` is text to learn a small vocabulary and to pretrain a nano model;
``heldout.txt`` holds other documents in the same styles, for evaluation.  Both
are UTF-8, one paragraph a line, with a blank line between documents.  A small
share of the documents is in traditional characters.

``grammar.yaml`` makes plain sentences (``grammar.py``), as many as a model needs
to learn something in minutes: the demo pretrains on them and on ``corpus.txt``.

``topics_train.tsv`` and ``topics_dev.tsv`` are sentences of four subjects with
their labels, ``topics_new.txt`` is sentences without; ``topics.yaml`` describes
them as a task for fine-tuning.

All of it is original text, written for this project, under the Apache
License 2.0.  The people, places, companies and figures in the reports,
letters, notices and reviews are invented.
"""
