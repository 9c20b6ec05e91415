"""Settings of one pretraining run, under the names of the reference's `PretrainingConfig`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from electra_zh.errors import UsageError, UserError, did_you_mean
from electra_zh.models.config import ModelConfig
from electra_zh.settings import build_settings, load_recipe

# Settings of the reference that are flags or other commands here: name -> what to use instead.
_ELSEWHERE = {
    "model_name": "--output names the run's folder",
    "data_dir": "--data and --output name the folders",
    "pretrain_tfrecords": "--data names the folder of shards",
    "model_dir": "--output names the run's folder",
    "results_dir": "--output names the run's folder",
    "vocab_file": "the data folder brings its vocabulary",
    "do_lower_case": "the data folder brings it; see `electra-zh build-data --help`",
    "do_train": "use `electra-zh pretrain`",
    "do_eval": "use --eval-data or `electra-zh evaluate`",
    "use_tpu": "a run uses the device that TensorFlow finds",
    "model_size": "write model=NAME, as model=small",
    "model_hparam_overrides": "write the keys themselves, as hidden_size=256",
    "num_tpu_cores": "the device decides",
    "debug": "write model=nano or use --config nano",
}

# Slots beyond the expected number, for sequences whose words happen to make more. With words of
# 1.7 tokens and length 128, a word is cut in 0.1 % of full sequences; with one slot less in 1.2 %
# (benchmarks/count_cut_words.py).
_SPARE_SLOTS = 2


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """One pretraining run. Lengths are in tokens, batch sizes are global, rates are per step.

    Attributes:
      model: the discriminator's size (with `electra_objective` off, the masked LM's).
      electra_objective: replaced token detection with a generator; off: masked LM only.
      gen_weight: weight of the generator's masked-LM loss.
      disc_weight: weight of the discriminator's loss.
      masking: what is masked as one: single tokens, words, or MacBERT's n-grams of words.
      mask_prob: share of a sequence's tokens that are predicted.
      mask_keep_prob: share of the predicted positions that show their true token.
      mask_random_prob: share of them that show a random token (BERT: 0.1 and 0.1); the others
        show [MASK].
      generator_layers: the generator's layers as a share of the discriminator's.
      generator_hidden_size: the generator's width as a share of the discriminator's.
      untied_generator: the generator has an encoder of its own; off: one network serves both.
      untied_generator_embeddings: the generator has embeddings of its own.
      uniform_generator: replacements are drawn uniformly from the vocabulary, no generator.
      disallow_correct: the generator never draws the original token.
      temperature: divides the generator's logits before drawing.
      optimizer: the reference's Adam with weight decay, or LAMB for large batches.
      learning_rate: the peak rate, after warm-up.
      lr_decay_power: power of the polynomial decay to 0 at `num_train_steps`.
      weight_decay_rate: decoupled weight decay.
      num_warmup_steps: steps of linear warm-up.
      num_train_steps: steps of the whole run.
      train_batch_size: sequences a step.
      max_seq_length: length of a sequence; must be that of the data.
      eval_batch_size: sequences a step in evaluation.
      num_eval_steps: evaluation batches at most; 0 evaluates all of the data.
      save_checkpoints_steps: steps between checkpoints (and evaluations).
      keep_checkpoint_max: the last so many checkpoints are kept.
      log_steps: steps between lines of metrics.
      iterations_per_loop: steps in one call to the device; 0 fits them to about a second.
      precision: compute type; weights, losses, softmax and layer norm are float32 in both.
      seed: everything random follows from it.
    """

    model: ModelConfig
    electra_objective: bool = True
    gen_weight: float = 1.0
    disc_weight: float = 50.0
    masking: Literal["uniform", "whole_word", "ngram"] = "uniform"
    mask_prob: float = 0.15
    mask_keep_prob: float = 0.15
    mask_random_prob: float = 0.0
    generator_layers: float = 1.0
    generator_hidden_size: float = 0.25
    untied_generator: bool = True
    untied_generator_embeddings: bool = False
    uniform_generator: bool = False
    disallow_correct: bool = False
    temperature: float = 1.0
    optimizer: Literal["adamw", "lamb"] = "adamw"
    learning_rate: float = 5e-4
    lr_decay_power: float = 1.0
    weight_decay_rate: float = 0.01
    num_warmup_steps: int = 10_000
    num_train_steps: int = 1_000_000
    train_batch_size: int = 128
    max_seq_length: int = 128
    eval_batch_size: int = 128
    num_eval_steps: int = 100
    save_checkpoints_steps: int = 1000
    keep_checkpoint_max: int = 5
    log_steps: int = 100
    iterations_per_loop: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        at_least_one = (
            "num_train_steps",
            "train_batch_size",
            "eval_batch_size",
            "save_checkpoints_steps",
            "keep_checkpoint_max",
            "log_steps",
        )
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1; received {getattr(self, name)}")
        not_negative = (
            *("num_warmup_steps", "num_eval_steps", "iterations_per_loop", "seed"),
            *("gen_weight", "disc_weight", "weight_decay_rate", "lr_decay_power"),
        )
        for name in not_negative:
            if getattr(self, name) < 0:
                raise UserError(f"{name} must not be negative; received {getattr(self, name)}")
        positive = ("learning_rate", "temperature", "generator_layers", "generator_hidden_size")
        for name in positive:
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be above 0; received {getattr(self, name)}")
        if not 8 <= self.max_seq_length <= self.model.max_position_embeddings:
            raise UserError(
                f"max_seq_length must lie between 8 and max_position_embeddings "
                f"({self.model.max_position_embeddings}); received {self.max_seq_length}"
            )
        self._check_masking()
        if self.uniform_generator and not self.untied_generator:
            raise UserError("uniform_generator has no network: untied_generator=false is no choice")

    def _check_masking(self) -> None:
        if not 0 < self.mask_prob < 1:
            raise UserError(f"mask_prob must lie between 0 and 1; received {self.mask_prob}")
        least = self.mask_prob + (0.0 if self.needs_words else 0.005)
        if int(least * self.max_seq_length) < 1:
            raise UserError(
                f"mask_prob {self.mask_prob} masks no position of {self.max_seq_length}: raise it"
            )
        kept, random = self.mask_keep_prob, self.mask_random_prob
        if not (kept >= 0 and random >= 0 and kept + random <= 1):
            raise UserError(
                "mask_keep_prob and mask_random_prob are shares of the masked positions, together "
                f"at most 1; received {kept} and {random}"
            )

    @property
    def needs_words(self) -> bool:
        """Whether the masking needs the data to say where words begin."""
        return self.masking != "uniform"

    @property
    def max_predictions_per_seq(self) -> int:
        """Masked positions of a sequence at most (N)."""
        if self.needs_words:
            most = math.ceil(self.mask_prob * self.max_seq_length) + _SPARE_SLOTS
        else:
            most = int((self.mask_prob + 0.005) * self.max_seq_length)
        return min(most, self.max_seq_length)

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as nested plain values, as `from_dict` takes them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str) -> PretrainConfig:
        """Builds the settings from nested plain values.

        Raises:
          UserError: an unknown key, a wrong type, or values that do not go together.
        """
        return build_settings(cls, values, where=where)


@dataclasses.dataclass(frozen=True)
class Init:
    """What a run's first weights come from. Two are the same if source and layers are.

    Attributes:
      source: path of the model, as given.
      layers: which of its layers are taken; all unless given.
      kind: what the source is, in words.
      step: its training steps, if it says.
      positions: positions that it was trained on.
      sha256: of its weights.
    """

    source: str
    layers: tuple[int, ...] = ()
    kind: str = dataclasses.field(default="", compare=False)
    step: int | None = dataclasses.field(default=None, compare=False)
    positions: int = dataclasses.field(default=0, compare=False)
    sha256: str = dataclasses.field(default="", compare=False)

    def __str__(self) -> str:
        layers = ",".join(map(str, self.layers))
        return f"--init {self.source}" + (f" --init-layers {layers}" if layers else "")


class SourceSize(NamedTuple):
    """What `model=source` stands for.

    Attributes:
      model: size of the encoder.
      generator: settings of the run that give its generator; none without one.
    """

    model: ModelConfig
    generator: Mapping[str, Any]


def parse_init(source: str | None, layers: str | None) -> Init | None:
    """Reads the flags --init and --init-layers; None without them.

    Args:
      source: the path.
      layers: `first:3`, or numbers from 0 with commas between them.

    Raises:
      UsageError: layers without a source, or in another form.
    """
    if source is None:
        if layers is not None:
            raise UsageError("--init-layers needs --init: of which model?")
        return None
    source = source.rstrip("/") or source
    if layers is None:
        return Init(source)
    first, colon, count = layers.partition(":")
    if colon and first == "first" and count.isdecimal() and int(count) > 0:
        return Init(source, tuple(range(int(count))))
    words = [word.strip() for word in layers.split(",")]
    if not all(word.isdecimal() for word in words):
        raise UsageError(
            f'--init-layers is "{layers}"; allowed: first:3, or numbers from 0 on as 0,5,11'
        )
    return Init(source, tuple(map(int, words)))


def resolve(
    recipe: str,
    overrides: Mapping[str, str],
    *,
    vocab_size: int,
    source: SourceSize | None = None,
    init: Init | None = None,
) -> PretrainConfig:
    """Resolves a recipe and `key=value` overrides into settings.

    Args:
      recipe: name of a shipped recipe or path of a YAML file.
      overrides: from the command line; they win over the recipe.
      vocab_size: number of tokens of the data's vocabulary, unless the recipe gives it.
      source: what `model=source` stands for: its size, and its generator's; of a run that has
        none, None.
      init: what the run starts from; its chosen layers give the number of layers.

    Raises:
      UsageError: an unknown recipe or key.
      UserError: a value that is not allowed.
    """
    values = load_recipe(recipe, kind="pretrain")
    overrides = dict(overrides)
    model = overrides.pop("model", values.get("model"))
    if model == "source":
        if source is None:
            raise UsageError("model=source takes the size of the model that --init names")
        values.update(source.generator)
        model = dataclasses.asdict(source.model) | {"vocab_size": vocab_size}
    elif isinstance(model, str):
        model = load_recipe(model, kind="model")
    elif not isinstance(model, Mapping):
        raise UserError(f"Recipe {recipe}: `model` must name a model size or give its settings")
    values["model"] = {"vocab_size": vocab_size, **model}
    depth = len(init.layers) if init else 0
    if depth:
        values["model"]["num_hidden_layers"] = depth
    resolved = override(values, overrides, where=recipe)
    if depth and resolved.model.num_hidden_layers != depth:
        raise UsageError(
            f"num_hidden_layers is {resolved.model.num_hidden_layers} but --init-layers takes "
            f"{depth}: leave num_hidden_layers out"
        )
    return resolved


def override(
    values: Mapping[str, Any], overrides: Mapping[str, str], *, where: str
) -> PretrainConfig:
    """Returns nested plain `values` with overrides as settings.

    A key of the model's size may be given with or without `model.` before it.

    Raises:
      UsageError: an unknown key; the message names the nearest one, or what to use instead.
      UserError: a value that is not allowed.
    """
    changed = {**values, "model": dict(values["model"])}
    own_keys = [field.name for field in dataclasses.fields(PretrainConfig)]
    model_keys = [field.name for field in dataclasses.fields(ModelConfig)]
    for key, value in overrides.items():
        name = key.removeprefix("model.")
        if name in model_keys:
            changed["model"][name] = value
        elif key in own_keys and key != "model":
            changed[key] = value
        elif key in _ELSEWHERE:
            raise UsageError(f'"{key}" is not a setting here: {_ELSEWHERE[key]}')
        else:
            hint = did_you_mean(key, [*own_keys, *model_keys])
            raise UsageError(f'Unknown setting "{key}".{hint}')
    return PretrainConfig.from_dict(changed, where=where)
