"""Packing: the reference's examples exactly, or every token of the corpus."""

from __future__ import annotations

import hashlib
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.data.build import packing
from electra_zh.data.build.pieces import TokenStream, token_stream
from electra_zh.data.build.settings import Packing
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

GOLDEN = Path(__file__).parents[2] / "golden" / "packing.npz"
LETTERS = "天地玄黄宇宙洪荒"
MARKS = "。！？；…，、：,:;.!?”’」』）》) \n"
BLANK = -1
SEP = SPECIAL_TOKENS.index("[SEP]")


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer(
        Vocabulary(
            [*SPECIAL_TOKENS, *LETTERS, *MARKS.replace("\n", "").replace(" ", ""), "a", "##a", "1"]
        )
    )


def _stream_of_lines(line_tokens: list[int]) -> TokenStream:
    """A stream whose ids are positions; `BLANK` is a blank line."""
    lengths = np.maximum(np.array(line_tokens, np.int64), 0)
    ends = np.cumsum(lengths)
    blank_ends = ends[np.array(line_tokens) == BLANK]
    return TokenStream(
        np.arange(ends[-1] if len(ends) else 0, dtype=np.int32),
        np.unique(ends[lengths > 0]),
        np.unique(blank_ends),
    )


def _packer(kind: Packing, length: int, seed: int) -> packing.Packer:
    generator = random.Random(seed)
    return packing.PACKERS[kind](max_length=length, sep_id=SEP, generator=generator)


def _pack(kind: Packing, streams: list[TokenStream], *, length: int, seed: int) -> packing.Examples:
    packer = _packer(kind, length, seed)
    made = [packer.add(stream) for stream in streams] + [packer.finish()]
    return packing.Examples(*(np.concatenate(parts) for parts in zip(*made, strict=True)))


def _full(
    tokenizer: WordPieceTokenizer,
    texts: list[str],
    *,
    length: int,
    seed: int = 0,
    kind: Packing = "full",
) -> tuple[packing.Examples, list[int]]:
    """Packs texts one after the other; also returns all their tokens."""
    streams, ids = [], []
    for text in texts:
        tokenized = tokenizer.tokenize_text(text)
        streams.append(token_stream(tokenized, text, packing=kind, max_length=length))
        ids.extend(tokenized.ids.tolist())
    return _pack(kind, streams, length=length, seed=seed), ids


@pytest.mark.parametrize(("length", "seed"), list(itertools.product([128, 512], [0, 1])))
def test_reference_packing_is_the_reference(length: int, seed: int) -> None:
    golden = np.load(GOLDEN)
    stream = _stream_of_lines(golden["line_tokens"].tolist())
    examples = _pack("reference", [stream], length=length, seed=seed)
    name = f"L{length}_seed{seed}"
    assert np.array_equal(examples.first_lengths, golden[f"first_{name}"])
    assert np.array_equal(examples.second_lengths, golden[f"second_{name}"])
    digest = hashlib.sha256(examples.ids.astype("<i8").tobytes()).digest()
    assert digest == golden[f"positions_{name}"].tobytes()


def _plain_reference(
    line_tokens: list[int], length: int, seed: int
) -> list[tuple[list[int], list[int]]]:
    """The reference's example builder, written down plainly."""
    generator = random.Random(seed)
    examples = []
    sentences: list[list[int]] = []
    pending, target, position = 0, length, 0

    def make() -> None:
        nonlocal sentences, pending, target
        limit = 100_000 if generator.random() < 0.1 else (target - 3) // 2
        first: list[int] = []
        second: list[int] = []
        for sentence in sentences:
            if (
                not first
                or len(first) + len(sentence) < limit
                or (not second and len(first) < limit and generator.random() < 0.5)
            ):
                first += sentence
            else:
                second += sentence
        first = first[: length - 2]
        examples.append((first, second[: max(0, length - len(first) - 3)]))
        sentences, pending, target = [], 0, length
        if generator.random() < 0.05:
            target = generator.randint(5, length)

    for count in [*line_tokens, BLANK]:
        if count == BLANK and pending:
            make()
            continue
        count = max(count, 0)
        sentences.append(list(range(position, position + count)))
        position += count
        pending += count
        if pending >= target:
            make()
    return examples


def _segments(examples: packing.Examples) -> list[tuple[list[int], list[int]]]:
    ids = iter(examples.ids.tolist())
    return [
        (list(itertools.islice(ids, first)), list(itertools.islice(ids, second)))
        for first, second in zip(
            examples.first_lengths.tolist(), examples.second_lengths.tolist(), strict=True
        )
    ]


@settings(deadline=None)
@given(
    st.lists(st.integers(BLANK, 30), max_size=120),
    st.sampled_from([8, 16, 40]),
    st.integers(0, 5),
    st.integers(0, 120),
)
def test_reference_packing_of_any_lines(lines: list[int], length: int, seed: int, cut: int) -> None:
    streams = [_stream_of_lines(part) for part in (lines[:cut], lines[cut:])]
    shift = len(streams[0].ids)
    streams[1] = streams[1]._replace(ids=streams[1].ids + shift)
    examples = _pack("reference", streams, length=length, seed=seed)
    assert _segments(examples) == _plain_reference(lines, length, seed)


def test_reference_packing_counts_what_it_drops() -> None:
    stream = _stream_of_lines([50, BLANK, 10, 10, 10, BLANK])
    packer = _packer("reference", 16, 0)
    kept = len(packer.add(stream).ids) + len(packer.finish().ids)
    assert kept + sum(packer.dropped.values()) == 80
    assert packer.dropped[packing.FIRST_CUT] >= 36


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet=LETTERS + MARKS + "a1", max_size=200), max_size=4),
    st.sampled_from([8, 9, 16, 33, 128]),
    st.integers(0, 3),
)
def test_full_packing_loses_nothing(
    tokenizer: WordPieceTokenizer, texts: list[str], length: int, seed: int
) -> None:
    examples, ids = _full(tokenizer, texts, length=length, seed=seed)
    first, second = examples.first_lengths, examples.second_lengths
    assert examples.ids.tolist() == ids
    assert (first >= 1).all()
    assert (second >= 0).all()
    assert (first + second + 2 + (second > 0) <= length).all()
    assert first.sum() + second.sum() == len(ids)
    again, _ = _full(tokenizer, texts, length=length, seed=seed)
    assert again.first_lengths.tolist() == first.tolist()


def test_full_packing_splits_in_the_middle() -> None:
    examples = _pack("full", [_stream_of_lines([1] * 20_000)], length=32, seed=0)
    first, second = examples.first_lengths[:-1], examples.second_lengths[:-1]
    full = (second > 0) & (first + second == 29)
    assert full.sum() > 500
    # Half of 29, at the end of a line or of the one before.
    lengths, counts = np.unique(first[full], return_counts=True)
    assert lengths[counts > 5].tolist() == [13, 14]
    assert abs(counts[lengths == 13].item() / full.sum() - 0.5) < 0.1


def test_full_packing_is_the_same_in_blocks_of_any_size(tokenizer: WordPieceTokenizer) -> None:
    generator = random.Random(0)
    lines = [_line(generator) for _ in range(300)]
    for index in range(0, 300, 41):
        lines[index] = ""
    whole, _ = _full(tokenizer, ["\n".join(lines)], length=64)
    for size in (1, 2, 7, 100):
        parts = ["\n".join(lines[start : start + size]) for start in range(0, 300, size)]
        cut, _ = _full(tokenizer, parts, length=64)
        assert cut.first_lengths.tolist() == whole.first_lengths.tolist()
        assert cut.second_lengths.tolist() == whole.second_lengths.tolist()


def _line(generator: random.Random) -> str:
    """A sentence of about the lengths of real ones."""
    length = min(120, max(4, round(generator.lognormvariate(3.1, 0.6))))
    return "".join(generator.choices(LETTERS, k=length - 1)) + "。"


def _pieces(tokenizer: WordPieceTokenizer, text: str, length: int) -> list[str]:
    """The pieces of a text, for texts in which every character is a token."""
    stream = token_stream(tokenizer.tokenize_text(text), text, packing="full", max_length=length)
    characters = text.replace("\n", "").replace(" ", "")
    ends = stream.piece_ends.tolist()
    assert ends[-1] == len(characters)
    return [characters[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def test_pieces_are_sentences_with_their_closing_marks(tokenizer: WordPieceTokenizer) -> None:
    text = "天地玄黄。宇宙？！”洪荒……天（地；）玄\n黄,宇 宙.洪. 荒3"
    assert _pieces(tokenizer, text.replace("3", "天."), 128) == [
        "天地玄黄。",
        "宇宙？！”",
        "洪荒……",
        "天（地；）",
        "玄",
        "黄,宇宙.洪.",
        "荒天.",
    ]


def test_long_sentences_are_cut_at_commas_then_anywhere(tokenizer: WordPieceTokenizer) -> None:
    # At length 19 a segment's share is 8.
    short, long = "天地，玄黄。", "天地玄，黄宇，" + "宙" * 20 + "、洪。"
    assert _pieces(tokenizer, short + long, 19) == [
        short,
        "天地玄，",
        "黄宇，",
        "宙" * 8,
        "宙" * 8,
        "宙" * 4 + "、",
        "洪。",
    ]


def test_documents_do_not_share_examples(tokenizer: WordPieceTokenizer) -> None:
    text = "天地。\n玄黄。\n\n宇宙。\n \u3000\n洪荒。\n\u200b\n天。"
    examples, _ = _full(tokenizer, [text], length=64)
    totals = examples.first_lengths + examples.second_lengths
    # White space alone is a blank line; characters that the tokenizer drops are not white space.
    assert totals.tolist() == [6, 3, 5]


def test_a_blank_line_ends_a_document_of_the_block_before(tokenizer: WordPieceTokenizer) -> None:
    examples, _ = _full(tokenizer, ["天地。", "\n玄黄。"], length=64)
    assert (examples.first_lengths + examples.second_lengths).tolist() == [3, 3]


def test_joined_documents_fill_examples(tokenizer: WordPieceTokenizer) -> None:
    text = "\n\n".join(["天地玄黄。", "宇宙。\n洪荒"] * 200)
    examples, ids = _full(tokenizer, [text], length=32, kind="joined")
    totals = examples.first_lengths + examples.second_lengths
    assert examples.ids[examples.ids != SEP].tolist() == ids
    assert len(totals) < 90  # of 400 documents
    assert totals.mean() > 26
    # Documents of 5 tokens: no example of 29 tokens has fewer than two borders.
    for first, second in _segments(examples)[:-1]:
        if len(first) + len(second) >= 28:
            assert (first + second).count(SEP) >= 2


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet=LETTERS + MARKS + "a1\n\n", max_size=60), max_size=5),
    st.sampled_from([8, 16, 33]),
    st.integers(0, 3),
)
def test_joined_documents_keep_their_tokens_and_borders(
    tokenizer: WordPieceTokenizer, texts: list[str], length: int, seed: int
) -> None:
    examples, ids = _full(tokenizer, texts, length=length, seed=seed, kind="joined")
    ends = set[int]()
    read = 0
    for text in texts:
        stream = token_stream(
            tokenizer.tokenize_text(text), text, packing="joined", max_length=length
        )
        ends.update((stream.document_ends + read).tolist())
        read += len(stream.ids)
    first, second = examples.first_lengths, examples.second_lengths
    assert (first >= 1).all()
    assert (first + second + 2 + (second > 0) <= length).all()
    seen = 0
    for segment in itertools.chain(*_segments(examples)):
        assert not segment or SEP not in (segment[0], segment[-1])
        for index, token in enumerate(segment):
            if token == SEP:
                assert segment[index - 1] != SEP
                assert seen in ends
            else:
                assert index == 0 or segment[index - 1] == SEP or seen not in ends
                assert token == ids[seen]
                seen += 1
    assert seen == len(ids)


def test_joined_documents_are_the_same_in_blocks_of_any_size(
    tokenizer: WordPieceTokenizer,
) -> None:
    generator = random.Random(0)
    lines = [line for _ in range(150) for line in (_line(generator)[:20], "")]
    whole, _ = _full(tokenizer, ["\n".join(lines)], length=64, kind="joined")
    for size in (1, 2, 7, 100):
        parts = ["\n".join(lines[start : start + size]) for start in range(0, 300, size)]
        cut, _ = _full(tokenizer, parts, length=64, kind="joined")
        for found, expected in zip(cut, whole, strict=True):
            assert found.tolist() == expected.tolist()


def test_full_packing_has_the_statistics_of_the_reference(tokenizer: WordPieceTokenizer) -> None:
    """One sentence per line, documents of 40: shares within 2.5 points, length within 3 %."""
    generator = random.Random(1)
    text = "\n\n".join("\n".join(_line(generator) for _ in range(40)) for _ in range(400))
    tokenized = tokenizer.tokenize_text(text)
    found = {}
    for kind in ("full", "reference"):
        stream = token_stream(tokenized, text, packing=kind, max_length=128)
        examples = _pack(kind, [stream], length=128, seed=0)
        lengths = examples.first_lengths + examples.second_lengths + 2
        lengths += examples.second_lengths > 0
        found[kind] = np.array(
            [(examples.second_lengths == 0).mean(), (lengths < 128).mean(), lengths.mean() / 128]
        )
    difference = np.abs(found["full"] - found["reference"])
    assert difference[0] < 0.025, found
    assert difference[1] < 0.025, found
    assert difference[2] < 0.03, found
