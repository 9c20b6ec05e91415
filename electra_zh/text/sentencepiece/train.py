"""Learning a SentencePiece model from a corpus, in one pass and bounded memory.

The corpus is read once; a random sample of its lines is kept, and the library's trainer learns from
them. How text is normalised goes into the model as rules for single characters, the same that the
WordPiece tokenizer here goes by: capitals, accents, white space, characters that vanish. Nothing
else is changed. (The library's default, NFKC, would make ASCII of all Chinese punctuation.)

No space is put before a text, as the library does by default: a Chinese word at the start of a text
is the same piece as anywhere else.
"""

from __future__ import annotations

import io
import random
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.text.sentencepiece.model import SPACE_MARK, SentencePieceVocabulary, without_paths
from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from electra_zh.text.vocabulary import CLS, MASK, PAD, SEP, UNK
from electra_zh.text.wordpiece.characters import TokenizerSettings, is_dropped, normalize

ModelType = Literal["unigram", "bpe"]

# Longer lines are cut: memory is bounded by the number of sentences only if they are.
_MAX_SENTENCE_CHARACTERS = 200
# Rules are made for characters below: the others are unassigned, for private use, or marks.
_RULES_END = 0x30000
_MAX_PIECE_CHARACTERS = 16
# The result depends on how the sums of threads are added up, so their number is always the same.
_THREADS = 4
_SHOWN_SAMPLE = 20_000


class PieceSettings(NamedTuple):
    """What to learn.

    Attributes:
      size: pieces at most, special tokens included.
      model_type: "unigram" (Kudo 2018) or "bpe" (Sennrich et al. 2016).
      tokenizer: how text is normalised; `map_punctuation` has no meaning here.
      character_coverage: share of the text's characters that get pieces, the most frequent first.
      byte_fallback: characters without a piece become their bytes (256 pieces) instead of [UNK].
      sentences: sentences that are learnt from, drawn at random where there are more; learning
        takes some 100 bytes of memory for each of their characters.
      seed: the draw follows from it.
    """

    size: int
    model_type: ModelType = "unigram"
    tokenizer: TokenizerSettings = TokenizerSettings()
    character_coverage: float = 0.9995
    byte_fallback: bool = False
    sentences: int = 200_000
    seed: int = 0


class LearnedPieces(NamedTuple):
    """A model and what is in it.

    Attributes:
      vocabulary: the model.
      longer: pieces of more than one character, the mark of a space not counted.
      seen: sentences of the corpus.
      used: sentences that were learnt from.
      characters_a_token: of a part of these.
      unknown: share of [UNK] among their tokens.
    """

    vocabulary: SentencePieceVocabulary
    longer: int
    seen: int
    used: int
    characters_a_token: float
    unknown: float


def build_pieces(
    blocks: Iterable[str], settings: PieceSettings, *, say: Callable[[str], None] | None = None
) -> LearnedPieces:
    r"""Learns a SentencePiece model; the same text and settings give the same bytes.

    Pieces 0 to 4 are [PAD] [UNK] [CLS] [SEP] [MASK]. No piece goes over a space or from one script
    to another, so Chinese punctuation and digits stay apart from words. A corpus that has too
    little for `size` gives fewer pieces.

    Args:
      blocks: the corpus, in blocks of lines joined by "\n".
      settings: what to learn.
      say: is told what is being done.

    Raises:
      UserError: a setting is not allowed, no text, or `size` has no room for the characters.
    """
    _check(settings)
    sample = _Sample(settings.sentences, settings.seed)
    for text in blocks:
        sample.add(text)
    if not sample.kept:
        raise UserError("There is no text to learn a vocabulary from: the corpus is empty")
    if say is not None:
        say(
            f"learning {settings.size:,} pieces ({settings.model_type}) from {len(sample.kept):,} "
            f"of {sample.seen:,} sentences; unigram takes minutes for many"
        )
    model = SentencePieceVocabulary(without_paths(_train(sample.kept, settings)))
    tokens, characters, unknown = _measure(
        model, sample.kept[:: -(-len(sample.kept) // _SHOWN_SAMPLE)]
    )
    return LearnedPieces(
        vocabulary=model,
        longer=sum(
            kind == "normal" and len(piece.removeprefix(SPACE_MARK)) > 1
            for piece, kind in zip(model.parts.pieces, model.parts.kinds, strict=True)
        ),
        seen=sample.seen,
        used=len(sample.kept),
        characters_a_token=characters / max(tokens, 1),
        unknown=unknown / max(tokens, 1),
    )


def _check(settings: PieceSettings) -> None:
    # The library's own limits.
    if not 0.98 <= settings.character_coverage <= 1.0:
        raise UserError(
            f"character_coverage is {settings.character_coverage}; it must lie between 0.98 and 1"
        )
    if settings.sentences < 1:
        raise UserError(f"sentences is {settings.sentences}; it must be at least 1")
    if settings.seed < 0:
        raise UserError(f"seed is {settings.seed}; it must be at least 0")
    least = 5 + 1 + 256 * settings.byte_fallback
    if settings.size <= least:
        raise UserError(
            f"A model of {settings.size} pieces is too small: special tokens"
            f"{' and bytes' if settings.byte_fallback else ''} alone take {least - 1}"
        )


class _Sample:
    """A uniform draw from the sentences of a stream (Vitter 1985, algorithm R).

    Attributes:
      kept: what has been drawn.
      seen: sentences so far.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._generator = random.Random(f"{seed}/sentences")
        self.kept: list[str] = []
        self.seen = 0

    def add(self, text: str) -> None:
        sentences = list(_sentences(text))
        free = self._size - len(self.kept)
        self.kept += sentences[:free]
        behind = sentences[free:] if free < len(sentences) else []
        numbers = np.arange(len(behind)) + self.seen + len(sentences) - len(behind) + 1
        bits = np.frombuffer(self._generator.randbytes(8 * len(behind)), "<u8")
        places = ((bits >> np.uint64(11)) * 2.0**-53 * numbers).astype(np.int64)
        for index in np.flatnonzero(places < self._size).tolist():
            self.kept[places[index]] = behind[index]
        self.seen += len(sentences)


def _sentences(text: str) -> Iterator[str]:
    """Yields the lines that have text, long ones in parts."""
    for line in text.split("\n"):
        if not line or line.isspace():
            continue
        if len(line) <= _MAX_SENTENCE_CHARACTERS:
            yield line
            continue
        for start in range(0, len(line), _MAX_SENTENCE_CHARACTERS):
            yield line[start : start + _MAX_SENTENCE_CHARACTERS]


def _train(sentences: list[str], settings: PieceSettings) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = files.join(folder, "rules.tsv")
        files.write_text(rules, normalization_rules(settings.tokenizer))
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(_clean(sentences)),
                model_writer=model,
                model_type=settings.model_type,
                vocab_size=settings.size,
                hard_vocab_limit=False,
                character_coverage=settings.character_coverage,
                byte_fallback=settings.byte_fallback,
                normalization_rule_tsv=rules,
                add_dummy_prefix=False,
                max_sentencepiece_length=_MAX_PIECE_CHARACTERS,
                max_sentence_length=16 * _MAX_SENTENCE_CHARACTERS,
                pad_id=0,
                pad_piece=PAD,
                unk_id=1,
                unk_piece=UNK,
                bos_id=-1,
                eos_id=-1,
                control_symbols=[CLS, SEP, MASK],
                num_threads=_THREADS,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise UserError(_why(str(error), settings.size)) from None
    return model.getvalue()


def _why(message: str, size: int) -> str:
    """Returns what the library's error means here."""
    found = re.search(r"smaller than required_chars\. \d+ vs (\d+)", message)
    if found:
        return (
            f"A model of {size} pieces is too small: the characters alone take "
            f"{int(found[1]):,}; give a larger --size or a lower --character-coverage"
        )
    why = message.strip().rpartition("] ")[2].partition("\n")[0]
    return f"SentencePiece cannot learn {size} pieces from this text: {why}"


def _clean(sentences: Iterable[str]) -> Iterator[str]:
    """Yields the sentences as UTF-8 can have them; the library refuses U+0000."""
    for sentence in sentences:
        yield sentence.replace("\0", "").encode("utf-8", "ignore").decode()


def _measure(model: SentencePieceVocabulary, sentences: list[str]) -> tuple[int, int, int]:
    """Returns tokens, the characters that they cover, and how many tokens are [UNK]."""
    found = SentencePieceTokenizer(model).pieces(sentences)
    return (
        len(found.ids),
        int((found.ends - found.starts).sum()),
        int(np.count_nonzero(found.ids == model.unk_id)),
    )


def normalization_rules(settings: TokenizerSettings) -> str:
    """Returns what becomes of single characters, in the library's form: lines of code points.

    White space of all kinds is a space. Capitals become small and accents vanish as the settings
    say; both as for WordPiece, but character by character: a letter that decomposing takes apart
    without need (Hangul) stays whole, and every capital sigma becomes the same small one.
    """
    lines = []
    for point in range(_RULES_END):
        char = chr(point)
        form = _form(char, settings)
        if form != char and point:
            source, target = f"{point:X}", " ".join(f"{ord(each):X}" for each in form)
            lines.append(f"{source}\t{target}\n")
    return "".join(lines)


def _form(char: str, settings: TokenizerSettings) -> str:
    category = unicodedata.category(char)
    if category in ("Cn", "Cs"):
        return char
    if char == SPACE_MARK or (char.isspace() and not is_dropped(char)):
        return " "
    if is_dropped(char):
        return ""
    form = normalize(char, settings)
    return unicodedata.normalize("NFC", form) if settings.strips else form
