"""The two tasks of a unit of text: what can be told from it alone, and writing what stays.

Between them stand the rules on the whole corpus, which need of each line and each document its hash
and its length. The first task leaves these beside the lines that are left, in the folder's `.work`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.data import archives, documents
from electra_zh.data.cleaning import contamination, minhash, normalization
from electra_zh.data.cleaning.contamination import Contamination
from electra_zh.data.cleaning.document_batch import (
    Stretch,
    hash_documents,
    hash_lines,
    measure,
    stretches,
)
from electra_zh.data.cleaning.ngrams import Grams
from electra_zh.data.cleaning.report import OutputFile, Tally
from electra_zh.data.cleaning.rules import Rule, Verdicts, judge_documents, judge_lines
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.data.workers import OnProgress

# Of each line that is left: its hash, its document's number in the unit, its characters with and
# without white space.
LINE = np.dtype([("hash", "<u8"), ("document", "<i4"), ("length", "<i4"), ("solid", "<i4")])
_READ_BYTES = 1 << 20


class Filtered(NamedTuple):
    """What the first task says of a unit.

    Attributes:
      unit: its number.
      lines: how many lines are left.
      document_hashes: uint64 [D], of the documents that are left.
      signatures: uint32 [D, SIGNATURE]; no rows where none are wanted.
      hits: n-grams of evaluation data, and the numbers of the documents that hold them.
      tally: what was removed; what is left is not counted.
      numbers: counts of characters and bytes, by name.
      bad_lines: lines that could not be read, by reason.
      bad_places: of each reason, the first places.
    """

    unit: int
    lines: int
    document_hashes: np.ndarray
    signatures: np.ndarray
    hits: Grams
    tally: Tally
    numbers: Counter[str]
    bad_lines: Counter[str]
    bad_places: dict[str, list[documents.Place]]


class WriteTask(NamedTuple):
    """The second task of a unit.

    Attributes:
      unit: its number.
      name: the file to write; empty where nothing stays.
      verdicts: on its lines and documents, by the rules on the whole corpus.
    """

    unit: int
    name: str
    verdicts: Verdicts


class Written(NamedTuple):
    """What the second task says of a unit.

    Attributes:
      unit: its number.
      file: what was written; None where nothing stays.
      tally: all that the first task left, removed or kept.
    """

    unit: int
    file: OutputFile | None
    tally: Tally


def filter_unit(
    unit: documents.Unit,
    report: OnProgress,
    *,
    settings: CleanSettings,
    evaluation: Contamination | None,
    work: str,
) -> Filtered:
    """Normalises the text of a unit and applies the rules on lines and documents.

    Args:
      unit: what to read.
      report: is told how many bytes were read.
      settings: the rules.
      evaluation: data that is looked for.
      work: the folder for what the second task reads.
    """
    reader = documents.UnitReader(unit, text_field=settings.text_field, strict=settings.strict)
    numbers: Counter[str] = Counter()
    tally = Tally()
    records: list[np.ndarray] = []
    hashes: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    hits = [Grams(np.empty(0, np.uint64), np.empty(0, np.int64))]
    offset = lines = 0
    with files.atomic_write(text_path(work, unit.index), durable=False) as file:
        for stretch in stretches(_normalized(reader, report, settings, numbers)):
            left, left_hashes = _filter(stretch, settings, tally)
            file.write("".join(f"{line}\n" for line in left.lines).encode())
            records.append(_records(left, left_hashes, offset))
            hashes.append(hash_documents(left_hashes, left.documents))
            if evaluation is not None:
                hit = contamination.find_hits(left.lines, left.documents, evaluation)
                hits.append(Grams(hit.hashes, hit.documents + offset))
            if settings.near_duplicates is not None:
                rows.append(minhash.signatures(left.lines, left.documents, left.num_documents))
            offset += left.num_documents
            lines += len(left.lines)
    _save_records(records, work, unit.index)
    numbers["bytes"] = reader.text_bytes
    return Filtered(
        unit.index,
        lines,
        np.concatenate([np.empty(0, np.uint64), *hashes]),
        np.concatenate([np.empty((0, minhash.SIGNATURE), np.uint32), *rows]),
        Grams(*map(np.concatenate, zip(*hits, strict=True))),
        tally,
        numbers,
        reader.bad_lines,
        reader.bad_places,
    )


def _normalized(
    reader: documents.UnitReader, report: OnProgress, settings: CleanSettings, numbers: Counter[str]
) -> Iterator[str]:
    for block in reader:
        result = normalization.normalize(
            block.text,
            settings.unicode,
            to_simplified=settings.to_simplified,
            max_replacement=settings.max_replacement,
        )
        for name in ("control", "replacement", "white_space"):
            numbers[name] += getattr(result, name)
        yield result.text
        report(block.stored_bytes)


def _filter(stretch: Stretch, settings: CleanSettings, tally: Tally) -> tuple[Stretch, np.ndarray]:
    """Returns what is left of some documents, and the hashes of the lines; counts the rest."""
    figures = measure(stretch.lines, runs=settings.max_run > 0)
    hashes = hash_lines(stretch.lines)
    verdicts = judge_documents(
        stretch,
        figures,
        judge_lines(stretch, figures, settings),
        hashes=hashes,
        settings=settings,
    )
    rules = verdicts.final(stretch.documents)
    # What is left is counted when it is sure to stay.
    gone = np.flatnonzero(rules != Rule.STAYS)
    lines = [stretch.lines[index] for index in gone.tolist()]
    tally.add_lines(lines, figures.lengths[gone], stretch.documents[gone], rules[gone])
    tally.add_documents(verdicts.documents[verdicts.documents != Rule.STAYS])
    stays = rules == Rule.STAYS
    return stretch.select(stays), hashes[stays]


def _records(stretch: Stretch, hashes: np.ndarray, offset: int) -> np.ndarray:
    records = np.empty(len(stretch.lines), LINE)
    records["hash"] = hashes
    records["document"] = stretch.documents + offset
    records["length"] = list(map(len, stretch.lines))
    records["solid"] = records["length"] - [line.count(" ") for line in stretch.lines]
    return records


def _save_records(records: list[np.ndarray], work: str, unit: int) -> None:
    with files.atomic_write(records_path(work, unit), durable=False) as file:
        for each in records:
            file.write(each.tobytes())


def text_path(work: str, unit: int) -> str:
    """Returns where a unit's lines are kept between the tasks."""
    return files.join(work, f"unit-{unit:05d}.lines")


def records_path(work: str, unit: int) -> str:
    """Returns where what is known of a unit's lines is kept."""
    return files.join(work, f"unit-{unit:05d}.records")


def load_records(work: str, unit: int) -> np.ndarray:
    """Returns what is known of a unit's lines, `LINE` [lines]."""
    return np.frombuffer(files.read_bytes(records_path(work, unit)), LINE)


def write_unit(task: WriteTask, report: OnProgress, *, work: str, folder: str) -> Written:
    """Writes what stays of a unit, and removes what was kept between the tasks.

    Args:
      task: what to write; the name's suffix says how it is compressed.
      report: is told when a unit is done.
      work: where the lines are.
      folder: where the file goes.
    """
    records = load_records(work, task.unit)
    tally = Tally()
    if task.name:
        path = files.join(folder, task.name)
        with files.atomic_write(path) as file:
            stream = archives.open_writer(file, task.name)
            _write(work, task, records, tally, stream)
            stream.close()
        output = OutputFile(
            task.name, files.size(path), dataclasses.replace(tally.amounts[Rule.STAYS])
        )
    else:
        _write(work, task, records, tally, None)
        output = None
    files.remove(text_path(work, task.unit))
    files.remove(records_path(work, task.unit))
    report(1)
    return Written(task.unit, output, tally)


def _write(
    work: str, task: WriteTask, records: np.ndarray, tally: Tally, stream: IO[bytes] | None
) -> None:
    """Writes the lines that stay, a blank line between documents, and counts all."""
    rules = task.verdicts.final(records["document"])
    kept = np.flatnonzero(rules == Rule.STAYS)
    starts_document = np.zeros(len(rules), np.bool_)
    starts_document[kept[np.diff(records["document"][kept], prepend=-1) != 0]] = True
    # No blank line before the first document.
    starts_document[kept[:1]] = False
    done = 0
    for lines in _line_groups(text_path(work, task.unit)):
        here = slice(done, done + len(lines))
        tally.add_lines(lines, records["length"][here], records["document"][here], rules[here])
        parts: list[str] = []
        for index in np.flatnonzero(rules[here] == Rule.STAYS).tolist():
            if starts_document[done + index]:
                parts.append("")
            parts.append(lines[index])
        if parts and stream is not None:
            stream.write("\n".join([*parts, ""]).encode())
        done += len(lines)
    tally.add_documents(task.verdicts.documents)


def _line_groups(path: str) -> Iterator[list[str]]:
    """Yields the lines of a file of lines, about a megabyte at a time."""
    with files.open_read(path) as file:
        held = b""
        while data := file.read(_READ_BYTES):
            cut = data.rfind(b"\n")
            if cut < 0:
                held += data
                continue
            yield (held + data[:cut]).decode().split("\n")
            held = data[cut + 1 :]
        assert not held, "the last line has no end"
