"""Data of several folders: their words on the command line, their fractions, their damage."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from electra_zh.data import mixed_folders, pipeline
from electra_zh.data.build.run import build
from electra_zh.data.manifest import WeightedFolder, parse_folders
from electra_zh.data.mixed_folders import DamageLog, Mix, open_sources
from electra_zh.data.shard_records import Damage, Shard
from electra_zh.errors import UsageError, UserError
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.building import LENGTH, LETTERS, make_settings, make_text


@pytest.fixture
def folders(tmp_path: Path, vocabulary: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folders a, b and `c:3`; b is compressed."""
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(("a", "b", "c:3")):
        text = tmp_path / f"text{index}"
        text.write_text(make_text(20 * (index + 1), seed=index), encoding="utf-8")
        build(make_settings(text, vocabulary, tmp_path / name, gzip=name == "b", num_shards=2))
    return tmp_path


def test_folders_may_have_weights(folders: Path) -> None:
    def parse(*words: str) -> list[WeightedFolder]:
        return list(parse_folders(words, flag="--data"))

    assert parse("a", "b/") == [("a", None), ("b", None)]
    assert parse("a:3", "b:0.5", "c:3:1e-2") == [("a", 3.0), ("b", 0.5), ("c:3", 0.01)]
    assert parse("c:3") == [("c:3", None)]
    assert parse("[ab]") == [("a", None), ("b", None)]
    assert parse("gs://bucket/x:2", "s3://y:1") == [("gs://bucket/x", 2.0), ("s3://y", 1.0)]
    assert str(parse("a:3")[0]) == "a:3"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a:2", "b"], "--data b has no weight: give every folder one, or none"),
        (["a", "b", "a/"], "--data has a twice"),
        (["a", "./a"], "--data has a twice"),
        (["a:-1", "b:1"], 'the weight "-1" must be a positive number'),
        (["a:"], 'the weight "" must be a positive number'),
        (["a,b"], "--data a,b: write a b, with a space between them"),
        (["no*"], "--data no.: no data folder matches"),
        (["[ab]:2"], "give each folder its own weight"),
    ],
)
def test_other_folders_are_refused(folders: Path, words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_folders(words, flag="--data")


def _open(folder: str) -> tuple[Shard, ...]:
    return pipeline.open_shards(folder, max_seq_length=LENGTH)


def test_folders_without_weights_are_read_as_one(folders: Path) -> None:
    mix = Mix(parse_folders(["a", "b"], flag="--data"), _open, seed=1)
    (part,) = mix.parts
    assert part.shards == mix.shards == _open("a") + _open("b")
    total = sum(shard.examples for shard in mix.shards)
    assert mix.position(total + 3) == {
        "examples": total,
        "examples_read": total + 3,
        "epoch": 1,
        "example_in_epoch": 3,
    }
    assert [line.partition(":")[0] for line in mix.lines(total)] == ["data a", "data b"]
    assert all(line.endswith("1.00 epochs") for line in mix.lines(total))
    assert not list(Mix(parse_folders(["a"], flag="--data"), _open, seed=1).lines(total))


def test_weights_are_the_fractions_of_the_sequences(folders: Path) -> None:
    mix = Mix(parse_folders(["a:3", "b:1"], flag="--data"), _open, seed=1)
    read = 4 << 16
    parts = mix.position(read)["parts"]
    assert [part["folder"] for part in parts] == ["a:3", "b:1"]
    assert [part["examples_read"] for part in parts] == [3 * read // 4, read // 4]
    first, second = mix.lines(1000)
    assert first.startswith("data a: 75.0% of the sequences")
    assert second.startswith("data b: 25.0% of the sequences")
    with pytest.raises(UserError, match=r"A weight of 1e-07 .* is too small"):
        Mix(parse_folders(["a:1", "b:1e-7"], flag="--data"), _open, seed=1)


def test_a_mixture_is_read_from_any_position(folders: Path) -> None:
    mix = Mix(parse_folders(["a:3", "b:1"], flag="--data"), _open, seed=1)

    def ids(start: int) -> list[list[int]]:
        reading = pipeline.Reading(LENGTH)
        batches = pipeline.batches(mix.parts, reading, batch_size=4, seed=1, start_example=start)
        return [next(batches)["input_ids"].tolist() for _ in range(5)]

    assert ids(8) == ids(0)[2:] + ids(20)[:2]


def test_folders_must_agree(folders: Path, vocabulary: str) -> None:
    one = open_sources(parse_folders(["a"], flag="--data"))
    two = open_sources(parse_folders(["a", "b"], flag="--data"))
    weighted = open_sources(parse_folders(["a:1", "b:2"], flag="--data"))
    assert len({one.fingerprint, two.fingerprint, weighted.fingerprint}) == 3
    other = folders / "other.txt"
    Vocabulary([*SPECIAL_TOKENS, *LETTERS]).save(str(other))
    build(make_settings(folders / "text0", str(other), folders / "d"))
    with pytest.raises(UserError, match=r"in d has another vocabulary .* than the data in a"):
        open_sources(parse_folders(["a", "d"], flag="--data"))
    settings = make_settings(folders / "text0", vocabulary, folders / "e")
    tokenizer = dataclasses.replace(settings.tokenizer, map_punctuation=True)
    build(dataclasses.replace(settings, tokenizer=tokenizer))
    with pytest.raises(UserError, match=r"The data in e was tokenized with .*, the data in a with"):
        open_sources(parse_folders(["a", "e"], flag="--data"))


def _damage(path: Path, *places: int) -> None:
    data = bytearray(path.read_bytes())
    for place in places:
        data[place] ^= 1
    path.write_bytes(data)


def test_all_damage_is_found(folders: Path) -> None:
    assert pipeline.find_damage("a") == []
    assert pipeline.find_damage("b") == []
    first, second = sorted((folders / "a").glob("*.tfrecord*"))
    _damage(first, 100, len(first.read_bytes()) - 100)
    _damage(second, 8)
    found = pipeline.find_damage("a")
    assert [line.partition(" (")[0] for line in found[::2]] == ["record 0", "record 0"]
    assert "its checksum does not match" in found[1]
    assert "the rest is unreadable" in found[2]
    examples = pipeline.list_shards("a")[1].examples
    assert found[2].endswith(f"({examples} records)")
    second.write_bytes(second.read_bytes()[:-1])
    first.unlink()
    assert "of the manifest is missing" in pipeline.find_damage("a")[0]
    (packed, _) = sorted((folders / "b").glob("*.tfrecord*"))
    _damage(packed, packed.stat().st_size // 2)
    assert packed.name in pipeline.find_damage("b")[0]


def test_a_replaced_shard_is_found(folders: Path) -> None:
    first, second = sorted((folders / "a").glob("*.tfrecord*"))
    second.write_bytes(first.read_bytes())
    (line,) = pipeline.find_damage("a")
    assert "another SHA-256" in line or "in its manifest" in line


def test_shards_of_a_run_are_those_of_the_manifest(folders: Path) -> None:
    first, second = sorted((folders / "a").glob("*.tfrecord*"))
    names = [shard.path for shard in pipeline.open_shards("a", max_seq_length=LENGTH)]
    # One more, of another build.
    first.with_name(first.name.replace("of-00002", "of-00003")).write_bytes(first.read_bytes())
    assert [s.path for s in pipeline.open_shards("a", max_seq_length=LENGTH)] == names
    assert pipeline.find_damage("a") == []
    second.rename(folders / "elsewhere")
    with pytest.raises(UserError, match=f"{second.name} of the manifest is missing"):
        pipeline.open_shards("a", max_seq_length=LENGTH)


def test_damage_is_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    log = DamageLog()
    with caplog.at_level("WARNING"):
        for record in (3, 5, 3):
            log(Damage("x", record, 7, "its checksum does not match"))
        log(Damage("y", 2, 7, "its length is damaged", records=40))
    assert log.count == 42
    assert str(log) == "42 damaged records skipped, in 2 shards"
    assert len(caplog.messages) == 3


def test_damaged_records_are_skipped_alike_from_any_position(folders: Path) -> None:
    first = min((folders / "a").glob("*.tfrecord*"))
    _damage(first, 100)
    with pytest.raises(UserError, match="Damaged data: record 0 "):
        next(pipeline.batches([pipeline.MixPart(_open("a"))], pipeline.Reading(LENGTH),
                              batch_size=64, seed=0))  # fmt: skip
    log = DamageLog()
    shards = pipeline.open_shards("a", max_seq_length=LENGTH, on_damage=log)
    reading = pipeline.Reading(LENGTH, on_damage=log)

    def ids(start: int) -> list[list[int]]:
        parts = [pipeline.MixPart(shards)]
        batches = pipeline.batches(parts, reading, batch_size=4, seed=0, start_example=start)
        return [next(batches)["input_ids"].tolist() for _ in range(10)]

    assert ids(16)[:6] == ids(0)[4:]
    assert log.count == 1


@pytest.mark.parametrize(
    ("lengths", "chosen"),
    [
        # One phase reads all; of several, each those of its length, or the shortest longer ones.
        ([16], ["a16 b16 c64"]),
        ([16, 64], ["a16 b16", "c64"]),
        ([8, 16, 64], ["a16 b16", "a16 b16", "c64"]),
        ([8, 32], ["a16 b16", "c64"]),
    ],
)
def test_phases_read_the_folders_of_their_length(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], chosen: list[str]
) -> None:
    monkeypatch.setattr(mixed_folders, "_stored_length", lambda folder: int(folder[1:]))
    given = [WeightedFolder(name) for name in ("a16", "b16", "c64")]
    found = mixed_folders.choose_by_length(given, lengths)
    assert [" ".join(each.folder for each in folders) for folders in found] == chosen
    with pytest.raises(UserError, match="c64 has sequences of length 64, which no phase reads"):
        mixed_folders.choose_by_length(given, [8, 16])
