"""Tags of words: the BIOES tags that models predict, and reading tags of files.

A tag is `O` or a prefix, a hyphen and a type, as `B-ORG`; the type may contain hyphens itself.
Reading is lenient and takes BIO, BIOES and BMES, because tags need not follow any grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import Entity

OUTSIDE = "O"
# A tag of a file, which may also have an underscore for the hyphen.
FILE_TAG = re.compile(f"{OUTSIDE}|[BIMES][-_].+")


def tag_names(types: Iterable[str]) -> tuple[str, ...]:
    """Returns the BIOES tags of entity types, `O` first: the outputs of a tagging head."""
    return (OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in "BIES"))


def entity_tags(type_number: int, words: int) -> list[int]:
    """Returns the tags of an entity's words, as indices into `tag_names`.

    Args:
      type_number: index of the entity's type.
      words: how many words it has, at least 1.
    """
    first, inner, last, single = range(1 + 4 * type_number, 5 + 4 * type_number)
    return [single] if words == 1 else [first, *[inner] * (words - 2), last]


def is_continued(tag: str) -> bool:
    """Returns whether a BIOES tag's entity has a next word."""
    return tag[0] in "BI"


def may_follow(before: str, after: str) -> bool:
    """Returns whether a BIOES tag may follow another."""
    continues = after[0] in "IE"
    if is_continued(before):
        return continues and before[1:] == after[1:]
    return not continues


def tags_to_entities(tags: Sequence[str]) -> list[Entity]:
    """Returns the entities of tags of any of the schemes.

    Malformed sequences are read as conlleval reads them (the script of the CoNLL shared tasks,
    `startOfChunk` and `endOfChunk`): a tag that continues nothing begins an entity, as does a tag
    of another type than the one before; an open entity ends where the next begins, at `O`, or with
    the sentence.

    Args:
      tags: one for each unit (character, word or token); M counts as I.

    Returns:
      Entities over positions in `tags`, the end exclusive, in the order of their starts.

    Raises:
      UserError: a tag is malformed.
    """
    entities: list[Entity] = []
    open_type: str | None = None
    start = 0
    for position, tag in enumerate(tags):
        prefix, type_ = _split(tag, position)
        if open_type is not None and (prefix in "OBS" or type_ != open_type):
            entities.append(Entity(open_type, start, position))
            open_type = None
        if prefix == OUTSIDE:
            continue
        if open_type is None:
            open_type, start = type_, position
        if prefix in "ES":
            entities.append(Entity(open_type, start, position + 1))
            open_type = None
    if open_type is not None:
        entities.append(Entity(open_type, start, len(tags)))
    return entities


def _split(tag: str, position: int) -> tuple[str, str]:
    """Returns a tag's prefix, with M as I, and its type; both of `O` are `O`."""
    if tag == OUTSIDE:
        return OUTSIDE, OUTSIDE
    prefix, hyphen, type_ = tag.partition("-")
    if prefix not in ("B", "I", "M", "E", "S") or not hyphen or not type_:
        raise UserError(
            f'tag "{tag}" at position {position} is not O, or B-, I-, M-, E- or S- with a type'
        )
    return ("I" if prefix == "M" else prefix), type_
