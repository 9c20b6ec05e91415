"""The two tasks of a unit of text: filter its lines and documents, and write those that are kept.

The rules on the whole corpus come between the two. They need the hash and the length of each line
and document. The first task writes these to the work folder, next to the lines that are left.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.data import archives, documents
from electra_zh.data.cleaning import minhash, normalization, overlap
from electra_zh.data.cleaning.document_batch import (
    KEPT,
    DocumentBatch,
    LineMeasures,
    Verdicts,
    hash_documents,
    hash_lines,
    judge_batch,
    read_batches,
)
from electra_zh.data.cleaning.ngrams import Ngrams
from electra_zh.data.cleaning.report import OutputFile, Tally
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.data.workers import OnProgress

# The record of a line that is left: its hash, the number of its document in the unit, and its
# characters with and without white space.
LINE = np.dtype([("hash", "<u8"), ("document", "<i4"), ("length", "<i4"), ("solid", "<i4")])
_READ_BYTES = 1 << 20


@dataclasses.dataclass
class FilteredUnit:
    """The result of the first task of a unit.

    Attributes:
      unit: its number.
      tally: the text that was removed; text that is left is not counted yet.
      num_documents: documents that are left.
      num_lines: their lines.
      hashes: uint64 [D] of the documents of each batch.
      signatures: uint32 [D, SIGNATURE] of each batch; empty without `near_duplicates`.
      hits: n-grams of evaluation data in each batch, with the documents' numbers in the unit.
      deleted: number of characters deleted by normalising, by class.
      text_bytes: bytes of the text read, decompressed.
      bad_lines: number of lines that could not be read, by reason.
      bad_places: the first places of each reason.
    """

    unit: int
    tally: Tally
    num_documents: int = 0
    num_lines: int = 0
    hashes: list[np.ndarray] = dataclasses.field(default_factory=list)
    signatures: list[np.ndarray] = dataclasses.field(default_factory=list)
    hits: list[Ngrams] = dataclasses.field(default_factory=list)
    deleted: Counter[str] = dataclasses.field(default_factory=Counter)
    text_bytes: int = 0
    bad_lines: Counter[str] = dataclasses.field(default_factory=Counter)
    bad_places: dict[str, list[documents.Place]] = dataclasses.field(default_factory=dict)

    def add(
        self,
        batch: DocumentBatch,
        settings: CleanSettings,
        evaluation: overlap.EvaluationData | None,
    ) -> tuple[list[str], np.ndarray]:
        """Applies the rules on lines and documents to a batch.

        Returns:
          The lines that are left, and their records, `LINE` [L].
        """
        measures, hashes = LineMeasures(batch.lines), hash_lines(batch.lines)
        verdicts = judge_batch(batch, measures, hashes, settings)
        by_line = verdicts.by_line(batch.documents)
        kept = by_line == KEPT
        removed = np.flatnonzero(~kept)
        lines = [batch.lines[index] for index in removed.tolist()]
        self.tally.add_lines(
            lines, measures.lengths[removed], batch.documents[removed], by_line[removed]
        )
        self.tally.add_documents(verdicts.documents[verdicts.documents != KEPT])
        left = batch.select(kept)
        records = np.empty(len(left.lines), LINE)
        records["hash"] = hashes[kept]
        records["document"] = left.documents + self.num_documents
        records["length"] = measures.lengths[kept]
        records["solid"] = measures.solid[kept]
        self.hashes.append(hash_documents(hashes[kept], left.documents))
        if evaluation is not None:
            hits = overlap.find_hits(left.lines, left.documents, evaluation)
            self.hits.append(Ngrams(hits.hashes, hits.documents + self.num_documents))
        if settings.near_duplicates is not None:
            rows = minhash.signatures(left.lines, left.documents, left.num_documents)
            self.signatures.append(rows)
        self.num_documents += left.num_documents
        self.num_lines += len(left.lines)
        return left.lines, records


def filter_unit(
    unit: documents.Unit,
    report: OnProgress,
    *,
    settings: CleanSettings,
    evaluation: overlap.EvaluationData | None,
    work: str,
) -> FilteredUnit:
    """Normalises the text of a unit and applies the rules on lines and documents.

    Args:
      unit: the text to read.
      report: called with the number of bytes read.
      settings: the rules.
      evaluation: data to look for.
      work: the folder for the lines and records that are left.
    """
    reader = documents.UnitReader(unit, text_field=settings.text_field, strict=settings.strict)
    result = FilteredUnit(unit.index, Tally(settings.rules))

    def normalized() -> Iterator[str]:
        for block in reader:
            text, deleted = normalization.normalize(
                block.text,
                settings.unicode,
                to_simplified=settings.to_simplified,
                max_replacement=settings.max_replacement,
            )
            result.deleted.update(deleted)
            yield text
            report(block.stored_bytes)

    with (
        files.atomic_write(_text_path(work, unit.index), durable=False) as text_file,
        files.atomic_write(_records_path(work, unit.index), durable=False) as records_file,
    ):
        for batch in read_batches(normalized()):
            lines, records = result.add(batch, settings, evaluation)
            text_file.write("".join(f"{line}\n" for line in lines).encode())
            records_file.write(records.tobytes())
    result.text_bytes = reader.text_bytes
    result.bad_lines, result.bad_places = reader.bad_lines, reader.bad_places
    return result


def _text_path(work: str, unit: int) -> str:
    return files.join(work, f"unit-{unit:05d}.lines")


def _records_path(work: str, unit: int) -> str:
    return files.join(work, f"unit-{unit:05d}.records")


def load_records(work: str, unit: int) -> np.ndarray:
    """Returns the records of a unit's lines, `LINE` [lines]."""
    return np.frombuffer(files.read_bytes(_records_path(work, unit)), LINE)


class WriteTask(NamedTuple):
    """The second task of a unit.

    Attributes:
      unit: its number.
      name: the file to write; empty without text to keep.
      verdicts: of the rules on the whole corpus.
    """

    unit: int
    name: str
    verdicts: Verdicts


class WrittenUnit(NamedTuple):
    """The result of the second task of a unit.

    Attributes:
      unit: its number.
      file: the file written; None without text to keep.
      tally: all text that the first task left, removed or kept.
    """

    unit: int
    file: OutputFile | None
    tally: Tally


def write_unit(
    task: WriteTask, report: OnProgress, *, settings: CleanSettings, work: str, folder: str
) -> WrittenUnit:
    """Writes the text of a unit that is kept, and removes its files in the work folder.

    Args:
      task: the text to write; the name's suffix determines the compression.
      report: called when a unit is done.
      settings: the rules.
      work: the folder of the lines.
      folder: the output folder.
    """
    tally = Tally(settings.rules)
    output = None
    if task.name:
        path = files.join(folder, task.name)
        with files.atomic_write(path) as file:
            stream = archives.open_writer(file, task.name)
            _write(work, task, tally, stream)
            stream.close()
        amount = dataclasses.replace(tally.amounts[KEPT])
        output = OutputFile(task.name, files.size(path), amount)
    else:
        _write(work, task, tally, None)
    files.remove(_text_path(work, task.unit))
    files.remove(_records_path(work, task.unit))
    report(1)
    return WrittenUnit(task.unit, output, tally)


def _write(work: str, task: WriteTask, tally: Tally, stream: IO[bytes] | None) -> None:
    """Writes the lines that are kept, a blank line between documents, and counts all lines."""
    records = load_records(work, task.unit)
    verdicts = task.verdicts.by_line(records["document"])
    kept = np.flatnonzero(verdicts == KEPT)
    starts_document = np.zeros(len(verdicts), np.bool_)
    starts_document[kept[np.diff(records["document"][kept], prepend=-1) != 0]] = True
    # The first document has no blank line before it.
    starts_document[kept[:1]] = False
    done = 0
    for lines in _line_groups(_text_path(work, task.unit)):
        here = slice(done, done + len(lines))
        tally.add_lines(lines, records["length"][here], records["document"][here], verdicts[here])
        parts: list[str] = []
        for index in np.flatnonzero(verdicts[here] == KEPT).tolist():
            if starts_document[done + index]:
                parts.append("")
            parts.append(lines[index])
        if parts and stream is not None:
            stream.write("\n".join([*parts, ""]).encode())
        done += len(lines)
    tally.add_documents(task.verdicts.documents)


def _line_groups(path: str) -> Iterator[list[str]]:
    """Yields the lines of a file, about a megabyte at a time."""
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
