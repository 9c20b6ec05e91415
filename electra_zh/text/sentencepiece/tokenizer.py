"""SentencePiece's tokenizer: text to the ids of pieces with their offsets, at array speed.

The library cuts the text; this module finds the offsets of the pieces. The library gives the source
of each character of the normalised text, and the lengths of the pieces give their places in the
normalised text. Nothing loops over pieces or characters in Python, and lines that normalising does
not change, which is most of the Chinese ones, are not looked up at all.

Pieces in Chinese. A piece is mostly a word or a part of a phrase, where WordPiece has one token per
character: a text has about two thirds of the tokens, each of them rarer. Masking a piece masks a
word; whole word masking joins pieces only if a word has several. Tags and spans that begin or end
inside a piece cannot be represented.

Offsets. A piece covers the characters that it was made of, and those after them that normalising
removes (stripped accents, characters that vanish), but not the space before it. A piece that is
only the mark of a space covers the space, or nothing if the mark was put before a text. If one
character became several, or bytes, each of their pieces covers it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_zh.text.characters import SURROGATE, joined_starts, to_codepoints
from electra_zh.text.sentencepiece.model import SPACE_MARK, SentencePieceVocabulary, load_processor
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import Covered, TokenizedText, Tokenizer
from electra_zh.text.wordpiece.offsets import character_classes
from electra_zh.text.wordpiece.splitting import SPACE

_REPLACEMENT = "\ufffd"
_MAX_SHOWN = 40
_FEW = 16


class _Pieces(NamedTuple):
    """Pieces of many texts: ids, the number per text, and offsets in the joined texts."""

    ids: np.ndarray
    counts: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class SentencePieceTokenizer(Tokenizer):
    """Text to the ids of a SentencePiece model, which determines the normalisation."""

    vocabulary_class = SentencePieceVocabulary
    vocabulary: SentencePieceVocabulary

    def __init__(
        self, vocabulary: SentencePieceVocabulary, settings: TokenizerSettings | None = None
    ) -> None:
        """Loads the model; `settings` are ignored."""
        super().__init__(vocabulary, vocabulary.settings)
        parts = vocabulary.parts
        self._processor = load_processor(vocabulary.model)
        # The same model with and without a space before each text, for parts of a text.
        self._processors: dict[bool, Any] = {parts.dummy_prefix: self._processor}
        self._widths = np.array(list(map(_width, parts.pieces, parts.kinds)), np.int32)
        self._has_mark = np.array(
            [len(piece) > 1 and piece.startswith(SPACE_MARK) for piece in parts.pieces], np.bool_
        )

    def encode(self, line: str, *, inside: bool = False) -> list[int]:  # noqa: D102
        line = SURROGATE.sub(_REPLACEMENT, line)
        return list(self._processor_for(line, inside).Encode(line, out_type=int))

    def tokenize_text(self, text: str) -> TokenizedText:  # noqa: D102
        ids, counts, starts, ends = self._encode_pieces(text.split("\n"))
        codepoints = to_codepoints(text)
        # A piece that covers nothing, before a line, is counted at the line's first character.
        at = np.bincount(np.maximum(ends - 1, starts), minlength=len(codepoints))
        return TokenizedText(ids, np.cumsum(counts), codepoints, np.cumsum(at), starts, ends)

    def find_covered(self, text: str, tokenized: TokenizedText) -> Covered:  # noqa: D102
        del text
        starts, ends = tokenized.starts, tokenized.ends
        assert starts is not None
        assert ends is not None
        return Covered(starts, ends, _continues(tokenized.codepoints, starts, ends))

    def _encode_block(
        self, texts: Sequence[str], inside: Sequence[bool]
    ) -> tuple[np.ndarray, np.ndarray, Covered]:
        ids, counts, starts, ends = self._encode_pieces(texts, inside)
        continues = _continues(to_codepoints("\n".join(texts)), starts, ends)
        return ids, np.cumsum(counts), Covered(starts, ends, continues)

    def _encode_pieces(self, texts: Sequence[str], inside: Sequence[bool] = ()) -> _Pieces:
        """Returns the pieces of texts; `inside` is False for all of them if it is empty."""
        begins = joined_starts(texts)
        texts = [SURROGATE.sub(_REPLACEMENT, text) for text in texts]
        if not any(inside):
            return self._pieces(self._processor, texts, begins)
        chosen = [self._processor_for(*each) for each in zip(texts, inside, strict=True)]
        found, order = [], []
        for processor in self._processors.values():
            group = np.flatnonzero([each is processor for each in chosen])
            some = [texts[index] for index in group.tolist()]
            found.append(self._pieces(processor, some, begins[group]))
            order.append(np.repeat(group, found[-1].counts))
        text_of = np.concatenate(order)
        by_text = np.argsort(text_of, kind="stable")
        ids, _, starts, ends = (np.concatenate(each) for each in zip(*found, strict=True))
        counts = np.bincount(text_of, minlength=len(texts))
        return _Pieces(ids[by_text], counts, starts[by_text], ends[by_text])

    def _processor_for(self, text: str, inside: bool) -> Any:
        if not inside:
            return self._processor
        # The library strips spaces before a text; its own takes the place of one.
        prefix = text[:1].isspace()
        if prefix not in self._processors:
            self._processors[prefix] = load_processor(self.vocabulary.model, dummy_prefix=prefix)
        return self._processors[prefix]

    def _pieces(self, processor: Any, texts: list[str], begins: np.ndarray) -> _Pieces:
        """Returns the pieces of texts that begin at some places of the joined texts."""
        encoded = _encoded(processor, texts, "numpy")
        counts = np.fromiter(map(len, encoded), np.int64, len(texts))
        if not counts.any():
            none = np.zeros(0, np.int32)
            return _Pieces(none, counts, none, none)
        ids = np.concatenate(encoded)
        widths = self._widths[ids]
        unknown = np.flatnonzero(ids == self.vocabulary.unk_id)
        if len(unknown):
            text_of = np.repeat(np.arange(len(texts)), counts)
            widths[unknown] = self._unknown_widths(processor, texts, text_of, unknown)
        has_prefix = processor is self._processors.get(True)
        starts, ends = _sources(processor, texts, begins, prefix=has_prefix)
        after = np.cumsum(widths)  # ends in the normalised text
        assert after[-1] == len(starts), "the pieces are not the normalised text"
        first = after - np.maximum(widths, 1)  # later bytes belong to the character of the first
        first += self._has_mark[ids]
        return _Pieces(
            ids, counts, starts[first].astype(np.int32), ends[after - 1].astype(np.int32)
        )

    def _unknown_widths(
        self, processor: Any, texts: list[str], text_of: np.ndarray, unknown: np.ndarray
    ) -> list[int]:
        """Counts the unknown pieces, and returns their widths: they may be several characters."""
        with_unknown = np.unique(text_of[unknown])
        encoded = _encoded(processor, [texts[index] for index in with_unknown.tolist()], str)
        pieces = list(itertools.chain.from_iterable(encoded))
        places = np.searchsorted(np.flatnonzero(np.isin(text_of, with_unknown)), unknown)
        found = [pieces[place] for place in places.tolist()]
        self.unknowns.update(
            piece if len(piece) <= _MAX_SHOWN else piece[:_MAX_SHOWN] + "..." for piece in found
        )
        return list(map(len, found))


def _encoded(processor: Any, texts: list[str], form: Any) -> list[Any]:
    """Returns each text encoded by the library, which starts a thread for many at once."""
    if len(texts) <= _FEW:
        return [processor.Encode(text, out_type=form) for text in texts]
    return list(processor.Encode(texts, out_type=form, num_threads=1))


def _width(piece: str, kind: str) -> int:
    """Returns the length of a piece in normalised characters; only its first byte counts as one."""
    if kind == "byte":
        return int(int(piece[3:-1], 16) & 0xC0 != 0x80)
    return len(piece)


def _continues(codepoints: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns bool [T]: whether a piece of a block begins inside a word, or inside a character."""
    # With a space before the block, which begins with a word.
    in_word = np.zeros(len(codepoints) + 1, np.bool_)
    in_word[1:] = character_classes(TokenizerSettings()).take(codepoints) < SPACE
    continues: np.ndarray = in_word[starts] & in_word[np.minimum(starts + 1, len(codepoints))]
    continues[1:] |= ends[:-1] > starts[1:]
    return continues


def _sources(
    processor: Any, texts: list[str], begins: np.ndarray, *, prefix: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns start and end, in the joined texts, of each character of the normalised texts."""
    normal = processor.Normalize(texts)
    mark = SPACE_MARK if prefix else ""
    # Most texts only lose spaces at their ends and capitals: there the places are plain.
    bodies = [text.strip() for text in texts]
    plain = [
        len(low := body.lower()) == len(body) and new == mark + low.replace(" ", SPACE_MARK)
        for new, body in zip(normal, bodies, strict=True)
    ]
    is_changed = ~np.array(plain, np.bool_)
    stripped = [len(text) - len(text.lstrip()) for text in texts]
    lengths = np.fromiter(map(len, normal), np.int64, len(texts))
    offsets = begins + stripped - (np.cumsum(lengths) - lengths) - len(mark)
    starts = np.arange(int(lengths.sum())) + np.repeat(offsets, lengths)
    ends = starts + 1
    first = (np.cumsum(lengths) - lengths)[lengths > 0]
    if prefix:
        starts[first] += 1
    others = np.flatnonzero(is_changed)
    if len(others):
        moved = np.repeat(is_changed, lengths)
        asked = [texts[index] for index in others.tolist()]
        starts[moved], ends[moved] = _moved(processor, asked, begins[others])
    if prefix:
        # The space put before a text covers nothing.
        ends[first] = starts[first]
    return starts, ends


def _moved(processor: Any, texts: list[str], begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns starts and ends for texts that normalising changes, by the library's own offsets."""
    # Each has one number more than the normalised text has characters: the end.
    lists = [places for _, places in processor.Normalize(texts, with_offsets=True)]
    sizes = np.fromiter(map(len, lists), np.int64, len(lists))
    last = np.cumsum(sizes) - 1
    flat = np.fromiter(itertools.chain.from_iterable(lists), np.int64, int(sizes.sum()))
    flat += np.repeat(begins, sizes)
    # Characters that one character became all begin there, and end where the next one begins.
    begins_new = np.diff(flat, prepend=-1) > 0
    distinct = np.append(flat[begins_new], flat[-1])
    ends = np.minimum(distinct[np.cumsum(begins_new)], np.repeat(flat[last], sizes))
    inner = np.ones(len(flat), np.bool_)
    inner[last] = False
    return flat[inner], ends[inner]


TOKENIZER = SentencePieceTokenizer
