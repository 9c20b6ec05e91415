"""The two tasks of a unit of text: filter its lines and documents, and write those that are kept.

The rules on the whole corpus come between the two. They need the hash and the length of each line
and document. The first task writes these to the work folder, next to the lines that are left.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.data import archives, documents
from electra_zh.data.bad_lines import BadLineLog
from electra_zh.data.cleaning import document_batch, minhash, normalization, overlap
from electra_zh.data.cleaning.document_batch import KEPT, DocumentBatch, Verdicts
from electra_zh.data.cleaning.ngrams import NO_NGRAMS, Ngrams
from electra_zh.data.cleaning.report import OutputFile, Tally
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.data.workers import OnProgress

# The record of a line that is left: its hash, the number of its document in the unit, and its
# characters without white space.
LINE = np.dtype([("hash", "<u8"), ("document", "<i4"), ("solid", "<i4")])
_READ_BYTES = 1 << 20


@dataclasses.dataclass
class FilteredUnit:
    """The result of the first task of a unit: counts, and data of each batch for corpus rules.

    `tally` counts the text that was removed, `deleted` the characters deleted by normalising.
    """

    unit: int
    tally: Tally
    num_documents: int = 0
    num_lines: int = 0
    # Of the documents left: uint64 [D], and with `near_duplicates` uint32 [D, SIGNATURE].
    hashes: list[np.ndarray] = dataclasses.field(default_factory=list)
    signatures: list[np.ndarray] = dataclasses.field(default_factory=list)
    # N-grams of evaluation data, with the documents' numbers in the unit.
    hits: list[Ngrams] = dataclasses.field(default_factory=lambda: [NO_NGRAMS])
    deleted: Counter[str] = dataclasses.field(default_factory=Counter)
    text_bytes: int = 0
    bad_lines: BadLineLog = dataclasses.field(default_factory=BadLineLog)

    def add(
        self,
        batch: DocumentBatch,
        settings: CleanSettings,
        evaluation: overlap.EvaluationData | None,
    ) -> tuple[list[str], np.ndarray]:
        """Applies the rules on lines and documents; returns the lines left and their records."""
        verdicts = document_batch.judge_batch(batch, settings)
        by_line = verdicts.by_line(batch.documents)
        kept = by_line == KEPT
        left, removed = batch.select(kept), batch.select(~kept)
        self.tally.add_lines(removed.lines, batch.documents[~kept], by_line[~kept])
        self.tally.add_documents(verdicts.documents[verdicts.documents != KEPT])
        records = np.empty(len(left.lines), LINE)
        records["hash"] = batch.hashes[kept]
        records["document"] = left.documents + self.num_documents
        records["solid"] = batch.solid[kept]
        self.hashes.append(document_batch.hash_documents(records["hash"], left.documents))
        if evaluation is not None:
            hits = overlap.find_hits(left.lines, left.documents, evaluation)
            self.hits.append(Ngrams(hits.hashes, hits.documents + self.num_documents))
        if settings.near_duplicates is not None:
            rows = minhash.signatures(left.lines, left.documents, left.num_documents)
            self.signatures.append(rows)
        self.num_documents += left.num_documents
        self.num_lines += len(records)
        return left.lines, records


def filter_unit(
    unit: documents.TextUnit,
    report: OnProgress,
    *,
    settings: CleanSettings,
    evaluation: overlap.EvaluationData | None,
    work: str,
) -> FilteredUnit:
    """Normalises the text of a unit and applies the rules on lines and documents.

    The lines and records that are left are written to the folder `work`. `report` receives the
    number of bytes read.
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

    text_path, records_path = _work_paths(work, unit.index)
    with (
        files.atomic_write(text_path, durable=False) as text_file,
        files.atomic_write(records_path, durable=False) as records_file,
    ):
        for batch in document_batch.read_batches(normalized()):
            lines, records = result.add(batch, settings, evaluation)
            text_file.write("".join(f"{line}\n" for line in lines).encode())
            records_file.write(records.tobytes())
    result.text_bytes = reader.text_bytes
    result.bad_lines = reader.bad_lines
    return result


def _work_paths(work: str, unit: int) -> tuple[str, str]:
    name = files.join(work, f"unit-{unit:05d}")
    return f"{name}.lines", f"{name}.records"


def load_records(work: str, unit: int) -> np.ndarray:
    """Returns the records of a unit's lines, `LINE` [lines]."""
    return np.frombuffer(files.read_bytes(_work_paths(work, unit)[1]), LINE)


class WriteTask(NamedTuple):
    """The second task of a unit; `name` of the file to write is empty without text to keep."""

    unit: int
    name: str
    verdicts: Verdicts


def write_unit(
    task: WriteTask, report: OnProgress, *, settings: CleanSettings, work: str, folder: str
) -> tuple[OutputFile | None, Tally]:
    """Writes the text of a unit that is kept, and removes its files in the folder `work`.

    The suffix of the file's name determines the compression.

    Returns:
      The file, and the count of all text that the first task left.
    """
    tally, output = Tally(settings.rules), None
    texts = _kept_texts(task, work, tally)
    if task.name:
        path = files.join(folder, task.name)
        with files.atomic_write(path) as file, archives.open_writer(file, task.name) as stream:
            for text in texts:
                stream.write(text.encode())
        output = OutputFile(task.name, files.size(path), tally.amount(KEPT))
    # Without a file, the lines are only counted.
    deque(texts, maxlen=0)
    for path in _work_paths(work, task.unit):
        files.remove(path)
    report(1)
    return output, tally


def _kept_texts(task: WriteTask, work: str, tally: Tally) -> Iterator[str]:
    """Yields the lines that are kept, a blank line between documents, and counts all lines."""
    records = load_records(work, task.unit)
    verdicts = task.verdicts.by_line(records["document"])
    kept = np.flatnonzero(verdicts == KEPT)
    starts_document = np.zeros(len(verdicts), np.bool_)
    starts_document[kept[np.diff(records["document"][kept], prepend=-1) != 0]] = True
    # The first document has no blank line before it.
    starts_document[kept[:1]] = False
    done = 0
    for lines in _line_groups(_work_paths(work, task.unit)[0]):
        here = slice(done, done + len(lines))
        tally.add_lines(lines, records["document"][here], verdicts[here])
        yield "".join(
            f"\n{lines[index]}\n" if starts_document[done + index] else f"{lines[index]}\n"
            for index in np.flatnonzero(verdicts[here] == KEPT).tolist()
        )
        done += len(lines)
    tally.add_documents(task.verdicts.documents)


def _line_groups(path: str) -> Iterator[list[str]]:
    """Yields the lines of a file, about a megabyte at a time."""
    with files.open_read(path) as file:
        while lines := file.readlines(_READ_BYTES):
            yield b"".join(lines).decode().split("\n")[:-1]
