"""Tags of a sentence into entities and back: BIO, BIOES and BMES.

A tag is `O` or a prefix, a hyphen and a type, as `B-ORG`; the type may hold hyphens itself.
Reading is lenient, because a model's tags need not follow any grammar; writing is strict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from electra_zh.errors import UserError, did_you_mean
from electra_zh.finetuning.examples import Entity

Scheme = Literal["BIO", "BIOES", "BMES"]

OUTSIDE = "O"
# Scheme -> the prefixes of an entity's first, inner and last unit, and of an entity of one unit.
_PREFIXES: dict[str, tuple[str, str, str, str]] = {
    "BIO": ("B", "I", "I", "B"),
    "BIOES": ("B", "I", "E", "S"),
    "BMES": ("B", "M", "E", "S"),
}


def tags_to_entities(tags: Sequence[str]) -> list[Entity]:
    """Returns the entities that tags of any of the schemes stand for.

    Malformed sequences are read as conlleval reads them (the script of the CoNLL shared tasks,
    `startOfChunk` and `endOfChunk`): a tag that continues nothing begins an entity, as does one of
    another type than its predecessor; an entity that is not closed ends where the next begins, at
    `O`, or with the sentence.

    Args:
      tags: one for each unit (character, word or token); M counts as I.

    Returns:
      Entities over positions in `tags`, the end exclusive, in the order of their starts.

    Raises:
      UserError: a tag is not of the form above.
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


def entities_to_tags(
    entities: Iterable[Entity], length: int, *, scheme: Scheme = "BIOES"
) -> list[str]:
    """Returns the tags that stand for the entities.

    Args:
      entities: over positions 0 to `length`, the end exclusive, in any order.
      length: number of units.
      scheme: BIOES or BMES, where an entity of one unit is tagged S; or BIO.

    Raises:
      UserError: an entity is empty, leaves the sentence, overlaps with another, or has no type.
    """
    first, inner, last, single = _prefixes(scheme)
    tags = [OUTSIDE] * length
    for entity in entities:
        type_, start, end = entity.type, entity.start, entity.end
        if not (type_ and 0 <= start < end <= length):
            raise UserError(
                f"{entity} cannot be tagged: it needs a type and 0 <= start < end <= {length}"
            )
        if any(tag != OUTSIDE for tag in tags[start:end]):
            raise UserError(f"{entity} overlaps with another entity; tags cannot tell them apart")
        tags[start:end] = [f"{inner}-{type_}"] * (end - start)
        tags[end - 1] = f"{last}-{type_}"
        tags[start] = f"{single if end - start == 1 else first}-{type_}"
    return tags


def tag_names(types: Iterable[str], *, scheme: Scheme = "BIOES") -> tuple[str, ...]:
    """Returns all tags of a scheme: `O`, then each type's in the scheme's order."""
    prefixes = list(dict.fromkeys(_prefixes(scheme)))
    return (OUTSIDE, *(f"{prefix}-{type_}" for type_ in types for prefix in prefixes))


def _prefixes(scheme: str) -> tuple[str, str, str, str]:
    if scheme not in _PREFIXES:
        allowed = ", ".join(get_args(Scheme))
        raise UserError(
            f'no tagging scheme "{scheme}".{did_you_mean(scheme, _PREFIXES)} It is one of {allowed}'
        )
    return _PREFIXES[scheme]


def _split(tag: str, position: int) -> tuple[str, str]:
    """Returns a tag's prefix, with M as I, and its type; both of `O` are `O`."""
    if tag == OUTSIDE:
        return OUTSIDE, OUTSIDE
    prefix, hyphen, type_ = tag.partition("-")
    if prefix not in ("B", "I", "M", "E", "S") or not hyphen or not type_:
        raise UserError(
            f'tag "{tag}" at position {position} is not O or B-, I-, M-, E- or S- and a type'
        )
    return ("I" if prefix == "M" else prefix), type_
