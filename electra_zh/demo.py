"""The whole job on the samples: vocabulary, data, pretraining, a look, fine-tuning, predictions.

Every step is a real command in a process of its own, printed before it runs, so that the demo's
output is also how to do the same with one's own corpus.
"""

from __future__ import annotations

import importlib.resources
import os
import shlex
import subprocess
import sys
import time

from electra_zh import files, interrupts
from electra_zh.errors import UserError

_FILL = (
    "他把书放在桌子[MASK]。",
    "今年的产量比去年增长了百分之[MASK]。",
    "她笑着说：“你好，欢迎你[MASK]来。”",
)
# Each pair: a sentence as it was written, and the same with one or two characters replaced.
_DETECT = (
    "孩子们在操场上踢足球。",
    "孩子们在操场上踢足茶。",
    "请先关闭电源，再打开机箱。",
    "请先关闭电源，再打开机云。",
)
_SAMPLES = (
    *("corpus.txt", "heldout.txt"),
    *("topics.yaml", "topics_train.tsv", "topics_dev.tsv", "topics_new.txt"),
)
_MARK = "electra-zh demo\n"


def run(output: str) -> None:
    """Runs the demo in the folder `output`.

    Raises:
      UserError: the name is a file's, the folder holds something else, or a step failed.
    """
    files.check_output(output)
    if files.exists(output):
        mark = files.join(output, "demo.txt")
        if not files.exists(mark) and files.list_dir(output):
            raise UserError(f"{output} exists and is not a demo's folder; choose another --output")
    files.make_dirs(output)
    files.write_text(files.join(output, "demo.txt"), _MARK)
    start = time.monotonic()
    sample = importlib.resources.files("electra_zh.sample")
    for name in _SAMPLES:
        files.write_text(files.join(output, name), sample.joinpath(name).read_text("utf-8"))
    for title, words in _steps():
        _command(title, words, folder=output)
    print(f"\nDone in {time.monotonic() - start:.0f} s. Everything is in {output}/.")
    print("With your own text, begin with: electra-zh build-vocab CORPUS --output vocab.txt")


def _steps() -> list[tuple[str, list[str]]]:
    build = ["--vocab", "vocab.txt", "--max-seq-length", "64", "--overwrite"]
    return [
        (
            "1. Learn a vocabulary",
            ["build-vocab", "corpus.txt", "--output", "vocab.txt", "--size", "2000", "--overwrite"],
        ),
        (
            "2. Build pretraining data, and held-out data",
            ["build-data", "corpus.txt", "--output", "data", *build],
        ),
        ("", ["build-data", "heldout.txt", "--output", "heldout", *build]),
        (
            "3. Pretrain a generator and a discriminator: minutes, for a look. A discriminator "
            "needs hours; in so short a run a warning that it has collapsed is expected",
            ["pretrain", "--config", "nano", "--data", "data", "--output", "run"],
        ),
        (
            "4. Evaluate on the held-out text",
            ["evaluate", "run", "--data", "heldout"],
        ),
        ("5. What the generator fills in", ["fill-mask", "run", "--top", "5", *_FILL]),
        (
            "6. Which tokens the discriminator finds replaced: after minutes, hardly any",
            ["detect", "run", *_DETECT],
        ),
        (
            "7. Fine-tune on 300 labelled sentences, three seeds",
            [
                *("finetune", "--model", "run", "--task", "topics.yaml", "--data", "."),
                *("--output", "tuned", "--trials", "3"),
            ],
        ),
        (
            "8. Label new sentences",
            ["predict", "--model", "tuned", "--input", "topics_new.txt", "--output", "-"],
        ),
    ]


def _command(title: str, words: list[str], *, folder: str) -> None:
    if title:
        print(f"\n== {title}")
    print(f"$ electra-zh {shlex.join(words)}", flush=True)
    # The steps import the package from where the demo did: a checkout in the working folder is
    # not the installed package.
    paths = [os.path.dirname(os.path.dirname(__file__)), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    command = [sys.executable, "-m", "electra_zh", *words]
    # In a session of its own the step gets one signal, this process's, and not the terminal's too.
    with subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True) as step:
        try:
            status = step.wait()
        except KeyboardInterrupt:
            step.terminate()
            step.wait()  # until it has saved its work
            raise
    if status == interrupts.EXIT_CODE:
        raise interrupts.InterruptError
    if status != 0:
        raise UserError(f"the demo's step `electra-zh {words[0]}` failed (exit code {status})")
