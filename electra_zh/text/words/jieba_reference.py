"""jieba itself, without effect on other uses of it in the process.

Its own way of loading is not used: it writes a cache into the folder for temporary files, which the
processes of a build would share, and logs to standard error. It keeps the words of frequency 0 in
a global set for all tokenizers; ours are swapped in only while one of our tokenizers runs.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from electra_zh.text.words.lists import DictionaryWord
from electra_zh.text.words.viterbi import WordModel


class Jieba:
    """jieba's tokenizer with its dictionary and further words.

    Attributes:
      frequencies: of each word; 0 of a prefix that is not a word. Read only.
      replaced: the previous frequency of each further word.
      total: jieba's sum of frequencies, in which a word that was added again counts again.
    """

    def __init__(self, entries: Sequence[DictionaryWord] = ()) -> None:
        """Loads the dictionary, which takes most of a second, and adds further words in order."""
        with warnings.catch_warnings():
            # Python warns of escapes in its regular expressions.
            warnings.simplefilter("ignore")
            import jieba
        tokenizer: Any = jieba.Tokenizer()
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
        tokenizer.initialized = True
        self._tokenizer = tokenizer
        self._forced: set[str] = set()
        self.frequencies: dict[str, int] = tokenizer.FREQ
        self.replaced = {word: self.frequencies.get(word, 0) for word, _ in entries}
        with self._own_forced_words():
            for word, frequency in entries:
                tokenizer.add_word(word, frequency)
        self.total: int = tokenizer.total

    def cut(self, text: str, *, hmm: bool) -> list[str]:
        """Returns the words of a text, white space and single characters included."""
        with self._own_forced_words():
            return list(self._tokenizer.cut(text, HMM=hmm))

    def word_model(self) -> WordModel:
        """Returns the model for words that are not in the dictionary."""
        from jieba.finalseg import emit_P, start_P, trans_P

        return WordModel(start_P, trans_P, emit_P)

    @contextlib.contextmanager
    def _own_forced_words(self) -> Iterator[None]:
        from jieba import finalseg

        others, finalseg.Force_Split_Words = finalseg.Force_Split_Words, self._forced
        try:
            yield
        finally:
            finalseg.Force_Split_Words = others
