"""Tasks that point into their texts, over pieces of several characters and several of one."""

from __future__ import annotations

import numpy as np
import pytest

from electra_zh.finetuning.encoding.answers import find_targets, tokenize_distinct
from electra_zh.finetuning.encoding.words import find_words, gold_tags
from electra_zh.finetuning.examples import (
    Answer,
    Blank,
    ClozeExample,
    Entity,
    QuestionExample,
    TaggedExample,
)
from electra_zh.finetuning.kinds.cloze import Cloze
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.text.sentencepiece.model import SentencePieceVocabulary
from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from support.piece_models import make_foreign, make_tokenizer

OWN, BYTES = make_tokenizer(), make_tokenizer(byte_fallback=True)
FOREIGN = SentencePieceTokenizer(SentencePieceVocabulary(make_foreign()))
EVERY = pytest.mark.parametrize("tokenizer", [OWN, BYTES, FOREIGN], ids=["own", "bytes", "foreign"])


def _tagged(text: str, *entities: tuple[int, int]) -> TaggedExample:
    found = tuple(Entity("ORG", start, end) for start, end in entities)
    return TaggedExample(0, text, None, found, "made, line 1")


@EVERY
@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("我们在北京大学学习", "北京大学"),
        ("北京大学，天地", "北京大学"),
        ("天地 Hello world。", "Hello"),
        ("在豈豈的", "豈豈"),
        ("的 天地", "天地"),
        ("我们1949年", "1949"),
    ],
)
def test_entities_at_pieces_have_tags(
    tokenizer: SentencePieceTokenizer, text: str, mention: str
) -> None:
    start = text.index(mention)
    example = _tagged(text, (start, start + len(mention)))
    words = find_words([example], tokenizer.encode_batch([text]))
    gold = gold_tags([example], words, {"ORG": 0})
    assert not gold.unfit
    tagged = np.flatnonzero(gold.tags)
    assert (words.starts[tagged[0]], words.ends[tagged[-1]]) == (start, start + len(mention))


def test_an_entity_inside_a_piece_cannot_be_shown() -> None:
    example = _tagged("我们在北京大学学习", (3, 5))
    assert example.entities is not None
    words = find_words([example], OWN.encode_batch([example.text]))
    assert gold_tags([example], words, {"ORG": 0}).unfit == [(0, example.entities[0])]


def test_an_entity_of_an_unknown_type_cannot_be_shown() -> None:
    example = _tagged("天地玄黄", (0, 2))
    assert example.entities is not None
    words = find_words([example], OWN.encode_batch([example.text]))
    assert not gold_tags([example], words, {"ORG": 0}).unfit
    assert gold_tags([example], words, {"LOC": 0}).unfit == [(0, example.entities[0])]


@EVERY
@pytest.mark.parametrize(
    ("context", "answer", "covered"),
    [
        ("我们在北京大学学习语言。", "北京大学", "北京大学"),
        ("我们在北京大学学习语言。", "大学", "北京大学"),
        ("天地 Hello  World。", "World", "World"),
        ("的豈，", "豈", "豈"),
        ("的Cafe\u0301，", "Cafe\u0301", "Cafe\u0301"),
        ("天地的", "天", "天地"),
    ],
)
def test_answers_are_the_pieces_that_have_their_characters(
    tokenizer: SentencePieceTokenizer, context: str, answer: str, covered: str
) -> None:
    example = QuestionExample(
        "1", "的", context, (Answer(answer, context.index(answer)),), "", "line 1"
    )
    contexts = tokenize_distinct(tokenizer, [context])
    targets = find_targets([example], contexts)
    assert targets.found.all()
    first, last = targets.first[0], targets.last[0]
    found = context[contexts.tokens.starts[first] : contexts.tokens.ends[last]]
    assert answer in found
    # No piece too many: the outer ones have characters of the answer.
    start = context.index(answer)
    assert contexts.tokens.ends[first] > start
    assert contexts.tokens.starts[last] < start + len(answer)
    if tokenizer is OWN:
        assert found == covered


@EVERY
def test_the_text_behind_a_blank_is_not_the_beginning_of_one(
    tokenizer: SentencePieceTokenizer,
) -> None:
    task = TaskConfig(name="made", kind="cloze", reader="chid", metric="accuracy")
    blank = Blank("#1#", 0, 2, 3, 0)
    example = ClozeExample(0, ("天地#人工智能",), (blank,), ("学习",), "line 1")
    rows = Cloze(task, max_seq_length=24).encode([example], tokenizer, training=True)
    tokens = [tokenizer.vocabulary.tokens[index] for index in rows.ids]
    assert tokens[-2] == "人工智能"
    mask = tokenizer.vocabulary.tokens[tokenizer.vocabulary.mask_id]
    assert tokens[-3] == mask
