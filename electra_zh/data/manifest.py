"""What a finished data folder says of itself: `manifest.json`.

The manifest is written last: a folder that has one is finished. It holds no times, no machine and
no absolute paths, so the same corpus and settings give the same file.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.text.vocabulary import Vocabulary

FORMAT = 1
MANIFEST = "manifest.json"
HELDOUT = "heldout"
WORK = ".work"
# The reference's names are pretrain_data.tfrecord-0-of-2: what reads those, by the part before the
# dash, reads these.
SHARD_PREFIX = "pretrain_data.tfrecord-"
_SHARD = re.compile(r"^pretrain_data\.tfrecord-\d+-of-\d+(\.gz)?$")

TOP_UNKNOWNS = 20
# Curly quotes, dashes, ellipses: what --map-punctuation could save in Google's vocabulary.
_MAPPABLE = "“”‘’—…–"


def shard_name(index: int, count: int, *, gzip: bool) -> str:
    """Returns the name of shard `index` of `count`."""
    return f"{SHARD_PREFIX}{index:05d}-of-{count:05d}{'.gz' if gzip else ''}"


def is_shard_name(name: str) -> bool:
    """Returns whether a file of this name is a shard."""
    return _SHARD.match(name) is not None


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file.

    Attributes:
      name: its name in the folder.
      examples: number of records.
      bytes: size of the file.
      sha256: of the file's bytes.
    """

    name: str
    examples: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class VocabularyInfo:
    """The vocabulary that the ids are of.

    Attributes:
      file: its copy in the folder.
      size: number of tokens.
      sha256: of the copy.
    """

    file: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class BadLines:
    """Lines that were left out for one reason.

    Attributes:
      reason: what is wrong with them.
      count: how many there are.
      first: `file:line` of the first ones.
    """

    reason: str
    count: int
    first: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CorpusInfo:
    """What was read, documents that were kept apart included.

    Attributes:
      files: number of files.
      names: the first of them.
      bytes: of text, decompressed, line ends included.
      characters: of text, without line ends.
      lines: those that have tokens.
      documents: those that have tokens.
      bad_lines: what was left out.
      unknown_characters: the most frequent characters and words that became [UNK], with counts.
    """

    files: int
    names: tuple[str, ...]
    bytes: int
    characters: int
    lines: int
    documents: int
    bad_lines: tuple[BadLines, ...]
    unknown_characters: dict[str, int]


@dataclasses.dataclass(frozen=True)
class WordsInfo:
    """The words that the tokens of a folder make up.

    Attributes:
      count: words, those counted that began in the tokens read.
      recut_stretches: stretches of the corpus that jieba itself had to cut, as the fast way cannot.
      checked_lines: lines of the corpus that jieba itself cut as well, as a check.
      different_lines: those of them on which it differed; its cut was taken.
      differences: the first of them, around the first difference.
    """

    count: int
    recut_stretches: int
    checked_lines: int
    different_lines: int
    differences: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A finished data folder.

    Attributes:
      format: version of this form.
      version: the program's.
      split: `train`, or `heldout` for documents that were kept apart.
      settings: what the folder was built with, seed included.
      vocabulary: the vocabulary.
      unicode_version: of the tables by which the text was tokenized.
      corpus: what was read.
      documents: in this folder.
      tokens_read: tokens of those documents.
      tokens_kept: tokens of the examples, without [CLS] and [SEP].
      tokens_dropped: tokens that packing lost, by reason.
      examples: number of records.
      one_segment_share: of the examples.
      short_share: of the examples, those shorter than max_seq_length.
      padding_share: of all positions.
      unknown_share: [UNK] among the tokens read.
      shards: the files.
      words: of data built with words; None for other data.
    """

    format: int
    version: str
    split: str
    settings: dict[str, Any]
    vocabulary: VocabularyInfo
    unicode_version: str
    corpus: CorpusInfo
    documents: int
    tokens_read: int
    tokens_kept: int
    tokens_dropped: dict[str, int]
    examples: int
    one_segment_share: float
    short_share: float
    padding_share: float
    unknown_share: float
    shards: tuple[Shard, ...]
    words: WordsInfo | None = None

    @property
    def max_seq_length(self) -> int:
        """Positions of an example."""
        return int(self.settings["max_seq_length"])

    def save(self, folder: str) -> None:
        """Writes `manifest.json`, which makes the folder a finished one."""
        values = dataclasses.asdict(self)
        if self.words is None:
            del values["words"]
        files.write_json(files.join(folder, MANIFEST), values)

    @classmethod
    def load(cls, folder: str) -> Manifest:
        """Reads and checks a folder's manifest.

        Raises:
          UserError: there is none, or it is damaged or of another form.
        """
        path = files.join(folder, MANIFEST)
        if not files.exists(path):
            raise UserError(f"{folder} has no {MANIFEST}: it is no finished folder of build-data")
        values = files.read_json(path)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            found = values.get("format") if isinstance(values, dict) else None
            raise UserError(f"{path} has form {found!r}; this version reads form {FORMAT}")
        try:
            manifest = _parse(values)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} is damaged ({type(error).__name__}: {error}): build the data again"
            ) from None
        if sum(shard.examples for shard in manifest.shards) != manifest.examples:
            raise UserError(f"{path} is damaged: its shards do not add up: build the data again")
        return manifest


def _parse(values: dict[str, Any]) -> Manifest:
    corpus = dict(values["corpus"])
    corpus["names"] = tuple(corpus["names"])
    corpus["bad_lines"] = tuple(
        BadLines(str(bad["reason"]), int(bad["count"]), tuple(bad["first"]))
        for bad in corpus["bad_lines"]
    )
    shards = tuple(
        Shard(str(each["name"]), int(each["examples"]), int(each["bytes"]), str(each["sha256"]))
        for each in values["shards"]
    )
    vocabulary = values["vocabulary"]
    info = VocabularyInfo(
        str(vocabulary["file"]), int(vocabulary["size"]), str(vocabulary["sha256"])
    )
    words = None
    if "words" in values:
        words = WordsInfo(**{**values["words"], "differences": ()})
        words = dataclasses.replace(words, differences=tuple(values["words"]["differences"]))
    plain = {**values, "vocabulary": info, "corpus": CorpusInfo(**corpus), "shards": shards}
    manifest = Manifest(**{**plain, "words": words})
    int(manifest.settings["max_seq_length"])
    for number in (manifest.examples, manifest.tokens_read, manifest.tokens_kept):
        if not isinstance(number, int):
            raise TypeError(f"{number!r} is not a whole number")
    return manifest


def load_manifest(folder: str) -> Manifest | None:
    """Reads a folder's manifest; None where the folder has none, as one of reference shards.

    Raises:
      UserError: the folder is missing, its build is unfinished, or the manifest is damaged.
    """
    if not files.is_dir(folder):
        raise UserError(f"No such data folder: {folder}")
    if files.exists(files.join(folder, MANIFEST)):
        return Manifest.load(folder)
    if files.exists(files.join(folder, WORK)):
        raise UserError(
            f"The data in {folder} is unfinished: run the same build-data command again to go on"
        )
    return None


def find_shards(folder: str) -> list[str]:
    """Returns the paths of a folder's TFRecord files, for folders without a manifest.

    Raises:
      UserError: there are none.
    """
    names = [
        name
        for name in files.list_dir(folder)
        if ".tfrecord" in name and not files.is_partial(name)
    ]
    if not names:
        raise UserError(f"No TFRecord files (*.tfrecord*) in {folder}")
    return [files.join(folder, name) for name in names]


def summary_lines(manifest: Manifest) -> list[str]:
    """Returns what a person wants to know of a data folder, line by line."""
    corpus = manifest.corpus
    size = sum(shard.bytes for shard in manifest.shards)
    kept = manifest.tokens_kept / max(manifest.tokens_read, 1)
    lines = [
        f"{manifest.examples:,} examples of length {manifest.max_seq_length} in "
        f"{len(manifest.shards)} {'shard' if len(manifest.shards) == 1 else 'shards'}, "
        f"{size / 1e6:,.1f} MB",
        f"from {manifest.documents:,} documents, {manifest.tokens_read:,} tokens "
        f"({corpus.files:,} {'file' if corpus.files == 1 else 'files'}, "
        f"{corpus.bytes / 1e6:,.1f} MB of text)",
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
    for reason, count in manifest.tokens_dropped.items():
        if count:
            lines.append(f"dropped: {count:,} tokens, {reason}")
    unknown = f"unknown tokens {manifest.unknown_share:.2%}"
    top = list(corpus.unknown_characters.items())[:8]
    if top:
        unknown += ", most often " + " ".join(f"{name} ({count:,})" for name, count in top)
    lines.append(unknown)
    is_wordpiece = manifest.vocabulary.file == Vocabulary.file_name
    could_map = is_wordpiece and not manifest.settings.get("map_punctuation")
    if could_map and any(name in _MAPPABLE for name, _ in top):
        lines.append(
            "hint: the vocabulary lacks common punctuation; --map-punctuation gives it the ids of "
            "its ASCII counterparts"
        )
    for bad in corpus.bad_lines:
        lines.append(
            f"left out: {bad.count:,} {'line' if bad.count == 1 else 'lines'}, {bad.reason}, "
            f"first {', '.join(bad.first[:3])}"
        )
    return lines
