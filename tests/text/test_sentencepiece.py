"""SentencePiece's tokenizer: the library's ids, and the right characters for each piece."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.data.build.pieces import token_stream
from electra_zh.text.sentencepiece.model import SPACE_MARK, SentencePieceVocabulary, load_processor
from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import TokenizedTexts
from support.piece_models import make_foreign, make_pieces, make_tokenizer

TOKENIZERS = {
    "unigram": make_tokenizer(),
    "bpe": make_tokenizer("bpe"),
    "bytes": make_tokenizer(byte_fallback=True),
    "cased": SentencePieceTokenizer(make_pieces(tokenizer=TokenizerSettings(False, False))),
    "foreign": SentencePieceTokenizer(SentencePieceVocabulary(make_foreign())),
}
EVERY = pytest.mark.parametrize("name", TOKENIZERS)
# Capitals, marks of their own, what NFKC takes apart or puts together, all kinds of spaces, what
# vanishes, what no model knows, halves of characters.
NASTY = list("aZbÉée，。“1２Ａ\u0301\u0327ﬁ㍿ｶﾞ각İßΣ中华国天地𠀀😀\u3000\u00a0\t \u2028\u0085")
NASTY += ["\x00", "\u200b", "\ufeff", "\ufffd", "\ud800", "\ue000", SPACE_MARK, "[MASK]", "<mask>"]
NASTY += ["Hello", "learning ", "  ", "人工智能", "2024"]
lines = st.lists(st.sampled_from(NASTY), max_size=14).map("".join)
texts = st.lists(st.one_of(st.sampled_from(NASTY), st.just("\n")), max_size=14).map("".join)


def _tokens(tokenizer: SentencePieceTokenizer, text: str) -> list[tuple[str, str]]:
    """Returns each piece with the text that it covers."""
    found = tokenizer.encode_batch([text])
    return [
        (tokenizer.vocabulary.tokens[index], text[start:end])
        for index, start, end in zip(found.ids, found.starts, found.ends, strict=True)
    ]


@EVERY
@settings(deadline=None)
@given(st.lists(lines, max_size=5).map("\n".join))
def test_a_block_is_its_lines(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    found = tokenizer.tokenize_text(text)
    each = [tokenizer.encode(line) for line in text.split("\n")]
    assert found.ids.tolist() == [index for line in each for index in line]
    assert found.line_ends.tolist() == np.cumsum(list(map(len, each))).tolist()
    assert len(found.codepoints) == len(found.token_ends) == len(text)
    assert (np.diff(found.token_ends, prepend=0) >= 0).all()
    # Counted after each line, a block counts the tokens of its lines.
    for place, char in enumerate(text):
        if char == "\n":
            assert found.token_ends[place] in found.line_ends
    assert not text or found.token_ends[-1] == len(found.ids)


@EVERY
@settings(deadline=None)
@given(st.lists(texts, max_size=4))
def test_offsets_match_those_of_the_library(name: str, some: list[str]) -> None:
    tokenizer = TOKENIZERS[name]
    processor = load_processor(tokenizer.vocabulary.model)
    found = tokenizer.encode_batch(some)
    begin = 0
    for text, end in zip(some, found.text_ends.tolist(), strict=True):
        clean = text.replace("\ud800", "\ufffd")
        expected = processor.Encode(clean, out_type="offset_mapping")
        assert found.ids[begin:end].tolist() == expected["ids"] == tokenizer.encode(text)
        starts, ends = found.starts[begin:end], found.ends[begin:end]
        assert (np.diff(starts) >= 0).all()
        assert (np.diff(ends) >= 0).all()
        assert (starts >= 0).all()
        assert (ends <= len(text)).all()
        for piece, start, stop, (first, last) in zip(
            expected["pieces"], starts.tolist(), ends.tolist(), expected["offsets"], strict=True
        ):
            # The library counts the space to the word, and gives nothing to a part of a character.
            assert first <= start <= stop
            is_part = text[first:last] == "" or len(text[start:stop]) == 1
            assert is_part or not text[stop:last].strip()
            assert start < stop or piece == SPACE_MARK
        begin = end


@EVERY
@settings(deadline=None)
@given(st.lists(texts, max_size=4))
def test_many_texts_are_as_each_alone(name: str, some: list[str]) -> None:
    tokenizer = TOKENIZERS[name]
    together = tokenizer.encode_batch(some)
    alone = [tokenizer.encode_batch([text]) for text in some]
    for field in ("ids", "starts", "ends", "continues"):
        parts = [getattr(each, field) for each in alone]
        assert getattr(together, field).tolist() == [x for part in parts for x in part.tolist()]
    counts = [len(each.ids) for each in alone]
    assert together.text_ends.tolist() == np.cumsum(counts).tolist()


def test_chinese_words_are_pieces() -> None:
    assert _tokens(TOKENIZERS["unigram"], "我们研究人工智能。") == [
        ("我们", "我们"),
        ("研究", "研究"),
        ("人工智能", "人工智能"),
        ("。", "。"),
    ]


@EVERY
def test_special_tokens_are_plain_text_when_spelt_out(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    vocabulary = tokenizer.vocabulary
    special = {vocabulary.pad_id, vocabulary.cls_id, vocabulary.sep_id, vocabulary.mask_id}
    assert not special & set(tokenizer.encode("[PAD][CLS][SEP][MASK]<pad><cls><sep><mask>"))


def test_accents_written_as_marks_belong_to_their_letter() -> None:
    pieces = _tokens(TOKENIZERS["unigram"], "cafe\u0301 天")
    assert "".join(text for _, text in pieces if text.strip()) == "cafe\u0301天"
    assert pieces[-1] == ("天", "天")
    assert all("é" not in piece for piece, _ in pieces)


def test_spaces_are_left_out_of_words() -> None:
    found = _tokens(TOKENIZERS["unigram"], "天 \u3000 hello  ")
    assert [text for piece, text in found if piece != SPACE_MARK] == ["天", "hello"]
    assert found[1][0].startswith(SPACE_MARK)


def test_full_width_letters_do_not_change() -> None:
    assert TOKENIZERS["unigram"].tokens("天，地")[1] == "，"
    foreign = _tokens(TOKENIZERS["foreign"], "天２０２４，地")
    assert "".join(text for _, text in foreign) == "天２０２４，地"
    assert all("２" not in piece for piece, _ in foreign)


def test_each_part_of_a_character_covers_it() -> None:
    found = _tokens(TOKENIZERS["foreign"], "天㍻地")
    assert [text for _, text in found if text not in ("", "天", "地")] == ["㍻"] * (len(found) - 3)


def test_bytes_cover_their_character() -> None:
    tokenizer = TOKENIZERS["bytes"]
    assert _tokens(tokenizer, "天豈地")[1:4] == [(f"<0x{b:02X}>", "豈") for b in "豈".encode()]
    found = tokenizer.encode_batch(["豈豈"])
    assert found.starts.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.continues.tolist() == [False, True, True] * 2
    assert not tokenizer.unknowns


def test_stretches_without_pieces_are_one_unknown_and_counted() -> None:
    tokenizer = make_tokenizer()
    tokenizer.unknowns.clear()
    assert _tokens(tokenizer, "天😀𠀀地豈") == [
        ("天", "天"),
        ("[UNK]", "😀𠀀"),
        ("地", "地"),
        ("[UNK]", "豈"),
    ]
    assert tokenizer.unknowns == {"😀𠀀": 1, "豈": 1}


def test_pieces_inside_a_word_continue_it() -> None:
    tokenizer = TOKENIZERS["unigram"]
    found = tokenizer.encode_batch(["xyz天xy 12", "z"])
    pieces = [tokenizer.vocabulary.tokens[index] for index in found.ids]
    texts = ["xyz天xy 12", "z"]
    assert "".join(pieces).replace("[UNK]", "") == "天" + SPACE_MARK + "12" or pieces
    begin = 0
    for text, end in zip(texts, found.text_ends.tolist(), strict=True):
        for number in range(begin, end):
            start = found.starts[number]
            inside = start > 0 and (text[start - 1] + text[start]).isalnum()
            inside = inside and (text[start - 1] + text[start]).isascii()
            assert found.continues[number] == inside, pieces[number]
        begin = end


def test_parts_of_a_text_have_a_space_before_them_only_where_they_have_one() -> None:
    own, foreign = TOKENIZERS["unigram"], TOKENIZERS["foreign"]
    for tokenizer in (own, foreign):
        assert tokenizer.encode("天地", inside=True) == [tokenizer.vocabulary.ids["天地"]], (
            tokenizer.tokens("天地")
        )
        ids = tokenizer.encode(" hello ", inside=True)
        assert tokenizer.vocabulary.tokens[ids[0]].startswith(SPACE_MARK)
    assert foreign.tokens("天地")[0].startswith(SPACE_MARK)
    assert own.tokens(" hello")[0][0] != SPACE_MARK


@settings(deadline=None)
@given(st.lists(st.tuples(lines, st.booleans()), max_size=6))
def test_parts_of_texts_together_are_as_each_alone(some: list[tuple[str, bool]]) -> None:
    tokenizer = TOKENIZERS["foreign"]
    parts, inside = [part for part, _ in some], [flag for _, flag in some]
    found = tokenizer.encode_batch(parts, inside=inside)
    begin = 0
    for part, flag, end in zip(parts, inside, found.text_ends.tolist(), strict=True):
        assert found.ids[begin:end].tolist() == tokenizer.encode(part, inside=flag)
        alone: TokenizedTexts = tokenizer.encode_batch([part], inside=[flag])
        assert found.starts[begin:end].tolist() == alone.starts.tolist()
        begin = end


def test_sentences_end_stop_their_marks() -> None:
    tokenizer = TOKENIZERS["unigram"]
    text = "我们研究语言。“天地在。”日月的结果。\n\n模型。"
    stream = token_stream(tokenizer.tokenize_text(text), text, packing="full", max_length=32)
    begin, found = 0, []
    for end in stream.piece_ends.tolist():
        found.append("".join(tokenizer.vocabulary.tokens[i] for i in stream.ids[begin:end]))
        begin = end
    assert found == ["我们研究语言。", "“天地在。”", "日月的结果。", "模型。"]
    assert len(stream.document_ends) == 1


def test_a_copy_for_another_process_gives_the_same() -> None:
    tokenizer = TOKENIZERS["bytes"]
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode("天地hello豈") == tokenizer.encode("天地hello豈")


@settings(deadline=None)
@given(st.lists(lines, max_size=5))
def test_offsets_of_a_block_match_those_of_its_lines(some: list[str]) -> None:
    tokenizer = TOKENIZERS["unigram"]
    text = "\n".join(some)
    covered = tokenizer.find_covered(text, tokenizer.tokenize_text(text))
    expected = tokenizer.encode_batch(some)
    begins = np.cumsum([0, *(len(line) + 1 for line in some)])
    of = np.repeat(np.arange(len(some)), np.diff(expected.text_ends, prepend=0))
    assert covered.starts.tolist() == (expected.starts + begins[of]).tolist()
    assert covered.ends.tolist() == (expected.ends + begins[of]).tolist()
    assert covered.continues.tolist() == expected.continues.tolist()
    assert covered.starts.dtype == np.int32
