"""Training a BERT-style WordPiece vocabulary on a corpus, in one pass and bounded memory.

A Chinese vocabulary is mostly a count of characters: ideographs and punctuation are tokens of their
own. Only the words of other scripts need training, over the counts of the words as the tokenizer
itself splits and normalises them. By default SentencePiece's byte pair encoding learns them: it is
quick, and its pieces are frequent parts of words.
"""

from __future__ import annotations

import io
import string
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from electra_zh.errors import UserError
from electra_zh.text.characters import is_cjk, is_punctuation, to_codepoints
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.training import Trained, VocabularySettings
from electra_zh.text.vocabulary import CLS, MASK, PAD, SEP, UNK, Vocabulary
from electra_zh.text.wordpiece.splitting import character_forms, split_words, word_runs
from electra_zh.text.wordpiece.tokenizer import MAX_WORD_CHARACTERS

Words = list[tuple[str, int]]  # with their counts, the most frequent first
# A function of the words, the alphabet and a number; returns up to that many pieces of two
# characters and more, the most useful first.
Learner = Callable[[Words, set[str], int], list[str]]

# As in Google's vocabularies: [PAD] 0, free slots 1 to 99, [UNK] 100 to [MASK] 103.
_FREE_SLOTS = 99
MAX_PIECE_CHARACTERS = 20
# SentencePiece's mark of a word's start; words with it are skipped.
_WORD_START = "\u2581"
# Beyond this number of different words in memory, the rarest are dropped.
_MAX_WORDS = 1_000_000
# Longer stretches without a space, an ideograph or punctuation (encoded files, say) are skipped.
_MAX_RUN_CHARACTERS = 2 * MAX_WORD_CHARACTERS


def merge_pieces(words: Words, alphabet: set[str], number: int) -> list[str]:
    """Learns pieces by byte pair encoding, a `Learner`."""
    rows = [f"{word}\t{count}" for word, count in words if _WORD_START not in word]
    if not rows or number <= 0:
        return []
    # Its pieces include single characters, alone and at a word's start.
    learned = _train(rows, number + 2 * len(alphabet) + 10)
    pieces = [p[1:] if p.startswith(_WORD_START) else f"##{p}" for p in learned]
    return [piece for piece in pieces if len(piece.removeprefix("##")) > 1][:number]


def build_vocab(
    blocks: Iterable[str],
    settings: VocabularySettings,
    *,
    min_frequency: int = 2,
    limit_alphabet: int = 1000,
    piece_share: float = 0.2,
    learn: Learner = merge_pieces,
) -> Trained:
    """Trains a WordPiece vocabulary of exactly `settings.size` entries; see `train_vocabulary`.

    The entries, in this order: [PAD], [unused1] to [unused99], [UNK] [CLS] [SEP] [MASK] (ids 100
    to 103); ideographs by frequency; punctuation, all of ASCII and the rest by frequency; letters,
    digits and signs, all of ASCII and the rest by frequency, then the same with ##; pieces, the
    most useful first. Characters are added by frequency until the fraction `piece_share` of the
    room is left; unused room of one kind is given to the other. A corpus with too little text for
    the size gives further [unusedN] entries at the end.

    Characters and words rarer than `min_frequency` are ignored. `limit_alphabet` is the maximal
    number of characters except ideographs, punctuation and ASCII. The setting `map_punctuation` is
    ignored.
    """
    size, lower_case = settings.size, settings.tokenizer.lower_case
    letters = string.digits + (string.ascii_lowercase if lower_case else string.ascii_letters)
    room = _room_after_ascii(size, letters)
    characters, word_counts = _count(blocks, settings.tokenizer)
    if not characters:
        raise UserError("The corpus is empty: a vocabulary needs text. Check the input files")
    ascii_characters = {*letters, *string.punctuation}
    frequent = [
        char for char, _ in _frequent(characters, min_frequency) if char not in ascii_characters
    ]
    kept = _within(frequent, room - int(piece_share * room), limit_alphabet)
    alphabet = {*kept, *letters}
    words = [
        (word, count)
        for word, count in _frequent(word_counts, min_frequency)
        if len(word) > 1 and alphabet.issuperset(word)
    ]
    pieces = learn(words, alphabet, room - _cost(kept))
    if _cost(kept) + len(pieces) < room:
        # Too few pieces for their part of the room: rarer characters get the rest of it.
        kept = _within(frequent, room - len(pieces), limit_alphabet)
    return _assemble(size, kept, letters, pieces, characters)


def _room_after_ascii(size: int, letters: str) -> int:
    """Returns the number of entries after the special tokens and ASCII."""
    least = 4 + 1 + _FREE_SLOTS + len(string.punctuation) + 2 * len(letters)
    if size <= least:
        raise UserError(
            f"A vocabulary of {size} entries is too small: special tokens, {_FREE_SLOTS} free "
            f"slots and the ASCII characters alone take {least}. Raise --size"
        )
    return size - least


def _is_single(char: str) -> bool:
    return is_cjk(ord(char)) or is_punctuation(char)


def _cost(chars: Iterable[str]) -> int:
    """Returns the number of entries: a letter needs two, one of them with ##."""
    return sum(1 if _is_single(char) else 2 for char in chars)


def _within(frequent: Iterable[str], room: int, limit_alphabet: int) -> list[str]:
    """Returns the first characters that the room and the limit of the alphabet allow."""
    kept = []
    letters = 0
    for char in frequent:
        cost = _cost(char)
        letters += cost == 2
        if cost <= room and (cost == 1 or letters <= limit_alphabet):
            room -= cost
            kept.append(char)
    return kept


def _count(blocks: Iterable[str], settings: TokenizerSettings) -> tuple[Counter[str], Counter[str]]:
    """Returns the frequencies of the characters, and those of the words of several characters."""
    forms = character_forms(settings)
    totals = np.zeros(len(forms), np.int64)
    runs: Counter[str] = Counter()
    for text in blocks:
        codes = forms.take(to_codepoints(text))
        starts, ends = word_runs(text, codes, settings)
        counted = np.bincount(codes[codes >= 0])
        totals[: len(counted)] += counted
        short = ends - starts <= _MAX_RUN_CHARACTERS
        bounds = zip(starts[short].tolist(), ends[short].tolist(), strict=True)
        runs.update([text[start:end] for start, end in bounds])
        if len(runs) > _MAX_WORDS:
            runs = _without_rare(runs)
    characters = Counter({chr(point): int(totals[point]) for point in np.flatnonzero(totals)})
    words: Counter[str] = Counter()
    for run, count in runs.items():
        for word in split_words(run, settings):
            if len(word) == 1 and _is_single(word):
                characters[word] += count
            elif len(word) <= MAX_WORD_CHARACTERS:
                words[word] += count
    for word, count in words.items():
        for char in word:
            characters[char] += count
    return characters, words


def _without_rare(counts: Counter[str]) -> Counter[str]:
    """Drops the rarest until half of the allowed number is left."""
    values = np.fromiter(counts.values(), np.int64, len(counts))
    least = 1 + int(np.partition(values, len(values) - _MAX_WORDS // 2)[-_MAX_WORDS // 2])
    return Counter({word: count for word, count in counts.items() if count >= least})


def _frequent(counts: Counter[str], least: int) -> list[tuple[str, int]]:
    """Returns the entries that occur often enough, the most frequent first."""
    found = (entry for entry in counts.items() if entry[1] >= least)
    return sorted(found, key=lambda entry: (-entry[1], entry[0]))


def _train(rows: list[str], size: int) -> list[str]:
    """Returns the pieces of SentencePiece's byte pair encoding in the order of its merges."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(rows),
        input_format="tsv",
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        max_sentencepiece_length=MAX_PIECE_CHARACTERS + 1,
        split_by_unicode_script=False,
        split_by_number=False,
        bos_id=-1,
        eos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [processor.id_to_piece(index) for index in range(1, processor.get_piece_size())]


def _assemble(
    size: int, kept: list[str], ascii_letters: str, pieces: list[str], characters: dict[str, int]
) -> Trained:
    ideographs = [char for char in kept if is_cjk(ord(char))]
    marks = [char for char in kept if _is_single(char) and not is_cjk(ord(char))]
    letters = [*ascii_letters, *(char for char in kept if not _is_single(char))]
    tokens = [PAD, *(f"[unused{number}]" for number in range(1, _FREE_SLOTS + 1))]
    tokens += [UNK, CLS, SEP, MASK, *ideographs, *string.punctuation, *marks]
    tokens += [*letters, *(f"##{letter}" for letter in letters), *pieces]
    padding = size - len(tokens)
    tokens += [f"[unused{_FREE_SLOTS + number}]" for number in range(1, padding + 1)]
    known = {*ideographs, *string.punctuation, *marks, *letters}
    covered = sum(count for char, count in characters.items() if char in known)
    figures = {
        "ideographs": len(ideographs),
        "punctuation": len(string.punctuation) + len(marks),
        "letters": len(letters),
        "pieces": len(pieces),
        "unused": _FREE_SLOTS + padding,
        "covered": covered / sum(characters.values()),
    }
    counts = ", ".join(f"{count:,} {name}" for name, count in list(figures.items())[:-1])
    summary = f"{size:,} tokens: {counts}; they cover {figures['covered']:.2%} of the characters"
    return Trained(Vocabulary(tokens), figures, summary)


TRAINER = build_vocab
