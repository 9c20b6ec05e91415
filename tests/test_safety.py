"""Claims of SECURITY.md: names from data, the mask of the user, connections, code in data."""

from __future__ import annotations

import ast
import importlib.resources
import json
import os
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from electra_zh import files
from electra_zh.convert import tensor_files
from electra_zh.errors import UserError
from electra_zh.settings import recipes
from electra_zh.training.checkpoints import CheckpointStore

PACKAGE = Path(files.__file__).parent
# Functions that run what they read.
_RUNNING = {
    *("eval", "exec", "pickle.load", "pickle.loads", "yaml.unsafe_load", "os.system"),
    *("marshal.loads", "shelve.open", "joblib.load", "dill.loads"),
}
# Functions that unpack archives into folders.
_UNPACKING = {"extract", "extractall", "unpack_archive"}


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/a", "a/b", "a\\b", "a\0"])
def test_a_path_is_not_a_name(name: str) -> None:
    assert not files.is_name(name)
    assert files.is_name("a")
    assert files.is_name("..a")


@pytest.mark.parametrize("name", ["../model.safetensors", "/model.safetensors", ".."])
def test_an_index_names_files_of_its_folder(tmp_path: Path, name: str) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match="is not a file of the same folder"):
        tensor_files.read_tensors(str(index))


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def _is_safe(call: ast.Call) -> bool:
    """Returns whether the loader of a call of yaml.load is a safe one."""
    loader = getattr(recipes, ast.unparse(call.args[1]), None) if len(call.args) == 2 else None
    return isinstance(loader, type) and issubclass(loader, yaml.SafeLoader)


def test_nothing_that_is_read_is_run_or_unpacked() -> None:
    found = []
    for where, call in _calls():
        name = ast.unparse(call.func)
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if name in _RUNNING or name.rpartition(".")[2] in _UNPACKING:
            found.append(f"{where}: {name}")
        if name == "yaml.load" and not _is_safe(call):
            found.append(f"{where}: {name} without a safe loader")
        if name in ("np.load", "numpy.load") and given.get("allow_pickle") == "True":
            found.append(f"{where}: {name} of pickles")
        if name == "torch.load" and given.get("weights_only") != "True":
            found.append(f"{where}: {name} of more than weights")
    assert found == []


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_and_folders_have_the_mask_of_the_user(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        files.write_text(str(tmp_path / "file"), "x")
        files.make_dirs(str(tmp_path / "folder"))
        with files.new_folder(str(tmp_path / "made")) as folder:
            files.write_text(f"{folder}/file", "x")
        store = CheckpointStore(str(tmp_path / "checkpoints"), keep=1)
        store.save(1, model={}, optimizer={}, state={})
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        most = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == most & ~mask, path


_WATCHED = textwrap.dedent(
    """
    import sys
    from electra_zh import cli

    def hook(event, arguments):
        # The address of a socket of the machine itself is a path.
        if event == "socket.getaddrinfo" or (
            event in ("socket.connect", "socket.sendto")
            and not isinstance(arguments[1], (str, bytes))
        ):
            print("contacts", event, arguments, flush=True)

    sys.addaudithook(hook)
    sys.exit(cli.run(sys.argv[1:]))
    """
)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that waits for connections."""
    with socket.create_server(("localhost", 0)) as made:
        made.setblocking(False)
        yield made


def test_no_address_is_contacted_unasked(tmp_path: Path, listener: socket.socket) -> None:
    """Python's sockets connect to nothing; those of C not to what the environment names."""
    address = f"localhost:{listener.getsockname()[1]}"
    cluster = {"cluster": {"worker": [address]}, "task": {"type": "worker", "index": 0}}
    named = {"JAX_COORDINATOR_ADDRESS": address, "TF_CONFIG": json.dumps(cluster)}
    named["DASK_SCHEDULER_ADDRESS"] = f"tcp://{address}"
    sample = importlib.resources.files("electra_zh.sample").joinpath("corpus.txt")
    (tmp_path / "corpus.txt").write_bytes(sample.read_bytes())
    build = ["build-data", "cleaned", "--vocab", "vocab.txt", "--max-seq-length", "16"]
    sizes = [f"{name}=8" for name in ("hidden_size", "embedding_size", "intermediate_size")]
    sizes += ["num_hidden_layers=1", "num_attention_heads=1", "max_seq_length=16"]
    run = ["--data", "data", *sizes, "num_train_steps=1", "num_warmup_steps=0"]
    for words in (
        ["clean", "corpus.txt", "--output", "cleaned", "--processes", "1"],
        ["build-vocab", "corpus.txt", "--output", "vocab.txt", "--size", "500"],
        [*build, "--output", "data", "--processes", "2"],
        [*build, "--output", "again", "--processes", "2", "--runner", "dask"],
        ["inspect", "data"],
        ["pretrain", "--config", "nano", *run, "--output", "run", "--device", "pjrt:cpu"],
    ):
        result = subprocess.run(
            [sys.executable, "-c", _WATCHED, *words],
            cwd=tmp_path,
            env={**os.environ, **named},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        # The parts of Dask on this machine speak to each other.
        assert "dask" in words or "contacts" not in result.stdout
    with pytest.raises(BlockingIOError):
        listener.accept()
