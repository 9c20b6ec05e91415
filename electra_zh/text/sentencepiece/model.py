"""SentencePiece models as vocabularies: the pieces are the tokens, the file is kept unchanged.

A model also determines how text is normalised before it is cut. Nothing else is done to the text,
so that the same model gives the same ids here, in a served graph and in other tools.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar, Literal, NamedTuple, Self

from electra_zh.errors import UserError
from electra_zh.text.characters import is_cjk, is_punctuation
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import CLS, MASK, PAD, SEP, Vocabulary

# The mark of a space: pieces that begin a word in a text with spaces begin with it.
SPACE_MARK = "\u2581"

PieceKind = Literal["normal", "unknown", "control", "user", "unused", "byte"]
# By the library's numbers, from 1.
_KINDS: tuple[PieceKind, ...] = ("normal", "unknown", "control", "user", "unused", "byte")
_CONTROL = 3
_ALGORITHMS = ("unigram", "bpe", "word", "char")
# Names of the special tokens in models of other makers. The unknown piece is known by its kind.
_USUAL_NAMES = {
    PAD: (PAD, "<pad>"),
    CLS: (CLS, "<cls>", "<s>"),
    SEP: (SEP, "<sep>", "</s>"),
    MASK: (MASK, "<mask>"),
}


class PieceModel(NamedTuple):
    """Content of a model file."""

    algorithm: str  # "unigram", "bpe", "word" or "char"
    pieces: tuple[str, ...]
    scores: tuple[float, ...]  # for BPE the order of merges
    kinds: tuple[PieceKind, ...]
    byte_fallback: bool  # an unknown character becomes its bytes
    dummy_prefix: bool  # a space is put before each text
    joins_spaces: bool  # several spaces are one, and those at the ends of a text are removed
    charsmap: bytes  # SentencePiece's compiled rules of normalisation


class SentencePieceVocabulary(Vocabulary):
    """The pieces of a SentencePiece model in the order of their ids, immutable.

    No text gives the special tokens: a text that spells out "[MASK]" is cut like any other.

    Attributes:
      model: content of the file.
      parts: the same, parsed.
    """

    file_name: ClassVar[str] = "spm.model"

    def __init__(self, model: bytes, *, origin: str = "The SentencePiece model") -> None:
        """Checks the model and finds the special tokens, by their usual names.

        Raises:
          UserError: not a valid model, a special token is missing, or [PAD] is not piece 0.
        """
        proto = _parse(model, origin)
        names = [piece.piece for piece in proto.pieces]
        found = _find_special(names, origin)
        if any(proto.pieces[index].type != _CONTROL for index in found.values()):
            for index in found.values():
                proto.pieces[index].type = _CONTROL
            model = proto.SerializeToString(deterministic=True)
        self.model = model
        self.tokens = tuple(names)
        self.ids = {name: index for index, name in enumerate(names)}
        self.parts = PieceModel(
            _ALGORITHMS[proto.trainer_spec.model_type - 1],
            self.tokens,
            tuple(piece.score for piece in proto.pieces),
            tuple(_KINDS[piece.type - 1] for piece in proto.pieces),
            proto.trainer_spec.byte_fallback,
            proto.normalizer_spec.add_dummy_prefix,
            proto.normalizer_spec.remove_extra_whitespaces,
            proto.normalizer_spec.precompiled_charsmap,
        )
        self.pad_id, self.cls_id, self.sep_id, self.mask_id = found.values()
        self.unk_id = self.parts.kinds.index("unknown")

    @classmethod
    def recognizes(cls, path: str, data: bytes) -> bool:
        """Returns whether a file is a SentencePiece model, by its name or its bytes."""
        # A model begins with its first piece, and each piece has a byte that text does not have.
        return path.endswith(".model") or (data[:1] == b"\n" and b"\x15" in data[:4096])

    @classmethod
    def parse(cls, data: bytes, origin: str) -> Self:  # noqa: D102
        return cls(data, origin=origin)

    @functools.cached_property
    def settings(self) -> TokenizerSettings:
        """The model's own normalisation, as far as these settings can describe it."""
        processor = load_processor(self.model)
        lower, plain = (processor.Normalize(char).strip(SPACE_MARK) for char in ("Z", "é"))
        lower_case = lower == "z"
        return TokenizerSettings(lower_case, lower_case and plain == "e", False)

    def word_part(self, token: str) -> tuple[str, bool]:  # noqa: D102
        body = token.removeprefix(SPACE_MARK)
        return body, body != token

    def spellings(self, body: str, *, begins: bool) -> list[str]:  # noqa: D102
        alone = is_cjk(ord(body[0])) or is_punctuation(body[0])
        forms = [body, SPACE_MARK + body]
        return forms[::-1] if begins and not alone else forms

    def file_bytes(self) -> bytes:  # noqa: D102
        return self.model

    def __reduce__(self) -> tuple[type[Vocabulary], tuple[Any]]:
        return SentencePieceVocabulary, (self.model,)


def load_processor(model: bytes, *, dummy_prefix: bool | None = None) -> Any:
    """Returns the library's processor of a model.

    `dummy_prefix` says whether a space is put before each text; by default as in the model.
    """
    import sentencepiece

    if dummy_prefix is not None:
        proto = _read_proto(model)
        proto.normalizer_spec.add_dummy_prefix = dummy_prefix
        model = proto.SerializeToString(deterministic=True)
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def without_paths(model: bytes) -> bytes:
    """Returns a newly trained model without the paths of the trainer's files."""
    proto = _read_proto(model)
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    return bytes(proto.SerializeToString(deterministic=True))


def _read_proto(model: bytes) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2.ModelProto.FromString(model)


def _parse(model: bytes, origin: str) -> Any:
    from google.protobuf.message import DecodeError

    try:
        proto = _read_proto(model)
        if proto.pieces:
            load_processor(model)
    except (DecodeError, RuntimeError, ValueError) as error:
        why = str(error).strip().partition("\n")[0]
        raise UserError(f"{origin} is not a SentencePiece model, or is damaged: {why}") from None
    if not proto.pieces:
        raise UserError(f"{origin} is not a SentencePiece model: it has no pieces")
    if proto.trainer_spec.treat_whitespace_as_suffix:
        raise UserError(
            f"{origin} marks spaces after words (treat_whitespace_as_suffix). Use a model with the "
            "mark before words"
        )
    return proto


def _find_special(names: list[str], origin: str) -> dict[str, int]:
    """Returns the ids of [PAD], [CLS], [SEP] and [MASK], in this order."""
    ids = {name: index for index, name in enumerate(names)}
    found: dict[str, int] = {}
    missing = []
    for role, usual in _USUAL_NAMES.items():
        name = next((name for name in usual if name in ids), None)
        if name is None:
            missing.append(" or ".join(usual))
        else:
            found[role] = ids[name]
    if missing:
        raise UserError(
            f"{origin} is missing the pieces {'; '.join(missing)}. Train a model with them: "
            "`electra-zh build-vocab --kind sentencepiece`"
        )
    if found[PAD] != 0:
        raise UserError(
            f"{origin} has {names[found[PAD]]} as piece {found[PAD]}; padding must be piece 0, "
            f"which is {names[0]}"
        )
    return found
