"""Training a WordPiece vocabulary for text that is rich in Latin, with tensorflow-text's learner.

It chooses pieces by how often a longest match, as the tokenizer does it, would use them, and takes
minutes.
"""

from __future__ import annotations

import functools

from electra_zh.text.wordpiece.train import MAX_PIECE_CHARACTERS, Words, build_vocab

# The learner is plain Python: the rarest words beyond these are dropped.
_MAX_WORDS = 200_000


def match_pieces(words: Words, alphabet: set[str], number: int) -> list[str]:
    """Learns pieces by longest matches, a `Learner`."""
    from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib as library

    words = [word for word in words if len(word[0]) <= MAX_PIECE_CHARACTERS]
    if not words or number <= 0:
        return []
    pieces: list[str] = []
    # It finds the lowest count of a piece that gives at most the given number; in a small corpus
    # the next count gives far fewer.
    for factor in (1, 2, 4):
        tokens = library.learn(
            words[:_MAX_WORDS],
            vocab_size=factor * number + 2 * len(alphabet),
            reserved_tokens=[],
            lower_thresh=1,
            max_token_length=MAX_PIECE_CHARACTERS,
            max_unique_chars=len(alphabet),
        )
        pieces = [token for token in tokens if len(token.removeprefix("##")) > 1]
        if len(pieces) >= 0.95 * number:
            break
    return pieces[:number]


TRAINER = functools.partial(build_vocab, piece_share=0.5, learn=match_pieces)
