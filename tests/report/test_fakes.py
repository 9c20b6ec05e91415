"""The fakes of a run in held-out text, and recall by kind of token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from electra_zh.errors import UserError
from electra_zh.report import fakes
from electra_zh.report.fakes import Judgement
from support.building import make_text
from support.converting import make_run


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("天", "Chinese character"),
        ("##天", "Chinese character"),
        ("bert", "Latin"),
        ("##s", "Latin"),
        ("2024", "digits"),
        ("，", "punctuation"),
        ("[UNK]", "other"),
        ("▁", "other"),
        ("ラ", "other"),
    ],
)
def test_kinds_of_tokens(token: str, kind: str) -> None:
    assert fakes.kind_of(token) == kind


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with random weights, and text in its vocabulary."""
    made = tmp_path_factory.mktemp("fakes")
    make_run(made / "run", max_seq_length=32, eval_batch_size=4)
    (made / "corpus.txt").write_text(make_text(8), encoding="utf-8")
    return made


def judged(folder: Path, call: Callable[..., str]) -> Judgement:
    data = folder / "data"
    if not data.exists():
        vocab = str(folder / "run" / "vocab.txt")
        words = [str(folder / "corpus.txt"), "--vocab", vocab, "--output", str(data)]
        call("build-data", *words, "--max-seq-length", "32", "--num-processes", "1")
    return fakes.judge(str(folder / "run"), [str(data)])


def test_fakes_are_counted_by_the_true_token(folder: Path, call: Callable[..., str]) -> None:
    found = judged(folder, call)
    kinds = {each.kind: each for each in found.kinds}
    assert "Chinese character" in kinds
    for each in kinds.values():
        assert 0 <= each.found <= each.replaced <= each.tokens
    assert sum(each.replaced for each in kinds.values()) > 0


def test_sentences_show_tokens_fakes_and_probabilities(
    folder: Path, call: Callable[..., str]
) -> None:
    found = judged(folder, call)
    tokens = [token for sentence in found.sentences for token in sentence]
    assert all(0 <= token.probability <= 1 for token in tokens)
    assert not {"[CLS]", "[SEP]", "[PAD]"} & {token.original for token in tokens}
    assert any(token.shown != token.original for token in tokens)
    assert found == judged(folder, call)  # the same masks and samples each time


def test_a_run_without_held_out_data_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="has no held-out data: give --data DIR"):
        fakes.judge(str(folder / "run"))
