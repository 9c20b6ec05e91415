"""Training of a vocabulary: the settings, and the trainers of every form of vocabulary.

A trainer, a function as `train_vocabulary`, is the `TRAINER` of `train.py` in a tokenizer's folder,
under the folder's name, or that of `train_SUFFIX.py`, as FOLDER-SUFFIX.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, NamedTuple

from electra_zh.errors import UsageError, UserError
from electra_zh.modules import load_module, parts_of_folders
from electra_zh.settings.declaration import Settings, setting
from electra_zh.text.settings import USUAL_SIZE, TokenizerSettings

if TYPE_CHECKING:
    from electra_zh.text.vocabulary import Vocabulary

ModelType = Literal["unigram", "bpe"]

SENTENCEPIECE = "sentencepiece"
_FOR_SENTENCEPIECE = f"for --kind {SENTENCEPIECE}"


class Trained(NamedTuple):
    """A trained vocabulary, numbers on its content, and one line on them for the user."""

    vocabulary: Vocabulary
    figures: Mapping[str, float]
    summary: str


def trainer_modules() -> dict[str, str]:
    """Returns the modules of the trainers by name; `wordpiece` is the first."""
    return parts_of_folders("electra_zh.text", "train")


@dataclass(frozen=True)
class VocabularySettings(Settings):
    """Settings of the vocabulary to train."""

    kind: str = setting(
        "wordpiece",
        "wordpiece: a token for each ideograph; wordpiece-words: the same, with pieces by "
        "tensorflow-text's learner, for text rich in Latin (minutes); sentencepiece: a model whose "
        "pieces are words and parts of phrases, Chinese too",
        choices=lambda: tuple(trainer_modules()),
    )
    size: int = setting(USUAL_SIZE, "number of tokens, special tokens included", at_least=1)
    tokenizer: TokenizerSettings = TokenizerSettings()
    model_type: ModelType = setting(
        "unigram",
        "unigram (Kudo 2018) or bpe (Sennrich et al. 2016)",
        choices=("unigram", "bpe"),
        group=_FOR_SENTENCEPIECE,
    )
    character_coverage: float = setting(
        0.9995,
        "fraction of the text's characters that get pieces, the most frequent first",
        at_least=0.98,  # the library's own limits
        at_most=1,
        metavar="FRACTION",
        group=_FOR_SENTENCEPIECE,
    )
    byte_fallback: bool = setting(
        False,
        "turn the other characters into bytes instead of [UNK]; takes 256 of the pieces",
        group=_FOR_SENTENCEPIECE,
    )
    sentences: int = setting(
        200_000,
        "number of sentences to draw and train on; a character takes some 100 bytes of memory",
        at_least=1,
        group=_FOR_SENTENCEPIECE,
    )
    seed: int = setting(0, "random seed of that draw", at_least=0, group=_FOR_SENTENCEPIECE)

    def check_together(self) -> None:  # noqa: D102
        if self.tokenizer.word_tokens:
            raise UsageError("word_tokens applies to build-data: remove it from build-vocab")
        if self.kind != SENTENCEPIECE:
            for field in fields(self)[3:]:
                if getattr(self, field.name) != field.default:
                    raise UsageError(
                        f"{field.name} applies to kind {SENTENCEPIECE} only; kind is {self.kind}. "
                        f"Remove {field.name}"
                    )
            return
        least = 5 + 256 * self.byte_fallback
        if self.size <= least + 1:
            raise UserError(
                f"A model of {self.size} pieces is too small: special tokens"
                f"{' and bytes' if self.byte_fallback else ''} alone take {least}. Raise size"
            )


def train_vocabulary(blocks: Iterable[str], settings: VocabularySettings) -> Trained:
    r"""Trains a vocabulary; the same text and settings give the same bytes.

    The corpus comes in blocks of lines joined by "\n", of about a megabyte.

    Raises:
      UserError: there is no text, or `size` has no room for the characters.
    """
    module = load_module("electra_zh.text", trainer_modules()[settings.kind])
    trained: Trained = module.TRAINER(blocks, settings)
    return trained
