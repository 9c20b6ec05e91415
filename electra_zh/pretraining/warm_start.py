"""The first weights of a run, taken from another model.

- The encoder must fit, every tensor of it. It becomes the discriminator, or the only network of
  plain masked LM; a BERT's encoder too.
- The generator is taken completely or not at all, with its masked LM head: single layers are worth
  nothing between fresh ones. A masked LM head is taken with the network that it was trained on:
  BERT's into plain masked LM, not into a generator.
- The step starts at 0, and with it schedule and data. The optimizer's slots start at zero, or with
  `keep_optimizer` as the source's. The source is not needed once the run has saved.

This module does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from absl import logging

from electra_zh.convert import adapt, source
from electra_zh.convert.source_settings import HEADS, SourceSettings
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError, counted
from electra_zh.models.config import ModelConfig
from electra_zh.models.weight_names import part_shapes
from electra_zh.pretraining import phases as run_phases
from electra_zh.pretraining.config import Init, PretrainConfig, SourceSize
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.networks import Networks, of_objective
from electra_zh.pretraining.phases import Phase
from electra_zh.pretraining.sources import generator, heads, report
from electra_zh.pretraining.sources.generator import ForeignGenerator
from electra_zh.settings import build_settings
from electra_zh.text.settings import TokenizerSettings
from electra_zh.training import checkpoints

if TYPE_CHECKING:
    from electra_zh.pretraining.state import TrainState

# Settings of a size that must match the source; vocabulary and positions are made to fit.
_SIZES = (
    *("embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads"),
    *("intermediate_size", "type_vocab_size"),
)

Shape = tuple[int, ...]
ShapePair = tuple[str, Shape | None, Shape | None]


class FirstWeights(NamedTuple):
    """Weights for a new run."""

    tensors: Mapping[str, np.ndarray]  # what is loaded, by the names of the run's variables
    lines: tuple[str, ...]  # report of the loaded and the fresh weights
    slots: Mapping[str, np.ndarray]  # the optimizer's slots, by name; empty for a new optimizer
    # the step at which the slots of a weight were zeros, by name, where it is not 0
    starts: Mapping[str, int] = MappingProxyType({})

    def assign(self, state: TrainState) -> None:
        """Assigns the weights and slots and logs the report; others keep their initial values."""
        self.log()
        variables = state.tensors()
        for name, value in {**self.tensors, **self.slots}.items():
            variables[name].assign(value)
        state.optimizer.set_starts(self.starts)

    def log(self) -> None:
        """Logs the report."""
        for line in self.lines:
            logging.info("%s", line)


def read(init: Init, *, num_heads: int | str | None = None) -> Weights:
    """Reads the model that a run starts from, and takes the chosen layers of it.

    `num_heads` is the number of attention heads, for a source that does not say it.

    Raises:
      UserError: it cannot be read, has no vocabulary, or is not what the run was started with.
    """
    try:
        hints = build_settings(SourceSettings, {HEADS: num_heads}, where="")
        weights = source.open_source(init.source, hints=hints)
        if weights.vocabulary is None:
            raise UserError(
                f"{init.source} has no vocabulary: put its vocab.txt or spm.model next to it"
            )
        if init.layers:
            weights = adapt.select_layers(weights, init.layers)
    except UserError as error:
        # Most messages begin with the source.
        named = "" if str(error).startswith(init.source) else f"{init.source}: "
        raise UserError(f"--init {named}{error}") from None
    if init.sha256 and weights.digest() != init.sha256:
        raise UserError(
            f"{init.source} has changed since the run was started with it, and the run has no "
            "checkpoint yet: start it again in another --output."
        )
    return weights


def describe(init: Init, weights: Weights) -> Init:
    """Returns `init` with the properties of its model, for the run's config.json."""
    positions = weights.trained.length if weights.trained else weights.model.max_position_embeddings
    return dataclasses.replace(
        init,
        kind=weights.kind,
        step=weights.step,
        positions=positions,
        sha256=weights.digest(),
        notes=weights.notes,
    )


def size_of(weights: Weights, *, foreign: bool = False) -> SourceSize:
    """Returns the size that `model=source` names, without its generator if there is another."""
    model, generator = weights.model, weights.generator
    if generator is None or foreign:
        return SourceSize(model, {})
    # Untied embeddings are as wide as the generator.
    gdes = weights.has_own_embeddings and generator.embedding_size != generator.hidden_size
    size: dict[str, Any] = {
        "generator_layers": generator.num_hidden_layers / model.num_hidden_layers,
        "generator_hidden_size": generator.hidden_size / model.hidden_size,
        "untied_generator_embeddings": weights.has_own_embeddings and not gdes,
    }
    if generator.num_attention_heads != max(1, generator.hidden_size // 64):
        size["generator_heads"] = generator.num_attention_heads
    return SourceSize(model, {**size, "gdes": True} if gdes else size)


def beginning(
    run: Run, weights: Weights | None, foreign: ForeignGenerator | None
) -> FirstWeights | None:
    """Returns the weights that a new run takes from --init and --generator; None for none.

    `weights` and `foreign` are those models, if they have been read.
    """
    if run.config.foreign_generator is None:
        foreign = None
    elif run.generator is not None and foreign is None:
        foreign = generator.read(run.generator, run.vocabulary)
    if run.init is not None:
        known = run.config.model.num_attention_heads
        return first_weights(weights or read(run.init, num_heads=known), run, foreign)
    return None if foreign is None else FirstWeights(foreign.tensors, (foreign.line,), {})


def first_weights(
    weights: Weights,
    run: Run,
    foreign: ForeignGenerator | None = None,
    *,
    networks: Networks | None = None,
) -> FirstWeights:
    """Returns the weights of a model from `read` that a new run takes.

    `foreign` is the model of --generator, unless `weights` have its weights. `networks` are those
    of the run, where TensorFlow is missing.

    Raises:
      UserError: the encoder does not fit; the message names a tensor and both shapes.
    """
    config = run.config
    _check_encoder(weights, config)
    fitted, tokens = adapt.with_vocabulary(weights, run.vocabulary, seed=config.seed)
    fitted, kept = adapt.with_positions(
        fitted, config.model.max_position_embeddings, length=config.max_seq_length
    )
    networks = networks or of_objective(config)
    misfit = None if foreign else _generator_misfit(fitted, config, networks)
    shapes = networks.shapes(config)
    tensors = _taken(fitted, config, networks, with_generator=misfit is None and not foreign)
    if foreign is not None:
        tensors |= foreign.tensors
    assert all(shapes[name] == value.shape for name, value in tensors.items())
    lines = [
        *weights.lines(),
        *report.table(tensors, shapes, {**fitted.tensors, **fitted.own}),
        report.tokens_line(tokens),
        report.positions_line(kept, config.model.max_position_embeddings),
        *_meaning(fitted, networks, config, tensors, misfit),
        *([foreign.line] if foreign else []),
    ]
    if run.init is not None and run.init.layers:
        lines.append(f"layers: {', '.join(map(str, run.init.layers))} of the source's")
    if weights.tokenizer != run.tokenizer:
        lines.append(_tokenizers_line(weights.tokenizer, run.tokenizer))
    slots, starts = dict[str, np.ndarray](), dict[str, int]()
    if run.init is not None and run.init.keep_optimizer:
        slots, starts = _slots(weights, run)
        lines.append("optimizer: the source's moments of the gradients; the schedule starts anew")
    return FirstWeights(tensors, (*lines, report.advice(weights, config)), slots, starts)


def _tokenizers_line(source: TokenizerSettings, data: TokenizerSettings) -> str:
    """Returns the note on settings of tokenizing that differ."""
    of_data = dataclasses.asdict(data)
    differing = [
        f"{name}={of_data[name]} (the source: {value})".lower()
        for name, value in dataclasses.asdict(source).items()
        if of_data[name] != value
    ]
    return f"note: the data was tokenized with other settings: {', '.join(differing)}"


def carried_weights(
    run: Run,
    phase: Phase,
    step: int,
    *,
    networks: Networks | None = None,
    exported: Mapping[str, np.ndarray] | None = None,
) -> FirstWeights:
    """Returns the weights that a phase takes from the checkpoint of `step`, the last before it.

    They are taken as those of another model are. The optimizer's slots are taken with them, where
    the shape of the variable is the same. Where TensorFlow is missing, `networks` are those of the
    phase, and `exported` has the weights of a generator of another model.
    """
    weights = source.open_source(run.folder, checkpoint=step)
    before = run_phases.at_step(run.phases, step).config
    # Not fitted to the run as its own networks are: it may have another number of positions.
    known = exported if before.foreign_generator is None else weights.tensors
    foreign = _foreign(run, phase.config, known)
    networks = networks or of_objective(phase.config)
    in_phase = dataclasses.replace(run.in_phase(phase), init=None)
    found = first_weights(weights, in_phase, foreign, networks=networks)
    saved, tensors = checkpoints.read(weights.checkpoint), dict(found.tensors)
    if before.is_generator_frozen and phase.config.is_generator_frozen:
        # Its positions are those that it was trained with elsewhere.
        tensors |= {
            name: weights.tensors[name] for name in tensors if name.startswith("generator/")
        }
    trained = networks.trained_shapes(phase.config)
    slots = {
        slot: value
        for slot, value in saved.optimizer.items()
        for name in [slot.partition("/")[2]]
        if name in tensors and trained.get(name) == value.shape
    }
    fresh = len(trained) - len(slots) // 2
    lines = [
        f"phase {phase.name} begins with the weights of step {step:,}:",
        *found.lines[len(weights.lines()) : -1],
        f"optimizer: the moments of {counted(len(slots) // 2, 'tensor')} carry over, those of "
        f"{fresh} start at zero",
    ]
    known = saved.state.get(checkpoints.STARTS, {})
    starts = {name: known.get(name, 0) if f"m/{name}" in slots else step for name in trained}
    return FirstWeights(tensors, tuple(lines), slots, starts)


def _foreign(
    run: Run, config: PretrainConfig, known: Mapping[str, np.ndarray] | None
) -> ForeignGenerator | None:
    """Returns the generator of another model that a phase has, from known weights or its source."""
    if config.foreign_generator is None:
        return None
    assert run.generator is not None
    if known is None:
        return generator.read(run.generator, run.vocabulary)
    return generator.of_weights(run.generator, known, config)


def _slots(weights: Weights, run: Run) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Returns the slots of the source's optimizer, which must fit every variable, and starts.

    Bias correction counts the source's updates too, so the starts are before step 0.
    """
    remedy = "Remove --keep-optimizer to start with a new optimizer."
    if weights.trained is None or not weights.checkpoint:
        raise UserError(f"--keep-optimizer: {weights.path} is not a pretraining run. {remedy}")
    if weights.vocabulary != run.vocabulary:
        raise UserError(
            f"--keep-optimizer: {weights.path} has another vocabulary than the data. {remedy}"
        )
    for beta in ("adam_beta_1", "adam_beta_2") if run.config.corrects_bias else ():
        old = weights.record["settings"].get(beta, getattr(PretrainConfig, beta))
        if old != (new := getattr(run.config, beta)):
            raise UserError(
                f"--keep-optimizer: {beta} is {old} in {weights.path} and {new} in this run, whose "
                f"bias correction needs one value for all updates. {remedy}"
            )
    checkpoint = checkpoints.read(weights.checkpoint)
    saved, known = checkpoint.optimizer, checkpoint.state.get(checkpoints.STARTS, {})
    slots, starts, updates = {}, {}, int(checkpoint.state["optimizer_step"])
    for name, shape in of_objective(run.config).trained_shapes(run.config).items():
        starts[name] = known.get(name, 0) - updates
        for slot in (f"m/{name}", f"v/{name}"):
            found = saved[slot].shape if slot in saved else None
            if found != shape:
                raise UserError(
                    f"--keep-optimizer: {slot} is {_shape(found)} in {weights.path} and "
                    f"{_shape(shape)} in this run. Use its size and objective (model=source). "
                    f"{remedy}"
                )
            slots[slot] = saved[slot]
    return slots, starts


def _check_encoder(weights: Weights, config: PretrainConfig) -> None:
    """Checks all of the encoder but the rows of tokens and positions, which are made to fit."""
    wanted = part_shapes("encoder", config.model)
    found = {name: value.shape for name, value in weights.part("encoder").items()}
    for name, old, new in _pairs(found, wanted):
        skipped = 1 if name.endswith(("/word_embeddings", "/position_embeddings")) else 0
        if old is None or new is None or old[skipped:] != new[skipped:]:
            raise UserError(
                f"{name} is {_shape(old)} in {weights.path} and {_shape(new)} in this run: "
                f"{_size_advice(weights, config.model)}"
            )
    heads = weights.model.num_attention_heads, config.model.num_attention_heads
    if heads[0] != heads[1] and weights.heads_assumed:
        raise UserError(
            f"{weights.path}: no file says the number of attention heads; {heads[0]} are assumed "
            f"(width / 64), and this run has {heads[1]}. Give model.num_attention_heads=N, the "
            "number that the model was trained with"
        )
    if heads[0] != heads[1]:
        raise UserError(
            f"{weights.path} has {heads[0]} attention heads and this run {heads[1]}, which the "
            f"shapes of tensors do not show: {_size_advice(weights, config.model)}"
        )


def _pairs(found: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> Iterator[ShapePair]:
    """Yields each name with its shape in either; None where it is missing."""
    for name in dict.fromkeys((*wanted, *found)):
        yield name, found.get(name), wanted.get(name)


def _shape(shape: Shape | None) -> str:
    return "missing" if shape is None else str(list(shape))


def _size_advice(weights: Weights, new: ModelConfig) -> str:
    old = weights.model
    known = [name for name in _SIZES if name != HEADS or not weights.heads_assumed]
    different = [name for name in known if getattr(old, name) != getattr(new, name)]
    settings = " ".join(f"{name}={getattr(old, name)}" for name in different)
    deeper = old.num_hidden_layers > new.num_hidden_layers
    layers = f"; --init-layers first:{new.num_hidden_layers} takes that many" if deeper else ""
    return f"model=source takes the source's size ({settings}){layers}"


def _generator_misfit(weights: Weights, config: PretrainConfig, networks: Networks) -> str | None:
    """Returns the reason for a fresh generator; None to take the source's, or without one."""
    wanted, found = networks.generator, weights.generator
    if wanted is None:
        return None
    if found is None:
        return "the source has none"
    own = config.has_own_generator_embeddings
    if weights.has_own_embeddings and not own:
        return "the source's has separate embeddings (untied_generator_embeddings=true)"
    if found.num_attention_heads != wanted.num_attention_heads:
        heads = found.num_attention_heads, wanted.num_attention_heads
        return f"the source's has {heads[0]} attention heads, this run's {heads[1]}"
    shapes = {name: value.shape for name, value in _generator_tensors(weights, own=own).items()}
    for name, old, new in _pairs(shapes, part_shapes("generator", wanted, embeddings=own)):
        if old != new:
            return f"{name} is {_shape(old)} in the source and {_shape(new)} in this run"
    return None


def _generator_tensors(weights: Weights, *, own: bool) -> dict[str, np.ndarray]:
    """Returns the source's generator; `own`: with embeddings, shared ones as copies."""
    return weights.generator_tensors() if own else weights.part("generator")


def _taken(
    weights: Weights, config: PretrainConfig, networks: Networks, *, with_generator: bool
) -> dict[str, np.ndarray]:
    """Returns the tensors of a fitted model that the run takes."""
    tensors = weights.part("encoder")
    if networks.generator is not None and with_generator:
        tensors |= _generator_tensors(weights, own=config.has_own_generator_embeddings)
        tensors |= weights.part("masked_lm_head")
    tensors |= heads.taken(weights, config, networks.shapes(config))
    return heads.disentangled(tensors) if config.gdes else tensors


def _meaning(
    weights: Weights,
    networks: Networks,
    config: PretrainConfig,
    taken: Mapping[str, np.ndarray],
    misfit: str | None,
) -> list[str]:
    """Returns the consequences of parts that start fresh, as lines."""
    lines = []
    if misfit is not None:
        own = config.untied_generator_embeddings
        shared = "" if own else ", but for the shared embeddings"
        lines.append(
            f"the generator starts fresh{shared}: {misfit}. It must catch up first: until its "
            "fills are hard to tell from text (gen_loss has fallen), a trained discriminator "
            "learns little from them, and disc_loss says little"
        )
    head = "masked_lm_head/output_bias"
    if misfit is None and head in networks.shapes(config) and head not in taken:
        trained = "another network" if weights.has("masked_lm_head") else "nothing"
        lines.append(f"the head of masked LM starts fresh: the source's belongs to {trained}")
    if networks.has_detection and "rtd_head/output/bias" not in taken:
        lines.append(
            "the detection head starts fresh: the source has none of its kind, or its encoder was "
            "not trained as a discriminator"
        )
    return lines
