"""Each task reads the files of its public data set in each form that they come in."""

from __future__ import annotations

import pytest

from electra_zh.finetuning import locate, readers, registry
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.tasks import Split
from support.task_files import TASKS

# Folder of files, task, number of examples of the three splits.
CLUE_SIZES, OTHER_SIZES = (12, 6, 6), (6, 3, 3)
PUBLIC = [
    *((name, name, CLUE_SIZES) for name in ("afqmc", "tnews", "iflytek", "cmnli", "ocnli")),
    *((name, name, CLUE_SIZES) for name in ("cluewsc2020", "cmrc2018", "drcd", "chid")),
    ("csl", "csl", (24, 6, 6)),
    ("chid_fewclue", "chid_fewclue", CLUE_SIZES),
    ("c3", "c3", CLUE_SIZES),
    ("c3_original", "c3", CLUE_SIZES),
    ("cluener", "cluener2020", CLUE_SIZES),
    ("xnli", "xnli", OTHER_SIZES),
    ("xnli_original", "xnli", OTHER_SIZES),
    ("chnsenticorp", "chnsenticorp", OTHER_SIZES),
    ("lcqmc", "lcqmc", OTHER_SIZES),
    ("lcqmc_plain", "lcqmc", OTHER_SIZES),
    ("bq", "bq_corpus", OTHER_SIZES),
    ("thucnews", "thucnews", OTHER_SIZES),
    ("thucnews_titles", "thucnews", OTHER_SIZES),
    ("stsb_zh", "stsb_zh", OTHER_SIZES),
    ("cjrc", "cjrc", OTHER_SIZES),
    ("squad2", "squad2", (6, 3, 0)),
    ("mrqa", "newsqa", (6, 3, 0)),
    ("msra_ner", "msra_ner", OTHER_SIZES),
    ("peopledaily_ner", "peopledaily_ner", OTHER_SIZES),
    ("weibo_ner", "weibo_ner", OTHER_SIZES),
    ("resume_ner", "resume_ner", OTHER_SIZES),
    ("conll2000", "conll2000", OTHER_SIZES),
    ("glue/CoLA", "cola", OTHER_SIZES),
    ("glue/SST-2", "sst2", OTHER_SIZES),
    ("glue/MRPC", "mrpc", OTHER_SIZES),
    ("glue/STS-B", "stsb", OTHER_SIZES),
    ("glue/QQP", "qqp", OTHER_SIZES),
    ("glue/MNLI", "mnli", OTHER_SIZES),
    ("glue/QNLI", "qnli", OTHER_SIZES),
    ("glue/RTE", "rte", OTHER_SIZES),
]
# As in the public file, a training row of QQP ends before its label.
BAD = {"qqp": {"too few columns": 1}}


@pytest.mark.parametrize(("folder", "name", "sizes"), PUBLIC)
def test_public_files(folder: str, name: str, sizes: tuple[int, ...]) -> None:
    task = registry.load([name])[0]
    found = locate.find(task, locate.folders_below(str(TASKS / folder)))
    assert found is not None
    bad = BadExamples(skip=True)
    splits: tuple[Split, ...] = ("train", "dev", "test")
    for split, size in zip(splits, sizes, strict=True):
        examples = [
            example
            for path in found.paths.get(split, ())
            for example in readers.read(path, task, split=split, bad=bad)
        ]
        assert len(examples) == size
        assert len({str(example.id) for example in examples}) == size
    assert bad.counts == BAD.get(name, {})


def test_all_files_are_read_by_a_task() -> None:
    # No task reads the diagnostics: the model of an inference task labels them.
    read = {folder.partition("/")[0] for folder, _, _ in PUBLIC} | {"clue_diagnostics"}
    assert {path.name for path in TASKS.iterdir()} == read
