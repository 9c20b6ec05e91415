"""The Python interface: six names of the package `electra_zh`, which imports this on use.

    import electra_zh
    tokenizer = electra_zh.load_tokenizer("run")
    encoder = electra_zh.load_encoder("run")
    vectors = encoder.pooled(["今天天气很好。"])

Training is for the command line. Mistakes raise `electra_zh.errors.UserError`, a ValueError with
the message that the command line shows.

Shapes: N texts, B texts of a batch, L length, D hidden width.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.commands.loading import load_tensorflow
from electra_zh.convert.source import open_source
from electra_zh.errors import UserError
from electra_zh.text.tokenizer import (
    Tokenizer,
    load_vocabulary,
    make_tokenizer,
    pad,
    vocabulary_files,
)

if TYPE_CHECKING:
    from electra_zh.convert.weights import Weights

Pooling = Literal["mean", "cls"]
# Texts that are sorted by length together.
_BLOCK = 2048


class HiddenStates(NamedTuple):
    """The output of a layer for texts."""

    states: np.ndarray  # float32 [B, L, D]
    mask: np.ndarray  # int32 [B, L], 1 at tokens, [CLS] and [SEP] included, and 0 at padding
    tokens: list[list[str]]  # those of each text, as many as its row of the mask has ones


def load_tokenizer(path: str) -> Tokenizer:
    """Returns the tokenizer of a model of any form, of a data folder or of a vocabulary file.

    A vocabulary file alone is taken with the default normalisation of text.

    Raises:
      UserError: there is no vocabulary.
    """
    from electra_zh.data.manifest import holds_data
    from electra_zh.data.source import open_data_source

    if files.exists(path) and not files.is_dir(path) and os.path.basename(path).endswith(_SUFFIXES):
        return make_tokenizer(load_vocabulary(path))
    if holds_data(path):
        source = open_data_source(path)
        return make_tokenizer(source.vocabulary, source.tokenizer)
    weights = open_source(path, settings_only=True)
    if weights.vocabulary is None:
        raise UserError(f"{path} has no vocabulary: put its vocab.txt or spm.model into the folder")
    return make_tokenizer(weights.vocabulary, weights.tokenizer)


_SUFFIXES = tuple(os.path.splitext(name)[1] for name in vocabulary_files())


def load_encoder(
    path: str,
    *,
    checkpoint: int | None = None,
    layer: int | None = None,
    max_seq_length: int | None = None,
    batch_size: int = 32,
) -> TextEncoder:
    """Returns the encoder of a run, a fine-tuned model or a model of another tool.

    Args:
      path: any path that `electra-zh convert` takes.
      checkpoint: step of a run's checkpoint; None for the newest.
      layer: number of the layer whose output is wanted, from 1; negative ones count from the last,
        None is the last.
      max_seq_length: tokens of a text, with [CLS] and [SEP]; longer texts are cut. None for all
        positions that were trained.
      batch_size: texts per step.

    Raises:
      UserError: there is no model, or no such checkpoint or layer.
    """
    load_tensorflow()
    weights = open_source(path, checkpoint=checkpoint)
    return TextEncoder(weights, layer=layer, max_seq_length=max_seq_length, batch_size=batch_size)


class TextEncoder:
    """An encoder with its tokenizer: texts to hidden states, or to one vector per text.

    Attributes:
      tokenizer: the tokenizer.
      hidden_size: D.
      max_seq_length: tokens of a text, at most; longer texts are cut.
      cut: number of texts that were cut so far.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        layer: int | None = None,
        max_seq_length: int | None = None,
        batch_size: int = 32,
    ) -> None:
        """Makes the network; see `load_encoder`."""
        import tensorflow as tf

        from electra_zh.models.encoder import Encoder
        from electra_zh.models.weight_names import variable_name
        from electra_zh.training import checkpoints, side_by_side

        if weights.vocabulary is None:
            raise UserError(f"{weights.path} has no vocabulary: put its vocab.txt into the folder")
        size = weights.model
        layers = _number_of_layers(layer, size.num_hidden_layers)
        self._encoder = Encoder(
            dataclasses.replace(size, num_hidden_layers=layers), "encoder", seed=0
        )
        variables = {variable_name(each.name): each for each in self._encoder.trainable_variables}
        checkpoints.assign(variables, weights.tensors, where=weights.path)
        trained = weights.trained.length if weights.trained else 0
        longest = size.max_position_embeddings
        self.max_seq_length = max_seq_length or trained or longest
        if not 3 <= self.max_seq_length <= longest:
            raise UserError(
                f"max_seq_length must be from 3 to the {longest} positions of the model; received "
                f"{self.max_seq_length}"
            )
        self.tokenizer = make_tokenizer(weights.vocabulary, weights.tokenizer)
        self.hidden_size, self.cut = size.hidden_size, 0
        self._batch_size = batch_size
        # One graph for all lengths: each would be traced for itself.
        form = tf.TensorSpec([None, None], tf.int32)
        self._step = tf.function(self._run, input_signature=[form, form], autograph=False)
        self._compute_all = side_by_side.in_order(self._compute)

    def __call__(self, texts: Sequence[str]) -> HiddenStates:
        """Returns the hidden states of texts, as one batch padded to the longest."""
        _refuse_one_text(texts)
        rows = self._rows(texts)
        ids, mask = pad(rows, self.max_seq_length, multiple=1)
        names = self.tokenizer.vocabulary.tokens
        return HiddenStates(
            self._states(ids, mask), mask, [[names[id_] for id_ in row] for row in rows]
        )

    def pooled(self, texts: Iterable[str], *, pool: Pooling = "mean") -> np.ndarray:
        """Returns a vector per text, float32 [N, D]; see `stream`."""
        blocks = list(self.stream(texts, pool=pool))
        return np.concatenate([np.zeros((0, self.hidden_size), np.float32), *blocks])

    def stream(self, texts: Iterable[str], *, pool: Pooling = "mean") -> Iterator[np.ndarray]:
        """Yields the vectors of texts in their order, float32 [some, D] each.

        Args:
          texts: any number of them.
          pool: mean over the tokens, [CLS] and [SEP] included; or the output at [CLS].
        """
        _refuse_one_text(texts)
        if pool not in ("mean", "cls"):
            raise UserError(f'pool is "{pool}"; allowed: mean, cls')
        remaining = iter(texts)
        while block := list(itertools.islice(remaining, _BLOCK)):
            rows = self._rows(block)
            found = np.zeros((len(rows), self.hidden_size), np.float32)
            # Texts of similar length together: less padding.
            order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
            batches = [
                order[first : first + self._batch_size]
                for first in range(0, len(order), self._batch_size)
            ]
            taken = ((chosen, [rows[index] for index in chosen], pool) for chosen in batches)
            for chosen, vectors in self._compute_all(taken):
                found[chosen] = vectors
            yield found

    def _compute(
        self, batch: tuple[list[int], list[list[int]], Pooling]
    ) -> tuple[list[int], np.ndarray]:
        """Returns the numbers of the texts of a batch, and their vectors."""
        chosen, rows, pool = batch
        ids, mask = pad(rows, self.max_seq_length, multiple=1)
        return chosen, _pool(self._states(ids, mask), mask, pool)

    def _rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text: [CLS] text [SEP]."""
        vocabulary, room = self.tokenizer.vocabulary, self.max_seq_length - 2
        found = self.tokenizer.encode_batch([" ".join(_text(each).splitlines()) for each in texts])
        ends = itertools.pairwise([0, *found.text_ends.tolist()])
        encoded = [found.ids[start:end].tolist() for start, end in ends]
        self.cut += sum(len(ids) > room for ids in encoded)
        return [[vocabulary.cls_id, *ids[:room], vocabulary.sep_id] for ids in encoded]

    def _states(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        states: np.ndarray = self._step(ids, mask).numpy()
        return states.reshape(*ids.shape, self.hidden_size)

    def _run(self, ids: Any, mask: Any) -> Any:
        import tensorflow as tf

        from electra_zh.models import layers

        with layers.plain_operations():
            return self._encoder(ids, mask, tf.zeros_like(ids))


def _refuse_one_text(texts: object) -> None:
    """Raises a UserError for one text instead of several: its characters would be the texts."""
    if isinstance(texts, str):
        raise UserError(f"texts is one text, {texts[:40]!r}. Give a list of texts")


def _text(value: object) -> str:
    """Returns a text; raises a UserError for another value, as pandas has for an empty cell."""
    if not isinstance(value, str):
        raise UserError(f'a text is {value!r:.40}, not a str. Give "" for a missing one')
    return value


def _number_of_layers(layer: int | None, layers: int) -> int:
    """Returns the number of layers to compute for the output of one."""
    if layer is None:
        return layers
    number = layers + 1 + layer if layer < 0 else layer
    if not 1 <= number <= layers:
        raise UserError(f"layer is {layer}; the model has the layers 1 to {layers}")
    return number


def _pool(states: np.ndarray, mask: np.ndarray, pool: Pooling) -> np.ndarray:
    """Returns vectors [B, D] of states [B, L, D]."""
    if pool == "cls":
        return states[:, 0]
    weights = mask[:, :, None].astype(np.float32)
    mean: np.ndarray = (states * weights).sum(1) / weights.sum(1)
    return mean


def load_predictor(model: str, *, task: str | None = None, batch_size: int = 64) -> TextPredictor:
    """Returns a fine-tuned model that labels texts.

    Args:
      model: a fine-tuned model, or its task's folder.
      task: the task, for a model of several.
      batch_size: texts per step.

    Raises:
      UserError: there is no such model or task; in a call, the task is not one of texts alone.
    """
    return TextPredictor(model, task=task, batch_size=batch_size)


class TextPredictor:
    """A task of a fine-tuned model: texts, or pairs, to labels. For one thread at a time."""

    def __init__(self, model: str, *, task: str | None = None, batch_size: int = 64) -> None:
        """Loads the model; see `load_predictor`."""
        load_tensorflow()
        from electra_zh.finetuning.predict import load
        from electra_zh.finetuning.readers.plain import is_pair
        from electra_zh.finetuning.request import PredictionRequest

        self._request = PredictionRequest(
            model=model, input="", output="-", task=task, batch_size=batch_size, plain=True
        )
        self._is_pair = is_pair(self._request.saved_task())
        self._loaded = load(self._request)

    def __call__(
        self, texts: Sequence[str | tuple[str, str]], *, probabilities: bool = False
    ) -> list[dict[str, Any]]:
        """Returns a dictionary per text; see `predict`."""
        from electra_zh.finetuning.predict import predict as label

        parts = _all_parts(texts)
        if not parts:
            return []
        _refuse_others(parts, pair=self._is_pair)
        with tempfile.TemporaryDirectory() as folder:
            source, target = os.path.join(folder, "texts"), os.path.join(folder, "labels.jsonl")
            files.write_text(source, "".join("\t".join(each) + "\n" for each in parts))
            request = dataclasses.replace(
                self._request, input=source, output=target, probabilities=probabilities
            )
            label(request, loaded=self._loaded)
            return [json.loads(line) for line in files.read_text(target).splitlines()]


def predict(
    model: str,
    texts: Sequence[str | tuple[str, str]],
    *,
    task: str | None = None,
    probabilities: bool = False,
    batch_size: int = 64,
) -> list[dict[str, Any]]:
    """Labels texts with a fine-tuned model, as `electra-zh predict` does.

    Args:
      model: a fine-tuned model, or its task's folder. It is loaded in each call.
      texts: the texts, or pairs of texts for a task on pairs.
      task: the task, for a model of several.
      probabilities: add the probability of each label.
      batch_size: texts per step.

    Returns:
      A dictionary per text, such as {"id": 0, "label": "sport", "probability": 0.98}.

    Raises:
      UserError: there is no such model, or the texts are not those of its task.
    """
    if not _all_parts(texts):
        return []
    found = load_predictor(model, task=task, batch_size=batch_size)
    return found(texts, probabilities=probabilities)


def _all_parts(texts: Sequence[str | tuple[str, str]]) -> list[list[str]]:
    """Returns the parts of each text; raises UserError for one of several lines."""
    _refuse_one_text(texts)
    parts = list(map(_parts, texts))
    if broken := next((each for each in itertools.chain(*parts) if len(each.splitlines()) > 1), ""):
        raise UserError(f"a text has several lines: {broken[:40]!r}. Join them")
    return parts


def _parts(text: object) -> list[str]:
    """Returns a text, or the two of a pair, without the line end that lines of files have."""
    texts = text if isinstance(text, tuple | list) else (text,)
    return [_text(each).rstrip("\r\n").replace("\t", " ") for each in texts]


def _refuse_others(texts: Sequence[Sequence[str]], *, pair: bool) -> None:
    """Raises a UserError for single texts where pairs are needed, or the reverse."""
    if wrong := next((each for each in texts if len(each) != 1 + pair), None):
        what = "pairs of texts" if pair else "single texts, not pairs"
        raise UserError(f"the task is about {what}; received {tuple(wrong)!r:.80}")


def evaluate(
    run: str, data: str, *, checkpoint: int | None = None, batches: int = 0
) -> dict[str, float]:
    """Evaluates a pretraining run on held-out data, as `electra-zh evaluate` does.

    Args:
      run: folder of the run.
      data: folder of build-data, or of shards.
      checkpoint: step of the checkpoint; None for the newest.
      batches: maximum batches to evaluate; 0 for all.

    Raises:
      UserError: there is no such run or data, or they do not match.
    """
    from electra_zh.pretraining import folder

    opened, step = folder.open_run(run, checkpoint=checkpoint)
    load_tensorflow()
    from electra_zh.pretraining.evaluate import evaluate_run

    return evaluate_run(opened, [data], checkpoint=step, max_batches=batches)


def read_results(folder: str) -> dict[str, dict[str, Any]]:
    """Returns the results of `electra-zh finetune` by task, as results.json has them.

    A task's result has `metric`, `dev` and `test` (`max`, `mean`, `std`, `trials`; None without
    labels), `published` scores by size, and the list `trials`.

    Raises:
      UserError: the folder has no results, or they are damaged.
    """
    from electra_zh.report import scores

    return dict(scores.read_results(folder).summary["tasks"])
