"""The vocabulary file: one token a line, its line number the token's id."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from electra_zh import files
from electra_zh.errors import UserError

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)

# Far above any real vocabulary; a file beyond them is text given by mistake.
_MAX_FILE_BYTES = 64 * 2**20
_MAX_TOKEN_CHARACTERS = 200


class Vocabulary:
    """The tokens in the order of their ids. Never changed once made.

    One token may be empty: in Google's Chinese vocabulary the line of id 343 holds U+2028, which
    the reference strips away. No text can produce that token, but its id must stay taken.

    Attributes:
      file_name: the name of its file in the folders that hold a copy.
      tokens: every token; a token's position is its id.
      ids: token to id.
      pad_id, unk_id, cls_id, sep_id, mask_id: ids of the special tokens; `pad_id` is 0.
    """

    file_name: ClassVar[str] = "vocab.txt"

    def __init__(self, tokens: Iterable[str], *, origin: str = "The vocabulary") -> None:
        """Checks the tokens and numbers them.

        Args:
          tokens: the tokens in the order of their ids.
          origin: what error messages call this vocabulary: the path of its file.

        Raises:
          UserError: no tokens, a special token missing, [PAD] not first, a token twice, or
            something that cannot be a token (white space inside, over 200 characters).
        """
        self.tokens: tuple[str, ...] = tuple(tokens)
        _check_tokens(self.tokens, origin)
        ids: dict[str, int] = {}
        for line, token in enumerate(self.tokens):
            first = ids.setdefault(token, line)
            if first != line:
                raise UserError(
                    f'{origin} has the token "{token}" twice: lines {first + 1} and {line + 1}'
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

    @classmethod
    def load(cls, path: str) -> Vocabulary:
        r"""Reads a vocabulary file: UTF-8, one token a line, white space around tokens stripped.

        Lines end at "\n" only: `str.splitlines` would also split at U+2028 and others, and shift
        every id behind them. A final "\n" starts no further token.

        Raises:
          UserError: the file is missing, not UTF-8, empty, or not a vocabulary.
        """
        text = _decode(read_file(path), path)
        if not text.strip():
            raise UserError(f"The vocabulary {path} is empty")
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        return cls((line.strip() for line in lines), origin=path)

    def save(self, path: str) -> None:
        """Writes the file, one token a line, whole or not at all."""
        with files.atomic_write(path) as file:
            file.write(self.file_bytes())

    @property
    def size(self) -> int:
        """The number of tokens."""
        return len(self.tokens)

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256, in hexadecimal, of the file that `save` writes."""
        return hashlib.sha256(self.file_bytes()).hexdigest()

    def file_bytes(self) -> bytes:
        """Returns what `save` writes."""
        return ("\n".join(self.tokens) + "\n").encode("utf-8")

    def __len__(self) -> int:
        return len(self.tokens)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.tokens == other.tokens

    def __hash__(self) -> int:
        return hash(self.tokens)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, sha256={self.sha256[:12]})"

    def __reduce__(self) -> tuple[type[Vocabulary], tuple[Any]]:
        # The read-only view of `ids` cannot be pickled; workers get the tokens.
        return Vocabulary, (self.tokens,)


def read_file(path: str) -> bytes:
    """Reads a vocabulary's file.

    Raises:
      UserError: the file is missing, or too large to be a vocabulary.
    """
    if not files.exists(path):
        raise UserError(f"No such vocabulary file: {path}")
    if files.is_dir(path):
        raise UserError(f"The vocabulary {path} is a folder; a file is needed")
    if files.size(path) > _MAX_FILE_BYTES:
        raise UserError(
            f"{path} is no vocabulary: it has {files.size(path):,} bytes "
            f"(a vocabulary has one token a line; at most {_MAX_FILE_BYTES:,} bytes are read)"
        )
    return files.read_bytes(path)


def _decode(data: bytes, path: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"The vocabulary {path} is not UTF-8 text: line {line}, byte {error.start}"
        ) from None
    if text.startswith("\ufeff"):
        raise UserError(f"The vocabulary {path} starts with a byte order mark; save it without")
    return text


def _check_tokens(tokens: tuple[str, ...], origin: str) -> None:
    """Refuses what is plainly not a vocabulary before anything finer is checked."""
    if not tokens:
        raise UserError(f"{origin} is empty")
    for line, token in enumerate(tokens):
        if len(token) > _MAX_TOKEN_CHARACTERS or (len(token) > 1 and len(token.split()) != 1):
            shown = token if len(token) <= 40 else token[:40] + "..."
            raise UserError(
                f'{origin} is no vocabulary: line {line + 1} is "{" ".join(shown.split())}"; '
                "one token a line is needed, without white space inside"
            )
