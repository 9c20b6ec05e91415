"""Parts of a build: in any order, at once, refused; the bytes are those of an undivided build."""

from __future__ import annotations

import dataclasses
import multiprocessing
import re
import shutil
from pathlib import Path

import pytest

from electra_zh import files, locks
from electra_zh.data import documents, input_files
from electra_zh.data.build import shards
from electra_zh.data.build.context import BuildContext
from electra_zh.data.build.run import build, build_part
from electra_zh.data.build.settings import WORK, BuildSettings, Part
from electra_zh.data.manifest import MANIFEST
from electra_zh.errors import UsageError, UserError
from support.building import contents, make_settings


@pytest.fixture
def settings(corpus: Path, vocabulary: str, tmp_path: Path) -> BuildSettings:
    with open(corpus / "2.txt", "ab") as file:
        file.write(b"\xff\n")
    return make_settings(corpus, vocabulary, tmp_path / "out", num_shards=5, holdout_every=7)


@pytest.fixture
def whole(settings: BuildSettings, tmp_path: Path) -> dict[str, bytes]:
    build(dataclasses.replace(settings, output=str(tmp_path / "whole")))
    return contents(tmp_path / "whole")


def _part(settings: BuildSettings, number: int, total: int) -> BuildSettings:
    return dataclasses.replace(settings, part=Part(number, total))


@pytest.mark.parametrize("text", ["0/4", "5/4", "x", "1", "1/0", "-1/4", "1/4/2", "1.0/2", ""])
def test_a_part_is_i_of_n(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--part .* is not i/n: give the number of this part"):
        Part.parse(text)


def test_every_task_belongs_to_one_part() -> None:
    parts = [Part.parse(f"{number}/3") for number in (1, 2, 3)]
    assert [str(part) for part in parts] == ["1/3", "2/3", "3/3"]
    base = BuildSettings(("a",), "b", "c")
    for index in range(10):
        owners = [part for part in parts if dataclasses.replace(base, part=part).owns(index)]
        assert [str(part) for part in owners] == [parts[0].owner(index)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runner": "dask"}, "--runner dask assigns all tasks itself; remove --part"),
        ({"overwrite": True}, "--overwrite would remove the work of other parts"),
    ],
)
def test_settings_that_exclude_parts(
    settings: BuildSettings, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(_part(settings, 1, 2), **changes)  # type: ignore[arg-type]


def test_parts_do_their_tasks_and_the_plain_command_finishes(
    settings: BuildSettings, whole: dict[str, bytes]
) -> None:
    output = Path(settings.output)
    line = build_part(_part(settings, 2, 3))
    assert re.match(r"part 2/3 is done; \d+ of \d+ units are missing, of part 1/3, 3/3\. ", line)
    build_part(_part(settings, 3, 3))
    # All units are complete now; the shards of the other parts are missing.
    line = build_part(_part(settings, 1, 3))
    assert re.match(r"part 1/3 is done; \d+ of 10 shards are missing, of part 2/3, 3/3\. ", line)
    build_part(_part(settings, 2, 3))
    line = build_part(_part(settings, 3, 3))
    assert line.startswith("part 3/3 is done, nothing is missing. Run the command without --part")
    assert not (output / MANIFEST).exists()
    shards_before = {
        path.name: path.stat().st_mtime_ns for path in (output / WORK).glob("train.pretrain_data*")
    }
    build(settings)
    assert contents(output) == whole
    # The plain command only moved the shards.
    after = {f"train.{path.name}": path.stat().st_mtime_ns for path in output.glob("*tfrecord*")}
    assert after.items() <= shards_before.items()
    with pytest.raises(UserError, match="has finished data"):
        build_part(_part(settings, 1, 3))
    assert contents(output) == whole


@pytest.mark.parametrize("parts", [(), (1,), (2, 1)])
def test_the_command_without_a_part_does_the_rest(
    settings: BuildSettings, whole: dict[str, bytes], parts: tuple[int, ...]
) -> None:
    for number in parts:
        build_part(_part(settings, number, 2))
    build(settings)
    assert contents(Path(settings.output)) == whole


def test_other_settings_are_refused_and_nothing_is_lost(
    settings: BuildSettings, whole: dict[str, bytes], corpus: Path
) -> None:
    build_part(_part(settings, 1, 2))
    other = dataclasses.replace(_part(settings, 2, 2), seed=1)
    with pytest.raises(UserError, match=r"other seed \(0 there, 1 here\)"):
        build_part(other)
    build_part(_part(settings, 2, 2))
    build(settings)
    assert contents(Path(settings.output)) == whole


def test_tasks_of_parts_with_other_settings_are_never_mixed(
    settings: BuildSettings, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.write_json

    def late(path: str, value: object) -> None:
        """A second part, with another seed, starts before the first has written its settings."""
        monkeypatch.setattr(files, "write_json", real)
        build_part(dataclasses.replace(_part(settings, 2, 2), seed=1))
        real(path, value)

    monkeypatch.setattr(files, "write_json", late)
    build_part(_part(settings, 1, 2))
    with pytest.raises(UserError, match=r"other seed \(0 there, 1 here\)"):
        build_part(dataclasses.replace(_part(settings, 2, 2), seed=1))
    build(settings)
    assert contents(Path(settings.output)) == whole


def test_bad_input_leaves_what_other_parts_have_done(settings: BuildSettings, corpus: Path) -> None:
    strict = dataclasses.replace(settings, strict=True, holdout_every=None)
    plan = documents.plan_units(
        input_files.find_inputs(settings.inputs), unit_bytes=settings.unit_bytes
    )
    # The bad line is at the end of the corpus.
    bad = len(plan) % 2 or 2
    build_part(_part(strict, 3 - bad, 2))
    with pytest.raises(UserError, match="not UTF-8"):
        build_part(_part(strict, bad, 2))
    assert list((Path(settings.output) / WORK).glob("unit-*.json"))


def test_parts_without_a_shared_folder_are_copied_together(
    settings: BuildSettings, whole: dict[str, bytes], tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        own = str(tmp_path / f"machine{number}")
        build_part(_part(dataclasses.replace(settings, output=own), number, 3))
        shutil.copytree(Path(own) / WORK, Path(settings.output) / WORK, dirs_exist_ok=True)
    build(settings)
    assert contents(Path(settings.output)) == whole


def test_parts_work_at_once_and_other_builds_wait(
    settings: BuildSettings, whole: dict[str, bytes]
) -> None:
    with locks.locked(settings.work_folder, shared=True):
        with pytest.raises(UserError, match=r"Another process is writing to .*\.work"):
            build(settings)
        build_part(_part(settings, 1, 2))
        build_part(_part(settings, 2, 2))
        assert "nothing is missing" in build_part(_part(settings, 1, 2))
    with locks.locked(settings.work_folder):
        with pytest.raises(UserError, match="Another process is writing"):
            build(settings)
        with pytest.raises(UserError, match="Another process is writing"):
            build_part(_part(settings, 1, 2))
    build(settings)
    assert contents(Path(settings.output)) == whole


def _run(settings: BuildSettings) -> None:
    build_part(settings)


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
    build(settings)
    assert contents(Path(settings.output)) == whole


def test_a_shard_that_is_not_seen_is_not_skipped(
    settings: BuildSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shards.move_shards

    def move(context: BuildContext, tasks: list[shards.ShardTask]) -> None:
        Path(context.work_path(tasks[0].waiting_name)).unlink()
        real(context, tasks)

    monkeypatch.setattr(shards, "move_shards", move)
    with pytest.raises(UserError, match=r"No such file or directory: .*Finished work is kept"):
        build(settings)
    assert not (Path(settings.output) / MANIFEST).exists()
