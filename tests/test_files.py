"""Files are complete or missing; remote paths are handled by fsspec."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from electra_zh import files
from electra_zh.errors import UserError


def test_atomic_write_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def write() -> None:
        with files.atomic_write(str(path)) as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert path.read_bytes() == b"old"
    assert files.list_dir(str(tmp_path)) == ["f"]


def test_atomic_write_replaces(tmp_path: Path) -> None:
    path = tmp_path / "f"
    files.write_text(str(path), "一\n")
    files.write_text(str(path), "二\r\n")
    assert files.read_text(str(path)) == "二\r\n"


def test_an_output_folder_is_not_a_file_or_below_one(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    for name in ("f", "f/new", "f/a/new"):
        with pytest.raises(UserError, match="f is a file; --output names a folder"):
            files.check_output(str(tmp_path / name))
    with pytest.raises(UserError, match="--output is empty; it names a folder"):
        files.check_output("")
    for name in ("", "new", "new/er"):
        files.check_output(str(tmp_path / name))
    files.check_output("new")


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file: nowhere"):
        files.read_text("nowhere")
    (tmp_path / "latin1").write_bytes(b"\xe9")
    with pytest.raises(UserError, match="latin1 is not UTF-8"):
        files.read_text(str(tmp_path / "latin1"))
    (tmp_path / "j").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        files.read_json(str(tmp_path / "j"))
    with pytest.raises(UserError, match="is a folder"):
        files.read_text(str(tmp_path))


def test_errors_of_json_say_what_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with pytest.raises(UserError, match=rf"^{tmp_path} is a folder; name a file$"):
        files.read_json(str(tmp_path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=rf"^{path} is not UTF-8 text"):
        files.read_json(str(path))
    for text, problem in (
        ("\ufeff{}", "starts with a byte order mark; save it without"),
        ("\n", "is empty; restore it"),
        ("\0" * 9, "is filled with zeros; restore it"),
        ("", "is empty; restore it"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=rf"^{path} {problem}$"):
            files.read_json(str(path))
    path.write_text("[1]")
    with pytest.raises(UserError, match=rf"^{path} is not a JSON object: \[1\]$"):
        files.read_json_object(str(path))


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (lambda: dict[str, int]()["a"], "'a' is missing"),
        (lambda: json.loads("[]").items(), "'list' object has no attribute 'items'"),
        (lambda: int("x"), "invalid literal for int.*"),
    ],
)
def test_wrong_values_are_damage(read: Callable[[], object], what: str) -> None:
    with (
        pytest.raises(UserError, match=rf"^f is damaged \({what}\)\. Run again$"),
        files.explained_damage("f", "Run again"),
    ):
        read()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_folder_that_cannot_be_opened_is_not_taken_for_a_missing_file(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    assert not files.exists(str(tmp_path / "none"))
    assert not files.is_dir(str(tmp_path / "none" / "x\0"))
    assert not files.exists(str(tmp_path / ("x" * 300)))
    monkeypatch.setattr(os, "stat", refuse)
    for ask in (files.exists, files.is_dir):
        with pytest.raises(OSError, match=os.strerror(number)):
            ask(str(tmp_path / "closed" / "state.json"))


def test_own_errors_are_not_damage() -> None:
    with (
        pytest.raises(UserError, match="of another version"),
        files.explained_damage("f", "Run again"),
    ):
        raise UserError("of another version")


def test_a_full_disk_is_an_error_of_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="No space") as caught,
        files.atomic_write(str(tmp_path / "f")),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert files.describe_error(caught.value) == f"No space left on device: {tmp_path / 'f'}"


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "closed").mkdir(parents=True)
    (tmp_path / "a" / "b").write_text("x")
    assert files.walk(str(tmp_path)) == [str(tmp_path / "a" / "b")]
    assert files.walk(str(tmp_path / "missing")) == []
    scandir = os.scandir

    # Permissions do not bind root.
    def closed(path: str) -> Any:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(PermissionError, match="closed"):
        files.walk(str(tmp_path))


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("x")
    (tmp_path / "two" / "again").symlink_to(tmp_path / "two")
    (tmp_path / "two" / "linked").symlink_to(tmp_path / "one")
    found = [os.path.relpath(path, tmp_path) for path in files.walk(str(tmp_path))]
    assert found == ["one/f", "two/f"]
    found = [os.path.relpath(path, tmp_path) for path in files.walk(str(tmp_path / "two"))]
    assert found == ["two/f", "two/linked/f"]


def test_names_that_are_not_utf8_can_be_written(tmp_path: Path) -> None:
    paths = [os.fsdecode(os.fsencode(tmp_path) + name) for name in (b"/a/\xd3\xef", b"/b/c")]
    assert [*map(files.short_names(paths), paths)] == ["a/\ufffd\ufffd", "b/c"]
    path = str(tmp_path / "f")
    files.write_json(path, paths)
    assert files.read_json(path) == paths


def test_schemes_are_remote() -> None:
    assert files.is_remote("gs://bucket/a")
    assert not files.is_remote("/a/b")
    assert not files.is_remote("a:b")
    assert files.join("gs://bucket/a/", "b") == "gs://bucket/a/b"


REMOTE = "memory://electra-zh-test"


@pytest.fixture(autouse=True)
def _empty_remote() -> None:
    fsspec.filesystem("memory").store.clear()


def test_a_remote_file_is_written_read_and_removed() -> None:
    path = f"{REMOTE}/f"
    files.write_text(path, "内容")
    assert files.exists(path)
    assert not files.is_dir(path)
    assert files.size(path) == 6
    assert files.modified_ns(path) > 0
    assert files.read_text(path) == "内容"
    files.write_text(path, "二")
    assert files.read_text(path) == "二"
    files.remove(path)
    assert not files.exists(path)
    with pytest.raises(UserError, match=f"No such file: {path}"):
        files.read_text(path)


def test_remote_folders_are_listed_under_their_own_names() -> None:
    for name in ("a.txt", "deep/b.txt", "deep/c", ".hidden/d"):
        files.write_text(f"{REMOTE}/{name}", "x")
    assert files.is_dir(REMOTE)
    assert files.list_dir(REMOTE) == [".hidden", "a.txt", "deep"]
    assert files.walk(REMOTE) == [f"{REMOTE}/{name}" for name in ("a.txt", "deep/b.txt", "deep/c")]
    assert files.glob(f"{REMOTE}/*.txt") == [f"{REMOTE}/a.txt"]
    assert files.glob(f"{REMOTE}/**/*.txt") == [f"{REMOTE}/a.txt", f"{REMOTE}/deep/b.txt"]
    assert files.glob(f"{REMOTE}/deep/c") == [f"{REMOTE}/deep/c"]


def test_a_remote_write_that_fails_leaves_the_old_file() -> None:
    files.write_text(f"{REMOTE}/f", "old")

    def write() -> None:
        with files.atomic_write(f"{REMOTE}/f") as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert files.list_dir(REMOTE) == ["f"]
    assert files.read_text(f"{REMOTE}/f") == "old"


def test_a_remote_folder_replaces_another() -> None:
    for content in ("one", "two"):
        with files.new_folder(f"{REMOTE}/new", replace=True) as folder:
            files.write_text(files.join(folder, content), content)
    assert files.list_dir(REMOTE) == ["new"]
    assert files.walk(REMOTE) == [f"{REMOTE}/new/two"]
    files.remove_tree(f"{REMOTE}/new")
    assert not files.exists(f"{REMOTE}/new")


def test_an_unknown_scheme_is_an_error() -> None:
    with pytest.raises(UserError, match=r"Cannot open nowhere://a: .*[Pp]rotocol"):
        files.exists("nowhere://a")


def test_a_new_folder_is_complete_or_missing(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "new"

    def fail() -> None:
        with files.new_folder(str(target)) as folder:
            files.write_text(files.join(folder, "a"), "a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list((tmp_path / "deep").iterdir()) == []
    with files.new_folder(f"{target}/") as folder:
        files.write_text(files.join(folder, "a"), "a")
        assert not target.exists()
    assert (target / "a").read_text() == "a"
    with pytest.raises(UserError, match="new exists; choose another --output"):
        files.new_folder(str(target)).__enter__()


def test_names_of_255_bytes_are_written(tmp_path: Path) -> None:
    name = "名" * 85
    files.write_text(str(tmp_path / name), "一")
    files.write_text(str(tmp_path / name), "二")
    assert files.read_text(str(tmp_path / name)) == "二"
    folder = str(tmp_path / f"{name[:-1]}abc")
    for content in "ab":
        with files.new_folder(folder, replace=True) as partial:
            assert files.is_partial(partial)
            files.write_text(files.join(partial, content), content)
    assert files.list_dir(folder) == ["b"]
    assert len(files.list_dir(str(tmp_path))) == 2


@pytest.mark.parametrize(
    ("mode", "owner", "is_own"),
    [(0o644, None, True), (0o664, None, True), (0o666, None, False), (0o644, 4321, False)],
)
def test_files_of_others_are_not_own(
    tmp_path: Path, mode: int, owner: int | None, is_own: bool
) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    path.chmod(mode)
    if owner is not None:
        if os.getuid():
            pytest.skip("only root can give files away")
        os.chown(path, owner, -1)
    assert files.is_own(str(path)) == is_own
    assert files.is_own("memory://file")


def test_unfinished_files_and_folders_are_removed(tmp_path: Path) -> None:
    (tmp_path / "a.partial-1").write_text("x")
    (tmp_path / "b.partial-2").mkdir()
    (tmp_path / "b.partial-2" / "c").write_text("x")
    (tmp_path / "partial").write_text("x")
    files.remove_unfinished(str(tmp_path))
    assert files.list_dir(str(tmp_path)) == ["partial"]
    files.remove_unfinished(str(tmp_path / "missing"))
