"""Names and shapes of all weights: ours, Google's (TF1) and those of Hugging Face's transformers.

Our name of a weight is its path in the objective: `encoder/layers/0/attention/query/kernel` is
`objective.encoder.layers[0].attention.query.kernel`, in checkpoints too. `encoder` is the network
that fine-tuning keeps: the discriminator, or the only network of a plain masked LM.

Each file format that holds one or both networks has a `Naming`. transformers also transposes dense
kernels (`Naming.transposes`). To add a weight, add its line to a table below.

Letters of shapes: V vocabulary, S segment ids, P positions, E embedding width, D hidden width,
I intermediate width. `{layer}` is the number of a layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from electra_zh.models.config import ModelConfig

if TYPE_CHECKING:
    import numpy as np

# Letter of a shape -> the setting of `ModelConfig` that it stands for.
LETTERS = {
    "V": "vocab_size",
    "S": "type_vocab_size",
    "P": "max_position_embeddings",
    "E": "embedding_size",
    "D": "hidden_size",
    "I": "intermediate_size",
}


class Weight(NamedTuple):
    """One weight of a network or head, named below the prefix that a file gives the part."""

    ours: str  # our name
    google: str  # name in google-research/electra and google-research/bert
    torch: str  # name in transformers
    shape: str  # a letter for each axis, or 1


def _table(ours: str, google: str, torch: str, lines: str) -> tuple[Weight, ...]:
    """Returns the weights of a table, one per line, whose names all begin with the prefixes."""
    rows = (line.split() for line in lines.strip().splitlines())
    return tuple(Weight(ours + a, google + b, torch + c, shape) for a, b, c, shape in rows)


# A transformer.
NETWORK = (
    *_table(
        *("embeddings/", "embeddings/", "embeddings."),
        """
word_embeddings       word_embeddings       word_embeddings.weight       VE
token_type_embeddings token_type_embeddings token_type_embeddings.weight SE
position_embeddings   position_embeddings   position_embeddings.weight   PE
layer_norm/gamma      LayerNorm/gamma       LayerNorm.weight             E
layer_norm/beta       LayerNorm/beta        LayerNorm.bias               E
""",
    ),
    *_table(
        *("", "", ""),
        """
projection/kernel     embeddings_project/kernel embeddings_project.weight ED
projection/bias       embeddings_project/bias   embeddings_project.bias   D
""",
    ),
    *_table(
        *("layers/{layer}/", "encoder/layer_{layer}/", "encoder.layer.{layer}."),
        """
attention/query/kernel     attention/self/query/kernel      attention.self.query.weight       DD
attention/query/bias       attention/self/query/bias        attention.self.query.bias         D
attention/key/kernel       attention/self/key/kernel        attention.self.key.weight         DD
attention/key/bias         attention/self/key/bias          attention.self.key.bias           D
attention/value/kernel     attention/self/value/kernel      attention.self.value.weight       DD
attention/value/bias       attention/self/value/bias        attention.self.value.bias         D
attention/output/kernel    attention/output/dense/kernel    attention.output.dense.weight     DD
attention/output/bias      attention/output/dense/bias      attention.output.dense.bias       D
attention/layer_norm/gamma attention/output/LayerNorm/gamma attention.output.LayerNorm.weight D
attention/layer_norm/beta  attention/output/LayerNorm/beta  attention.output.LayerNorm.bias   D
intermediate/kernel        intermediate/dense/kernel        intermediate.dense.weight         DI
intermediate/bias          intermediate/dense/bias          intermediate.dense.bias           I
output/kernel              output/dense/kernel              output.dense.weight               ID
output/bias                output/dense/bias                output.dense.bias                 D
layer_norm/gamma           output/LayerNorm/gamma           output.LayerNorm.weight           D
layer_norm/beta            output/LayerNorm/beta            output.LayerNorm.bias             D
""",
    ),
)

# The masked LM head. Its product with the word embeddings has no weight of its own, and each file
# format has its own place for the output bias.
MASKED_LM = _table(
    *("", "", ""),
    """
dense/kernel     dense/kernel    dense.weight     DE
dense/bias       dense/bias      dense.bias       E
layer_norm/gamma LayerNorm/gamma LayerNorm.weight E
layer_norm/beta  LayerNorm/beta  LayerNorm.bias   E
""",
)
_OUTPUT_BIAS = "masked_lm_head/output_bias"

# The head of replaced token detection.
DETECTION = _table(
    *("", "", ""),
    """
dense/kernel  dense/kernel   dense.weight            DD
dense/bias    dense/bias     dense.bias              D
output/kernel dense_1/kernel dense_prediction.weight D1
output/bias   dense_1/bias   dense_prediction.bias   1
""",
)

_PARTS: dict[str, tuple[Weight, ...]] = {
    "encoder": NETWORK,
    "generator": NETWORK,
    "masked_lm_head": MASKED_LM,
    "rtd_head": DETECTION,
    # Parts that only this tool has: they are in checkpoints, and in no other file format.
    "clm_head": MASKED_LM,  # the masked LM of a discriminator
    "dot_head": MASKED_LM,  # the product with the token's own embedding, added to `rtd_head`
    "cloze_head": MASKED_LM,  # Electric's, on both towers
    "generator_ltr": NETWORK,  # Electric's towers, left to right and right to left
    "generator_rtl": NETWORK,
}
# With each of these the detection head is part of a whole that no other format has.
_WITH_DETECTION = ("dot_head", "cloze_head")
OWN_PARTS = ("clm_head", "generator_ltr", "generator_rtl", *_WITH_DETECTION)
# Embeddings of a discriminator that are stored as differences to the generator's (`gdes`).
_DELTA = re.compile(r"^encoder(/embeddings/(?:word|position)_embeddings)$")


def part_shapes(
    part: str, size: ModelConfig, *, embeddings: bool = True
) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each weight of a part of `_PARTS`, by our names.

    `size` is that of the network, for a head of the network that it belongs to. A network that
    shares the embeddings of another has none of its own.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, _, _, letters in _PARTS[part]:
        if name.startswith("embeddings/") and not embeddings:
            continue
        if name.startswith("projection/") and size.embedding_size == size.hidden_size:
            continue
        shape = tuple(getattr(size, LETTERS[x]) if x in LETTERS else int(x) for x in letters)
        for layer in range(size.num_hidden_layers if "{layer}" in name else 1):
            shapes[f"{part}/{name}".replace("{layer}", str(layer))] = shape
    if _PARTS[part] is MASKED_LM:
        shapes[f"{part}/output_bias"] = (size.vocab_size,)
    if part == "cloze_head":
        shapes[f"{part}/dense/kernel"] = (2 * size.hidden_size, size.embedding_size)
    return shapes


def delta_name(name: str) -> str:
    """Returns the name of a weight where a discriminator's embeddings are differences."""
    return _DELTA.sub(r"encoder\1_delta", name)


def split_own(
    tensors: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns a checkpoint's tensors that other formats have too, and those of this tool alone.

    Embeddings that are stored as differences to the generator's become complete.
    """
    parts = {name.partition("/")[0] for name in tensors}
    own_parts = {*OWN_PARTS, *(["rtd_head"] if parts & {*_WITH_DETECTION} else [])}
    shared: dict[str, np.ndarray] = {}
    own: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        if name.endswith("_delta"):
            name = name.removesuffix("_delta")
            value = value + tensors[name.replace("encoder/", "generator/", 1)]
        (own if name.partition("/")[0] in own_parts else shared)[name] = value
    return shared, own


class Naming:
    """The names that one file format has for our weights, one to one."""

    def __init__(self, pairs: Mapping[str, str], *, transposes: bool) -> None:
        self.pairs = dict(pairs)  # our name to the file's, with `{layer}`
        self.transposes = transposes  # dense kernels are [outputs, inputs] in the file
        self._back = {theirs: ours for ours, theirs in self.pairs.items()}
        assert len(self._back) == len(self.pairs), "two weights under one name"

    def theirs(self, name: str) -> str:
        """Returns the file's name of our weight; a KeyError if it does not store that weight."""
        return _rename(variable_name(name), self.pairs)

    def ours(self, name: str) -> str:
        """Returns our name of the file's weight; a KeyError if it is not one of ours."""
        return _rename(name, self._back)

    def to_file(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns our tensors as the file stores them; a KeyError as in `theirs`."""
        return {self.theirs(name): self._turned(name, value) for name, value in tensors.items()}

    def from_file(
        self, tensors: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], list[str]]:
        """Returns the file's tensors as ours, and the names of those without a counterpart."""
        found, unused = {}, []
        for theirs, value in tensors.items():
            try:
                name = self.ours(theirs)
            except KeyError:
                unused.append(theirs)
                continue
            found[name] = self._turned(name, value)
        return found, unused

    def _turned(self, name: str, value: np.ndarray) -> np.ndarray:
        return value.T if self.transposes and name.endswith("/kernel") else value


def variable_name(name: str) -> str:
    """Returns a variable's name without TensorFlow's output number (`:0`)."""
    return name.partition(":")[0]


# A layer's number in its context: /layers/3/ (ours), /layer_3/, .layer.3.
_NUMBER = re.compile(r"(/layers/|/layer_|\.layer\.)(\d+)([/.])")


def _rename(name: str, table: Mapping[str, str]) -> str:
    match = _NUMBER.search(name)
    if match is None:
        return table[name]
    template = f"{name[: match.start(2)]}{{layer}}{name[match.end(2) :]}"
    return table[template].replace("{layer}", match[2])


def _naming(style: Literal["google", "torch"], output_bias: str = "", **prefixes: str) -> Naming:
    """Returns a naming from the file's prefix of each part, by our name of the part."""
    pairs = {
        f"{part}/{weight.ours}": prefix + getattr(weight, style)
        for part, prefix in prefixes.items()
        for weight in _PARTS[part]
    }
    if output_bias:
        pairs[_OUTPUT_BIAS] = output_bias
    return Naming(pairs, transposes=style == "torch")


# google-research/electra: both networks in one checkpoint.
GOOGLE_ELECTRA = _naming(
    "google",
    "generator_predictions/output_bias",
    encoder="electra/",
    generator="generator/",
    masked_lm_head="generator_predictions/",
    rtd_head="discriminator_predictions/",
)
# google-research/bert, and the released Chinese models made with it.
GOOGLE_BERT = _naming(
    "google",
    "cls/predictions/output_bias",
    encoder="bert/",
    masked_lm_head="cls/predictions/transform/",
)
# transformers: ElectraForPreTraining, and the encoder of any ELECTRA class.
DISCRIMINATOR = _naming("torch", encoder="electra.", rtd_head="discriminator_predictions.")
# transformers: ElectraForMaskedLM as the only network.
MASKED_LM_ELECTRA = _naming(
    "torch",
    "generator_lm_head.bias",
    encoder="electra.",
    masked_lm_head="generator_predictions.",
)
# transformers: ElectraForMaskedLM as the generator of a discriminator.
GENERATOR = _naming(
    "torch",
    "generator_lm_head.bias",
    generator="electra.",
    masked_lm_head="generator_predictions.",
)
# transformers: BertForMaskedLM, BertForPreTraining, BertModel.
BERT = _naming(
    "torch",
    "cls.predictions.bias",
    encoder="bert.",
    masked_lm_head="cls.predictions.transform.",
)
