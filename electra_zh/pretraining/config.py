"""Settings of one pretraining run, under the names of the reference's `PretrainingConfig`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from electra_zh.errors import UsageError, UserError
from electra_zh.models.config import ModelConfig, generator_config
from electra_zh.pretraining.masking import MASKINGS
from electra_zh.pretraining.objectives import objective_names
from electra_zh.settings import (
    COMMAND_LINE,
    Layer,
    Resolved,
    Settings,
    build_settings,
    load_recipe,
    own_keys,
    resolution,
    setting,
)
from electra_zh.training.optimizers import optimizer_names
from electra_zh.training.schedules import SCHEDULES

# Keys of a recipe that are not settings of one phase of training.
REQUEST_KEYS = ("phases", "data", "eval_data")

_OF_ELECTRA = ("clm_weight", "gdes", "generator_frozen", "discriminator_frozen")
_OF_GENERATOR = (
    *("generator_layers", "generator_hidden_size", "generator_heads"),
    *("untied_generator_embeddings", "generator_learning_rate"),
)
_OF_MASKED_INPUT = ("mask_keep_prob", "mask_random_prob")
_OF_TEMPERATURE = ("temperature_start", "temperature_decay")
_OF_DISCRIMINATOR = ("disc_weight", "clm_weight", "rtd_head", "disallow_correct", "temperature")


class Idle(NamedTuple):
    """A setting without effect, and the values of another one with which it has none."""

    key: str
    condition: str  # the other setting
    values: Container[Any]
    flag: str = ""  # it has none with this flag alone


def _idle(condition: str, values: Container[Any], *keys: str, flag: str = "") -> Iterator[Idle]:
    return (Idle(key, condition, values, flag) for key in keys)


# An objective that is not named reads all settings.
IDLE = (
    *_idle("objective", ("joint", "masked_lm", "electric"), *_OF_ELECTRA, "disallow_correct"),
    *_idle("objective", ("joint", "masked_lm", "electric"), *_OF_TEMPERATURE),
    *_idle("objective", ("electra", "electric", "masked_lm"), "fake_prob"),
    *_idle("objective", ("masked_lm",), "disc_weight", "rtd_head"),
    *_idle("objective", ("electric",), *_OF_MASKED_INPUT),
    *_idle("objective", ("joint", "masked_lm"), *_OF_GENERATOR, "temperature"),
    *_idle("objective", ("joint", "masked_lm"), "untied_generator", "uniform_generator"),
    *_idle("untied_generator", (False,), *_OF_GENERATOR),
    *_idle("uniform_generator", (True,), *_OF_GENERATOR, "temperature", *_OF_TEMPERATURE),
    *_idle("uniform_generator", (True,), *_OF_MASKED_INPUT),
    *_idle("generator_frozen", (True,), "generator_learning_rate", "gen_weight"),
    *_idle("objective", ("electra",), *_OF_GENERATOR, "gen_weight", flag="--generator"),
    *_idle("discriminator_frozen", (True,), *_OF_DISCRIMINATOR, *_OF_TEMPERATURE),
    *_idle("temperature_start", (0.0,), "temperature_decay"),
    *_idle("lr_schedule", ("cosine", "constant"), "lr_decay_power"),
    *_idle("lr_schedule", ("polynomial", "cosine", "constant"), "lr_decay_fraction"),
    *_idle("optimizer", ("lamb", "muon"), "adam_bias_correction"),
    *_idle("train_batch_size", range(1, sys.maxsize), "device_memory_gb"),  # 0 is auto
)


def idle_rules(*, has_generator: bool) -> Iterator[Idle]:
    """Yields those of `IDLE` for a run with or without --generator."""
    return (rule for rule in IDLE if has_generator or not rule.flag)


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
        "use_tpu": "use --device tpu",
        "model_size": "write model=NAME, as model=small",
        "model_hparam_overrides": "write the keys themselves, as hidden_size=256",
        "num_tpu_cores": "use --devices",
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
        "pretraining objective: replaced token detection with a generator (electra) or with tokens "
        "from other places of the batch in one network with a masked LM (joint); energies of "
        "tokens (electric); masked LM alone (masked_lm)",
        choices=objective_names,
        flags=("--electra-objective",),
        parse=_objective,
        group="objective",
    )
    gen_weight: float = setting(
        1.0, "weight of the generator's masked LM loss", at_least=0, group="objective"
    )
    disc_weight: float = setting(
        50.0,
        "weight of the discriminator's loss; by default 10 with objective=joint",
        at_least=0,
        group="objective",
    )
    clm_weight: float = setting(
        0.0,
        "weight of a masked LM loss on the discriminator itself, at the corrupted positions; 0: "
        "without; 1 lets it learn from scratch in hours",
        at_least=0,
        group="objective",
    )
    rtd_head: Literal["official", "dot"] = setting(
        "official",
        "head of replaced token detection; dot: also the product with the token's own embedding, "
        "as in a masked LM",
        group="objective",
    )
    fake_prob: float = setting(
        0.15,
        "objective=joint: fraction of the unmasked tokens to replace by tokens from other places "
        "of the batch",
        above=0,
        below=1,
        group="objective",
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
    mask_prob_end: float = setting(
        0.0,
        "mask_prob at the last step, reached evenly; 0: that of the first. Evaluations use it",
        at_least=0,
        below=1,
        group="masking",
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
        "the generator's layers as a fraction of the discriminator's, at least one layer",
        above=0,
        group="generator",
    )
    generator_hidden_size: float = setting(
        0.25,
        "the generator's width as a fraction of the discriminator's",
        above=0,
        group="generator",
    )
    generator_heads: int = setting(
        0,
        "the generator's attention heads; 0: the official width / 64, at least 1",
        at_least=0,
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
    gdes: bool = setting(
        False,
        "gradient-disentangled embedding sharing (DeBERTaV3): the discriminator learns a "
        "difference from the generator's embeddings, which its own loss does not move",
        group="generator",
    )
    generator_frozen: bool = setting(
        False,
        "do not train the generator, which needs embeddings of its own; --generator implies it",
        group="generator",
    )
    discriminator_frozen: bool = setting(
        False,
        "train the generator alone, without a pass of the discriminator, as a first phase",
        group="generator",
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
    temperature_start: float = setting(
        0.0,
        "temperature at the start (Fast-ELECTRA: 2), from where it falls exponentially to "
        "temperature; 0: constant",
        at_least=0,
        group="generator",
    )
    temperature_decay: float = setting(
        0.1,
        "fraction of the steps in which the distance of temperature_start falls to 1 / e",
        above=0,
        group="generator",
    )
    attention_start: Literal["normal", "local"] = setting(
        "normal",
        "initial attention; local: smooth positions, and every head looks at one neighbour, which "
        "leaves the plateau in a third of the steps",
        group="training",
    )
    optimizer: str = setting(
        "adamw",
        "the reference's Adam with weight decay, LAMB for large batches, or Muon, which makes the "
        "updates of the layers' matrices orthogonal",
        choices=optimizer_names,
        group="training",
    )
    adam_beta_1: float = setting(
        0.9, "decay of the mean of gradients", at_least=0, below=1, group="training"
    )
    adam_beta_2: float = setting(
        0.999, "decay of the mean of squared gradients", at_least=0, below=1, group="training"
    )
    adam_epsilon: float = setting(
        1e-6, "added to the root of the mean of squared gradients", above=0, group="training"
    )
    adam_bias_correction: bool = setting(
        False,
        "correct the means for their start at 0 (the official AdamW does not, and its first "
        "updates are up to three times as large; LAMB and Muon always do)",
        group="training",
    )
    learning_rate: float = setting(5e-4, "peak rate, after warm-up", above=0, group="training")
    generator_learning_rate: float = setting(
        0.0,
        "peak rate of the generator's own weights and its head; 0: learning_rate",
        at_least=0,
        group="training",
    )
    lr_schedule: str = setting(
        "polynomial",
        "learning rate after warm-up: polynomial or cosine decay to 0 at num_train_steps, wsd "
        "(constant, then polynomial decay in the last lr_decay_fraction), or constant",
        choices=lambda: tuple(SCHEDULES),
        group="training",
    )
    lr_decay_power: float = setting(
        1.0, "power of the polynomial decay", at_least=0, group="training"
    )
    lr_decay_fraction: float = setting(
        0.1, "fraction of the steps that wsd decays in", above=0, at_most=1, group="training"
    )
    weight_decay_rate: float = setting(0.01, "decoupled weight decay", at_least=0, group="training")
    num_warmup_steps: int = setting(10_000, "steps of linear warm-up", at_least=0, group="training")
    num_train_steps: int = setting(
        1_000_000, "steps of the complete run", at_least=1, group="training"
    )
    budget_hours: float = setting(
        0.0,
        "hours that a new run may take: its step is measured first, and the steps and the warm-up "
        "of all phases are planned so that the schedule ends in time; 0: as given",
        at_least=0,
        metavar="HOURS",
        group="training",
    )
    train_batch_size: int = setting(
        128,
        "sequences per step; auto: the largest power of two whose step fits the memory of the "
        "devices, by their compiler; a run keeps it",
        at_least=0,
        parse=lambda text: "0" if text == "auto" else text,
        group="training",
    )
    device_memory_gb: float = setting(
        0.0,
        "memory of a device that train_batch_size=auto may fill; 0: what the device says",
        at_least=0,
        group="training",
    )
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
    max_skipped_steps: int = setting(
        10,
        "skipped steps in a row after which the run stops; a step with NaN or infinite gradients "
        "is skipped and counted",
        at_least=1,
        group="training",
    )
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "compute type; auto: bfloat16 where the CPU has fast instructions for it and on "
        "accelerators, else float32, and a run keeps it; weights, losses, softmax and layer norm "
        "are float32 in both",
        group="training",
    )
    gradient_accumulation_steps: int = setting(
        1,
        "parts of a batch that are computed one after the other, for batches that memory does not "
        "hold; changes the numbers by rounding only",
        at_least=1,
        group="training",
    )
    recompute: Literal["none", "attention", "layers"] = setting(
        "none",
        "what the backward pass computes again, to save memory: the attention's scores and "
        "probabilities, or complete layers",
        group="training",
    )
    state_sharding: Literal["none", "optimizer", "all"] = setting(
        "none",
        "what several devices split between them, to save memory: the optimizer's slots, or the "
        "weights too; changes no number",
        group="training",
    )
    seed: int = setting(0, "random seed", at_least=0, group="training")
    # Size of the network of --generator, as plain values; None for a generator of the run's own.
    foreign_generator: Mapping[str, Any] | None = None

    def check_together(self) -> None:
        """Checks the length, the masking and the generator."""
        if self.max_seq_length > self.model.max_position_embeddings:
            raise UserError(
                "max_seq_length must be at most max_position_embeddings "
                f"({self.model.max_position_embeddings}); received {self.max_seq_length}"
            )
        for name in ("mask_prob", "mask_prob_end"):
            rate = getattr(self, name)
            least = rate + (0.0 if self.needs_words else 0.005)
            if int(least * self.max_seq_length) < 1 and (rate or name == "mask_prob"):
                raise UserError(
                    f"{name} {rate} masks no position of {self.max_seq_length}: raise it"
                )
        kept, random = self.mask_keep_prob, self.mask_random_prob
        if kept + random > 1:
            raise UserError(
                "mask_keep_prob and mask_random_prob are fractions of the masked positions, "
                f"together at most 1; received {kept} and {random}"
            )
        parts = self.gradient_accumulation_steps
        if self.train_batch_size % parts:
            raise UserError(
                f"train_batch_size {self.train_batch_size} cannot be split evenly into "
                f"gradient_accumulation_steps={parts} parts. Choose a divisor"
            )
        if self.uniform_generator and not self.untied_generator:
            raise UserError(
                "uniform_generator has no generator network to tie; remove untied_generator=false"
            )
        self._check_embeddings()

    def _check_embeddings(self) -> None:
        """Checks the sharing of embeddings and the training of the generator."""
        for name in (*_OF_ELECTRA, "foreign_generator"):
            if getattr(self, name) and self.objective != "electra":
                shown = "--generator" if name == "foreign_generator" else name
                raise UserError(
                    f"{shown} is for objective=electra; remove it for objective={self.objective}"
                )
        own_network = self.untied_generator and not self.uniform_generator
        other = "uniform_generator" if self.uniform_generator else "untied_generator=false"
        if self.objective == "electric" and not own_network:
            raise UserError(f"objective=electric draws its noise from two towers; remove {other}")
        if (self.gdes or self.is_generator_frozen) and not own_network:
            raise UserError(
                f"gdes and a frozen generator need a separate generator network; remove {other}"
            )
        if self.discriminator_frozen and (self.is_generator_frozen or not own_network):
            raise UserError(
                "discriminator_frozen needs a separate generator network; remove "
                "untied_generator=false, uniform_generator and the frozen generator"
            )
        if self.gdes and (self.untied_generator_embeddings or self.is_generator_frozen):
            raise UserError(
                "gdes shares the embeddings of a generator in training; remove gdes, or "
                "untied_generator_embeddings and the frozen generator"
            )
        foreign = self.foreign_generator or {}
        if foreign.get("max_position_embeddings", self.max_seq_length) < self.max_seq_length:
            raise UserError(
                f"max_seq_length is {self.max_seq_length} and the model of --generator has "
                f"{foreign['max_position_embeddings']} positions: lower max_seq_length"
            )
        if self.generator_frozen and not self.has_own_generator_embeddings:
            raise UserError(
                "generator_frozen needs embeddings that the discriminator does not train: add "
                "untied_generator_embeddings=true"
            )
        if 0 < self.temperature_start < self.temperature:
            raise UserError(
                f"temperature_start {self.temperature_start} must not be below temperature "
                f"{self.temperature}: fakes become harder, not easier"
            )

    @property
    def detection_heads(self) -> tuple[str, ...]:
        """Heads that detection has besides the official one, by their parts of the weight table."""
        return ("dot_head",) if self.rtd_head == "dot" else ()

    @property
    def is_generator_frozen(self) -> bool:
        """True if the generator is not trained."""
        return self.generator_frozen or self.foreign_generator is not None

    @property
    def has_own_generator_embeddings(self) -> bool:
        """True if the generator has embeddings of its own."""
        return self.untied_generator_embeddings or self.gdes or self.foreign_generator is not None

    def trains(self, name: str) -> bool:
        """Returns whether the weight of a name is trained: all but those of a frozen network."""
        generators = name.startswith(("generator/", "masked_lm_head/"))
        if not self.discriminator_frozen:
            return not (self.is_generator_frozen and generators)
        shared = not self.has_own_generator_embeddings and name.startswith("encoder/embeddings/")
        return generators or shared

    def generator_model(self) -> ModelConfig:
        """Returns the size of the generator network."""
        if self.foreign_generator is not None:
            return build_settings(ModelConfig, self.foreign_generator, where="--generator")
        return generator_config(
            self.model,
            generator_layers=self.generator_layers,
            generator_hidden_size=self.generator_hidden_size,
            generator_heads=self.generator_heads,
            untied_embeddings=self.untied_generator_embeddings,
        )

    @property
    def corrects_bias(self) -> bool:
        """True if the optimizer corrects its moments by the number of updates of the run."""
        # The setting has no effect with an optimizer that always corrects (LAMB).
        return self.adam_bias_correction or "adam_bias_correction" in self.idle

    @property
    def idle(self) -> tuple[str, ...]:
        """Settings that have no effect with the others."""
        rules = idle_rules(has_generator=self.foreign_generator is not None)
        found = (rule.key for rule in rules if getattr(self, rule.condition) in rule.values)
        return tuple(dict.fromkeys(found))

    @property
    def needs_words(self) -> bool:
        """True if the masking needs the starts of words in the data."""
        return MASKINGS[self.masking].needs_words

    @property
    def max_predictions_per_seq(self) -> int:
        """Slots for masked positions of a sequence (N)."""
        highest = max(self.mask_prob, self.mask_prob_end)
        slots = MASKINGS[self.masking].slots(highest, self.max_seq_length)
        return min(slots, self.max_seq_length)

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as nested plain values, as `from_dict` takes them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str) -> PretrainConfig:
        """Builds the settings from nested plain values, checked; `where` names their origin."""
        return resolution.resolve(cls, [Layer(where, values)], where=where).settings


# Defaults that belong to an objective.
_DEFAULTS = {"joint": {"disc_weight": 10.0}}


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
    # assumptions about it, as sentences
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False)

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
    generator: Init | None = None,
    phase: Layer | None = None,
) -> Resolved[PretrainConfig]:
    """Resolves a recipe, by name or path, and the command line's overrides into settings.

    `vocab_size` is that of the data, for a recipe without it. `source` is the size of the model
    that `init` names, for `model=source`; the chosen layers of `init` give the number of layers.
    `generator` is that of --generator. `phase` has the values of one of the recipe's phases.

    Raises:
      UsageError: an unknown recipe or key.
      UserError: a value that is not allowed.
    """
    values = load_recipe(recipe, kind="pretrain")
    for key in REQUEST_KEYS:
        values.pop(key, None)
    overrides = dict(overrides)
    model = overrides.pop("model", values.pop("model", None))
    layers = [Layer("the data", {"vocab_size": vocab_size}), Layer(f"recipe {recipe}", values)]
    if model == "source":
        if source is None:
            raise UsageError("model=source needs --init. Without it name a size, as model=small")
        size = dataclasses.asdict(source.model) | {"vocab_size": vocab_size}
        layers.append(Layer("the source", {"model": size, **source.generator}))
    elif isinstance(model, str):
        layers.insert(1, Layer(f"model {model}", {"model": load_recipe(model, kind="model")}))
    elif isinstance(model, Mapping):
        layers.insert(1, Layer(f"recipe {recipe}", {"model": model}))
    else:
        raise UserError(f"Recipe {recipe}: `model` must name a model size or give its settings")
    if depth := len(init.layers) if init else 0:
        layers.append(Layer("--init-layers", {"num_hidden_layers": depth}))
    layers += [phase] if phase is not None else []
    own = {*own_keys(recipe, kind="pretrain"), *(phase.values if phase else ())}
    rules = idle_rules(has_generator=generator is not None)
    layers, notes = _drop_idle([*layers, Layer(COMMAND_LINE, overrides)], own, rules)
    resolved = dataclasses.replace(_with_defaults(layers), notes=notes)
    if depth and resolved.settings.model.num_hidden_layers != depth:
        raise UsageError(
            f"num_hidden_layers is {resolved.settings.model.num_hidden_layers} but --init-layers "
            f"takes {depth}: remove num_hidden_layers"
        )
    return resolved


def _drop_idle(
    layers: list[Layer], own: Collection[str], rules: Iterable[Idle]
) -> tuple[list[Layer], tuple[str, ...]]:
    """Drops inherited values without effect, with a sentence on those of the user's own choice.

    A recipe includes them (`own` are the keys that it has itself), or the last layer, the command
    line, chooses what they have no effect with.
    """
    placed = [resolution.place(PretrainConfig, values, origin=origin) for origin, values in layers]
    found, typed = {key: value for each in placed for key, value in each.items()}, placed[-1]
    dropped: dict[str, list[str]] = {}  # by reason
    idle = set()
    for key, condition, without, flag in rules:
        value = found.get(condition, getattr(PretrainConfig, condition))
        is_chosen = bool(flag) or condition in typed
        if value not in without or key in typed or (not is_chosen and key in own):
            continue
        # Without it, a value that other settings depend on is the default.
        if found.pop(key, None) not in (None, getattr(PretrainConfig, key)) and is_chosen:
            dropped.setdefault(flag or f"{condition}={str(value).lower()}", []).append(key)
        idle.add(key)
    spellings = resolution.find_spellings(PretrainConfig)
    kept = [
        Layer(origin, {key: each for key, each in values.items() if spellings.get(key) not in idle})
        for origin, values in layers
    ]
    lines = (f"No effect with {why}, dropped: {', '.join(keys)}" for why, keys in dropped.items())
    return kept, tuple(lines)


def _with_defaults(layers: list[Layer]) -> Resolved[PretrainConfig]:
    """Returns the settings of layers, with the defaults of their objective."""
    for _, values in layers:
        if str(values.get("train_batch_size")) == "0":  # as a setting it is auto
            raise UserError("train_batch_size must be at least 1; received 0. auto chooses it")
    resolved = resolution.resolve(PretrainConfig, layers)
    objective = resolved.settings.objective
    if objective not in _DEFAULTS:
        return resolved
    named = Layer(f"objective={objective}", _DEFAULTS[objective])
    return resolution.resolve(PretrainConfig, [named, *layers])


def override(config: PretrainConfig, overrides: Mapping[str, Any]) -> PretrainConfig:
    """Returns the settings of a run with overrides."""
    layers = [Layer("the run", config.to_dict()), Layer(COMMAND_LINE, overrides)]
    return resolution.resolve(PretrainConfig, layers).settings
