"""What is wrong with a task is said before anything is trained."""

from __future__ import annotations

import pytest

from electra_zh.config import UserError
from electra_zh.finetuning import splits
from electra_zh.finetuning.examples import Problems
from electra_zh.finetuning.kinds import make_kind
from tuning import make_task


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "acuracy"}, r'metric "acuracy" is none of this task. Did you mean "accuracy"'),
        ({"metric": "f1", "labels": ["a", "b", "c"]}, "Allowed: accuracy, macro_f1, mcc$"),
        ({"metric": "f1", "kind": "choice"}, "Allowed: accuracy$"),
    ],
)
def test_a_metric_of_another_kind_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_kind(make_task(**changes), max_position_embeddings=64)


def test_an_unknown_reader_is_named() -> None:
    with pytest.raises(UserError, match=r'reader is named "jsonlines". Did you mean "json_lines"'):
        splits.read(
            make_task(reader="jsonlines"), ["x"], split="train", problems=Problems(skip=False)
        )
