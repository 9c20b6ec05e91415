"""Calls to remote file systems are repeated; files, checkpoints and shards survive failures."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from electra_zh import files, remote
from electra_zh.data import pipeline
from electra_zh.data.build.run import build
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.training.checkpoints import CheckpointStore
from support import faulty
from support.building import LENGTH, LETTERS, contents, make_settings, make_text


@pytest.fixture(autouse=True)
def pauses() -> Iterator[list[float]]:
    """The pauses between attempts, which take no time; every third call fails."""
    faulty.start(every=3)
    found: list[float] = []
    with mock.patch.object(time, "sleep", found.append):
        yield found


def test_a_call_is_repeated_with_growing_pauses(pauses: list[float]) -> None:
    call = mock.Mock(side_effect=[OSError("a"), faulty.ForeignError("b"), TimeoutError("c"), 7])
    assert remote.retry(call, "Reading gs://a") == 7
    assert pauses == [1, 2, 4]


def test_a_call_that_keeps_failing_is_one_line(pauses: list[float]) -> None:
    call = mock.Mock(side_effect=faulty.ForeignError("no route"))
    with pytest.raises(OSError, match=r"^Reading gs://a failed 6 times: no route$"):
        remote.retry(call, "Reading gs://a")
    assert pauses == [1, 2, 4, 8, 16]


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError, ValueError])
def test_a_final_answer_is_not_asked_for_again(error: type[Exception], pauses: list[float]) -> None:
    with pytest.raises(error):
        remote.retry(mock.Mock(side_effect=error("x")), "Reading gs://a")
    assert pauses == []


def test_a_failure_does_not_mean_that_a_file_is_missing() -> None:
    files.write_text(f"{faulty.ROOT}/f", "x")
    assert all(files.exists(f"{faulty.ROOT}/f") for _ in range(9))
    assert all(files.is_dir(faulty.ROOT) for _ in range(9))
    assert not any(files.exists(f"{faulty.ROOT}/g") for _ in range(9))


def test_files_are_written_read_and_moved_through_failures() -> None:
    generator = np.random.default_rng(0)
    data = generator.bytes(50_000)
    for number in range(5):
        path = f"{faulty.ROOT}/deep/{number}"
        with files.atomic_write(path) as file:
            file.write(data[: number * 10_000])
        assert files.read_bytes(path) == data[: number * 10_000]
        with files.open_read(path) as file:
            file.seek(-min(5, number), 2)
            assert file.read() == data[10_000 * number - min(5, number) : 10_000 * number]
    files.rename(f"{faulty.ROOT}/deep", f"{faulty.ROOT}/moved")
    assert files.list_dir(f"{faulty.ROOT}/moved") == list("01234")
    assert not files.exists(f"{faulty.ROOT}/deep")
    for name in files.list_dir(f"{faulty.ROOT}/moved"):
        files.remove(f"{faulty.ROOT}/moved/{name}")
    failures = faulty.FaultyFileSystem.failures
    assert min(failures[name] for name in ("info", "write", "read", "cp_file", "rm_file")) > 0


def test_folders_are_walked_through_failures() -> None:
    paths = [f"{faulty.ROOT}/{name}" for name in ("a/b/1", "a/c/2", "d", "e/f/g/3", "e/4")]
    for path in (*paths, f"{faulty.ROOT}/.hidden/5"):
        files.write_text(path, "x")
    before = faulty.FaultyFileSystem.failures["ls"]
    for _ in range(3):
        assert files.walk(faulty.ROOT) == sorted(paths)
    assert faulty.FaultyFileSystem.failures["ls"] > before


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one() -> None:
    files.write_text(f"{faulty.ROOT}/a/b/1", "x")
    faulty.FaultyFileSystem.every = 1
    with pytest.raises(OSError, match=r"Listing .* failed 6 times"):
        files.walk(faulty.ROOT)


def test_checkpoints_survive_failures() -> None:
    folder = f"{faulty.ROOT}/run/checkpoints"
    weights = {"kernel": np.arange(30_000, dtype=np.float32)}
    for step in (1, 2, 3):
        store = CheckpointStore(folder, keep=2)
        store.save(step, model=weights, optimizer={}, state={"optimizer_step": step})
        found = store.latest()
        assert found is not None
        assert found.step == step
        np.testing.assert_array_equal(found.model["kernel"], weights["kernel"])
    assert files.list_dir(folder) == ["ckpt-2", "ckpt-3"]


def test_shards_are_built_and_read_through_failures(tmp_path: Path) -> None:
    corpus, vocabulary = tmp_path / "corpus.txt", str(tmp_path / "vocab.txt")
    corpus.write_text(make_text(30), encoding="utf-8")
    Vocabulary([*SPECIAL_TOKENS, *LETTERS, "。"]).save(vocabulary)
    local, data = tmp_path / "data", f"{faulty.ROOT}/data"
    build(make_settings(corpus, vocabulary, local, num_shards=2))
    build(dataclasses.replace(make_settings(corpus, vocabulary, local, num_shards=2), output=data))
    found = {path.removeprefix(f"{data}/"): files.read_bytes(path) for path in files.walk(data)}
    assert found == contents(local)
    one, other = (
        list(
            pipeline.OnePass(
                pipeline.open_shards(folder, max_seq_length=LENGTH), pipeline.Reading(LENGTH), 4
            )
        )
        for folder in (str(local), data)
    )
    assert len(one) == len(other) > 5
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours["input_ids"], theirs["input_ids"])
