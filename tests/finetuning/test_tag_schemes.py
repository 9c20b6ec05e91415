"""Tags into entities and back, malformed sequences among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import Entity
from electra_zh.finetuning.tag_schemes import (
    Scheme,
    entities_to_tags,
    tag_names,
    tags_to_entities,
)

SCHEMES: tuple[Scheme, ...] = ("BIO", "BIOES", "BMES")


@st.composite
def _sentences(draw: st.DrawFn) -> tuple[list[Entity], int]:
    """Entities that do not overlap, and the length of their sentence."""
    entities, position = [], 0
    for gap, size, type_ in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(["PER", "a-b"])))
    ):
        entities.append(Entity(type_, position + gap, position + gap + size))
        position += gap + size
    return entities, position + draw(st.integers(0, 2))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        # 张 三 在 北 京 大 学
        ("B-PER I-PER O B-ORG I-ORG I-ORG I-ORG", [("PER", 0, 2), ("ORG", 3, 7)]),
        ("B-PER E-PER O B-ORG I-ORG I-ORG E-ORG", [("PER", 0, 2), ("ORG", 3, 7)]),
        ("B-PER E-PER O B-ORG M-ORG M-ORG E-ORG", [("PER", 0, 2), ("ORG", 3, 7)]),
        ("S-LOC O S-LOC S-LOC", [("LOC", 0, 1), ("LOC", 2, 3), ("LOC", 3, 4)]),
        ("B-PER B-PER I-PER", [("PER", 0, 1), ("PER", 1, 3)]),
    ],
)
def test_well_formed_tags(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert tags_to_entities(tags.split()) == [Entity(*entity) for entity in expected]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O I-PER I-PER O", [("PER", 1, 3)]),  # I after O begins
        ("I-PER", [("PER", 0, 1)]),  # I begins a sentence
        ("B-PER I-LOC I-LOC", [("PER", 0, 1), ("LOC", 1, 3)]),  # another type begins
        ("B-PER E-LOC", [("PER", 0, 1), ("LOC", 1, 2)]),
        ("O E-PER O", [("PER", 1, 2)]),  # E after O is an entity of its own
        ("B-PER E-PER I-PER", [("PER", 0, 2), ("PER", 2, 3)]),  # after E nothing is open
        ("B-PER E-PER E-PER", [("PER", 0, 2), ("PER", 2, 3)]),
        ("S-PER I-PER", [("PER", 0, 1), ("PER", 1, 2)]),  # nor after S
        ("S-PER E-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("I-PER S-PER", [("PER", 0, 1), ("PER", 1, 2)]),  # S ends what is open
        ("B-PER M-PER O", [("PER", 0, 2)]),  # not closed
        ("B-PER I-PER", [("PER", 0, 2)]),  # not closed, end of sentence
        ("B-a-b I-a-b", [("a-b", 0, 2)]),  # the type holds a hyphen
    ],
)
def test_malformed_tags_are_read_as_conlleval_does(
    tags: str, expected: list[tuple[str, int, int]]
) -> None:
    assert tags_to_entities(tags.split()) == [Entity(*entity) for entity in expected]


def test_no_tags_no_entities() -> None:
    assert tags_to_entities([]) == []
    assert tags_to_entities(["O", "O"]) == []
    assert entities_to_tags([], 0) == []


@pytest.mark.parametrize("tag", ["B", "B_PER", "X-PER", "PER", "", "B-", "BI-PER", "o"])
def test_a_tag_of_another_form_is_named(tag: str) -> None:
    with pytest.raises(UserError, match=rf'tag "{tag}" at position 1 is not O or B-, I-'):
        tags_to_entities(["O", tag])


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("BIO", "B-ORG I-ORG I-ORG O B-LOC B-PER I-PER"),
        ("BIOES", "B-ORG I-ORG E-ORG O S-LOC B-PER E-PER"),
        ("BMES", "B-ORG M-ORG E-ORG O S-LOC B-PER E-PER"),
    ],
)
def test_writing_tags(scheme: Scheme, expected: str) -> None:
    entities = [Entity("PER", 5, 7), Entity("ORG", 0, 3), Entity("LOC", 4, 5)]
    assert entities_to_tags(entities, 7, scheme=scheme) == expected.split()


@pytest.mark.parametrize("scheme", SCHEMES)
@given(sentence=_sentences())
def test_there_and_back(scheme: Scheme, sentence: tuple[list[Entity], int]) -> None:
    entities, length = sentence
    tags = entities_to_tags(entities, length, scheme=scheme)
    assert len(tags) == length
    assert set(tags) <= set(tag_names(["PER", "a-b"], scheme=scheme))
    assert tags_to_entities(tags) == entities


@given(tags=st.lists(st.sampled_from(["O", *(f"{p}-{t}" for p in "BIMES" for t in "xy")])))
def test_any_tags_give_entities_that_can_be_written(tags: list[str]) -> None:
    entities = tags_to_entities(tags)
    covered = {i for entity in entities for i in range(entity.start, entity.end)}
    assert covered == {i for i, tag in enumerate(tags) if tag != "O"}
    assert tags_to_entities(entities_to_tags(entities, len(tags))) == entities


def test_overlapping_entities_are_an_error() -> None:
    with pytest.raises(UserError, match=r"start=1, end=3\) overlaps with another entity"):
        entities_to_tags([Entity("ORG", 0, 2), Entity("LOC", 1, 3)], 3)


@pytest.mark.parametrize(
    "entity", [Entity("A", 1, 1), Entity("A", 2, 4), Entity("A", -1, 1), Entity("", 0, 1)]
)
def test_an_entity_outside_of_the_sentence_is_an_error(entity: Entity) -> None:
    with pytest.raises(UserError, match="needs a type and 0 <= start < end <= 3"):
        entities_to_tags([entity], 3)


def test_tag_names() -> None:
    assert tag_names(["A", "B"], scheme="BIO") == ("O", "B-A", "I-A", "B-B", "I-B")
    assert tag_names(["A"]) == ("O", "B-A", "I-A", "E-A", "S-A")
    assert tag_names([]) == ("O",)


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(UserError, match=r'no tagging scheme "BIOSE".*BIO, BIOES, BMES'):
        tag_names(["A"], scheme="BIOSE")  # type: ignore[arg-type]
