"""Tokens of several ideographs, such as those of WoBERT's vocabulary.

WordPiece makes each ideograph a word, so no text gives these tokens. Here text is cut into words
first, by jieba's dictionary. A word of ideographs that is in the vocabulary is one token; all other
text is tokenized as before. Source: bert4keras, `Tokenizer(pre_tokenize=jieba.cut(HMM=False))`.
Parity: that code also cuts Cyrillic and kana into single letters; here they stay words.
"""

from __future__ import annotations

import string

import numpy as np

from electra_zh.text.characters import is_cjk, to_codepoints, to_text
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.splitting import character_forms
from electra_zh.text.words.jieba import JiebaSegmenter

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def count_word_tokens(vocabulary: Vocabulary) -> int:
    """Returns the number of tokens of several ideographs."""
    return len(_word_ids(vocabulary))


def unused_words(vocabulary: Vocabulary, settings: TokenizerSettings) -> list[str]:
    """Returns the tokens of several ideographs that no text has: those that jieba cuts, or all."""
    words = _word_ids(vocabulary)
    if not words or not settings.word_tokens:
        return list(words)
    used = set(WordTokens(vocabulary, settings).find("\n".join(words))[1].tolist())
    return [word for word, index in words.items() if index not in used]


def _word_ids(vocabulary: Vocabulary) -> dict[str, int]:
    return {
        token: index
        for token, index in vocabulary.ids.items()
        if len(token) > 1 and all(is_cjk(ord(char)) for char in token)
    }


class WordTokens:
    """Finds the words of a text that are tokens of several ideographs.

    Attributes:
      more: int32 [tokens], the number of ideographs of a token beyond its first one.
    """

    def __init__(self, vocabulary: Vocabulary, settings: TokenizerSettings) -> None:
        self._ids = _word_ids(vocabulary)
        self._lower_case = settings.lower_case
        self._forms = character_forms(settings)
        self._segmenter = JiebaSegmenter(hmm=False)
        self.more = np.zeros(vocabulary.size, np.int32)
        for token, index in self._ids.items():
            self.more[index] = len(token) - 1

    def find(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the last characters and the ids, int64 [words], of the words that are tokens."""
        codepoints = to_codepoints(text)
        forms = self._forms.take(codepoints)
        # Characters that are not always one word (Latin) are cut as jieba cuts them.
        normal = to_text(np.where(forms >= 0, forms, codepoints))
        if self._lower_case:
            normal = normal.translate(_LOWER)
        starts = np.flatnonzero(self._segmenter.starts(normal, to_codepoints(normal)))
        ends = np.append(starts[1:], len(text))
        several = ends - starts > 1
        starts, ends = starts[several], ends[several]
        bounds = zip(starts.tolist(), ends.tolist(), strict=True)
        get = self._ids.get
        ids = np.fromiter((get(normal[start:end], -1) for start, end in bounds), np.int64)
        return ends[ids >= 0] - 1, ids[ids >= 0]
