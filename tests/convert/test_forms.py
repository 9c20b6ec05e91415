"""A form of models is one module of `convert/forms/`, registered by its presence."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from electra_zh.convert import forms
from electra_zh.convert.source import open_source
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError

PACKAGE = Path(__file__).parents[2] / "electra_zh"
MODULES = [path for path in (PACKAGE / "convert" / "forms").glob("*.py") if path.stem != "__init__"]
# A form of another tool: a text file with its number of layers.
ANOTHER = """'Files of another tool.'
from electra_zh.convert.forms import FormReader

def read(path):
    return f"read {path}"

def write(weights, output):
    return [f"{output}: written"]

READER = FormReader("a file of another tool", 9, lambda path: path.endswith(".other"), read)
"""


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            names.add(str(node.module))
    return names


@pytest.mark.parametrize("form", MODULES, ids=lambda path: path.stem)
def test_no_module_outside_the_folder_mentions_a_form(form: Path) -> None:
    name = f"electra_zh.convert.forms.{form.stem}"
    users = [path for path in PACKAGE.rglob("*.py") if path.parent != form.parent]
    assert not [str(path) for path in users if name in _imports(path)]


def test_a_new_module_is_a_new_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "another.py").write_text(ANOTHER, encoding="utf-8")
    monkeypatch.setattr(forms, "__path__", [*forms.__path__, str(tmp_path)])
    assert open_source("model.other") == "read model.other"
    assert forms.writer_summaries()["another"] == "Files of another tool"
    assert forms.write_form("another", cast(Weights, None), "out") == ["out: written"]
    with pytest.raises(UserError, match=r"does not exist.* a file of another tool"):
        open_source("nowhere")
    with pytest.raises(UserError, match=r"--checkpoint 1 is for runs of this tool"):
        open_source("model.other", checkpoint=1)


def test_every_form_reads_or_writes_and_the_order_is_definite() -> None:
    summaries = forms.writer_summaries()
    assert {"google", "huggingface", "onnx", "saved-model"} <= summaries.keys()
    assert all(summaries.values())
    readers = forms.readers()
    assert len(readers) + len(summaries) >= len(MODULES)
    assert len({reader.order for reader in readers}) == len(readers)


def test_forms_are_listed_without_numpy_and_read_without_tensorflow() -> None:
    code = "import sys; from electra_zh.convert import forms; "
    code += "forms.writer_summaries(); numpy = 'numpy' in sys.modules; "
    code += "forms.readers(); sys.exit(numpy or 'tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
