"""`inspect --check`: its lines and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from electra_zh.commands.command import Call
from electra_zh.commands.inspection import Inspect, inspect
from electra_zh.data.build.run import build
from electra_zh.errors import UsageError, UserError
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.building import LETTERS, make_settings, make_text


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with held-out data."""
    vocabulary = str(tmp_path / "vocabulary.txt")
    Vocabulary([*SPECIAL_TOKENS, *LETTERS]).save(vocabulary)
    (tmp_path / "text").write_text(make_text(20), encoding="utf-8")
    build(make_settings(tmp_path / "text", vocabulary, tmp_path / "data", holdout_every=4))
    return tmp_path / "data"


def test_check_fails_for_damaged_data(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(Call(Inspect(str(data), check=True), {}, dry_run=False)) == 0
    assert capsys.readouterr().out == f"{data}: no damaged places\n"
    (shard,) = data.glob("*.tfrecord*")
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    assert inspect(Call(Inspect(str(data), check=True), {}, dry_run=False)) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"record 0 (byte 0) of {shard}: its checksum does not match"
    assert last == f"{data}: 1 damaged place"
    assert inspect(Call(Inspect(str(data), check=True, json=True), {}, dry_run=False)) == 1
    assert json.loads(capsys.readouterr().out) == {"damage": [first]}


def test_check_reads_held_out_data_and_vocabularies(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shard,) = (data / "heldout").glob("*.tfrecord*")
    shard.write_bytes(shard.read_bytes()[:-3])
    (data / "vocab.txt").unlink()
    assert inspect(Call(Inspect(str(data), check=True), {}, dry_run=False)) == 1
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == f"No such vocabulary file: {data / 'vocab.txt'}"
    assert str(shard) in second
    assert last == f"{data}: 2 damaged places"


def test_only_data_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no pretraining data"):
        inspect(Call(Inspect(str(tmp_path), check=True), {}, dry_run=False))
    with pytest.raises(UsageError, match="--check and --example exclude each other"):
        inspect(Call(Inspect(str(tmp_path), check=True, example=0), {}, dry_run=False))
