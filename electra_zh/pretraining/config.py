"""Settings of one pretraining run, under the names of the reference's `PretrainingConfig`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from electra_zh.errors import UsageError, UserError
from electra_zh.models.config import ModelConfig
from electra_zh.pretraining.masking import MASKINGS
from electra_zh.pretraining.objectives import objective_names
from electra_zh.settings import (
    COMMAND_LINE,
    Layer,
    Resolved,
    Settings,
    load_recipe,
    resolution,
    setting,
)
from electra_zh.training.optimizers import optimizer_names
from electra_zh.training.schedules import SCHEDULES


def _objective(text: str) -> str:
    """Returns the objective that `electra_objective=true` or `false` means; other text as it is."""
    return {"true": "electra", "false": "masked_lm"}.get(text.lower(), text)


@dataclasses.dataclass(frozen=True)
class PretrainConfig(Settings):
    """One pretraining run. Lengths are in tokens, batch sizes are global, rates are per step."""

    # Settings of the reference that are flags or other commands here, and what to use instead.
    ELSEWHERE: ClassVar[Mapping[str, str]] = {
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
        "phases": "list phases in a recipe, and write phases.NAME.key=value",
    }

    model: ModelConfig = setting(
        meaning="recipe of the size of the discriminator, or of masked LM's only network; source "
        "takes the size of the model that --init names",
        metavar="NAME",
        group="model",
    )
    objective: str = setting(
        "electra",
        "pretraining objective: replaced token detection with a generator, or masked LM alone",
        choices=objective_names,
        flags=("--electra-objective",),
        parse=_objective,
        group="objective",
    )
    gen_weight: float = setting(
        1.0, "weight of the generator's masked LM loss", at_least=0, group="objective"
    )
    disc_weight: float = setting(
        50.0, "weight of the discriminator's loss", at_least=0, group="objective"
    )
    masking: str = setting(
        "uniform",
        "unit of masking: single tokens, whole words, or MacBERT's n-grams of words",
        choices=lambda: tuple(MASKINGS),
        group="masking",
    )
    mask_prob: float = setting(
        0.15, "fraction of a sequence's tokens to predict", above=0, below=1, group="masking"
    )
    mask_keep_prob: float = setting(
        0.15,
        "fraction of the predicted positions that show their true token",
        at_least=0,
        group="masking",
    )
    mask_random_prob: float = setting(
        0.0,
        "fraction of them that show a random token (BERT: 0.1 and 0.1); the others show [MASK]",
        at_least=0,
        group="masking",
    )
    generator_layers: float = setting(
        1.0,
        "the generator's layers as a fraction of the discriminator's",
        above=0,
        group="generator",
    )
    generator_hidden_size: float = setting(
        0.25,
        "the generator's width as a fraction of the discriminator's",
        above=0,
        group="generator",
    )
    untied_generator: bool = setting(
        True,
        "a separate encoder for the generator; off: one network serves both",
        group="generator",
    )
    untied_generator_embeddings: bool = setting(
        False, "separate embeddings for the generator", group="generator"
    )
    uniform_generator: bool = setting(
        False,
        "draw replacements uniformly from the vocabulary, without a network",
        group="generator",
    )
    disallow_correct: bool = setting(
        False, "the generator never draws the original token", group="generator"
    )
    temperature: float = setting(
        1.0, "divisor of the generator's logits before drawing", above=0, group="generator"
    )
    optimizer: str = setting(
        "adamw",
        "the reference's Adam with weight decay, or LAMB for large batches",
        choices=optimizer_names,
        group="training",
    )
    learning_rate: float = setting(5e-4, "peak rate, after warm-up", above=0, group="training")
    lr_schedule: str = setting(
        "polynomial",
        "learning rate after warm-up: polynomial decay to 0 at num_train_steps, or constant",
        choices=lambda: tuple(SCHEDULES),
        group="training",
    )
    lr_decay_power: float = setting(
        1.0, "power of the polynomial decay", at_least=0, group="training"
    )
    weight_decay_rate: float = setting(0.01, "decoupled weight decay", at_least=0, group="training")
    num_warmup_steps: int = setting(10_000, "steps of linear warm-up", at_least=0, group="training")
    num_train_steps: int = setting(
        1_000_000, "steps of the complete run", at_least=1, group="training"
    )
    train_batch_size: int = setting(128, "sequences per step", at_least=1, group="training")
    max_seq_length: int = setting(
        128,
        "length of a sequence; longer examples of the data are cut into several",
        at_least=8,
        group="training",
    )
    eval_batch_size: int = setting(
        128, "sequences per step of evaluation", at_least=1, group="evaluation and checkpoints"
    )
    num_eval_steps: int = setting(
        100,
        "maximum batches to evaluate; 0: all",
        at_least=0,
        group="evaluation and checkpoints",
    )
    save_checkpoints_steps: int = setting(
        1000,
        "steps between checkpoints (and evaluations)",
        at_least=1,
        group="evaluation and checkpoints",
    )
    keep_checkpoint_max: int = setting(
        5,
        "number of checkpoints to keep, the newest",
        at_least=1,
        group="evaluation and checkpoints",
    )
    log_steps: int = setting(
        100, "steps between lines of metrics", at_least=1, group="evaluation and checkpoints"
    )
    iterations_per_loop: int = setting(
        0, "steps per call to the device; 0: about a second of steps", at_least=0, group="training"
    )
    precision: Literal["float32", "bfloat16"] = setting(
        "float32",
        "compute type; weights, losses, softmax and layer norm are float32 in both",
        group="training",
    )
    seed: int = setting(0, "random seed", at_least=0, group="training")

    def check_together(self) -> None:
        """Checks the length, the masking and the generator."""
        if self.max_seq_length > self.model.max_position_embeddings:
            raise UserError(
                "max_seq_length must be at most max_position_embeddings "
                f"({self.model.max_position_embeddings}); received {self.max_seq_length}"
            )
        least = self.mask_prob + (0.0 if self.needs_words else 0.005)
        if int(least * self.max_seq_length) < 1:
            raise UserError(
                f"mask_prob {self.mask_prob} masks no position of {self.max_seq_length}: raise it"
            )
        kept, random = self.mask_keep_prob, self.mask_random_prob
        if kept + random > 1:
            raise UserError(
                "mask_keep_prob and mask_random_prob are fractions of the masked positions, "
                f"together at most 1; received {kept} and {random}"
            )
        if self.uniform_generator and not self.untied_generator:
            raise UserError(
                "uniform_generator has no generator network to tie; remove untied_generator=false"
            )

    @property
    def needs_words(self) -> bool:
        """True if the masking needs the starts of words in the data."""
        return MASKINGS[self.masking].needs_words

    @property
    def max_predictions_per_seq(self) -> int:
        """Slots for masked positions of a sequence (N)."""
        slots = MASKINGS[self.masking].slots(self.mask_prob, self.max_seq_length)
        return min(slots, self.max_seq_length)

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as nested plain values, as `from_dict` takes them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str) -> PretrainConfig:
        """Builds the settings from nested plain values, checked; `where` names their origin."""
        return resolution.resolve(cls, [Layer(where, values)], where=where).settings


@dataclasses.dataclass(frozen=True)
class Init:
    """Source of a run's first weights. Two are equal if source, layers and optimizer are."""

    source: str  # path of the model, as given
    layers: tuple[int, ...] = ()  # layers to take of it; empty for all
    keep_optimizer: bool = False  # take the slots of its optimizer, too
    kind: str = dataclasses.field(default="", compare=False)  # kind of model, for people
    # its training steps, if known
    step: int | None = dataclasses.field(default=None, compare=False)
    # number of positions that were trained
    positions: int = dataclasses.field(default=0, compare=False)
    sha256: str = dataclasses.field(default="", compare=False)  # SHA-256 of its weights

    def __str__(self) -> str:
        layers = ",".join(map(str, self.layers))
        keep = " --keep-optimizer" if self.keep_optimizer else ""
        return f"--init {self.source}" + (f" --init-layers {layers}" if layers else "") + keep


class SourceSize(NamedTuple):
    """The size that `model=source` names."""

    model: ModelConfig  # size of the encoder
    generator: Mapping[str, Any]  # settings of the run that give its generator; none without one


def resolve(
    recipe: str,
    overrides: Mapping[str, Any],
    *,
    vocab_size: int,
    source: SourceSize | None = None,
    init: Init | None = None,
    phase: Layer | None = None,
) -> Resolved[PretrainConfig]:
    """Resolves a recipe, by name or path, and the command line's overrides into settings.

    `vocab_size` is that of the data, for a recipe without it. `source` is the size of the model
    that `init` names, for `model=source`; the chosen layers of `init` give the number of layers.
    `phase` has the values of one of the recipe's phases.

    Raises:
      UsageError: an unknown recipe or key.
      UserError: a value that is not allowed.
    """
    values = load_recipe(recipe, kind="pretrain")
    values.pop("phases", None)
    overrides = dict(overrides)
    model = overrides.pop("model", values.pop("model", None))
    layers = [Layer("the data", {"vocab_size": vocab_size}), Layer(f"recipe {recipe}", values)]
    if model == "source":
        if source is None:
            raise UsageError("model=source takes the size of the model that --init names: add it")
        size = dataclasses.asdict(source.model) | {"vocab_size": vocab_size}
        layers.append(Layer("the source", {"model": size, **source.generator}))
    elif isinstance(model, str):
        layers.insert(1, Layer(f"model {model}", {"model": load_recipe(model, kind="model")}))
    elif isinstance(model, Mapping):
        layers.insert(1, Layer(f"recipe {recipe}", {"model": model}))
    else:
        raise UserError(f"Recipe {recipe}: `model` must name a model size or give its settings")
    depth = len(init.layers) if init else 0
    if depth:
        layers.append(Layer("--init-layers", {"num_hidden_layers": depth}))
    if phase is not None:
        layers.append(phase)
    resolved = resolution.resolve(PretrainConfig, [*layers, Layer(COMMAND_LINE, overrides)])
    if depth and resolved.settings.model.num_hidden_layers != depth:
        raise UsageError(
            f"num_hidden_layers is {resolved.settings.model.num_hidden_layers} but --init-layers "
            f"takes {depth}: remove num_hidden_layers"
        )
    return resolved


def override(config: PretrainConfig, overrides: Mapping[str, Any]) -> PretrainConfig:
    """Returns the settings of a run with overrides."""
    layers = [Layer("the run", config.to_dict()), Layer(COMMAND_LINE, overrides)]
    return resolution.resolve(PretrainConfig, layers).settings
