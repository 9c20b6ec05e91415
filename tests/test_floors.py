"""Imports go down the floors, never up and never sideways between packages of one floor."""

from __future__ import annotations

import ast
import collections
import graphlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "electra_zh"
FLOORS = {
    "errors": 0,
    "messages": 0,
    "settings": 0,
    "content": 0,
    "files": 0,
    "remote": 0,
    "interrupts": 0,
    "locks": 0,
    "modules": 0,
    "machine": 0,
    "progress": 0,
    "configs": 0,
    "sample": 0,
    "text": 1,
    "data": 2,
    "models": 2,
    "training": 2,
    "runtime": 3,
    "convert": 3,
    "pretraining": 4,
    "finetuning": 4,
    "report": 5,
    "api": 6,
    "commands": 6,
    "demo": 6,
    "doctor": 6,
    "cli": 6,
    "__main__": 6,
}
# These start without TensorFlow: a command's --help and build-data on local files must be quick.
WITHOUT_TENSORFLOW = (
    *(
        "cli",
        "commands",
        "content",
        "errors",
        "machine",
        "settings",
        "progress",
        "text",
        "data.build",
        "data.cleaning",
        "data.documents",
        "data.manifest",
        "data.workers",
    ),
    *("convert.weights", "convert.forms", "convert.source", "convert.tensor_files"),
    *("convert.tokenizer_files", "convert.piece_tokenizer", "convert.embedding_transfer"),
    *("convert.model_folder", "convert.task_heads", "convert.adapt", "models.weight_names"),
    *(
        "pretraining.config",
        "pretraining.folder",
        "pretraining.request",
        "pretraining.running.driver",
    ),
    *("pretraining.programs.train", "pretraining.programs.evaluation"),
    *("runtime.device", "runtime.lowering", "runtime.pjrt", "report"),
    *(
        "finetuning.tasks",
        "finetuning.registry",
        "finetuning.locate",
        "finetuning.examples",
        "finetuning.readers",
        "finetuning.encoding",
    ),
    *("finetuning.scores", "finetuning.submission"),
)


def _room(module: str) -> str:
    """Returns the first name below electra_zh: `electra_zh.data.build` -> `data`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def _imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from _names(tree.body if top_level_only else ast.walk(tree))


def _names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "configs")


@pytest.mark.parametrize("path", _modules(), ids=str)
def test_imports_go_down(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    room = relative.parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for module in _imports(path):
        if not module.startswith("electra_zh."):
            continue
        other = _room(module)
        if other in ("__version__", room):
            continue
        assert other in FLOORS, f"{relative} imports {module}, which has no floor"
        # The single modules of the lowest and the highest floor may import each other.
        beside = FLOORS[other] == FLOORS[room] and FLOORS[room] in (0, 6)
        down = FLOORS[other] < FLOORS[room]
        assert down or beside, f"{relative} (floor {FLOORS[room]}) imports {module}"


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def _starts_light(path: Path) -> bool:
    name = _name(path)
    return any(name == known or name.startswith(f"{known}.") for known in WITHOUT_TENSORFLOW)


@pytest.mark.parametrize("path", [path for path in _modules() if _starts_light(path)], ids=_name)
def test_no_tensorflow_where_it_must_not_be(path: Path) -> None:
    name = _name(path)
    for module in _imports(path, top_level_only=True):
        assert not module.startswith("tensorflow"), f"{name} imports {module} at its top"


class _WithoutTypeChecking(ast.NodeTransformer):
    """Removes the imports for type checkers, which are never executed."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def _imported_modules(path: Path, known: set[str]) -> set[str]:
    """Returns the modules of the package that a module imports, inside functions too."""
    found = set()
    tree = _WithoutTypeChecking().visit(ast.parse(path.read_text(encoding="utf-8")))
    for name in _names(ast.walk(tree)):
        inner = name.removeprefix("electra_zh.")
        if inner in known:
            found.add(inner)
        elif inner.rpartition(".")[0] in known:
            found.add(inner.rpartition(".")[0])
    return found - {_name(path)}


def test_no_circle_of_imports() -> None:
    """Modules of a room do not import each other in a circle, inside functions or not."""
    modules = {_name(path).removesuffix(".__init__"): path for path in _modules()}
    graph = {name: _imported_modules(path, set(modules)) for name, path in modules.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def _private_imports() -> Iterator[str]:
    for path in _modules():
        for module in _imports(path):
            parts = module.split(".")
            if parts[0] == "tensorflow" and len(parts) > 1 and parts[1] in ("python", "core"):
                yield ".".join(parts[:4])
            elif parts[0] not in ("electra_zh", "__future__") and "._" in f".{module}":
                yield module


def test_private_imports_are_listed_with_their_reason() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [name for name in sorted(set(_private_imports())) if f"`{name}`" not in page] == []


def test_a_class_name_has_one_meaning() -> None:
    found = collections.Counter(
        node.name
        for path in _modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in found.items() if count > 1] == []
