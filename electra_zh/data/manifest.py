"""The manifest of a finished data folder, `manifest.json`.

It is written last: a folder with a manifest is finished. It has no times, machine names or absolute
paths, so the same corpus and settings give the same file.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.data.bad_lines import BadLines
from electra_zh.data.build.settings import WORK
from electra_zh.errors import UsageError, UserError, counted
from electra_zh.settings import build_settings
from electra_zh.text.vocabulary import Vocabulary

FORMAT = 1
MANIFEST = "manifest.json"
# The reference's names are pretrain_data.tfrecord-0-of-2: a reader that searches for the part
# before the dash finds both.
SHARD_PREFIX = "pretrain_data.tfrecord-"
_SHARD = re.compile(r"^pretrain_data\.tfrecord-\d+-of-\d+(\.gz)?$")

_WEIGHTED = re.compile(r"(.+):([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)")

TOP_UNKNOWNS = 20
# Of Chinese text, a vocabulary made for it misses well under one token in a hundred.
_MANY_UNKNOWN = 0.05
# One document in an example leaves as much to padding where documents are short.
_MUCH_PADDING = 0.3
# Curly quotes, dashes, ellipses: --map-punctuation could map them in Google's vocabulary.
_MAPPABLE = "“”‘’—…–"


def shard_name(index: int, count: int, *, gzip: bool) -> str:
    """Returns the name of shard `index` of `count`."""
    return f"{SHARD_PREFIX}{index:05d}-of-{count:05d}{'.gz' if gzip else ''}"


def is_shard_name(name: str) -> bool:
    """Returns whether a file of this name is a shard."""
    return _SHARD.match(name) is not None


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """One TFRecord file: its name in the folder, number of records, size and checksum."""

    name: str
    examples: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class VocabularyInfo:
    """The vocabulary of the ids: its copy in the folder, number of tokens, and checksum."""

    file: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class CorpusInfo:
    """The text read, held-out documents included."""

    files: int
    names: tuple[str, ...]  # Of the first files.
    bytes: int  # Of text, decompressed, line ends included.
    characters: int  # Without line ends.
    lines: int  # With tokens.
    documents: int  # With tokens.
    bad_lines: tuple[BadLines, ...]
    unknown_characters: Mapping[str, int]  # The characters and words most often [UNK].


@dataclasses.dataclass(frozen=True)
class WordsInfo:
    """The words of the tokens of a folder."""

    count: int  # Of words that begin in the tokens read.
    recut_stretches: int  # Of the corpus, that only jieba itself can cut exactly.
    checked_lines: int  # Of the corpus, that jieba itself cut as well, as a check.
    different_lines: int  # Checked lines on which it differed; its cut was used.
    differences: tuple[str, ...]  # The first of them, around the first difference.


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A finished data folder."""

    format: int  # Version of this form.
    version: str  # Of the program.
    split: str  # `train`, or `heldout` for held-out documents.
    settings: Mapping[str, Any]  # Of the build, random seed included.
    vocabulary: VocabularyInfo
    unicode_version: str  # Of the tables by which the text was tokenized.
    corpus: CorpusInfo
    documents: int  # In this folder.
    tokens_read: int  # Of these documents.
    tokens_kept: int  # In the examples, without [CLS] and [SEP].
    tokens_dropped: Mapping[str, int]  # By packing, by reason.
    examples: int
    one_segment_share: float  # Of the examples.
    short_share: float  # Examples shorter than max_seq_length.
    padding_share: float  # Of all positions.
    unknown_share: float  # [UNK] among the tokens read.
    shards: tuple[ShardInfo, ...]
    words: WordsInfo | None = None  # None for data without words.

    @property
    def max_seq_length(self) -> int:
        """Positions per example."""
        return int(self.settings["max_seq_length"])

    def counts(self) -> dict[str, Any]:
        """Returns the size of the data, for the record of a run."""
        return {
            "files": ", ".join(self.corpus.names[:8]),
            "documents": self.documents,
            "tokens": self.tokens_kept,
            "examples": self.examples,
            "max_seq_length": self.max_seq_length,
            "words": self.settings.get("words") or "none",
        }

    def save(self, folder: str) -> None:
        """Writes `manifest.json`, which marks the folder as finished."""
        values = dataclasses.asdict(self)
        if self.words is None:
            del values["words"]
        files.write_json(files.join(folder, MANIFEST), values)

    @classmethod
    def load(cls, folder: str) -> Manifest:
        """Reads and checks a folder's manifest.

        Raises:
          UserError: it is missing, damaged or of another format.
        """
        path = files.join(folder, MANIFEST)
        values = files.read_json(path)
        form = values.get("format") if isinstance(values, dict) else None
        if form != FORMAT:
            raise UserError(f"{path} has format {form!r}; this version reads format {FORMAT}")
        try:
            manifest = build_settings(cls, values, where="")
            adds_up = sum(shard.examples for shard in manifest.shards) == manifest.examples
            adds_up = adds_up and manifest.max_seq_length > 0
            for name in (manifest.vocabulary.file, *(shard.name for shard in manifest.shards)):
                if not files.is_name(name):
                    raise ValueError(f"{name!r} is not the name of a file")
        except (UserError, ArithmeticError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged ({error}). Build the data again") from None
        if not adds_up:
            raise UserError(f"{path} is damaged: its counts do not add up. Build the data again")
        return manifest


def load_manifest(folder: str) -> Manifest | None:
    """Reads a folder's manifest; None if it is missing, as from a folder of reference shards.

    Raises:
      UserError: the folder is missing, its build is unfinished, or the manifest is damaged.
    """
    if not files.is_dir(folder):
        raise UserError(f"No such data folder: {folder}")
    if files.exists(files.join(folder, MANIFEST)):
        return Manifest.load(folder)
    if files.exists(files.join(folder, WORK)):
        raise UserError(
            f"The data in {folder} is unfinished. Run the same build-data command again to resume"
        )
    return None


def holds_data(folder: str) -> bool:
    """Returns whether a folder has a manifest, shards, or an unfinished build."""
    names = files.list_dir(folder) if files.is_dir(folder) else []
    return any(name in (MANIFEST, WORK) or ".tfrecord" in name for name in names)


class WeightedFolder(NamedTuple):
    """A data folder, and its weight in a mixture; None for the number of its examples."""

    folder: str
    weight: float | None = None

    def __str__(self) -> str:
        return self.folder if self.weight is None else f"{self.folder}:{self.weight:g}"


def parse_folders(words: Sequence[str], *, flag: str) -> tuple[WeightedFolder, ...]:
    """Returns the folders of `FOLDER`, `FOLDER:WEIGHT` or globs; without weights, or all with one.

    Raises:
      UsageError: another form, a folder given twice, or a weight for some folders only.
    """
    found: list[WeightedFolder] = []
    for word in words:
        match = None if _exists(word) else _WEIGHTED.fullmatch(word)
        path = match[1] if match else word
        weight = float(match[2]) if match else None
        folder, colon, rest = word.rpartition(":")
        if colon and match is None and not _exists(word) and _exists(folder):
            raise UsageError(f'{flag} {word}: the weight "{rest}" must be a positive number')
        is_glob = files.is_pattern(path) and not _exists(path)
        folders = list(filter(holds_data, files.glob(path))) if is_glob else [path]
        parts = path.split(",")
        if parts[1:] and not _exists(path) and all(map(_exists, parts)):
            raise UsageError(f"{flag} {path}: write {' '.join(parts)}, with a space between them")
        if not folders:
            raise UsageError(f"{flag} {path}: no data folder matches")
        if weight is not None and folders[1:]:
            raise UsageError(f"{flag} {word}: give each folder its own weight")
        found += [WeightedFolder(folder.rstrip("/") or folder, weight) for folder in folders]
    names = [each.folder for each in found]
    paths = [name if files.is_remote(name) else os.path.realpath(name) for name in names]
    twice = [name for name, path in zip(names, paths, strict=True) if paths.count(path) > 1]
    if twice:
        raise UsageError(f"{flag} has {twice[0]} twice: remove one, or give it a larger weight")
    without = [each.folder for each in found if each.weight is None]
    if without and len(without) < len(found):
        raise UsageError(f"{flag} {without[0]} has no weight: give every folder one, or none")
    return tuple(found)


def _exists(path: str) -> bool:
    """Returns whether a local path exists."""
    return not files.is_remote(path) and files.exists(path)


def find_shards(folder: str) -> list[str]:
    """Returns the paths of a folder's TFRecord files, for folders without a manifest.

    Raises:
      UserError: the folder has no such files.
    """
    names = [name for name in files.list_dir(folder) if ".tfrecord" in name]
    found = [files.join(folder, name) for name in names if not files.is_partial(name)]
    if not found:
        raise UserError(
            f"No TFRecord files (*.tfrecord*) in {folder}: name a folder of `electra-zh build-data`"
        )
    return found


def summary_lines(manifest: Manifest) -> list[str]:
    """Returns the summary of a data folder, line by line."""
    corpus = manifest.corpus
    size = sum(shard.bytes for shard in manifest.shards)
    kept = manifest.tokens_kept / max(manifest.tokens_read, 1)
    lines = [
        f"{manifest.examples:,} examples of length {manifest.max_seq_length} in "
        f"{counted(len(manifest.shards), 'shard')}, {size / 1e6:,.1f} MB",
        f"from {manifest.documents:,} documents, {manifest.tokens_read:,} tokens "
        f"({counted(corpus.files, 'file')}, {corpus.bytes / 1e6:,.1f} MB of text)",
        f"tokens kept {kept:.1%}, padding {manifest.padding_share:.1%}, "
        f"one segment {manifest.one_segment_share:.1%}, short {manifest.short_share:.1%}",
    ]
    if manifest.words is not None:
        words = manifest.words
        lines.append(
            f"words: {words.count:,}, {manifest.tokens_read / max(words.count, 1):.2f} tokens each"
        )
        if words.checked_lines:
            shown = "".join(f'; "{text}"' for text in words.differences[:3])
            lines.append(
                f"words checked against jieba itself: {words.checked_lines:,} lines, "
                f"{words.different_lines:,} different{shown}"
            )
    dropped = manifest.tokens_dropped.items()
    lines += [f"dropped: {count:,} tokens, {reason}" for reason, count in dropped if count]
    unknown = f"unknown tokens {manifest.unknown_share:.2%}"
    top = list(corpus.unknown_characters.items())[:8]
    if top:
        unknown += ", most often " + " ".join(f"{name} ({count:,})" for name, count in top)
    lines.append(unknown)
    if manifest.unknown_share >= _MANY_UNKNOWN:
        lines.append(
            f"hint: {manifest.unknown_share:.0%} of the tokens are [UNK]: the vocabulary is not "
            "one for this text"
        )
    if manifest.padding_share >= _MUCH_PADDING and manifest.settings.get("packing") != "joined":
        lines.append(
            f"hint: {manifest.padding_share:.0%} of the positions are padding, as documents are "
            "short; --packing joined fills examples with several documents"
        )
    is_wordpiece = manifest.vocabulary.file == Vocabulary.file_name
    could_map = is_wordpiece and not manifest.settings.get("map_punctuation")
    if could_map and any(name in _MAPPABLE for name, _ in top):
        lines.append(
            "hint: common punctuation is missing from the vocabulary; --map-punctuation gives it "
            "the ids of its ASCII counterparts"
        )
    return lines + [str(bad) for bad in corpus.bad_lines]
