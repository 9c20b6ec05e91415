"""One table of names: our variables <-> Google's TF1 names <-> Hugging Face's, ELECTRA and BERT.

A variable's name is its place in the objective: `encoder/layers/0/attention/query/kernel` is what
`objective.encoder.layers[0].attention.query.kernel` is called, in checkpoints too. `encoder` is the
network that fine-tuning keeps: the discriminator, or the only network of plain masked LM.

Every kind of file that holds one or both networks is a `Naming`. Names alone are not all: in the
files of Hugging Face a dense kernel is transposed (`Naming.transposes`).

`{layer}` stands for a layer's number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class Weight(NamedTuple):
    """One kind of variable under each naming of its own part; what a file has before it varies."""

    ours: str
    google: str
    torch: str


_LAYER, _GOOGLE, _TORCH = "layers/{layer}", "encoder/layer_{layer}", "encoder.layer.{layer}"
_ATTENTION, _SELF = f"{_LAYER}/attention", f"{_GOOGLE}/attention/self"

# A transformer. The last layer norms of attention and layer are `output/LayerNorm` elsewhere.
NETWORK: tuple[Weight, ...] = tuple(
    Weight(*names)
    for names in (
        *(
            (f"embeddings/{table}", f"embeddings/{table}", f"embeddings.{table}.weight")
            for table in ("word_embeddings", "token_type_embeddings", "position_embeddings")
        ),
        *(
            (f"embeddings/layer_norm/{our}", f"embeddings/LayerNorm/{our}", f"embeddings.{torch}")
            for our, torch in (("gamma", "LayerNorm.weight"), ("beta", "LayerNorm.bias"))
        ),
        ("projection/kernel", "embeddings_project/kernel", "embeddings_project.weight"),
        ("projection/bias", "embeddings_project/bias", "embeddings_project.bias"),
        *(
            name
            for part in ("query", "key", "value")
            for name in (
                (
                    f"{_ATTENTION}/{part}/kernel",
                    f"{_SELF}/{part}/kernel",
                    f"{_TORCH}.attention.self.{part}.weight",
                ),
                (
                    f"{_ATTENTION}/{part}/bias",
                    f"{_SELF}/{part}/bias",
                    f"{_TORCH}.attention.self.{part}.bias",
                ),
            )
        ),
        *(
            name
            for our, google, torch in (
                (f"{_ATTENTION}/output", "attention/output/dense", "attention.output.dense"),
                (f"{_LAYER}/intermediate", "intermediate/dense", "intermediate.dense"),
                (f"{_LAYER}/output", "output/dense", "output.dense"),
            )
            for name in (
                (f"{our}/kernel", f"{_GOOGLE}/{google}/kernel", f"{_TORCH}.{torch}.weight"),
                (f"{our}/bias", f"{_GOOGLE}/{google}/bias", f"{_TORCH}.{torch}.bias"),
            )
        ),
        *(
            name
            for our, google, torch in (
                (_ATTENTION, "attention/output", "attention.output"),
                (_LAYER, "output", "output"),
            )
            for name in (
                (
                    f"{our}/layer_norm/gamma",
                    f"{_GOOGLE}/{google}/LayerNorm/gamma",
                    f"{_TORCH}.{torch}.LayerNorm.weight",
                ),
                (
                    f"{our}/layer_norm/beta",
                    f"{_GOOGLE}/{google}/LayerNorm/beta",
                    f"{_TORCH}.{torch}.LayerNorm.bias",
                ),
            )
        ),
    )
)

# The head of masked LM. Its product with the word embeddings has no variable of its own.
MASKED_LM: tuple[Weight, ...] = (
    Weight("dense/kernel", "dense/kernel", "dense.weight"),
    Weight("dense/bias", "dense/bias", "dense.bias"),
    Weight("layer_norm/gamma", "LayerNorm/gamma", "LayerNorm.weight"),
    Weight("layer_norm/beta", "LayerNorm/beta", "LayerNorm.bias"),
)
_OUTPUT_BIAS = "masked_lm_head/output_bias"

# The head of replaced token detection.
DETECTION: tuple[Weight, ...] = (
    Weight("dense/kernel", "dense/kernel", "dense.weight"),
    Weight("dense/bias", "dense/bias", "dense.bias"),
    Weight("output/kernel", "dense_1/kernel", "dense_prediction.weight"),
    Weight("output/bias", "dense_1/bias", "dense_prediction.bias"),
)

# Heads of fine-tuned models by the class of transformers that has them. One dense layer more or
# less is another class: heads of other forms have none.
HEADS: dict[str, dict[str, str]] = {
    "ElectraForSequenceClassification": {
        "dense/kernel": "classifier.dense.weight",
        "dense/bias": "classifier.dense.bias",
        "output/kernel": "classifier.out_proj.weight",
        "output/bias": "classifier.out_proj.bias",
    },
    "ElectraForTokenClassification": {
        "output/kernel": "classifier.weight",
        "output/bias": "classifier.bias",
    },
    "ElectraForQuestionAnswering": {
        "output/kernel": "qa_outputs.weight",
        "output/bias": "qa_outputs.bias",
    },
    "ElectraForMultipleChoice": {
        "dense/kernel": "sequence_summary.summary.weight",
        "dense/bias": "sequence_summary.summary.bias",
        "output/kernel": "classifier.weight",
        "output/bias": "classifier.bias",
    },
}


class Naming:
    """The names that one kind of file has for our variables, one to one.

    Attributes:
      pairs: our name to the file's, with `{layer}`.
      transposes: dense kernels are [outputs, inputs] in the file.
    """

    def __init__(self, pairs: Mapping[str, str], *, transposes: bool) -> None:
        self.pairs = dict(pairs)
        self.transposes = transposes
        self._back = {theirs: ours for ours, theirs in self.pairs.items()}
        assert len(self._back) == len(self.pairs), "two variables under one name"

    def theirs(self, name: str) -> str:
        """Returns the file's name of our variable.

        Raises:
          KeyError: the file has no such variable.
        """
        return _rename(variable_name(name), self.pairs)

    def ours(self, name: str) -> str:
        """Returns our name of the file's variable.

        Raises:
          KeyError: we have no such variable.
        """
        return _rename(name, self._back)

    def is_transposed(self, ours: str) -> bool:
        """Returns whether the file holds our variable with rows and columns exchanged."""
        return self.transposes and ours.endswith("/kernel")


def variable_name(name: str) -> str:
    """Returns a variable's name without TensorFlow's output number (`:0`)."""
    return name.partition(":")[0]


# A layer's number, with what stands round it: /layers/3/ (ours), /layer_3/, .layer.3.
_NUMBER = re.compile(r"(/layers/|/layer_|\.layer\.)(\d+)([/.])")


def _rename(name: str, table: Mapping[str, str]) -> str:
    match = _NUMBER.search(name)
    if match is None:
        return table[name]
    template = f"{name[: match.start(2)]}{{layer}}{name[match.end(2) :]}"
    return table[template].replace("{layer}", match[2])


def _google(part: tuple[Weight, ...], ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}/{weight.ours}": f"{theirs}/{weight.google}" for weight in part}


def _torch(part: tuple[Weight, ...], ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}/{weight.ours}": f"{theirs}.{weight.torch}" for weight in part}


# google-research/electra: both networks in one checkpoint.
GOOGLE_ELECTRA = Naming(
    {
        **_google(NETWORK, "encoder", "electra"),
        **_google(NETWORK, "generator", "generator"),
        **_google(MASKED_LM, "masked_lm_head", "generator_predictions"),
        _OUTPUT_BIAS: "generator_predictions/output_bias",
        **_google(DETECTION, "rtd_head", "discriminator_predictions"),
    },
    transposes=False,
)
# google-research/bert, and the released Chinese models made with it.
GOOGLE_BERT = Naming(
    {
        **_google(NETWORK, "encoder", "bert"),
        **_google(MASKED_LM, "masked_lm_head", "cls/predictions/transform"),
        _OUTPUT_BIAS: "cls/predictions/output_bias",
    },
    transposes=False,
)
# transformers: ElectraForPreTraining, and the encoder of any ELECTRA class.
DISCRIMINATOR = Naming(
    {
        **_torch(NETWORK, "encoder", "electra"),
        **_torch(DETECTION, "rtd_head", "discriminator_predictions"),
    },
    transposes=True,
)
# transformers: ElectraForMaskedLM, seen as the only network.
MASKED_LM_ELECTRA = Naming(
    {
        **_torch(NETWORK, "encoder", "electra"),
        **_torch(MASKED_LM, "masked_lm_head", "generator_predictions"),
        _OUTPUT_BIAS: "generator_lm_head.bias",
    },
    transposes=True,
)
# transformers: ElectraForMaskedLM, as the generator beside a discriminator.
GENERATOR = Naming(
    {
        **_torch(NETWORK, "generator", "electra"),
        **_torch(MASKED_LM, "masked_lm_head", "generator_predictions"),
        _OUTPUT_BIAS: "generator_lm_head.bias",
    },
    transposes=True,
)
# transformers: BertForMaskedLM, BertForPreTraining, BertModel.
BERT = Naming(
    {
        **_torch(NETWORK, "encoder", "bert"),
        **_torch(MASKED_LM, "masked_lm_head", "cls.predictions.transform"),
        _OUTPUT_BIAS: "cls.predictions.bias",
    },
    transposes=True,
)


def head_naming(task: str, class_name: str) -> Naming:
    """Returns the names of a fine-tuned model of one task in a class of transformers."""
    heads = {f"heads/{task}/{ours}": theirs for ours, theirs in HEADS[class_name].items()}
    return Naming({**_torch(NETWORK, "encoder", "electra"), **heads}, transposes=True)


def to_google(name: str) -> str:
    """Returns the name of our variable in checkpoints of google-research/electra.

    Raises:
      KeyError: we have no such variable.
    """
    return GOOGLE_ELECTRA.theirs(name)


def from_google(name: str) -> str:
    """Returns our name of a variable of google-research/electra.

    Raises:
      KeyError: the reference has no such variable.
    """
    return GOOGLE_ELECTRA.ours(name)
