"""Fine-tuning by the real commands: all of CLUE, the submission, predictions, mistakes."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from support.runner import Job, done, electra, interrupted, refused
from support.task_files import CLUE, copy_tasks

# One shape for training and one for evaluation: what takes time here is compiling.
QUICK = [
    *("max_seq_length=48", "bucket_by_length=false", "num_train_epochs=1", "train_batch_size=8"),
    *("eval_batch_size=8", "max_query_length=12", "doc_stride=16"),
]
LEADERBOARD = {
    "afqmc": "afqmc_predict.json",
    "tnews": "tnews11_predict.json",
    "iflytek": "iflytek_predict.json",
    "cmnli": "cmnli_predict.json",
    "ocnli": "ocnli_50k_predict.json",
    "cluewsc2020": "cluewsc11_predict.json",
    "csl": "csl_predict.json",
    "cmrc2018": "cmrc2018_predict.json",
    "chid": "chid11_predict.json",
    "c3": "c311_predict.json",
    "cluener2020": "cluener_predict.json",
}


@dataclasses.dataclass(frozen=True)
class Clue:
    """The data, the output of `finetune --task clue`, and what the command printed."""

    data: Path
    output: Path
    printed: str


def finetune(
    job: Job, data: Path, output: Path, *words: str, fork: bool = True
) -> subprocess.CompletedProcess[str]:
    start = ["finetune", "--model", str(job.run), "--data", str(data), "--output", str(output)]
    return electra(*start, *words, fork=fork)


@pytest.fixture(scope="module")
def clue(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Clue:
    folder = tmp_path_factory.mktemp("clue")
    copy_tasks(folder / "data", *CLUE)
    words = ["--task", "clue", *QUICK]
    result = finetune(job, folder / "data", folder / "output", *words, fork=False)
    return Clue(folder / "data", folder / "output", done(result))


def test_every_task_of_clue_is_trained_and_scored(clue: Clue) -> None:
    results = json.loads((clue.output / "results.json").read_text())["tasks"]
    assert set(LEADERBOARD) <= set(results)
    for name, result in results.items():
        assert 0 <= result["dev"]["max"] <= 100, name
        assert any(line.startswith(name) for line in clue.printed.split("\n")), name
        trial = clue.output / result["best_trial"]
        for split in ("dev", "test"):
            lines = (trial / f"predictions.{split}.jsonl").read_text().split("\n")[:-1]
            ids = [str(json.loads(line)["id"]) for line in lines]
            assert len(set(ids)) == len(lines) > 0, name
        assert (clue.output / name / "model" / "config.json").exists()


def test_started_again_it_trains_nothing(clue: Clue, job: Job) -> None:
    before = {path: path.stat().st_mtime_ns for path in clue.output.rglob("result.json")}
    result = finetune(job, clue.data, clue.output, "--task", "clue", *QUICK)
    assert "afqmc is finished" in result.stderr
    assert done(result) == clue.printed
    assert before == {path: path.stat().st_mtime_ns for path in clue.output.rglob("result.json")}


def test_other_settings_in_the_same_folder_are_refused(clue: Clue, job: Job) -> None:
    words = [word for word in QUICK if not word.startswith("train_batch_size")]
    line = refused(finetune(job, clue.data, clue.output, "--task", "afqmc", *words))
    assert "train_batch_size" in line
    assert "started with other settings" in line


def test_submission_holds_every_task_of_the_leaderboard(clue: Clue, tmp_path: Path) -> None:
    target = tmp_path / "submit.zip"
    words = ["submission", str(clue.output), "--team", "we", "--output", str(target)]
    done(electra(*words, fork=False))
    with zipfile.ZipFile(target) as packed:
        assert set(LEADERBOARD.values()) <= set(packed.namelist())
        lines = packed.read("tnews11_predict.json").decode().strip().split("\n")
        assert [json.loads(line)["id"] for line in lines] == list(range(6))
        answers = json.loads(packed.read("cmrc2018_predict.json"))
        assert all(isinstance(answer, str) for answer in answers.values())
        idioms = json.loads(packed.read("chid11_predict.json"))
        assert all(name.startswith("#idiom") for name in idioms)


def test_an_incomplete_submission_is_refused_by_name(clue: Clue, tmp_path: Path) -> None:
    output = tmp_path / "output"
    shutil.copytree(clue.output, output)
    path = output / "afqmc" / "trial-0" / "predictions.test.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    line = refused(electra("submission", str(output), "--team", "we"))
    assert "afqmc" in line
    assert not list(output.glob("*.zip"))


@pytest.mark.parametrize(
    ("task", "source"),
    [
        ("tnews", "tnews/test.json"),
        ("cmrc2018", "cmrc2018/test.json"),
        ("c3", "c3/test1.1.json"),
        ("cluener2020", "cluener/test.json"),
        ("chid", "chid/test1.1.json"),
    ],
)
def test_new_data_is_labelled(clue: Clue, tmp_path: Path, task: str, source: str) -> None:
    target = tmp_path / "out.jsonl"
    words = ["--input", str(clue.data / source), "--output", str(target)]
    printed = done(electra("predict", "--model", str(clue.output / task), *words))
    trial = clue.output / task / "trial-0" / "predictions.test.jsonl"
    ids = [json.loads(line)["id"] for line in target.read_text().split("\n")[:-1]]
    assert ids == [json.loads(line)["id"] for line in trial.read_text().split("\n")[:-1]]
    assert f"{len(ids)} predictions" in printed


def test_lines_of_standard_input_are_labelled(clue: Clue) -> None:
    words = ["predict", "--model", str(clue.output / "tnews"), "--input", "-", "--output", "-"]
    printed = done(electra(*words, stdin="足球来了\n\n火车要到了\n".encode(), fork=False))
    lines = [json.loads(line) for line in printed.split("\n")[:-1]]
    assert [line["id"] for line in lines] == [0, 1, 2]
    assert lines[1]["label"] is None
    assert all(100 <= int(line["label"]) <= 116 for line in (lines[0], lines[2]))


def test_a_model_of_several_tasks_must_be_told_which(clue: Clue, tmp_path: Path) -> None:
    words = ["--input", str(clue.data / "tnews/test.json"), "--output", str(tmp_path / "x")]
    line = refused(electra("predict", "--model", str(clue.output), *words))
    assert "contains several models" in line


# --- Mistakes --------------------------------------------------------------------------------


@pytest.fixture
def afqmc(clue: Clue, tmp_path: Path) -> Path:
    """A copy of AFQMC's files, to be broken."""
    shutil.copytree(clue.data / "afqmc", tmp_path / "data" / "afqmc")
    return tmp_path / "data"


def test_a_broken_line_is_named(job: Job, afqmc: Path, tmp_path: Path) -> None:
    path = afqmc / "afqmc" / "train.json"
    lines = path.read_text().split("\n")
    lines[4] = '{"sentence1": "啊'
    path.write_text("\n".join(lines))
    line = refused(finetune(job, afqmc, tmp_path / "out", "--task", "afqmc"))
    assert "train.json, line 5: not valid JSON" in line
    assert not (tmp_path / "out").exists()


def test_bad_examples_are_counted_and_left_out(job: Job, afqmc: Path, tmp_path: Path) -> None:
    path = afqmc / "afqmc" / "train.json"
    text = path.read_text()
    path.write_text(text + '{"sentence1": "啊", "sentence2": "吧", "label": "2"}\nno\n')
    words = ["--task", "afqmc", "--skip-bad", *QUICK]
    result = finetune(job, afqmc, tmp_path / "out", *words)
    done(result)
    assert "skipped 1 bad example: label not in the list, first" in result.stderr
    saved = json.loads((tmp_path / "out/afqmc/trial-0/result.json").read_text())
    assert saved["tasks"]["afqmc"]["left_out"]["train"]["not valid JSON"]["count"] == 1


def test_a_test_file_is_no_dev_file(job: Job, afqmc: Path, tmp_path: Path) -> None:
    words = ["--task", "afqmc", "dev_file=test.json"]
    line = refused(finetune(job, afqmc, tmp_path / "out", *words))
    assert "test.json, line 1" in line
    assert "no label" in line


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--task", "afqcm"], 2, 'Unknown task "afqcm". Did you mean "afqmc"?'),
        (["--task", "afqmc", "learning_rat=1"], 2, 'Did you mean "learning_rate"?'),
        (["--task", "drcd,afqmc", "--trials", "0"], 2, "trials must be at least 1"),
        (["--task", "lcqmc"], 1, "task lcqmc: no files below"),
        (["--task", "afqmc", "--grid", "seed=a,b"], 2, "seed must be a whole number"),
        (["--task", "afqmc", "--grid", "seed=,"], 2, "--grid seed= is empty"),
        (["--task", "afqmc", "--grid", "dev_file=a,b"], 2, "dev_file cannot be in --grid"),
        (["--task", ","], 2, '--task "," names no task'),
        (["--task", "afqmc", "--task", "tnews"], 2, "tasks is given twice: remove one"),
    ],
)
def test_wrong_words_get_one_line(
    job: Job, afqmc: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    line = refused(finetune(job, afqmc, tmp_path / "out", *words), code=code)
    assert message in line
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(job: Job, afqmc: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    line = refused(finetune(job, afqmc, tmp_path / "out", "--task", "afqmc"))
    assert "is not a fine-tuning folder" in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_data_is_not_a_model(afqmc: Path, tmp_path: Path) -> None:
    words = ["--data", str(afqmc), "--output", str(tmp_path / "out"), "--task", "afqmc"]
    line = refused(electra("finetune", "--model", str(afqmc), *words))
    assert "No model found in" in line


def test_from_and_to_transformers(job: Job, afqmc: Path, tmp_path: Path) -> None:
    hf, out = str(tmp_path / "hf"), tmp_path / "out"
    done(electra("convert", str(job.run), "--to", "huggingface", "--output", hf))
    words = ["--data", str(afqmc), "--output", str(out), "--task", "afqmc", *QUICK]
    result = electra("finetune", "--model", hf, *words)
    done(result)
    assert "ELECTRA of Hugging Face, both networks" in result.stderr
    tuned = str(tmp_path / "tuned")
    words = ["convert", str(out), "--to", "huggingface", "--output", tuned]
    assert f"{tuned}: ElectraForSequenceClassification" in done(electra(*words))
    card = Path(tuned, "README.md").read_text(encoding="utf-8")
    assert "split: validation" in card
    assert "| dev | accuracy |" in card
    # The converted model is an encoder to start from. It cannot predict.
    words = ["--input", "-", "--output", "-"]
    line = refused(electra("predict", "--model", tuned, *words, stdin="天地".encode()))
    assert "is not a fine-tuned model of this tool" in line


# --- Trials, grids, resuming -----------------------------------------------------------------


def test_trials_and_grid_are_summed_up(job: Job, afqmc: Path, tmp_path: Path) -> None:
    words = ["--task", "afqmc", "--trials", "2", "--grid", "learning_rate=1e-3,3e-3", *QUICK]
    printed = done(finetune(job, afqmc, tmp_path / "out", *words, "dropout=0.2"))
    assert "±" in printed
    model = json.loads((tmp_path / "out/afqmc/model/config.json").read_text())["finetuned"]["model"]
    assert model["hidden_dropout_prob"] == model["attention_probs_dropout_prob"] == 0.2
    task = json.loads((tmp_path / "out" / "results.json").read_text())["tasks"]["afqmc"]
    assert len(task["trials"]) == 4
    assert task["dev"]["trials"] == 2
    best = [trial for trial in task["trials"] if trial["setting"] == task["setting"]]
    scores = [trial["dev"]["accuracy"] for trial in best]
    assert task["dev"]["max"] == pytest.approx(max(scores), abs=1e-3)
    assert task["dev"]["mean"] == pytest.approx(sum(scores) / 2, abs=1e-3)
    # The model is that of the best trial.
    words = ["--input", str(afqmc / "afqmc/dev.json"), "--output", "-"]
    again = done(electra("predict", "--model", str(tmp_path / "out"), *words)).splitlines()
    kept = (tmp_path / "out" / task["best_trial"] / "predictions.dev.jsonl").read_text()
    labels = [[json.loads(line)["label"] for line in lines] for lines in (again, kept.splitlines())]
    assert labels[0] == labels[1]


def test_tasks_can_share_one_model(job: Job, clue: Clue, tmp_path: Path) -> None:
    words = ["--task", "afqmc,tnews", "--joint", *QUICK]
    printed = done(finetune(job, clue.data, tmp_path / "out", *words))
    assert "afqmc (afqmc+tnews)" in printed
    words = ["--input", str(clue.data / "tnews/test.json"), "--output", "-"]
    model = ["--model", str(tmp_path / "out")]
    assert "several tasks" in refused(electra("predict", *model, *words), code=2)
    done(electra("predict", *model, *words, "--task", "tnews"))


def test_an_interrupted_group_resumes_with_its_unfinished_tasks(
    job: Job, clue: Clue, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    words = ["--task", "afqmc,csl", *QUICK, "csl.num_train_epochs=100"]
    metrics = output / "csl" / "trial-0" / "metrics.jsonl"

    def has_metrics() -> bool:
        return metrics.exists() and metrics.stat().st_size > 0

    start = ["finetune", "--model", str(job.run), "--data", str(clue.data)]
    result = interrupted(*start, "--output", str(output), *words, when=has_metrics)
    assert result.returncode == 130, result.stderr
    assert "Interrupted. Finished trials and a checkpoint are saved" in result.stderr
    assert (output / "afqmc/trial-0/result.json").exists()
    assert not (output / "csl/trial-0/result.json").exists()
    result = finetune(job, clue.data, output, *words)
    done(result)
    assert "afqmc is finished" in result.stderr
    lines = metrics.read_text().split("\n")[:-1]
    steps = [json.loads(line)["step"] for line in lines if '"eval"' in line]
    assert steps == [3 * epoch for epoch in range(1, 101)]
