"""Parts of a build: in any order, at once, killed, refused; the bytes are the whole build's."""

from __future__ import annotations

import dataclasses
import multiprocessing
import shutil
from pathlib import Path

import pytest

from electra_zh import files, locks
from electra_zh.data import build, documents, input_files, shards
from electra_zh.data.build import BuildSettings
from electra_zh.data.manifest import MANIFEST, WORK, Manifest
from electra_zh.data.parts import Left, Part, left_lines, parse_part
from electra_zh.errors import UsageError, UserError
from support.building import contents, make_settings


@pytest.fixture
def settings(corpus: Path, vocabulary: str, tmp_path: Path) -> BuildSettings:
    with open(corpus / "2.txt", "ab") as file:
        file.write(b"\xff\n")
    return make_settings(corpus, vocabulary, tmp_path / "out", num_shards=5, holdout_every=7)


@pytest.fixture
def whole(settings: BuildSettings, tmp_path: Path) -> dict[str, bytes]:
    build.build(dataclasses.replace(settings, output=str(tmp_path / "whole")))
    return contents(tmp_path / "whole")


def _part(settings: BuildSettings, number: int, total: int) -> BuildSettings:
    return dataclasses.replace(settings, part=Part(number, total))


@pytest.mark.parametrize("text", ["0/4", "5/4", "x", "1", "1/0", "-1/4", "1/4/2", "1.0/2", ""])
def test_a_part_is_i_of_n(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--part .*: give i/n, the number of this part"):
        parse_part(text)


def test_every_task_is_of_one_part() -> None:
    parts = [parse_part(f"{number}/3") for number in (1, 2, 3)]
    assert [str(part) for part in parts] == ["1/3", "2/3", "3/3"]
    for index in range(10):
        assert sum(part.owns(index) for part in parts) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runner": "dask"}, "--part is for machines without an engine"),
        ({"overwrite": True}, "--part adds to what other parts do"),
    ],
)
def test_what_does_not_go_with_a_part(
    settings: BuildSettings, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(_part(settings, 1, 2), **changes)  # type: ignore[arg-type]


def test_the_last_part_joins(settings: BuildSettings, whole: dict[str, bytes]) -> None:
    output = Path(settings.output)
    first = build.build_part(_part(settings, 2, 3))
    assert isinstance(first, Left)
    assert (first.what, first.parts) == ("units", (1, 3))
    assert "left, of part 1/3, 3/3" in left_lines(first, Part(2, 3))[0]
    build.build_part(_part(settings, 3, 3))
    # All units are there now; what is left are the others' shards.
    third = build.build_part(_part(settings, 1, 3))
    assert isinstance(third, Left)
    assert (third.what, third.parts) == ("shards", (2, 3))
    assert not (output / MANIFEST).exists()
    assert isinstance(build.build_part(_part(settings, 2, 3)), Left)
    assert isinstance(build.build_part(_part(settings, 3, 3)), Manifest)
    assert contents(output) == whole
    # One that comes late finds its work done.
    assert isinstance(build.build_part(_part(settings, 1, 3)), Manifest)
    with pytest.raises(UserError, match="holds finished data"):
        build.build_part(dataclasses.replace(_part(settings, 1, 3), seed=5))
    assert contents(output) == whole


@pytest.mark.parametrize("parts", [(), (1,), (2, 1)])
def test_the_command_without_a_part_does_the_rest(
    settings: BuildSettings, whole: dict[str, bytes], parts: tuple[int, ...]
) -> None:
    for number in parts:
        build.build_part(_part(settings, number, 2))
    build.build(settings)
    assert contents(Path(settings.output)) == whole


def test_other_settings_are_refused_and_nothing_is_lost(
    settings: BuildSettings, whole: dict[str, bytes], corpus: Path
) -> None:
    build.build_part(_part(settings, 1, 2))
    other = dataclasses.replace(_part(settings, 2, 2), seed=1)
    with pytest.raises(UserError, match=r"other seed \(0 there, 1 here\)"):
        build.build_part(other)
    build.build_part(_part(settings, 2, 2))
    build.build_part(_part(settings, 1, 2))
    assert contents(Path(settings.output)) == whole


def test_of_two_that_begin_at_once_one_has_its_settings(
    settings: BuildSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.create

    def late(path: str, data: bytes) -> bool:
        monkeypatch.setattr(files, "create", real)
        build.build_part(dataclasses.replace(_part(settings, 2, 2), seed=1))
        return real(path, data)

    monkeypatch.setattr(files, "create", late)
    with pytest.raises(UserError, match=r"other seed \(1 there, 0 here\)"):
        build.build_part(_part(settings, 1, 2))


def test_bad_input_leaves_what_other_parts_have_done(settings: BuildSettings, corpus: Path) -> None:
    strict = dataclasses.replace(settings, strict=True, holdout_every=None)
    plan = documents.plan_units(
        input_files.find_inputs(settings.inputs), unit_bytes=settings.unit_bytes
    )
    # The bad line is at the end of the corpus.
    bad = len(plan) % 2 or 2
    build.build_part(_part(strict, 3 - bad, 2))
    with pytest.raises(UserError, match="not UTF-8"):
        build.build_part(_part(strict, bad, 2))
    assert list((Path(settings.output) / WORK).glob("unit-*.json"))


def test_parts_without_a_shared_folder_are_copied_together(
    settings: BuildSettings, whole: dict[str, bytes], tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        own = str(tmp_path / f"machine{number}")
        build.build_part(_part(dataclasses.replace(settings, output=own), number, 3))
        shutil.copytree(Path(own) / WORK, Path(settings.output) / WORK, dirs_exist_ok=True)
    build.build(settings)
    assert contents(Path(settings.output)) == whole


def test_parts_work_at_once_and_other_builds_wait(
    settings: BuildSettings, whole: dict[str, bytes]
) -> None:
    with locks.locked(settings.work_folder, shared=True):
        with pytest.raises(UserError, match=r"Another process is writing to .*\.work"):
            build.build(settings)
        build.build_part(_part(settings, 1, 2))
        build.build_part(_part(settings, 2, 2))
        last = build.build_part(_part(settings, 1, 2))
        assert isinstance(last, Left)
        assert last.number == 0
        assert "is still at work joins them" in left_lines(last, Part(1, 2))[0]
    with locks.locked(settings.work_folder):
        for part in (None, Part(1, 2)):
            do = build.build if part is None else build.build_part
            with pytest.raises(UserError, match="Another process is at work"):
                do(dataclasses.replace(settings, part=part))
    build.build(settings)
    assert contents(Path(settings.output)) == whole


def _run(settings: BuildSettings) -> None:
    build.build_part(settings)


def test_processes_that_share_a_folder(settings: BuildSettings, whole: dict[str, bytes]) -> None:
    context = multiprocessing.get_context("spawn")
    for _ in range(2):
        running = [
            context.Process(target=_run, args=(_part(settings, number, 3),)) for number in (1, 2, 3)
        ]
        for process in running:
            process.start()
        for process in running:
            process.join()
            assert process.exitcode == 0
    assert contents(Path(settings.output)) == whole


def test_a_shard_that_is_not_seen_is_not_left_out(
    settings: BuildSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shards.move_shards

    def move(settings: BuildSettings, tasks: list[shards.ShardTask]) -> None:
        (Path(settings.work_folder) / f"train.{tasks[0].name}").unlink()
        real(settings, tasks)

    monkeypatch.setattr(shards, "move_shards", move)
    with pytest.raises(UserError, match=r"No such file or directory: .*Finished work is kept"):
        build.build(settings)
    assert not (Path(settings.output) / MANIFEST).exists()
