"""Settings, task files, checkpoints, weights and programs of any bytes: a result or one line."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh import files
from electra_zh.convert import tensor_files
from electra_zh.finetuning import registry
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.readers.base import READERS
from electra_zh.pretraining.config import resolve
from electra_zh.runtime.program import StepProgram, TensorInfo
from electra_zh.training import checkpoints, tensor_file
from electra_zh.training.checkpoints import CheckpointStore
from support.mutations import fuzz, inputs
from support.refusing import folder_of, refusing
from support.task_files import TASKS

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = [path.read_bytes() for path in sorted((CONFIGS / "pretrain").glob("*.yaml"))]
WEIGHTS: dict[str, np.ndarray] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(3, np.int64),
}


@given(data=inputs(*RECIPES))
@fuzz
def test_recipes(data: bytes) -> None:
    with folder_of(recipe_yaml=data) as folder, refusing():
        found = resolve(str(folder / "recipe.yaml"), {}, vocab_size=1000)
        assert found.settings.train_batch_size >= 0  # 0 is auto


@given(data=inputs(*(path.read_bytes() for path in sorted((CONFIGS / "finetune").glob("*.yaml")))))
@fuzz
def test_tasks(data: bytes) -> None:
    with folder_of(task_yaml=data) as folder, refusing():
        assert registry.load([str(folder / "task.yaml")])


def _tasks() -> list[tuple[str, bytes]]:
    """The shipped tasks with a small file, the first of each reader."""
    found: dict[str, tuple[str, bytes]] = {}
    for name in registry.task_names():
        (task,) = registry.load([name])
        paths = sorted(path for path in (TASKS / name).rglob("*") if path.is_file())
        if paths and task.reader in READERS:
            found.setdefault(task.reader, (name, min(paths, key=_size).read_bytes()[:4000]))
    return sorted(found.values())


def _size(path: Path) -> int:
    return path.stat().st_size


@pytest.mark.parametrize(("name", "valid"), _tasks(), ids=lambda value: str(value)[:12])
@given(choice=st.data())
@fuzz
def test_task_files(choice: st.DataObject, name: str, valid: bytes) -> None:
    (task,) = registry.load([name])
    with folder_of(data_x=choice.draw(inputs(valid))) as folder:
        for split, skip in (("train", False), ("new", True)):
            with refusing():
                reader = READERS[task.reader](str(folder / "data.x"), task, split=split)
                for example in reader.read(BadExamples(skip=skip)):
                    json.dumps(example.id)


@functools.cache
def saved() -> dict[str, bytes]:
    """The files of a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(folder, keep=1)
        path = Path(store.save(5, model=WEIGHTS, optimizer=WEIGHTS, state={"optimizer_step": 5}))
        return {each.name: each.read_bytes() for each in path.iterdir()}


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@given(choice=st.data())
@fuzz
def test_checkpoints(choice: st.DataObject, name: str) -> None:
    data = choice.draw(inputs(saved()[name]))
    with tempfile.TemporaryDirectory() as parent, refusing():
        folder = Path(parent, "ckpt-5")
        folder.mkdir()
        for each, content in saved().items():
            (folder / each).write_bytes(data if each == name else content)
        found = checkpoints.read(str(folder))
        # A checkpoint is the one that was saved, or it is refused.
        assert (found.step, found.state["optimizer_step"]) == (5, 5)
        for tensors in (found.model, found.optimizer):
            for key, value in WEIGHTS.items():
                np.testing.assert_array_equal(tensors[key], value)


@functools.cache
def safetensors() -> bytes:
    """A file of weights."""
    with tempfile.TemporaryDirectory() as folder:
        tensor_file.write(f"{folder}/x", WEIGHTS)
        return Path(folder, "x").read_bytes()


@given(choice=st.data())
@fuzz
def test_safetensors(choice: st.DataObject) -> None:
    data = choice.draw(inputs(safetensors()))
    with folder_of(model_safetensors=data) as folder, refusing():
        tensors = tensor_files.read_safetensors(str(folder / "model.safetensors"))
        assert sum(value.nbytes for value in tensors.values()) <= 8 * len(data)


@functools.cache
def tf1() -> dict[str, bytes]:
    """The files of a TF1 checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        tensor_files.write_tf1(f"{folder}/model.ckpt", WEIGHTS)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("part", ["index", "data"])
@given(choice=st.data())
@fuzz
def test_tf1_checkpoints(choice: st.DataObject, part: str) -> None:
    (name,) = [name for name in tf1() if f".{part}" in name]
    data = choice.draw(inputs(tf1()[name]))
    with tempfile.TemporaryDirectory() as folder, refusing():
        for each, content in tf1().items():
            Path(folder, each).write_bytes(data if each == name else content)
        tensor_files.read_tf1(f"{folder}/model.ckpt")


@functools.cache
def program() -> dict[str, bytes]:
    """The files of an exported step, without a real one."""
    info = TensorInfo("kernel", (2, 3), "float32")
    step = StepProgram(bytes(range(256)), (info._replace(dtype="int32"),), (info,), (info,), (1,))
    with tempfile.TemporaryDirectory() as folder:
        step.save(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("name", ["program.json", "step.jaxexport"])
@given(choice=st.data())
@fuzz
def test_programs(choice: st.DataObject, name: str) -> None:
    data = choice.draw(inputs(program()[name]))
    with tempfile.TemporaryDirectory() as folder, refusing():
        for each, content in program().items():
            Path(folder, each).write_bytes(data if each == name else content)
        found = StepProgram.load(folder)
        assert found.exported == bytes(range(256))
        assert found.variables == (TensorInfo("kernel", (2, 3), "float32"),)


@given(data=inputs(b'{"a": [1, 2.5, null, "x"], "b": {"c": true}}'))
@fuzz
def test_json(data: bytes) -> None:
    with folder_of(x_json=data) as folder, refusing():
        files.read_json(str(folder / "x.json"))
