"""jieba itself, kept apart from what it shares with the rest of the process.

Its own way of loading is not used: it writes a cache into the folder for temporary files, where the
processes of a build would meet, and tells standard error about it. Words of frequency 0, which it
keeps for all tokenizers together, are put in its place for them only while one of ours is at work.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from electra_zh.text.words.lists import Entry
from electra_zh.text.words.viterbi import WordModel


class Jieba:
    """jieba's tokenizer with its dictionary and further words.

    Attributes:
      frequencies: of each word; 0 of what only begins one. Not to be changed.
      replaced: of each further word, its frequency before.
      total: jieba's sum of frequencies, in which a word that was added again counts again.
    """

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        """Loads the dictionary, which takes most of a second, and adds further words in order."""
        with warnings.catch_warnings():
            # Its regular expressions hold escapes that Python warns of.
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
        """Returns the model for words that the dictionary lacks."""
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
