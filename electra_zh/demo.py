"""The whole job on the samples: vocabulary, data, pretraining, a look, fine-tuning, a report.

Every step is a real command in a process of its own, printed before it runs, so that the demo's
output is also how to do the same with your own corpus. The summary at the end is computed from the
output of the steps.
"""

from __future__ import annotations

import importlib.resources
import importlib.util
import math
import os
import re
import resource
import shlex
import subprocess
import sys
import time
from typing import NamedTuple

from electra_zh import files, interrupts, machine, messages
from electra_zh.errors import UserError, install_line
from electra_zh.sample import grammar

# None of these is in the text that the model learns from.
_FILL = (
    "他把书放在桌子[MASK]。",
    "孩子们在操场上踢足[MASK]。",
    "妈妈包的饺子皮[MASK]馅大。",
)
# Sentences as they would be written, and the same with a character replaced.
_DETECT = (
    "孩子们在操场上踢足球。",
    "孩子们在操场上踢足茶。",
    "小明泡了一杯茶，慢慢地喝。",
    "请先关闭电源，再打开机云。",
)
_FILLED, _FOUND = (_FILL[0], "上"), (_DETECT[1], "茶")
_SAMPLES = (
    *("corpus.txt", "topics.yaml"),
    *("topics_train.tsv", "topics_dev.tsv", "topics_new.txt"),
)
_CHARACTERS = 500_000
_CONVERTED = "huggingface"
_MARK = "electra-zh demo\n"
# Measured on 2 cores of an AMD EPYC with bfloat16 (docs/results.md).
_PROCESSOR_MINUTES = 5
_READ = ("fill-mask", "detect")  # the steps whose output the summary reads
_CORES = 2  # more hardly help networks of this size


class _Step(NamedTuple):
    """A command of the demo."""

    title: str  # none: it belongs to the step before
    words: list[str]


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
    print(_announcement(), flush=True)
    start, cpu = time.monotonic(), _processor_seconds()
    _write_samples(output)
    steps = _steps()
    if files.exists(files.join(output, _CONVERTED)):
        del steps["convert"]  # the demo is repeated; convert replaces nothing
    printed = {name: _command(*step, folder=output) for name, step in steps.items()}
    if not _has_report():
        print(f"\nThe report needs matplotlib, which is missing: {install_line('report')}")
    print("\n== Summary")
    taken, used = _minutes(time.monotonic() - start), _minutes(_processor_seconds() - cpu)
    done = f"Done in {taken}, {used} of processor time. Everything is in {output}/."
    messages.print_lines([*_summary(output, printed), done])
    print(_next(output))


def _announcement() -> str:
    cores = machine.usable_cpus()
    least = math.ceil(_PROCESSOR_MINUTES / min(cores, _CORES))
    minutes = f"{least} to {_PROCESSOR_MINUTES}" if cores > 1 else f"{_PROCESSOR_MINUTES}"
    text = (
        f"About {minutes} minutes on this machine ({cores} CPUs) if it is idle. The model learns "
        "from 0.1 MB of text written for this project, and 1.5 MB of sentences that a grammar "
        "makes (electra_zh/sample/grammar.yaml). No question below is among them."
    )
    load = os.getloadavg()[0]
    if load > cores:
        text += f" Other processes use the CPUs (load {load:.0f}): it will take longer."
    return "\n".join(messages.wrap(text, 79))


def _write_samples(output: str) -> None:
    """Writes the samples and the grammar's text, in which no question occurs."""
    sample = importlib.resources.files("electra_zh.sample")
    for name in _SAMPLES:
        files.write_text(files.join(output, name), sample.joinpath(name).read_text("utf-8"))
    asked = [text.partition("[MASK]")[0] for text in _FILL] + [text[:8] for text in _DETECT]
    text = grammar.make_text(_CHARACTERS, seed=0, without=asked)
    files.write_text(files.join(output, "sentences.txt"), text)


def _has_report() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def _steps() -> dict[str, _Step]:
    """Returns the steps by name."""
    text = ["corpus.txt", "sentences.txt"]
    tune = ["--task", "topics.yaml", "--data", ".", "--trials", "3"]
    vocabulary = ["build-vocab", *text, "--output", "vocab.txt", "--size", "2400", "--overwrite"]
    build = [
        *("build-data", *text, "--vocab", "vocab.txt", "--output", "data"),
        *("--max-seq-length", "64", "--holdout-every", "50", "--overwrite"),
    ]
    pretrain = [
        *("pretrain", "--config", "nano-minutes", "--data", "data"),
        *("--eval-data", "data/heldout", "--output", "run"),
    ]
    finetune = ["finetune", "--model", "run", *tune]
    predict = ["predict", "--model", "tuned", "--input", "topics_new.txt", "--output", "-"]
    steps = {
        "vocabulary": _Step("1. Learn a vocabulary", vocabulary),
        "data": _Step("2. Build pretraining data, with held-out documents", build),
        "pretrain": _Step("3. Pretrain: masked LM first, then detection, too", pretrain),
        "fill": _Step("4. Fill masks", ["fill-mask", "run", "--top", "5", *_FILL]),
        "detect": _Step("5. Find replaced characters", ["detect", "run", *_DETECT]),
        "tuned": _Step(
            "6. Fine-tune on 300 labelled sentences, three seeds; then without pretraining",
            [*finetune, "--output", "tuned"],
        ),
        "untrained": _Step("", [*finetune, "--output", "untrained", "--from-scratch"]),
        "predict": _Step("7. Label new sentences", [*predict, "--with-text"]),
        "convert": _Step(
            "8. Convert to Hugging Face's form",
            ["convert", "run", "--to", "huggingface", "--output", _CONVERTED],
        ),
    }
    if _has_report():
        report = ["report", "run", "tuned", "untrained", "--output", "report.html"]
        steps["report"] = _Step("9. Write a report: curves and tables as one page", report)
    return steps


def _command(title: str, words: list[str], *, folder: str) -> str:
    """Runs a step, and returns its output if the summary needs it."""
    if title:
        print(f"\n== {title}")
    print(f"$ electra-zh {shlex.join(words)}", flush=True)
    # The steps import the package from where the demo did: a checkout in the working folder is
    # not the installed package.
    paths = [os.path.dirname(os.path.dirname(__file__)), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(each for each in paths if each)
    # Unbuffered, so that results and messages come in their order.
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "electra_zh", *words]
    with interrupts.StopRequest() as stop:  # until the step can be stopped
        step = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            # The step gets one signal, this process's, and not the terminal's too.
            start_new_session=True,
            # Through a pipe, results could come after the messages that follow them.
            stdout=subprocess.PIPE if words[0] in _READ else None,
            encoding="utf-8",
        )
    try:
        if stop.is_set:
            raise KeyboardInterrupt
        printed = step.communicate()[0] or ""
    except BaseException:  # a signal
        step.terminate()
        step.wait()  # until it has saved its work
        raise
    print(printed, end="", flush=True)
    if step.returncode == interrupts.EXIT_CODE:
        raise interrupts.InterruptError
    if step.returncode != 0:
        raise UserError(
            f"the demo's step `electra-zh {words[0]}` failed (exit code {step.returncode})"
        )
    return printed


def _summary(output: str, printed: dict[str, str]) -> list[str]:
    """Returns the endings: what the model has learnt, by the output of the steps."""
    lines = [*_fill_line(printed["fill"]), *_detect_line(printed["detect"])]
    with_it, without = (_mean_score(output, name) for name in ("tuned", "untrained"))
    lines.append(
        f"fine-tuned  {with_it:.1f} % of the topics are right, {without:.1f} % without pretraining:"
        f" {with_it - without:+.1f} points"
    )
    lines.append(f"converted   {files.join(output, _CONVERTED)}/")
    if "report" in printed:
        lines.append(f"reported    {files.join(output, 'report.html')}")
    return lines


def _fill_line(printed: str) -> list[str]:
    """Returns the rank of the expected character among the guesses for its mask."""
    text, wanted = _FILLED
    lines = printed.splitlines()
    guesses = re.findall(r"(\S+) ([\d.]+)%", lines[lines.index(text) + 1])
    rank = {token: place for place, (token, _) in enumerate(guesses, 1)}.get(wanted)
    if rank is None:
        return [f"not filled  {text}  {wanted} is not among the first {len(guesses)} guesses"]
    return [f"filled      {text}  {wanted} is guess {rank}, with {dict(guesses)[wanted]} %"]


def _detect_line(printed: str) -> list[str]:
    """Returns the probability of the replaced character, and whether it is the highest."""
    text, wanted = _FOUND
    tokens = [re.findall(r"(\S+):([\d.]+)", line) for line in printed.splitlines()]
    found = next(dict(each) for each in tokens if "".join(token for token, _ in each) == text)
    value = float(found[wanted])
    if value <= 0.5 or value < max(map(float, found.values())):
        return [f"not found   {text}  {wanted} has only {value:.2f}"]
    return [f"found       {text}  {wanted} is replaced with probability {value:.2f}"]


def _mean_score(output: str, name: str) -> float:
    summary = files.read_json(files.join(output, name, "results.json"))
    return float(summary["tasks"]["topics"]["dev"]["mean"])


def _next(output: str) -> str:
    run = files.join(output, "run")
    return (
        "Next, with your own text (each command names the one that follows):\n"
        "  electra-zh clean CORPUS --output cleaned\n"
        "Ask this model:\n"
        f"  electra-zh fill-mask {run} '我喜欢喝[MASK]。'\n"
        "How long does a real one take?\n"
        "  electra-zh estimate --config tiny-hours --data DATA"
    )


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
