"""Training a SentencePiece model on a corpus, in one pass and bounded memory.

The corpus is read once; a random sample of its lines is kept, and the library's trainer learns from
them. The normalisation of text becomes part of the model as rules for single characters, the same
as those of the WordPiece tokenizer: capitals, accents, white space, characters that vanish. Nothing
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
from collections.abc import Iterable, Iterator

import numpy as np
from absl import logging

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.text.characters import is_dropped, normalize
from electra_zh.text.sentencepiece.model import SPACE_MARK, SentencePieceVocabulary, without_paths
from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.training import Trained, VocabularySettings
from electra_zh.text.vocabulary import CLS, MASK, PAD, SEP, UNK

# Longer lines are cut: memory is bounded by the number of sentences only if they are.
_MAX_SENTENCE_CHARACTERS = 200
# Rules are made for characters below: the others are unassigned, for private use, or marks.
_RULES_END = 0x30000
_MAX_PIECE_CHARACTERS = 16
# The result depends on the order in which the sums of threads are added: their number is fixed.
_THREADS = 4
_SHOWN_SAMPLE = 20_000


def build_pieces(blocks: Iterable[str], settings: VocabularySettings) -> Trained:
    """Trains a SentencePiece model; see `train_vocabulary`.

    Pieces 0 to 4 are [PAD] [UNK] [CLS] [SEP] [MASK]. No piece crosses a space or a change of
    script, so Chinese punctuation and digits are separate from words. A corpus with too little text
    for `size` gives fewer pieces.
    """
    sample = _Sample(settings.sentences, settings.seed)
    for text in blocks:
        sample.add(text)
    if not sample.kept:
        raise UserError("The corpus is empty: a vocabulary needs text. Check the input files")
    logging.info(
        "training %s pieces (%s) on %s of %s sentences; unigram takes minutes for many",
        f"{settings.size:,}",
        settings.model_type,
        f"{len(sample.kept):,}",
        f"{sample.seen:,}",
    )
    model = SentencePieceVocabulary(without_paths(_train(sample.kept, settings)))
    shown = sample.kept[:: -(-len(sample.kept) // _SHOWN_SAMPLE)]
    found = SentencePieceTokenizer(model).encode_batch(shown)
    tokens = max(len(found.ids), 1)
    figures = {
        "longer": sum(
            kind == "normal" and len(piece.removeprefix(SPACE_MARK)) > 1
            for piece, kind in zip(model.parts.pieces, model.parts.kinds, strict=True)
        ),
        "seen": sample.seen,
        "used": len(sample.kept),
        "characters_per_token": int((found.ends - found.starts).sum()) / tokens,
        "unknown": int(np.count_nonzero(found.ids == model.unk_id)) / tokens,
    }
    summary = (
        f"{model.size:,} pieces, {figures['longer']:,} of several characters, trained on "
        f"{figures['used']:,} of {figures['seen']:,} sentences; "
        f"{figures['characters_per_token']:.2f} characters per token, "
        f"{figures['unknown']:.2%} of tokens [UNK]"
    )
    return Trained(model, figures, summary)


class _Sample:
    """A uniform draw from the sentences of a stream (Vitter 1985, algorithm R).

    Attributes:
      kept: the sentences drawn.
      seen: the number of sentences so far.
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
        rest = sentences[free:] if free < len(sentences) else []
        numbers = np.arange(len(rest)) + self.seen + len(sentences) - len(rest) + 1
        bits = np.frombuffer(self._generator.randbytes(8 * len(rest)), "<u8")
        places = ((bits >> np.uint64(11)) * 2.0**-53 * numbers).astype(np.int64)
        for index in np.flatnonzero(places < self._size).tolist():
            self.kept[places[index]] = rest[index]
        self.seen += len(sentences)


def _sentences(text: str) -> Iterator[str]:
    """Yields the lines that have text, long ones in parts."""
    for line in text.split("\n"):
        if line and not line.isspace():
            for start in range(0, len(line), _MAX_SENTENCE_CHARACTERS):
                yield line[start : start + _MAX_SENTENCE_CHARACTERS]


def _train(sentences: list[str], settings: VocabularySettings) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    # Without characters that UTF-8 or the library rejects (U+0000).
    cleaned = (each.replace("\0", "").encode("utf-8", "ignore").decode() for each in sentences)
    with tempfile.TemporaryDirectory() as folder:
        rules = files.join(folder, "rules.tsv")
        files.write_text(rules, normalization_rules(settings.tokenizer))
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=cleaned,
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
    """Returns the user's message for an error of the library."""
    found = re.search(r"smaller than required_chars\. \d+ vs (\d+)", message)
    if found:
        return (
            f"A model of {size} pieces is too small: the characters alone take "
            f"{int(found[1]):,}. Raise --size or lower --character-coverage"
        )
    why = message.strip().rpartition("] ")[2].partition("\n")[0]
    return f"SentencePiece cannot train {size} pieces on this text: {why}"


def normalization_rules(settings: TokenizerSettings) -> str:
    """Returns the rules for single characters in the library's form: lines of code points.

    White space of all kinds is a space. Lower case and accents follow the settings as for
    WordPiece, but character by character: a letter that only decomposing would split (Hangul) is
    not split, and every capital sigma becomes the same small one.
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
    return unicodedata.normalize("NFC", form) if settings.strip_accents else form


TRAINER = build_pieces
