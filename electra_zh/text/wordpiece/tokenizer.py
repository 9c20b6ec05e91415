"""BERT's WordPiece tokenizer: exactly the reference's ids, at array speed.

`WordPieceTokenizer.encode` is the reference's algorithm (google-research/electra,
model/tokenization.py) in plain Python. `tokenize_text` gives the same ids for a block of many
lines: one array lookup for the characters that are always one token, which is nearly all of
Chinese text, and the plain algorithm, once for each distinct word, for the stretches between them.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import NamedTuple

import numpy as np

from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.characters import (
    TokenizerSettings,
    character_forms,
    join_sigma_parts,
    split_words,
    to_codepoints,
    word_runs,
)
from electra_zh.text.wordpiece.token_cache import Encoded, WordStore

__all__ = ["PUNCTUATION_MAP", "TokenizedText", "TokenizerSettings", "WordPieceTokenizer"]

# Unassigned characters vanish, so ids depend on the version of Unicode that Python knows.
UNICODE_VERSION = unicodedata.unidata_version

# A longer word is one [UNK], as in the reference.
MAX_WORD_CHARACTERS = 200

# For `TokenizerSettings.map_punctuation`: what a character becomes where the vocabulary lacks it
# and has the other. Google's Chinese vocabulary has the low-9 double mark alone of all these, so
# quotation marks and dashes are most of what is unknown in Chinese text.
PUNCTUATION_MAP = {
    "\u201c": '"',  # left double quotation mark
    "\u201d": '"',  # right double quotation mark
    "\u201e": '"',  # double low-9 quotation mark
    "\u201f": '"',  # double high-reversed-9 quotation mark
    "\u2018": "'",  # left single quotation mark
    "\u2019": "'",  # right single quotation mark
    "\u201a": "'",  # single low-9 quotation mark
    "\u201b": "'",  # single high-reversed-9 quotation mark
    "`": "'",  # grave accent: a quotation mark in plain text, a code mark in Markdown
    "\u2014": "-",  # em dash
    "\u2013": "-",  # en dash
    "\u2010": "-",  # hyphen
    "\u2011": "-",  # non-breaking hyphen
    "\u2012": "-",  # figure dash
    "\u2015": "-",  # horizontal bar
    "\u2026": ".",  # horizontal ellipsis
}

_MAX_SHOWN_WORD = 40


class TokenizedText(NamedTuple):
    """A block of lines as token ids.

    Attributes:
      ids: int32 [T], the ids of all lines, one line behind the other.
      line_ends: int64 [lines]; line i is `ids[line_ends[i - 1]:line_ends[i]]`.
      codepoints: uint32 [C], every character of the text, the "\\n" between lines included.
      token_ends: int64 [C], the number of tokens that stand before the end of character c. Exact
        behind every character that is a word of its own (ideographs, punctuation) and behind
        every space: `ids[:token_ends[c]]` are the tokens of the text up to and with c. A stretch
        that needs the word path (a word, or all between two spaces or ideographs where that has a
        capital sigma) counts its k tokens at its last k characters, or one at each character and
        the rest at the last one where it has more tokens than characters.
      starts, ends: int32 [T], the characters of the block that each token covers, where the
        tokenizer has them at hand (SentencePiece); else None, see `offsets`.
    """

    ids: np.ndarray
    line_ends: np.ndarray
    codepoints: np.ndarray
    token_ends: np.ndarray
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None


class _Overflow(NamedTuple):
    """Tokens of word runs that have more tokens than characters, beyond one a character."""

    places: np.ndarray  # the last character of each such run
    counts: np.ndarray  # how many tokens are left over there
    ids: np.ndarray  # the tokens left over, one run behind the other


class WordPieceTokenizer:
    """Text to the reference's WordPiece ids.

    Attributes:
      unknowns: characters and words that became [UNK], counted by `tokenize_text`; may be cleared.
    """

    def __init__(
        self, vocabulary: Vocabulary, settings: TokenizerSettings = TokenizerSettings()
    ) -> None:
        self.vocabulary = vocabulary
        self.settings = settings
        self.unknowns: Counter[str] = Counter()
        self._ids = dict(vocabulary.ids)
        self._longest = max(map(len, vocabulary.tokens))  # Longer pieces need no look.
        self._mapping = punctuation_mapping(vocabulary) if settings.map_punctuation else {}
        self._table = self._character_codes()
        self._store = WordStore(self._encode_run)
        _keep_freed_memory()

    def __reduce__(self) -> tuple[type[WordPieceTokenizer], tuple[Vocabulary, TokenizerSettings]]:
        # A copy in another process makes its own table, in less time than sending it takes.
        return WordPieceTokenizer, (self.vocabulary, self.settings)

    def _character_codes(self) -> np.ndarray:
        """Returns int32 [0x110000]: the id of a character that is one token, or its class."""
        forms = character_forms(self.settings)
        for source, target in self._mapping.items():
            forms[source] = target
        ids = np.full(len(forms), self.vocabulary.unk_id, np.int32)
        for token, index in self._ids.items():
            if len(token) == 1:
                ids[ord(token)] = index
        single = np.flatnonzero(forms >= 0)
        forms[single] = ids[forms[single]]
        return forms

    def encode(self, line: str, *, inside: bool = False) -> list[int]:
        """Returns the ids of one line by the reference's plain algorithm.

        Args:
          line: the text.
          inside: it goes on where another text ended, which makes no difference here.
        """
        del inside
        return self._encode_words(line).ids

    def tokens(self, line: str) -> list[str]:
        """Returns the tokens of one line."""
        return [self.vocabulary.tokens[index] for index in self.encode(line)]

    def tokenize_text(self, text: str) -> TokenizedText:
        r"""Returns the ids of a block of lines joined by "\n", each exactly as `encode` has it.

        Blocks of about a megabyte are best: large enough for array speed, small enough for caches.
        """
        codepoints = to_codepoints(text)
        codes = self._table.take(codepoints)
        if self.settings.lower_case:
            join_sigma_parts(text, codes)
        self._count_unknown(codepoints[codes == self.vocabulary.unk_id])
        overflow = self._fill_words(text, codepoints, codes)
        is_token = codes >= 0
        ids = codes[is_token]
        if overflow is None:
            token_ends = np.cumsum(is_token, dtype=np.int64)
        else:
            per_character = is_token.astype(np.int64)
            per_character[overflow.places] += overflow.counts
            token_ends = np.cumsum(per_character)
            before = token_ends[overflow.places] - np.cumsum(overflow.counts)
            ids = np.insert(ids, np.repeat(before, overflow.counts), overflow.ids)
        line_ends = np.append(token_ends[codepoints == 10], len(ids))
        return TokenizedText(ids, line_ends, codepoints, token_ends)

    def _fill_words(self, text: str, codepoints: np.ndarray, codes: np.ndarray) -> _Overflow | None:
        """Writes the tokens of each word run over its last characters in `codes`.

        Returns:
          The tokens for which runs have no characters left, if there are any.
        """
        starts, ends = word_runs(codes)
        if not len(starts):
            return None
        store = self._store
        entries = store.lookup(text, codepoints, starts, ends)
        self._count_unknown_words(entries)
        # The other characters of a run stay what they are: WORD or DROP, no token.
        single = store.single[entries]
        is_single = single >= 0
        codes[ends[is_single] - 1] = single[is_single]
        several = np.flatnonzero(~is_single)
        entries, starts, ends = entries[several], starts[several], ends[several]
        counts = store.counts[entries]
        first = store.starts[entries]
        written = np.minimum(counts, ends - starts)
        codes[_ranges(ends - written, written)] = store.ids[_ranges(first, written)]
        left = counts - written
        if not left.any():
            return None
        over = np.flatnonzero(left)
        sources = _ranges((first + written)[over], left[over])
        return _Overflow(ends[over] - 1, left[over], store.ids[sources])

    def _encode_run(self, text: str) -> Encoded:
        """Encodes a word run; quicker than `_encode_words` for the plainest, which are the most."""
        if text.isascii() and text.isalnum():
            pieces = self._pieces(text.lower() if self.settings.lower_case else text)
            if pieces is not None:
                return Encoded(pieces, [])
        return self._encode_words(text)

    def _encode_words(self, text: str) -> Encoded:
        if self._mapping:
            text = text.translate(self._mapping)
        ids: list[int] = []
        unknown: list[str] = []
        for word in split_words(text, self.settings):
            pieces = self._pieces(word)
            if pieces is None:
                ids.append(self.vocabulary.unk_id)
                shown = word if len(word) <= _MAX_SHOWN_WORD else word[:_MAX_SHOWN_WORD] + "..."
                unknown.append(shown)
            else:
                ids.extend(pieces)
        return Encoded(ids, unknown)

    def _pieces(self, word: str) -> list[int] | None:
        """Returns the ids of a word, the longest piece first at each place; None if one lacks."""
        size = len(word)
        if size > MAX_WORD_CHARACTERS:
            return None
        get, longest = self._ids.get, self._longest
        pieces: list[int] = []
        start, prefix = 0, ""
        while start < size:
            end = min(size, start + longest)
            while (index := get(prefix + word[start:end])) is None:
                end -= 1
                if end == start:
                    return None
            pieces.append(index)
            start, prefix = end, "##"
        return pieces

    def _count_unknown(self, codepoints: np.ndarray) -> None:
        points, counts = np.unique(codepoints, return_counts=True)
        for point, count in zip(points.tolist(), counts.tolist(), strict=True):
            self.unknowns[chr(point)] += count

    def _count_unknown_words(self, entries: np.ndarray) -> None:
        with_unknown = entries[self._store.has_unknown[entries]]
        distinct, counts = np.unique(with_unknown, return_counts=True)
        for entry, count in zip(distinct.tolist(), counts.tolist(), strict=True):
            for word in self._store.unknown[entry]:
                self.unknowns[word] += count


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns starts[0], starts[0] + 1, ... (counts[0] of them), starts[1], ... in one array."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - counts), counts)


def _keep_freed_memory() -> None:
    """Makes the C library keep freed arrays of a few megabytes for the next block.

    By default glibc gives the memory of large arrays back to the system at once, and the next block
    pays for clearing every page anew: half of all time. Its threshold is the largest array freed
    so far (up to 32 MB), so one that is never touched, and costs nothing, raises it.
    """
    np.empty(31 << 20, np.uint8)


def punctuation_mapping(vocabulary: Vocabulary) -> dict[int, int]:
    """Returns the code points that `map_punctuation` gives another, for this vocabulary."""
    return {
        ord(source): ord(target)
        for source, target in PUNCTUATION_MAP.items()
        if source not in vocabulary.ids and target in vocabulary.ids
    }
