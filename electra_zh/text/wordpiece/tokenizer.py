"""BERT's WordPiece tokenizer: exactly the reference's ids, at array speed.

`WordPieceTokenizer.encode` is the reference's algorithm (google-research/electra,
model/tokenization.py) in plain Python. `tokenize_text` gives the same ids for a block of many
lines: one array lookup for the characters that are always one token, which is nearly all of
Chinese text, and the plain algorithm, once for each distinct word, for the stretches between them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from electra_zh import machine
from electra_zh.text.characters import joined_starts, to_codepoints
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import Covered, TokenizedText, Tokenizer
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.offsets import OffsetFinder
from electra_zh.text.wordpiece.splitting import DROP, character_forms, split_words, word_runs
from electra_zh.text.wordpiece.token_cache import Encoded, TokenCache, ranges
from electra_zh.text.wordpiece.word_tokens import WordTokens

# A longer word is one [UNK], as in the reference.
MAX_WORD_CHARACTERS = 200

# For `TokenizerSettings.map_punctuation`: the replacement of a character that is missing from the
# vocabulary. Google's Chinese vocabulary has only the low-9 double mark of these, so quotation
# marks and dashes are most of the unknown characters in Chinese text.
PUNCTUATION_MAP = {
    **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),  # double quotation marks
    **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),  # single quotation marks
    "`": "'",  # grave accent: a quotation mark in plain text, a code mark in Markdown
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015", "-"),  # hyphens and dashes
    "\u2026": ".",  # horizontal ellipsis
}

_MAX_SHOWN_WORD = 40


class WordPieceTokenizer(Tokenizer):
    """Text to the reference's WordPiece ids."""

    vocabulary_class = Vocabulary

    def __init__(
        self, vocabulary: Vocabulary, settings: TokenizerSettings = TokenizerSettings()
    ) -> None:
        super().__init__(vocabulary, settings)
        self._ids = dict(vocabulary.ids)
        self._longest = max(map(len, vocabulary.tokens))
        self._mapping = punctuation_mapping(vocabulary) if settings.map_punctuation else {}
        self._table = self._character_codes()
        self._cache = TokenCache(self._encode_words)
        self._words = WordTokens(vocabulary, settings) if settings.word_tokens else None
        # Otherwise half of the time is spent on clearing the pages of each block's arrays again.
        machine.keep_freed_memory()

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
        """Returns the ids of one line by the reference's plain algorithm; `inside` is ignored."""
        del inside
        if self._words is None:
            return self._encode_words(line).ids
        ids: list[int] = []
        done = 0
        lasts, words = self._words.find(line)
        for last, index in zip(lasts.tolist(), words.tolist(), strict=True):
            first = last - self._words.more[index]
            ids += [*self._encode_words(line[done:first]).ids, index]
            done = last + 1
        return ids + self._encode_words(line[done:]).ids

    def tokenize_text(self, text: str) -> TokenizedText:  # noqa: D102
        codepoints = to_codepoints(text)
        codes = self._table.take(codepoints)
        starts, ends = word_runs(text, codes, self.settings)
        if self._words is not None:
            # An ideograph is never part of a run.
            lasts, words = self._words.find(text)
            more = self._words.more[words]
            codes[lasts] = words
            codes[ranges(lasts - more, more)] = DROP
        cache = self._cache
        entries = cache.lookup(text, codepoints, starts, ends)
        self._count_unknown(codepoints[codes == self.vocabulary.unk_id], entries)
        # Most runs are one token. The other characters of a run stay WORD or DROP, no token.
        single = cache.single[entries]
        codes[ends - 1] = single
        several = np.flatnonzero(single < 0)
        entries, starts, ends = entries[several], starts[several], ends[several]
        first, counts = cache.starts[entries], cache.counts[entries]
        written = np.minimum(counts, ends - starts)
        codes[ranges(ends - written, written)] = cache.ids[ranges(first, written)]
        is_token = codes >= 0
        # A run with more tokens than characters has the others at its last one.
        over = np.flatnonzero(counts > written)
        places, others = ends[over] - 1, (counts - written)[over]
        at_each = is_token.astype(np.int64)
        at_each[places] += others
        token_ends = np.cumsum(at_each)
        before = np.repeat(token_ends[places] - np.cumsum(others), others)
        other_ids = cache.ids[ranges((first + written)[over], others)]
        ids = np.insert(codes[is_token], before, other_ids)
        line_ends = np.append(token_ends[codepoints == 10], len(ids))
        return TokenizedText(ids, line_ends, codepoints, token_ends)

    def _count_unknown(self, unknown: np.ndarray, entries: np.ndarray) -> None:
        """Counts characters that are [UNK], and words in entries of the cache that are."""
        for point, count in zip(*np.unique_counts(unknown), strict=True):
            self.unknowns[chr(point)] += int(count)
        of_words = entries[self._cache.has_unknown[entries]]
        for entry, count in zip(*np.unique_counts(of_words), strict=True):
            for word in self._cache.unknown[entry]:
                self.unknowns[word] += int(count)

    @functools.cached_property
    def _offsets(self) -> OffsetFinder:
        return OffsetFinder(self.vocabulary, self.settings, self.encode)

    def find_covered(self, text: str, tokenized: TokenizedText) -> Covered:  # noqa: D102
        covered = self._offsets.find(text, tokenized)
        if self._words is None:
            return covered
        # The token of a word is counted at its last ideograph.
        return covered._replace(starts=covered.starts - self._words.more[tokenized.ids])

    def find_firsts(  # noqa: D102
        self, text: str, tokenized: TokenizedText, word_starts: np.ndarray
    ) -> np.ndarray:
        firsts = self._offsets.find_firsts(text, tokenized, word_starts)
        return firsts if self._words is None else firsts - self._words.more[tokenized.ids]

    def _encode_block(
        self, texts: Sequence[str], inside: Sequence[bool]
    ) -> tuple[np.ndarray, np.ndarray, Covered]:
        del inside
        # A "\n" within a text is a space to the tokenizer as well as one between two texts, so
        # texts are separated by their lengths, and none needs a change.
        text = "\n".join(texts)
        tokenized = self.tokenize_text(text)
        ends = tokenized.token_ends[joined_starts(texts)[1:] - 1]
        text_ends = np.append(ends, len(tokenized.ids))
        return tokenized.ids, text_ends, self.find_covered(text, tokenized)

    def _encode_words(self, text: str) -> Encoded:
        if text.isascii() and text.isalnum():  # one word, as most runs; only for speed
            words = [text.lower() if self.settings.lower_case else text]
        else:
            text = text.translate(self._mapping) if self._mapping else text
            words = split_words(text, self.settings)
        ids: list[int] = []
        unknown: list[str] = []
        for word in words:
            pieces = self._pieces(word)
            if pieces is None:
                ids.append(self.vocabulary.unk_id)
                shown = word if len(word) <= _MAX_SHOWN_WORD else word[:_MAX_SHOWN_WORD] + "..."
                unknown.append(shown)
            else:
                ids.extend(pieces)
        return Encoded(ids, unknown)

    def _pieces(self, word: str) -> list[int] | None:
        """Returns the ids of a word by longest match first; None if no piece matches."""
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


def punctuation_mapping(vocabulary: Vocabulary) -> dict[int, int]:
    """Returns the code points that `map_punctuation` replaces, for a vocabulary."""
    return {
        ord(source): ord(target)
        for source, target in PUNCTUATION_MAP.items()
        if source not in vocabulary.ids and target in vocabulary.ids
    }


TOKENIZER = WordPieceTokenizer
