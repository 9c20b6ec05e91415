"""`inspect --check`: its lines and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from electra_zh.commands.command import Call
from electra_zh.commands.inspection import Inspect, inspect
from electra_zh.data.build.run import build
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.building import LETTERS, make_settings, make_text


def test_check_fails_for_damaged_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vocabulary = str(tmp_path / "vocabulary.txt")
    Vocabulary([*SPECIAL_TOKENS, *LETTERS]).save(vocabulary)
    (tmp_path / "text").write_text(make_text(20), encoding="utf-8")
    data = tmp_path / "data"
    build(make_settings(tmp_path / "text", vocabulary, data))
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
