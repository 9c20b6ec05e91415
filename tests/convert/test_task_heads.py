"""The exported form that a kind of task declares has every layer of its head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from electra_zh.convert.task_heads import TaskHead, read_head
from electra_zh.errors import UserError
from electra_zh.finetuning.kinds import head_form
from electra_zh.finetuning.model import FineTuned
from electra_zh.finetuning.tasks import kind_names
from electra_zh.models.weight_names import variable_name
from support.converting import make_fine_tuned


def _head(tuned: FineTuned, names: Sequence[str]) -> TaskHead:
    task = tuned.kinds["t"].task
    return read_head(task.to_dict(), names)._replace(declared=head_form(task.kind))


@pytest.mark.parametrize("kind", kind_names())
def test_the_layers_of_a_plain_head_are_those_of_its_form(kind: str, tmp_path: Path) -> None:
    labels = [] if kind in ("span", "choice", "cloze") else ["0", "5"]
    task = {"name": "t", "kind": kind, "labels": labels}
    tuned = make_fine_tuned(tmp_path / "model", task)
    names = [variable_name(v.name) for v in tuned.model.heads["t"].trainable_variables]
    layers = {name.split("/")[2] for name in names}
    head = _head(tuned, names)
    assert layers == set(head.form.layers)
    assert (head.reference, head.variants) == (False, ())
    if head.form.activation:
        outputs = tuned.model.heads["t"].output.bias.shape[0]
        assert len(head.outputs) == outputs


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"kind": "span", "reading": {"joint_prediction": True}}, ("joint_prediction",)),
        ({"kind": "span", "reading": {"answerability": True}}, ("answerability",)),
        ({"kind": "span", "labels": ["YES", "NO"]}, ("answer_type",)),
    ],
)
def test_variants_are_read_from_the_layers(
    task: dict[str, object], expected: tuple[str, ...], tmp_path: Path
) -> None:
    tuned = make_fine_tuned(tmp_path / "model", {"name": "t", **task})
    names = [variable_name(v.name) for v in tuned.model.trainable_variables]
    head = _head(tuned, names)
    assert (head.reference, head.variants) == (False, expected)


def test_a_kind_without_exported_form_is_refused() -> None:
    head = read_head({"name": "t", "kind": "poem"}, [])._replace(declared=head_form("poem"))
    with pytest.raises(UserError, match='task t cannot be exported: kind "poem" declares no'):
        head.naming()
