"""The table of task heads covers every kind of task, and every layer of its heads."""

from __future__ import annotations

from pathlib import Path

import pytest

from electra_zh.convert.task_heads import KINDS, read_head
from electra_zh.errors import UserError
from electra_zh.finetuning.tasks import kind_names
from electra_zh.models.weight_names import variable_name
from support.converting import make_fine_tuned


def test_every_kind_of_task_has_an_entry() -> None:
    assert set(KINDS) == set(kind_names())


@pytest.mark.parametrize("kind", KINDS)
def test_the_layers_of_a_plain_head_are_those_of_the_table(kind: str, tmp_path: Path) -> None:
    labels = {"classification": ["a", "b"], "regression": ["0", "5"], "tagging": ["PER"]}
    task = {"name": "t", "kind": kind, "labels": labels.get(kind, [])}
    tuned = make_fine_tuned(tmp_path / "model", task)
    names = [variable_name(v.name) for v in tuned.model.heads["t"].trainable_variables]
    layers = {name.split("/")[2] for name in names}
    assert layers == set(KINDS[kind].layers)
    head = read_head(tuned.kinds["t"].task.to_dict(), names)
    assert (head.reference, head.variants) == (False, ())
    if head.form.softmax:
        outputs = tuned.model.heads["t"].output.bias.shape[0]
        assert len(head.outputs) == outputs


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"kind": "span", "reading": {"joint_prediction": True}}, ("joint_prediction",)),
        ({"kind": "span", "reading": {"answerability": True}}, ("answerability",)),
        ({"kind": "span", "labels": ["YES", "NO"]}, ("verdict",)),
    ],
)
def test_variants_are_read_from_the_layers(
    task: dict[str, object], expected: tuple[str, ...], tmp_path: Path
) -> None:
    tuned = make_fine_tuned(tmp_path / "model", {"name": "t", **task})
    names = [variable_name(v.name) for v in tuned.model.trainable_variables]
    head = read_head(tuned.kinds["t"].task.to_dict(), names)
    assert (head.reference, head.variants) == (False, expected)


def test_a_kind_without_exported_form_is_refused() -> None:
    head = read_head({"name": "t", "kind": "poem"}, [])
    with pytest.raises(UserError, match=r'kind "poem" has no exported form; allowed: classif'):
        head.naming()
