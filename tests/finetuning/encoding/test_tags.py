"""Tags to entities and back, malformed sequences included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.errors import UserError
from electra_zh.finetuning.encoding.tags import entity_tags, tag_names, tags_to_entities
from electra_zh.finetuning.examples import Entity

TYPES = ["PER", "a-b"]
# The prefixes of other schemes in place of B, I, E, S.
SCHEMES = {"BIOES": "BIES", "BIO": "BIIB", "BMES": "BMES"}


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


@pytest.mark.parametrize("tag", ["B", "B_PER", "X-PER", "PER", "", "B-", "BI-PER", "o"])
def test_a_tag_of_another_form_is_named(tag: str) -> None:
    with pytest.raises(UserError, match=rf'tag "{tag}" at position 1 is not O, or B-, I-'):
        tags_to_entities(["O", tag])


def write_tags(entities: list[Entity], length: int, types: list[str]) -> list[str]:
    names, tags = tag_names(types), ["O"] * length
    for entity in entities:
        numbers = entity_tags(types.index(entity.type), entity.end - entity.start)
        tags[entity.start : entity.end] = [names[number] for number in numbers]
    return tags


def test_tags_of_entities() -> None:
    entities = [Entity("PER", 5, 7), Entity("ORG", 0, 3), Entity("LOC", 4, 5)]
    expected = "B-ORG I-ORG E-ORG O S-LOC B-PER E-PER"
    assert write_tags(entities, 7, ["PER", "ORG", "LOC"]) == expected.split()


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES.keys())
@given(sentence=_sentences())
def test_there_and_back(scheme: str, sentence: tuple[list[Entity], int]) -> None:
    entities, length = sentence
    tags = write_tags(entities, length, TYPES)
    assert len(tags) == length
    table = str.maketrans("BIES", scheme)
    tags = [tag[0].translate(table) + tag[1:] for tag in tags]
    assert tags_to_entities(tags) == entities


@given(tags=st.lists(st.sampled_from(["O", *(f"{p}-{t}" for p in "BIMES" for t in "xy")])))
def test_any_tags_give_entities_that_can_be_written(tags: list[str]) -> None:
    entities = tags_to_entities(tags)
    covered = {i for entity in entities for i in range(entity.start, entity.end)}
    assert covered == {i for i, tag in enumerate(tags) if tag != "O"}
    assert tags_to_entities(write_tags(entities, len(tags), ["x", "y"])) == entities


def test_tag_names() -> None:
    assert tag_names(["A"]) == ("O", "B-A", "I-A", "E-A", "S-A")
    assert tag_names([]) == ("O",)
