"""The files of an input and the form of each, and the settings of the commands that read them.

An input is a file, a folder, a glob or a pipe, plain or compressed, local or remote. The content
of a file says what it is (`content.py`), unless the user names the form.
"""

from __future__ import annotations

import atexit
import dataclasses
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from absl import logging

from electra_zh import content, files, machine
from electra_zh.data import archives, columnar
from electra_zh.data.json_values import head_records
from electra_zh.errors import UserError, few
from electra_zh.settings.declaration import Settings, setting

AUTO = "auto"
_FORMS = (AUTO, content.TEXT, content.JSON_LINES, content.JSON, content.WIKIEXTRACTOR)
# The reports of `clean`, which are next to its text and are not text, and their mark.
REPORT, SUMMARY = "report.json", "report.md"
CLEANED = "electra-zh clean"
_KNOWN = (".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".arrow")
_STANDARD_INPUT = "-"
_COPY = "electra-zh-copy-"  # begin of the names of folders with copies of pipes
# The first line of a vocabulary, which is in the folders of pretraining data too.
_COMPRESSION = 4  # assumed ratio of text to compressed bytes
_MUCH_TEXT = 1 << 28  # bytes that one process takes some ten seconds for
_VOCABULARY = re.compile(rb"\[PAD\]\r?\n")


@dataclasses.dataclass(frozen=True)
class InputSettings(Settings):
    """Settings of the commands that read text."""

    inputs: tuple[str, ...] = setting(
        meaning="files, folders or globs of text, JSON lines, JSON arrays, WikiExtractor's "
        "output (also .gz, .xz, .zst, .bz2), Parquet or Arrow; - for standard input. In text, one "
        "sentence or paragraph per line, and a blank line between documents",
        positional=True,
        metavar="INPUT",
    )
    _: dataclasses.KW_ONLY
    format: str = setting(
        AUTO, "form of the input; auto recognizes it by the content of each file", choices=_FORMS
    )
    text_field: str = setting(
        "text", "field of JSON records, or column of a table, that contains the text"
    )
    strict: bool = setting(False, "stop at the first bad line instead of skipping it")


class InputFile(NamedTuple):
    """One file of the corpus."""

    path: str
    size: int  # in bytes, as stored
    modified: int  # its last change in nanoseconds; a checksum for a pipe, which is copied
    form: str  # of `content`

    def text_size(self) -> int:
        """Returns the bytes of its text, estimated for a compressed file or a table."""
        is_compressed = self.form in content.COLUMNAR or archives.is_compressed(self.path)
        return self.size * (_COMPRESSION if is_compressed else 1)

    def can_be_cut(self) -> bool:
        """Returns whether parts of it can be read without what is before them."""
        if self.form in (content.PARQUET, content.ARROW, content.JSON):
            return self.form == content.PARQUET
        return not (archives.is_compressed(self.path) or files.is_remote(self.path))


def find_inputs(
    inputs: Sequence[str],
    *,
    exclude: str | None = None,
    form: str = AUTO,
    text_field: str = "text",
) -> tuple[InputFile, ...]:
    """Returns the files of the inputs without repetition, in the given order.

    Folders are searched recursively, in sorted order, for files whose content is text. The files of
    the output folder, `exclude`, are skipped. One line in the log says what was found.

    Args:
      inputs: files, folders, globs, pipes; `-` is standard input.
      exclude: the output folder.
      form: the form of every file; by default the content of each decides.
      text_field: the field of JSON records, or column, that contains the text.

    Raises:
      UserError: a name has no files, or only excluded ones; a file that is not text in UTF-8, or
        records without the field.
    """
    if not inputs:
        raise UserError("No input. Give files, folders or globs")
    search = _Search(form, text_field)
    for name in inputs:
        there, is_named = _expand(name)
        paths = [path for path in there if exclude is None or not is_inside(path, exclude)]
        if there and not paths:
            raise UserError(f"The input {name} is inside --output {exclude}")
        skipped = Counter({reason: len(found) for reason, found in search.skipped.items()})
        if not [path for path in paths if search.add(path, is_named=is_named)]:
            now = {reason: found[skipped[reason] :] for reason, found in search.skipped.items()}
            search.check()
            there_is = _listed(now) or "no files"
            raise UserError(f"No text files in {name}; found: {there_is}")
    search.check()
    logging.info("input: %s", search.summary())
    for warning in search.warnings():
        logging.warning("%s", warning)
    return tuple(search.found.values())


class _Search:
    """The files found so far, and those that were skipped, by reason."""

    def __init__(self, form: str, text_field: str) -> None:
        self._form, self._text_field = form, text_field
        self.found: dict[str, InputFile] = {}
        self.skipped: dict[str, list[str]] = {}
        self._others: list[tuple[str, bytes]] = []  # files in other encodings
        # Files of records without the text field -> their fields.
        self._without_field: dict[str, Mapping[str, object]] = {}
        self._must_have: list[str] = []  # of these, those that the user named
        self._has_field = False

    def add(self, path: str, *, is_named: bool) -> bool:
        """Adds a file; returns whether it is input, now or already.

        Raises:
          UserError: the user named a file that is not text.
        """
        given, path = path, _spooled(path)
        key = path if files.is_remote(path) else os.path.realpath(path)
        if key in self.found:
            return True
        head = archives.read_head(path)
        form = content.recognize(head)
        if form in content.COLUMNAR and archives.is_compressed(path):
            form = content.BINARY
        is_table = form in content.COLUMNAR  # nothing else, whatever --format says
        if self._form == AUTO or is_table or (form == content.BINARY and not is_named):
            if form in (content.BINARY, content.XML):
                if is_named:
                    raise UserError(_refused(path, form))
                self.skipped.setdefault(content.NAMES[form], []).append(path)
                return False
            if content.encoding(head):
                self._others.append((path, head))
                return True
            if not is_named and _VOCABULARY.match(head):
                self.skipped.setdefault("vocabulary", []).append(path)
                return False
        else:
            form = self._form
        has_fields = is_table or form in (content.JSON, content.JSON_LINES)
        if has_fields and not self._check_field(path, head, form):
            if is_named:
                self._must_have.append(path)
            return True
        modified = files.modified_ns(path) if path == given else _checksum(path)
        self.found[key] = InputFile(path, files.size(path), modified, form)
        return True

    def _check_field(self, path: str, head: bytes, form: str) -> bool:
        """Returns whether a file has the field in its first records, or no records."""
        records: Sequence[Mapping[str, object]]
        if form in content.COLUMNAR:
            records = [columnar.sample(path, self._text_field)]
        else:
            records = head_records(head.decode("utf-8", "replace").removeprefix("\ufeff"))
        # A value that is not text is a bad line.
        if not records or any(self._text_field in each for each in records):
            self._has_field |= bool(records)
            return True
        self._without_field[path] = {name: each[name] for each in records for name in each}
        return False

    def check(self) -> None:
        """Checks that all files are UTF-8, and that records have the text field.

        Files in a folder without the field are skipped if others have it.

        Raises:
          UserError: the first file that cannot be read.
        """
        if self._others:
            path, head = self._others[0]
            more = f" ({len(self._others):,} files are not UTF-8)" if self._others[1:] else ""
            raise UserError(f"{path} is not UTF-8: {content.not_utf8(path, head)}{more}")
        without = list(self._without_field)
        if without and (self._must_have or not self._has_field):
            path = (self._must_have or without)[0]
            fields = self._without_field[path]
            longest = max(fields, key=lambda name: _text_length(fields[name]), default="")
            has_text = _text_length(fields.get(longest)) > 0
            advice = f", such as --text-field {longest}" if has_text else ""
            raise UserError(
                f'{path}: no text in field "{self._text_field}" of its records; their fields: '
                f"{', '.join(fields) or 'none'}. Name one with --text-field{advice}"
            )
        if without:
            self.skipped[f'without text in field "{self._text_field}"'] = without

    def summary(self) -> str:
        """Returns one line: the number of files of each form, and the skipped ones by name."""
        forms = Counter(content.NAMES[file.form] for file in self.found.values())
        shown = ", ".join(f"{count:,} {name}" for name, count in forms.items())
        line = f"files: {len(self.found):,} ({shown})"
        paths = [file.path for file in self.found.values()]
        odd = [path for path in paths if not _is_known(path)]
        if odd and self._form == AUTO:
            line += f"; recognized by content: {_named(odd)}"
        if self._form == AUTO and set(forms) != {content.NAMES[content.TEXT]}:
            line += "; --format overrides"
        return line + (f"; skipped: {_listed(self.skipped)}" if self.skipped else "")

    def warnings(self) -> Iterator[str]:
        """Yields warnings about pages that are skipped and tables that are read as text."""
        if pages := self.skipped.get(content.NAMES[content.XML]):
            yield f"XML and HTML are skipped: extract the text of {_named(pages)}"
        tables = [
            file.path
            for file in self.found.values()
            if archives.strip_suffix(file.path.lower()).endswith((".csv", ".tsv"))
        ]
        if tables and self._form == AUTO:
            yield (
                "tables are read as text, with all their columns and separators: write the "
                f"column of the text of {_named(tables)} to a file of its own"
            )
        yield from self._uncut()

    def _uncut(self) -> Iterator[str]:
        """Yields a warning about files that leave most processes without work."""
        large = [each for each in self.found.values() if each.size * _COMPRESSION > _MUCH_TEXT]
        sizes = {each: each.text_size() for each in large}
        total = sum(sizes.get(each, each.size) for each in self.found.values())
        cpus = machine.usable_cpus()
        share = max(_MUCH_TEXT, 1.5 * total / cpus)
        uncut = [each for each in large if sizes[each] > share and not each.can_be_cut()]
        if uncut:
            yield (
                f"one process reads all of {_named([each.path for each in uncut])}, as compressed "
                "or remote text, JSON arrays and Arrow files are not cut: split it, for all "
                f"{cpus} CPUs to share the work"
            )


def _named(paths: Sequence[str]) -> str:
    return few(map(os.path.basename, paths))


def _text_length(value: object) -> int:
    if isinstance(value, list):
        return sum(map(_text_length, value))
    return len(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else 0


def _refused(path: str, form: str) -> str:
    if form == content.XML:
        return (
            f"{path} is XML or HTML. Extract its text (a Wikipedia dump: with WikiExtractor), or "
            "read its source as text with --format text"
        )
    return (
        f"{path} is binary, not text. Unpack an archive (zip, tar), write a table (Excel) as "
        "JSON lines, or save the file as text"
    )


def _listed(by_reason: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(
        f"{len(paths):,} {reason} ({_named(paths)})" for reason, paths in by_reason.items() if paths
    )


def is_inside(path: str, folder: str) -> bool:
    """Returns whether a path is a folder's or inside it; links are followed."""
    if files.is_remote(path) or files.is_remote(folder):
        return path.rstrip("/") == folder.rstrip("/") or path.startswith(folder.rstrip("/") + "/")
    inner, outer = os.path.realpath(path), os.path.realpath(folder)
    return inner == outer or inner.startswith(os.path.join(outer, ""))


def _expand(name: str) -> tuple[list[str], bool]:
    """Returns the files of an input, and whether it names a file."""
    if files.is_dir(name):
        return list(_files_below(name)), False
    if name == _STANDARD_INPUT or files.exists(name):
        return [name], True
    if not files.is_pattern(name):
        raise UserError(f"No such file or folder: {name}")
    matches = files.glob(name)
    if not matches:
        raise UserError(f"Nothing matches {name}")
    return [
        path
        for match in matches
        for path in (_files_below(match) if files.is_dir(match) else [match])
    ], False


def _files_below(folder: str) -> Iterator[str]:
    """Yields the files of a folder, without hidden and unfinished ones and reports of `clean`."""
    for path in files.walk(folder):
        name = os.path.basename(path)
        if name.startswith(".") or files.is_partial(name):
            continue
        if name not in (REPORT, SUMMARY) or not is_cleaned(os.path.dirname(path)):
            yield path


def is_cleaned(folder: str) -> bool:
    """Returns whether a folder has the report of a cleaning."""
    path = files.join(folder, REPORT)
    return files.exists(path) and CLEANED.encode() in archives.read_head(path)[:200]


def _is_known(path: str) -> bool:
    """Returns whether a file's name says that it is text, JSON lines or JSON."""
    return archives.strip_suffix(path.lower()).endswith(_KNOWN)


def _spooled(path: str) -> str:
    """Returns the path of a file; the content of a pipe is copied to a temporary one first.

    The text is read several times, which a pipe does not allow.
    """
    if path != _STANDARD_INPUT and (files.is_remote(path) or _is_regular(path)):
        return path
    folder = tempfile.mkdtemp(prefix=_COPY)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    is_stdin = path == _STANDARD_INPUT
    copied = os.path.join(folder, "stdin" if is_stdin else "pipe")
    # A full disk is an error that names the copy.
    with files.atomic_write(copied, durable=False) as copy:
        if is_stdin:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        else:
            with files.open_read(path) as pipe:
                shutil.copyfileobj(pipe, copy)
    return copied


def short_names(inputs: Sequence[InputFile]) -> list[str]:
    """Returns the files' names below the folder that has all of them, without those of copies."""
    paths = [file.path for file in inputs]
    copies = {path for path in paths if f"{os.sep}{_COPY}" in path}
    shorten = files.short_names([path for path in paths if path not in copies] or ["."])
    return [os.path.basename(path) if path in copies else shorten(path) for path in paths]


def _checksum(path: str) -> int:
    """Returns 63 bits of a file's hash: the same text, piped again, resumes a build."""
    with open(path, "rb") as file:
        return int.from_bytes(hashlib.file_digest(file, "blake2b").digest()[:8], "little") >> 1


def _is_regular(path: str) -> bool:
    return stat.S_ISREG(os.stat(path).st_mode)
