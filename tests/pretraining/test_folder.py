"""A run is resumed only with the settings and data that it was started with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from electra_zh import machine
from electra_zh.data.source import DataSource
from electra_zh.errors import UsageError, UserError
from electra_zh.pretraining import folder
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "一"])


def _open(path: Path, recipe: str | None = "nano", *, data: str = "d", **overrides: str) -> Run:
    source = DataSource("data", VOCABULARY, TokenizerSettings(map_punctuation=True), data)
    request = PretrainRequest(output=str(path), data=("data",), config=recipe)
    return folder.begin(request, overrides, data=source)


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = _open(tmp_path / "run", learning_rate="1e-3")
    assert not (tmp_path / "run").exists()
    run.save()
    assert folder.load(str(tmp_path / "run")) == run


def test_going_on_needs_no_recipe(tmp_path: Path) -> None:
    run = _open(tmp_path, learning_rate="1e-3")
    run.save()
    assert _open(tmp_path, None) == run
    assert _open(tmp_path, "nano", learning_rate="1e-3") == run


def test_what_is_shown_and_saved_may_change(tmp_path: Path) -> None:
    _open(tmp_path).save()
    assert _open(tmp_path, None, log_steps="7").config.log_steps == 7


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        ("nano", {"learning_rate": "1"}, r"was started with learning_rate 0.001 \(now 1.0\)"),
        (None, {"hidden_size": "64"}, r"was started with model.hidden_size 128 \(now 64\)"),
        ("tiny", {"max_seq_length": "64"}, "and [0-9]+ more. Resume it with the same settings"),
    ],
)
def test_other_settings_are_refused(
    tmp_path: Path, recipe: str | None, overrides: dict[str, str], message: str
) -> None:
    _open(tmp_path).save()
    with pytest.raises(UserError, match=message):
        _open(tmp_path, recipe, **overrides)


@pytest.mark.parametrize(
    ("settings", "changes", "keep"),
    [
        ({}, {"learning_rate": "1"}, True),
        ({}, {"adam_beta_2": "0.5"}, True),
        ({"optimizer": "lamb"}, {"learning_rate": "1"}, True),
        ({"optimizer": "lamb"}, {"adam_beta_2": "0.5"}, False),
        ({"adam_bias_correction": "true"}, {"adam_beta_1": "0.5"}, False),
    ],
)
def test_the_advice_on_other_settings_is_not_refused(
    tmp_path: Path, settings: dict[str, str], changes: dict[str, str], keep: bool
) -> None:
    _open(tmp_path, **settings).save()
    what = " --keep-optimizer continues from its weights and optimizer"
    what = what if keep else " continues from its weights"
    with pytest.raises(UserError, match=rf"--init {tmp_path}{what}\.$"):
        _open(tmp_path, **settings, **changes)


def test_a_run_keeps_the_precision_that_its_first_machine_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cpu", lambda: machine.Cpu("New", ("avx512_bf16",)))
    run = _open(tmp_path)
    assert run.config.precision == "bfloat16"
    run.save()
    monkeypatch.setattr(machine, "cpu", lambda: machine.Cpu("Old", ("avx2",)))
    assert _open(tmp_path) == _open(tmp_path, None) == run
    with pytest.raises(UserError, match="precision bfloat16 \\(now float32\\)"):
        _open(tmp_path, precision="float32")
    assert _open(tmp_path / "other").config.precision == "float32"


def test_other_data_and_vocabulary_are_refused(tmp_path: Path) -> None:
    run = _open(tmp_path)
    run.save()
    with pytest.raises(UserError, match="was started on other data"):
        _open(tmp_path, data="other")
    Vocabulary([*VOCABULARY.tokens[:-1], "二"]).save(str(tmp_path / "vocab.txt"))
    with pytest.raises(UserError, match="was started with another vocabulary"):
        _open(tmp_path)


def test_a_new_run_needs_a_recipe_and_its_own_folder(tmp_path: Path) -> None:
    message = r"A new run needs --config: base, .*nano, .*or a \.yaml file"
    with pytest.raises(UsageError, match=message):
        _open(tmp_path, None)
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(UserError, match="exists and is not a run's folder"):
        _open(tmp_path)


@pytest.mark.parametrize("phases", [5, ["x"], [{"name": "a"}], [{"name": "a", "settings": 5}]])
def test_damaged_phases_are_refused(tmp_path: Path, phases: object) -> None:
    _open(tmp_path).save()
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "phases": phases}))
    with pytest.raises(UserError, match=r"config\.json: `phases` is (damaged|5)"):
        folder.load(str(tmp_path))


def test_a_vocabulary_of_another_size_than_the_model_s_is_refused(tmp_path: Path) -> None:
    _open(tmp_path).save()
    Vocabulary([*VOCABULARY.tokens, "二"]).save(str(tmp_path / "vocab.txt"))
    with pytest.raises(UserError, match=r"vocabulary of 7 tokens, .* of 6: restore its vocab\.txt"):
        folder.load(str(tmp_path))


def test_a_run_that_was_stopped_in_its_first_files_is_begun_again(tmp_path: Path) -> None:
    for name in (".lock", f"config.json.partial-{'0' * 32}", f"vocab.txt.partial-{'0' * 32}"):
        (tmp_path / name).write_text("")
    _open(tmp_path)
    VOCABULARY.save(str(tmp_path / "vocab.txt"))
    _open(tmp_path)
    Vocabulary([*VOCABULARY.tokens, "mine"]).save(str(tmp_path / "vocab.txt"))
    with pytest.raises(UserError, match="exists and is not a run's folder"):
        _open(tmp_path)


def test_a_run_s_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("mine")
    for name in ("thesis.doc", "thesis.doc/run"):
        with pytest.raises(UserError, match=r"thesis\.doc is a file; --output names a folder"):
            _open(tmp_path / name)


def test_vocab_size_follows_the_data(tmp_path: Path) -> None:
    assert _open(tmp_path).config.model.vocab_size == 6
    with pytest.raises(UserError, match="vocab_size is 7 but the data's vocabulary has 6 tokens"):
        _open(tmp_path, vocab_size="7")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no config\.json"):
        folder.load(str(tmp_path))
    with pytest.raises(UserError, match="nowhere does not exist"):
        folder.load("nowhere")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="is not a JSON object"):
        folder.load(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is not the settings of a pretraining run"):
        folder.load(str(tmp_path))
