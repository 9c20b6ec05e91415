"""Which tokens of one vocabulary are those of another, and which make up one that it lacks.

Between WordPiece and SentencePiece "##ing" and a piece "ing" are the same, and so are "the" and the
piece that begins with the mark of a space. Where a vocabulary has only one of the two forms of a
token, that one is taken. Ideographs and punctuation are words of their own to WordPiece, and have
no mark in SentencePiece.
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
    """Returns for each token of `new` the id that it has in `old`, -1 where it has none."""
    if type(new) is type(old):
        same = [old.ids.get(token, -1) for token in new.tokens]
    else:
        same = [_translated(token, new, old) for token in new.tokens]
    for role in _ROLES:
        same[getattr(new, role)] = getattr(old, role)
    return same


def parts(token: str, new: Vocabulary, old: Vocabulary) -> list[int]:
    """Returns the ids in `old` whose rows make a token's row; none for a token of unknown parts.

    Args:
      token: one that `old` does not have.
      new: the vocabulary that it is of.
      old: the vocabulary whose rows there are.
    """
    if type(new) is type(old) is Vocabulary:
        return _wordpieces(token, old.ids)
    if _BYTE_OR_BRACKETED.match(token):
        return []
    body, begins = new.word_part(token)
    found: list[int] = []
    start = 0
    while start < len(body):
        end = len(body)
        while (index := _find(body[start:end], old, begins=begins and not start)) < 0:
            end -= 1
            if end == start:
                break
        if index >= 0:
            found.append(index)
        # A character that there is no row for is passed over.
        start = max(end, start + 1)
    return found


def _translated(token: str, new: Vocabulary, old: Vocabulary) -> int:
    if _BYTE_OR_BRACKETED.match(token):
        return -1
    body, begins = new.word_part(token)
    return _find(body, old, begins=begins)


def _find(body: str, vocabulary: Vocabulary, *, begins: bool) -> int:
    """Returns the id of the token of these characters, -1 without one."""
    forms = vocabulary.spellings(body, begins=begins) if body else []
    return next((vocabulary.ids[form] for form in forms if form in vocabulary.ids), -1)


def _wordpieces(token: str, ids: Mapping[str, int]) -> list[int]:
    if _BRACKETED.match(token):
        return []
    body = token.removeprefix("##")
    continues = body != token and bool(body)
    pieces = _cut(body if continues else token, ids, continues=continues)
    if pieces:
        return pieces
    found = []
    for character in body:
        number = ids.get(character, ids.get(f"##{character}"))
        if number is not None:
            found.append(number)
    return found


def _cut(word: str, ids: Mapping[str, int], *, continues: bool) -> list[int]:
    """Returns the word's pieces by longest match first; none where a stretch is unknown."""
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
