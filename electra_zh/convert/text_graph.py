"""The tokenizers as TensorFlow operations, from strings to exactly the tokenizer's ids.

For WordPiece the normalizers of tensorflow-text follow other rules (NFKC case folding, their own
version of Unicode), so only its search for pieces is used. The steps before it are
`splitting.split_words` as tables over the code points, made by the Python that writes the graph.
Each character is normalized separately, with two exceptions, both computed here: a capital sigma at
the end of a word, and combining marks that decomposition reorders.

A SentencePiece model holds its own rules, and tensorflow-text includes the library. If a unigram
model has two equally probable ways of cutting a text ("999" as 99 and 9, or 9 and 99), its release
may take the other one: about ten in a million tokens.

Shapes: B texts of the batch, C their characters.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from electra_zh.errors import UserError
from electra_zh.text import characters
from electra_zh.text.characters import code_point_table
from electra_zh.text.pair_lengths import cut_pair_lengths
from electra_zh.text.sentencepiece.model import SentencePieceVocabulary
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import UNK, Vocabulary
from electra_zh.text.wordpiece.splitting import CAPITAL_SIGMA
from electra_zh.text.wordpiece.tokenizer import MAX_WORD_CHARACTERS, punctuation_mapping

# The tables end here. Later code points are removed, and so are some variation selectors (marks).
_END = 0x40000
_SELECTORS = (0xE0100, 0xE01EF)
_A_SELECTOR = 0xFE00
_FINAL_SIGMA = 0x3C2
_SPACE = 0x20
# Words have no white space, so this can stand for a token that is in no text.
_NO_TOKEN = "\u2028"


class TextGraph(tf.Module):
    """The operations of one tokenizer; import tensorflow-text where the graph is loaded."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    @functools.cached_property
    def ids(self) -> Any:
        """The function from strings [B] to int32 [B, (tokens)]; invalid UTF-8 is removed."""
        texts = tf.TensorSpec([None], tf.string)
        return tf.function(self._ids, input_signature=[texts], autograph=False)

    def _ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        raise NotImplementedError

    def rows(
        self, first: tf.Tensor, second: tf.Tensor | None, *, max_seq_length: int
    ) -> dict[str, tf.Tensor]:
        """Returns `input_ids`, `input_mask` and `segment_ids`, int32 [B, longest row].

        Args:
          first: strings [B].
          second: strings [B], "" for a single text; None if all are single.
          max_seq_length: longer rows are cut at the end, pairs token by token at the longer text.
        """
        cls, sep = self._vocabulary.cls_id, self._vocabulary.sep_id
        a = self.ids(first)
        b = a[:, :0] if second is None else self.ids(second)
        has_second = tf.cast(b.row_lengths() > 0, tf.int64)
        room = max_seq_length - 2 - has_second
        lengths = cut_pair_lengths(a.row_lengths(), b.row_lengths(), room, xp=tf)
        a, b = (
            tf.RaggedTensor.from_tensor(rows.to_tensor(), lengths=kept)
            for rows, kept in zip((a, b), lengths, strict=True)
        )
        column = tf.fill([tf.shape(first)[0], 1], sep)
        last = tf.RaggedTensor.from_row_lengths(
            tf.fill([tf.reduce_sum(has_second)], sep), has_second
        )
        head = tf.concat([tf.fill(tf.shape(column), cls), a, column], 1)
        tail = tf.concat([b, last], 1)
        ids = tf.concat([head, tail], 1)
        segments = tf.concat([tf.zeros_like(head), tf.ones_like(tail)], 1)
        return {
            "input_ids": ids.to_tensor(self._vocabulary.pad_id),
            "input_mask": tf.ones_like(ids).to_tensor(0),
            "segment_ids": segments.to_tensor(0),
        }


class PieceGraph(TextGraph):
    """SentencePiece by the library's own operation: the model holds all rules."""

    def __init__(self, vocabulary: SentencePieceVocabulary) -> None:
        super().__init__(vocabulary)
        import tensorflow_text

        self._tokenizer: Any = tensorflow_text.SentencepieceTokenizer(
            vocabulary.model, out_type=tf.int32
        )

    def _ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        # Invalid UTF-8 becomes a character that is removed.
        valid = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        return self._tokenizer.tokenize(valid)


class WordPieceGraph(TextGraph):
    """WordPiece by the rules of `splitting`."""

    def __init__(self, vocabulary: Vocabulary, settings: TokenizerSettings) -> None:
        """Makes the tables, which takes about a second; raises UserError for word tokens."""
        if settings.word_tokens:
            raise UserError(
                "The model's tokenizer makes words one token (word_tokens), by jieba, which a "
                "TensorFlow graph cannot. Convert it to another form"
            )
        super().__init__(vocabulary)
        import tensorflow_text

        self._settings, tokens = settings, vocabulary.tokens
        mapping = punctuation_mapping(vocabulary) if settings.map_punctuation else {}
        chars = [chr(mapping.get(point, point)) for point in range(_END)]
        forms = [_form(char, settings) for char in chars]
        self._forms = np.array([ord(char) for form in forms for char in form], np.int32)
        self._ends = np.cumsum([0, *map(len, forms)], dtype=np.int64)
        self._cased, self._ignorable = _sigma_classes(chars)
        self._classes = code_point_table(unicodedata.combining, np.uint8)[:_END]
        self._is_mark = code_point_table(lambda c: unicodedata.category(c) == "Mn", np.bool_)[:_END]
        self._pieces: Any = tensorflow_text.FastWordpieceTokenizer(
            # With placeholders for the tokens that tensorflow-text does not accept.
            [t if t not in ("", "##") else f"{_NO_TOKEN}{i}" for i, t in enumerate(tokens)],
            token_out_type=tf.int32,
            unknown_token=UNK,
            no_pretokenization=True,
            max_bytes_per_word=4 * MAX_WORD_CHARACTERS,
        )

    def _ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        decoded = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
        # A space after each text, so that no rule reads into the next one.
        codes = tf.concat([decoded, tf.fill([tf.shape(texts)[0], 1], _SPACE)], 1)
        points = codes.flat_values
        is_selector = (points >= _SELECTORS[0]) & (points <= _SELECTORS[1])
        in_table = tf.minimum(tf.where(is_selector, _A_SELECTOR, points), _END - 1)
        codes = codes.with_flat_values(in_table)
        if self._settings.lower_case:
            codes = codes.with_flat_values(self._with_final_sigmas(codes.flat_values))
        table = tf.RaggedTensor.from_row_splits(self._forms, self._ends, validate=False)
        codes = tf.gather(table, codes).merge_dims(1, 2)
        if self._settings.strip_accents:
            codes = codes.with_flat_values(self._in_canonical_order(codes.flat_values))
            is_mark = tf.gather(self._is_mark, codes.flat_values)
            codes = tf.ragged.boolean_mask(codes, codes.with_flat_values(~is_mark))
        words = tf.strings.split(tf.strings.unicode_encode(codes, "UTF-8"))
        is_long = tf.strings.length(words.flat_values, "UTF8_CHAR") > MAX_WORD_CHARACTERS
        words = words.with_flat_values(tf.where(is_long, UNK, words.flat_values))
        return self._pieces.tokenize(words).merge_dims(1, 2)

    def _with_final_sigmas(self, codes: tf.Tensor) -> tf.Tensor:
        """Returns the codes [C] with final sigmas for the capital ones that end a word.

        Unicode's rule: a cased letter comes before and none after, ignorable ones not counted.
        """
        counts = tf.cast(~tf.gather(self._ignorable, codes), tf.int32)
        letters = tf.gather(self._cased, tf.boolean_mask(codes, counts > 0))
        letters = tf.concat([[False], letters, [False]], 0)
        number = tf.cumsum(counts)  # of each character that counts, from 1
        is_sigma = codes == ord(CAPITAL_SIGMA)
        before = tf.gather(letters, tf.maximum(number - 1, 0))
        after = tf.gather(letters, tf.minimum(number + 1, tf.size(letters) - 1))
        return tf.where(is_sigma & before & ~after, _FINAL_SIGMA, codes)

    def _in_canonical_order(self, codes: tf.Tensor) -> tf.Tensor:
        """Returns the codes [C] with combining marks in the order of decomposed text."""
        class_of = tf.cast(tf.gather(self._classes, codes), tf.int64)
        keys = tf.cumsum(tf.cast(class_of == 0, tf.int64)) * 256 + class_of
        # Sorting is slow, and nearly all text is in order.
        return tf.cond(
            tf.reduce_all(keys[1:] >= keys[:-1]),
            lambda: codes,
            lambda: tf.gather(codes, tf.argsort(keys, stable=True)),
        )


def make_text_graph(vocabulary: Vocabulary, settings: TokenizerSettings) -> TextGraph:
    """Returns the operations that give the ids of `make_tokenizer(vocabulary, settings)`."""
    if isinstance(vocabulary, SentencePieceVocabulary):
        return PieceGraph(vocabulary)
    return WordPieceGraph(vocabulary, settings)


def _form(char: str, settings: TokenizerSettings) -> str:
    """Returns the normal form of a single character, with spaces where words are cut.

    The combining marks of accents are kept here and dropped after they are sorted.
    """
    if characters.is_dropped(char):
        return ""
    form = char.lower() if settings.lower_case else char
    if settings.strip_accents:
        form = unicodedata.normalize("NFD", form)
    form = "".join(
        " " if each.isspace() else f" {each} " if characters.is_punctuation(each) else each
        for each in form
    )
    return f" {form} " if characters.is_cjk(ord(char)) else form


def _sigma_classes(chars: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each character whether it is a cased letter, and whether it is ignorable.

    Both come from `str.lower`, whose rule the graph must follow.
    """
    dropped, ends, keeps = (
        np.fromiter(map(condition, chars), np.bool_, len(chars))
        for condition in (
            characters.is_dropped,
            lambda char: f"{char}{CAPITAL_SIGMA}".lower()[-1] == chr(_FINAL_SIGMA),
            lambda char: f"A{char}{CAPITAL_SIGMA}".lower()[-1] == chr(_FINAL_SIGMA),
        )
    )
    return ends & ~dropped, dropped | (keeps & ~ends)
