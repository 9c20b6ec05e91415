"""Tokenizers and vocabularies of any kind: WordPiece or SentencePiece, told by the file."""

from __future__ import annotations

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.text.sentencepiece.model import SentencePieceVocabulary, is_model
from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from electra_zh.text.vocabulary import Vocabulary, read_file
from electra_zh.text.wordpiece.characters import TokenizerSettings
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

Tokenizer = WordPieceTokenizer | SentencePieceTokenizer

# Names of a vocabulary's file in a folder that holds a copy of it.
VOCABULARY_FILES = (Vocabulary.file_name, SentencePieceVocabulary.file_name)


def load_vocabulary(path: str) -> Vocabulary:
    """Reads a vocabulary: WordPiece's file of tokens, or a SentencePiece model.

    Raises:
      UserError: the file is missing, or neither.
    """
    data = read_file(path)
    if is_model(path, data):
        return SentencePieceVocabulary(data, origin=path)
    return Vocabulary.load(path)


def vocabulary_of(folder: str) -> Vocabulary:
    """Reads the vocabulary of a run, of a fine-tuned model or of data.

    Raises:
      UserError: there is none, or it is damaged.
    """
    paths = [files.join(folder, name) for name in VOCABULARY_FILES]
    return load_vocabulary(next(filter(files.exists, paths), paths[0]))


def settings_of(vocabulary: Vocabulary, settings: TokenizerSettings) -> TokenizerSettings:
    """Returns how text is normalised for a vocabulary; a SentencePiece model says it itself.

    Raises:
      UserError: other settings are asked for than those of the model.
    """
    if not isinstance(vocabulary, SentencePieceVocabulary):
        return settings
    own = vocabulary.settings
    if settings not in (TokenizerSettings(), own):
        what = "lower-cases text" if own.lower_case else "keeps capitals"
        accents = "strips accents" if own.strip_accents else "keeps accents"
        raise UserError(
            f"The SentencePiece model itself says how text is normalised: it {what} and {accents}. "
            "--no-lower-case and --keep-accents are for its build-vocab; --map-punctuation is for "
            "WordPiece vocabularies"
        )
    return own


def make_tokenizer(
    vocabulary: Vocabulary, settings: TokenizerSettings = TokenizerSettings()
) -> Tokenizer:
    """Returns the tokenizer of a vocabulary.

    Args:
      vocabulary: of either kind.
      settings: how text is normalised for WordPiece; a SentencePiece model says it itself.
    """
    if isinstance(vocabulary, SentencePieceVocabulary):
        return SentencePieceTokenizer(vocabulary)
    return WordPieceTokenizer(vocabulary, settings)
