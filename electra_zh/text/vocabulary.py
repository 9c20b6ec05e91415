"""The vocabulary file: one token per line, whose line number is the token's id."""

from __future__ import annotations

import functools
import hashlib
import string
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

from absl import logging

from electra_zh import files
from electra_zh.content import HEAD_BYTES, not_utf8
from electra_zh.errors import UserError
from electra_zh.text.characters import is_cjk, is_punctuation
from electra_zh.text.settings import TokenizerSettings

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)

# Far above any real vocabulary; a file beyond them is text given by mistake.
_MAX_FILE_BYTES = 64 * 2**20
_MAX_TOKEN_CHARACTERS = 200


class Vocabulary:
    """The tokens of a WordPiece vocabulary in the order of their ids, immutable.

    Vocabularies of other forms are subclasses. One token may be empty: in Google's Chinese
    vocabulary the line of id 343 is U+2028, which the reference strips. No text can produce that
    token, but it keeps its id.

    Attributes:
      file_name: the name of its file in the folders that hold a copy.
      settings: normalisation of text, if the file determines it; else None.
      tokens: every token; a token's position is its id.
      ids: token to id.
      pad_id, unk_id, cls_id, sep_id, mask_id: ids of the special tokens; `pad_id` is 0.
    """

    file_name: ClassVar[str] = "vocab.txt"

    def __init__(self, tokens: Iterable[str], *, origin: str = "The vocabulary") -> None:
        """Checks the tokens, whose order gives their ids; `origin` names them in error messages.

        Raises:
          UserError: no tokens, a special token missing, [PAD] not first, a duplicate token, or
            something that cannot be a token (white space inside, over 200 characters).
        """
        self.tokens: tuple[str, ...] = tuple(tokens)
        _check_tokens(self.tokens, origin)
        ids: dict[str, int] = {}
        for line, token in enumerate(self.tokens):
            first = ids.setdefault(token, line)
            if first != line:
                raise UserError(
                    f'{origin} has a duplicate token "{token}": lines {first + 1} and {line + 1}'
                )
        missing = [token for token in SPECIAL_TOKENS if token not in ids]
        if missing:
            raise UserError(
                f"{origin} is missing {', '.join(missing)}: a vocabulary needs "
                f"{' '.join(SPECIAL_TOKENS)}, each on a line of its own"
            )
        if ids[PAD] != 0:
            raise UserError(f"{origin} has [PAD] on line {ids[PAD] + 1}; it must be on line 1")
        self.ids: Mapping[str, int] = MappingProxyType(ids)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            ids[token] for token in SPECIAL_TOKENS
        )

    @functools.cached_property
    def settings(self) -> TokenizerSettings | None:
        """Normalisation of text, if the file determines it."""
        return None

    @classmethod
    def recognizes(cls, path: str, data: bytes) -> bool:
        """Returns whether a file has this form, by its name or its bytes; see the subclasses."""
        return False

    @classmethod
    def parse(cls, data: bytes, origin: str) -> Self:
        r"""Returns the vocabulary of a file: UTF-8, one token per line, white space stripped.

        Lines end at "\n" only: `str.splitlines` would also split at U+2028 and others, and shift
        every id after them. Empty lines at the end are not tokens. `origin` is the path of the
        file, for messages.

        Raises:
          UserError: not UTF-8, empty, or not a vocabulary.
        """
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            hint = not_utf8(origin, data[:HEAD_BYTES])
            raise UserError(
                f"The vocabulary {origin} is not UTF-8 text: line {line}, byte {error.start}; "
                f"{hint}"
            ) from None
        if text.startswith("\ufeff"):
            raise UserError(
                f"The vocabulary {origin} starts with a byte order mark; save it without"
            )
        if not text.strip():
            raise UserError(f"The vocabulary {origin} is empty")
        lines = text.removesuffix("\n").split("\n")
        # Not every white space: an empty token may be U+2028, which is stripped below.
        end = len(lines)
        while not lines[end - 1].strip(" \t\r"):
            end -= 1
        if end < len(lines):
            logging.info("%s: the last %d lines are empty: no tokens.", origin, len(lines) - end)
        return cls(map(str.strip, lines[:end]), origin=origin)

    @classmethod
    def load(cls, path: str) -> Self:
        """Reads a file of this form; raises UserError for others."""
        return cls.parse(read_file(path), path)

    def save(self, path: str) -> None:
        """Writes the file atomically."""
        with files.atomic_write(path) as file:
            file.write(self.file_bytes())

    def word_part(self, token: str) -> tuple[str, bool]:
        """Returns a token without its mark, and whether it begins a word."""
        body = token.removeprefix("##")
        return (body, False) if body and body != token else (token, True)

    def spellings(self, body: str, *, begins: bool) -> list[str]:
        """Returns the tokens that could show characters that may begin a word, the best first."""
        if is_cjk(ord(body[0])) or is_punctuation(body[0]):
            # Google's Chinese vocabulary has "##" ideographs too, which no text gives.
            return [body]
        return [body, f"##{body}"] if begins else [f"##{body}", body]

    @functools.cached_property
    def is_cased(self) -> bool | None:
        """True if capitals have tokens; None for a vocabulary without Latin letters.

        A capital without a token makes its word [UNK]. Half as many letters as small ones suffice:
        those of a small corpus.
        """
        capitals, small = (
            sum(each in self.ids or f"##{each}" in self.ids for each in letters)
            for letters in (string.ascii_uppercase, string.ascii_lowercase)
        )
        return 2 * capitals >= small if capitals + small else None

    @property
    def size(self) -> int:
        """The number of tokens."""
        return len(self.tokens)

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256, in hexadecimal, of the file that `save` writes."""
        return hashlib.sha256(self.file_bytes()).hexdigest()

    def file_bytes(self) -> bytes:
        """Returns the content of the file that `save` writes."""
        return ("\n".join(self.tokens) + "\n").encode("utf-8")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, sha256={self.sha256[:12]})"

    def __reduce__(self) -> tuple[type[Vocabulary], tuple[Any]]:
        # The read-only view of `ids` cannot be pickled; workers get the tokens.
        return Vocabulary, (self.tokens,)


def read_file(path: str) -> bytes:
    """Reads a vocabulary's file; raises UserError if it is missing or too large to be one."""
    if not files.exists(path):
        raise UserError(f"No such vocabulary file: {path}")
    if files.is_dir(path):
        raise UserError(f"The vocabulary {path} is a folder; name a file")
    if files.size(path) > _MAX_FILE_BYTES:
        raise UserError(
            f"{path} is not a vocabulary: it has {files.size(path):,} bytes, more than "
            f"{_MAX_FILE_BYTES:,}. Name a file with one token per line or a SentencePiece model"
        )
    return files.read_bytes(path)


def _check_tokens(tokens: tuple[str, ...], origin: str) -> None:
    """Rejects files that are clearly not a vocabulary, before the finer checks."""
    if not tokens:
        raise UserError(f"{origin} is empty")
    for line, token in enumerate(tokens):
        if len(token) > _MAX_TOKEN_CHARACTERS or (len(token) > 1 and len(token.split()) != 1):
            shown = token if len(token) <= 40 else token[:40] + "..."
            raise UserError(
                f'{origin} is not a vocabulary: line {line + 1} is "{" ".join(shown.split())}". '
                "Name a file with one token per line and no white space inside tokens"
            )
