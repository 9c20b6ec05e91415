"""Matching of tokens between vocabularies: equal tokens, and the parts of a missing one.

Between WordPiece and SentencePiece "##ing" equals a piece "ing", and "the" equals the piece that
begins with the mark of a space. If a vocabulary has only one of the two forms of a token, that one
is taken. Ideographs and punctuation are words of their own to WordPiece, and have no mark in
SentencePiece.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from electra_zh.text.vocabulary import Vocabulary

# [PAD], [unused7]: their letters mean nothing.
_BRACKETED = re.compile(r"^\[.+\]$")
_BYTE_OR_BRACKETED = re.compile(r"^(\[.+\]|<.+>)$")
_ROLES = ("pad_id", "unk_id", "cls_id", "sep_id", "mask_id")


def same_tokens(new: Vocabulary, old: Vocabulary) -> list[int]:
    """Returns the id in `old` of each token of `new`, -1 for tokens that `old` does not have."""
    if type(new) is type(old):
        same = [old.ids.get(token, -1) for token in new.tokens]
    else:
        same = [
            -1 if _BYTE_OR_BRACKETED.match(token) else _find(*new.word_part(token), old)
            for token in new.tokens
        ]
    for role in _ROLES:
        same[getattr(new, role)] = getattr(old, role)
    return same


def parts(token: str, new: Vocabulary, old: Vocabulary) -> list[int]:
    """Returns the ids of `old` whose rows make up the row of a token that only `new` has."""
    if type(new) is type(old) is Vocabulary:
        return _wordpieces(token, old.ids)
    if _BYTE_OR_BRACKETED.match(token):
        return []
    body, begins = new.word_part(token)
    found: list[int] = []
    start = 0
    while start < len(body):
        # The longest known token from here; an unknown character is skipped.
        for end in range(len(body), start, -1):
            index = _find(body[start:end], begins and not start, old)
            if index >= 0:
                found.append(index)
                break
        start = end
    return found


def _find(body: str, begins: bool, vocabulary: Vocabulary) -> int:
    """Returns the id of the token of these characters, -1 without one."""
    forms = vocabulary.spellings(body, begins=begins) if body else []
    return next((vocabulary.ids[form] for form in forms if form in vocabulary.ids), -1)


def _wordpieces(token: str, ids: Mapping[str, int]) -> list[int]:
    """Returns the pieces of a WordPiece token; if one is missing, its characters' ids."""
    if _BRACKETED.match(token):
        return []
    body = token.removeprefix("##")
    continues = body != token and bool(body)
    pieces = _cut(body if continues else token, ids, continues=continues)
    if pieces:
        return pieces
    known = (ids.get(character, ids.get(f"##{character}")) for character in body)
    return [number for number in known if number is not None]


def _cut(word: str, ids: Mapping[str, int], *, continues: bool) -> list[int]:
    """Returns the word's pieces by longest match first; empty if any part is unknown."""
    pieces: list[int] = []
    start = 0
    while start < len(word):
        prefix = "##" if continues or start else ""
        for end in range(len(word), start, -1):
            number = ids.get(prefix + word[start:end])
            if number is not None:
                pieces.append(number)
                start = end
                break
        else:
            return []
    return pieces
